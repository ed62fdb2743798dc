//! Small models of random weights, for what is computed on a GPU beside the CPU.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value, json};

use super::{config::Config, load::Source};
use crate::{
    error::{Error, Result},
    random::{key, uniform_vec},
};

/// Tokens that such a model knows.
pub const VOCAB: u32 = 300;

/// Tensors drawn by their names from a seed, in bf16 as files have them; norms about 1.
pub struct Drawn(pub u64);

impl Source for Drawn {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let (middle, scale) = if name.ends_with("norm.weight") { (1.0, 0.3) } else { (0.0, 0.1) };
        let mut values = uniform_vec(key(self.0, name), shape.iter().product(), scale);
        for value in &mut values {
            *value += middle;
        }
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(DType::BF16)?)
    }
}

/// What a small model is.
pub struct Small {
    /// `model_type`.
    pub family: &'static str,
    /// Query heads, key heads, their width.
    pub heads: [usize; 3],
    /// What else its config.json says, as JSON.
    pub more: &'static str,
}

impl Small {
    /// Its configuration: two layers of width 192.
    ///
    /// # Errors
    /// `more` is no JSON, or what it says is not supported.
    pub fn config(&self) -> Result<Config> {
        let [heads, keys, width] = self.heads;
        let json = json!({
            "model_type": self.family, "vocab_size": VOCAB, "hidden_size": 192, "intermediate_size": 320,
            "num_hidden_layers": 2, "num_attention_heads": heads, "num_key_value_heads": keys, "head_dim": width,
            "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "max_position_embeddings": 512, "tie_word_embeddings": false,
        });
        let mut map = json.as_object().cloned().unwrap_or_default();
        let more: Map<String, Value> = serde_json::from_str(self.more).map_err(|e| Error::Other(e.to_string()))?;
        map.extend(more);
        Config::from_json(Path::new(self.family), &map)
    }
}

/// A window, caps, scaled embeddings, norms before and behind.
pub const GEMMA: Small = Small {
    family: "gemma2",
    heads: [3, 1, 64],
    more: r#"{"sliding_window": 24, "query_pre_attn_scalar": 64, "final_logit_softcapping": 5.0}"#,
};

/// Everything is scaled.
pub const GRANITE: Small = Small {
    family: "granite",
    heads: [3, 1, 64],
    more: r#"{"embedding_multiplier": 12.0, "residual_multiplier": 0.22, "attention_multiplier": 0.0625, "logits_scaling": 2.0}"#,
};

/// One matrix for q, k and v and one for gate and up; a part of each head turns.
pub const PHI: Small =
    Small { family: "phi3", heads: [3, 1, 64], more: r#"{"partial_rotary_factor": 0.75, "sliding_window": null}"# };
