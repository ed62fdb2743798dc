//! The four recipes from a Hub that has stand-ins of their sources, in the real file layout: the same bytes as from
//! local files, and no more files than the sample needs.

use std::{collections::BTreeMap, fs, path::Path};

use super::{HubFixture, standins};
use crate::fixture::{Fixture, TestRng, assert_snapshot, published};

/// Published files but those that say where the rows came from.
fn rows(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = published(out);
    files.retain(|name, _| name.starts_with("data/") || name.starts_with("rejects/"));
    assert!(!files.is_empty());
    files
}

type Files = Vec<(String, Vec<u8>)>;

/// A Hub with these repositories, and the same files below `data/`, as `--from DIR` looks for them.
fn fixture(repos: impl IntoIterator<Item = (&'static str, Files)>) -> HubFixture {
    let fixture = HubFixture::new(Fixture::text(""));
    // What a format is is told by the first bytes, so that JSON stands for Parquet, too. What is trained on is not read.
    let evaluations = standins::EVALUATIONS.map(|(name, repo, file)| {
        let rows = standins::sample(&format!("evaluation/{name}.jsonl"));
        (repo, vec![(file.to_owned(), rows), (file.replace("test", "train").replace("val", "train"), b"[".to_vec())])
    });
    for (repo, files) in repos.into_iter().chain(evaluations) {
        for (path, bytes) in &files {
            fixture.local.write(&format!("data/{repo}/{path}"), bytes);
        }
        let mut store = fixture.hub.store();
        store.page = 300;
        store.put(&format!("datasets/{repo}"), files);
    }
    fixture
}

impl HubFixture {
    /// Build a recipe from the Hub and from the folder, compare, and give the files that were fetched and what was said.
    fn both(&self, recipe: &str, out: &str, args: &[&str]) -> (Vec<String>, String) {
        self.hub.take_log();
        let file = format!("pipelines/{recipe}.toml");
        let [hub, dir, data] = [format!("{out}-hub"), format!("{out}-dir"), "data".into()].map(|n| self.arg(&n));
        let said =
            self.run(&[&["build", &file, "--from", "hub", "--out", &hub], args].concat()).assert_success().stdout;
        let mut fetched = self.fetched();
        let (evaluations, sources) = fetched.drain(..).partition(|path: &String| {
            standins::EVALUATIONS.iter().any(|(_, repo, file)| path.contains(repo) && path.contains(file))
        });
        let (evaluations, fetched): (Vec<String>, Vec<String>) = (evaluations, sources);
        self.run(&[&["build", &file, "--from", &data, "--out", &dir], args].concat()).assert_success();
        assert_eq!(rows(Path::new(&hub)), rows(Path::new(&dir)), "{recipe}");
        self.run(&["verify", &hub]).assert_success();
        let lock = fs::read_to_string(format!("{hub}/recipe.lock.toml")).unwrap();
        assert!(lock.contains("from = \"hub\"") && lock.contains("commit = \""), "{lock}");
        let sets = lock.matches("source = \"evaluation/").count();
        assert!(sets == 6 && (evaluations.len() == 6 || evaluations.is_empty()), "{sets} sets, {evaluations:?}");
        let card = fs::read_to_string(format!("{hub}/README.md")).unwrap();
        let notes: Vec<&str> = said.lines().filter_map(|l| l.strip_prefix("note: ")).collect();
        assert!(notes.iter().all(|note| card.contains(note)), "{notes:?}: {card}");
        (fetched, said)
    }
}

#[test]
fn sft_mix_from_an_array_of_the_real_size() {
    let fixture = fixture([
        ("pankajmathur/WizardLM_Orca", vec![("wizardlm_orca.json".into(), standins::array(125_000_000))]),
        ("pankajmathur/alpaca_orca", vec![("alpaca_orca.json".into(), standins::sample("alpaca_orca.json"))]),
        ("pankajmathur/dolly-v2_orca", vec![("dolly_orca.json".into(), standins::sample("dolly_orca.json"))]),
    ]);
    let (fetched, said) = fixture.both("sft-mix", "sft", &["--limit", "900"]);
    assert_eq!(fetched.len(), 3, "{fetched:?}");
    assert_snapshot("hub-samples-sft-mix", said);
}

#[test]
fn dpo_mix_from_parquet() {
    let fixture = fixture([(
        "mlabonne/orpo-dpo-mix-40k",
        vec![("data/train-00000-of-00001.parquet".into(), standins::sample("orpo_dpo_mix_40k.parquet"))],
    )]);
    let (fetched, _) = fixture.both("dpo-mix", "dpo", &[]);
    assert_eq!(fetched.len(), 1, "{fetched:?}");
    let dropped = crate::fixture::column(&fixture.local.path("dpo-hub/rejects"), "screen", "rule");
    assert!(dropped.iter().any(|rule| rule == "column"), "the toxic part is left out: {dropped:?}");
}

#[test]
fn adapt_it_from_eight_of_1024_files() {
    let fixture = fixture([("gsarti/clean_mc4_it", standins::web(1024, 12))]);
    let (fetched, said) = fixture.both("adapt-it", "adapt", &["--set", "sample.rows=60"]);
    assert_eq!(fetched.len(), 8, "a sample touches few of 1,024 files: {fetched:?}");
    assert!(fetched.iter().all(|path| path.contains("/clean_mc4_it/c4-it.tfrecord-")), "{fetched:?}");
    assert_snapshot("hub-samples-adapt-it", said);
}

#[test]
fn another_seed_reads_other_files_and_all_files_need_no_excuse() {
    let fixture = fixture([("gsarti/clean_mc4_it", standins::web(48, 12))]);
    let (first, _) = fixture.both("adapt-it", "first", &["--set", "sample.rows=60"]);
    // What the first has fetched stays in the cache and is not asked for again.
    let (other, _) = fixture.both("adapt-it", "other", &["--set", "sample.rows=60", "--set", "seed=7"]);
    assert!((1..=8).contains(&other.len()) && other.iter().all(|path| !first.contains(path)), "{other:?}");
    let (rest, said) = fixture.both("adapt-it", "all", &["--set", "sample.rows=60", "--set", "sample.files=1024"]);
    assert_eq!(first.len() + other.len() + rest.len(), 48);
    assert!(!said.contains("were read, chosen"), "{said}");
    let ids = |out: &str| crate::fixture::column(&fixture.local.path(out).join("data"), "", "id");
    assert_eq!(ids("all-hub").len(), 60);
    assert_ne!(ids("all-hub"), ids("first-hub"));
}

#[test]
fn clean_web_it_from_the_files_of_its_language() {
    let fixture = fixture([("allenai/c4", standins::raw(4))]);
    let (fetched, _) = fixture.both("clean-web-it", "web", &[]);
    assert_eq!(fetched.len(), 4, "{fetched:?}");
    assert!(fetched.iter().all(|path| path.contains("/multilingual/c4-it.tfrecord-")), "{fetched:?}");
}

#[test]
fn a_limit_fetches_no_file_behind_it() {
    let files = (0..9).map(|i| (format!("{i}.jsonl"), TestRng(i).lines(30).into_bytes()));
    let fixture = fixture([("lab/web", files.collect::<Files>())]);
    let (recipe, data) = (fixture.recipe(), fixture.arg("data"));
    let build = |from: &str, out: &str, limit: &str| {
        fixture.run(&["build", &recipe, "--from", from, "--out", &fixture.arg(out), "--limit", limit]).assert_success()
    };
    let said = build("hub", "hub", "70").stdout;
    assert_eq!(fixture.fetched().len(), 3, "three files have the first 70 rows");
    for told in ["Of `web` the first 70 rows were read", "from 3 of 9 files", "they are its head and no sample of it"] {
        assert!(said.contains(told), "{said}");
        assert!(fs::read_to_string(fixture.local.path("hub/README.md")).unwrap().contains(told));
    }
    build(&data, "dir", "70");
    assert_eq!(rows(&fixture.local.path("hub")), rows(&fixture.local.path("dir")));
    // The end of a file is as good a place to stop as its middle.
    let said = build("hub", "even", "60").stdout;
    assert!(said.contains("from 2 of 9 files"), "{said}");
    let said = build("hub", "all", "270").stdout;
    assert!(!said.contains("no sample of it"), "all rows are here: {said}");
    let set = ["pull", &recipe, "--set", "read.limit=31"];
    assert!(fixture.run(&set).assert_success().stdout.contains("2 of 9 files"));
}

#[test]
fn what_may_be_missing_offline_is_said_on_the_card() {
    let files = (0..3).map(|i| (format!("{i}.jsonl"), TestRng(i).lines(30).into_bytes()));
    let fixture = fixture([("lab/web", files.collect::<Files>())]);
    fixture.run(&["pull", &fixture.recipe()]).assert_success();
    let cache = fixture.home().join("hub/datasets--lab--web");
    let build = |out: &str| {
        let args = ["build", &fixture.recipe(), "--from", "hub", "--out", &fixture.arg(out)];
        fixture.run_with(&args, &[("HF_HUB_OFFLINE", "1")]).assert_success().stdout
    };
    let told = "read was what the cache held of it";
    assert!(!build("whole").contains(told));
    // Another program has fetched two of the files, and left no list.
    fs::remove_dir_all(cache.join("setaccio")).unwrap();
    let commit = fixture.hub.store().repos["datasets/lab/web"].refs["main"].clone();
    fs::remove_file(cache.join("snapshots").join(commit).join("1.jsonl")).unwrap();
    let told = "read was what the cache held of it, 2 files";
    assert!(build("torn").contains(told));
    assert!(fs::read_to_string(fixture.local.path("torn/README.md")).unwrap().contains(told));
}
