use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use candle_core::{Device, Tensor};
use serde_json::{Value, json};

use super::*;
use crate::{
    artifacts::{export::save_4bit, tiny::Tiny},
    formats::{
        model_files::{CONFIG, WHOLE},
        peft::{AdapterConfig, Beside, Except, Targets},
        safetensors::{Safetensors, to_bytes},
    },
    nf4::DoubleQuant,
    random::{key, normal_vec},
    tokenizer::tiny,
};

const Q: &str = "model.layers.0.self_attn.q_proj";
const DOWN: &str = "model.layers.1.mlp.down_proj";

struct Fixture {
    dir: tempfile::TempDir,
}

#[derive(Default)]
struct Heard {
    warnings: Mutex<Vec<String>>,
    steps: AtomicU64,
    stop_after: Option<u64>,
}

impl Progress for Heard {
    fn cancelled(&self) -> bool {
        self.stop_after.is_some_and(|n| self.steps.load(Ordering::Relaxed) >= n)
    }

    fn advance(&self, pieces: u64, _: &str) {
        self.steps.fetch_add(pieces, Ordering::Relaxed);
    }

    fn warn(&self, message: &str) {
        self.warnings.lock().unwrap().push(message.to_owned());
    }
}

impl Fixture {
    /// A base with its tokenizer, and an adapter on q of one layer and down of the other.
    fn new() -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        let tokens = tiny::train(["uno due tre"].into_iter(), 270).unwrap();
        let small = Tiny { layers: 2, hidden: 64, intermediate: 128, ..Tiny::new(tokens.vocab, 3) };
        small.make(&fixture.path("base")).unwrap();
        tokens.save(&fixture.path("base")).unwrap();
        fixture.adapter("adapter", 6.0);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn adapter(&self, name: &str, alpha: f64) {
        let random = |name: &str, rows, columns, deviation| {
            let values = normal_vec(key(9, name), rows * columns, deviation);
            Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
        };
        let pair = |module: &str, out, r, input| {
            let half = |h: &str| format!("{module}.{h}");
            (module.to_owned(), (random(&half("a"), r, input, 0.1), random(&half("b"), out, r, 0.1)))
        };
        let file = AdapterFile {
            config: AdapterConfig {
                base: self.path("base").display().to_string(),
                revision: None,
                r: 4,
                alpha,
                dropout: 0.0,
                rslora: true,
                targets: Targets::Pattern(".*".into()),
                except: Except::default(),
                rank_pattern: vec![("down_proj".into(), 9)],
                alpha_pattern: Vec::new(),
                beside: Beside::default(),
            },
            tensors: BTreeMap::from([pair(Q, 64, 4, 64), pair(DOWN, 64, 9, 128)]),
            saved: BTreeMap::new(),
            magnitudes: BTreeMap::new(),
        };
        peft::save(&self.path(name), &file).unwrap();
    }

    fn files(&self, name: &str) -> ModelFiles {
        ModelFiles::open(&self.path(name)).unwrap()
    }

