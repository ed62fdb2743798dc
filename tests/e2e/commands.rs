//! The help of every command, and the lists of what a recipe can be made of.

use std::process::Stdio;

use crate::fixture::{Run, assert_snapshot, in_shell, setaccio};

/// The commands that `setaccio --help` lists.
#[cfg(feature = "train")]
fn commands() -> Vec<String> {
    let help = setaccio(&["--help"]).assert_success().stdout;
    let listed = help.split_once("\nCommands:\n").unwrap().1.split("\n\n").next().unwrap();
    let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

/// A command without a snapshot fails, and so does a snapshot without a command.
#[test]
#[cfg(feature = "train")]
fn every_command_explains_itself() {
    use std::{collections::BTreeSet, fs};

    use crate::fixture::ROOT;

    assert_snapshot("help", setaccio(&["--help"]).assert_success().stdout);
    let commands = commands();
    for command in &commands {
        assert_snapshot(&format!("help-{command}"), setaccio(&[command, "--help"]).assert_success().stdout);
    }
    let files = fs::read_dir(format!("{ROOT}/tests/e2e/snapshots")).unwrap().flatten();
    let names = files.map(|file| file.file_name().into_string().unwrap());
    let snapshots = names.filter_map(|name| Some(name.strip_prefix("help-")?.strip_suffix(".snap")?.to_owned()));
    assert_eq!(snapshots.collect::<BTreeSet<_>>(), commands.into_iter().collect());
}

#[test]
fn what_a_recipe_can_be_made_of_is_listed() {
    assert_snapshot("rules", setaccio(&["rules"]).assert_success().stdout);
    assert_snapshot("rules-length", setaccio(&["rules", "length"]).assert_success().stdout);
    assert_snapshot("rules-unknown", setaccio(&["rules", "lenght"]).assert_failure());
    assert_snapshot("schemas", setaccio(&["schemas"]).assert_success().stdout);
}

/// Less room than the stacks of a thousand threads take: unlike a limit of threads, it holds for root, too.
#[test]
fn threads_that_the_system_refuses_are_an_error_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = in_shell("ulimit -v 1000000 && exec \"$@\"");
    command.args(["build", "dolly", "--jobs", "1024", "--out"]).arg(dir.path().join("out")).current_dir(dir.path());
    let said = Run::from(command.output().unwrap()).assert_failure();
    let why = "cannot start 1024 threads: Resource temporarily unavailable (os error 11); give a smaller --jobs";
    assert_eq!(said.lines().last(), Some(format!("error: {why}").as_str()), "{said}");
}

/// Commands that each say something.
fn speaking(out: &str) -> Vec<Vec<&str>> {
    let mut all: Vec<Vec<&str>> = [
        "--help",
        "--version",
        "rules",
        "rules length",
        "schemas",
        "recipes",
        "recipes build dolly",
        "completions bash",
        "man",
        "plan dolly",
        "plan dolly --json",
        "preview dolly",
        "preview dolly --json",
        "build --help",
    ]
    .iter()
    .map(|line| line.split(' ').collect())
    .collect();
    for command in ["build", "build --json", "verify", "verify --json", "card", "why"] {
        let mut words: Vec<&str> = command.split(' ').collect();
        match words[0] {
            "build" => words.extend(["dolly", "--force", "--out", out]),
            "why" => words.extend([out, "nothing"]),
            _ => words.push(out),
        }
        all.push(words);
    }
    if cfg!(feature = "train") {
        all.extend([vec!["train", "tiny", "--plan"], vec!["generate", "/nowhere", "--prompt", "x"]]);
    }
    all
}

/// The program with these arguments, in a shell that does something to its outputs first.
#[cfg(target_os = "linux")]
fn with_outputs(args: &[&str], outputs: &str) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let mut command = in_shell(&format!("exec \"$@\" {outputs}"));
    command.args(args).current_dir(dir.path()).output().unwrap().into()
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_behind_stdout_or_stderr_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let out = out.to_str().unwrap();
    setaccio(&["build", "dolly", "--out", out]).assert_success();
    for args in speaking(out) {
        let usual = with_outputs(&args, "");
        let full = with_outputs(&args, "> /dev/full");
        assert_eq!(full.code, Some(1), "{args:?}: {}", full.stderr);
        if usual.stdout.is_empty() {
            assert!(full.stderr.contains("error: "), "{args:?}: {}", full.stderr);
        } else {
            let last = full.stderr.lines().last();
            assert_eq!(last, Some("error: cannot write to stdout: No space left on device (os error 28)"), "{args:?}");
        }
        assert!(!full.stderr.contains("panicked"), "{args:?}: {}", full.stderr);
        let silent = with_outputs(&args, "2> /dev/full");
        if usual.stderr.is_empty() {
            // A plan says how long its own look took.
            assert!(silent.code == usual.code && (silent.stdout == usual.stdout || args[0] == "plan"), "{args:?}");
        } else {
            let said = silent.stdout.contains("error: cannot write to stderr: No space left on device");
            assert!(silent.code == Some(1) && (said || args.contains(&"--json")), "{args:?}: {}", silent.stdout);
        }
        let neither = with_outputs(&args, "> /dev/full 2> /dev/full");
        assert_eq!(neither.code, Some(1), "{args:?}");
        // A closed one is `/dev/null` to the program, which no file that it opens may be taken for.
        let closed = with_outputs(&args, ">&- 2>&-");
        assert_eq!(closed.code, usual.code, "{args:?}");
        assert_eq!(setaccio(&["verify", out]).code, Some(0), "{args:?}");
    }
}

/// Stdout is a pipe that nobody reads any more, as behind `| true`.
#[test]
#[cfg(target_os = "linux")]
fn a_pipe_that_nobody_reads_changes_no_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let out = out.to_str().unwrap();
    setaccio(&["build", "dolly", "--out", out]).assert_success();
    let unread = |args: &[&str]| {
        let mut command = in_shell("exec \"$@\"");
        command.args(args).current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        Run::from(child.wait_with_output().unwrap())
    };
    let same = |args: &[&str]| {
        let usual = with_outputs(args, "").code;
        let run = unread(args);
        assert_eq!(run.code, usual, "{args:?}: {}", run.stderr);
        assert!(!run.stderr.contains("panicked"), "{args:?}: {}", run.stderr);
    };
    for args in speaking(out) {
        same(&args);
    }
    // A fault is told by the code all the same.
    std::fs::write(dir.path().join("out/README.md"), "# Another\n").unwrap();
    for args in [&["verify", out][..], &["verify", out, "--json"], &["verify", out, "-q"]] {
        assert_eq!(unread(args).code, Some(1), "{args:?}");
    }
}
