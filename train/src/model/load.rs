//! A model from its tensors, one at a time: each linear layer is quantised as it arrives, so that no more than one of
//! them is ever there in its full width.

use candle_core::{DType, Device, Tensor};

use super::{
    config::Config,
    head::Head,
    layer::Layer,
    linear::{self, Linear},
    llama::Llama,
    maybe_trained::Values,
    rope::Rotary,
    weight::Weight,
};
use crate::{
    error::{Error, Result},
    formats::{bitsandbytes, model_files::ModelFiles},
    kernels::Heads,
    model::lora,
    nf4::Nf4,
    recipe::{Lora, Quantization},
};

/// Where tensors come from, by their Hugging Face name.
pub trait Source {
    /// A tensor in the type that it is stored in, of this very shape.
    ///
    /// # Errors
    /// It is missing, of another shape, or torn.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor>;

    /// A linear layer's weight that is stored in 4 bits already.
    ///
    /// # Errors
    /// It is there and broken.
    fn packed(&self, _name: &str, _shape: (usize, usize)) -> Result<Option<Nf4>> {
        Ok(None)
    }
}

impl Source for ModelFiles {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.load(name, shape)
    }

    fn packed(&self, name: &str, shape: (usize, usize)) -> Result<Option<Nf4>> {
        if !bitsandbytes::is_quantized(name, |n| self.has(n)) {
            return Ok(None);
        }
        let get = |n: &str| self.has(n).then(|| self.load_any(n)).transpose();
        let packed = bitsandbytes::read(self.path(), name, get)?;
        if packed.shape() != shape {
            let message = format!("is {:?} and the configuration asks for {shape:?}", packed.shape());
            return Err(Error::tensor(self.path(), name, message));
        }
        Ok(Some(packed))
    }
}

/// How a model is held and computed.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Of the linear layers.
    pub quantization: Quantization,
    /// Quantise the block scales too.
    pub double_quant: bool,
    /// What is computed with.
    pub dtype: DType,
    /// Where.
    pub device: Device,
    /// A fresh adapter to put on it, and the seed that it starts from.
    pub adapter: Option<(Lora, u64)>,
    /// Whether all of it is trained, in f32.
    pub whole: bool,
}

impl Hold {
    /// On the CPU in f32, nothing quantised, no adapter.
    pub fn plain() -> Self {
        Self {
            quantization: Quantization::None,
            double_quant: true,
            dtype: DType::F32,
            device: Device::Cpu,
            adapter: None,
            whole: false,
        }
    }

    /// A tensor on the device, to be trained if all is, else frozen in type `dtype`, or as it is stored.
    fn values(&self, name: &str, tensor: Tensor, dtype: Option<DType>) -> Result<Values> {
        let held = tensor.to_device(&self.device)?;
        drop(tensor);
        match dtype {
            _ if self.whole => Values::trained(name, held, self.dtype),
            Some(dtype) => Ok(held.to_dtype(dtype)?.into()),
            None => Ok(held.into()),
        }
    }
}

/// Build the model that `config` describes. `each` is told of every layer that is there, and stops the loading by `false`.
///
/// # Errors
/// A tensor is missing, of another shape, or torn; out of memory.
pub fn model(config: &Config, source: &dyn Source, hold: &Hold, each: &dyn Fn(usize) -> bool) -> Result<Llama> {
    let h = config.hidden_size;
    let load = |name: &str, shape: &[usize], dtype| hold.values(name, source.tensor(name, shape)?, dtype);
    let embedding = load("model.embed_tokens.weight", &[config.vocab_size, h], None)?;
    let mut layers = Vec::with_capacity(config.layers);
    for i in 0..config.layers {
        layers.push(layer(config, source, hold, i)?);
        if !each(i + 1) {
            return Err(Error::Interrupted);
        }
    }
    let norm = load("model.norm.weight", &[h], Some(hold.dtype))?;
    let weight = if config.tie_word_embeddings {
        embedding.clone()
    } else {
        load("lm_head.weight", &[config.vocab_size, h], None)?
    };
    let head = Head { norm, weight, eps: config.rms_norm_eps };
    Ok(Llama { embedding, layers, head, rotary: Rotary::new(&config.inv_freq()), dtype: hold.dtype })
}

/// Layer `i` of the model that `config` describes.
///
/// # Errors
/// As [`model`].
pub fn layer(config: &Config, source: &dyn Source, hold: &Hold, i: usize) -> Result<Layer> {
    let (h, q, kv) = (config.hidden_size, config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let vector = |name: &str, n: usize| hold.values(name, source.tensor(name, &[n])?, Some(hold.dtype));
    let linear = |name: String, out: usize, input: usize, bias: bool| -> Result<Linear> {
        let (weight, lora) = weight(&name, (out, input), source, hold)?;
        let bias = bias.then(|| vector(&format!("{name}.bias"), out)).transpose()?;
        Ok(Linear { name, weight, bias, lora })
    };
    let at = format!("model.layers.{i}");
    let bias = config.attention_bias;
    Ok(Layer {
        attention: [
            linear(format!("{at}.self_attn.q_proj"), q, h, bias)?,
            linear(format!("{at}.self_attn.k_proj"), kv, h, bias)?,
            linear(format!("{at}.self_attn.v_proj"), kv, h, bias)?,
            linear(format!("{at}.self_attn.o_proj"), h, q, false)?,
        ],
        mlp: [
            linear(format!("{at}.mlp.gate_proj"), config.intermediate_size, h, false)?,
            linear(format!("{at}.mlp.up_proj"), config.intermediate_size, h, false)?,
            linear(format!("{at}.mlp.down_proj"), h, config.intermediate_size, false)?,
        ],
        input_norm: vector(&format!("{at}.input_layernorm.weight"), h)?,
        post_norm: vector(&format!("{at}.post_attention_layernorm.weight"), h)?,
        heads: Heads { q: config.heads, kv: config.kv_heads, dim: config.head_dim },
        eps: config.rms_norm_eps,
    })
}

/// The weight of the layer called `module` as it is to be held, and its adapter.
fn weight(
    module: &str,
    shape: (usize, usize),
    source: &dyn Source,
    hold: &Hold,
) -> Result<(Weight, Option<linear::Lora>)> {
    let name = format!("{module}.weight");
    let packed = source.packed(&name, shape)?;
    // What came in 4 bits stays in 4 bits.
    let in_four = packed.is_some() || hold.quantization == Quantization::Nf4;
    let whole = match &packed {
        Some(packed) => packed.dequantize(DType::F32)?,
        None => source.tensor(&name, &[shape.0, shape.1])?,
    };
    let start = match &hold.adapter {
        Some((recipe, seed)) if recipe.covers(module) => Some((recipe, lora::start(module, &whole, recipe, *seed)?)),
        _ => None,
    };
    let rest = start.as_ref().and_then(|(_, start)| start.rest.clone());
    let weight = match (rest, packed) {
        (None, Some(packed)) => Weight::Nf4(packed.to_device(&hold.device)?),
        (rest, _) => {
            let whole = rest.unwrap_or(whole);
            // On the CPU a narrow type would have to be widened at each use.
            if in_four {
                Weight::Nf4(Nf4::quantize(&whole.to_device(&hold.device)?, hold.double_quant)?)
            } else {
                Weight::Dense(hold.values(&name, whole, Some(hold.dtype))?)
            }
        }
    };
    let pair = start.map(|(recipe, start)| {
        let on = |t: &Tensor| t.to_device(&hold.device);
        lora::pair(module, &on(&start.a)?, &on(&start.b)?, recipe, hold.dtype)
    });
    Ok((weight, pair.transpose()?))
}
