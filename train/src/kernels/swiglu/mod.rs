//! The activation of Llama's MLP, `silu(gate) up` with `silu(x) = x / (1 + e^-x)` (Shazeer 2020).

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

use candle_core::Tensor;

use crate::error::Result;

/// `silu(gate) up` of two tensors of one shape.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    by_device!(gate, swiglu(gate, up))
}

/// Turn `gate` and `up` into the gradients of [`swiglu`] with respect to them, and the gradient of its result, `d`, into that
/// result: with p = 1 / (1 + e^-gate), `dup = d gate p`, `dgate = d up p (1 + gate (1 - p))`.
pub fn swiglu_grad_(gate: &Tensor, up: &Tensor, d: &Tensor) -> Result<()> {
    by_device!(gate, swiglu_grad_(gate, up, d))
}
