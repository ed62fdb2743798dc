//! GEGLU on the CPU.

use candle_core::Tensor;

use crate::{
    error::Result,
    kernels::{
        float::Float,
        gated::{self, Gated},
    },
};

/// 2 sqrt(2 / pi)
const TWICE: f64 = 1.595_769_121_605_730_8;
const CUBIC: f64 = 0.044_715;

pub struct Geglu;

/// p, and the derivative of gelu.
#[inline(always)]
fn gelu<T: Float>(x: T) -> (T, T) {
    let (twice, cubic, three) = (T::from_f64(TWICE), T::from_f64(CUBIC), T::from_f64(3.0));
    let square = x * x;
    let p = T::ONE / (T::ONE + (-(twice * x * (T::ONE + cubic * square))).exp());
    (p, p + x * p * (T::ONE - p) * twice * (T::ONE + three * cubic * square))
}

impl Gated for Geglu {
    const NAME: &'static str = "geglu";

    #[inline(always)]
    fn product<T: Float>(gate: T, up: T) -> T {
        gate * gelu(gate).0 * up
    }

    #[inline(always)]
    fn grads<T: Float>(gate: T, up: T, d: T) -> [T; 3] {
        let (p, slope) = gelu(gate);
        [d * up * slope, d * gate * p, gate * p * up]
    }
}

pub fn geglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gated::forward::<Geglu>(gate, up)
}

pub fn geglu_grad_(gate: &Tensor, up: &Tensor, d: &Tensor) -> Result<()> {
    gated::backward_::<Geglu>(gate, up, d)
}
