use std::path::Path;

use candle_core::DType;
use serde_json::{Value, json};

use super::*;

fn small() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "a_key_of_tomorrow": {},
    })
}

fn with(changes: &Value) -> crate::Result<Config> {
    let (mut json, mut none) = (small(), serde_json::Map::new());
    for (key, value) in changes.as_object().unwrap_or(&none) {
        json[key] = value.clone();
    }
    Config::from_json(Path::new("config.json"), json.as_object_mut().unwrap_or(&mut none))
}

#[test]
fn what_is_not_said_has_the_defaults_of_transformers() {
    let config = with(&json!({})).unwrap();
    assert_eq!((config.head_dim, config.kv_heads, config.max_position_embeddings), (8, 2, 2048));
    assert_eq!((config.rms_norm_eps, config.rope_theta), (1e-6, 1e4));
    assert_eq!(config.rope_scaling, RopeScaling::None);
    assert!(!config.tie_word_embeddings && !config.attention_bias && config.quantization.is_none());
    assert_eq!((config.bos, config.eos.len(), config.dtype, config.sliding_window), (None, 0, None, None));
    assert_eq!(with(&json!({"num_key_value_heads": null})).unwrap().kv_heads, 4);
}

#[test]
fn what_is_said_is_read() {
    let config = with(&json!({
        "head_dim": 16, "bos_token_id": 1, "eos_token_id": [2, 9], "torch_dtype": "bfloat16",
        "rope_theta": 5e5, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
        "rope_scaling": {"type": "linear", "factor": 2.0},
    }));
    let config = config.unwrap();
    assert_eq!((config.head_dim, config.bos, &config.eos[..]), (16, Some(1), &[2, 9][..]));
    assert_eq!((config.dtype, config.rope_scaling.clone()), (Some(DType::BF16), RopeScaling::Linear { factor: 2.0 }));
    let new =
        with(&json!({"rope_parameters": {"rope_type": "linear", "factor": 2, "rope_theta": 5e5}, "dtype": "float16"}));
    let new = new.unwrap();
    assert_eq!((new.rope_theta, new.rope_scaling, new.dtype), (5e5, config.rope_scaling, Some(DType::F16)));
}

#[test]
fn a_configuration_is_what_it_writes() {
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192});
    for changes in [
        json!({"rope_scaling": llama3, "eos_token_id": [2, 3], "dtype": "float32", "head_dim": 10}),
        json!({"model_type": "mistral", "sliding_window": 16, "rope_scaling": {"type": "linear", "factor": 3}}),
        json!({"model_type": "qwen2", "tie_word_embeddings": true, "bos_token_id": 7}),
    ] {
        let config = with(&changes).unwrap();
        let json = config.to_json().unwrap();
        let again = Config::from_json(Path::new("config.json"), json.as_object().unwrap()).unwrap();
        assert_eq!(again, config);
    }
    let divisors = Config { rope_scaling: RopeScaling::Divisors(vec![1.0; 4]), ..with(&json!({})).unwrap() };
    assert!(divisors.to_json().is_err());
}

#[test]
fn windows_are_told_where_they_are_in_force() {
    for (changes, window) in [
        (json!({"model_type": "mistral", "sliding_window": 512}), Some(512)),
        (json!({"model_type": "mistral", "sliding_window": null}), None),
        (json!({"model_type": "mistral"}), Some(4096)),
        (json!({"model_type": "qwen2", "sliding_window": 512, "use_sliding_window": false}), None),
        (json!({"model_type": "qwen2", "sliding_window": 512, "use_sliding_window": true}), None),
        (
            json!({"model_type": "qwen2", "sliding_window": 512, "use_sliding_window": true, "max_window_layers": 1}),
            Some(512),
        ),
    ] {
        assert_eq!(with(&changes).unwrap().sliding_window, window, "{changes}");
    }
}

#[test]
fn four_bit_checkpoints_are_known_and_others_refused() {
    let config = with(&json!({"quantization_config": {
        "quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": true, "bnb_4bit_compute_dtype": "bfloat16", "llm_int8_skip_modules": null,
    }}));
    let expected = Bitsandbytes { double_quant: true, whole_experts: false };
    assert_eq!(config.unwrap().quantization, Some(expected));
}

