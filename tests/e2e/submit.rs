//! Builds in parts on a batch system: what is written, what is submitted, and how it stands. The Slurm here is a script that keeps a
//! list; tests/python/check_slurm.py has a real one.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::fixture::{Fixture, Run, TestRng, Transcript, interrupt, signal, wait_for, web_rules};

/// Keeps the numbers of what was submitted in `jobs`, and what was said to it in `calls`; its queue is the file `queue`.
const SLURM: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
program=$(basename "$0")
echo "$program $*" >>calls
case $program in
sbatch) echo x >>jobs; echo "10$(wc -l <jobs | tr -d ' ')" ;;
squeue) cat queue 2>/dev/null || true ;;
scontrol) echo "MaxArraySize            = ${MAX:-1001}" ;;
esac
"#;

/// A fixture of a few tasks, and a Slurm.
fn fixture(rows: usize) -> Fixture {
    let (fixture, mut rng) = (Fixture::text(&web_rules(6000)), TestRng(11));
    fixture.write("data/web/a.jsonl", rng.lines(rows));
    fixture.write("data/web/b.jsonl", rng.lines(rows));
    for program in ["sbatch", "squeue", "scontrol", "scancel"] {
        let path = fixture.write(&format!("slurm/{program}"), SLURM);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(path, mode).unwrap();
    }
    fixture
}

/// The program with that Slurm, in the fixture's folder.
fn command(fixture: &Fixture, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
    let path = format!("{}:{}", fixture.path("slurm").display(), std::env::var("PATH").unwrap());
    command.args(args).env("PATH", path).current_dir(fixture.path("."));
    command
}

fn run(fixture: &Fixture, args: &[&str]) -> Run {
    command(fixture, args).output().unwrap().into()
}

const SUBMIT: [&str; 8] = ["submit", "recipe.toml", "--from", "data", "--out", "an out", "--slurm", "--json"];

fn submit(fixture: &Fixture, more: &[&str]) -> Value {
    let args: Vec<&str> = SUBMIT.iter().chain(more).copied().collect();
    serde_json::from_str(&run(fixture, &args).assert_success().stdout).unwrap()
}

fn status(fixture: &Fixture) -> Value {
    serde_json::from_str(&run(fixture, &["status", "an out", "--json"]).assert_success().stdout).unwrap()
}

fn states(fixture: &Fixture) -> Vec<String> {
    let found = status(fixture);
    let parts = found["slices"].as_array().unwrap().iter().chain([&found["finish"]]);
    parts.map(|part| part["state"].as_str().unwrap().to_owned()).collect()
}

fn slice(fixture: &Fixture, number: usize) -> Run {
    fixture.build("an out", &["--task", &format!("{number}/4")])
}

