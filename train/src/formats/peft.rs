//! Adapters as PEFT keeps them: a folder with adapter_config.json and adapter_model.safetensors. What is
//! written here is read by PEFT 0.21 and by all that read its files; what PEFT wrote is read here unless it is
//! more than LoRA, which is refused by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value};
use setaccio_base::atomic;

use super::{
    config_json::Keys,
    safetensors::{Safetensors, to_bytes},
};
use crate::{
    error::{Error, Result},
    model::{config::Config, layer::Layer, linear::Linear, llama::Llama, lora::LoraLayer},
    recipe::{Lora, is_linear},
};

mod config;

pub use config::{AdapterConfig, CONFIG, Except, PEFT_VERSION, Targets};

/// Name of the weights.
pub const WEIGHTS: &str = "adapter_model.safetensors";
const PREFIX: &str = "base_model.model.";
const HALVES: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];

/// An adapter with its weights, in f32, f16 or bf16.
#[derive(Clone, Debug)]
pub struct AdapterFile {
    /// How it is to be applied.
    pub config: AdapterConfig,
    /// By module, e.g. `model.layers.0.self_attn.q_proj`: A [r, in] and B [out, r].
    pub tensors: BTreeMap<String, (Tensor, Tensor)>,
}

impl AdapterFile {
    /// The plain LoRA that does to the original model what this one, trained from a PiSSA start, does to the
    /// residual one. PiSSA takes the principal part out of the base, W' = W - s B0 A0, and trains A and B from
    /// there. W' + s B A = W + s [B, -B0] [A; A0], so the rank doubles and alpha grows to keep s, as in PEFT's
    /// `path_initial_model_for_weight_conversion`. Without this a PiSSA adapter is worth nothing to anyone who
    /// loads it upon the original model. Exact only if the base was not quantised after the principal part was
    /// taken out.
    ///
    /// `start` is A0 and B0 of every module.
    pub fn without_start(&self, start: &BTreeMap<String, (Tensor, Tensor)>) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for (module, (a, b)) in &self.tensors {
            let (a0, b0) = start.get(module).ok_or_else(|| Error::Other(format!("no PiSSA start of {module}")))?;
            let pair = (Tensor::cat(&[a, a0], 0)?, Tensor::cat(&[b, &b0.neg()?], 1)?);
            tensors.insert(module.clone(), pair);
        }
        let growth = if self.config.rslora { std::f64::consts::SQRT_2 } else { 2.0 };
        let mut config = self.config.clone();
        config.r *= 2;
        config.alpha *= growth;
        config.rank_pattern.iter_mut().for_each(|(_, r)| *r *= 2);
        config.alpha_pattern.iter_mut().for_each(|(_, alpha)| *alpha *= growth);
        Ok(Self { config, tensors })
    }

    /// Check that it fits a model: its modules are linear layers of the blocks, in their shapes, and none that
    /// its targets name is left out.
    ///
    /// # Errors
    /// Names the module; `file` is for messages.
    pub fn fits(&self, model: &Config, file: &Path) -> Result<()> {
        let shapes: BTreeMap<String, Vec<usize>> = model
            .shapes()
            .into_iter()
            .filter_map(|(name, shape)| Some((name.strip_suffix(".weight")?.to_owned(), shape)))
            .filter(|(module, _)| module.rsplit_once('.').is_some_and(|(_, last)| is_linear(last)))
            .collect();
        for (module, (a, b)) in &self.tensors {
            let Some(shape) = shapes.get(module) else {
                return Err(Error::tensor(file, module, "the base model has no such linear layer in its blocks"));
            };
            let found = [b.dim(0)?, a.dim(1)?];
            if shape[..] != found {
                let why = format!("the adapter is for a weight {found:?}, and the base model's is {shape:?}");
                return Err(Error::tensor(file, module, format!("{why}: it belongs to another model")));
            }
        }
        let Targets::Names(_) = &self.config.targets else { return Ok(()) };
        for module in shapes.keys().filter(|module| !self.tensors.contains_key(*module)) {
            if self.config.may_name(module)? {
                let why = "`target_modules` names it, but the adapter has no weights for it";
                return Err(Error::tensor(file, module, why));
            }
        }
        Ok(())
    }

    /// Put the adapter on a model that it fits, for use, not for training.
    pub fn attach(&self, model: &mut Llama) -> Result<()> {
        let (dtype, device) = (model.dtype, model.device().clone());
        model.layers.iter_mut().flat_map(Layer::linears_mut).try_for_each(|l| self.attach_to(l, dtype, &device))
    }

    /// Put what the adapter has for one linear layer on it, for use.
    pub fn attach_to(&self, linear: &mut Linear, dtype: DType, device: &Device) -> Result<()> {
        let Some((a, b)) = self.tensors.get(&linear.name) else { return Ok(()) };
        let (a, b) = (a.to_device(device)?, b.to_device(device)?);
        let mut lora = LoraLayer::new(&linear.name, &a, &b, &Lora::default(), dtype)?;
        lora.scale = self.config.scale_of(&linear.name)?;
        linear.lora = Some(lora);
        Ok(())
    }

    /// Copy A and B into the adapter that a model has, to be trained on.
    ///
    /// # Errors
    /// It is not for this model, or of another rank, scale or targets than the recipe asks for; `at` is for messages.
    pub fn copy_into(&self, model: &mut Llama, at: &Path) -> Result<()> {
        let mut left: BTreeSet<&String> = self.tensors.keys().collect();
        for linear in model.layers.iter_mut().flat_map(Layer::linears_mut) {
            let Some(lora) = &mut linear.lora else { continue };
            let Some((a, b)) = self.tensors.get(&linear.name) else {
                return Err(Error::tensor(at, &linear.name, "has no weights, and `lora.targets` names it"));
            };
            left.remove(&linear.name);
            let scale = self.config.scale_of(&linear.name)?;
            if (scale - lora.scale).abs() > 1e-9 * scale.abs() {
                let message = format!(
                    "is scaled by {scale}, and the recipe's rank, alpha and rslora make that {}: give the recipe the \
                     adapter's",
                    lora.scale
                );
                return Err(Error::tensor(at, &linear.name, message));
            }
            for (param, value) in [(&mut lora.a, a), (&mut lora.b, b)] {
                if param.value.shape() != value.shape() {
                    let message = format!(
                        "has {:?}, and the recipe asks for {:?}: give `lora.r` the adapter's rank",
                        value.dims(),
                        param.value.dims()
                    );
                    return Err(Error::tensor(at, &param.name, message));
                }
                let value = value.to_device(param.value.device())?.to_dtype(param.value.dtype())?;
                param.value.slice_set(&value.contiguous()?, 0, 0)?;
            }
        }
        match left.first() {
            Some(module) => Err(Error::tensor(at, module, "has weights, and `lora.targets` does not name it")),
            None => Ok(()),
        }
    }

    /// Check ranks, shapes and values.
    fn check(&self, file: &Path) -> Result<()> {
        let config = &self.config;
        if self.tensors.is_empty() {
            return Err(Error::model(file, "holds no adapter weights"));
        }
        for (module, (a, b)) in &self.tensors {
            let r = config.rank_of(module)?;
            for (half, tensor, rank_at) in [(HALVES[0], a, 0), (HALVES[1], b, 1)] {
                let name = format!("{PREFIX}{module}{half}");
                let dims = tensor.dims();
                if dims.len() != 2 || dims[rank_at] != r {
                    let wanted = if rank_at == 0 { format!("[{r}, in]") } else { format!("[out, {r}]") };
                    return Err(Error::tensor(file, &name, format!("has shape {dims:?}, expected {wanted}")));
                }
                if !matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) {
                    let why = format!("is {}, where f32, f16 or bf16 is expected", tensor.dtype().as_str());
                    return Err(Error::tensor(file, &name, why));
                }
                let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
                if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                    let (row, column) = (at / dims[1], at % dims[1]);
                    let why = format!(
                        "value [{row}, {column}] is {}: the adapter is spoilt, take an earlier one",
                        values[at]
                    );
                    return Err(Error::tensor(file, &name, why));
                }
            }
            if !config.may_name(module)? {
                let why = "has weights, but `target_modules` does not name it, or another key takes it out again";
                return Err(Error::tensor(file, module, why));
            }
        }
        Ok(())
    }
}

