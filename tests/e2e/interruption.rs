//! Killed, interrupted, out of space, or met by another build: what was whole stays, and the next run goes on.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::Instant,
};

use crate::fixture::{
    Fixture, Run, TestRng, Transcript, assert_snapshot, in_shell, interrupt, setaccio, signal, wait_for, web_rules,
};

fn fixture(rows: usize) -> Fixture {
    let dedup = "[dedup]\n[dedup.repeats]\nunit = 'sentences'\nspan = 1\n";
    let fixture = Fixture::text(&web_rules(60_000).replace("[dedup]\n", dedup));
    fixture.write("data/web/a.jsonl", TestRng(1).lines(rows));
    fixture
}

#[test]
fn killed_at_random_moments_it_resumes_to_the_same_bytes() {
    killed_at_random_moments(3);
}

#[test]
#[ignore = "soak"]
fn soak_killed_at_random_moments_it_resumes_to_the_same_bytes() {
    killed_at_random_moments(67);
}

fn killed_at_random_moments(rounds: usize) {
    let fixture = fixture(6000);
    let start = Instant::now();
    fixture.build("whole", &["--jobs", "2"]).assert_success();
    let took = start.elapsed();
    let whole = fixture.published("whole");
    let mut rng = TestRng(20);
    let mut cut = 0;
    for round in 0..rounds {
        // An earlier build is there in every second round, and stays whole until the new one takes its place.
        let out = format!("out{round}");
        let earlier = round % 2 == 0;
        if earlier {
            fixture.build(&out, &["--limit", "50"]).assert_success();
        }
        let before = if earlier { fixture.published(&out) } else { BTreeMap::default() };
        let mut moment = took * rng.below_u32(1000) / 1000;
        for _ in 0..3 {
            let mut child =
                fixture.command(&out, &["--jobs", "2"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(moment);
            cut += usize::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
            let left = if fixture.path(&out).is_dir() { fixture.published(&out) } else { BTreeMap::default() };
            let publishing = fixture.path(&out).join(".setaccio/publishing").exists();
            assert!(publishing || left == before || left == whole, "round {round}: a build half in place");
            moment = took * rng.below_u32(300) / 1000;
        }
        fixture.build(&out, &["--jobs", "2"]).assert_success();
        assert_eq!(fixture.published(&out), whole, "round {round}");
    }
    assert!(cut >= rounds, "only {cut} runs were killed before their end");
}

#[test]
fn finished_tasks_are_not_done_again() {
    let fixture = fixture(6000);
    fixture.build("out", &["--task", "1/2"]).assert_success();
    let said = fixture.build("out", &[]).assert_success().stdout;
    let words: Vec<&str> = said.split_whitespace().collect();
    let [tasks, before]: [usize; 2] = [words[1], words[3]].map(|n| n.parse().unwrap());
    assert_eq!(before, tasks.div_ceil(2), "{said}");
    assert!(!fixture.path("out/.setaccio/work").exists(), "the work is cleared once it is published");
}

#[test]
fn ctrl_c_stops_cleanly_and_the_next_run_goes_on() {
    let fixture = fixture(30_000);
    let mut child =
        fixture.command("out", &["--jobs", "1"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let work = fixture.path("out/.setaccio/work");
    wait_for(&mut child, || std::fs::read_dir(&work).map_or(0, Iterator::count) >= 3);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("goes on from there"), "{said}");
    assert!(!fixture.path("out/ledger.json").exists());
    let again = fixture.build("out", &[]).assert_success().stdout;
    assert!(!again.contains(" 0 of them done before"), "{again}");
    fixture.build("whole", &[]).assert_success();
    assert_eq!(fixture.published("out"), fixture.published("whole"));
}

#[test]
fn every_signal_has_its_exit_code_and_stops_cleanly() {
    let fixture = fixture(30_000);
    for (name, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let mut child =
            fixture.command(name, &["--jobs", "1"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let work = fixture.path(name).join(".setaccio/work");
        wait_for(&mut child, || std::fs::read_dir(&work).map_or(0, Iterator::count) >= 3);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        assert!(said.contains("goes on from there"), "{name}: {said}");
        assert!(!fixture.path(name).join("ledger.json").exists());
        let left = std::fs::read_dir(&work).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
        assert_eq!(left.filter(|name| name.starts_with('.')).collect::<Vec<_>>(), [""; 0], "{name}");
    }
    // A second one does not wait.
    let mut child =
        fixture.command("twice", &["--jobs", "1"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&mut child, || fixture.path("twice/.setaccio/work").exists());
    signal(&child, "TERM");
    signal(&child, "HUP");
    assert!(matches!(child.wait().unwrap().code(), Some(143 | 129)));
    // SIGQUIT does not wait as the first one either, but where a shell ignores it for what it started in the background.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or("0");
    if u64::from_str_radix(mask.trim(), 16).unwrap() & 0b100 != 0 {
        return;
    }
    let mut child =
        fixture.command("quit", &["--jobs", "1"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&mut child, || fixture.path("quit/.setaccio/work").exists());
    signal(&child, "QUIT");
    assert_eq!(child.wait().unwrap().code(), Some(131));
}

#[test]
fn a_closed_terminal_does_not_stop_what_nohup_started() {
    let fixture = fixture(3000);
    let mut command = in_shell("trap '' HUP; exec \"$@\"");
    command
        .arg("build")
        .arg(fixture.path("recipe.toml"))
        .arg("--out")
        .arg(fixture.path("out"))
        .arg("--from")
        .arg(fixture.path("data"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&mut child, || fixture.path("out/.setaccio/work").exists());
    signal(&child, "HUP");
    assert!(child.wait().unwrap().success());
}

#[test]
fn two_builds_of_one_folder_do_not_meet() {
    let fixture = fixture(30_000);
    let mut first =
        fixture.command("out", &["--jobs", "1"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&mut first, || fixture.path("out/.setaccio/work").exists());
    assert_snapshot("interruption-two_builds_of_one_folder", fixture.build("out", &[]).assert_failure());
    assert!(first.wait().unwrap().success());
}

#[test]
#[ignore = "needs root, to mount a small tmpfs"]
fn a_full_disk_leaves_the_earlier_build_and_says_what_to_do() {
    let fixture = fixture(6000);
    let disk = fixture.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=700k", "tmpfs"]).arg(&disk).status();
    assert!(mount.unwrap().success(), "a small tmpfs cannot be mounted here");
    fixture.build("disk/out", &["--limit", "50"]).assert_success();
    let earlier = fixture.published("disk/out");
    let said = fixture.build("disk/out", &[]).assert_failure();
    assert!(said.contains("No space left") && said.contains("free some space"), "{said}");
    assert_eq!(fixture.published("disk/out"), earlier);
    let out = disk.join("out");
    setaccio(&["verify", out.to_str().unwrap()]).assert_success();
    let grown = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&disk).status();
    assert!(grown.unwrap().success());
    fixture.build("disk/out", &[]).assert_success();
    fixture.build("whole", &[]).assert_success();
    assert_eq!(fixture.published("disk/out"), fixture.published("whole"));
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
}

#[test]
fn an_unwritable_folder_is_named() {
    let fixture = fixture(10);
    // Not even root may write below a file, or into /proc.
    fixture.write("file", "");
    let mut transcript = Transcript::default();
    transcript.add("below a file", &fixture.build("file/out", &[]).assert_failure());
    let in_proc = Run::from(fixture.command("/proc/setaccio", &[]).output().unwrap()).assert_failure();
    transcript.add("in /proc", &in_proc);
    transcript.assert_snapshot("interruption-an_unwritable_folder");
}
