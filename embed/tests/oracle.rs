//! Embeddings are what the libraries that made the models give (`tests/oracles/semantic.py`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use setaccio_embed::{Embedded, Embedder};

fn oracles() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracles"))
}

fn open(name: &str) -> Embedder {
    Embedder::open(&oracles().join("semantic").join(name), "model").unwrap_or_else(|e| panic!("{e}"))
}

fn oracle() -> Value {
    let text = fs::read_to_string(oracles().join("semantic.json")).unwrap_or_else(|e| panic!("{e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn embeddings_are_those_of_the_libraries() {
    let oracle = oracle();
    let models = oracle["vectors"].as_object().unwrap_or_else(|| panic!("vectors by model"));
    for (name, expected) in models {
        let embedder = open(name);
        let texts = oracle["texts"].as_array().into_iter().flatten();
        for (text, expected) in texts.zip(expected.as_array().into_iter().flatten()) {
            let text = text.as_str().unwrap_or_default();
            let mut found = vec![7.0];
            let embedded = embedder.embed(text, &mut found).unwrap_or_else(|e| panic!("{e}"));
            let Some(expected) = expected.as_array() else {
                assert_eq!((embedded, found.len()), (Embedded::Nothing, 1), "{name}: {text:.40}");
                continue;
            };
            assert_eq!(found.remove(0).to_bits(), 7.0_f32.to_bits(), "what was there stays");
            assert_eq!(found.len(), expected.len());
            for (x, y) in found.iter().zip(expected) {
                // The libraries add up in another order, and the file has seven digits.
                let off = (f64::from(*x) - y.as_f64().unwrap_or(f64::NAN)).abs();
                assert!(off < 1e-6, "{name}: {text:.40}: off by {off}");
            }
        }
    }
}

/// Where a published model lies.
fn asset(name: &str) -> PathBuf {
    let home = || PathBuf::from(std::env::var("HOME").unwrap_or_default()).join(".cache/setaccio-assets");
    std::env::var_os("SETACCIO_ASSETS").map_or_else(home, PathBuf::from).join(name)
}

/// Hold the cosines of some texts against those of the library that has the model of this name.
fn is_as_published(name: &str, folder: &Path) {
    let embedder = Embedder::open(folder, "model").unwrap_or_else(|e| panic!("{e}"));
    let text = fs::read_to_string(oracles().join("semantic_published.json")).unwrap_or_else(|e| panic!("{e}"));
    let oracle: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}"));
    let mut vectors = Vec::new();
    for text in oracle["texts"].as_array().into_iter().flatten() {
        let text = text.as_str().unwrap_or_default();
        let found = embedder.embed(text, &mut vectors).unwrap_or_else(|e| panic!("{e}"));
        assert!(matches!(found, Embedded::Vector { .. }), "{text:.40}");
    }
    let mut cosines = vec![0.0; (vectors.len() / embedder.dimensions()).pow(2)];
    embedder.cosines(&vectors, &embedder.panels(&vectors), &mut cosines);
    let expected = oracle[name].as_array().into_iter().flatten().flat_map(|row| row.as_array().into_iter().flatten());
    assert_eq!(cosines.len(), expected.clone().count());
    for (i, (x, y)) in cosines.iter().zip(expected).enumerate() {
        let off = (f64::from(*x) - y.as_f64().unwrap_or(f64::NAN)).abs();
        assert!(off < 1e-5, "{name}, pair {i}: {x} and {y}");
    }
}

/// The published encoder, as `tools/convert_use.py` makes it of its wheel.
#[test]
#[ignore = "needs the real models: SETACCIO_ASSETS, which tools/fetch-assets.sh fills, and a Python with numpy at SETACCIO_PYTHON"]
fn the_published_sentence_encoder_is_that_of_its_package() {
    let python = std::env::var("SETACCIO_PYTHON").unwrap_or_else(|_| "python3".into());
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let converter = oracles().join("../../tools/convert_use.py");
    let made = std::process::Command::new(python).args([&converter, &asset("use-multilingual"), dir.path()]).status();
    assert!(made.is_ok_and(|status| status.success()), "the wheel's files are converted");
    is_as_published("use-multilingual", dir.path());
}

#[test]
#[ignore = "needs the real models: SETACCIO_ASSETS, which tools/fetch-assets.sh fills"]
fn minilm_is_that_of_sentence_transformers() {
    is_as_published("minilm", &asset("minilm"));
}

/// A model in ONNX, by `tests/oracles/semantic_onnx.py`.
#[test]
#[cfg_attr(feature = "onnx", ignore = "needs onnxruntime: its library at ORT_DYLIB_PATH")]
#[cfg_attr(not(feature = "onnx"), ignore = "needs the feature onnx")]
fn onnx_is_that_of_sentence_transformers() {
    let folder = oracles().join("semantic_onnx/model");
    let embedder = Embedder::open(&folder, "dedup.semantic.model").unwrap_or_else(|e| panic!("{e}"));
    let by_file = Embedder::open(&folder.join("onnx/model.onnx"), "model").unwrap_or_else(|e| panic!("{e}"));
    let text = fs::read_to_string(oracles().join("semantic_onnx.json")).unwrap_or_else(|e| panic!("{e}"));
    let oracle: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}"));
    let cases: Vec<(&str, &Value)> = oracle["texts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .zip(oracle["vectors"].as_array().into_iter().flatten())
        .collect();
    assert!(cases.len() > 6 && embedder.dimensions() == 8 && embedder.most_tokens() == Some(48));
    let vector = |embedder: &Embedder, text: &str| {
        let mut found = Vec::new();
        assert!(matches!(embedder.embed(text, &mut found), Ok(Embedded::Vector { .. })), "{text:.40}");
        found
    };
    let alone: Vec<Vec<f32>> = cases.iter().map(|(text, _)| vector(&embedder, text)).collect();
    for ((text, expected), found) in cases.iter().zip(&alone) {
        for (x, y) in found.iter().zip(expected.as_array().into_iter().flatten()) {
            // PyTorch adds up in another order, and the file has seven digits.
            let off = (f64::from(*x) - y.as_f64().unwrap_or(f64::NAN)).abs();
            assert!(off < 1e-5, "{text:.40}: off by {off}");
        }
        assert_eq!(*found, vector(&by_file, text), "{text:.40}");
    }
    // The same, of several threads at once.
    std::thread::scope(|scope| {
        let again = || {
            for (text, found) in cases.iter().map(|(text, _)| text).zip(&alone).cycle().take(20 * alone.len()) {
                assert_eq!(*found, vector(&embedder, text));
            }
        };
        for thread in [scope.spawn(again), scope.spawn(again), scope.spawn(again)] {
            thread.join().unwrap_or_else(|_| panic!("a thread differs"));
        }
    });
    let files: Vec<&str> = embedder.files().iter().map(|file| file.name.as_str()).collect();
    assert!(files.contains(&"model.onnx") && files.iter().any(|name| name.starts_with("libonnxruntime")), "{files:?}");
    assert!(embedder.told().contains("a model in ONNX, run by ONNX Runtime 1."), "{}", embedder.told());
    let half = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let torn = half.path().join("model.onnx");
    let bytes = fs::read(folder.join("onnx/model.onnx")).unwrap_or_else(|e| panic!("{e}"));
    fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap_or_else(|e| panic!("{e}"));
    fs::copy(folder.join("tokenizer.json"), half.path().join("tokenizer.json")).unwrap_or_else(|e| panic!("{e}"));
    let said = Embedder::open(half.path(), "model").err().map(|e| e.to_string()).unwrap_or_default();
    assert!(said.contains("model.onnx") && said.contains("ONNX Runtime does not open it"), "{said}");
}

/// Which is what everybody sees who has no library.
#[test]
fn a_model_in_onnx_says_what_it_needs() {
    if std::env::var_os("ORT_DYLIB_PATH").is_some() {
        return;
    }
    let folder = oracles().join("semantic_onnx/model");
    let said = Embedder::open(&folder, "model").err().map(|e| e.to_string()).unwrap_or_default();
    let needs = if cfg!(feature = "onnx") { "ORT_DYLIB_PATH is to name the library" } else { "`--features onnx`" };
    assert!(said.contains("onnx/model.onnx") && said.contains(needs), "{said}");
}

#[test]
fn what_is_longer_than_a_model_reads_is_told() {
    let long = "bacade ".repeat(300);
    let truncated = |name: &str, text: &str| open(name).embed(text, &mut Vec::new()).unwrap_or_else(|e| panic!("{e}"));
    let told = |truncated| Embedded::Vector { truncated };
    assert_eq!(truncated("model2vec", &long), told(true), "900 tokens and 512 read");
    assert_eq!(truncated("model2vec", &long[..7 * 150]), told(false));
    assert_eq!(truncated("quantised", &long[..7 * 8]), told(true), "24 tokens and 20 read");
    assert_eq!(truncated("static", &long), told(false), "all is read");
    assert_eq!(truncated("use", &long), told(false), "900 tokens at the most, and 4096 read");
    assert_eq!(truncated("bert", &long[..7 * 15]), told(false), "47 tokens and 48 read");
    assert_eq!(truncated("bert", &long[..7 * 16]), told(true), "50 tokens and 48 read");
}

#[test]
fn a_model_that_cannot_be_used_is_refused() {
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let said = |what: &dyn Fn(&Path)| {
        let folder = dir.path().join("m");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap_or_else(|e| panic!("{e}"));
        for file in ["model.safetensors", "tokenizer.json", "config.json"] {
            let from = oracles().join("semantic/model2vec").join(file);
            fs::copy(from, folder.join(file)).unwrap_or_else(|e| panic!("{e}"));
        }
        what(&folder);
        Embedder::open(&folder, "dedup.semantic.model").err().map(|e| e.to_string()).unwrap_or_default()
    };
    let write = |name: &'static str, bytes: &'static [u8]| {
        move |folder: &Path| fs::write(folder.join(name), bytes).unwrap_or_else(|e| panic!("{e}"))
    };
    let remove =
        |name: &'static str| move |folder: &Path| fs::remove_file(folder.join(name)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(said(&|_| ()), "");
    assert_eq!(said(&remove("config.json")), "", "it says little");
    // A header of one tensor, of so many rows of two values.
    let table = |folder: &Path, name: &str, rows: usize, kind: &str, bytes: usize| {
        let header =
            format!(r#"{{"{name}":{{"dtype":"{kind}","shape":[{rows},2],"data_offsets":[0,{}]}}}}"#, rows * 2 * bytes);
        let length = (header.len() as u64).to_le_bytes();
        let file = [&length[..], header.as_bytes(), &vec![0; rows * 2 * bytes]].concat();
        fs::write(folder.join("model.safetensors"), file).unwrap_or_else(|e| panic!("{e}"));
    };
    for (said, expected) in [
        (
            said(&remove("model.safetensors")),
            "has neither model.safetensors nor model.onnx: dedup.semantic.model names a folder",
        ),
        (said(&remove("tokenizer.json")), "has no tokenizer.json"),
        (said(&|folder| fs::remove_dir_all(folder).unwrap_or_else(|e| panic!("{e}"))), "is not there"),
        (said(&write("model.safetensors", b"torn")), "has only 4 bytes"),
        (said(&write("tokenizer.json", b"{}")), "not a tokenizer.json"),
        (said(&write("config.json", b"[]")), "config.json: is no object of JSON"),
        (said(&|folder| table(folder, "embeddings", 3, "F32", 4)), "has 3 rows, and the tokenizer 144 tokens"),
        (said(&|folder| table(folder, "embeddings", 144, "I16", 2)), "is of type I16, which is not read"),
        (said(&|folder| table(folder, "encoder.weight", 144, "F32", 4)), "is of kind `model2vec`, and"),
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

/// What sentence-transformers does and this does not is said, and not left out.
#[test]
fn a_transformer_with_parts_that_are_not_known_is_refused() {
    let said = |name: &str, change: &dyn Fn(&str) -> String| {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let from = oracles().join("semantic/bert");
        let copy = |below: &str| {
            let to = dir.path().join(below);
            fs::create_dir_all(&to).unwrap_or_else(|e| panic!("{e}"));
            for entry in fs::read_dir(from.join(below)).unwrap_or_else(|e| panic!("{e}")).flatten() {
                if entry.path().is_file() {
                    fs::copy(entry.path(), to.join(entry.file_name())).unwrap_or_else(|e| panic!("{e}"));
                }
            }
        };
        ["", "1_Pooling", "2_Normalize"].into_iter().for_each(copy);
        let path = dir.path().join(name);
        let text = change(&fs::read_to_string(&path).unwrap_or_default());
        fs::write(&path, text).unwrap_or_else(|e| panic!("{e}"));
        Embedder::open(dir.path(), "dedup.semantic.model").err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert_eq!(said("config.json", &str::to_owned), "");
    let pooling = "1_Pooling/config.json";
    let prompt = r#"{"prompts": {"query": "q: "}, "default_prompt_name": "query"}"#;
    assert_eq!(said("config_sentence_transformers.json", &|_| prompt.into()), "");
    let normal_first = |text: &str| text.replace("pooling.Pooling", "normalize.Normalize");
    for (said, expected) in [
        (said("modules.json", &|_| "[]".into()), "modules.json is no list of modules"),
        (said("modules.json", &|text| text.replace("1_Pooling", "3_Other")), "3_Other/config.json is not there"),
        (said("modules.json", &normal_first), "has a `Normalize` behind `Normalize`"),
        (said("modules.json", &|_| r#"[{"type": "x.Transformer"}]"#.into()), "names no `Pooling`"),
        (said(pooling, &|text| text.replace("mean", "max")), "known are"),
        (said("sentence_bert_config.json", &|_| r#"{"max_seq_length": 1}"#.into()), "reads 1 tokens"),
        (said("config.json", &|text| text.replacen('{', r#"{"layer_norm_eps": "x", "#, 1)), ""),
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
