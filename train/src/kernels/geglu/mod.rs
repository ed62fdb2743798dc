//! The activation of Gemma's MLP, `gelu(gate) up`, with the approximation by tanh (Hendrycks and Gimpel 2016): as
//! (1 + tanh(u)) / 2 is the logistic function of 2u, `gelu(x) = x p` with `p = 1 / (1 + e^-2u)` and
//! `u = sqrt(2 / pi) (x + 0.044715 x^3)`.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

use candle_core::Tensor;

use crate::error::Result;

/// `gelu(gate) up` of two tensors of one shape.
pub fn geglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    by_device!(gate, geglu(gate, up))
}

/// Turn `gate` and `up` into the gradients of [`geglu`] with respect to them, and the gradient of its result, `d`, into that
/// result: `dup = d gate p`, `dgate = d up (p + gate p (1 - p) 2u')` with `u' = sqrt(2 / pi) (1 + 3 0.044715 gate^2)`.
pub fn geglu_grad_(gate: &Tensor, up: &Tensor, d: &Tensor) -> Result<()> {
    by_device!(gate, geglu_grad_(gate, up, d))
}
