use std::fs;

use candle_core::quantized::{GgmlDType, QTensor, gguf_file::write as written_by_candle};

use super::*;
use crate::random::{key, normal_vec};

const HEADS: usize = 2;

fn metadata(family: &str) -> Vec<(String, Value)> {
    let key = |name: &str| format!("{family}.{name}");
    vec![
        ("general.architecture".into(), Value::String(family.into())),
        (key("embedding_length"), Value::U32(32)),
        (key("feed_forward_length"), Value::U32(64)),
        (key("block_count"), Value::U32(1)),
        (key("attention.head_count"), Value::U32(2)),
        (key("attention.head_count_kv"), Value::U32(1)),
        (key("attention.layer_norm_rms_epsilon"), Value::F32(1e-5)),
        (key("rope.freq_base"), Value::F32(1e4)),
        (key("context_length"), Value::U32(128)),
        ("tokenizer.ggml.eos_token_id".into(), Value::U32(2)),
    ]
}

/// Hugging Face's values of a tensor.
fn value(name: &str, shape: &[usize]) -> Tensor {
    Tensor::from_vec(normal_vec(key(5, name), shape.iter().product(), 1.0), shape, &Device::Cpu).unwrap()
}

/// The converter's order of the rows of q and k.
fn permute(tensor: &Tensor, heads: usize) -> Tensor {
    let (rows, columns) = tensor.dims2().unwrap();
    let halves = tensor.reshape((heads, 2, rows / heads / 2, columns)).unwrap();
    halves.transpose(1, 2).unwrap().contiguous().unwrap().reshape((rows, columns)).unwrap()
}

type Tensors = Vec<(String, Tensor, GgmlDType)>;

fn tensors(family: &str, dtype: GgmlDType) -> Tensors {
    let mut all = Vec::new();
    for (own, hf, shape) in [
        ("token_embd.weight", "model.embed_tokens.weight", vec![40, 32]),
        ("blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight", vec![32]),
        ("blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight", vec![32, 32]),
        ("blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj.weight", vec![16, 32]),
        ("blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight", vec![16, 32]),
        ("blk.0.attn_output.weight", "model.layers.0.self_attn.o_proj.weight", vec![32, 32]),
        ("blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight", vec![32]),
        ("blk.0.ffn_gate.weight", "model.layers.0.mlp.gate_proj.weight", vec![64, 32]),
        ("blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj.weight", vec![64, 32]),
        ("blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight", vec![32, 64]),
        ("output_norm.weight", "model.norm.weight", vec![32]),
    ] {
        let tensor = value(hf, &shape);
        let tensor = match own {
            "blk.0.attn_q.weight" if family == "llama" => permute(&tensor, HEADS),
            "blk.0.attn_k.weight" if family == "llama" => permute(&tensor, 1),
            _ => tensor,
        };
        all.push((own.to_owned(), tensor, if shape.len() == 1 { GgmlDType::F32 } else { dtype }));
    }
    if family == "qwen2" {
        for (own, n) in [("q", 32), ("k", 16), ("v", 16)] {
            let bias = value(&format!("model.layers.0.self_attn.{own}_proj.bias"), &[n]);
            all.push((format!("blk.0.attn_{own}.bias"), bias, GgmlDType::F32));
        }
    }
    all
}

fn written(metadata: &[(String, Value)], tensors: &Tensors) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let quantised: Vec<QTensor> = tensors.iter().map(|(_, t, d)| QTensor::quantize(t, *d).unwrap()).collect();
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let named: Vec<(&str, &QTensor)> = tensors.iter().map(|(n, ..)| n.as_str()).zip(&quantised).collect();
    written_by_candle(&mut File::create(&path).unwrap(), &metadata, &named).unwrap();
    (dir, path)
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn names_and_rows_are_hugging_faces() {
    for family in ["llama", "qwen2"] {
        let (_dir, path) = written(&metadata(family), &tensors(family, GgmlDType::F32));
        let gguf = Gguf::open(&path).unwrap();
        let config = gguf.config().unwrap();
        assert_eq!((config.vocab_size, config.head_dim, config.kv_heads), (40, 16, 1));
        assert_eq!((config.rms_norm_eps, config.rope_theta, config.eos.clone()), (1e-5, 1e4, vec![2]));
        assert!(config.tie_word_embeddings);
        assert_eq!(gguf.names().count(), config.shapes().len());
        for (name, shape) in config.shapes() {
            assert_eq!(gguf.info(&name).map(|(_, shape)| shape), Some(&shape[..]), "{name}");
            assert!(flat(&gguf.load(&name, &config).unwrap()) == flat(&value(&name, &shape)), "{family} {name}");
        }
    }
}

#[test]
fn quantised_types_come_near() {
    let near = [
        (GgmlDType::F16, 0.01),
        (GgmlDType::BF16, 0.02),
        (GgmlDType::Q8_0, 0.02),
        (GgmlDType::Q5_1, 0.2),
        (GgmlDType::Q5_0, 0.2),
        (GgmlDType::Q4_1, 0.3),
        (GgmlDType::Q4_0, 0.5),
    ];
    for (dtype, most) in near {
        let (_dir, path) = written(&metadata("llama"), &tensors("llama", dtype));
        let gguf = Gguf::open(&path).unwrap();
        let config = gguf.config().unwrap();
        let name = "model.layers.0.self_attn.q_proj.weight";
        let (found, wanted) = (flat(&gguf.load(name, &config).unwrap()), flat(&value(name, &[32, 32])));
        let worst = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst > 0.0 && worst < most, "{dtype:?}: {worst}");
    }
}