    fn merge(&self, base: &str, out: &str, options: &Options) -> Result<MergeReport> {
        merge(&self.files(base), &self.path("adapter"), &self.path(out), options, &())
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// W + s B A in f64, term by term.
fn defined(base: &Tensor, adapter: &AdapterFile, module: &str, scale: f64) -> Vec<f64> {
    let (a, b) = &adapter.tensors[module];
    let ((r, input), (a, b)) = (a.dims2().unwrap(), (flat(a), flat(b)));
    let at = |(i, w): (usize, f64)| {
        let (row, column) = (i / input, i % input);
        w + scale * (0..r).map(|k| b[row * r + k] * a[k * input + column]).sum::<f64>()
    };
    flat(base).into_iter().enumerate().map(at).collect()
}

#[test]
fn merged_weights_are_those_of_the_formula() {
    let fixture = Fixture::new();
    let nf4 = Precision::Nf4 { double_quant: true };
    save_4bit(&fixture.files("base"), &fixture.path("four"), DoubleQuant::On, DType::F32).unwrap();
    let adapter = peft::load(&fixture.path("adapter")).unwrap();
    for (base, precision) in [("base", Precision::Stored), ("base", nf4), ("four", Precision::Stored), ("four", nf4)] {
        let out = format!("{base}-{precision:?}");
        let options = Options { precision, same_base: true, ..Options::default() };
        let merged = fixture.merge(base, &out, &options).unwrap();
        assert_eq!((merged.modules, merged.dtype, merged.weights.shards), (2, DType::F32, 1));
        let check = merged.check.unwrap();
        assert!(check.good() && check.largest < 1e-4 && check.effect > 1e-2, "{check:?}");
        let (files, out) = (fixture.files(base), fixture.files(&out));
        let from = Base { files: &files, precision };
        let mut added = 0;
        for (name, shape) in files.config().shapes() {
            let (before, after) = (from.tensor(&name, &shape).unwrap(), out.load(&name, &shape).unwrap());
            let module = name.strip_suffix(".weight").unwrap();
            // alpha / sqrt(r), with the rank of its own.
            let Some(scale) = [(Q, 3.0), (DOWN, 2.0)].iter().find(|(m, _)| *m == module).map(|(_, s)| *s) else {
                assert!(flat(&before) == flat(&after), "{name}");
                continue;
            };
            added += 1;
            for (found, want) in flat(&after).into_iter().zip(defined(&before, &adapter, module, scale)) {
                assert!((found - want).abs() < 1e-6, "{name}: {found} instead of {want}");
            }
        }
        assert_eq!(added, 2);
        assert_eq!(out.config().quantization, None);
    }
    // What training saw of the whole base is what the 4-bit checkpoint holds.
    let read = |name: &str| fs::read(fixture.path(name).join(WHOLE)).unwrap();
    let seen = read(&format!("base-{nf4:?}"));
    assert!(seen == read("four-Stored") && seen == read(&format!("four-{nf4:?}")) && seen != read("base-Stored"));
}

#[test]
fn a_wrong_merge_is_not_called_good() {
    let fixture = Fixture::new();
    let base = fixture.files("base");
    let source = Base { files: &base, precision: Precision::Stored };
    let right = peft::load(&fixture.path("adapter")).unwrap();
    let tokens = Tokens::open(&fixture.path("base")).unwrap();
    // The scale is wrong by a tenth, or the adapter of one of the two modules was left out.
    let mut near = right.clone();
    near.config.alpha *= 1.1;
    let mut half = right.clone();
    half.tensors.remove(DOWN);
    for (dtype, name) in [(DType::F32, "f32"), (DType::BF16, "bf16"), (DType::F16, "f16")] {
        for (kind, adapter, good) in [("right", &right, true), ("near", &near, false), ("half", &half, false)] {
            let folder = fixture.path(&format!("{name}-{kind}"));
            fs::create_dir(&folder).unwrap();
            let sum = Sum { upon: Replaced { base: &source, adapter } };
            write(&sum, (base.config(), &folder), (dtype, 1 << 30), &()).unwrap();
            fs::copy(fixture.path("base/config.json"), folder.join(CONFIG)).unwrap();
            let found = compare(&source, &right, &folder, (dtype, Some(&tokens)), &());
            assert_eq!(found.is_ok(), good, "{name} {kind}: {found:?}");
            if let Err(error) = found {
                assert!(error.to_string().contains("nothing was put in place"), "{error}");
            }
        }
    }
}

#[test]
fn the_check_measures_what_rounding_does() {
    let fixture = Fixture::new();
    let mut last = 0.0;
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let options = Options { dtype: Some(dtype), ..Options::default() };
        let check = fixture.merge("base", dtype.as_str(), &options).unwrap().check.unwrap();
        // Eleven bits of f16, eight of bf16.
        let narrow = dtype != DType::F32;
        assert!(check.largest > last && (!narrow || check.largest > check.explained / 100.0), "{dtype:?}: {check:?}");
        last = check.largest;
    }
}

#[test]
fn what_drowns_in_rounding_is_told() {
    let fixture = Fixture::new();
    fixture.adapter("adapter", 1e-4);
    let (base, heard) = (fixture.files("base"), Heard::default());
    let options = Options { dtype: Some(DType::BF16), ..Options::default() };
    merge(&base, &fixture.path("adapter"), &fixture.path("out"), &options, &heard).unwrap();
    let warnings = heard.warnings.into_inner().unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("drowns") && warnings[0].contains("f32"), "{warnings:?}");
}

