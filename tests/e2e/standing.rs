//! What `setaccio status` says at each moment of a build, of a run and of a chain: the program is stopped in the middle of a call of
//! the file system, looked at, and killed there.

use std::{
    fs,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    faults::shim,
    fixture::{Fixture, TestRng, setaccio, signal, wait_for, web_rules},
};

fn status(out: &Path) -> Value {
    serde_json::from_str(&setaccio(&["status", out.to_str().unwrap(), "--json"]).assert_success().stdout).unwrap()
}

fn state(found: &Value, part: &str) -> String {
    found[part]["state"].as_str().unwrap_or_default().to_owned()
}

/// The states of the slices, or of the processes that join them.
fn states(found: &Value, parts: &str) -> Vec<String> {
    let parts = found[parts].as_array().cloned().unwrap_or_default();
    parts.iter().map(|part| part["state"].as_str().unwrap().to_owned()).collect()
}

/// Whether a process was stopped by a signal.
fn is_stopped(child: &Child) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

/// Start a command that stops in its call of this number below the folder; nothing if it came to its end before.
fn stopped(mut command: Command, under: &Path, (call, at): (&str, usize)) -> Option<Child> {
    command.env("LD_PRELOAD", shim()).env("FAULT_UNDER", under).env("FAULT_STOP", "yes");
    let mut child = command.env("FAULT_CALL", call).env("FAULT_AT", at.to_string()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if is_stopped(&child) {
            return Some(child);
        }
        assert!(Instant::now() < deadline, "it neither stopped nor ended");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

fn fingerprint(out: &Path) -> Option<String> {
    let ledger: Value = serde_json::from_slice(&fs::read(out.join("ledger.json")).ok()?).ok()?;
    ledger["fingerprint"].as_str().map(str::to_owned)
}

/// Two slices of a few tasks.
fn fixture() -> Fixture {
    let settings = web_rules(4000).replace("[dedup]\n", "[dedup]\n[dedup.repeats]\nunit = 'sentences'\nspan = 1\n");
    let fixture = Fixture::text(&settings);
    fixture.write("data/web/a.jsonl", TestRng(5).lines(40));
    fixture.build("out", &[]).assert_success();
    fixture.write("data/web/b.jsonl", TestRng(6).lines(20));
    fixture.build("whole", &[]).assert_success();
    fixture
}

/// Stop a part of a build at each call, or each of so many, look what status says, kill it and look again; then it goes on from there.
fn at_each_call(fixture: &Fixture, args: &[&str], (call, every): (&str, usize), look: &dyn Fn(&Value, &str)) -> usize {
    let (before, out) = (fixture.path("before"), fixture.path("out"));
    copy(&out, &before);
    let (mut at, mut seen) = (1, 0);
    while let Some(child) = stopped(fixture.command("out", args), &out, (call, at)) {
        look(&status(&out), "running");
        kill(child);
        // Its first call gives its note a name: before, nobody was at it.
        look(&status(&out), if (call, at) == ("rename", 1) { "open" } else { "lost" });
        // The lock of a process that was stopped is free, and the same command goes on.
        fixture.build("out", args).assert_success();
        look(&status(&out), "done");
        copy(&before, &out);
        (at, seen) = (at + every, seen + 1);
    }
    // The last one came to its end.
    copy(&before, &out);
    seen
}

#[test]
fn status_is_true_at_each_moment_of_a_build() {
    let fixture = fixture();
    let (out, new) = (fixture.path("out"), fingerprint(&fixture.path("whole")));
    let out = &out;
    let slice = |number: usize| {
        move |found: &Value, running: &str| {
            // Before a part has said what is built, what is there is the earlier build.
            let notes = fs::read_dir(out.join(".setaccio/parts")).into_iter().flatten().flatten();
            let mut notes = notes.map(|note| note.file_name().to_string_lossy().into_owned());
            let told = notes
                .any(|name| name.strip_suffix(".json").is_some_and(|of| of == "outline" || of.starts_with("slice-")));
            assert_eq!((&found["published"], &found["publishing"]), (&(!told).into(), &false.into()), "{found}");
            let tasks = found["tasks"].as_array().map(|tasks| tasks[0] == tasks[1]);
            let is = states(found, "slices");
            // Before the first slice has said how many there are, it is not known.
            let mine = is.get(number - 1).map_or("open", String::as_str);
            let all = ["done", running].contains(&mine) || (running != "done" && is.is_empty());
            assert!(all, "{running}: {found}");
            assert!(number == 1 || is.is_empty() || is[0] == "done", "{found}");
            assert!(number == 1 || running != "done" || tasks == Some(true), "{found}");
        }
    };
    assert!(at_each_call(&fixture, &["--task", "1/2"], ("rename", 2), &slice(1)) > 3);
    fixture.build("out", &["--task", "1/2"]).assert_success();
    assert!(at_each_call(&fixture, &["--task", "2/2"], ("rename", 3), &slice(2)) > 2);
    fixture.build("out", &["--task", "2/2"]).assert_success();

    let share = |found: &Value, running: &str| {
        assert_eq!(states(found, "slices"), ["done"; 2], "{found}");
        assert_eq!(found["published"], false, "{found}");
        // Until it says that there are two, there are none.
        let is = states(found, "join");
        assert!(
            is.is_empty() && running != "done" || ["done", running].contains(&is[0].as_str()),
            "{running}: {found}"
        );
    };
    assert!(at_each_call(&fixture, &["--finish=1/2"], ("rename", 4), &share) > 4);
    fixture.build("out", &["--finish=1/2"]).assert_success();

    let finish = |found: &Value, running: &str| {
        let counts = fingerprint(out) == new;
        assert_eq!(found["published"], counts, "{found}");
        assert_eq!(state(found, "finish"), if counts { "done" } else { running }, "{found}");
        let marked = out.join(".setaccio/publishing").exists();
        assert_eq!(found["publishing"], marked && !counts, "{found}");
        // Once it is published, nobody knows into how many slices it was cut.
        let is = states(found, "slices");
        assert!(is == ["done"; 2] || counts && is.is_empty(), "{found}");
        assert!(states(found, "join").iter().all(|state| state == "done"), "{found}");
    };
    assert!(at_each_call(&fixture, &["--finish"], ("unlink", 5), &finish) > 6);
    assert!(at_each_call(&fixture, &["--finish"], ("rename", 1), &finish) > 8);
    fixture.build("out", &["--finish"]).assert_success();
    assert_eq!(fixture.published("out"), fixture.published("whole"));
}

#[test]
fn a_slice_that_fails_before_anything_is_outlined_is_told() {
    let fixture = fixture();
    fs::rename(fixture.path("data/web"), fixture.path("data/away")).unwrap();
    for (out, args, expected) in [
        ("fresh", ["--task", "1/4"], ["failed", "open", "open", "open"].as_slice()),
        // An earlier build is there.
        ("out", ["--task", "2/3"], &["open", "failed", "open"]),
    ] {
        fixture.build(out, &args).assert_failure();
        let found = status(&fixture.path(out));
        assert_eq!(states(&found, "slices"), expected, "{found}");
        assert_eq!(found["published"], false, "{found}");
        assert!(!found["slices"].as_array().unwrap().iter().all(|slice| slice["why"].is_null()), "{found}");
    }
}

#[test]
fn what_one_process_decides_is_called_so() {
    let fixture = crate::semantic::fixture(&crate::semantic::semantic("message", 0.9, 5));
    fixture.build("whole", &[]).assert_success();
    for slice in ["1/2", "2/2"] {
        fixture.build("out", &["--task", slice]).assert_success();
    }
    let out = fixture.path("out");
    let whole = fingerprint(&fixture.path("whole")).unwrap();
    // It opens the file of what it decided once it has decided.
    let decided = out.join(format!(".setaccio/work/finish-{}/semantic", &whole[..16]));
    let first = stopped(fixture.command("out", &["--finish=1/2"]), &decided, ("open", 2)).unwrap();
    let found = status(&out);
    assert_eq!(
        (&found["join"][0]["state"], &found["join"][0]["alone"]),
        (&"running".into(), &"semantic".into()),
        "{found}"
    );
    let mut second = fixture.command("out", &["--finish=2/2"]).spawn().unwrap();
    wait_for(&mut second, || status(&out)["join"][1]["waits"] == true);
    let found = status(&out);
    assert_eq!(
        (&found["join"][1]["state"], &found["join"][1]["alone"]),
        (&"running".into(), &"semantic".into()),
        "{found}"
    );
    let said = setaccio(&["status", out.to_str().unwrap()]).assert_success().stdout;
    assert!(
        said.contains("join 1/2  running") && said.contains(", decides for all: rows that mean nearly the same"),
        "{said}"
    );
    assert!(said.contains("waits for the process that decides for all: rows that mean nearly the same"), "{said}");
    signal(&first, "CONT");
    for mut child in [first, second] {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(states(&status(&out), "join"), ["done"; 2]);
    let [recipe, data] = ["recipe.toml", "data"].map(|name| fixture.path(name).display().to_string());
    let said = setaccio(&["plan", &recipe, "--from", &data]).assert_success().stdout;
    assert!(said.contains("but for what one process decides: rows that mean nearly the same"), "{said}");
}

#[cfg(feature = "train")]
#[test]
fn a_run_and_a_chain_say_how_they_stand() {
    use crate::fixture::{Run, training};

    let dir = tempfile::tempdir().unwrap();
    let (run, data) = (dir.path().join("run"), crate::train::data());
    let sets = ["data.max_length=64", "checkpoint.every=1"];
    let command = |steps: &str, more: &[&str]| {
        let mut command = training("tiny", data, &run, &sets);
        command.args(["--max-steps", steps, "--jobs", "1"]).args(more);
        command
    };
    let nothing = setaccio(&["status", dir.path().to_str().unwrap()]).assert_failure();
    assert!(nothing.contains("holds no build in slices"), "{nothing}");
    for (name, is) in [("USR1", "stopped"), ("KILL", "lost")] {
        let mut child = command("400", &["--resume"]).spawn().unwrap();
        wait_for(&mut child, || {
            run.join(".setaccio/run").exists() && {
                let found = status(&run);
                found["train"]["at"] == "train" && state(&found, "train") == "running"
            }
        });
        signal(&child, name);
        child.wait().unwrap();
        assert_eq!(state(&status(&run), "train"), is);
    }
    Run::from(command("2", &["--force"]).output().unwrap()).assert_success();
    let found = status(&run);
    assert_eq!((state(&found, "train").as_str(), &found["train"]["step"]), ("done", &2.into()), "{found}");
    // What is refused leaves it as it is.
    let refused: Run = command("2", &["--set", "train.learning_rate=0.5"]).output().unwrap().into();
    refused.assert_failure();
    assert_eq!(state(&status(&run), "train"), "done");
    assert!(setaccio(&["status", run.to_str().unwrap()]).assert_success().stdout.starts_with("train  done, step 2"));
    // One that goes on with it is not done before it is.
    let child = stopped(command("3", &["--resume"]), &run.join("checkpoints"), ("rename", 1)).unwrap();
    assert_eq!(state(&status(&run), "train"), "running");
    kill(child);
    assert_eq!(state(&status(&run), "train"), "lost");
}
