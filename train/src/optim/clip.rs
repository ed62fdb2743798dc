//! The norm of all gradients together, and what to multiply them by, as `torch.nn.utils.clip_grad_norm_` has it.

use candle_core::{DType, Tensor};

use super::Param;
use crate::{
    error::{Error, Result},
    kernels::sum_squares,
};

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
    for Param { name, grad, .. } in &params {
        if !matches!(grad.dtype(), DType::F32 | DType::F64) || !grad.is_contiguous() {
            let form = if grad.is_contiguous() { grad.dtype().as_str() } else { "a view" };
            return Err(Error::Other(format!(
                "the gradient of `{name}` is {form}, where f32 in one piece is expected"
            )));
        }
    }
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
    use candle_core::Device;

    use super::*;

    fn param(name: &str, grad: Vec<f32>) -> Param {
        let grad = Tensor::new(grad, &Device::Cpu).unwrap();
        Param { name: name.into(), value: grad.clone(), grad, lr_scale: 1.0, decays: true }
    }

    #[test]
    fn a_gradient_that_cannot_be_added_up_names_its_parameter() {
        let grad = Tensor::new(&[[1_f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        for (form, wrong) in [("bf16", grad.to_dtype(DType::BF16).unwrap()), ("a view", grad.t().unwrap())] {
            let params = [param("a", vec![1.0]), Param { grad: wrong, ..param("b", vec![1.0; 4]) }];
            let said = format!("the gradient of `b` is {form}, where f32 in one piece is expected");
            assert_eq!(norm(&params).unwrap_err().to_string(), said);
        }
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
