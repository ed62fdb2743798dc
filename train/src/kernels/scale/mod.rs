//! Elements times a number, and through a soft cap.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

use candle_core::Tensor;

use crate::error::Result;

/// `s x`, in the shape and type of `x`. On a GPU a product is in f32 and rounded once.
///
/// # Errors
/// Out of memory; on a GPU another type than f32 and bf16, or a view that is not contiguous.
pub fn scale(x: &Tensor, s: f64) -> Result<Tensor> {
    by_device!(x, scale(x, s))
}

/// c tanh(x / c) of each element, with `cap` for c, in the shape and type of `x`.
///
/// # Errors
/// As for [`scale`].
pub fn soft_cap(x: &Tensor, cap: f64) -> Result<Tensor> {
    by_device!(x, soft_cap(x, cap))
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "exact on purpose")]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn elements_are_multiplied_and_capped() {
        let x = Tensor::new(&[[-4_f32, 0.0, 1.0], [2.0, 1e30, -1e30]], &Device::Cpu).unwrap();
        let rows = |t: &Tensor| t.to_vec2::<f32>().unwrap();
        assert_eq!(rows(&scale(&x, 0.5).unwrap()), [[-2.0, 0.0, 0.5], [1.0, 5e29, -5e29]]);
        let capped = rows(&soft_cap(&x, 2.0).unwrap());
        // 2 tanh(-2), 2 tanh(1/2) and 2 tanh(1), to ten digits.
        let want = [[-1.928_055_160_f64, 0.0, 0.924_234_315_0], [1.523_188_312, 2.0, -2.0]];
        for (got, want) in capped.iter().flatten().zip(want.iter().flatten()) {
            assert!((f64::from(*got) - want).abs() < 3e-7, "{got} {want}");
        }
        // The argument is as it was.
        assert_eq!(rows(&x)[0], [-4.0, 0.0, 1.0]);
    }
}
