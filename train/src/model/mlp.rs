//! The SwiGLU feed-forward block, y = W_down (silu(W_gate x) * W_up x), forward and backward. T tokens, hidden width H,
//! inner width I.

use candle_core::Tensor;

use super::{
    context::{Mode, Pass},
    linear::Linear,
};
use crate::{
    error::Result,
    kernels::{self, Output},
};

/// The feed-forward block of one layer.
#[derive(Clone, Debug)]
pub struct Mlp {
    /// [I, H]
    pub gate_proj: Linear,
    /// [I, H]
    pub up_proj: Linear,
    /// [H, I]
    pub down_proj: Linear,
}

/// Saved for the backward pass: the outputs of gate and up, [T, I] each, and x A^T [T, r] of each adapter. Made again: the
/// normed input, and the product silu(gate) up.
pub struct SavedMlp {
    gate: Tensor,
    up: Tensor,
    xa: [Option<Tensor>; 3],
}

impl Mlp {
    /// `normed` [T, H] -> [T, H].
    pub fn forward(&self, normed: Tensor, mode: Mode) -> Result<(Tensor, SavedMlp)> {
        let (gate, ga) = self.gate_proj.forward(&normed, mode)?;
        let (up, ua) = self.up_proj.forward(&normed, mode)?;
        drop(normed);
        let (y, da) = self.down_proj.forward(&kernels::swiglu(&gate, &up)?, mode)?;
        Ok((y, SavedMlp { gate, up, xa: [ga, ua, da] }))
    }

    /// Given the gradient `d` [T, H] of the output, add to the gradients of what is trained; gives the gradient of the
    /// normed input, [T, H]. `normed` makes that input again.
    pub fn backward(
        &self,
        saved: SavedMlp,
        d: &Tensor,
        normed: impl FnOnce() -> Result<Tensor>,
        pass: Option<Pass>,
    ) -> Result<Tensor> {
        let SavedMlp { gate, up, xa: [ga, ua, da] } = saved;
        let like = |x: &Tensor| kernels::empty(x.shape(), x.dtype(), x.device());
        let dproduct = like(&gate)?;
        // The product is made again in the pass that has its gradient, in its place.
        let mut turned = false;
        let mut turn = || {
            turned = true;
            kernels::swiglu_grad_(&gate, &up, &dproduct)
        };
        let product = || turn().map(|()| dproduct.clone());
        self.down_proj.backward(product, da.as_ref(), d, Some((&dproduct, Output::Overwrite)), pass)?;
        if !turned {
            kernels::swiglu_grad_(&gate, &up, &dproduct)?;
        }
        drop(dproduct);
        let (dgate, dup) = (gate, up);
        let normed = normed()?;
        let dnormed = like(&normed)?;
        let x = || Ok(normed.clone());
        self.gate_proj.backward(x, ga.as_ref(), &dgate, Some((&dnormed, Output::Overwrite)), pass)?;
        self.up_proj.backward(x, ua.as_ref(), &dup, Some((&dnormed, Output::Accumulate)), pass)?;
        Ok(dnormed)
    }

    /// gate, up and down, as in [`crate::recipe::LINEARS`].
    pub fn linears(&self) -> [&Linear; 3] {
        [&self.gate_proj, &self.up_proj, &self.down_proj]
    }

    /// The same, to be changed.
    pub fn linears_mut(&mut self) -> [&mut Linear; 3] {
        [&mut self.gate_proj, &mut self.up_proj, &mut self.down_proj]
    }
}
