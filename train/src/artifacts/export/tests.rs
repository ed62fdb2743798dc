use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor, quantized::gguf_file::Content};
use serde_json::{Value, json};

use super::*;
use crate::{
    artifacts::{destination::Destination, tiny::Tiny},
    formats::{
        gguf::{Gguf, ROPE_FREQS, layout},
        model_files::ModelFiles,
        peft::{self, AdapterConfig, AdapterFile, Beside, Except, Targets},
        safetensors::{Safetensors, to_bytes},
    },
    model::config::Config,
    random::{key, normal_vec},
    tokenizer::{Tokens, tiny},
};

type Change<'a> = &'a dyn Fn(&mut Value);

fn to(path: &Path, force: bool) -> Destination<'_> {
    Destination { path, force }
}

fn plain(quant: Quant) -> GgufOptions {
    GgufOptions { quant, check: true }
}

fn options(quant: Quant, same_base: bool) -> LoraOptions {
    LoraOptions { quant, same_base }
}

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    /// A model of a family with its tokenizer; `change` has the last word on its configuration.
    fn new(family: &str, change: impl Fn(&mut Value)) -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        let tokens = tiny::train(["uno due tre, uno due tre"].into_iter(), 300).unwrap();
        let (bos, eos) = (Some(0), vec![3, 4]);
        let small = Tiny { bos, eos, layers: 2, hidden: 64, intermediate: 256, ..Tiny::new(tokens.vocab, 3) };
        let mut json = small.config().to_json().unwrap();
        json["model_type"] = family.into();
        change(&mut json);
        let config = Config::from_json(&fixture.path("config.json"), json.as_object().unwrap()).unwrap();
        let tensor = |(name, shape): (String, Vec<usize>)| {
            let values = normal_vec(key(5, &name), shape.iter().product(), 0.3);
            (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        };
        let tensors = config.shapes().into_iter().map(tensor).collect();
        fs::create_dir(fixture.path("model")).unwrap();
        fs::write(fixture.path("model/model.safetensors"), to_bytes(&tensors).unwrap()).unwrap();
        fs::write(fixture.path("model/config.json"), json.to_string()).unwrap();
        tokens.save(&fixture.path("model")).unwrap();
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn files(&self) -> ModelFiles {
        ModelFiles::open(&self.path("model")).unwrap()
    }

    fn tokens(&self) -> Tokens {
        Tokens::open(&self.path("model")).unwrap()
    }

    fn export(&self, quant: Quant) -> (PathBuf, ExportReport) {
        let out = self.path(&format!("{}.gguf", quant.name()));
        let done = gguf((&self.files(), &self.tokens()), to(&out, true), plain(quant), &()).unwrap();
        (out, done)
    }
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn what_is_exported_reads_back_the_same() {
    let none = |_: &mut Value| {};
    let untied = |c: &mut Value| c["tie_word_embeddings"] = false.into();
    let wide = |c: &mut Value| c["head_dim"] = 24.into();
    let linear = |c: &mut Value| c["rope_scaling"] = json!({"rope_type": "linear", "factor": 2.5});
    let cases: [(&str, Change); 6] = [
        ("llama", &none),
        ("llama", &untied),
        ("llama", &wide),
        ("llama", &linear),
        ("mistral", &none),
        ("qwen2", &none),
    ];
    for (family, change) in cases {
        let fixture = Fixture::new(family, change);
        let (out, done) = fixture.export(Quant::F32);
        assert_eq!(done.bytes, fs::metadata(&out).unwrap().len());
        let (before, after) = (fixture.files(), ModelFiles::open(&out).unwrap());
        after.check().unwrap();
        let (mut want, found) = (before.config().clone(), after.config().clone());
        want.dtype = None;
        // To GGUF Mistral is a Llama.
        want.architecture = found.architecture;
        assert_eq!(found, want);
        assert_eq!(done.kinds.values().sum::<usize>(), want.shapes().len());
        for (name, shape) in want.shapes() {
            let [a, b] = [&before, &after].map(|files| flat(&files.load(&name, &shape).unwrap()));
            assert!(a == b, "{family}: {name}");
        }
        let (want, found) = (fixture.tokens(), Tokens::open(&out).unwrap());
        assert_eq!((&found.bos, &found.eos, found.adds_bos), (&want.bos, &want.eos, want.adds_bos));
        assert_eq!((&found.eos_ids, found.vocab), (&want.eos_ids, want.vocab));
        assert_eq!(found.chat_template, want.chat_template);
        for text in ["uno due  tre 12345", "Perché? 🌾\n\n\té", "<|begin_of_text|>uno<|eot_id|>"] {
            assert_eq!(found.encode(text).unwrap(), want.encode(text).unwrap(), "{text}");
        }
        // The same again is the same to the byte.
        let bytes = fs::read(&out).unwrap();
        fixture.export(Quant::F32);
        assert!(fs::read(&out).unwrap() == bytes);
    }
}

#[test]
fn a_head_of_its_own_is_exported_whatever_the_configuration_says() {
    let fixture = Fixture::new("llama", |c| c["tie_word_embeddings"] = false.into());
    let path = fixture.path("model/config.json");
    let tied =
        fs::read_to_string(&path).unwrap().replace("\"tie_word_embeddings\":false", "\"tie_word_embeddings\":true");
    fs::write(&path, &tied).unwrap();
    assert!(tied.contains("\"tie_word_embeddings\":true"));
    let stored = Safetensors::open(&fixture.path("model/model.safetensors")).unwrap().load("lm_head.weight").unwrap();
    let (out, _) = fixture.export(Quant::F32);
    assert!(Gguf::open(&out).unwrap().info("lm_head.weight").is_some());
    let four = fixture.path("four");
    four_bit((&fixture.files(), Some(&fixture.tokens())), to(&four, false), &()).unwrap();
    for path in [out, four] {
        let files = ModelFiles::open(&path).unwrap();
        assert!(!files.config().tie_word_embeddings && files.warning().is_none());
        assert!(flat(&files.load("lm_head.weight", stored.dims()).unwrap()) == flat(&stored), "{}", path.display());
    }
}

#[test]
fn a_file_is_read_back_and_held_against_its_model() {
    let fixture = Fixture::new("llama", |c| c["tie_word_embeddings"] = false.into());
    let mut last = -1.0;
    for quant in [Quant::F32, Quant::F16, Quant::Q8_0, Quant::Q4_0] {
        let (_, done) = fixture.export(quant);
        let check = done.check.unwrap();
        assert!(check.texts >= 100 && check.tokens > 10, "{quant:?}: {check:?}");
        // The fewer bits, the further from the model; from what packing makes of it the file is no further than before.
        assert!(check.largest > last && check.unexplained < 1e-3, "{quant:?}: {check:?}");
        last = check.largest;
    }
    let out = fixture.path("unchecked.gguf");
    let unchecked = GgufOptions { quant: Quant::F16, check: false };
    assert_eq!(gguf((&fixture.files(), &fixture.tokens()), to(&out, false), unchecked, &()).unwrap().check, None);
    // The file of one model is not that of another, be it one value or one size that differs.
    let (file, _) = fixture.export(Quant::F32);
    let vocab = crate::formats::gguf::vocab::metadata(&fixture.tokens(), fixture.files().config().vocab_size).unwrap();
    let (name, path) = ("model.layers.1.mlp.up_proj.weight", fixture.path("model/model.safetensors"));
    let other = |edit: &dyn Fn()| {
        edit();
        let files = fixture.files();
        let base =
            crate::artifacts::merge::Base { files: &files, precision: crate::artifacts::merge::Precision::Stored };
        check::check((&base, &fixture.tokens()), &BTreeMap::new(), (&file, &vocab), &()).map_err(|e| e.to_string())
    };
    assert!(other(&|| ()).is_ok());
    let config = fixture.path("model/config.json");
    let text = fs::read_to_string(&config).unwrap();
    let theta = other(&|| fs::write(&config, text.replace("10000.0", "20000.0")).unwrap());
    assert!(theta.clone().unwrap_err().contains("nothing was put in place"), "{theta:?}");
    fs::write(&config, text).unwrap();
    let weight = other(&|| {
        let read = Safetensors::open(&path).unwrap();
        let mut tensors: BTreeMap<String, Tensor> =
            read.names().map(|name| (name.to_owned(), read.load(name).unwrap())).collect();
        let mut values = flat(&tensors[name]);
        values[70] += 3.0;
        tensors.insert(name.into(), Tensor::from_vec(values, (256, 64), &Device::Cpu).unwrap());
        fs::write(&path, to_bytes(&tensors).unwrap()).unwrap();
    });
    assert!(weight.clone().unwrap_err().contains("nothing was put in place"), "{weight:?}");
}

#[test]
fn rows_of_q_and_k_are_llama_cpps() {
    // With two heads of four, row 2 h + p of a head comes after row p of it.
    let config = Config { heads: 2, head_dim: 4, ..Tiny::new(96, 0).config() };
    let rows = Tensor::arange(0_u32, 8, &Device::Cpu).unwrap().reshape((8, 1)).unwrap();
    let turned = layout::laid(rows, "blk.0.attn_q.weight", &config).unwrap();
    assert_eq!(turned.flatten_all().unwrap().to_vec1::<u32>().unwrap(), [0, 2, 1, 3, 4, 6, 5, 7]);
}

#[test]
fn quantised_types_come_near_and_stand_in_where_they_do_not_fit() {
    let fixture = Fixture::new("llama", |_| {});
    let files = fixture.files();
    // 2 x 7 matrices, of which down_proj has rows of 256 and all others of 64; the embedding is the head.
    for (quant, kinds, most) in [
        (Quant::F16, vec![("F16", 15), ("F32", 5)], 1e-3),
        (Quant::Bf16, vec![("BF16", 15), ("F32", 5)], 6e-3),
        (Quant::Q8_0, vec![("F32", 5), ("Q8_0", 15)], 1e-2),
        (Quant::Q4_0, vec![("F32", 5), ("Q4_0", 14), ("Q8_0", 1)], 0.2),
        (Quant::Q4K, vec![("F32", 5), ("Q4_K", 2), ("Q5_0", 12), ("Q8_0", 1)], 0.15),
        (Quant::Q6K, vec![("F32", 5), ("Q6_K", 2), ("Q8_0", 13)], 0.05),
    ] {
        let (out, done) = fixture.export(quant);
        assert_eq!(done.kinds, BTreeMap::from_iter(kinds), "{quant:?}");
        let after = ModelFiles::open(&out).unwrap();
        let mut worst = 0.0_f32;
        for (name, shape) in files.config().shapes() {
            let [a, b] = [&files, &after].map(|files| flat(&files.load(&name, &shape).unwrap()));
            let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(shape.len() == 2 || apart == 0.0, "{name}");
            worst = worst.max(apart);
        }
        assert!(worst > 0.0 && worst < most, "{quant:?}: {worst}");
    }
}

#[test]
fn divisors_are_written_for_llama_only() {
    let scaled = |c: &mut Value| {
        c["rope_scaling"] = json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        });
    };
    let fixture = Fixture::new("llama", scaled);
    let (out, _) = fixture.export(Quant::Q8_0);
    let (before, after) = (fixture.files(), ModelFiles::open(&out).unwrap());
    after.check().unwrap();
    assert!(Gguf::open(&out).unwrap().info(ROPE_FREQS).is_some());
    for (found, want) in after.config().inv_freq().iter().zip(before.config().inv_freq()) {
        assert!((found / want - 1.0).abs() < 1e-6, "{found} instead of {want}");
    }
    let fixture = Fixture::new("qwen2", scaled);
    let out = fixture.path("out.gguf");
    let error =
        gguf((&fixture.files(), &fixture.tokens()), to(&out, false), plain(Quant::F16), &()).unwrap_err().to_string();
    assert!(error.contains("does not know of qwen2") && !out.exists(), "{error}");
}

