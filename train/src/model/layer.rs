//! One decoder layer, forward and backward by hand: attention and MLP, each behind an RMSNorm and beside a residual
//! connection. T tokens, hidden width H.

use candle_core::Tensor;

use super::{
    attention::{Attention, SavedAttention},
    context::{Context, Grad},
    kv_cache::KvCache,
    linear::Linear,
    maybe_trained::MaybeTrained,
    mlp::{Mlp, SavedMlp},
};
use crate::{error::Result, kernels, optim::Param};

/// The weights of one layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// [H], before the attention.
    pub input_norm: MaybeTrained,
    /// The attention.
    pub attention: Attention,
    /// [H], before the MLP.
    pub post_norm: MaybeTrained,
    /// The MLP.
    pub mlp: Mlp,
    /// Added to the mean square in the norms.
    pub eps: f64,
}

/// Saved for the backward pass: the layer's input x and the residual stream between attention and MLP, [T, H] each, and
/// what the two blocks save. Made again: both normed inputs.
pub struct SavedLayer {
    x: Tensor,
    attention: SavedAttention,
    middle: Tensor,
    mlp: SavedMlp,
}

impl Layer {
    /// `x` [T, H] -> [T, H], and what the backward pass needs. With a `cache`, `x` follows the tokens that it has seen.
    pub fn forward(
        &self,
        x: &Tensor,
        context: &Context<'_>,
        cache: Option<&mut KvCache>,
    ) -> Result<(Tensor, SavedLayer)> {
        let normed = kernels::rms_norm(x, &self.input_norm.to_dtype(x.dtype())?, self.eps)?;
        let (middle, attention) = self.attention.forward(normed, context, cache)?;
        kernels::add_(&middle, x, 1.0)?;

        let normed = kernels::rms_norm(&middle, &self.post_norm.to_dtype(x.dtype())?, self.eps)?;
        let (y, mlp) = self.mlp.forward(normed, context.mode)?;
        kernels::add_(&y, &middle, 1.0)?;
        Ok((y, SavedLayer { x: x.clone(), attention, middle, mlp }))
    }

    /// Turn the gradient of the output, `d` [T, H], into that of the input, in place, and add to the gradients of what is
    /// trained. Where the input's gradient is not needed, `d` is left somewhere between.
    pub fn backward(&self, saved: SavedLayer, d: &Tensor, input_grad: Grad, context: &Context<'_>) -> Result<()> {
        let SavedLayer { x, attention, middle, mlp } = saved;
        let post_norm = self.post_norm.to_dtype(d.dtype())?;
        let normed = || kernels::rms_norm(&middle, &post_norm, self.eps);
        let dnormed = self.mlp.backward(mlp, d, normed, context.mode.pass())?;
        // The residual connection passes `d` on as it is; the MLP adds its part.
        kernels::rms_norm_grad_(d, &middle, &post_norm, &dnormed, self.eps)?;
        self.post_norm.add_norm_grad(&middle, &dnormed, self.eps)?;
        drop((middle, dnormed));

        let input_norm = self.input_norm.to_dtype(d.dtype())?;
        let normed = || kernels::rms_norm(&x, &input_norm, self.eps);
        match self.attention.backward(attention, d, normed, input_grad, context)? {
            Some(dnormed) => {
                self.input_norm.add_norm_grad(&x, &dnormed, self.eps)?;
                kernels::rms_norm_grad_(d, &x, &input_norm, &dnormed, self.eps)
            }
            None => Ok(()),
        }
    }

    /// Every linear layer, in the order of [`crate::recipe::LINEARS`].
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.attention.linears().into_iter().chain(self.mlp.linears())
    }

    /// The same, to be changed.
    pub fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.attention.linears_mut().into_iter().chain(self.mlp.linears_mut())
    }

    /// Everything in it that is trained, in a fixed order.
    pub fn params(&self) -> Vec<Param> {
        let norms = [&self.input_norm, &self.post_norm].into_iter().filter_map(MaybeTrained::param);
        norms.chain(self.linears().flat_map(Linear::params)).cloned().collect()
    }
}
