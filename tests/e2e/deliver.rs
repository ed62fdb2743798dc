//! `setaccio merge` and `setaccio export`, as a user meets them: a tiny run, merged and written for other programs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use crate::fixture::{Run, TestRng, Transcript, assert_measured_snapshot, setaccio};

/// A tiny run, trained once for all tests: six steps on the samples.
pub fn run() -> &'static str {
    static RUN: OnceLock<(tempfile::TempDir, String)> = OnceLock::new();
    let (_, run) = RUN.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (data, run) = (path("data"), path("tiny"));
        setaccio(&["build", "pipelines/sft-mix.toml", "--out", &data]).assert_success();
        let sets = [&format!("data.train=[{data:?}]"), "train.max_steps=6", "lora.rslora=true", "data.max_length=128"];
        let mut args = vec!["train", "pipelines/train/tiny.toml", "--out", &run];
        args.extend(sets.iter().flat_map(|set| ["--set", *set]));
        setaccio(&args).assert_success();
        (dir, run)
    });
    run
}

struct Out(tempfile::TempDir);

impl Out {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn merge(args: &[&str]) -> Run {
    setaccio(&[&["merge"], args].concat())
}

fn export(args: &[&str]) -> Run {
    setaccio(&[&["export"], args].concat())
}

/// What a model writes, without what is said about it.
fn says(args: &[&str]) -> String {
    let ask = ["generate", "--prompt", "Perché il cielo è blu?", "--max-tokens", "12"];
    setaccio(&[&ask, args].concat()).assert_success().stdout
}

#[test]
fn a_run_becomes_one_model_and_then_files_of_others() {
    let (run, out) = (run(), Out::new());
    let (base, adapter) = (format!("{run}/base"), format!("{run}/adapter"));
    let merged = out.path("merged");
    let mut transcript = Transcript::default();
    transcript.add("merge", &merge(&[run, "--out", &merged, "--shard-size", "500KB"]).assert_success().said());
    for name in ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors.index.json"] {
        assert!(PathBuf::from(&merged).join(name).is_file(), "{name}");
    }
    let tuned = says(&["--model", &base, "--adapter", &adapter]);
    assert_ne!(tuned, says(&["--model", &base]), "the adapter changes what is written");
    assert_eq!(says(&["--model", &merged]), tuned, "template and weights are the run's");
    // The same bytes, whatever the number of threads and whoever says which base and adapter.
    let again = out.path("again");
    merge(&["--model", &base, "--adapter", &adapter, "--out", &again, "--shard-size", "500KB", "--jobs", "1"])
        .assert_success();
    for entry in fs::read_dir(&merged).unwrap() {
        let name = entry.unwrap().file_name();
        let [a, b] = [&merged, &again].map(|folder| fs::read(PathBuf::from(folder).join(&name)).unwrap());
        assert!(a == b, "{name:?}");
    }

    let gguf = out.path("tiny.gguf");
    let to_gguf = export(&[&merged, "--to", "gguf", "--quant", "f32", "--out", &gguf]).assert_success();
    transcript.add("export --to gguf --quant f32", &to_gguf.said());
    assert_eq!(says(&["--model", &gguf]), tuned);
    let small = out.path("small.gguf");
    let to_q4_k = export(&[&merged, "--to", "gguf", "--quant", "q4_k", "--out", &small]).assert_success();
    transcript.add("export --to gguf --quant q4_k", &to_q4_k.said());
    assert!(fs::metadata(&small).unwrap().len() * 4 < fs::metadata(&gguf).unwrap().len());
    let lora = out.path("lora.gguf");
    let to_lora = export(&[&adapter, "--to", "gguf-lora", "--base", &base, "--out", &lora]).assert_success();
    transcript.add("export --to gguf-lora", &to_lora.said());
    let four = out.path("four");
    let to_bnb = export(&[&merged, "--to", "bnb-4bit", "--out", &four]).assert_success();
    transcript.add("export --to bnb-4bit", &to_bnb.said());
    transcript.assert_measured_snapshot("deliver-merge_and_export");
    assert!(!says(&["--model", &four]).is_empty());
    // Over what training in 4 bits would have seen.
    let seen = out.path("seen");
    merge(&[run, "--out", &seen, "--base-precision", "nf4", "--dtype", "bf16"]).assert_success();
    assert_ne!(says(&["--model", &seen]), "");
}

