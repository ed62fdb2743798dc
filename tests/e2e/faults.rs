//! Disks that fail or fill up in the middle of a command: what was there stays, or what is new is whole; an error says so, and
//! the same command makes it good. A library that is loaded into the program lets its calls fail.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::fixture::{Fixture, Run, TestRng, published, setaccio, web_rules};

const CALLS: [&str; 4] = ["open", "write", "fsync", "rename"];

/// Files by name.
type State = BTreeMap<String, Vec<u8>>;

/// The library, compiled once.
pub fn shim() -> &'static Path {
    static SHIM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = SHIM.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("shim.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/faults/shim.c");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
        assert!(compiled.unwrap().success(), "cc, which also links this test, compiles C");
        (dir, library)
    });
    library
}

/// A command whose output lies in a folder, and how often to let it fail.
struct Case<'a> {
    name: &'a str,
    /// The folder of the output, in which alone calls fail.
    out: &'a Path,
    /// What is in it, but for what is nobody's business.
    state: &'a dyn Fn() -> State,
    /// Whether the output is half in place in a way that the next command makes good.
    unfinished: &'a dyn Fn() -> bool,
    /// Bring back what was there before.
    reset: &'a dyn Fn(),
    command: &'a dyn Fn() -> Command,
}

impl Case<'_> {
    fn run(&self, env: &[(&str, &str)]) -> Run {
        let mut command = (self.command)();
        command.env("LD_PRELOAD", shim()).env("FAULT_UNDER", self.out).envs(env.iter().copied());
        command.output().unwrap().into()
    }

    /// Let the command fail `times` for each call and for each size of the disk, or at every place if there are fewer.
    fn check(&self, times: usize, rng: &mut TestRng) {
        (self.reset)();
        let before = (self.state)();
        self.run(&[]).assert_success();
        let whole = (self.state)();
        assert_ne!(before, whole, "{}: the command does something", self.name);
        for call in CALLS {
            let mut all = 0;
            while self.fails(&[("FAULT_CALL", call), ("FAULT_AT", &(all + 1).to_string())], None) {
                all = if all == 0 { 1 } else { all * 2 };
            }
            assert!(all > 0, "{}: no {call} at all", self.name);
            for n in 0..times.min(all) {
                let at = if times >= all { n + 1 } else { rng.below(all) + 1 };
                self.fails(&[("FAULT_CALL", call), ("FAULT_AT", &at.to_string())], Some((&before, &whole)));
            }
        }
        let bytes: usize = whole.values().map(Vec::len).sum();
        for n in 0..times {
            let room = if n == 0 { 0 } else { rng.below(bytes) };
            self.fails(&[("FAULT_ROOM", &room.to_string())], Some((&before, &whole)));
        }
    }

    /// Let it fail once, and check what is left; false if it did not come so far.
    fn fails(&self, env: &[(&str, &str)], states: Option<(&State, &State)>) -> bool {
        (self.reset)();
        let mark = tempfile::tempdir().unwrap();
        let mark = mark.path().join("mark");
        let run = self.run(&[env, &[("FAULT_MARK", mark.to_str().unwrap())]].concat());
        let happened = mark.exists() || env[0].0 == "FAULT_ROOM" && run.code != Some(0);
        let Some((before, whole)) = states else { return happened };
        let case = format!("{}, {env:?}: {}", self.name, run.said());
        assert!(matches!(run.code, Some(0 | 1)), "{case}");
        assert!(!run.said().contains("panicked"), "{case}");
        let left = (self.state)();
        if run.code == Some(0) {
            assert_eq!(&left, whole, "{case}");
        } else {
            assert!(run.stderr.contains("error: "), "{case}");
            assert!((self.unfinished)() || &left == before || &left == whole, "{case}");
        }
        self.run(&[]).assert_success();
        assert_eq!(&(self.state)(), whole, "{case}, and then again");
        happened
    }
}

/// Copy a folder, hidden files and all.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    if from.exists() {
        let copied = Command::new("cp").arg("-a").args([from, to]).status();
        assert!(copied.unwrap().success());
    }
}

/// A build that leaves nothing out but what rows mean.
fn web() -> Fixture {
    let dedup = "[dedup]\n[dedup.near]\nthreshold = 0.95\n[dedup.repeats]\nunit = 'sentences'\nspan = 1\n";
    let set = "[decontamination]\nvalidation = true\n[[decontamination.set]]\nname = 'x'\npath = 'set.jsonl'\nfields = 'text'\n";
    let fixture = Fixture::text(&[&web_rules(60_000).replace("[dedup]\n", dedup), set].concat());
    fixture.write("data/web/a.jsonl", TestRng(1).lines(120));
    fixture.write("set.jsonl", TestRng(1).lines(3));
    fixture
}

