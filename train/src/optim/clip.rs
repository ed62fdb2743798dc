//! The norm of all gradients together, and what to multiply them by, as `torch.nn.utils.clip_grad_norm_` has it.

use candle_core::{DType, WithDType};
use rayon::prelude::*;

use super::Param;
use crate::{
    error::{Error, Result},
    kernels::cpu::stored::Elements,
};

// Squares are added up in order within a piece, then the pieces in order: the same for any number of threads.
const PIECE: usize = 1 << 14;

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
    for (param, squares) in params.iter().zip(sums(&params)?) {
        if !squares.is_finite() {
            return Ok(Norm::Diverged(param.name.clone()));
        }
        total += squares;
    }
    Ok(Norm::Finite(total.sqrt()))
}

/// The sum of squares of each gradient.
fn sums(params: &[&Param]) -> Result<Vec<f64>> {
    #[cfg(feature = "cuda")]
    if params.iter().any(|param| param.grad.device().is_cuda()) {
        return crate::kernels::cuda::sum_squares(&params.iter().map(|param| &param.grad).collect::<Vec<_>>());
    }
    let sum = |param: &&Param| {
        let grad = Elements::of(&param.grad);
        match param.grad.dtype() {
            DType::F64 => Ok(squares(grad.slice::<f64>()?)),
            DType::F32 => Ok(squares(grad.slice::<f32>()?)),
            other => Err(Error::Other(format!("the gradient of `{}` is {other:?}, not f32", param.name))),
        }
    };
    params.iter().map(sum).collect()
}

fn squares<T: WithDType>(g: &[T]) -> f64 {
    let pieces: Vec<f64> = g
        .par_chunks(PIECE)
        .map(|piece| {
            // Eight sums side by side, so that this is vector code.
            let mut lanes = [0.0_f64; 8];
            for eight in piece.chunks(8) {
                for (lane, g) in lanes.iter_mut().zip(eight) {
                    *lane += g.to_f64() * g.to_f64();
                }
            }
            lanes.iter().sum()
        })
        .collect();
    pieces.iter().sum()
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