#[test]
fn the_folder_is_a_models() {
    let fixture = Fixture::new();
    let mut config = fixture.json("base/config.json");
    config["dtype"] = "float32".into();
    config["a_key_of_others"] = json!([3]);
    fs::write(fixture.path("base/config.json"), config.to_string()).unwrap();
    fs::write(fixture.path("base/generation_config.json"), r#"{"eos_token_id": [9], "temperature": 0.6}"#).unwrap();
    let mut tokens = Tokens::open(&fixture.path("base")).unwrap();
    tokens.chat_template = Some("of the adapter".into());
    tokens.eos_ids = vec![3, 4];
    tokens.save(&fixture.path("adapter")).unwrap();
    let options = Options { dtype: Some(DType::BF16), shard_bytes: 40_000, ..Options::default() };
    let merged = fixture.merge("base", "out", &options).unwrap();
    let files = fixture.files("out");
    files.check().unwrap();
    assert!(merged.weights.shards > 2 && files.bytes() > merged.weights.bytes);
    let sum: usize = files.config().shapes().iter().map(|(_, shape)| shape.iter().product::<usize>() * 2).sum();
    assert_eq!(merged.weights.bytes, sum as u64);
    let config = fixture.json("out/config.json");
    assert_eq!((&config["torch_dtype"], &config["dtype"]), (&json!("bfloat16"), &Value::Null));
    assert_eq!(config["a_key_of_others"], json!([3]));
    assert_eq!(Tokens::open(&fixture.path("out")).unwrap().chat_template.as_deref(), Some("of the adapter"));
    let generation = fixture.json("out/generation_config.json");
    assert_eq!((&generation["eos_token_id"], &generation["temperature"]), (&json!([3, 4]), &json!(0.6)));
    // The same again is the same to the byte.
    fixture.merge("base", "again", &options).unwrap();
    for entry in fs::read_dir(fixture.path("out")).unwrap() {
        let name = entry.unwrap().file_name();
        let [a, b] = ["out", "again"].map(|folder| fs::read(fixture.path(folder).join(&name)).unwrap());
        assert!(a == b, "{name:?}");
    }
}

#[test]
fn a_base_without_a_tokenizer_is_merged_and_told() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.path("base/tokenizer.json")).unwrap();
    let heard = Heard::default();
    let merged =
        merge(&fixture.files("base"), &fixture.path("adapter"), &fixture.path("out"), &Options::default(), &heard);
    assert_eq!(merged.unwrap().check.unwrap().tokens, 36);
    assert!(
        heard.warnings.into_inner().unwrap()[0].contains("has none") && !fixture.path("out/tokenizer.json").exists()
    );
}

#[test]
fn a_head_of_its_own_is_merged_and_compared() {
    let fixture = Fixture::new();
    // The configuration of the base ties them.
    let path = fixture.path("base").join(WHOLE);
    let file = Safetensors::open(&path).unwrap();
    let mut tensors: BTreeMap<String, Tensor> = file.names().map(|n| (n.to_owned(), file.load(n).unwrap())).collect();
    let head = (&tensors["model.embed_tokens.weight"] * 3.0).unwrap();
    tensors.insert("lm_head.weight".into(), head.clone());
    fs::write(&path, to_bytes(&tensors).unwrap()).unwrap();
    assert_eq!(fixture.json("base/config.json")["tie_word_embeddings"], true);
    let heard = Heard::default();
    let base = fixture.files("base");
    merge(&base, &fixture.path("adapter"), &fixture.path("out"), &Options::default(), &heard).unwrap();
    assert!(heard.warnings.into_inner().unwrap()[0].contains("differs from the embedding"));
    assert_eq!(fixture.json("out/config.json")["tie_word_embeddings"], false);
    let merged = fixture.files("out");
    assert!(flat(&merged.load("lm_head.weight", head.dims()).unwrap()) == flat(&head));
    let written = Safetensors::open(&fixture.path("out").join(WHOLE)).unwrap();
    assert!(written.info("lm_head.weight").is_some());
    // A merged folder that lost it is found by the check.
    let mut lost: BTreeMap<String, Tensor> =
        written.names().map(|n| (n.to_owned(), written.load(n).unwrap())).collect();
    lost.remove("lm_head.weight");
    let folder = fixture.path("lost");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(WHOLE), to_bytes(&lost).unwrap()).unwrap();
    fs::copy(fixture.path("base/config.json"), folder.join(CONFIG)).unwrap();
    let (source, adapter) =
        (Base { files: &base, precision: Precision::Stored }, peft::load(&fixture.path("adapter")).unwrap());
    let error = compare(&source, &adapter, &folder, (DType::F32, None), &()).unwrap_err().to_string();
    assert!(error.contains("nothing was put in place"), "{error}");
}

