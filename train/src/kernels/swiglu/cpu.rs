//! SwiGLU on the CPU.

use candle_core::Tensor;

use crate::{
    error::Result,
    kernels::{
        float::Float,
        gated::{self, Gated},
    },
};

pub struct Swiglu;

impl Gated for Swiglu {
    const NAME: &'static str = "swiglu";

    #[inline(always)]
    fn product<T: Float>(gate: T, up: T) -> T {
        gate / (T::ONE + (-gate).exp()) * up
    }

    #[inline(always)]
    fn grads<T: Float>(gate: T, up: T, d: T) -> [T; 3] {
        let e = (-gate).exp();
        let p = T::ONE / (T::ONE + e);
        [d * up * p * (T::ONE + gate * (T::ONE - p)), d * gate * p, gate / (T::ONE + e) * up]
    }
}

pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gated::forward::<Swiglu>(gate, up)
}

pub fn swiglu_grad_(gate: &Tensor, up: &Tensor, d: &Tensor) -> Result<()> {
    gated::backward_::<Swiglu>(gate, up, d)
}
