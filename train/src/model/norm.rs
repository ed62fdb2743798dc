//! RMSNorm with its weight, frozen or trained.

use candle_core::Tensor;

use super::maybe_trained::MaybeTrained;
use crate::{error::Result, kernels, optim::Param};

/// An RMSNorm over every C elements.
#[derive(Clone, Debug)]
pub struct Norm {
    /// Hugging Face name without `.weight`, e.g. `model.layers.0.input_layernorm`.
    pub name: String,
    /// [C]
    pub weight: MaybeTrained,
    /// Added to the mean square.
    pub eps: f64,
    /// Added to the weight: 1 where it is stored as its difference from 1.
    pub offset: f64,
}

impl Norm {
    /// `x` [.., C] to the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::rms_norm(x, &self.weight.to_dtype(x.dtype())?, self.eps, self.offset)
    }

    /// Given input `x` and the gradient `dy` of the output, add to `dx` that of the input, and to the weight's own if it is
    /// trained.
    pub fn backward(&self, dx: &Tensor, x: &Tensor, dy: &Tensor) -> Result<()> {
        self.add_weight_grad(x, dy)?;
        kernels::rms_norm_grad_(dx, x, &self.weight.to_dtype(x.dtype())?, dy, self.eps, self.offset)
    }

    /// That of the weight is the sum of x dy / rms(x) over all rows.
    fn add_weight_grad(&self, x: &Tensor, dy: &Tensor) -> Result<()> {
        let Some(param) = self.param() else { return Ok(()) };
        let width = param.value.elem_count();
        let rows = |t: &Tensor| t.reshape(((), width));
        let products = kernels::rms_norm_products(&rows(x)?, &rows(dy)?, param.grad.dtype(), self.eps)?;
        self.weight.add_row_sum_grad(&products)
    }

    /// The weight, if it is trained.
    pub fn param(&self) -> Option<&Param> {
        self.weight.param()
    }
}