#[test]
fn what_is_missing_is_submitted_and_status_says_how_it_stands() {
    let fixture = fixture(40);
    let done = submit(&fixture, &["--tasks", "4"]);
    assert_eq!(done["status"], "submitted");
    assert_eq!(
        (&done["submitted"], &done["jobs"]),
        (&json!([1, 2, 3, 4]), &json!({"slices": "101", "join": "102", "finish": "103"}))
    );
    let calls = fs::read_to_string(fixture.path("slurm/calls")).unwrap();
    // What publishes does the rest of joining: a process that joins may be lost.
    for after in ["afterok:101", "afterok:101,afterany:102"] {
        let after = format!("sbatch --parsable --kill-on-invalid-dep=yes --dependency={after} ");
        assert!(calls.contains(&after), "{calls}");
    }

    for (limit, notice, wrong) in
        [("00:01:00", "120", true), ("1", "60", true), ("0:2", "1", false), ("1-0", "120", false)]
    {
        let args = ["--tasks", "4", "--dry-run", "--time", limit, "--notice", notice];
        let said = run(&fixture, &[&SUBMIT[..], &args].concat());
        let said = if wrong { said.assert_failure() } else { said.assert_success().said() };
        assert_eq!(said.contains("is no longer than --notice"), wrong, "{said}");
    }
    let elsewhere = ["--kubernetes", "--dry-run", "--image", "i", "--volume", "claim=/mnt"];
    let args = [&["submit", "recipe.toml", "--from", "data", "--out", "an out"][..], &elsewhere].concat();
    let said = run(&fixture, &args).assert_failure();
    assert!(said.contains("is not below /mnt, where the volume is mounted"), "{said}");

    // What has no task is done before anything runs.
    assert_eq!(status(&fixture)["tasks"][1], 0);
    assert_eq!(submit(&fixture, &["--tasks", "60", "--dry-run"])["status"], "written");

    // All wait: nothing more is to be submitted.
    let queue = |lines: &str| fixture.write("slurm/queue", lines);
    queue(
        "101_1|PENDING|Priority\n101_2|PENDING|Priority\n101_3|PENDING|Priority\n101_4|PENDING|Priority\n102_1|PENDING|Dependency\n103|PENDING|Dependency\n",
    );
    assert_eq!(states(&fixture), ["waiting"; 5]);
    assert_eq!(status(&fixture)["join"][0]["state"], "waiting");
    assert_eq!(submit(&fixture, &[])["status"], "queued");
    // Another build of the same folder would meet them.
    let said = run(&fixture, &[&SUBMIT[..], &["--set", "seed=5"]].concat()).assert_failure();
    assert!(said.contains("jobs of another build"), "{said}");

    // Two are done, one failed: its array is no more, and so is what would have joined it.
    for number in [1, 3] {
        slice(&fixture, number).assert_success();
    }
    queue("101_2|PENDING|Priority\n");
    assert_eq!(states(&fixture), ["done", "waiting", "done", "open", "open"]);
    let done = submit(&fixture, &[]);
    assert_eq!((&done["submitted"], &done["queued"]), (&json!([4]), &json!([2])));
    let calls = fs::read_to_string(fixture.path("slurm/calls")).unwrap();
    assert!(calls.contains("--dependency=afterok:104,afterany:101 "), "{calls}");
    queue("");
    for number in [2, 4] {
        slice(&fixture, number).assert_success();
    }
    fixture.build("an out", &["--finish=2/4"]).assert_success();
    assert!(status(&fixture)["join"].as_array().unwrap().iter().all(|share| share["state"] == "done"));
    fixture.build("an out", &["--finish"]).assert_success();
    assert_eq!(status(&fixture)["published"], true);
    assert_eq!(submit(&fixture, &[])["status"], "up_to_date");
    // What joins comes to a build that is there already: it is as good as done.
    fixture.build("an out", &["--finish"]).assert_success();
    assert_eq!(status(&fixture)["published"], true);
    fixture.build("whole", &[]).assert_success();
    assert_eq!(fixture.published("an out"), fixture.published("whole"));
}

#[test]
fn parts_that_fail_stop_or_are_killed_say_so() {
    let fixture = fixture(3000);
    let whole = fs::read_to_string(fixture.path("data/web/b.jsonl")).unwrap();
    fixture.write("data/web/b.jsonl", format!("{whole}{{broken\n"));
    let mut transcript = Transcript::default();
    let slice = |number: usize| fixture.command("an out", &["--jobs", "1", "--task", &format!("{number}/2")]);
    let look = |transcript: &mut Transcript, case: &str| {
        let said = run(&fixture, &["status", "an out"]).assert_success().stdout;
        // How many tasks were done by then depends on the machine.
        let (tasks, parts) = said.split_once('\n').unwrap();
        assert!(tasks.starts_with("an out, ") && tasks.ends_with(" of 486 tasks done"), "{said}");
        transcript.add(case, parts);
    };
    let nothing = run(&fixture, &["status", "data"]).assert_failure();
    transcript.add("nothing was begun", &nothing);
    for (name, case) in [("USR1", "stopped"), ("KILL", "killed")] {
        let mut child = slice(1).env("SLURMD_NODENAME", "n1").spawn().unwrap();
        // A note of its own, and no longer that of the one before.
        let note = fixture.path("an out/.setaccio/parts/slice-1-of-2.json");
        let fresh = || fs::read_to_string(&note).is_ok_and(|note| !note.contains("ended"));
        let outline = fixture.path("an out/.setaccio/parts/outline.json");
        // It says what it is at a moment after it says that it runs.
        let is_filtering = || status(&fixture)["slices"][0]["at"] == "filter";
        wait_for(&mut child, || outline.exists() && fresh() && is_filtering());
        signal(&child, name);
        let code = child.wait().unwrap().code();
        assert_eq!(code, if name == "USR1" { Some(138) } else { None }, "{case}");
        look(&mut transcript, case);
    }
    for number in 1..=2 {
        slice(number).env("SLURM_JOB_ID", "77").env("SLURMD_NODENAME", "n2").output().unwrap();
    }
    let states = states(&fixture);
    assert_eq!(states.iter().filter(|state| *state == "failed").count(), 1, "{states:?}");
    look(&mut transcript, "failed");
    fixture.build("an out", &["--finish"]).assert_failure();
    assert_eq!(status(&fixture)["finish"]["state"], "failed");
    transcript.assert_snapshot("submit-parts_that_fail");
}

