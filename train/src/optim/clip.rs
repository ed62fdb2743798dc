//! The norm of all gradients together, and what to multiply them by, as `torch.nn.utils.clip_grad_norm_` has it.

use candle_core::Tensor;

use super::Param;
use crate::{error::Result, kernels::sum_squares};

/// Of the gradients of one step.
#[derive(Clone, Debug, PartialEq)]
pub enum Norm {
    /// sqrt(sum g^2), summed in f64.
    Finite(f64),
    /// The first parameter with a gradient that is not finite.
    Diverged(String),
}

/// The norm of all gradients as one vector.
///
/// # Errors
/// A gradient that is not f32 (or f64) and contiguous.
pub fn norm<'a>(params: impl IntoIterator<Item = &'a Param>) -> Result<Norm> {
    let params: Vec<&Param> = params.into_iter().collect();
    let mut total = 0.0;
    let grads: Vec<&Tensor> = params.iter().map(|param| &param.grad).collect();
    for (param, squares) in params.iter().zip(sum_squares(&grads)?) {
        if !squares.is_finite() {
            return Ok(Norm::Diverged(param.name.clone()));
        }
        total += squares;
    }
    Ok(Norm::Finite(total.sqrt()))
}

/// `min(1, max / (norm + 1e-6))`; 1 if `max` is 0, which turns clipping off.
pub fn scale(norm: f64, max: f64) -> f64 {
    if max > 0.0 { (max / (norm + 1e-6)).min(1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    fn param(name: &str, grad: Vec<f32>) -> Param {
        let grad = Tensor::new(grad, &Device::Cpu).unwrap();
        Param { name: name.into(), value: grad.clone(), grad, lr_scale: 1.0, decays: true }
    }

    #[test]
    fn the_norm_of_all_and_the_first_that_is_not_finite() {
        let mut params = vec![param("a", vec![3.0; 1 << 16]), param("b", vec![4.0; 1 << 16])];
        // sqrt(2^16 (9 + 16))
        assert_eq!(norm(&params).unwrap(), Norm::Finite(1280.0));
        // Far beyond what a sum in f32 holds.
        assert_eq!(norm(&[param("big", vec![1e30; 4])]).unwrap(), Norm::Finite(f64::from(1e30_f32) * 2.0));
        params.push(param("c", vec![0.0, f32::NAN]));
        params.push(param("d", vec![f32::INFINITY]));
        assert_eq!(norm(&params).unwrap(), Norm::Diverged("c".into()));
    }

    #[test]
    fn only_long_gradients_are_scaled() {
        assert!((scale(4.0, 1.0) - 0.25).abs() < 1e-6);
        assert_eq!((scale(0.5, 1.0), scale(9.0, 0.0)), (1.0, 1.0));
    }
}