/// One that tells what they mean.
#[cfg(feature = "semantic")]
fn chats() -> Fixture {
    crate::semantic::fixture(&crate::semantic::semantic("message", 0.9, 5))
}

fn builds(fixture: &Fixture, times: usize) {
    fixture.build("earlier", &["--limit", "50"]).assert_success();
    let (earlier, out) = (fixture.path("earlier"), fixture.path("out"));
    // Where the inputs were is in no file that is published.
    Case {
        name: "build",
        out: &out,
        state: &|| published(&out),
        unfinished: &|| out.join(".setaccio/publishing").exists(),
        reset: &|| copy(&earlier, &out),
        command: &|| fixture.command("out", &["--jobs", "1"]),
    }
    .check(times, &mut TestRng(31));
}

#[test]
fn a_build_on_a_failing_disk_leaves_the_earlier_one_or_a_whole_one() {
    builds(&web(), 2);
}

#[cfg(feature = "semantic")]
#[test]
fn a_build_that_tells_meanings_on_a_failing_disk_leaves_the_earlier_one_or_a_whole_one() {
    builds(&chats(), 2);
}

#[test]
#[ignore = "soak"]
fn soak_a_build_on_a_failing_disk_leaves_the_earlier_one_or_a_whole_one() {
    builds(&web(), 200);
    #[cfg(feature = "semantic")]
    builds(&chats(), 100);
}

#[test]
fn a_recipe_is_written_whole_or_not_at_all() {
    let fixture = Fixture::text("");
    let rows = fixture.write("rows.jsonl", TestRng(2).lines(30));
    fs::create_dir(fixture.path("out")).unwrap();
    let (out, recipe) = (fixture.path("out"), fixture.path("out/mine"));
    Case {
        name: "init",
        out: &out,
        state: &|| published(&out),
        unfinished: &|| false,
        reset: &|| {
            let _ = fs::remove_file(recipe.with_extension("toml"));
        },
        command: &|| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
            command.arg("init").arg(&recipe).arg(&rows).arg("--force");
            command
        },
    }
    .check(9, &mut TestRng(32));
}

#[cfg(feature = "train")]
fn models(times: usize) {
    let run = crate::deliver::run();
    let dir = tempfile::tempdir().unwrap();
    let (out, earlier) = (dir.path().join("out"), dir.path().join("earlier"));
    setaccio(&["merge", run, "--out", earlier.join("merged").to_str().unwrap(), "--no-check"]).assert_success();
    let place = |name: &str| out.join(name).to_str().unwrap().to_owned();
    let setaccio = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
        command.args(args).args(["--jobs", "1", "--force"]);
        command
    };
    let (merged, model) = (place("merged"), earlier.join("merged").to_str().unwrap().to_owned());
    let merge: [&str; 7] = ["merge", run, "--out", &merged, "--no-check", "--dtype", "bf16"];
    let (gguf, four) = (place("model.gguf"), place("four"));
    let to_gguf: [&str; 6] = ["export", &model, "--to", "gguf", "--out", &gguf];
    let to_bnb: [&str; 6] = ["export", &model, "--to", "bnb-4bit", "--out", &four];
    for (name, args) in [("merge", &merge[..]), ("export to gguf", &to_gguf), ("export to bnb-4bit", &to_bnb)] {
        Case {
            name,
            out: &out,
            state: &|| published(&out),
            // As the two renames of a folder leave it; the next command puts it back.
            unfinished: &|| out.join(".replaced-merged").exists(),
            reset: &|| copy(&earlier, &out),
            command: &|| setaccio(args),
        }
        .check(times, &mut TestRng(33));
    }
}

#[cfg(feature = "train")]
#[test]
fn models_on_a_failing_disk_are_whole_or_as_they_were() {
    models(2);
}

#[cfg(feature = "train")]
#[test]
#[ignore = "soak"]
fn soak_models_on_a_failing_disk_are_whole_or_as_they_were() {
    models(60);
}

#[cfg(feature = "train")]
#[test]
#[ignore = "soak"]
fn soak_a_run_on_a_failing_disk_leaves_no_adapter_or_a_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let sets = ["train.max_steps=6", "data.max_length=128", "checkpoint.every=2"];
    Case {
        name: "train",
        out: &out,
        state: &|| if out.join("adapter").exists() { published(&out.join("adapter")) } else { State::new() },
        unfinished: &|| false,
        reset: &|| {
            let _ = fs::remove_dir_all(&out);
        },
        command: &|| {
            let mut command = crate::fixture::training("tiny", crate::train::data(), &out, &sets);
            command.args(["--resume", "--jobs", "1"]);
            command
        },
    }
    .check(12, &mut TestRng(34));
}