#[test]
fn an_adapter_keeps_its_scale() {
    let fixture = Fixture::new("llama", |_| {});
    let random = |name: &str, rows, columns| {
        let values = normal_vec(key(9, name), rows * columns, 1.0);
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
    };
    let (q, down, up) =
        ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj", "model.layers.1.mlp.up_proj");
    let module = |name: &str, out, r, input| {
        (name.to_owned(), (random(&format!("{name}.a"), r, input), random(&format!("{name}.b"), out, r)))
    };
    for (rslora, alpha, patterns, written) in [
        (false, 8.0, false, 8.0),
        (true, 8.0, false, 16.0),
        (true, 8.0, true, 16.0),
        (false, 8.0, true, 8.0),
        (false, 0.0, true, 1.0),
    ] {
        let down_rank = if patterns { 9 } else { 4 };
        let file = AdapterFile {
            config: AdapterConfig {
                base: "a/model".into(),
                revision: None,
                r: 4,
                alpha,
                dropout: 0.0,
                rslora,
                targets: Targets::Pattern(".*".into()),
                except: Except::default(),
                rank_pattern: if patterns { vec![("down_proj".into(), 9)] } else { Vec::new() },
                alpha_pattern: if patterns { vec![("up_proj".into(), 3.0)] } else { Vec::new() },
                beside: Beside::default(),
            },
            tensors: BTreeMap::from([module(q, 64, 4, 64), module(down, 64, down_rank, 256), module(up, 256, 4, 64)]),
            saved: BTreeMap::new(),
            magnitudes: BTreeMap::new(),
        };
        let folder = fixture.path("adapter");
        peft::save(&folder, &file).unwrap();
        let out = fixture.path("lora.gguf");
        gguf_lora((&folder, &fixture.files()), to(&out, true), options(Quant::F32, false), &()).unwrap();
        let read = Gguf::open(&out).unwrap();
        let text = |key: &str| read.metadata(key).unwrap().to_string().unwrap().clone();
        assert_eq!([text("general.type"), text("adapter.type")], ["adapter", "lora"]);
        assert_eq!(text("general.architecture"), "llama");
        let found = read.metadata("adapter.lora.alpha").unwrap().to_f32().unwrap();
        assert!((found - written).abs() < 1e-6, "{found}");
        assert_eq!(read.names().count(), 6);
        let mut raw = fs::File::open(&out).unwrap();
        let content = Content::read(&mut raw).unwrap();
        for (module, own) in [(q, "blk.0.attn_q"), (down, "blk.1.ffn_down"), (up, "blk.1.ffn_up")] {
            let [a, b] = ["lora_a", "lora_b"].map(|half| {
                let tensor = content.tensor(&mut raw, &format!("{own}.weight.{half}"), &Device::Cpu).unwrap();
                tensor.dequantize(&Device::Cpu).unwrap()
            });
            // As llama.cpp scales it: alpha over the columns of B.
            let scale = f64::from(found) / f64::from(u32::try_from(b.dim(1).unwrap()).unwrap());
            let (want_a, want_b) = &file.tensors[module];
            let want_scale = file.config.scale_of(module).unwrap();
            assert_eq!(flat(&a), flat(want_a), "{module}");
            // Of q, heads of 16: row 8 h + p of a head lies at 2 p + h.
            let row = |i: usize| if module == q { i / 16 * 16 + i % 2 * 8 + i % 16 / 2 } else { i };
            let turned = Tensor::cat(
                &(0..b.dim(0).unwrap()).map(|i| want_b.narrow(0, row(i), 1).unwrap()).collect::<Vec<_>>(),
                0,
            );
            for (found, want) in flat(&b).into_iter().zip(flat(&turned.unwrap())) {
                let (found, want) = (f64::from(found) * scale, f64::from(want) * want_scale);
                assert!((found - want).abs() < 1e-5 * want.abs().max(1e-3), "{module}: {found} instead of {want}");
            }
        }
        let error = ModelFiles::open(&out).unwrap_err().to_string();
        assert!(error.contains("an adapter cannot be trained upon"), "{error}");
    }
    let refused = |quant, same| {
        gguf_lora(
            (&fixture.path("adapter"), &fixture.files()),
            to(&fixture.path("other.gguf"), false),
            options(quant, same),
            &(),
        )
        .unwrap_err()
        .to_string()
    };
    assert!(refused(Quant::Q8_0, true).contains("loses what it learned"));
    let path = fixture.path("adapter").join(peft::CONFIG);
    let text = fs::read_to_string(&path).unwrap().replace("a/model", "a/nother");
    fs::write(&path, text).unwrap();
    assert!(refused(Quant::F32, false).contains("--same-base"));
    assert!(!fixture.path("other.gguf").exists());
}