/// A folder with all that is in it.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let place = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &place);
        } else {
            fs::copy(&path, &place).unwrap();
        }
    }
}

#[test]
fn a_run_is_all_that_generate_merge_and_export_need() {
    let out = Out::new();
    let (trained, run) = (run(), out.path("tiny"));
    copy_folder(Path::new(trained), Path::new(&run));
    let tuned = says(&[&run]);
    let said = export(&[&run, "--quant", "f32"]).assert_success().stdout;
    assert!(said.contains("merged:") && said.contains("exported:"), "{said}");
    let gguf = format!("{run}/export/tiny-F32.gguf");
    assert_eq!(says(&["--model", &gguf]), tuned);
    assert_eq!(says(&["--model", &format!("{run}/merged")]), tuned);
    let said = merge(&[&run]).assert_success().stdout;
    assert!(said.contains("up to date"), "{said}");
    export(&[&run, "--to", "gguf-lora"]).assert_success();
    export(&[&run, "--to", "bnb-4bit"]).assert_success();
    assert!(Path::new(&run).join("export/tiny-lora-F32.gguf").is_file());
    assert!(Path::new(&run).join("export/tiny-bnb-4bit/config.json").is_file());
    // The run's folder stays one.
    assert!(setaccio(&["generate", &run, "--prompt", "x", "--max-tokens", "1"]).code == Some(0));

    // What was merged from something else, or changed since, is not exported as this run's.
    let weights = Path::new(&run).join("merged/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, &bytes).unwrap();
    let said = export(&[&run, "--quant", "q8_0"]).assert_failure();
    assert!(said.contains("was not merged from what this run left") && said.contains("--force"), "{said}");
    assert!(!Path::new(&run).join("export/tiny-Q8_0.gguf").exists());
    merge(&[&run, "--dtype", "bf16"]).assert_failure();
    merge(&[&run, "--force"]).assert_success();
    export(&[&run, "--quant", "q8_0"]).assert_success();
}

#[test]
fn a_merged_models_card_says_what_it_was_made_of() {
    let (run, out) = (run(), Out::new());
    let merged = out.path("merged");
    merge(&[run, "--out", &merged]).assert_success();
    let card = |folder: &str| fs::read_to_string(Path::new(folder).join("README.md")).unwrap();
    assert_measured_snapshot("deliver-merged_card", card(&merged));
    // Every hash in it is that of a file.
    let hash = |path: String| setaccio_base::sha256::hex_digest(&fs::read(path).unwrap());
    for path in [
        format!("{run}/base/model.safetensors"),
        format!("{run}/adapter/adapter_model.safetensors"),
        format!("{merged}/model.safetensors"),
    ] {
        assert!(card(&merged).contains(&hash(path.clone())), "{path}");
    }
    // Another base than the run's, and an adapter that nobody knows: both are told as what they are.
    let (base, adapter) = (out.path("other"), out.path("adapter"));
    copy_folder(Path::new(&format!("{run}/base")), Path::new(&base));
    copy_folder(Path::new(&format!("{run}/adapter")), Path::new(&adapter));
    let weights = Path::new(&base).join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, &bytes).unwrap();
    let trusted = out.path("trusted");
    merge(&[run, "--model", &base, "--same-base", "--out", &trusted]).assert_success();
    assert!(card(&trusted).contains("A base that is not, file by file, the one that the run was trained upon"));
    let unknown = out.path("unknown");
    merge(&["--model", &base, "--adapter", &adapter, "--same-base", "--no-check", "--out", &unknown]).assert_success();
    let text = card(&unknown);
    assert!(text.contains("Not known: the adapter's folder has no lock"), "{text}");
    assert!(text.contains("(`--no-check`)") && text.contains("license: unknown"), "{text}");
}

#[test]
fn the_base_of_an_adapter_is_no_model_to_export() {
    // `export MODEL` is what is written; `--model` said what it is written upon.
    let said = setaccio(&["export", "adapter", "--to", "gguf-lora", "--model", "base", "--out", "x.gguf"]).stderr;
    assert!(said.contains("unexpected argument '--model'"), "{said}");
}

