//! The gated feed-forward block, y = W_down (f(W_gate x) * W_up x), forward and backward. T tokens, hidden width H,
//! inner width I.

use std::iter::once;

use candle_core::Tensor;

use super::{
    context::{Mode, Pass},
    linear::Linear,
    projections::Projections,
};
use crate::{
    error::Result,
    kernels::{self, Output},
};

/// f of the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// x / (1 + e^-x)
    #[default]
    Silu,
    /// GELU, approximated by tanh.
    Gelu,
}

impl Activation {
    /// f(gate) up
    fn gated(self, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        match self {
            Self::Silu => kernels::swiglu(gate, up),
            Self::Gelu => kernels::geglu(gate, up),
        }
    }

    /// Turn gate and up into their gradients, and the gradient of the product, `d`, into the product.
    fn gated_grad_(self, gate: &Tensor, up: &Tensor, d: &Tensor) -> Result<()> {
        match self {
            Self::Silu => kernels::swiglu_grad_(gate, up, d),
            Self::Gelu => kernels::geglu_grad_(gate, up, d),
        }
    }
}

/// The feed-forward block of one layer.
#[derive(Clone, Debug)]
pub struct Mlp {
    /// Gate and up: [I, H] each.
    pub gate_up: Projections<2>,
    /// [H, I]
    pub down_proj: Linear,
    /// Of the gate.
    pub activation: Activation,
}

/// Saved for the backward pass: the outputs of gate and up, [T, I] each, and x A^T [T, r] of each adapter. Made again: the
/// normed input, and the product f(gate) up.
pub struct SavedMlp {
    gate: Tensor,
    up: Tensor,
    xa: (Vec<Option<Tensor>>, Option<Tensor>),
}

impl Mlp {
    /// `normed` [T, H] -> [T, H], each row times its weight if there are `weights` [T]. These are put on the product, on which
    /// what follows is linear: their gradient is had without the output.
    pub fn forward(&self, normed: Tensor, weights: Option<&[f64]>, mode: Mode) -> Result<(Tensor, SavedMlp)> {
        let ([gate, up], xa) = self.gate_up.forward(&normed, mode)?;
        drop(normed);
        let product = self.activation.gated(&gate, &up)?;
        if let Some(weights) = weights {
            kernels::scale_rows_(&product, weights)?;
        }
        let (y, da) = self.down_proj.forward(&product, mode)?;
        Ok((y, SavedMlp { gate, up, xa: (xa, da) }))
    }

    /// Given the gradient `d` [T, H] of the output, add to the gradients of what is trained; gives the gradient of the
    /// normed input, [T, H]. `normed` makes that input again. With the forward pass's weights comes where their gradient is put.
    pub fn backward(
        &self,
        saved: SavedMlp,
        d: &Tensor,
        normed: impl FnOnce() -> Result<Tensor>,
        weighed: Option<(&[f64], &mut Vec<f64>)>,
        pass: Option<Pass>,
    ) -> Result<Tensor> {
        let SavedMlp { gate, up, xa: (xa, da) } = saved;
        let like = |x: &Tensor| kernels::empty(x.shape(), x.dtype(), x.device());
        let dproduct = like(&gate)?;
        // The product is made again in the pass that has its gradient, in its place.
        let mut turn = Some(|| {
            let Some((weights, grad)) = weighed else { return self.activation.gated_grad_(&gate, &up, &dproduct) };
            let dweighed = dproduct.copy()?;
            kernels::scale_rows_(&dproduct, weights)?;
            self.activation.gated_grad_(&gate, &up, &dproduct)?;
            *grad = kernels::row_dots(&dweighed, &dproduct)?;
            kernels::scale_rows_(&dproduct, weights)
        });
        let product = || {
            turn.take().map_or(Ok(()), |turn| turn())?;
            Ok(dproduct.clone())
        };
        self.down_proj.backward(product, da.as_ref(), d, Some((&dproduct, Output::Overwrite)), pass)?;
        if let Some(turn) = turn {
            turn()?;
        }
        drop(dproduct);
        let (dgate, dup) = (gate, up);
        let normed = normed()?;
        let dnormed = like(&normed)?;
        self.gate_up.backward(&normed, &xa, [dgate, dup], Some(&dnormed), pass)?;
        Ok(dnormed)
    }

    /// Gate and up, or what is both of them, and down.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.gate_up.linears().iter().chain(once(&self.down_proj))
    }

    /// The same, to be changed.
    pub fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.gate_up.linears_mut().iter_mut().chain(once(&mut self.down_proj))
    }
}
