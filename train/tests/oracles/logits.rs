//! Logits beside transformers' and, as a second witness, beside candle-transformers' Llama.

use std::{collections::HashMap, path::Path};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama as theirs;
use serde_json::Value;
use setaccio_train::{
    formats::model_files::ModelFiles,
    generate::generate,
    inference::sampling::Sampling,
    kernels::Span,
    model::{
        context::Mode,
        layer::Layer,
        llama::Llama,
        load::{self, LoadOptions},
        weight::Weight,
    },
};

use crate::formula::{
    TRAINED, VOCAB, attach, batch, close, config, documents, elements, model, model_folder, numbers, oracle, recipe,
};

/// Logits [T, V] of one document, as f64.
pub fn logits(model: &Llama, ids: &[u32]) -> Vec<f64> {
    let hidden = model.hidden_states(&batch(&[ids.to_vec()], 1), Mode::Eval).unwrap();
    elements(&model.head.logits(&hidden).unwrap())
}

fn compare(what: &str, got: &[f64], want: &Value) {
    for (name, got) in [("first", &got[..VOCAB]), ("last", &got[got.len() - VOCAB..])] {
        let want = numbers(&want[name]);
        assert_eq!(want.len(), VOCAB);
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            close(&format!("{what}, {name} token, logit {i}"), *got, want, 0.0, 1e-5);
        }
    }
}

#[test]
fn equal_transformers() {
    let oracle = oracle("logits.json");
    for (variant, want) in oracle["variants"].as_object().unwrap() {
        for (dtype, key) in [(DType::F32, "f32"), (DType::F64, "f64")] {
            let mut model = model(variant, dtype);
            for (i, ids) in documents().iter().enumerate() {
                compare(&format!("{variant} {key} document {i}"), &logits(&model, ids), &want[key][i]);
                let losses = model.evaluate(&batch(std::slice::from_ref(ids), 1)).unwrap();
                close(variant, losses.nll / losses.targets as f64, want["nll"][i].as_f64().unwrap(), 1e-6, 0.0);
            }
            attach(&mut model, &recipe(), TRAINED);
            compare(&format!("{variant} {key} with LoRA"), &logits(&model, &documents()[0]), &want["lora"][key]);
        }
        let frequencies = config(variant).inv_freq();
        for (got, want) in frequencies.iter().zip(numbers(&want["rotary"])) {
            close(&format!("{variant}: frequency"), *got, want, 1e-6, 0.0);
        }
    }
}

/// The weights of `plain` in a folder whose configuration says that the head is the embedding.
fn own_head(folder: &Path) {
    let mut json = config("plain").to_json().unwrap();
    model_folder(&json, folder);
    json["tie_word_embeddings"] = true.into();
    std::fs::write(folder.join("config.json"), json.to_string()).unwrap();
}

#[test]
fn a_head_of_its_own_is_used_whatever_the_configuration_says() {
    let (want, dir) = (oracle("own_head.json"), tempfile::tempdir().unwrap());
    own_head(dir.path());
    let files = ModelFiles::open(dir.path()).unwrap();
    files.check().unwrap();
    assert!(files.warning().unwrap().contains("differs from the embedding"));
    let model = load::model(files.config(), &files, &LoadOptions::default(), &|_| true).unwrap();
    let ids = &documents()[0];
    let got = logits(&model, ids);
    compare("own head", &got, &want);
    let tied = numbers(&want["tied"]);
    assert!(got.iter().zip(tied).any(|(got, tied)| (got - tied).abs() > 0.1), "not the embedding");
    let written = generate(&model, ids, (&[], 8), &Sampling::default(), &mut |_| true).unwrap();
    let greedy: Vec<u32> = serde_json::from_value(want["greedy"].clone()).unwrap();
    assert_eq!(written, greedy);
}

#[test]
fn packed_documents_do_not_see_each_other() {
    let model = model("plain", DType::F32);
    let documents = documents();
    let together =
        elements(&model.head.logits(&model.hidden_states(&batch(&documents, 1), Mode::Eval).unwrap()).unwrap());
    let apart: Vec<f64> = documents.iter().flat_map(|ids| logits(&model, ids)).collect();
    assert_eq!(together.len(), apart.len());
    for (i, (a, b)) in together.iter().zip(apart).enumerate() {
        close(&format!("logit {i}"), *a, b, 0.0, 1e-6);
    }
}

#[test]
fn equal_candle_transformers() {
    let (config, ours) = (config("plain"), model("plain", DType::F32));
    let mut tensors = HashMap::from([
        ("model.embed_tokens.weight".to_owned(), ours.embedding.weight.tensor().clone()),
        ("model.norm.weight".to_owned(), ours.head.norm.weight.tensor().clone()),
        ("lm_head.weight".to_owned(), ours.head.weight.tensor().clone()),
    ]);
    for (i, layer) in ours.layers.iter().enumerate() {
        for (name, branch) in
            [("input_layernorm", &layer.attention_branch), ("post_attention_layernorm", &layer.mlp_branch)]
        {
            let norm = branch.before.as_ref().unwrap();
            tensors.insert(format!("model.layers.{i}.{name}.weight"), norm.weight.tensor().clone());
        }
    }
    for linear in ours.layers.iter().flat_map(Layer::linears) {
        let Weight::Dense(weight) = &linear.weight else { panic!("not quantised") };
        tensors.insert(format!("{}.weight", linear.name), weight.tensor().clone());
    }
    let their_config = theirs::Config {
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        vocab_size: config.vocab_size,
        num_hidden_layers: config.layers,
        num_attention_heads: config.heads,
        num_key_value_heads: config.kv_heads,
        use_flash_attn: false,
        rms_norm_eps: config.rms_norm_eps,
        rope_theta: 10000.0,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: None,
        max_position_embeddings: config.max_position_embeddings,
        tie_word_embeddings: false,
    };
    let vars = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let llama = theirs::Llama::load(vars, &their_config).unwrap();
    for ids in documents() {
        let mut cache = theirs::Cache::new(false, DType::F32, &their_config, &Device::Cpu).unwrap();
        let input = Tensor::new(&ids[..], &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let want = elements(&llama.forward(&input, 0, &mut cache).unwrap());
        let got = logits(&ours, &ids);
        for (got, want) in got[got.len() - VOCAB..].iter().zip(want) {
            close("logit of the last token", *got, want, 0.0, 1e-5);
        }
    }
}

#[test]
fn a_cache_of_keys_and_values_changes_nothing() {
    let mut model = model("llama31", DType::F32);
    attach(&mut model, &recipe(), TRAINED);
    let ids = &documents()[0];
    let want = logits(&model, ids);
    for cut in [1, 4, ids.len()] {
        // The text's run of rows begins somewhere in the cache.
        let caches = model.caches(ids.len() + 3).unwrap();
        let extend = |new: std::ops::Range<usize>, mode| {
            let span = Span { q: 0, q_len: new.len(), k: 3, k_len: new.end };
            let states = model.extend(&ids[new], &[span], &caches, mode).unwrap();
            elements(&model.head.logits_in(&states, mode).unwrap())
        };
        let mut got = extend(0..cut, Mode::Eval);
        for i in cut..ids.len() {
            got = extend(i..i + 1, Mode::Tokens);
        }
        for (got, want) in got[got.len() - VOCAB..].iter().zip(&want[want.len() - VOCAB..]) {
            close(&format!("cut at {cut}"), *got, *want, 0.0, 1e-5);
        }
    }
}
