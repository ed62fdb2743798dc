//! DoRA (Liu et al. 2024, arXiv 2402.09353): the rows of W + s B A are brought to lengths m [out] that are trained, y = g (x (W + s B A)^T) + b
//! with g = m / n, n the lengths that the rows have. As PEFT does and the paper says in 4.3, n is a constant to the gradient. Backward,
//! with z the product before g: dm = (sum over rows of dy z) / n, and all else as LoRA's with g dy in the place of dy.

use candle_core::{DType, Tensor};

use super::LoraLayer;
use crate::{error::Result, kernels, optim::Param};

/// What DoRA adds to the adapter of one layer.
#[derive(Clone, Debug)]
pub struct Dora {
    /// m, [out]
    pub magnitude: Param,
    /// The squared lengths of the rows of W, [out].
    squares: Tensor,
}

/// g and n of a layer, [out] each.
pub struct Lengths {
    /// m / n
    pub gain: Tensor,
    /// Lengths of the rows of W + s B A.
    pub norm: Tensor,
}

impl Dora {
    /// Of the layer called `name` with the frozen weight `w` [out, in], as it is computed with, and its adapter. Without a
    /// `magnitude` it begins with the lengths that the rows have.
    pub fn new(name: &str, w: &Tensor, lora: &LoraLayer, magnitude: Option<&Tensor>) -> Result<Self> {
        let dtype = if w.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let squares = squares(w)?.to_dtype(dtype)?;
        let own = norm(&squares, w, lora)?;
        let value = match magnitude {
            None => own,
            Some(given) => given.to_dtype(dtype)?.to_device(w.device())?,
        };
        let (value, grad) = (value.force_contiguous()?, squares.zeros_like()?);
        let magnitude =
            Param { name: format!("{name}.lora_magnitude_vector"), value, grad, lr_scale: 1.0, decays: true };
        Ok(Self { magnitude, squares })
    }

    /// The same with lengths of its own; see [`LoraLayer::copy`].
    pub fn copy(&self) -> Result<Self> {
        let magnitude = Param { value: self.magnitude.value.copy()?, ..self.magnitude.clone() };
        Ok(Self { magnitude, squares: self.squares.clone() })
    }

    /// g and n, in the type of `w`.
    pub fn lengths(&self, w: &Tensor, lora: &LoraLayer) -> Result<Lengths> {
        let norm = norm(&self.squares, w, lora)?;
        let gain = (&self.magnitude.value / &norm)?.to_dtype(w.dtype())?;
        Ok(Lengths { gain, norm })
    }

    /// Add to the gradient of m, given that of the output, `dy` [T, out], and the product before g, `z` [T, out].
    pub fn backward(&self, dy: &Tensor, z: &Tensor, norm: &Tensor) -> Result<()> {
        let product = (dy * z)?;
        let ones = kernels::ones(dy.dim(0)?, dy.dtype(), dy.device())?;
        let sum = self.magnitude.grad.zeros_like()?;
        kernels::gemm_(&sum.unsqueeze(0)?, &ones, &product, 1.0, 0.0)?;
        kernels::add_(&self.magnitude.grad, &(sum / norm)?, 1.0)
    }
}

/// The squared lengths of the rows of `w` [out, in], added up in f64, a few rows at a time.
fn squares(w: &Tensor) -> Result<Tensor> {
    let rows = w.dim(0)?;
    let part = |start: usize| -> Result<Tensor> {
        let part = w.narrow(0, start, 256.min(rows - start))?.to_dtype(DType::F64)?;
        Ok(part.sqr()?.sum(1)?)
    };
    let parts = (0..rows).step_by(256).map(part).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&parts, 0)?)
}

/// The lengths of the rows of W + s B A, [out]: of each, |w|^2 + 2 s b (w A^T)^T + s^2 b A A^T b^T, so that no matrix of its size is
/// made.
fn norm(squares: &Tensor, w: &Tensor, lora: &LoraLayer) -> Result<Tensor> {
    let (dtype, a, b) = (squares.dtype(), &lora.a.value, &lora.b.value);
    let wide = |t: &Tensor| kernels::cast(t, dtype);
    let (own, b) = (wide(&kernels::linear(w, &kernels::cast(a, w.dtype())?)?)?, wide(b)?);
    let a = wide(a)?;
    let gram = kernels::linear(&a, &a)?;
    let crossed = (own * &b)?.sum(1)?;
    let added = (kernels::linear(&b, &gram)? * &b)?.sum(1)?;
    let sum = (((crossed * (2.0 * lora.scale))? + squares)? + (added * (lora.scale * lora.scale))?)?;
    Ok(sum.sqrt()?)
}