#[test]
fn types_in_blocks_of_256_come_near() {
    // One and a half times half a step of b bits over a range of 7, which is that of so many normal values.
    let near = [
        (GgmlDType::Q2K, 1.75),
        (GgmlDType::Q3K, 0.75),
        (GgmlDType::Q4K, 0.35),
        (GgmlDType::Q5K, 0.17),
        (GgmlDType::Q6K, 0.085),
    ];
    let (name, wide) = ("model.layers.0.mlp.down_proj.weight", value("wide", &[32, 256]));
    for (dtype, most) in near {
        let mut with = tensors("llama", GgmlDType::F32);
        with.iter_mut().filter(|t| t.0 == "blk.0.ffn_down.weight").for_each(|t| (t.1, t.2) = (wide.clone(), dtype));
        let (_dir, path) = written(&metadata("llama"), &with);
        let gguf = Gguf::open(&path).unwrap();
        let found = flat(&gguf.load(name, &gguf.config().unwrap()).unwrap());
        let worst = found.iter().zip(&flat(&wide)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst > 0.0 && worst < most, "{dtype:?}: {worst}");
    }
}

#[test]
fn divisors_are_read_and_counted() {
    let mut with = tensors("llama", GgmlDType::F32);
    let divisors = [1.0_f32, 1.0, 1.0, 2.0, 2.5, 3.0, 8.0, 8.0];
    with.push((ROPE_FREQS.into(), Tensor::new(&divisors, &Device::Cpu).unwrap(), GgmlDType::F32));
    let (_dir, path) = written(&metadata("llama"), &with);
    let config = Gguf::open(&path).unwrap().config().unwrap();
    let plain = Config { rope_scaling: RopeScaling::None, ..config.clone() };
    for ((found, plain), divisor) in config.inv_freq().iter().zip(plain.inv_freq()).zip(divisors) {
        assert!((found * f64::from(divisor) / plain - 1.0).abs() < 1e-6);
    }
    with.last_mut().unwrap().1 = Tensor::new(&divisors[..7], &Device::Cpu).unwrap();
    let (_dir, path) = written(&metadata("llama"), &with);
    let error = Gguf::open(&path).unwrap().config().unwrap_err().to_string();
    assert!(error.contains("there are 7 divisors for 8 frequencies"), "{error}");
}

#[test]
fn refusals_name_the_key() {
    for (key, value, said) in [
        ("general.architecture", Value::String("gemma".into()), "`gemma` is not supported; known are llama"),
        ("llama.block_count", Value::String("two".into()), "`llama.block_count`: is not a whole number"),
        ("llama.attention.head_count", Value::U32(3), "does not divide the embedding length"),
        ("llama.attention.head_count", Value::U32(0), "does not divide the embedding length"),
        ("llama.attention.head_count_kv", Value::Array(vec![Value::U32(1)]), "head_count_kv`: is not a whole number"),
        ("llama.rope.dimension_count", Value::U32(8), "is 8; in this family only the head's width 16 is supported"),
        (
            "llama.rope.scaling.type",
            Value::String("longrope".into()),
            "`longrope` is not supported, only `linear` and `yarn`",
        ),
        ("general.type", Value::String("adapter".into()), "an adapter cannot be trained upon"),
    ] {
        let mut keys = metadata("llama");
        keys.retain(|(k, _)| k != key);
        keys.push((key.into(), value));
        let (_dir, path) = written(&keys, &tensors("llama", GgmlDType::F32));
        let error = Gguf::open(&path).unwrap().config().unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("model.gguf"), "{key}: {error}");
    }
    let mut keys = metadata("llama");
    keys.retain(|(k, _)| k != "llama.context_length");
    let (_dir, path) = written(&keys, &tensors("llama", GgmlDType::F32));
    let error = Gguf::open(&path).unwrap().config().unwrap_err().to_string();
    assert!(error.contains("metadata `llama.context_length`: is missing"), "{error}");
}

#[test]
fn torn_files_name_the_tensor() {
    let (_dir, path) = written(&metadata("llama"), &tensors("llama", GgmlDType::F32));
    let whole = fs::read(&path).unwrap();
    for (length, said) in [
        (whole.len() - 1, "tensor `output_norm.weight`: 128 bytes from byte"),
        (whole.len() / 2, "it is cut short; fetch it again"),
        (200, "claims 11 tensors and 10 keys, and is too short for them"),
        (700, "not a GGUF file, or cut short"),
        (0, "not a GGUF file, or cut short"),
    ] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = Gguf::open(&path).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("model.gguf"), "{length}: {error}");
    }
}

#[test]
fn sizes_of_types_are_candles() {
    use GgmlDType as T;
    for kind in [
        T::F32,
        T::F16,
        T::BF16,
        T::Q4_0,
        T::Q4_1,
        T::Q5_0,
        T::Q5_1,
        T::Q8_0,
        T::Q8_1,
        T::Q2K,
        T::Q3K,
        T::Q4K,
        T::Q5K,
        T::Q6K,
        T::Q8K,
    ] {
        let size = (kind.block_size() as u64, kind.type_size() as u64);
        assert_eq!(gguf_header::block(super::write::kind(kind).1), Some(size), "{kind:?}");
    }
}

#[test]
fn one_tensor_by_two_names_is_refused() {
    let mut twice = tensors("llama", GgmlDType::F32);
    twice.push(("model.norm.weight".into(), value("x", &[32]), GgmlDType::F32));
    let (_dir, path) = written(&metadata("llama"), &twice);
    let error = Gguf::open(&path).unwrap_err().to_string();
    assert!(error.contains("`output_norm.weight`: and `model.norm.weight` are one tensor"), "{error}");
}