#[test]
fn mistakes_are_named_and_leave_nothing() {
    let (run, out) = (run(), Out::new());
    let (base, adapter) = (format!("{run}/base"), format!("{run}/adapter"));
    let to = out.path("out");
    let pair = ["--model", &base, "--adapter", &adapter, "--out", &to];
    let unknown = out.path("nowhere");
    let mut transcript = Transcript::default();
    let cases: [&[&str]; 12] = [
        &["merge", &unknown, "--out", &to],
        &["merge", run, "--out", &to, "--dtype", "b16"],
        &["merge", run, "--out", &to, "--shard-size", "5"],
        &["merge", run, "--out", &to, "--base-precision", "int8"],
        &["merge", run, "--out", &base],
        &["merge", run, "--out", run],
        &["merge", run, "--model", &adapter, "--out", &to],
        &["export", &base, "--to", "gguf", "--quant", "q5_k", "--out", &to],
        &["export", &base, "--to", "ggml", "--out", &to],
        &["export", &adapter, "--to", "gguf-lora", "--out", &to],
        &["export", &adapter, "--to", "gguf", "--out", &to],
        &["export", &base],
    ];
    for args in cases {
        let run = setaccio(args);
        assert!(matches!(run.code, Some(1 | 2)), "{}", run.said());
        transcript.add(args.join(" "), &run.said());
    }
    // An adapter of another base: other weights, another shape, a file that is cut short.
    let other = out.path("other");
    fs::create_dir(&other).unwrap();
    for entry in fs::read_dir(&base).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, PathBuf::from(&other).join(path.file_name().unwrap())).unwrap();
    }
    let weights = PathBuf::from(&other).join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, &bytes).unwrap();
    let of_the_run = merge(&[run, "--model", &other, "--out", &to]).assert_failure();
    transcript.add("a run, and a base of other weights", &of_the_run);
    let of_the_adapter = merge(&["--model", &other, "--adapter", &adapter, "--out", &to]).assert_failure();
    transcript.add("an adapter, and a base of other weights", &of_the_adapter);
    merge(&[run, "--model", &other, "--same-base", "--out", &out.path("trusted")]).assert_success();
    fs::write(&weights, &bytes[..last]).unwrap();
    transcript.add("a base that is cut short", &merge(&[run, "--model", &other, "--out", &to]).assert_failure());
    let config = PathBuf::from(&other).join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"num_hidden_layers\": 4", "\"num_hidden_layers\": 3")).unwrap();
    fs::copy(PathBuf::from(&base).join("model.safetensors"), &weights).unwrap();
    let of_three = merge(&["--model", &other, "--adapter", &adapter, "--same-base", "--out", &to]).assert_failure();
    transcript.add("a base of three layers", &of_three);
    transcript.assert_snapshot("deliver-mistakes");
    assert_eq!(out.names(), ["other", "trusted"]);
    // And it is still possible.
    merge(&pair).assert_success();
}

/// The type that config.json of a model tells of, and that its weights have.
fn types(model: &Path) -> [String; 2] {
    let config: serde_json::Value = serde_json::from_slice(&fs::read(model.join("config.json")).unwrap()).unwrap();
    let said = config["torch_dtype"].as_str().unwrap();
    let weights = fs::File::open(model.join("model.safetensors")).unwrap();
    let header = setaccio_base::safetensors_header::read(&weights, model).unwrap();
    let dtype = header.tensors["model.norm.weight"].dtype.as_str();
    let said =
        [("float32", "F32"), ("bfloat16", "BF16"), ("float16", "F16")].into_iter().find(|(name, _)| *name == said);
    [said.unwrap().1.to_owned(), dtype.to_owned()]
}

#[test]
fn of_merges_at_once_one_at_a_time_writes_its_place() {
    merges_at_once(4);
}

#[test]
#[ignore = "soak"]
fn soak_of_merges_at_once_one_at_a_time_writes_its_place() {
    merges_at_once(1000);
}