#[test]
fn a_folder_in_four_bits_is_a_models() {
    let fixture = Fixture::new("llama", |_| {});
    let out = fixture.path("four");
    let done = four_bit((&fixture.files(), Some(&fixture.tokens())), to(&out, false), &()).unwrap();
    assert_eq!(done.kinds, BTreeMap::from([("NF4", 14), ("the type they had", 6)]));
    let files = ModelFiles::open(&out).unwrap();
    files.check().unwrap();
    assert!(files.config().quantization.is_some());
    assert_eq!(Tokens::open(&out).unwrap().sha256, fixture.tokens().sha256);
    let error = four_bit((&fixture.files(), None), to(&out, false), &()).unwrap_err().to_string();
    assert!(error.contains("--force"), "{error}");
    // From 4 bits to GGUF: the weights that the 4 bits stand for.
    let whole = fixture.path("whole.gguf");
    gguf((&files, &fixture.tokens()), to(&whole, false), plain(Quant::F32), &()).unwrap();
    let (name, shape) = ("model.layers.0.mlp.up_proj.weight", [256, 64]);
    let gguf = ModelFiles::open(&whole).unwrap().load(name, &shape).unwrap();
    let packed = crate::model::load::Source::packed(&files, name, (256, 64)).unwrap().unwrap();
    assert!(flat(&gguf) == flat(&packed.dequantize(DType::F32).unwrap()));
}

