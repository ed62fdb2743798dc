//! A model from its tensors, one at a time: each linear layer is quantised as it arrives, so that no more than one of
//! them is ever there in its full width.

use candle_core::{DType, Device, Tensor};

use super::{
    attention::Attention,
    config::Config,
    head::Head,
    layer::Layer,
    linear::Linear,
    llama::Llama,
    lora::{self, LoraLayer},
    maybe_trained::MaybeTrained,
    mlp::Mlp,
    rope::Rotary,
    weight::Weight,
};
use crate::{
    error::{Error, Result},
    kernels::{self, Heads},
    nf4::Nf4,
    recipe::{Lora, Quantization},
};

/// Where tensors come from, by their Hugging Face name.
pub trait Source {
    /// A tensor in the type that it is stored in, of this very shape.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor>;

    /// A linear layer's weight that is stored in 4 bits already.
    fn packed(&self, _name: &str, _shape: (usize, usize)) -> Result<Option<Nf4>> {
        Ok(None)
    }
}

/// How a model is stored on its device and computed, and what of it is trained.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Of the linear layers.
    pub quantization: Quantization,
    /// Quantise the block scales too.
    pub double_quant: bool,
    /// What is computed with.
    pub dtype: DType,
    /// Where.
    pub device: Device,
    /// What is trained.
    pub trainable: Trainable,
}

/// What of a model is trained.
#[derive(Clone, Debug, Default)]
pub enum Trainable {
    /// Nothing.
    #[default]
    Nothing,
    /// A new adapter, initialised from the seed.
    Adapter(Lora, u64),
    /// Every weight, in f32.
    Weights,
}

/// On the CPU in f32, nothing quantised, nothing trained.
impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            quantization: Quantization::None,
            double_quant: true,
            dtype: DType::F32,
            device: Device::Cpu,
            trainable: Trainable::Nothing,
        }
    }
}

impl LoadOptions {
    /// A tensor on the device, to be trained if all is, else frozen in type `dtype`, or as it is stored.
    fn to_device(&self, name: &str, tensor: Tensor, dtype: Option<DType>) -> Result<MaybeTrained> {
        // A GPU has no kernels for other types. What it would round at every use is rounded once, before it is sent.
        let held = match tensor.dtype() {
            DType::F32 | DType::BF16 => tensor.to_device(&self.device)?,
            _ if self.device.is_cpu() => tensor.clone(),
            _ if matches!(self.trainable, Trainable::Weights) => {
                tensor.to_dtype(DType::F32)?.to_device(&self.device)?
            }
            _ => tensor.to_dtype(self.dtype)?.to_device(&self.device)?,
        };
        drop(tensor);
        match dtype {
            _ if matches!(self.trainable, Trainable::Weights) => MaybeTrained::trained(name, held, self.dtype),
            Some(dtype) => Ok(kernels::cast(&held, dtype)?.into()),
            None => Ok(held.into()),
        }
    }
}

/// Build the model that `config` describes. `each` is called after every layer, and stops the loading by `false`.
///
/// # Errors
/// A tensor is missing, of another shape, or torn; out of memory.
pub fn model(
    config: &Config,
    source: &dyn Source,
    options: &LoadOptions,
    each: &dyn Fn(usize) -> bool,
) -> Result<Llama> {
    let h = config.hidden_size;
    let load = |name: &str, shape: &[usize], dtype| options.to_device(name, source.tensor(name, shape)?, dtype);
    let embedding = load("model.embed_tokens.weight", &[config.vocab_size, h], None)?;
    let mut layers = Vec::with_capacity(config.layers);
    for i in 0..config.layers {
        layers.push(layer(config, source, options, i)?);
        if !each(i + 1) {
            return Err(Error::Interrupted);
        }
    }
    let norm = load("model.norm.weight", &[h], Some(options.dtype))?;
    let weight = if config.tie_word_embeddings {
        embedding.clone()
    } else {
        load("lm_head.weight", &[config.vocab_size, h], None)?
    };
    let head = Head { norm, weight, eps: config.rms_norm_eps };
    Ok(Llama { embedding, layers, head, rotary: Rotary::new(&config.inv_freq()), dtype: options.dtype })
}

