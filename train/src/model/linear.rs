//! A linear layer, frozen with a low-rank adapter or trained whole: y = x W^T + b + s (drop(x) A^T) B^T (Hu et al. 2021).
//! Backward, for A [r, in] and B [out, r]: dB += s dy^T (drop(x) A^T), u = s dy B, dA += u^T drop(x),
//! dx += dy W + drop'(u A). W and b get their gradients dy^T x and the sum of dy only where they are trained.

use candle_core::Tensor;

use super::{
    maybe_trained::Values,
    mode::{Pass, View},
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
    pub bias: Option<Values>,
    /// The adapter, if this layer has one.
    pub lora: Option<Lora>,
}

/// The adapter of one layer.
#[derive(Clone, Debug)]
pub struct Lora {
    /// [r, in]
    pub a: Param,
    /// [out, r]
    pub b: Param,
    /// alpha / r, or alpha / sqrt(r).
    pub scale: f64,
    /// Share of inputs set to zero in training.
    pub dropout: f64,
    /// A and B that training began with, where the model before training is not the one without them.
    pub start: Option<(Tensor, Tensor)>,
}

impl Lora {
    /// A and B as the view has them.
    fn values(&self, view: View) -> Option<(&Tensor, &Tensor)> {
        match view {
            View::Reference => self.start.as_ref().map(|(a, b)| (a, b)),
            View::Trained | View::Training(_) => Some((&self.a.value, &self.b.value)),
        }
    }

    /// The input as the adapter sees it: with its mask in training, as it is otherwise.
    fn masked(&self, name: &str, x: &Tensor, pass: Option<Pass>) -> Result<Tensor> {
        match self.key(name, pass) {
            None => Ok(x.clone()),
            Some(key) => {
                let masked = kernels::room(x.shape(), x.dtype(), x.device())?;
                kernels::dropout(&masked, x, key, self.dropout, false)?;
                Ok(masked)
            }
        }
    }

    fn key(&self, name: &str, pass: Option<Pass>) -> Option<u64> {
        pass.filter(|_| self.dropout > 0.0).map(|p| p.key(&format!("dropout/{name}")))
    }
}

impl Linear {
    /// What is trained of it: weight and bias, or A and B.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        let whole = self.weight.param().into_iter().chain(self.bias.as_ref().and_then(Values::param));
        whole.chain(self.lora.iter().flat_map(|lora| [&lora.a, &lora.b]))
    }

    /// `x` [T, in] -> y [T, out], and drop(x) A^T [T, r] for the backward pass. Dropout is of training alone.
    ///
    /// # Errors
    /// Shapes or types that do not fit; out of memory.
    pub fn forward(&self, x: &Tensor, view: View) -> Result<(Tensor, Option<Tensor>)> {
        let y = kernels::linear(x, &self.weight.dense(x.dtype())?)?;
        if let Some(bias) = &self.bias {
            kernels::add_bias(&y, &bias.to_dtype(x.dtype())?)?;
        }
        let Some(lora) = &self.lora else { return Ok((y, None)) };
        let Some((a, b)) = lora.values(view) else { return Ok((y, None)) };
        let xa = kernels::linear(&lora.masked(&self.name, x, view.pass())?, &a.to_dtype(x.dtype())?)?;
        kernels::gemm(&y, &xa, &b.to_dtype(x.dtype())?.t()?, lora.scale, 1.0)?;
        Ok((y, Some(xa)))
    }

    /// Given `dy` [T, out], add to the gradients of what is trained and, unless nobody asks for it, to `dx` [T, in].
    ///
    /// # Errors
    /// Shapes or types that do not fit; out of memory.
    pub fn backward(
        &self,
        x: &Tensor,
        xa: Option<&Tensor>,
        dy: &Tensor,
        dx: Option<&Tensor>,
        pass: Option<Pass>,
    ) -> Result<()> {
        if let Some(dx) = dx {
            kernels::gemm(dx, dy, &self.weight.dense(dy.dtype())?, 1.0, 1.0)?;
        }
        if let Some(param) = self.weight.param() {
            kernels::gemm(&param.grad, &dy.t()?, x, 1.0, 1.0)?;
        }
        if let Some(bias) = &self.bias {
            bias.add_rows(dy)?;
        }
        let (Some(lora), Some(xa)) = (&self.lora, xa) else { return Ok(()) };
        let u = kernels::room(xa.shape(), xa.dtype(), xa.device())?;
        kernels::gemm(&u, dy, &lora.b.value.to_dtype(dy.dtype())?, lora.scale, 0.0)?;
        kernels::gemm(&lora.b.grad, &dy.t()?, xa, lora.scale, 1.0)?;
        kernels::gemm(&lora.a.grad, &u.t()?, &lora.masked(&self.name, x, pass)?, 1.0, 1.0)?;
        let Some(dx) = dx else { return Ok(()) };
        let a = lora.a.value.to_dtype(dy.dtype())?;
        match lora.key(&self.name, pass) {
            None => kernels::gemm(dx, &u, &a, 1.0, 1.0),
            Some(key) => {
                let through = kernels::room(dx.shape(), dx.dtype(), dx.device())?;
                kernels::gemm(&through, &u, &a, 1.0, 0.0)?;
                kernels::dropout(dx, &through, key, lora.dropout, true)
            }
        }
    }
}
