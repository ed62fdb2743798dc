//! The four recipes from a Hub that has stand-ins of their sources, in the real file layout: the same bytes as from
//! local files, and no more files than the sample needs.

use std::{collections::BTreeMap, fs, path::Path};

use super::{Bench, standins};
use crate::lab::{Dice, Lab, published};

/// Published files but those that say where the rows came from.
fn rows(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = published(out);
    files.retain(|name, _| name.starts_with("data/") || name.starts_with("rejects/"));
    assert!(!files.is_empty());
    files
}

type Files = Vec<(String, Vec<u8>)>;

/// A Hub with these repositories, and the same files below `data/`, as `--from DIR` looks for them.
fn bench(repos: impl IntoIterator<Item = (&'static str, Files)>) -> Bench {
    let bench = Bench::new(Lab::text(""));
    for (repo, files) in repos {
        for (path, bytes) in &files {
            bench.lab.write(&format!("data/{repo}/{path}"), bytes);
        }
        let mut store = bench.hub.store();
        store.page = 300;
        store.put(&format!("datasets/{repo}"), files);
    }
    bench
}

impl Bench {
    /// Build a recipe from the Hub and from the folder, compare, and give the files that were fetched and what was said.
    fn both(&self, recipe: &str, out: &str, args: &[&str]) -> (Vec<String>, String) {
        self.hub.take_log();
        let file = format!("pipelines/{recipe}.toml");
        let [hub, dir, data] = [format!("{out}-hub"), format!("{out}-dir"), "data".into()].map(|n| self.arg(&n));
        let said = self.run(&[&["build", &file, "--from", "hub", "--out", &hub], args].concat()).good().stdout;
        let fetched = self.fetched();
        self.run(&[&["build", &file, "--from", &data, "--out", &dir], args].concat()).good();
        assert_eq!(rows(Path::new(&hub)), rows(Path::new(&dir)), "{recipe}");
        self.run(&["verify", &hub]).good();
        let lock = fs::read_to_string(format!("{hub}/recipe.lock.toml")).unwrap();
        assert!(lock.contains("from = \"hub\"") && lock.contains("commit = \""), "{lock}");
        let card = fs::read_to_string(format!("{hub}/README.md")).unwrap();
        let notes: Vec<&str> = said.lines().filter_map(|l| l.strip_prefix("note: ")).collect();
        assert!(notes.iter().all(|note| card.contains(note)), "{notes:?}: {card}");
        (fetched, said)
    }
}

#[test]
fn sft_mix_from_an_array_of_the_real_size() {
    let bench = bench([
        ("pankajmathur/WizardLM_Orca", vec![("wizardlm_orca.json".into(), standins::array(125_000_000))]),
        ("pankajmathur/alpaca_orca", vec![("alpaca_orca.json".into(), standins::sample("alpaca_orca.json"))]),
        ("pankajmathur/dolly-v2_orca", vec![("dolly_orca.json".into(), standins::sample("dolly_orca.json"))]),
    ]);
    let (fetched, said) = bench.both("sft-mix", "sft", &["--limit", "900"]);
    assert_eq!(fetched.len(), 3, "{fetched:?}");
    assert!(said.contains("Of `wizardlm-orca` the first 900 rows were read"), "{said}");
    assert!(!said.contains("Of `dolly-orca`"), "a limit that cuts nothing is not told of: {said}");
}

#[test]
fn dpo_mix_from_parquet() {
    let bench =
        bench([("mlabonne/orpo-dpo-mix-40k", vec![("data/train-00000-of-00001.parquet".into(), standins::pairs(10))])]);
    let (fetched, _) = bench.both("dpo-mix", "dpo", &[]);
    assert_eq!(fetched.len(), 1, "{fetched:?}");
    let dropped = crate::lab::column(&bench.lab.path("dpo-hub/rejects"), "screen", "rule");
    assert!(dropped.iter().any(|rule| rule == "column"), "the toxic part is left out: {dropped:?}");
}

#[test]
fn adapt_it_from_eight_of_1024_files() {
    let bench = bench([("gsarti/clean_mc4_it", standins::web(1024, 12))]);
    let (fetched, said) = bench.both("adapt-it", "adapt", &["--set", "sample.rows=60"]);
    assert_eq!(fetched.len(), 8, "a sample touches few of 1,024 files: {fetched:?}");
    assert!(fetched.iter().all(|path| path.contains("/clean_mc4_it/c4-it.tfrecord-")), "{fetched:?}");
    for told in [
        "Of the 1,024 files of `clean-mc4-it` 8 were read",
        "every file has the same chance",
        "likelier to be here than one that lies in a single file",
    ] {
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn another_seed_reads_other_files_and_all_files_need_no_excuse() {
    let bench = bench([("gsarti/clean_mc4_it", standins::web(48, 12))]);
    let (first, _) = bench.both("adapt-it", "first", &["--set", "sample.rows=60"]);
    // What the first has fetched stays in the cache and is not asked for again.
    let (other, _) = bench.both("adapt-it", "other", &["--set", "sample.rows=60", "--set", "seed=7"]);
    assert!((1..=8).contains(&other.len()) && other.iter().all(|path| !first.contains(path)), "{other:?}");
    let (rest, said) = bench.both("adapt-it", "all", &["--set", "sample.rows=60", "--set", "sample.files=1024"]);
    assert_eq!(first.len() + other.len() + rest.len(), 48);
    assert!(!said.contains("were read, chosen"), "{said}");
    let ids = |out: &str| crate::lab::column(&bench.lab.path(out).join("data"), "", "id");
    assert_eq!(ids("all-hub").len(), 60);
    assert_ne!(ids("all-hub"), ids("first-hub"));
}

#[test]
fn clean_web_it_from_the_files_of_its_language() {
    let bench = bench([("allenai/c4", standins::raw(4))]);
    let (fetched, _) = bench.both("clean-web-it", "web", &[]);
    assert_eq!(fetched.len(), 4, "{fetched:?}");
    assert!(fetched.iter().all(|path| path.contains("/multilingual/c4-it.tfrecord-")), "{fetched:?}");
}

#[test]
fn a_limit_fetches_no_file_behind_it() {
    let files = (0..9).map(|i| (format!("{i}.jsonl"), Dice(i).lines(30).into_bytes()));
    let bench = bench([("lab/web", files.collect::<Files>())]);
    let (recipe, data) = (bench.recipe(), bench.arg("data"));
    let build = |from: &str, out: &str, limit: &str| {
        bench.run(&["build", &recipe, "--from", from, "--out", &bench.arg(out), "--limit", limit]).good()
    };
    let said = build("hub", "hub", "70").stdout;
    assert_eq!(bench.fetched().len(), 3, "three files have the first 70 rows");
    for told in ["Of `web` the first 70 rows were read", "from 3 of 9 files", "they are its head and no sample of it"] {
        assert!(said.contains(told), "{said}");
        assert!(fs::read_to_string(bench.lab.path("hub/README.md")).unwrap().contains(told));
    }
    build(&data, "dir", "70");
    assert_eq!(rows(&bench.lab.path("hub")), rows(&bench.lab.path("dir")));
    // The end of a file is as good a place to stop as its middle.
    let said = build("hub", "even", "60").stdout;
    assert!(said.contains("from 2 of 9 files"), "{said}");
    let said = build("hub", "all", "270").stdout;
    assert!(!said.contains("no sample of it"), "all rows are here: {said}");
    let set = ["pull", &recipe, "--set", "read.limit=31"];
    assert!(bench.run(&set).good().stdout.contains("2 of 9 files"));
}

#[test]
fn what_may_be_missing_offline_is_said_on_the_card() {
    let files = (0..3).map(|i| (format!("{i}.jsonl"), Dice(i).lines(30).into_bytes()));
    let bench = bench([("lab/web", files.collect::<Files>())]);
    bench.run(&["pull", &bench.recipe()]).good();
    let cache = bench.home().join("hub/datasets--lab--web");
    let build = |out: &str| {
        let args = ["build", &bench.recipe(), "--from", "hub", "--out", &bench.arg(out)];
        bench.run_with(&args, &[("HF_HUB_OFFLINE", "1")]).good().stdout
    };
    assert!(!build("whole").contains("note:"));
    // Another program has fetched two of the files, and left no list.
    fs::remove_dir_all(cache.join("setaccio")).unwrap();
    let commit = bench.hub.store().repos["datasets/lab/web"].refs["main"].clone();
    fs::remove_file(cache.join("snapshots").join(commit).join("1.jsonl")).unwrap();
    let told = "read was what the cache held of it, 2 files";
    assert!(build("torn").contains(told));
    assert!(fs::read_to_string(bench.lab.path("torn/README.md")).unwrap().contains(told));
}
