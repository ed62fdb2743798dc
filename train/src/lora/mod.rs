//! Low-rank adapters: put on a model, taken off it, read and written as PEFT files.

pub mod peft;
pub mod pissa;

use candle_core::{DType, Tensor};

use crate::{
    error::Result,
    model::{layer::Layer, linear, llama::Llama},
    optim::Param,
    random,
    recipe::{AdapterType, Lora},
};

/// Put a fresh adapter on every target layer: A uniform in plus or minus 1 / sqrt(in), which is Kaiming's with
/// a = sqrt 5, and B zero.
///
/// # Errors
/// Out of memory.
pub fn attach(model: &mut Llama, recipe: &Lora, seed: u64) -> Result<()> {
    let (compute, device) = (model.dtype, model.device().clone());
    for linear in model.layers.iter_mut().flat_map(Layer::linears_mut) {
        let target = linear.name.rsplit('.').next().unwrap_or_default();
        if !recipe.targets.iter().any(|t| t == target) {
            continue;
        }
        let (out, input) = linear.weight.shape();
        #[allow(clippy::cast_precision_loss, reason = "widths are small")]
        let bound = 1.0 / (input as f32).sqrt();
        let a = random::uniform_vec(random::key(seed, &format!("lora/{}", linear.name)), recipe.r * input, bound);
        let a = Tensor::from_vec(a, (recipe.r, input), &device)?;
        let b = Tensor::zeros((out, recipe.r), DType::F32, &device)?;
        linear.lora = Some(pair(&linear.name, &a, &b, recipe, compute)?);
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
        })
    };
    Ok(linear::Lora { a: param("lora_A", a)?, b: param("lora_B", b)?, scale: recipe.scale(), dropout: recipe.dropout })
}