#[test]
fn a_value_or_a_place_that_will_not_do_leaves_nothing() {
    let fixture = Fixture::new("llama", |_| {});
    let out = fixture.path("out.gguf");
    let name = "model.layers.1.mlp.up_proj.weight";
    let path = fixture.path("model/model.safetensors");
    let read = crate::formats::safetensors::Safetensors::open(&path).unwrap();
    let mut tensors: BTreeMap<String, Tensor> =
        read.names().map(|name| (name.to_owned(), read.load(name).unwrap())).collect();
    let mut values = flat(&tensors[name]);
    values[70] = f32::INFINITY;
    tensors.insert(name.into(), Tensor::from_vec(values, (256, 64), &Device::Cpu).unwrap());
    fs::write(&path, to_bytes(&tensors).unwrap()).unwrap();
    let error =
        gguf((&fixture.files(), &fixture.tokens()), to(&out, false), plain(Quant::Q4K), &()).unwrap_err().to_string();
    assert!(error.contains("`blk.1.ffn_up.weight`: the value at row 1, column 6 is inf"), "{error}");
    assert!(!out.exists());
    let names = fs::read_dir(fixture.dir.path()).unwrap().count();
    assert_eq!(names, 1, "only the model");
    let error = gguf((&fixture.files(), &fixture.tokens()), to(&fixture.path("model"), true), plain(Quant::F16), &())
        .unwrap_err();
    assert!(error.to_string().contains("is a folder"), "{error}");
}