fn merges_at_once(rounds: usize) {
    const DTYPES: [&str; 3] = ["f32", "bf16", "f16"];
    let (run, mut rng) = (run(), TestRng(17));
    let (base, adapter) = (format!("{run}/base"), format!("{run}/adapter"));
    let start = |out: &str, dtype: &str, force: bool| -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
        command.args(["merge", "--model", &base, "--adapter", &adapter, "--out", out, "--dtype", dtype]);
        command.args(["--no-check", "--jobs", "1"]).args(force.then_some("--force"));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let began = Instant::now();
    let first = Out::new();
    assert!(start(&first.path("merged"), "f32", false).wait().unwrap().success());
    let took = began.elapsed();
    let mut wrote = 0;
    for round in 0..rounds {
        let (out, force) = (Out::new(), round % 2 == 1);
        let merged = out.path("merged");
        if round % 4 == 1 {
            assert!(start(&merged, "f32", false).wait().unwrap().success());
        }
        // Some are killed, most of them while they write.
        let merges: Vec<(Child, Option<Duration>)> = (0..2 + rng.below(8))
            .map(|_| {
                let child = start(&merged, DTYPES[rng.below(3)], force);
                (child, (rng.below(4) == 0).then(|| took * rng.below_u32(1500) / 1000))
            })
            .collect();
        let began = Instant::now();
        let ended = merges.into_iter().map(|(mut child, killed)| {
            if let Some(moment) = killed {
                std::thread::sleep(moment.saturating_sub(began.elapsed()));
                let _ = child.kill();
            }
            Run::from(child.wait_with_output().unwrap())
        });
        let ended: Vec<Run> = ended.collect();
        let good = ended.iter().filter(|run| run.code == Some(0)).count();
        wrote += good;
        assert!(force || good <= 1, "round {round}: {good} merges into one place");
        for run in ended.iter().filter(|run| run.code == Some(1)) {
            let expected =
                run.stderr.contains("is in use by another setaccio") || run.stderr.contains("holds a model already");
            assert!(expected, "round {round}: {}", run.stderr);
        }
        assert!(ended.iter().all(|run| [None, Some(0), Some(1)].contains(&run.code)), "round {round}: {ended:?}");
        if PathBuf::from(&merged).exists() {
            let [said, found] = types(Path::new(&merged));
            assert_eq!(said, found, "round {round}: the configuration of one and the weights of another");
        } else {
            assert_eq!(good, 0, "round {round}: it ended well, and nothing is there");
        }
        // What the killed ones left is cleared by the next.
        assert!(start(&merged, "f32", true).wait().unwrap().success());
        assert_eq!(out.names(), ["merged"], "round {round}");
    }
    assert!(rounds < 20 || wrote > rounds / 2, "only {wrote} merges came to their end");
}

#[test]
fn every_signal_ends_a_merge_and_a_model_that_writes_with_its_code() {
    let run = run();
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        for what in ["merge", "generate"] {
            let mut met = false;
            // Where it comes is chance: sooner and sooner, until one comes while there is work.
            for moment in (0..40).map(|i| Duration::from_millis(400 - 10 * i)) {
                let out = Out::new();
                let merged = out.path("merged");
                let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
                match what {
                    "merge" => command.args(["merge", run, "--out", &merged]),
                    _ => command.args(["generate", run, "--prompt", "Perché?", "--max-tokens", "100"]),
                };
                let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
                std::thread::sleep(moment);
                if child.try_wait().unwrap().is_none() {
                    crate::fixture::signal(&child, name);
                }
                let output = child.wait_with_output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(!said.contains("panicked"), "{what}, {name}: {said}");
                let left = out.names();
                assert!(left.iter().all(|name| name == "merged" || name.starts_with(".writing-")), "{left:?}");
                assert!(!Path::new(&merged).exists() || Path::new(&merged).join("config.json").is_file(), "{left:?}");
                met = match output.status.code() {
                    // Before it waits for signals, or after its work was done.
                    None | Some(0) => false,
                    stopped => {
                        assert_eq!(stopped, Some(code), "{what}, {name}: {said}");
                        true
                    }
                };
                if met {
                    break;
                }
            }
            assert!(met, "{what}: no {name} came while it worked");
        }
    }
}
