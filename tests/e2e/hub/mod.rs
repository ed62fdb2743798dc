//! The Hub, in and out, against the one in `tests/support`: real requests of the real program.

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use setaccio_test_hub::{TestHub, WRITE};

use crate::fixture::{Fixture, ROOT, Run};

mod faults;
mod named;
mod pushing;
mod reading;
mod refusals;
mod samples;
mod secrets;
mod standins;
mod uploads;

/// A Hub, and a machine of its own to talk to it from: no token, cache or home of whoever runs the tests.
pub struct HubFixture {
    pub hub: TestHub,
    pub local: Fixture,
}

impl HubFixture {
    pub fn new(local: Fixture) -> Self {
        Self { hub: TestHub::start(), local }
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
        self.local.path("hf")
    }

    /// The recipe of the fixture.
    pub fn recipe(&self) -> String {
        self.local.path("recipe.toml").to_string_lossy().into_owned()
    }

    /// Build the fixture's recipe from the Hub into `out`.
    pub fn build(&self, out: &str, args: &[&str]) -> Run {
        let (recipe, out) = (self.recipe(), self.local.path(out));
        let all = [&["build", &recipe, "--from", "hub", "--out", out.to_str().unwrap()], args].concat();
        self.run(&all)
    }

    /// A path of the fixture as an argument.
    pub fn arg(&self, name: &str) -> String {
        self.local.path(name).to_string_lossy().into_owned()
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

/// A safetensors file of one tensor and so many bytes in all, the values as `fill` gives them.
pub fn safetensors(tensor: &str, bytes: usize, mut fill: impl FnMut() -> u8) -> Vec<u8> {
    const HEADER: usize = 120;
    let n = bytes - 8 - HEADER;
    let header = format!(r#"{{"{tensor}":{{"dtype":"U8","shape":[{n}],"data_offsets":[0,{n}]}}}}"#);
    let mut file = (HEADER as u64).to_le_bytes().to_vec();
    file.extend(format!("{header:HEADER$}").into_bytes());
    file.extend((0..n).map(|_| fill()));
    file
}

/// A GGUF file of so many bytes in all.
pub fn gguf(bytes: usize) -> Vec<u8> {
    const VALUES: usize = 64;
    let mut file = [&b"GGUF"[..], &3_u32.to_le_bytes(), &1_u64.to_le_bytes(), &0_u64.to_le_bytes()].concat();
    file.extend(
        [&1_u64.to_le_bytes()[..], b"w", &1_u32.to_le_bytes(), &((bytes - VALUES) as u64).to_le_bytes()].concat(),
    );
    // Whole numbers of eight bits, from the first byte of the values on.
    file.extend([&24_u32.to_le_bytes()[..], &0_u64.to_le_bytes()].concat());
    file.resize(VALUES, 0);
    file.resize(bytes, 3);
    file
}

/// Write the lock of a run that left `names` in `folder`.
pub fn lock_run(fixture: &HubFixture, method: &str, folder: &str, names: &[&str]) {
    let base = format!("{}/models/llama", fixture.arg("home"));
    let mut lock = format!(
        "engine = 'setaccio'\ncommand = \"setaccio train x.toml --model {base}\"\ncompute = 'f32 on cpu'\n\
         tokenizer_sha256 = ''\ntemplate_sha256 = ''\nbase = []\ndata = []\n[versions]\n"
    );
    for name in names {
        let bytes = fs::read(fixture.local.path(folder).join(name)).unwrap();
        let (bytes, sha256) = setaccio_base::sha256::digest_reader(&bytes[..], &|| false).unwrap();
        write!(lock, "[[made]]\nfile = '{name}'\nbytes = {bytes}\nsha256 = '{sha256}'\n").unwrap();
    }
    write!(lock, "[recipe]\nmethod = '{method}'\n[recipe.model]\npath = \"{base}\"\n").unwrap();
    fixture.local.write("run/run.lock.toml", lock);
}

/// A run as the trainer leaves it, with what a careless machine would give away.
pub fn run_folder(fixture: &HubFixture) {
    let home = fixture.arg("home");
    fixture.local.write(
        "run/adapter/adapter_config.json",
        format!("{{\"base_model_name_or_path\": \"{home}/models/llama\"}}\n"),
    );
    fixture.local.write("run/adapter/adapter_model.safetensors", safetensors("w", 5_000, || 7));
    fixture.local.write("run/adapter/tokenizer.json", "{\"vocab\": {\"~\": 1, \"~/\": 2, \"/home/\": 3}}\n");
    lock_run(fixture, "lora", "run/adapter", &["adapter_config.json", "adapter_model.safetensors", "tokenizer.json"]);
    fixture.local.write("run/README.md", "# Run\n\nmodel = PeftModel.from_pretrained(model, \"adapter\")\n");
    fixture.local.write("run/metrics.jsonl", "{}\n");
    fixture.local.write("run/checkpoints/step-1/optimizer.safetensors", [1_u8; 100]);
    fixture.local.write("run/tokens/rows.bin", [1_u8; 100]);
}
