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
    kernels,
    model::{
        config::Config,
        layer::Layer,
        linear::Linear,
        llama::Llama,
        lora::{LoraLayer, dora::Dora},
        norm::Norm,
    },
    recipe::{EMBEDDING, HEAD, Lora, is_linear},
};

mod config;
mod tables;

pub use config::{AdapterConfig, Beside, CONFIG, Except, PEFT_VERSION, Targets};

/// Name of the weights.
pub const WEIGHTS: &str = "adapter_model.safetensors";
const PREFIX: &str = "base_model.model.";
const HALVES: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];
/// Of an embedding, whose weight PEFT takes to be [H, V]: its A [r, V] is B here, turned, and its B [H, r] is A.
const EMBEDDING_HALVES: [&str; 2] = [".lora_embedding_B", ".lora_embedding_A"];
/// Lengths of rows.
const MAGNITUDE: &str = ".lora_magnitude_vector";
/// A weight of a module that is saved whole, and one that an adapter is upon.
const WHOLE: [&str; 2] = [".base_layer.weight", ".weight"];

/// An adapter with its weights, in f32, f16 or bf16.
#[derive(Clone, Debug)]
pub struct AdapterFile {
    /// How it is to be applied.
    pub config: AdapterConfig,
    /// By module, e.g. `model.layers.0.self_attn.q_proj`: A [r, in] and B [out, r]; of the embedding, too, whose weight is [V, H].
    pub tensors: BTreeMap<String, (Tensor, Tensor)>,
    /// By module: the weights of those that are saved whole, which take the place of the base's. An adapter upon one of them adds
    /// to that.
    pub saved: BTreeMap<String, Tensor>,
    /// Of DoRA, by module: the lengths of the rows of the weight with the adapter, [out].
    pub magnitudes: BTreeMap<String, Tensor>,
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
        Ok(Self { config, tensors, saved: self.saved.clone(), magnitudes: self.magnitudes.clone() })
    }

    /// How many modules it changes.
    pub fn modules(&self) -> usize {
        let whole = self.saved.keys().filter(|module| !self.tensors.contains_key(*module)).count();
        self.tensors.len() + whole
    }

    /// Check that it fits a model: its modules are linear layers of the blocks, in their shapes, and none that
    /// its targets name is left out.
    ///
    /// # Errors
    /// Names the module; `file` is for messages.
    pub fn fits(&self, model: &Config, file: &Path) -> Result<()> {
        let model = &self.applied_within(model, file)?;
        let mut shapes: BTreeMap<String, Vec<usize>> = model
            .shapes()
            .into_iter()
            .filter_map(|(name, shape)| Some((name.strip_suffix(".weight")?.to_owned(), shape)))
            .filter(|(module, _)| module.rsplit_once('.').is_some_and(|(_, last)| is_linear(last)))
            .collect();
        let whole: BTreeMap<String, Vec<usize>> = model.savable().into_iter().collect();
        shapes.extend(
            [EMBEDDING, HEAD].into_iter().filter_map(|module| Some((module.to_owned(), whole.get(module)?.clone()))),
        );
        self.check_saved(&whole, file)?;
        self.check_tied(model, file)?;
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
        let tied_head = |module: &str| module == HEAD && self.is_tied(model) && self.tensors.contains_key(EMBEDDING);
        for module in shapes.keys().filter(|module| !self.tensors.contains_key(*module) && !tied_head(module)) {
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
        model.layers.iter_mut().try_for_each(|layer| self.attach_to_layer(layer, dtype, &device))?;
        self.attach_to_tables(&mut model.embedding, &mut model.head, dtype)
    }

    /// Put what the adapter has for one layer on it, for use.
    pub fn attach_to_layer(&self, layer: &mut Layer, dtype: DType, device: &Device) -> Result<()> {
        layer.linears_mut().try_for_each(|linear| self.attach_to(linear, dtype, device))?;
        layer.norms_mut().try_for_each(|norm| self.attach_to_norm(norm, dtype, device))
    }

    fn attach_to_norm(&self, norm: &mut Norm, dtype: DType, device: &Device) -> Result<()> {
        if let Some(saved) = self.saved.get(&norm.name) {
            norm.weight = kernels::cast(&known(saved)?.to_device(device)?, dtype)?.into();
        }
        Ok(())
    }

    /// Put what the adapter has for one linear layer on it, for use.
    pub fn attach_to(&self, linear: &mut Linear, dtype: DType, device: &Device) -> Result<()> {
        if let Some(mut lora) = self.for_use(&linear.name, dtype, device)? {
            if let Some(magnitude) = self.magnitudes.get(&linear.name) {
                lora.dora = Some(Dora::new(&linear.name, &linear.weight.dense(dtype)?, &lora, Some(magnitude))?);
            }
            linear.lora = Some(lora);
        }
        Ok(())
    }

    /// The adapter of a module, for use.
    pub(crate) fn for_use(&self, module: &str, dtype: DType, device: &Device) -> Result<Option<LoraLayer>> {
        let Some((a, b)) = self.tensors.get(module) else { return Ok(None) };
        let (a, b) = (known(a)?.to_device(device)?, known(b)?.to_device(device)?);
        let mut lora = LoraLayer::new(module, &a, &b, &Lora::default(), dtype)?;
        lora.scale = self.config.scale_of(module)?;
        Ok(Some(lora))
    }

    /// Copy A and B, and what is saved whole, into what a model trains.
    ///
    /// # Errors
    /// It is not for this model, or of another rank, scale, targets or saved modules than the recipe asks for; `at` is for messages.
    pub fn copy_into(&self, model: &mut Llama, at: &Path) -> Result<()> {
        let mut left: BTreeSet<&String> = self.tensors.keys().chain(self.saved.keys()).collect();
        let tied = model.tied();
        let linears =
            model.layers.iter().flat_map(Layer::linears).filter_map(|l| Some((l.name.as_str(), l.lora.as_ref()?)));
        let embedding = model.embedding.lora.iter().map(|lora| (EMBEDDING, lora));
        let head = model.head.lora.iter().filter(|_| !tied).map(|lora| (HEAD, lora));
        for (module, lora) in linears.chain(embedding).chain(head) {
            let Some((a, b)) = self.tensors.get(module) else {
                return Err(Error::tensor(at, module, "has no weights, and `lora.targets` names it"));
            };
            left.remove(&module.to_owned());
            let scale = self.config.scale_of(module)?;
            if (scale - lora.scale).abs() > 1e-9 * scale.abs() {
                let message = format!(
                    "is scaled by {scale}, and the recipe's rank, alpha and rslora make that {}: give the recipe the \
                     adapter's",
                    lora.scale
                );
                return Err(Error::tensor(at, module, message));
            }
            for (param, value) in [(&lora.a, a), (&lora.b, b)] {
                if param.value.shape() != value.shape() {
                    let message = format!(
                        "has {:?}, and the recipe asks for {:?}: give `lora.r` the adapter's rank",
                        value.dims(),
                        param.value.dims()
                    );
                    return Err(Error::tensor(at, &param.name, message));
                }
                param.put(value)?;
            }
            match (&lora.dora, self.magnitudes.get(module)) {
                (None, None) => {}
                (Some(dora), Some(value)) => dora.magnitude.put(value)?,
                (Some(_), None) => return Err(Error::tensor(at, module, "is plain LoRA, and `lora.use_dora` is set")),
                (None, Some(_)) => return Err(Error::tensor(at, module, "is DoRA: set `lora.use_dora = true`")),
            }
        }
        for param in model.params() {
            let Some(module) = param.name.strip_suffix(".weight") else { continue };
            let Some(value) = self.saved.get(module) else {
                return Err(Error::tensor(at, module, "is not saved whole, and `lora.modules_to_save` names it"));
            };
            left.remove(&module.to_owned());
            param.put(value)?;
        }
        if tied {
            left.remove(&HEAD.to_owned());
        }
        // PEFT writes the weight, too, that such an adapter is upon, and tables that have grown.
        for (module, weight) in [(EMBEDDING, &model.embedding.weight), (HEAD, &model.head.weight)] {
            let Some(upon) = self.saved.get(module).filter(|_| weight.param().is_none()) else { continue };
            let values = |t: &Tensor| -> Result<Vec<f32>> {
                Ok(t.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
            };
            if values(upon)? != values(weight.tensor())? {
                return Err(Error::tensor(
                    at,
                    module,
                    "is another weight than the base's, and the recipe does not train it",
                ));
            }
            left.remove(&module.to_owned());
        }
        match left.first() {
            Some(module) => {
                let why = "has weights, and neither `lora.targets` nor `lora.modules_to_save` names it";
                Err(Error::tensor(at, module, why))
            }
            None => Ok(()),
        }
    }

    /// Check ranks, shapes and values.
    fn check(&self, file: &Path) -> Result<()> {
        let config = &self.config;
        if self.tensors.is_empty() {
            return Err(Error::model(file, "holds no adapter weights"));
        }
        for (module, magnitude) in &self.magnitudes {
            float(magnitude, &format!("{PREFIX}{module}{MAGNITUDE}"), file)?;
            if !self.tensors.contains_key(module) {
                return Err(Error::tensor(file, module, "has lengths of rows, and no A and B"));
            }
        }
        for (module, saved) in &self.saved {
            let name = format!("{PREFIX}{module}{}", WHOLE[1]);
            float(saved, &name, file)?;
            // Tables that have grown are saved whatever is trained.
            let table = [EMBEDDING, HEAD].contains(&module.as_str());
            if !config.saves(module) && !table {
                let why = "is saved whole, but `modules_to_save` does not name it";
                return Err(Error::tensor(file, module, why));
            }
        }
        for (module, (a, b)) in &self.tensors {
            let r = config.rank_of(module)?;
            let halves = if module == EMBEDDING { EMBEDDING_HALVES } else { HALVES };
            for (half, tensor, rank_at) in [(halves[0], a, 0), (halves[1], b, 1)] {
                let name = format!("{PREFIX}{module}{half}");
                let dims = tensor.dims();
                if dims.len() != 2 || dims[rank_at] != r {
                    let wanted = if rank_at == 0 { format!("[{r}, in]") } else { format!("[out, {r}]") };
                    return Err(Error::tensor(file, &name, format!("has shape {dims:?}, expected {wanted}")));
                }
                float(tensor, &name, file)?;
            }
            let found = self.magnitudes.get(module).map(Tensor::dims);
            let wanted = [b.dim(0)?];
            if found != config.beside.dora.then_some(&wanted[..]) {
                let why = match found {
                    None => "`use_dora` is set, and it is missing".to_owned(),
                    Some(_) if !config.beside.dora => "is there, and `use_dora` is not set".to_owned(),
                    Some(found) => format!("has shape {found:?}, expected {wanted:?}"),
                };
                return Err(Error::tensor(file, &format!("{PREFIX}{module}{MAGNITUDE}"), why));
            }
            // A head that stays the embedding has no name of its own among the targets.
            let tied_head = module == HEAD && config.beside.tied && self.tensors.contains_key(EMBEDDING);
            if !tied_head && !config.may_name(module)? {
                let why = "has weights, but `target_modules` does not name it, or another key takes it out again";
                return Err(Error::tensor(file, module, why));
            }
        }
        Ok(())
    }
}

/// In a type that a GPU has kernels for: f16, which it has none for, becomes f32, which holds the same values.
fn known(tensor: &Tensor) -> Result<Tensor> {
    Ok(if tensor.dtype() == DType::F16 { tensor.to_dtype(DType::F32)? } else { tensor.clone() })
}

/// Check type and values of a tensor.
fn float(tensor: &Tensor, name: &str, file: &Path) -> Result<()> {
    if !matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) {
        let why = format!("is {}, where f32, f16 or bf16 is expected", tensor.dtype().as_str());
        return Err(Error::tensor(file, name, why));
    }
    let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        let width = tensor.dims().last().copied().unwrap_or(1).max(1);
        let place = if tensor.rank() == 1 { format!("[{at}]") } else { format!("[{}, {}]", at / width, at % width) };
        let why = format!("value {place} is {}: the adapter is spoilt, take an earlier one", values[at]);
        return Err(Error::tensor(file, name, why));
    }
    Ok(())
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
        let of_embedding = module == EMBEDDING;
        for (half, tensor) in (if of_embedding { EMBEDDING_HALVES } else { HALVES }).into_iter().zip([a, b]) {
            let tensor = if of_embedding { tensor.t()?.contiguous()? } else { tensor.clone() };
            tensors.insert(format!("{PREFIX}{module}{half}"), tensor);
        }
    }
    for (module, magnitude) in &adapter.magnitudes {
        tensors.insert(format!("{PREFIX}{module}{MAGNITUDE}"), magnitude.clone());
    }
    for (module, saved) in &adapter.saved {
        let end = WHOLE[usize::from(!adapter.tensors.contains_key(module))];
        tensors.insert(format!("{PREFIX}{module}{end}"), saved.clone());
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
    let mut saved: BTreeMap<String, Tensor> = BTreeMap::new();
    let mut magnitudes: BTreeMap<String, Tensor> = BTreeMap::new();
    for name in file.names() {
        let read = |ends: [&'static str; 2]| {
            let module = name.strip_prefix(PREFIX)?;
            (0..).zip(ends).find_map(|(i, end): (usize, _)| Some((i, module.strip_suffix(end)?.to_owned())))
        };
        if let Some((half, module)) = read(HALVES) {
            halves.entry(module).or_default()[half] = Some(file.load(name)?);
        } else if let Some((half, module)) = read(EMBEDDING_HALVES) {
            let tensor = file.load(name)?;
            if module != EMBEDDING || tensor.rank() != 2 {
                return Err(Error::tensor(
                    &weights,
                    name,
                    "is no half of a LoRA upon the embedding of a language model",
                ));
            }
            halves.entry(module).or_default()[half] = Some(tensor.t()?.contiguous()?);
        } else if let Some(module) = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(MAGNITUDE)) {
            magnitudes.insert(module.to_owned(), file.load(name)?);
        } else if let Some((_, module)) = read(WHOLE) {
            saved.insert(module, file.load(name)?);
        } else {
            let why = "is no half of a LoRA (`base_model.model.MODULE.lora_A.weight` or `lora_B`) and no weight that is saved \
                       whole: not supported";
            return Err(Error::tensor(&weights, name, why));
        }
    }
    let mut tensors = BTreeMap::new();
    for (module, pair) in halves {
        match pair {
            [Some(a), Some(b)] => tensors.insert(module, (a, b)),
            [a, _] => {
                let halves = if module == EMBEDDING { EMBEDDING_HALVES } else { HALVES };
                let missing = format!("{PREFIX}{module}{}", halves[usize::from(a.is_some())]);
                return Err(Error::tensor(&weights, &missing, "is missing, though its other half is there"));
            }
        };
    }
    let adapter = AdapterFile { config: parsed, tensors, saved, magnitudes };
    adapter.check(&weights)?;
    Ok(adapter)
}

#[cfg(test)]
mod tests;
