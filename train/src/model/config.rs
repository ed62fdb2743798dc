//! The configuration of a model: sizes and switches, checked and turned into the list of tensors that its files must hold.
//! It is read from a config.json or from a GGUF file's metadata, in `formats/`.

use std::path::Path;

use candle_core::DType;

use super::rope_scaling::{self, RopeScaling};
use crate::{
    error::{Error, Result},
    recipe::LINEARS,
};

/// Families that differ in little from Llama.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2, 3, 3.1, SmolLM2 and their like.
    Llama,
    /// As Llama, with a sliding window in its first version.
    Mistral,
    /// As Llama, with a bias on q, k and v.
    Qwen2,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Llama, Self::Mistral, Self::Qwen2];

    /// `model_type` of config.json.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
        }
    }

    /// transformers' class.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Mistral => "MistralForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
        }
    }
}

/// A model's sizes and switches.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Family.
    pub architecture: Architecture,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head, even; heads x head_dim need not be `hidden_size`.
    pub head_dim: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How they are stretched.
    pub rope_scaling: RopeScaling,
    /// Positions the model is made for.
    pub max_position_embeddings: usize,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// Whether q, k and v (not o) have a bias.
    pub attention_bias: bool,
    /// First token of a text.
    pub bos: Option<u32>,
    /// Tokens that end a text; the first is the one to write.
    pub eos: Vec<u32>,
    /// Type that the weights are said to be stored in.
    pub dtype: Option<DType>,
    /// If a layer sees only that many positions back. Nothing here computes this: refuse sequences that are longer.
    pub sliding_window: Option<usize>,
    /// If the linear layers are stored in 4 bits.
    pub quantization: Option<Bitsandbytes>,
}

/// `quantization_config` of a bitsandbytes checkpoint in NF4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitsandbytes {
    /// Whether the block scales are quantised too.
    pub double_quant: bool,
}

impl Config {
    /// Check that the sizes fit together; `file` is for messages.
    ///
    /// # Errors
    /// They do not; the message names file and key.
    pub fn check(&self, file: &Path) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        let wrong = |key: &str, why: String| Err(Error::model(file, format!("`{key}`: {why}")));
        for (key, size) in sizes {
            // Nothing real is near; products of two stay far from overflow.
            if !(1..=1 << 28).contains(&size) {
                return wrong(key, format!("{size} is not a size"));
            }
        }
        // Nor is a whole layer's width.
        for (key, heads) in [("num_attention_heads", self.heads), ("num_key_value_heads", self.kv_heads)] {
            if heads * self.head_dim > 1 << 28 {
                return wrong(key, format!("{heads} heads of {} are too wide", self.head_dim));
            }
        }
        if self.layers > 10_000 {
            return wrong("num_hidden_layers", format!("{} layers are too many", self.layers));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let why = format!("{} key-value heads do not divide {} heads", self.kv_heads, self.heads);
            return wrong("num_key_value_heads", why);
        }
        if !self.head_dim.is_multiple_of(2) {
            return wrong("head_dim", format!("{} is odd; heads are turned pair by pair", self.head_dim));
        }
        for (key, value) in [("rms_norm_eps", self.rms_norm_eps), ("rope_theta", self.rope_theta)] {
            if !(value > 0.0 && value.is_finite()) {
                return wrong(key, format!("{value} is not above 0"));
            }
        }
        self.rope_scaling.check(file, self.head_dim / 2)
    }

    /// Rotary frequencies in radians per position, [head_dim / 2].
    pub fn inv_freq(&self) -> Vec<f64> {
        rope_scaling::inv_freq(self.rope_theta, self.head_dim, &self.rope_scaling)
    }

    /// Every tensor that the files must hold, by its Hugging Face name, in the order of loading. A tied head is
    /// not among them.
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let (q, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![self.vocab_size, hidden])];
        for layer in 0..self.layers {
            let mut add = |name: &str, shape: Vec<usize>| shapes.push((format!("model.layers.{layer}.{name}"), shape));
            add("input_layernorm.weight", vec![hidden]);
            for (name, out) in [("q_proj", q), ("k_proj", kv), ("v_proj", kv)] {
                add(&format!("self_attn.{name}.weight"), vec![out, hidden]);
                if self.attention_bias {
                    add(&format!("self_attn.{name}.bias"), vec![out]);
                }
            }
            add("self_attn.o_proj.weight", vec![hidden, q]);
            add("post_attention_layernorm.weight", vec![hidden]);
            add("mlp.gate_proj.weight", vec![inner, hidden]);
            add("mlp.up_proj.weight", vec![inner, hidden]);
            add("mlp.down_proj.weight", vec![hidden, inner]);
        }
        shapes.push(("model.norm.weight".into(), vec![hidden]));
        if !self.tie_word_embeddings {
            shapes.push(("lm_head.weight".into(), vec![self.vocab_size, hidden]));
        }
        shapes
    }
}

/// Whether a tensor is the weight of one of the seven linear layers.
pub(crate) fn is_block_linear(name: &str) -> bool {
    let module = name.strip_suffix(".weight").and_then(|module| module.rsplit_once('.'));
    module.is_some_and(|(_, last)| LINEARS.contains(&last))
}
