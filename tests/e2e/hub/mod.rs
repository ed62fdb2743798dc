//! The Hub, in and out, against the one in `tests/support`: real requests of the real program.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use setaccio_test_hub::{TestHub, WRITE};

use crate::lab::{Lab, ROOT, Run};

mod faults;
mod pushing;
mod reading;
mod standins;

/// A Hub, and a machine of its own to talk to it from: no token, cache or home of whoever runs the tests.
pub struct Bench {
    pub hub: TestHub,
    pub lab: Lab,
}

impl Bench {
    pub fn new(lab: Lab) -> Self {
        Self { hub: TestHub::start(), lab }
    }

    /// The program, ready to run, with a token that may write.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
        for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("HF_") || n.starts_with("HUGGING")) {
            command.env_remove(name);
        }
        command.args(args).stdin(Stdio::null()).current_dir(ROOT);
        command.env("HF_ENDPOINT", self.hub.endpoint()).env("HF_HOME", self.home()).env("HF_TOKEN", WRITE);
        command.env("SETACCIO_HUB_WAIT_MS", "2");
        command
    }

    pub fn run(&self, args: &[&str]) -> Run {
        self.command(args).output().unwrap().into()
    }

    pub fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Run {
        self.command(args).envs(env.iter().copied()).output().unwrap().into()
    }

    /// `HF_HOME`.
    pub fn home(&self) -> PathBuf {
        self.lab.path("hf")
    }

    /// The recipe of the lab.
    pub fn recipe(&self) -> String {
        self.lab.path("lab.toml").to_string_lossy().into_owned()
    }

    /// Build the lab's recipe from the Hub into `out`.
    pub fn build(&self, out: &str, args: &[&str]) -> Run {
        let (recipe, out) = (self.recipe(), self.lab.path(out));
        let all = [&["build", &recipe, "--from", "hub", "--out", out.to_str().unwrap()], args].concat();
        self.run(&all)
    }

    /// A path of the lab as an argument.
    pub fn arg(&self, name: &str) -> String {
        self.lab.path(name).to_string_lossy().into_owned()
    }

    /// Paths of the content that was asked for since the last look, without repeats.
    pub fn fetched(&self) -> Vec<String> {
        let log = self.hub.take_log();
        let mut paths: Vec<String> = log.into_iter().filter(|l| l.path.contains("/resolve/")).map(|l| l.path).collect();
        paths.sort();
        paths.dedup();
        paths
    }
}