/// Experts of a layer lie one after the other, whatever they are packed in, and come back one by one.
#[test]
fn experts_lie_in_one_tensor() {
    let moe = |c: &mut Value| {
        let more = json!({"num_local_experts": 3, "num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 96,
            "norm_topk_prob": true, "head_dim": 16});
        c.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    };
    for (family, gguf_family, inner) in [("mixtral", "llama", 256), ("qwen3_moe", "qwen3moe", 96)] {
        let fixture = Fixture::new(family, moe);
        let files = fixture.files();
        for quant in [Quant::F32, Quant::Q8_0] {
            let (out, _) = fixture.export(quant);
            let content = Content::read(&mut fs::File::open(&out).unwrap()).unwrap();
            for (name, dims) in [
                ("blk.1.ffn_gate_exps.weight", vec![3, inner, 64]),
                ("blk.1.ffn_down_exps.weight", vec![3, 64, inner]),
                ("blk.1.ffn_gate_inp.weight", vec![3, 64]),
            ] {
                assert_eq!(content.tensor_infos[name].shape.dims(), dims, "{name}");
            }
            let number =
                |key: &str| content.metadata.get(&format!("{gguf_family}.{key}")).and_then(|v| v.to_u32().ok());
            assert_eq!([number("expert_count"), number("expert_used_count")], [Some(3), Some(2)]);
            assert_eq!(number("expert_feed_forward_length"), (family == "qwen3_moe").then_some(96));
            let after = ModelFiles::open(&out).unwrap();
            after.check().unwrap();
            assert_eq!(after.config().experts, files.config().experts);
            for (name, shape) in files.config().shapes() {
                let [a, b] = [&files, &after].map(|files| flat(&files.load(&name, &shape).unwrap()));
                let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                let whole = quant == Quant::F32 || shape.len() == 1 || name.ends_with(".gate.weight");
                assert!(if whole { apart == 0.0 } else { apart > 0.0 && apart < 1e-2 }, "{name}: {apart}");
            }
        }
    }
    for (change, said) in [
        (json!({"norm_topk_prob": false}), "does not bring the weights of a token's experts to a sum of 1"),
        (json!({"mlp_only_layers": [0]}), "has layers without experts"),
    ] {
        let fixture = Fixture::new("qwen3_moe", |c| {
            moe(c);
            c.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        });
        let (out, files) = (fixture.path("out.gguf"), fixture.files());
        let error = gguf((&files, &fixture.tokens()), to(&out, false), plain(Quant::F16), &()).unwrap_err().to_string();
        assert!(
            error.contains(said) && error.contains("llama.cpp does not know of qwen3moe") && !out.exists(),
            "{error}"
        );
    }
}