#[test]
fn refusals_name_file_and_key() {
    for (changes, said) in [
        (
            json!({"model_type": "gemma"}),
            "config.json: `model_type`: `gemma` is not supported; known are llama, mistral, ministral, qwen2, qwen3, smollm3, \
             granite, olmo2, phi3, gemma2, gemma3_text, mixtral, qwen3_moe",
        ),
        (json!({"model_type": "qwen2_moe"}), "`model_type`: `qwen2_moe` is not supported"),
        (
            json!({"model_type": "mixtral", "router_jitter_noise": 0.1}),
            "`router_jitter_noise`: noise before the router",
        ),
        (json!({"model_type": "mixtral", "num_experts_per_tok": 9}), "`num_experts_per_tok`: 9 is not from 1 to 8"),
        (json!({"model_type": "mixtral", "num_local_experts": 0}), "`num_experts`: 0 is not from 1 to 65536"),
        (json!({"model_type": "qwen3_moe", "moe_intermediate_size": 0}), "`moe_intermediate_size`: 0 is not from 1"),
        (json!({"model_type": "qwen3_moe", "num_experts": 0}), "`num_experts`: no layer has experts"),
        (json!({"model_type": "qwen3_moe", "mlp_only_layers": [0, 1]}), "`num_experts`: no layer has experts"),
        (json!({"model_type": null}), "`model_type`: is missing"),
        (json!({"vocab_size": null}), "`vocab_size`: is missing"),
        (json!({"vocab_size": "many"}), "`vocab_size`: invalid type: string \"many\""),
        (json!({"vocab_size": 0}), "`vocab_size`: 0 is not a size"),
        (json!({"vocab_size": -1}), "`vocab_size`: invalid value: integer `-1`"),
        (json!({"intermediate_size": u64::MAX}), "`intermediate_size`: 18446744073709551615 is not a size"),
        (json!({"num_hidden_layers": 1_000_000_000}), "`num_hidden_layers`: 1000000000 is not a size"),
        (json!({"num_hidden_layers": 20_000}), "`num_hidden_layers`: 20000 layers are too many"),
        (json!({"num_key_value_heads": 0}), "`num_key_value_heads`: 0 is not a size"),
        (json!({"head_dim": 1 << 28}), "`num_attention_heads`: 4 heads of 268435456 are too wide"),
        (json!({"num_key_value_heads": 3}), "`num_key_value_heads`: 3 key-value heads do not divide 4 heads"),
        (json!({"num_attention_heads": 5}), "`num_attention_heads`: 5 heads do not divide `hidden_size` 32"),
        (json!({"num_attention_heads": 0}), "`num_attention_heads`: 0 heads"),
        (json!({"head_dim": 7}), "`head_dim`: 7 is odd"),
        (json!({"rms_norm_eps": -1}), "`rms_norm_eps`: -1 is not above 0"),
        (json!({"hidden_act": "gelu"}), "`hidden_act`: `gelu` is not supported"),
        (json!({"model_type": "mistral", "attention_bias": true}), "`attention_bias`: this family has no such biases"),
        (json!({"model_type": "qwen3", "mlp_bias": true}), "`mlp_bias`: this family has no such biases"),
        (json!({"model_type": "gemma2", "hidden_activation": "gelu"}), "`hidden_activation`: `gelu` is not supported"),
        (json!({"model_type": "gemma2", "use_bidirectional_attention": true}), "`use_bidirectional_attention`: only"),
        (
            json!({"model_type": "gemma3_text", "attn_logit_softcapping": 50.0}),
            "`attn_logit_softcapping`: Gemma 3 has no cap",
        ),
        (
            json!({"model_type": "gemma2", "final_logit_softcapping": -1.0}),
            "`final_logit_softcapping`: -1 is not above 0",
        ),
        (json!({"model_type": "granite", "logits_scaling": 0.0}), "`logits_scaling`: 0 is not above 0"),
        (json!({"model_type": "mistral", "sliding_window": 0}), "`sliding_window`: no token sees itself"),
        (
            json!({"model_type": "mistral", "layer_types": ["sliding_attention", "full_attention"]}),
            "`layer_types`: this family has the window in every layer",
        ),
        (
            json!({"model_type": "ministral", "layer_types": ["sliding_attention"]}),
            "`layer_types`: names 1 layers of 2",
        ),
        (
            json!({"model_type": "ministral", "layer_types": ["chunked_attention"]}),
            "`chunked_attention` is not supported",
        ),
        (json!({"model_type": "smollm3", "no_rope_layers": [0]}), "`no_rope_layers`: names 1 layers of 2"),
        (json!({"model_type": "phi3", "partial_rotary_factor": 0.4}), "`partial_rotary_factor`: 3 of 8 elements"),
        (
            json!({"model_type": "phi3", "rope_scaling": {"type": "su", "short_factor": [1.0], "long_factor": [1.0]}}),
            "there are 1 in `short_factor` for 4 frequencies",
        ),
        (
            json!({"model_type": "gemma3_text", "rope_parameters": {"sliding_attention": {"rope_type": "linear"}}}),
            "`sliding_attention.rope_type`: `linear` is not supported in layers with a window",
        ),
        (json!({"partial_rotary_factor": 0.5}), "`partial_rotary_factor`"),
        (
            json!({"rope_scaling": {"type": "proportional", "factor": 4}}),
            "`rope_scaling.rope_type`: `proportional` is not supported; known are",
        ),
        (json!({"rope_scaling": {"type": "linear"}}), "`rope_scaling.factor`: is missing"),
        (json!({"rope_parameters": {"rope_type": "linear", "factor": 0}}), "`factor` is 0; it is above 0"),
        (json!({"rope_parameters": {"full_attention": {}}}), "`rope_parameters.full_attention`"),
        (
            json!({"quantization_config": {"quant_method": "gptq", "bits": 4}}),
            "`quantization_config.quant_method`: `gptq` weights",
        ),
        (json!({"quantization_config": {"load_in_8bit": true}}), "8-bit bitsandbytes weights"),
        (json!({"quantization_config": {"load_in_4bit": true}}), "`fp4` is not supported, only `nf4`"),
    ] {
        let error = with(&changes).expect_err(&changes.to_string()).to_string();
        assert!(error.contains(said), "{changes}: {error}");
    }
}

