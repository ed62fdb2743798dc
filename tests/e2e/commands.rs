//! The help of every command, and the lists of what a recipe can be made of.

use std::process::Command;

use crate::fixture::{Run, assert_snapshot, setaccio};

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
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 1000000 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_setaccio")]);
    command.args(["build", "dolly", "--jobs", "1024", "--out"]).arg(dir.path().join("out")).current_dir(dir.path());
    let said = Run::from(command.output().unwrap()).assert_failure();
    let why = "cannot start 1024 threads: Resource temporarily unavailable (os error 11); give a smaller --jobs";
    assert_eq!(said.lines().last(), Some(format!("error: {why}").as_str()), "{said}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_behind_stdout_is_an_error_and_no_panic() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_setaccio")).arg("rules").stdout(full).output().unwrap();
    assert_eq!(run.status.code(), Some(1));
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(said, "error: cannot write to stdout: No space left on device (os error 28)\n");
}
