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

/// Gradients of [`swiglu`] with respect to `gate` and `up`, given that of its result: with p = 1 / (1 + e^-gate),
/// `dup = dout gate p`, `dgate = dout up p (1 + gate (1 - p))`.
pub fn swiglu_grad(gate: &Tensor, up: &Tensor, dout: &Tensor) -> Result<(Tensor, Tensor)> {
    by_device!(gate, swiglu_grad(gate, up, dout))
}
