//! A model from its tensors, one at a time: each linear layer is quantised as it arrives, so that no more than one of
//! them is ever there in its full width.

use candle_core::{DType, Device, Tensor};

use super::{
    attention::Attention,
    config::{BlockLinear, Config},
    embedding::Embedding,
    feed_forward::FeedForward,
    head::Head,
    layer::{Branch, Layer},
    linear::Linear,
    llama::Llama,
    lora::{self, LoraLayer, Start, dora::Dora},
    maybe_trained::MaybeTrained,
    mlp::Mlp,
    norm::Norm,
    projections::Projections,
    router::Router,
    weight::Weight,
};
use crate::{
    error::{Error, Result},
    kernels::{self, Products},
    nf4::Nf4,
    recipe::{EMBEDDING, HEAD, Lora, Quantization},
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
    /// How products with weights are.
    pub products: Products,
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
    /// A new adapter, initialised from the seed, and what it saves whole, in f32. A head that is the embedding goes by what is said
    /// of the embedding.
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
            products: Products::Exact,
            device: Device::Cpu,
            trainable: Trainable::Nothing,
        }
    }
}

impl LoadOptions {
    /// Whether the tensor of that name is trained whole.
    fn trains(&self, name: &str) -> bool {
        match &self.trainable {
            Trainable::Nothing => false,
            Trainable::Weights => true,
            Trainable::Adapter(recipe, _) => name.strip_suffix(".weight").is_some_and(|module| recipe.saves(module)),
        }
    }

    /// The adapter of the embedding or the head, both [V, H], if it has one. With `tied`, that of both: PEFT begins it as a head's.
    fn lora_of_table(&self, module: &str, table: &Tensor, tied: bool) -> Result<Option<LoraLayer>> {
        let Trainable::Adapter(recipe, seed) = &self.trainable else { return Ok(None) };
        if !recipe.covers(module) {
            return Ok(None);
        }
        let start = if module == EMBEDDING && !tied { Start::Normal } else { Start::Uniform };
        let init = lora::init(module, table, (recipe, start), *seed)?;
        let on = |t: &Tensor| t.to_device(&self.device);
        LoraLayer::new(module, &on(&init.a)?, &on(&init.b)?, recipe, self.dtype).map(Some)
    }

