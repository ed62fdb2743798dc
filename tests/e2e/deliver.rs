//! `setaccio merge` and `setaccio export`, as a user meets them: a tiny run, merged and written for other programs.

use std::{fs, path::PathBuf, sync::OnceLock};

use crate::lab::{Run, setaccio};

/// A tiny run, trained once for all tests: six steps on the samples.
fn run() -> &'static str {
    static RUN: OnceLock<(tempfile::TempDir, String)> = OnceLock::new();
    let (_, run) = RUN.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (data, run) = (path("data"), path("tiny"));
        setaccio(&["build", "pipelines/sft-mix.toml", "--out", &data]).good();
        let sets = [&format!("data.train=[{data:?}]"), "train.max_steps=6", "lora.rslora=true", "data.max_length=128"];
        let mut args = vec!["train", "pipelines/train/tiny.toml", "--out", &run];
        args.extend(sets.iter().flat_map(|set| ["--set", *set]));
        setaccio(&args).good();
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
    setaccio(&[&ask, args].concat()).good().stdout
}

#[test]
fn a_run_becomes_one_model_and_then_files_of_others() {
    let (run, out) = (run(), Out::new());
    let (base, adapter) = (format!("{run}/base"), format!("{run}/adapter"));
    let merged = out.path("merged");
    let said = merge(&[run, "--out", &merged, "--shard-size", "500KB"]).good().stdout;
    assert!(said.contains("merged: 28 layers") && said.contains("check: logits of"), "{said}");
    for name in ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors.index.json"] {
        assert!(PathBuf::from(&merged).join(name).is_file(), "{name}");
    }
    let tuned = says(&["--model", &base, "--adapter", &adapter]);
    assert_ne!(tuned, says(&["--model", &base]), "the adapter changes what is written");
    assert_eq!(says(&["--model", &merged]), tuned, "template and weights are the run's");
    // The same bytes, whatever the number of threads and whoever says which base and adapter.
    let again = out.path("again");
    merge(&["--model", &base, "--adapter", &adapter, "--out", &again, "--shard-size", "500KB", "--jobs", "1"]).good();
    for entry in fs::read_dir(&merged).unwrap() {
        let name = entry.unwrap().file_name();
        let [a, b] = [&merged, &again].map(|folder| fs::read(PathBuf::from(folder).join(&name)).unwrap());
        assert!(a == b, "{name:?}");
    }

    let gguf = out.path("tiny.gguf");
    let said = export(&[&merged, "--to", "gguf", "--quant", "f32", "--out", &gguf]).good().stdout;
    assert!(said.contains("38 in F32"), "{said}");
    assert_eq!(says(&["--model", &gguf]), tuned);
    let small = out.path("small.gguf");
    let run_of = export(&[&merged, "--to", "gguf", "--quant", "q4_k", "--out", &small]).good();
    assert!(run_of.stdout.contains("in Q5_0"), "{}", run_of.stdout);
    assert!(run_of.stderr.contains("blocks of Q4_K do not fit"), "{}", run_of.stderr);
    assert!(fs::metadata(&small).unwrap().len() * 4 < fs::metadata(&gguf).unwrap().len());
    let lora = out.path("lora.gguf");
    let said = export(&[&adapter, "--to", "gguf-lora", "--base", &base, "--out", &lora]).good().stdout;
    assert!(said.contains("56 in F32"), "{said}");
    let four = out.path("four");
    let said = export(&[&merged, "--to", "bnb-4bit", "--out", &four]).good().stdout;
    assert!(said.contains("28 in NF4"), "{said}");
    assert!(!says(&["--model", &four]).is_empty());
    // Over what training in 4 bits would have seen.
    let seen = out.path("seen");
    merge(&[run, "--out", &seen, "--base-precision", "nf4", "--dtype", "bf16"]).good();
    assert_ne!(says(&["--model", &seen]), "");
}

#[test]
fn mistakes_are_named_and_leave_nothing() {
    let (run, out) = (run(), Out::new());
    let (base, adapter) = (format!("{run}/base"), format!("{run}/adapter"));
    let to = out.path("out");
    let pair = ["--model", &base, "--adapter", &adapter, "--out", &to];
    let unknown = out.path("nowhere");
    let cases: [(&[&str], &[&str]); 12] = [
        (&["merge", &unknown, "--out", &to], &["is not a run", "--model and --adapter"]),
        (&["merge", run, "--out", &to, "--dtype", "b16"], &["bf16, f16 or f32", "did you mean `bf16`"]),
        (&["merge", run, "--out", &to, "--shard-size", "5"], &["`5` is no size", "5GB"]),
        (&["merge", run, "--out", &to, "--base-precision", "int8"], &["stored or nf4", "`int8`"]),
        (&["merge", run, "--out", &base], &["holds a model already", "--force"]),
        (&["merge", run, "--out", run], &["holds no model"]),
        (&["merge", run, "--model", &adapter, "--out", &to], &["holds an adapter, not a model"]),
        (&["export", &base, "--to", "gguf", "--quant", "q5_k", "--out", &to], &["no quant `q5_k`", "q4_0, q4_k, q6_k"]),
        (&["export", &base, "--to", "ggml", "--out", &to], &["--to `ggml`", "did you mean `gguf`", "bnb-4bit"]),
        (&["export", &adapter, "--to", "gguf-lora", "--out", &to], &["needs the adapter's base", "--base"]),
        (&["export", &adapter, "--to", "gguf-lora", "--model", &base, "--out", &to], &["unexpected argument '--model'"]),
        (&["export", &adapter, "--to", "gguf", "--out", &to], &["holds an adapter, not a model"]),
    ];
    for (args, says) in cases {
        let said = setaccio(args).bad();
        for word in says {
            assert!(said.contains(word), "{args:?} says {word}: {said}");
        }
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
    let said = merge(&[run, "--model", &other, "--out", &to]).bad();
    assert!(said.contains("model.safetensors differs") && said.contains("--same-base"), "{said}");
    let said = merge(&["--model", &other, "--adapter", &adapter, "--out", &to]).bad();
    assert!(said.contains("was trained upon") && said.contains("--same-base"), "{said}");
    merge(&[run, "--model", &other, "--same-base", "--out", &out.path("trusted")]).good();
    fs::write(&weights, &bytes[..last]).unwrap();
    let said = merge(&[run, "--model", &other, "--out", &to]).bad();
    assert!(said.contains("model.safetensors") && said.contains("cut short"), "{said}");
    let config = PathBuf::from(&other).join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"num_hidden_layers\": 4", "\"num_hidden_layers\": 3")).unwrap();
    fs::copy(PathBuf::from(&base).join("model.safetensors"), &weights).unwrap();
    let said = merge(&["--model", &other, "--adapter", &adapter, "--same-base", "--out", &to]).bad();
    assert!(said.contains("is not part of the model"), "{said}");
    assert_eq!(out.names(), ["other", "trusted"]);
    // And it is still possible.
    merge(&pair).good();
}