/// Layer `i` of the model that `config` describes.
pub fn layer(config: &Config, source: &dyn Source, options: &LoadOptions, i: usize) -> Result<Layer> {
    let (h, q, kv) = (config.hidden_size, config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let vector = |name: &str, n: usize| options.to_device(name, source.tensor(name, &[n])?, Some(options.dtype));
    let linear = |name: String, out: usize, input: usize, bias: bool| -> Result<Linear> {
        let (weight, lora) = weight(&name, (out, input), source, options)?;
        let bias = bias.then(|| vector(&format!("{name}.bias"), out)).transpose()?;
        Ok(Linear { name, weight, bias, lora })
    };
    let at = format!("model.layers.{i}");
    let bias = config.attention_bias;
    Ok(Layer {
        input_norm: vector(&format!("{at}.input_layernorm.weight"), h)?,
        attention: Attention {
            q_proj: linear(format!("{at}.self_attn.q_proj"), q, h, bias)?,
            k_proj: linear(format!("{at}.self_attn.k_proj"), kv, h, bias)?,
            v_proj: linear(format!("{at}.self_attn.v_proj"), kv, h, bias)?,
            o_proj: linear(format!("{at}.self_attn.o_proj"), h, q, false)?,
            heads: Heads { q: config.heads, kv: config.kv_heads, dim: config.head_dim },
        },
        post_norm: vector(&format!("{at}.post_attention_layernorm.weight"), h)?,
        mlp: Mlp {
            gate_proj: linear(format!("{at}.mlp.gate_proj"), config.intermediate_size, h, false)?,
            up_proj: linear(format!("{at}.mlp.up_proj"), config.intermediate_size, h, false)?,
            down_proj: linear(format!("{at}.mlp.down_proj"), h, config.intermediate_size, false)?,
        },
        eps: config.rms_norm_eps,
    })
}

/// The weight of the linear layer called `module` as it is to be stored, and its adapter.
fn weight(
    module: &str,
    shape: (usize, usize),
    source: &dyn Source,
    options: &LoadOptions,
) -> Result<(Weight, Option<LoraLayer>)> {
    let name = format!("{module}.weight");
    let packed = source.packed(&name, shape)?;
    // What came in 4 bits stays in 4 bits.
    let in_four = packed.is_some() || options.quantization == Quantization::Nf4;
    let dense = match &packed {
        Some(packed) => packed.dequantize(DType::F32)?,
        None => source.tensor(&name, &[shape.0, shape.1])?,
    };
    let init = match &options.trainable {
        Trainable::Adapter(recipe, seed) if recipe.covers(module) => {
            Some((recipe, lora::init(module, &dense, recipe, *seed)?))
        }
        _ => None,
    };
    let residual = init.as_ref().and_then(|(_, init)| init.residual.clone());
    let weight = match (residual, packed) {
        (None, Some(packed)) => Weight::Nf4(packed.to_device(&options.device)?),
        (residual, _) => {
            let dense = residual.unwrap_or(dense);
            // On the CPU a narrow type would have to be widened at each use.
            if in_four {
                Weight::Nf4(Nf4::quantize(&dense.to_device(&options.device)?, options.double_quant.into())?)
            } else {
                Weight::Dense(options.to_device(&name, dense, Some(options.dtype))?)
            }
        }
    };
    let adapter = init.map(|(recipe, init)| {
        let on = |t: &Tensor| t.to_device(&options.device);
        LoraLayer::new(module, &on(&init.a)?, &on(&init.b)?, recipe, options.dtype)
    });
    Ok((weight, adapter.transpose()?))
}