#[test]
fn the_tensors_of_a_model() {
    let names = |config: &Config| -> Vec<String> { config.shapes().into_iter().map(|(name, _)| name).collect() };
    let qwen = with(&json!({"model_type": "qwen2", "head_dim": 16})).unwrap();
    let shapes = qwen.shapes();
    // Embedding, norm, head; 9 weights and 3 biases a block.
    assert_eq!(shapes.len(), 3 + 2 * 12);
    for (name, shape) in [
        ("model.embed_tokens.weight", vec![64, 32]),
        ("model.layers.1.self_attn.q_proj.weight", vec![64, 32]),
        ("model.layers.1.self_attn.k_proj.bias", vec![32]),
        ("model.layers.1.self_attn.o_proj.weight", vec![32, 64]),
        ("model.layers.0.mlp.down_proj.weight", vec![32, 48]),
        ("lm_head.weight", vec![64, 32]),
    ] {
        assert!(shapes.contains(&(name.to_owned(), shape)), "{name}");
    }
    let tied = with(&json!({"tie_word_embeddings": true})).unwrap();
    assert_eq!(names(&tied).len(), 2 + 2 * 9);
    assert_eq!(names(&tied)[0], "model.embed_tokens.weight");
    assert_eq!(names(&tied).last().map(String::as_str), Some("model.norm.weight"));
}

#[test]
fn experts_are_those_of_transformers() {
    let mixtral = with(&json!({"model_type": "mixtral", "num_local_experts": 4})).unwrap();
    let experts = Experts { count: 4, chosen: 2, inner: 48, to_one: true, without: Vec::new() };
    assert_eq!((mixtral.experts.as_ref(), mixtral.rope_theta), (Some(&experts), 1e6));
    assert_eq!(mixtral.targets(), ["q_proj", "k_proj", "v_proj", "o_proj", "w1", "w3", "w2"]);
    let shapes = mixtral.shapes();
    for (name, shape) in [
        ("model.layers.1.block_sparse_moe.gate.weight", vec![4, 32]),
        ("model.layers.1.block_sparse_moe.experts.3.w1.weight", vec![48, 32]),
        ("model.layers.1.block_sparse_moe.experts.3.w2.weight", vec![32, 48]),
    ] {
        assert!(shapes.contains(&(name.to_owned(), shape)), "{name}");
    }
    // Of four experts two are asleep: 3 x 48 x 32 numbers each, in two layers.
    let [all, awake] = mixtral.parameters();
    assert_eq!(all - awake, 2 * 2 * 3 * 48 * 32);
    let some = json!({"model_type": "qwen3_moe", "num_hidden_layers": 6, "decoder_sparse_step": 2, "mlp_only_layers": [3],
        "num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "norm_topk_prob": null});
    let some = with(&some).unwrap();
    let with_experts: Vec<usize> = (0..6).filter(|layer| some.experts(*layer).is_some()).collect();
    assert_eq!((with_experts, some.experts.as_ref().map(|e| e.to_one)), (vec![1, 5], Some(false)));
    assert_eq!((some.linears(0).len(), some.linears(1).len(), some.head_dim), (7, 4 + 3 * 5, 8));
    assert_eq!(some.linears(1).last().map(|l| (l.name.as_str(), l.out)), Some(("mlp.experts.4.down_proj", 32)));
}

/// What the publishers say of these: 46.7 and 12.9, 30.5 and 3.3 thousand millions.
#[test]
fn parameters_of_published_models_with_experts() {
    let published = |json: Value| Config::from_json(Path::new("c"), json.as_object().unwrap()).unwrap().parameters();
    let mixtral = published(json!({
        "model_type": "mixtral", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2,
    }));
    assert_eq!(mixtral, [46_702_792_704, 12_879_925_248]);
    let qwen = published(json!({
        "model_type": "qwen3_moe", "vocab_size": 151_936, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 48,
        "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
    }));
    assert_eq!((qwen[0], qwen[1] / 10_000_000), (30_532_122_624, 335));
}