    /// A tensor on the device, to be trained if all is, else frozen in type `dtype`, or as it is stored.
    fn to_device(&self, name: &str, tensor: Tensor, dtype: Option<DType>) -> Result<MaybeTrained> {
        // A GPU has no kernels for other types. What it would round at every use is rounded once, before it is sent.
        let held = match tensor.dtype() {
            DType::F32 | DType::BF16 => tensor.to_device(&self.device)?,
            _ if self.device.is_cpu() => tensor.clone(),
            _ if self.trains(name) => tensor.to_dtype(DType::F32)?.to_device(&self.device)?,
            _ => tensor.to_dtype(self.dtype)?.to_device(&self.device)?,
        };
        drop(tensor);
        match dtype {
            _ if self.trains(name) => MaybeTrained::trained(name, held, self.dtype),
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
    let tied = config.tie_word_embeddings;
    let lora = options.lora_of_table(EMBEDDING, embedding.tensor(), tied)?;
    let embedding = Embedding { weight: embedding, lora, scale: config.scales.embedding };
    let mut layers = Vec::with_capacity(config.layers);
    for i in 0..config.layers {
        layers.push(layer(config, source, options, i)?);
        if !each(i + 1) {
            return Err(Error::Interrupted);
        }
    }
    let norm = load("model.norm.weight", &[h], Some(options.dtype))?;
    let mut head = if tied {
        Head { lora: embedding.lora.clone(), ..head(config, norm, embedding.weight.clone()) }
    } else {
        head(config, norm, load("lm_head.weight", &[config.vocab_size, h], None)?)
    };
    head.products = options.products;
    if !tied {
        head.lora = options.lora_of_table(HEAD, head.weight.tensor(), tied)?;
    }
    Ok(Llama {
        embedding,
        layers,
        head,
        noise_scale: if config.architecture.family().scales_noise { config.scales.embedding } else { 1.0 },
        rotary: config.rotaries(),
        dtype: options.dtype,
    })
}

/// A norm with a weight that was loaded.
fn norm(config: &Config, name: &str, weight: MaybeTrained) -> Norm {
    Norm { name: name.to_owned(), weight, eps: config.rms_norm_eps, offset: config.architecture.family().norm_offset }
}

/// The head, from the weights of its norm and its own.
pub fn head(config: &Config, of_norm: MaybeTrained, weight: MaybeTrained) -> Head {
    let scales = config.scales;
    Head {
        norm: norm(config, "model.norm", of_norm),
        weight,
        lora: None,
        scale: 1.0 / scales.logits,
        cap: scales.logit_cap,
        products: Products::Exact,
    }
}

/// Layer `i` of the model that `config` describes.
pub fn layer(config: &Config, source: &dyn Source, options: &LoadOptions, i: usize) -> Result<Layer> {
    let family = config.architecture.family();
    let vector = |name: &str, n: usize| options.to_device(name, source.tensor(name, &[n])?, Some(options.dtype));
    let norm = |name: &str, width: usize| -> Result<Norm> {
        let name = format!("model.layers.{i}.{name}");
        Ok(norm(config, &name, vector(&format!("{name}.weight"), width)?))
    };
    let beside = |name: Option<&str>| name.map(|name| norm(name, config.hidden_size)).transpose();
    let linear = |linear: BlockLinear| -> Result<Linear> {
        let name = format!("model.layers.{i}.{}", linear.name);
        let (weight, lora) = weight(&name, (linear.out, linear.input), source, options)?;
        let bias = linear.bias.then(|| vector(&format!("{name}.bias"), linear.out)).transpose()?;
        Ok(Linear { name, weight, bias, lora, products: options.products })
    };
    let heads = config.heads(i);
    let (q, kv) = (heads.q * heads.dim, heads.kv * heads.dim);
    let attention_before = beside(family.norms[0])?;
    let described = config.linears(i);
    let odd = || Error::Other(format!("a block of {} linear layers", described.len()));
    let mut made = described.iter().cloned().map(linear).collect::<Result<Vec<_>>>()?.into_iter();
    let mut next = || made.next().ok_or_else(odd);
    let qkv = if family.fused {
        Projections::Fused(Box::new([next()?]), [q, kv, kv])
    } else {
        Projections::Apart([next()?, next()?, next()?])
    };
    let o_proj = next()?;
    let experts = config.experts(i);
    let mut mlp = || -> Result<Mlp> {
        let gate_up = if family.fused {
            Projections::Fused(Box::new([next()?]), [config.intermediate_size; 2])
        } else {
            Projections::Apart([next()?, next()?])
        };
        Ok(Mlp { gate_up, down_proj: next()?, activation: family.activation })
    };
    let mlps = (0..experts.map_or(1, |experts| experts.count)).map(|_| mlp()).collect::<Result<Vec<_>>>()?;
    let router = experts.zip(config.router()).map(|(experts, name)| {
        let name = format!("model.layers.{i}.{name}");
        let shape = (experts.count, config.hidden_size);
        let weight = format!("{name}.weight");
        // A checkpoint in 4 bits may have packed it with the rest; small as it is, it is used whole.
        let stored = match source.packed(&weight, shape)? {
            Some(packed) => packed.dequantize(DType::F32)?,
            None => source.tensor(&weight, &[shape.0, shape.1])?,
        };
        let weight = options.to_device(&weight, stored, Some(options.dtype))?;
        Ok::<_, Error>(Router { name, weight, chosen: experts.chosen, to_one: experts.to_one })
    });
    let router = router.transpose()?;
    let [q_norm, k_norm] = match config.head_norms() {
        None => [None, None],
        Some([q, k]) => [Some(norm("self_attn.q_norm", q)?), Some(norm("self_attn.k_norm", k)?)],
    };
    let branch = |before, after| Branch { before, after, scale: config.scales.residual };
    Ok(Layer {
        attention_branch: branch(attention_before, beside(family.norms[1])?),
        attention: Attention { qkv, q_norm, k_norm, o_proj, heads, turned: config.turned(i) },
        mlp_branch: branch(beside(family.norms[2])?, beside(family.norms[3])?),
        feed_forward: FeedForward { mlps, router },
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
            Some((recipe, lora::init(module, &dense, (recipe, Start::Uniform), *seed)?))
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
                Weight::Nf4(Nf4::quantize(&dense, options.double_quant.into())?.to_device(&options.device)?)
            } else {
                Weight::Dense(options.to_device(&name, dense, Some(options.dtype))?)
            }
        }
    };
    let adapter = init.map(|(recipe, init)| {
        let on = |t: &Tensor| t.to_device(&options.device);
        let mut lora = LoraLayer::new(module, &on(&init.a)?, &on(&init.b)?, recipe, options.dtype)?;
        if recipe.use_dora {
            lora.dora = Some(Dora::new(module, &weight.dense(options.dtype)?, &lora, None)?);
        }
        Ok::<_, Error>(lora)
    });
    let adapter = adapter.transpose()?;
    Ok((weight, adapter))
}
