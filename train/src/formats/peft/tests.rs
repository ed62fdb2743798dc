use std::path::PathBuf;

use candle_core::Device;
use serde_json::json;

use super::*;

const Q: &str = "model.layers.0.self_attn.q_proj";
const DOWN: &str = "model.layers.1.mlp.down_proj";

fn pair(out: usize, r: usize, inner: usize) -> (Tensor, Tensor) {
    let of = |rows: usize, columns: usize| {
        let n = u32::try_from(rows * columns).unwrap();
        let values = Tensor::arange(0, n, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        values.affine(0.25, -2.0).unwrap().reshape((rows, columns)).unwrap()
    };
    (of(r, inner), of(out, r))
}

fn sample() -> AdapterFile {
    AdapterFile {
        config: AdapterConfig {
            base: "a/model".into(),
            revision: Some("main".into()),
            r: 4,
            alpha: 16.0,
            dropout: 0.1,
            rslora: false,
            targets: Targets::Names(vec!["q_proj".into(), "down_proj".into()]),
            except: Except::default(),
            rank_pattern: vec![("down_proj".into(), 2)],
            alpha_pattern: vec![(r"layers\.1\..*".into(), 6.5)],
            beside: Beside::default(),
        },
        tensors: BTreeMap::from([(Q.to_owned(), pair(8, 4, 8)), (DOWN.to_owned(), pair(8, 2, 12))]),
        saved: BTreeMap::new(),
        magnitudes: BTreeMap::new(),
    }
}

fn saved() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("adapter");
    save(&folder, &sample()).unwrap();
    (dir, folder)
}

fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
    tensor.to_dtype(DType::F32).unwrap().to_vec2().unwrap()
}

