//! A linear layer, frozen with a low-rank adapter or trained whole: y = x W^T + b, plus what the adapter adds ([`super::lora`]).
//! Backward: dx += dy W; W and b get their gradients dy^T x and the sum of dy only where they are trained.

use candle_core::Tensor;

use super::{
    context::{Mode, Pass},
    lora::LoraLayer,
    maybe_trained::MaybeTrained,
    weight::Weight,
};
use crate::{error::Result, kernels, optim::Param};

/// A linear layer.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Hugging Face name without `.weight`, e.g. `model.layers.0.self_attn.q_proj`.
    pub name: String,
    /// [out, in]
    pub weight: Weight,
    /// [out]
    pub bias: Option<MaybeTrained>,
    /// The adapter, if this layer has one.
    pub lora: Option<LoraLayer>,
}

impl Linear {
    /// What is trained of it: weight and bias, or A and B.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        let whole = self.weight.param().into_iter().chain(self.bias.as_ref().and_then(MaybeTrained::param));
        whole.chain(self.lora.iter().flat_map(|lora| [&lora.a, &lora.b]))
    }

    /// `x` [T, in] -> y [T, out], and what an adapter saves for the backward pass, [T, r]. The input itself is the
    /// caller's to save or to make again.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<(Tensor, Option<Tensor>)> {
        let y = kernels::linear(x, &self.weight.dense(x.dtype())?)?;
        if let Some(bias) = &self.bias {
            kernels::add_bias_(&y, &bias.to_dtype(x.dtype())?)?;
        }
        let xa = self.lora.as_ref().map(|lora| lora.forward_(&y, x, &self.name, mode)).transpose()?.flatten();
        Ok((y, xa))
    }

    /// Given `dy` [T, out], add to the gradients of what is trained and, if it is given, to `dx` [T, in]. `x` is the
    /// forward pass's input, `xa` what it saved.
    pub fn backward(
        &self,
        x: &Tensor,
        xa: Option<&Tensor>,
        dy: &Tensor,
        dx: Option<&Tensor>,
        pass: Option<Pass>,
    ) -> Result<()> {
        if let Some(dx) = dx {
            kernels::gemm_(dx, dy, &self.weight.dense(dy.dtype())?, 1.0, 1.0)?;
        }
        if let Some(param) = self.weight.param() {
            kernels::gemm_(&param.grad, &dy.t()?, x, 1.0, 1.0)?;
        }
        if let Some(bias) = &self.bias {
            bias.add_row_sum_grad(dy)?;
        }
        match (&self.lora, xa) {
            (Some(lora), Some(xa)) => lora.backward(x, xa, dy, dx, &self.name, pass),
            _ => Ok(()),
        }
    }
}
