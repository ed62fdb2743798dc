//! Same recipe, inputs and seed: same bytes, however the work is divided; and every row is somewhere.

use std::process::Stdio;

use proptest::{prelude::*, test_runner::RngSeed};

use crate::lab::{Dice, Lab, batches, web_rules};

/// A lab with a few files of several containers.
fn lab(seed: u64, rows: usize) -> Lab {
    let more = "[sample]\nfraction = 0.8\n[output]\nshard_bytes = 6000\nrow_group_bytes = 5000\n";
    let (lab, mut dice) = (Lab::text(&(web_rules(6000) + more)), Dice(seed));
    lab.write("data/web/a.jsonl", dice.lines(rows));
    lab.write("data/web/b.jsonl.zst", zstd::encode_all(dice.lines(rows / 2).as_bytes(), 3).unwrap());
    let array: Vec<String> = dice.lines(rows / 2).lines().map(str::to_owned).collect();
    lab.write("data/web/c.json", format!("[{}]", array.join(",\n")));
    lab
}

/// Rows of the ledger's stages: in, out, and what the rules dropped.
fn flows(lab: &Lab, out: &str) -> (serde_json::Value, Vec<(u64, u64, u64)>) {
    let ledger: serde_json::Value =
        serde_json::from_slice(&std::fs::read(lab.path(out).join("ledger.json")).unwrap()).unwrap();
    let number = |v: &serde_json::Value| v.as_u64().unwrap();
    let stages = ledger["stages"].as_array().unwrap().iter().map(|stage| {
        let dropped = stage["rules"].as_array().unwrap().iter().map(|r| number(&r["dropped"])).sum();
        (number(&stage["rows_in"]), number(&stage["rows_out"]), dropped)
    });
    let stages = stages.collect();
    (ledger, stages)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 8,
        rng_seed: RngSeed::Fixed(42),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn bytes_do_not_depend_on_threads_or_slices(seed in 0_u64..1000, rows in 40_usize..140) {
        let lab = lab(seed, rows);
        lab.build("one", &["--jobs", "1"]).good();
        let one = lab.published("one");
        prop_assert!(one.keys().filter(|n| n.starts_with("data/")).count() > 1, "the run is too small to say much");
        for jobs in ["2", "5"] {
            lab.build(jobs, &["--jobs", jobs]).good();
            prop_assert_eq!(&lab.published(jobs), &one, "with {} jobs", jobs);
        }
        // Any order, any number of processes: here in threes, the last first.
        let mut slices: Vec<usize> = (1..=7).rev().collect();
        while !slices.is_empty() {
            let batch: Vec<_> = slices.drain(..slices.len().min(3)).collect();
            let start = |i| lab.command("seven", &["--task", &format!("{i}/7")]).stdout(Stdio::null()).spawn().unwrap();
            let running = batch.iter().map(start);
            for mut child in running.collect::<Vec<_>>() {
                prop_assert!(child.wait().unwrap().success());
            }
        }
        lab.build("seven", &["--finish"]).good();
        prop_assert_eq!(&lab.published("seven"), &one, "joined from slices");
    }

    #[test]
    fn rows_in_are_rows_out_and_rejects(seed in 0_u64..1000, rows in 40_usize..140) {
        let lab = lab(seed, rows);
        lab.build("out", &[]).good();
        let (ledger, stages) = flows(&lab, "out");
        let read = (rows + rows / 2 * 2) as u64;
        prop_assert_eq!(stages[0].0, read, "every row of the files is read");
        for (stage, next) in stages.iter().zip(&stages[1..]) {
            prop_assert_eq!(stage.1, next.0, "what leaves a stage enters the next");
        }
        for stage in &stages {
            prop_assert_eq!(stage.0, stage.1 + stage.2);
        }
        let count = |folder: &str| batches(&lab.path("out").join(folder), "").iter().map(|b| b.num_rows() as u64).sum::<u64>();
        let (kept, rejects) = (count("data"), count("rejects"));
        prop_assert_eq!(kept, stages.last().unwrap().1);
        prop_assert_eq!(kept + rejects, read, "{}", ledger);
        let out = lab.path("out");
        let verified = crate::lab::setaccio(&["verify", out.to_str().unwrap()]).good();
        prop_assert!(verified.stdout.contains("checks"), "{}", verified.stdout);
    }
}

#[test]
fn a_second_run_has_nothing_to_do_and_a_change_is_never_overlooked() {
    let lab = lab(1, 60);
    lab.build("out", &[]).good();
    let first = lab.published("out");
    assert!(lab.build("out", &[]).good().stdout.starts_with("up to date"));
    assert!(lab.build("out", &["--force"]).good().stdout.starts_with("built"));
    assert_eq!(lab.published("out"), first);

    // The older name of `[[filter]]` says the same, in a recipe and on the command line.
    let recipe = std::fs::read_to_string(lab.path("lab.toml")).unwrap();
    lab.write("lab.toml", recipe.replace("[[filter]]", "[[screen]]"));
    assert!(lab.build("out", &[]).good().stdout.starts_with("up to date"));

    // Other settings, then back: what is there is always what was asked for.
    lab.build("out", &["--set", "filter.clean_mc4_it.length.min_chars=600"]).good();
    assert_ne!(lab.published("out"), first);
    assert!(lab.build("out", &[]).good().stdout.starts_with("built"));
    assert_eq!(lab.published("out"), first);

    // The same name and size, other content.
    let path = lab.path("data/web/a.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    lab.write("data/web/a.jsonl", text.replace("favole", "storie"));
    lab.build("out", &[]).good();
    let changed = lab.published("out");
    assert_ne!(changed, first);
    let fresh = lab.build("fresh", &[]).good();
    assert!(fresh.stdout.starts_with("built"));
    assert_eq!(lab.published("fresh"), changed);
}

#[test]
fn slices_are_joined_only_when_all_are_there() {
    let lab = lab(2, 60);
    lab.build("out", &["--task", "1/3"]).good();
    let said = lab.build("out", &["--finish"]).bad();
    assert!(said.contains("tasks are not done yet"), "{said}");
    assert!(!lab.path("out/ledger.json").exists());
    lab.build("out", &["--task", "2/3"]).good();
    lab.build("out", &["--task", "3/3"]).good();
    // A slice of another recipe is not taken for one of this.
    let said = lab.build("out", &["--finish", "--set", "seed=7"]).bad();
    assert!(said.contains("tasks are not done yet"), "{said}");
    lab.build("out", &["--finish"]).good();
    lab.build("whole", &[]).good();
    assert_eq!(lab.published("out"), lab.published("whole"));
    assert_eq!(lab.build("out", &["--task", "4/3"]).code, Some(2));
}
