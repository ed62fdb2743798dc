//! Low-rank adapters: put on a model, taken off it, read and written as PEFT files.

pub mod pissa;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use candle_core::{DType, Device, Tensor};

use crate::{
    error::{Error, Result},
    model::{
        layer::Layer,
        linear::{self, Linear},
        llama::Llama,
    },
    optim::Param,
    random,
    recipe::{AdapterType, Init, Lora},
};

/// How the adapter of one layer begins.
pub struct Start {
    /// [r, in]
    pub a: Tensor,
    /// [out, r]
    pub b: Tensor,
    /// What the frozen weight becomes, if it does not stay as it is.
    pub rest: Option<Tensor>,
}

/// The start of an adapter on `weight` [out, in]: A uniform in plus or minus 1 / sqrt(in), which is Kaiming's with
/// a = sqrt 5, and B zero; or PiSSA's.
///
/// # Errors
/// Out of memory; for PiSSA, a layer narrower than the rank.
pub fn start(module: &str, weight: &Tensor, recipe: &Lora, seed: u64) -> Result<Start> {
    let (out, input) = weight.dims2()?;
    let key = random::key(seed, &format!("lora/{module}"));
    if recipe.init == Init::Pissa {
        if recipe.r > out.min(input) {
            let message = format!("{module} is {out} by {input}: PiSSA has no {} components to start from", recipe.r);
            return Err(Error::Other(message));
        }
        let split = pissa::split(weight, recipe.r, recipe.scale(), key)?;
        return Ok(Start { a: split.a, b: split.b, rest: Some(split.rest) });
    }
    #[allow(clippy::cast_precision_loss, reason = "widths are small")]
    let bound = 1.0 / (input as f32).sqrt();
    let a = Tensor::from_vec(random::uniform_vec(key, recipe.r * input, bound), (recipe.r, input), &Device::Cpu)?;
    Ok(Start { a, b: Tensor::zeros((out, recipe.r), DType::F32, &Device::Cpu)?, rest: None })
}

/// A copy in main memory of every A and B of a model, by module.
///
/// # Errors
/// Out of memory.
pub fn values(model: &Llama) -> Result<BTreeMap<String, (Tensor, Tensor)>> {
    let linears = model.layers.iter().flat_map(Layer::linears);
    let pairs = linears.filter_map(|l| Some((l.name.clone(), l.lora.as_ref()?)));
    let copy = |t: &Tensor| t.copy()?.to_device(&Device::Cpu);
    pairs.map(|(name, lora)| Ok((name, (copy(&lora.a.value)?, copy(&lora.b.value)?)))).collect()
}

/// Put an adapter that was read from files on a model that it fits, for use, not for training.
///
/// # Errors
/// Out of memory.
pub fn put(model: &mut Llama, file: &peft::AdapterFile) -> Result<()> {
    let (compute, device) = (model.dtype, model.device().clone());
    let mut linears = model.layers.iter_mut().flat_map(Layer::linears_mut);
    linears.try_for_each(|linear| put_one(linear, file, (compute, &device)))
}

/// Put what an adapter has for one linear layer on it, for use.
///
/// # Errors
/// Out of memory.
pub fn put_one(linear: &mut Linear, file: &peft::AdapterFile, (compute, device): (DType, &Device)) -> Result<()> {
    let Some((a, b)) = file.tensors.get(&linear.name) else { return Ok(()) };
    let mut lora = pair(&linear.name, &a.to_device(device)?, &b.to_device(device)?, &Lora::default(), compute)?;
    lora.scale = file.config.scale_of(&linear.name)?;
    linear.lora = Some(lora);
    Ok(())
}

/// Give the adapters of a model the values of a file, to be trained on.
///
/// # Errors
/// It is not for this model, or of another rank, scale or targets than the recipe asks for; `at` is for messages.
pub fn go_on(model: &mut Llama, file: &peft::AdapterFile, at: &Path) -> Result<()> {
    let mut left: BTreeSet<&String> = file.tensors.keys().collect();
    for linear in model.layers.iter_mut().flat_map(Layer::linears_mut) {
        let Some(lora) = &mut linear.lora else { continue };
        let Some((a, b)) = file.tensors.get(&linear.name) else {
            return Err(Error::tensor(at, &linear.name, "has no weights, and `lora.targets` names it"));
        };
        left.remove(&linear.name);
        let scale = file.config.scale_of(&linear.name)?;
        if (scale - lora.scale).abs() > 1e-9 * scale.abs() {
            let message = format!(
                "is scaled by {scale}, and the recipe's rank, alpha and rslora make that {}: give the recipe the adapter's",
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

/// Keep a copy of A and B as they are, which is what the reference has from here on.
///
/// # Errors
/// Out of memory.
pub fn keep_start(model: &mut Llama) -> Result<()> {
    for lora in model.layers.iter_mut().flat_map(Layer::linears_mut).filter_map(|l| l.lora.as_mut()) {
        lora.start = Some((lora.a.value.copy()?, lora.b.value.copy()?));
    }
    Ok(())
}

/// An adapter of one layer with these values of A [r, in] and B [out, r], as the recipe wants it trained.
///
/// # Errors
/// Out of memory.
pub fn pair(name: &str, a: &Tensor, b: &Tensor, recipe: &Lora, compute: DType) -> Result<linear::Lora> {
    let dtype = match (recipe.dtype, compute) {
        // Gradients are checked in f64.
        (_, DType::F64) => DType::F64,
        (AdapterType::F32, _) => DType::F32,
        (AdapterType::Bf16, _) => DType::BF16,
    };
    let param = |half: &str, value: &Tensor| -> Result<Param> {
        let grad = if compute == DType::F64 { DType::F64 } else { DType::F32 };
        Ok(Param {
            name: format!("{name}.{half}"),
            value: value.to_dtype(dtype)?.force_contiguous()?,
            grad: Tensor::zeros(value.shape(), grad, value.device())?,
            lr_scale: 1.0,
            decays: true,
        })
    };
    let (scale, dropout) = (recipe.scale(), recipe.dropout);
    Ok(linear::Lora { a: param("lora_A", a)?, b: param("lora_B", b)?, scale, dropout, start: None })
}
