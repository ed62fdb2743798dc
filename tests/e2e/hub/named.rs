//! Models and earlier data sets by their names on the Hub, where a folder may stand.

use std::{fs, path::Path};

use super::HubFixture;
use crate::{
    fixture::{Fixture, ROOT, TestRng, published},
    semantic,
};

#[test]
fn a_model_of_the_hub_is_fetched_once_and_gives_what_its_folder_gives() {
    let local = semantic::fixture(&semantic::semantic("message", 0.9, 5));
    let fixture = HubFixture::new(local);
    let folder = Path::new(ROOT).join("tests/oracles/semantic/model2vec");
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.push(("README.md".into(), b"---\nlicense: mit\n---\n# A model\n".to_vec()));
    files.push(("pytorch_model.bin".into(), b"not read".to_vec()));
    fixture.hub.store().put("models/lab/words", files);
    let commit = fixture.hub.store().repos["models/lab/words"].refs["main"].clone();
    let (recipe, data) = (fixture.recipe(), fixture.arg("data"));
    let build = |out: &str, model: &str, env: &[(&str, &str)]| {
        let (out, set) = (fixture.arg(out), format!("dedup.semantic.model={model}"));
        let args = ["build", &recipe, "--from", &data, "--out", &out];
        let set: &[&str] = if model.is_empty() { &[] } else { &["--set", &set] };
        fixture.run_with(&[&args[..], set].concat(), env)
    };
    let offline = [("HF_HUB_OFFLINE", "1")];
    let named = format!("lab/words@{commit}");
    let said = build("out", &named, &offline).assert_failure();
    assert!(said.contains("lab/words"), "{said}");
    let said = build("out", "lab/words@main", &[]).assert_failure();
    assert!(said.contains(&format!("names no commit, and what main stands for moves: write \"{named}\"")), "{said}");
    let set = format!("dedup.semantic.model={named}");
    let pulled = fixture.run(&["pull", &recipe, "--set", &set]);
    assert!(pulled.said().contains(&format!("here: {named}")), "{pulled:?}");
    assert!(fixture.fetched().iter().all(|path| !path.contains("pytorch_model.bin")));
    build("hub", &named, &offline).assert_success();
    build("folder", "", &offline).assert_success();
    let [mut hub, mut folder] = ["hub", "folder"].map(|out| published(&fixture.local.path(out)));
    for name in ["recipe.lock.toml", "README.md"] {
        let [hub, folder] =
            [&mut hub, &mut folder].map(|files| String::from_utf8(files.remove(name).unwrap()).unwrap());
        let license = if name == "README.md" { "licence `mit`" } else { "license = \"mit\"" };
        assert!(hub.contains(license) && hub.contains(&named) && !folder.contains(&named), "{hub}");
    }
    let data = |files: &std::collections::BTreeMap<String, Vec<u8>>| {
        files
            .iter()
            .filter(|(name, _)| name.ends_with(".parquet"))
            .map(|(n, f)| (n.clone(), f.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(data(&hub), data(&folder));
    // A lock names what to fetch, and asks nothing of the network where that is here.
    let lock = fixture.arg("hub/recipe.lock.toml");
    fixture
        .run_with(&["build", &lock, "--from", &fixture.arg("data"), "--out", &fixture.arg("again")], &offline)
        .assert_success();
    assert_eq!(published(&fixture.local.path("again")), published(&fixture.local.path("hub")));
}

#[test]
fn a_published_data_set_is_held_against() {
    let fixture = HubFixture::new(Fixture::text("[dedup]\n[dedup.near]\nthreshold = 0.7\n[split]\nvalidation = 0.2\n"));
    fixture.hub.store().put("datasets/lab/web", [("a.jsonl".to_owned(), TestRng(1).lines(60))]);
    fixture.build("first", &[]).assert_success();
    let pushed = ["push", &fixture.arg("first"), "anna/first"];
    fixture.run(&pushed).assert_success();
    let commit = fixture.hub.store().repos["datasets/anna/first"].refs["main"].clone();
    let named = format!("anna/first@{commit}");
    fixture.hub.store().put("datasets/lab/web", [("b.jsonl".to_owned(), TestRng(2).lines(60))]);
    fixture.build("without", &[]).assert_success();
    let folder = fixture.arg("first");
    for key in ["dedup.near.against", "decontamination.against"] {
        let against = |name: &str| format!("{key}=[{name:?}]");
        fixture.build("folder", &["--set", &against(&folder)]).assert_success();
        fixture.build("hub", &["--set", &against(&named)]).assert_success();
        let ids = |out: &str| {
            let mut ids = crate::fixture::column(&fixture.local.path(out).join("data"), "", "id");
            ids.sort();
            ids
        };
        assert_eq!(ids("hub"), ids("folder"), "{key}");
        assert!(ids("hub").len() < ids("without").len(), "{key}");
        let lock = fs::read_to_string(fixture.local.path("hub/recipe.lock.toml")).unwrap();
        assert!(lock.contains("[[repo]]") && lock.contains(&named), "{key}: {lock}");
    }
}
