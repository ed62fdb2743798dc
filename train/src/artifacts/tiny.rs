//! A small Llama that the program makes itself, so that everything can be tried in seconds and without a
//! download. It knows nothing: the same seed gives the same weights.

use std::{collections::BTreeMap, path::Path};

use candle_core::{DType, Device, Tensor};
use setaccio_base::atomic;

use crate::{
    error::Result,
    formats::safetensors::to_bytes,
    model::{
        config::{Architecture, Config, Scales},
        rope_scaling::RopeScaling,
    },
    random::{key, normal_vec},
};

/// What is made.
#[derive(Clone, Debug)]
pub struct Tiny {
    /// Rows of the embedding: the tokenizer's size.
    pub vocab: usize,
    /// Decides the weights.
    pub seed: u64,
    /// First token of a text.
    pub bos: Option<u32>,
    /// Tokens that end one.
    pub eos: Vec<u32>,
    /// Blocks.
    pub layers: usize,
    /// Width.
    pub hidden: usize,
    /// Width inside the MLP.
    pub intermediate: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Longest sequence.
    pub positions: usize,
}

impl Tiny {
    /// Four blocks of width 128: 0.7 million weights beside the embedding.
    pub fn new(vocab: usize, seed: u64) -> Self {
        let (bos, eos) = (None, Vec::new());
        Self {
            vocab,
            seed,
            bos,
            eos,
            layers: 4,
            hidden: 128,
            intermediate: 352,
            heads: 4,
            kv_heads: 2,
            positions: 1024,
        }
    }

    /// Its configuration; head and embedding are one.
    pub fn config(&self) -> Config {
        Config {
            architecture: Architecture::Llama,
            vocab_size: self.vocab,
            hidden_size: self.hidden,
            intermediate_size: self.intermediate,
            experts: None,
            layers: self.layers,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.hidden.checked_div(self.heads).unwrap_or_default(),
            rotary_dim: self.hidden.checked_div(self.heads).unwrap_or_default(),
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling: RopeScaling::None,
            rope_local_theta: None,
            max_position_embeddings: self.positions,
            tie_word_embeddings: true,
            attention_bias: false,
            output_bias: false,
            mlp_bias: false,
            scales: Scales::default(),
            bos: self.bos,
            eos: self.eos.clone(),
            dtype: Some(DType::F32),
            sliding_window: None,
            sliding: Vec::new(),
            unturned: Vec::new(),
            quantization: None,
        }
    }

    /// Write it as a Hugging Face folder, without a tokenizer: model.safetensors, and config.json last, so that a
    /// folder with a config.json is whole. Weights start as transformers starts a Llama: norms at 1, all else
    /// normal with deviation 0.02.
    ///
    /// # Errors
    /// The sizes do not fit together, or the file system refuses.
    pub fn make(&self, folder: &Path) -> Result<()> {
        let config = self.config();
        config.check(folder)?;
        let mut tensors = BTreeMap::new();
        for (name, shape) in config.shapes() {
            let n = shape.iter().product();
            let values =
                if name.ends_with("norm.weight") { vec![1.0; n] } else { normal_vec(key(self.seed, &name), n, 0.02) };
            tensors.insert(name, Tensor::from_vec(values, shape, &Device::Cpu)?);
        }
        let mut json = config.to_json()?;
        // serde_json's order of keys depends on what else is built; the bytes must not.
        json.sort_all_objects();
        let json = format!("{json:#}\n");
        Ok(atomic::write_together(
            folder,
            &[("model.safetensors", to_bytes(&tensors)?), ("config.json", json.into_bytes())],
        )?)
    }
}

#[cfg(test)]
mod tests;