#[track_caller]
fn says<T>(result: Result<T>, parts: &[&str]) {
    let error = result.err().map(|e| e.to_string()).unwrap_or_default();
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

/// Write the configuration again with changed keys.
fn change(folder: &Path, key: &str, value: Value) {
    let path = folder.join(CONFIG);
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    json[key] = value;
    fs::write(path, json.to_string()).unwrap();
}

#[test]
fn what_was_saved_is_loaded_in_f32_and_bf16() {
    for dtype in [DType::F32, DType::BF16] {
        let dir = tempfile::tempdir().unwrap();
        let mut adapter = sample();
        for pair in adapter.tensors.values_mut() {
            *pair = (pair.0.to_dtype(dtype).unwrap(), pair.1.to_dtype(dtype).unwrap());
        }
        save(dir.path(), &adapter).unwrap();
        let found = load(dir.path()).unwrap();
        let mut expected = adapter.config.clone();
        expected.targets = Targets::Names(vec!["down_proj".into(), "q_proj".into()]);
        assert_eq!(found.config, expected, "targets come sorted");
        assert!(found.tensors.keys().eq(adapter.tensors.keys()));
        for (module, (a, b)) in &adapter.tensors {
            let (found_a, found_b) = &found.tensors[module];
            assert_eq!((found_a.dtype(), found_b.dtype()), (dtype, dtype));
            assert_eq!((rows(found_a), rows(found_b)), (rows(a), rows(b)), "{module}");
        }
    }
}

/// A GPU has no kernels for f16.
#[test]
fn an_adapter_in_f16_is_used_in_f32_and_its_norms_as_they_are_computed_with() {
    let dir = tempfile::tempdir().unwrap();
    let mut adapter = sample();
    let narrow = |t: &Tensor| t.to_dtype(DType::F16).unwrap();
    for pair in adapter.tensors.values_mut() {
        *pair = (narrow(&pair.0), narrow(&pair.1));
    }
    let name = "model.norm";
    adapter.config.beside.modules_to_save = vec!["norm".into()];
    let weight = Tensor::new(&[1.0_f32, 0.1, -3.0, 65504.0], &Device::Cpu).unwrap();
    adapter.saved.insert(name.into(), narrow(&weight));
    save(dir.path(), &adapter).unwrap();
    let found = load(dir.path()).unwrap();
    for (module, (a, b)) in &found.tensors {
        assert_eq!((a.dtype(), b.dtype()), (DType::F16, DType::F16), "as it was stored");
        for half in [a, b] {
            let sent = known(half).unwrap();
            assert_eq!((sent.dtype(), rows(&sent)), (DType::F32, rows(half)));
        }
        let lora = found.for_use(module, DType::F32, &Device::Cpu).unwrap().unwrap();
        assert_eq!((lora.a.value.dtype(), lora.b.value.dtype()), (DType::F32, DType::F32));
        assert_eq!((rows(&lora.a.value), rows(&lora.b.value)), (rows(a), rows(b)));
    }
    let ones = Tensor::ones(4, DType::F32, &Device::Cpu).unwrap();
    for dtype in [DType::F32, DType::BF16] {
        let mut norm = Norm { name: name.into(), weight: ones.clone().into(), eps: 1e-5, offset: 0.0 };
        found.attach_to_norm(&mut norm, dtype, &Device::Cpu).unwrap();
        let want = narrow(&weight).to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
        let held = norm.weight.tensor();
        assert_eq!((held.dtype(), held.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap()), (dtype, want));
    }
}

#[test]
fn the_configuration_is_written_as_peft_does() {
    let (_dir, folder) = saved();
    let text = fs::read_to_string(folder.join(CONFIG)).unwrap();
    assert!(text.contains("\"lora_alpha\": 16,") && text.contains("\"layers\\\\.1\\\\..*\": 6.5"), "{text}");
    let json: Value = serde_json::from_str(&text).unwrap();
    for (key, value) in [
        ("peft_type", json!("LORA")),
        ("task_type", json!("CAUSAL_LM")),
        ("inference_mode", json!(true)),
        ("bias", json!("none")),
        ("revision", json!("main")),
        ("init_lora_weights", json!(true)),
        ("target_modules", json!(["down_proj", "q_proj"])),
    ] {
        assert_eq!(json[key], value, "{key}");
    }
    let file = Safetensors::open(&folder.join(WEIGHTS)).unwrap();
    let names: Vec<&str> = file.names().collect();
    assert_eq!(names[0], "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
    assert_eq!(file.info(names[0]).unwrap().1, [4, 8]);
}

#[test]
fn patterns_give_ranks_alphas_and_scales() {
    let mut config = sample().config;
    assert_eq!((config.rank_of(Q).unwrap(), config.rank_of(DOWN).unwrap()), (4, 2));
    for (rslora, q, down) in [(false, 4.0, 3.25), (true, 8.0, 6.5 / 2_f64.sqrt())] {
        config.rslora = rslora;
        assert!((config.scale_of(Q).unwrap() - q).abs() < 1e-12);
        assert!((config.scale_of(DOWN).unwrap() - down).abs() < 1e-12);
    }
    // A key is matched at the end of the name, from a dot on.
    config.rank_pattern = vec![("own_proj".into(), 9), ("^model.layers.0.self_attn.q_proj".into(), 3)];
    assert_eq!((config.rank_of(Q).unwrap(), config.rank_of(DOWN).unwrap()), (3, 4));
    config.rank_pattern = vec![("(".into(), 9)];
    says(config.rank_of(Q), &["adapter_config.json: `(` of rank_pattern"]);
}

#[test]
fn targets_may_be_a_pattern() {
    for pattern in ["all-linear", r".*\.(q|down)_proj"] {
        let (_dir, folder) = saved();
        change(&folder, "target_modules", pattern.into());
        assert_eq!(load(&folder).unwrap().config.targets, Targets::Pattern(pattern.into()));
    }
}

#[test]
fn what_is_more_than_lora_is_refused() {
    for (key, value, said) in [
        ("peft_type", json!("IA3"), "`peft_type`: `IA3` is not supported, only `LORA`"),
        ("task_type", json!("SEQ_CLS"), "`task_type`: `SEQ_CLS`"),
        ("bias", json!("all"), "`bias`: `all`"),
        ("use_dora", json!(true), "lora_magnitude_vector`: `use_dora` is set, and it is missing"),
        ("modules_to_save", json!([""]), "`modules_to_save`: names a module by nothing"),
        ("trainable_token_indices", json!([1]), "`trainable_token_indices`: is set"),
        ("lora_bias", json!(true), "`lora_bias`: is set"),
        ("layers_to_transform", json!([0]), "model.layers.1.mlp.down_proj`: has weights, but `target_modules`"),
        ("exclude_modules", json!(["q_proj"]), "model.layers.0.self_attn.q_proj`: has weights, but `target_modules`"),
        ("exclude_modules", json!("("), "adapter_config.json: `exclude_modules`"),
        ("alpha_pattern", json!({"q_proj": "2"}), "`alpha_pattern.q_proj`: invalid type"),
        ("init_lora_weights", json!("pissa_niter_4"), "convert it to plain LoRA in PEFT"),
        ("r", Value::Null, "`r`: is missing"),
        ("r", json!(0), "`r`: a rank is at least 1"),
        ("lora_alpha", json!("16"), "`lora_alpha`: invalid type"),
        ("lora_alpha", json!(1e308), "`lora_alpha`: 1e308 is more than 32 bits hold"),
        ("lora_dropout", json!(1.0), "`lora_dropout`: goes from 0"),
        (
            "target_modules",
            json!(["q_proj"]),
            "tensor `model.layers.1.mlp.down_proj`: has weights, but `target_modules`",
        ),
    ] {
        let (_dir, folder) = saved();
        change(&folder, key, value);
        says(load(&folder), &[said]);
    }
    let (_dir, folder) = saved();
    for (key, value) in
        [("modules_to_save", json!([])), ("init_lora_weights", json!("gaussian")), ("task_type", Value::Null)]
    {
        change(&folder, key, value);
    }
    load(&folder).unwrap();
}

#[test]
fn damaged_weights_are_named() {
    let (_dir, folder) = saved();
    let path = folder.join(WEIGHTS);
    let file = Safetensors::open(&path).unwrap();
    let whole: BTreeMap<String, Tensor> = file.names().map(|n| (n.to_owned(), file.load(n).unwrap())).collect();
    let with = |name: &str, tensor: Option<Tensor>| {
        let mut tensors = whole.clone();
        match tensor {
            Some(tensor) => tensors.insert(name.to_owned(), tensor),
            None => tensors.remove(name),
        };
        fs::write(&path, to_bytes(&tensors).unwrap()).unwrap();
        load(&folder)
    };
    let (a, b) = (format!("{PREFIX}{Q}.lora_A.weight"), format!("{PREFIX}{Q}.lora_B.weight"));
    let zeros = |rows: usize, columns: usize| Tensor::zeros((rows, columns), DType::F32, &Device::Cpu).unwrap();
    says(with(&a, None), &[&a, "is missing, though its other half is there"]);
    says(with(&b, None), &[&b, "is missing, though its other half is there"]);
    says(with(&a, Some(zeros(3, 8))), &[&a, "has shape [3, 8], expected [4, in]"]);
    says(with(&b, Some(zeros(8, 5))), &[&b, "has shape [8, 5], expected [out, 4]"]);
    let mut values = vec![0_f32; 32];
    values[13] = f32::NAN;
    let nan = Tensor::from_vec(values, (4, 8), &Device::Cpu).unwrap();
    says(with(&a, Some(nan)), &[&a, "value [1, 5] is NaN"]);
    says(with(&a, Some(zeros(4, 8).to_dtype(DType::I64).unwrap())), &[&a, "is i64"]);
    let embedding = "base_model.model.model.embed_tokens.lora_embedding_A";
    says(with(embedding, Some(zeros(4, 8))), &["lora_embedding_B", "is missing, though its other half is there"]);
    let other = "base_model.model.model.other.lora_embedding_A";
    says(with(other, Some(zeros(4, 8))), &[other, "is no half of a LoRA upon the embedding"]);
    let odd = "base_model.model.model.norm.bias";
    says(with(odd, Some(zeros(4, 8))), &[odd, "is no half of a LoRA"]);
    let whole = "base_model.model.model.norm.weight";
    says(with(whole, Some(zeros(1, 8))), &["model.norm", "is saved whole, but `modules_to_save` does not name it"]);
    fs::write(&path, b"").unwrap();
    says(load(&folder), &["adapter_model.safetensors: has only 0 bytes"]);
    fs::remove_file(&path).unwrap();
    says(load(&folder), &["adapter_model.safetensors: is missing"]);
    fs::write(folder.join("adapter_model.bin"), b"").unwrap();
    says(load(&folder), &["is missing; adapter_model.bin can run code"]);
    fs::remove_file(folder.join(CONFIG)).unwrap();
    says(load(&folder), &["is not an adapter"]);
}

#[test]
fn nothing_wrong_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let mut adapter = sample();
    let (a, b) = adapter.tensors[Q].clone();
    adapter.tensors.insert(Q.into(), ((a / 0.0).unwrap(), b));
    says(save(dir.path(), &adapter), &[Q, "value [0, 0] is -inf"]);
    adapter.tensors.clear();
    says(save(dir.path(), &adapter), &["holds no adapter weights"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let json = json!({"model_type": "llama", "vocab_size": 64, "hidden_size": 8, "intermediate_size": 12,
        "num_hidden_layers": 2, "num_attention_heads": 2});
    let model = |changes: &[(&str, usize)]| {
        let mut json = json.clone();
        for (key, value) in changes {
            json[*key] = (*value).into();
        }
        Config::from_json(Path::new("config.json"), json.as_object().unwrap()).unwrap()
    };
    let (mut adapter, file) = (sample(), Path::new("adapter"));
    says(
        adapter.fits(&model(&[]), file),
        &["model.layers.0.mlp.down_proj", "`target_modules` names it, but the adapter has no"],
    );
    adapter.config.targets = Targets::Pattern("some".into());
    adapter.fits(&model(&[]), file).unwrap();
    says(
        adapter.fits(&model(&[("hidden_size", 16)]), file),
        &[Q, "is for a weight [8, 8], and the base model's is [16, 16]"],
    );
    says(adapter.fits(&model(&[("num_hidden_layers", 1)]), file), &[DOWN, "the base model has no such linear layer"]);
    adapter.tensors.insert("lm_head".into(), pair(65, 4, 8));
    says(adapter.fits(&model(&[]), file), &["lm_head", "is for a weight [65, 8]"]);
    adapter.tensors.remove("lm_head");
    adapter.tensors.insert("model.layers.0.mlp.router".into(), pair(64, 4, 8));
    says(adapter.fits(&model(&[]), file), &["router", "no such linear layer in its blocks"]);
}

#[test]
fn a_pissa_adapter_becomes_plain_lora() {
    for rslora in [false, true] {
        let mut trained = sample();
        trained.config.rslora = rslora;
        let start: BTreeMap<_, _> = trained
            .tensors
            .iter()
            .map(|(module, (a, b))| (module.clone(), (a.sin().unwrap(), b.cos().unwrap())))
            .collect();
        let plain = trained.without_start(&start).unwrap();
        plain.check(Path::new("plain")).unwrap();
        for module in [Q, DOWN] {
            let update = |config: &AdapterConfig, (a, b): &(Tensor, Tensor)| {
                (b.matmul(a).unwrap() * config.scale_of(module).unwrap()).unwrap()
            };
            let before = update(&trained.config, &trained.tensors[module]);
            let expected = (before - update(&trained.config, &start[module])).unwrap();
            let found = update(&plain.config, &plain.tensors[module]);
            let apart = (found - &expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            let size = expected.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(apart < 1e-5 * size, "{module}: {apart} of {size}");
        }
        says(trained.without_start(&BTreeMap::new()), &["no PiSSA start of model.layers"]);
    }
}
