use std::{fs, path::Path};

use super::{
    lock::ChainLock,
    places::Places,
    schema::{Chain, ChainFile},
};
use crate::error::Result;

const CHAIN: &str = r#"
name = "c"
base = { path = "tiny", license = "mit" }
quants = ["q8_0"]
[[stage]]
name = "one"
build = "a.toml"
train = "t.toml"
set = ["train.batch=3"]
[[stage]]
name = "two"
build = "b.toml"
train = "t.toml"
"#;

fn open(text: &str) -> (tempfile::TempDir, Result<ChainFile>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chain.toml");
    fs::write(&path, text).unwrap();
    fs::write(
        dir.path().join("t.toml"),
        "name = 't'\n[model]\npath = 'x'\nrepo = 'o/n'\nlicense = 'gpl'\n[data]\ntrain = ['y']\n",
    )
    .unwrap();
    let chain = Chain::open(&path);
    (dir, chain)
}

#[test]
fn each_stage_stands_upon_the_one_before() {
    let (_dir, chain) = open(CHAIN);
    let (chain, places) = (chain.unwrap(), Places { root: "runs/c".into() });
    let [one, two] = [0, 1].map(|i| chain.stage(i, &places).unwrap().recipe);
    assert_eq!((one.model.path.as_str(), one.model.license.as_str(), one.train.batch), ("tiny", "mit", 3));
    assert_eq!((two.model.path.as_str(), two.model.repo.as_str(), two.train.batch), ("runs/c/one/merged", "", 8));
    assert_eq!(two.data.train, [Path::new("runs/c/data/two")]);
    assert_eq!(places.result(), Path::new("runs/c/merged"));
    assert_eq!(places.export("c", "q8_0"), Path::new("runs/c/export/c-Q8_0.gguf"));
}

#[test]
fn mistakes_are_named() {
    let cases = [
        (CHAIN.replace("name = \"two\"", "name = \"one\""), "two stages are called `one`"),
        (CHAIN.replace("name = \"two\"", "name = \"Data\""), "no name for a folder"),
        (CHAIN.replace("name = \"two\"", "name = \"t.w\""), "letters, digits, - and _"),
        (CHAIN.replace("q8_0", "q9_9"), "q9_9"),
        (CHAIN.replace("name = \"c\"", "name = \"c\"\ndtype = \"f99\""), "f99"),
        (CHAIN.replace("quants", "quant"), "quant"),
        (CHAIN.split("[[stage]]").next().unwrap().to_owned() + "stage = []", "at least one"),
    ];
    for (text, expected) in cases {
        let error = open(&text).1.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_step_is_kept_as_long_as_its_inputs_and_files_are() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("m");
    fs::create_dir(&made).unwrap();
    fs::write(made.join("a"), "123").unwrap();
    let mut kept = ChainLock::open(dir.path()).unwrap();
    assert!(!kept.has("s", "k", &made));
    kept.add("s", "k", &made).unwrap();
    let kept = ChainLock::open(dir.path()).unwrap();
    assert!(kept.has("s", "k", &made) && !kept.has("s", "other", &made) && !kept.has("t", "k", &made));
    assert!(kept.made(&made) && !kept.made(&dir.path().join("n")) && !kept.has("s", "k", &dir.path().join("n")));
    // Another step that writes to the same place has it from then on.
    let mut other = kept.clone();
    other.add("t", "k", &made).unwrap();
    assert!(other.has("t", "k", &made) && !other.has("s", "k", &made));
    other.add("s", "k", &made).unwrap();
    let kept = ChainLock::open(dir.path()).unwrap();
    fs::write(made.join("a"), "12").unwrap();
    assert!(!kept.has("s", "k", &made), "another length");
    fs::remove_dir_all(&made).unwrap();
    assert!(!kept.has("s", "k", &made), "gone");
    fs::write(dir.path().join("chain.lock.toml"), "x = 1").unwrap();
    assert!(ChainLock::open(dir.path()).unwrap_err().to_string().contains("remove it"));
}