/// Write an adapter as a folder that PEFT loads; adapter_config.json comes last, so that a folder with one is
/// whole. `init_lora_weights` is always true, which means a plain LoRA upon the model that `base` names: what was
/// trained from a PiSSA start goes through [`AdapterFile::without_start`] first.
///
/// # Errors
/// A half has the wrong shape or a value that is not finite, or the file system refuses.
pub fn save(folder: &Path, adapter: &AdapterFile) -> Result<()> {
    adapter.check(&folder.join(WEIGHTS))?;
    let mut tensors = BTreeMap::new();
    for (module, (a, b)) in &adapter.tensors {
        for (half, tensor) in HALVES.into_iter().zip([a, b]) {
            tensors.insert(format!("{PREFIX}{module}{half}"), tensor.clone());
        }
    }
    Ok(atomic::write_together(
        folder,
        &[(WEIGHTS, to_bytes(&tensors)?), (CONFIG, adapter.config.to_json().into_bytes())],
    )?)
}

/// Read an adapter.
///
/// # Errors
/// A file is missing or torn, it is not a plain LoRA, a half is missing or has the wrong shape, or a value is not
/// finite; the message names file and tensor.
pub fn load(folder: &Path) -> Result<AdapterFile> {
    let (config, weights) = (folder.join(CONFIG), folder.join(WEIGHTS));
    if !config.is_file() {
        let why = format!("is not an adapter: an adapter's folder has {CONFIG} and {WEIGHTS}");
        return Err(Error::model(folder, why));
    }
    let text = fs::read(&config).map_err(Error::io("read", &config))?;
    let map: Map<String, Value> =
        serde_json::from_slice(&text).map_err(|e| Error::model(&config, format!("not an {CONFIG}: {e}")))?;
    let parsed = AdapterConfig::parse(&Keys { file: &config, map: &map, under: "" })?;
    if !weights.is_file() {
        let pickled = folder.join("adapter_model.bin").is_file();
        let why =
            if pickled { "; adapter_model.bin can run code and is not read: save it again with PEFT" } else { "" };
        return Err(Error::model(&weights, format!("is missing{why}")));
    }
    let file = Safetensors::open(&weights)?;
    let mut halves: BTreeMap<String, [Option<Tensor>; 2]> = BTreeMap::new();
    for name in file.names() {
        let half = HALVES.iter().position(|half| name.ends_with(half));
        let Some((half, module)) = half.zip(name.strip_prefix(PREFIX)) else {
            let why = "is no half of a LoRA, `base_model.model.MODULE.lora_A.weight` or `lora_B`: not supported";
            return Err(Error::tensor(&weights, name, why));
        };
        let module = module.strip_suffix(HALVES[half]).unwrap_or(module).to_owned();
        halves.entry(module).or_default()[half] = Some(file.load(name)?);
    }
    let mut tensors = BTreeMap::new();
    for (module, pair) in halves {
        match pair {
            [Some(a), Some(b)] => tensors.insert(module, (a, b)),
            [a, _] => {
                let missing = format!("{PREFIX}{module}{}", HALVES[usize::from(a.is_some())]);
                return Err(Error::tensor(&weights, &missing, "is missing, though its other half is there"));
            }
        };
    }
    let adapter = AdapterFile { config: parsed, tensors };
    adapter.check(&weights)?;
    Ok(adapter)
}

#[cfg(test)]
mod tests;
