//! A model of any size with random weights, made where it will run: nothing is read and nothing is sent there.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use setaccio_train::{
    Error, Result,
    kernels::{
        self,
        nf4::{double_quantize, nf4_quantize},
    },
    model::{config::Config, load::Source},
    nf4::Nf4,
    random::key,
};

/// Sizes to run with, and what lengths are divided by.
pub struct Shape {
    pub config: Config,
    pub shorter: usize,
}

impl Shape {
    pub fn named(name: &str) -> Result<Self> {
        let (sizes, shorter) = match name {
            "llama3-8b" => ([128_256, 4096, 14_336, 32, 32, 8], 1),
            "tiny" => ([512, 128, 352, 3, 4, 2], 32),
            _ => return Err(Error::Other(format!("--shape is llama3-8b or tiny, not {name}"))),
        };
        let [vocab, hidden, inner, layers, heads, keys] = sizes;
        let json = serde_json::json!({
            "model_type": "llama", "vocab_size": vocab, "hidden_size": hidden, "intermediate_size": inner,
            "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": keys,
            "rms_norm_eps": 1e-5, "rope_theta": 500_000.0, "max_position_embeddings": 8192, "tie_word_embeddings": false,
        });
        let map = json.as_object().cloned().unwrap_or_default();
        Ok(Self { config: Config::from_json(Path::new(name), &map)?, shorter })
    }
}

/// Where its tensors come from: norms are 1, everything else is uniform with a deviation of 0.02.
pub struct Random {
    pub device: Device,
    pub dtype: DType,
}

impl Random {
    fn uniform(&self, name: &str, shape: (usize, usize)) -> Result<Tensor> {
        let weight = Tensor::zeros(shape, self.dtype, &self.device)?;
        kernels::noise_(&weight, &vec![0.02 * 3.0_f32.sqrt(); shape.0], key(1, name))?;
        Ok(weight)
    }
}

impl Source for Random {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        match shape {
            [rows, columns] => self.uniform(name, (*rows, *columns)),
            _ => Ok(Tensor::ones(shape, self.dtype, &self.device)?),
        }
    }

    /// Linear layers come in 4 bits with doubled scales.
    fn packed(&self, name: &str, shape: (usize, usize)) -> Result<Option<Nf4>> {
        let (packed, scales) = nf4_quantize(&self.uniform(name, shape)?)?;
        Ok(Some(Nf4::of(packed, double_quantize(&scales)?, "bfloat16", shape)?))
    }
}
