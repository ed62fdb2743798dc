//! A finished build is what it says it is, or is said not to be; what no build wrote is left alone.

use std::fs;

use crate::lab::{Dice, Lab, Run, setaccio};

fn lab() -> Lab {
    let lab = Lab::text("[split]\nvalidation = 0.2\n");
    lab.write("data/web/good.jsonl", Dice(1).lines(50));
    lab.build("out", &[]).good();
    lab
}

fn verify(lab: &Lab) -> Run {
    setaccio(&["verify", lab.path("out").to_str().unwrap()])
}

#[test]
fn verify_sees_what_was_changed() {
    let lab = lab();
    verify(&lab).good();
    let shard = "data/train-00000-of-00001.parquet";
    let swaps: [(&str, &str, &str); 4] = [
        ("ledger.json", "\"rows_in\": 50", "\"rows_in\": 51"),
        ("recipe.lock.toml", "license = \"mit\"", "license = \"cc0-1.0\""),
        ("README.md", "# Lab", "# Lab, improved"),
        ("waterfall.svg", "#c53030", "#c53031"),
    ];
    for (name, from, to) in swaps {
        let path = lab.path("out").join(name);
        let whole = fs::read_to_string(&path).unwrap();
        assert!(whole.contains(from), "{name}");
        fs::write(&path, whole.replacen(from, to, 1)).unwrap();
        assert!(verify(&lab).bad().contains("wrong:"), "{name}");
        fs::write(&path, whole).unwrap();
        verify(&lab).good();
    }
    let path = lab.path("out").join(shard);
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&path, flipped).unwrap();
    assert!(verify(&lab).bad().contains(shard));
    fs::remove_file(&path).unwrap();
    assert!(verify(&lab).bad().contains(shard));
    fs::write(&path, whole).unwrap();
    fs::copy(&path, lab.path("out/data/train-00001-of-00001.parquet")).unwrap();
    assert!(verify(&lab).bad().contains("the build wrote no such file"));
}

#[test]
fn a_card_is_not_written_from_what_was_changed() {
    let lab = lab();
    let out = lab.path("out");
    let card = || setaccio(&["card", out.to_str().unwrap()]);
    card().good();
    for (name, from, to) in
        [("ledger.json", "\"rows_in\": 50", "\"rows_in\": 7"), ("recipe.lock.toml", "\"mit\"", "\"cc0-1.0\"")]
    {
        let whole = fs::read_to_string(out.join(name)).unwrap();
        fs::write(out.join(name), whole.replacen(from, to, 1)).unwrap();
        assert!(card().bad().contains(name));
        fs::write(out.join(name), whole).unwrap();
    }
}

#[test]
fn files_that_no_build_wrote_are_left_alone() {
    let lab = lab();
    for (folder, file) in [("foreign", "README.md"), ("foreign2", "data/mine.txt"), ("foreign3", "ledger.json")] {
        let mine = lab.write(&format!("{folder}/{file}"), "{}");
        let said = lab.build(folder, &[]).bad();
        assert!(said.contains("no build wrote it"), "{said}");
        assert_eq!(fs::read_to_string(mine).unwrap(), "{}");
        assert!(!lab.path(folder).join(".setaccio").exists());
    }
    // Beside an earlier build, too; what is elsewhere in the folder is nobody's business.
    lab.write("out/notes.txt", "mine");
    lab.build("out", &["--set", "seed=5"]).good();
    lab.write("out/data/mine.parquet", "mine");
    let said = lab.build("out", &["--set", "seed=6"]).bad();
    assert!(said.contains("data/mine.parquet") && said.contains("no build wrote it"), "{said}");
    assert_eq!(fs::read_to_string(lab.path("out/notes.txt")).unwrap(), "mine");
}

#[test]
fn nothing_is_published_where_nothing_is_left() {
    let lab = lab();
    let before = lab.published("out");
    for set in ["screen=[{rule='regex',drop=['.']}]", "split.validation=0.9999999"] {
        let said = lab.build("out", &["--set", set]).bad();
        assert!(said.contains("no row is left to train on: 50 rows read"), "{said}");
        assert_eq!(lab.published("out"), before);
    }
    assert!(lab.build("out", &["--set", "read.limit=0"]).bad().contains("read.limit must be above 0"));
}

#[test]
fn what_is_done_is_not_done_twice() {
    let lab = lab();
    for part in [&["--finish"][..], &["--task", "1/2"], &[]] {
        assert!(lab.build("out", part).good().stdout.starts_with("up to date"), "{part:?}");
    }
    // What a kill left behind goes at the next run.
    lab.write("out/.setaccio/old/data/x", "");
    lab.write("out/.setaccio/work/x", "");
    lab.build("out", &[]).good();
    assert!(!lab.path("out/.setaccio/work").exists() && !lab.path("out/.setaccio/old").exists());
    assert_eq!(fs::read_to_string(lab.path("out/.setaccio/.gitignore")).unwrap(), "*\n");
}

#[test]
fn a_card_edited_by_hand_is_not_lost() {
    let lab = lab();
    let path = lab.path("out/README.md");
    let card = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{card}\nA note of mine.\n")).unwrap();
    let said = lab.build("out", &["--set", "seed=5"]).bad();
    assert!(said.contains("README.md") && said.contains("changed by hand") && said.contains("--force"), "{said}");
    assert!(fs::read_to_string(&path).unwrap().contains("A note of mine."));
    lab.build("out", &["--set", "seed=5", "--force"]).good();
    verify(&lab).good();
}

#[test]
fn links_to_nowhere_are_seen() {
    let lab = lab();
    fs::create_dir(lab.path("foreign")).unwrap();
    std::os::unix::fs::symlink("/nowhere", lab.path("foreign/README.md")).unwrap();
    assert!(lab.build("foreign", &[]).bad().contains("no build wrote it"));
    fs::rename(lab.path("out/data"), lab.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("/gone", lab.path("out/data")).unwrap();
    lab.build("out", &["--set", "seed=5"]).good();
    verify(&lab).good();
}