#[test]
fn a_signal_of_the_batch_system_is_no_second_one() {
    let fixture = fixture(3000);
    // A script passes on, as USR1, what its process was sent itself.
    let mut child = fixture.command("out", &["--jobs", "1"]).spawn().unwrap();
    wait_for(&mut child, || fixture.path("out/.setaccio/work").exists());
    signal(&child, "USR1");
    signal(&child, "TERM");
    signal(&child, "USR1");
    // Which of the two is told of depends on which came before it was over.
    assert!(matches!(child.wait().unwrap().code(), Some(138 | 143)));
    let left = fs::read_dir(fixture.path("out/.setaccio/work")).into_iter().flatten().flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with('.')).count();
    assert_eq!(left, 0, "it stopped cleanly");
    let mut child = fixture.command("again", &["--jobs", "1"]).spawn().unwrap();
    wait_for(&mut child, || fixture.path("again/.setaccio/work").exists());
    interrupt(&child);
    signal(&child, "USR1");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn scripts_and_manifests_are_for_a_person_to_read() {
    let fixture = fixture(60);
    fixture.write("my env.sh", "module load x\nexport HF_TOKEN=hf_secret\n");
    let mut transcript = Transcript::default();
    let dry = |more: &[&str]| {
        let args = ["submit", "recipe.toml", "--from", "data", "--out", "out", "--tasks", "3", "--dry-run"];
        let said = run(&fixture, &[&args[..], more].concat()).assert_success().stdout;
        assert!(!said.contains("hf_secret"), "{said}");
        said.replace(env!("CARGO_BIN_EXE_setaccio"), "[SETACCIO]").replace(fixture.path("").to_str().unwrap(), "[LAB]/")
    };
    let slurm = ["--slurm", "--elements", "2", "--partition", "boost", "--account", "mine", "--time", "02:00:00"];
    transcript.add("Slurm", &dry(&[&slurm[..], &["--env", "my env.sh", "--set", "sample.rows=5"]].concat()));
    let volume = [
        "--kubernetes",
        "--image",
        "registry.example/setaccio:1",
        "--volume",
        &format!("data={}", fixture.path("").display()),
    ];
    transcript.add("Kubernetes", &dry(&volume));
    transcript.add("AWS Batch", &dry(&["--aws-batch", "--queue", "spot", "--job-definition", "setaccio:3"]));
    assert!(!fixture.path("slurm/jobs").exists(), "nothing was submitted");
    transcript.assert_snapshot("submit-scripts");

    // An array has no more elements than Slurm takes.
    let mut many =
        command(&fixture, &["submit", "recipe.toml", "--from", "data", "--out", "many", "--tasks", "7", "--slurm"]);
    let said = Run::from(many.env("MAX", "4").output().unwrap()).assert_success().said();
    assert!(said.contains("7 of 7 slices"), "{said}");
    let script = fs::read_to_string(fixture.path("many/.setaccio/submit/0001/slices.sh")).unwrap();
    assert!(script.contains("#SBATCH --array=1-3\n"), "{script}");
    let script = fs::read_to_string(fixture.path("many/.setaccio/submit/0001/join.sh")).unwrap();
    assert!(script.contains("#SBATCH --array=1-3\n"), "{script}");
}