#[test]
fn an_adapter_of_another_base_is_refused() {
    let fixture = Fixture::new();
    let error = |base: &str| fixture.merge(base, "out", &Options::default()).unwrap_err().to_string();
    let make = |name: &str, change: &dyn Fn(&mut Tiny)| {
        let mut other = Tiny { layers: 2, hidden: 64, intermediate: 128, ..Tiny::new(270, 3) };
        change(&mut other);
        other.make(&fixture.path(name)).unwrap();
    };
    make("wider", &|t| t.intermediate = 160);
    assert!(error("wider").contains("[64, 128]") && error("wider").contains("belongs to another model"));
    make("shorter", &|t| t.layers = 1);
    assert!(error("shorter").contains(DOWN) && error("shorter").contains("no such linear layer"));
    make("other", &|t| t.seed = 4);
    let said = error("other");
    assert!(said.contains("was trained upon") && said.contains("base") && said.contains("--same-base"), "{said}");
    fixture.merge("other", "trusted", &Options { same_base: true, ..Options::default() }).unwrap();
    // A name, not a place: the folder is called as the repository is, or lies in the Hub's cache.
    let named = |base: &str| {
        let mut file = peft::load(&fixture.path("adapter")).unwrap();
        file.config.base = base.into();
        peft::save(&fixture.path("adapter"), &file).unwrap();
    };
    named("someone/Other");
    fixture.merge("other", "named", &Options::default()).unwrap();
    assert!(error("base").contains("`someone/Other`"));
    // One that PEFT wrote without all of its modules.
    let mut file = peft::load(&fixture.path("adapter")).unwrap();
    file.config.targets = Targets::Names(vec!["q_proj".into(), "down_proj".into()]);
    peft::save(&fixture.path("adapter"), &file).unwrap();
    let said =
        fixture.merge("base", "gaps", &Options { same_base: true, ..Options::default() }).unwrap_err().to_string();
    assert!(said.contains("model.layers.0.mlp.down_proj") && said.contains("no weights for it"), "{said}");
}

#[test]
fn nothing_is_left_of_what_failed() {
    let fixture = Fixture::new();
    let before = fixture.json("base/config.json");
    let base = fixture.files("base");
    for stop_after in [Some(0), Some(5), Some(21)] {
        let heard = Heard { stop_after, ..Heard::default() };
        let ended = merge(&base, &fixture.path("adapter"), &fixture.path("out"), &Options::default(), &heard);
        assert!(matches!(ended, Err(Error::Stopped)), "{ended:?}");
    }
    let taken = |force| fixture.merge("base", "base", &Options { force, ..Options::default() });
    assert!(taken(false).unwrap_err().to_string().contains("holds a model already"));
    // Over the base itself: it is read to its end before it gives way.
    let dir = fixture.path("adapter");
    for name in [WHOLE, "tokenizer.json"] {
        let path = fixture.path("base").join(name);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        let error = ModelFiles::open(&fixture.path("base"))
            .and_then(|base| merge(&base, &dir, &fixture.path("out"), &Options::default(), &()))
            .unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        fs::write(&path, whole).unwrap();
    }
    let path = dir.join(peft::WEIGHTS);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    let error = fixture.merge("base", "out", &Options::default()).unwrap_err().to_string();
    assert!(error.contains(peft::WEIGHTS) && error.contains("cut short"), "{error}");
    let mut names: Vec<_> = fs::read_dir(fixture.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["adapter", "base"]);
    assert_eq!(fixture.json("base/config.json"), before);
}
