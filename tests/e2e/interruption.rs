//! Killed, interrupted, out of space, or met by another build: what was whole stays, and the next run goes on.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::lab::{Dice, Lab, setaccio, web_rules};

fn lab(rows: usize) -> Lab {
    let lab = Lab::text(&web_rules(60_000));
    lab.write("data/web/a.jsonl", Dice(1).lines(rows));
    lab
}

fn signal(child: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.to_string()]).status().unwrap().success());
}

fn wait_for(happened: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !happened() {
        assert!(Instant::now() < deadline, "it did not happen within a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn killed_at_twenty_random_moments_it_resumes_to_the_same_bytes() {
    let lab = lab(6000);
    let start = Instant::now();
    lab.build("whole", &["--jobs", "2"]).good();
    let took = start.elapsed();
    let whole = lab.published("whole");
    let mut dice = Dice(20);
    let mut cut = 0;
    for round in 0..20 {
        // An earlier build is there in every second round, and stays whole until the new one takes its place.
        let out = format!("out{round}");
        let earlier = round % 2 == 0;
        if earlier {
            lab.build(&out, &["--limit", "50"]).good();
        }
        let before = if earlier { lab.published(&out) } else { BTreeMap::default() };
        let mut moment = took * dice.roll32(1000) / 1000;
        for _ in 0..3 {
            let mut child =
                lab.command(&out, &["--jobs", "2"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(moment);
            cut += usize::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
            let left = if lab.path(&out).is_dir() { lab.published(&out) } else { BTreeMap::default() };
            let publishing = lab.path(&out).join(".setaccio/publishing").exists();
            assert!(publishing || left == before || left == whole, "round {round}: a build half in place");
            moment = took * dice.roll32(300) / 1000;
        }
        lab.build(&out, &["--jobs", "2"]).good();
        assert_eq!(lab.published(&out), whole, "round {round}");
    }
    assert!(cut >= 20, "only {cut} runs were killed before their end");
}

#[test]
fn finished_tasks_are_not_done_again() {
    let lab = lab(6000);
    lab.build("out", &["--task", "1/2"]).good();
    let said = lab.build("out", &[]).good().stdout;
    let words: Vec<&str> = said.split_whitespace().collect();
    let [tasks, before]: [usize; 2] = [words[1], words[3]].map(|n| n.parse().unwrap());
    assert_eq!(before, tasks.div_ceil(2), "{said}");
    assert!(!lab.path("out/.setaccio/work").exists(), "the work is cleared once it is published");
}

#[test]
fn ctrl_c_stops_cleanly_and_the_next_run_goes_on() {
    let lab = lab(30_000);
    let child = lab.command("out", &["--jobs", "1"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let work = lab.path("out/.setaccio/work");
    wait_for(|| std::fs::read_dir(&work).map_or(0, Iterator::count) >= 3);
    signal(child.id(), "-INT");
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("goes on from there"), "{said}");
    assert!(!lab.path("out/ledger.json").exists());
    let again = lab.build("out", &[]).good().stdout;
    assert!(!again.contains(" 0 of them done before"), "{again}");
    lab.build("whole", &[]).good();
    assert_eq!(lab.published("out"), lab.published("whole"));
}

#[test]
fn two_builds_of_one_folder_do_not_meet() {
    let lab = lab(30_000);
    let mut first = lab.command("out", &["--jobs", "1"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(|| lab.path("out/.setaccio/work").exists());
    let said = lab.build("out", &[]).bad();
    assert!(said.contains("in use by another setaccio"), "{said}");
    assert!(first.wait().unwrap().success());
}

#[test]
fn a_full_disk_leaves_the_earlier_build_and_says_what_to_do() {
    let lab = lab(6000);
    let disk = lab.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=700k", "tmpfs"]).arg(&disk).output();
    if !mount.is_ok_and(|m| m.status.success()) {
        eprintln!("skipped: a small tmpfs cannot be mounted here");
        return;
    }
    lab.build("disk/out", &["--limit", "50"]).good();
    let earlier = lab.published("disk/out");
    let said = lab.build("disk/out", &[]).bad();
    assert!(said.contains("No space left") && said.contains("free some space"), "{said}");
    assert_eq!(lab.published("disk/out"), earlier);
    let out = disk.join("out");
    setaccio(&["verify", out.to_str().unwrap()]).good();
    let grown = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&disk).status();
    assert!(grown.unwrap().success());
    lab.build("disk/out", &[]).good();
    lab.build("whole", &[]).good();
    assert_eq!(lab.published("disk/out"), lab.published("whole"));
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
}

#[test]
fn an_unwritable_folder_is_named() {
    let lab = lab(10);
    // Not even root may write below a file, or into /proc.
    lab.write("file", "");
    let said = lab.build("file/out", &[]).bad();
    assert!(said.contains("cannot create") && said.contains("file/out"), "{said}");
    let out = std::path::Path::new("/proc/setaccio");
    let said = crate::lab::Run::from(lab.command(out.to_str().unwrap(), &[]).output().unwrap()).bad();
    assert!(said.contains("/proc/setaccio"), "{said}");
}