#[test]
fn each_file_is_read_through_by_one_slice() {
    let fixture = fixture(60);
    let inspected = |out: &str| {
        let found = fs::read_dir(fixture.path(out).join(".setaccio/inspected")).unwrap().flatten();
        let mut found: Vec<_> = found.map(|entry| (entry.file_name(), modified(&entry.path()))).collect();
        found.sort();
        found
    };
    fixture.build("out", &["--task", "1/2"]).assert_success();
    let first = inspected("out");
    assert_eq!(first.len(), 2, "{first:?}");
    fixture.build("out", &["--task", "2/2"]).assert_success();
    assert_eq!(inspected("out"), first, "nothing was inspected again");
    // A file that changes is, and its tasks are others.
    let file = fixture.path("data/web/a.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}{}", TestRng(5).lines(3))).unwrap();
    let said = fixture.build("out", &["--finish"]).assert_failure();
    assert!(said.contains("are not done yet"), "{said}");
    assert_ne!(inspected("out"), first);
    for slice in ["1/2", "2/2"] {
        fixture.build("out", &["--task", slice]).assert_success();
    }
    fixture.build("out", &["--finish"]).assert_success();
    fixture.build("whole", &[]).assert_success();
    assert_eq!(fixture.published("out"), fixture.published("whole"));
}

fn modified(path: &Path) -> std::time::SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn a_slice_takes_its_number_from_the_batch_system() {
    let fixture = fixture(40);
    let auto = |task: &str, variables: &[(&str, &str)]| {
        let mut command = fixture.command("out", &["--task", task]);
        command.envs(variables.iter().copied());
        Run::from(command.output().unwrap())
    };
    auto("auto", &[("SLURM_ARRAY_TASK_ID", "1"), ("SLURM_ARRAY_TASK_MIN", "1"), ("SLURM_ARRAY_TASK_COUNT", "3")])
        .assert_success();
    auto("auto/3", &[("JOB_COMPLETION_INDEX", "1")]).assert_success();
    auto("auto", &[("AWS_BATCH_JOB_ARRAY_INDEX", "2"), ("AWS_BATCH_JOB_ARRAY_SIZE", "3")]).assert_success();
    fixture.build("out", &["--finish"]).assert_success();
    let said = auto("auto", &[("JOB_COMPLETION_INDEX", "1")]);
    assert!(said.code == Some(2) && said.said().contains("auto/N"), "{said:?}");
    let said = auto("auto/3", &[]);
    assert!(said.code == Some(2) && said.said().contains("JOB_COMPLETION_INDEX"), "{said:?}");
}

#[cfg(feature = "train")]
#[test]
fn a_run_and_a_chain_go_on_where_they_were() {
    let fixture = fixture(20);
    let mut transcript = Transcript::default();
    for (recipe, more) in
        [("tiny", &["--gpus", "0", "--", "--max-steps", "3"][..]), ("smollm2", &["--chain", "--from", "hub"])]
    {
        let args = ["submit", recipe, "--slurm", "--dry-run", "--out", "run", "--jobs", "8"];
        let said = run(&fixture, &[&args[..], more].concat());
        let text = said.said().replace(env!("CARGO_BIN_EXE_setaccio"), "[SETACCIO]");
        transcript.add(recipe, &text.replace(fixture.path("").to_str().unwrap(), "[LAB]/"));
    }
    transcript.assert_snapshot("submit-training");
    let submit = ["submit", "tiny", "--slurm", "--out", "an out"];
    assert!(run(&fixture, &submit).assert_success().said().contains("train 101"));
    fixture.write("slurm/queue", "101|RUNNING|None\n");
    assert!(run(&fixture, &submit).assert_success().said().contains("in the queue"));
    assert_eq!(status(&fixture)["train"]["state"], "running");
}
