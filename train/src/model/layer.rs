//! One decoder layer, forward and backward by hand: attention and feed-forward part, each behind a norm, before one or
//! between two, and beside a residual connection. T tokens, hidden width H.

use candle_core::Tensor;

use super::{
    attention::{Attention, SavedAttention},
    context::{Context, Grad},
    feed_forward::{FeedForward, SavedFeedForward},
    kv_cache::KvCache,
    linear::Linear,
    norm::Norm,
};
use crate::{error::Result, kernels, optim::Param};

/// The weights of one layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Around the attention.
    pub attention_branch: Branch,
    /// The attention.
    pub attention: Attention,
    /// Around the feed-forward part.
    pub mlp_branch: Branch,
    /// The MLP, or the experts in its place.
    pub feed_forward: FeedForward,
}

/// How a part of a layer hangs on the residual stream x: x + s after(part(before(x))), where a norm that is not there changes
/// nothing.
#[derive(Clone, Debug)]
pub struct Branch {
    /// [H]
    pub before: Option<Norm>,
    /// [H]
    pub after: Option<Norm>,
    /// s
    pub scale: f64,
}

/// Saved for the backward pass: the layer's input x and the residual stream between attention and MLP, [T, H] each, the outputs
/// [T, H] of attention and MLP that a norm comes after, and what the two parts save. Made again: both normed inputs.
pub struct SavedLayer {
    x: Tensor,
    attention: SavedAttention,
    attended: Option<Tensor>,
    middle: Tensor,
    feed_forward: SavedFeedForward,
    fed: Option<Tensor>,
}

/// `x` times `by`, in the type that it is in.
pub(super) fn scaled(x: Tensor, by: f64) -> Result<Tensor> {
    #[allow(clippy::float_cmp, reason = "1 is exact, and nothing to be done")]
    if by == 1.0 { Ok(x) } else { kernels::scale(&x, by) }
}

impl Branch {
    /// What the part is given, of the residual stream `x` [T, H].
    fn enter(&self, x: &Tensor) -> Result<Tensor> {
        self.before.as_ref().map_or_else(|| Ok(x.clone()), |norm| norm.forward(x))
    }

    /// The residual stream behind, given the part's output `y` [T, H]; and `y`, where the backward pass needs it.
    fn join(&self, x: &Tensor, y: Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let (sum, kept) = match &self.after {
            None => (y, None),
            Some(norm) => (norm.forward(&y)?, Some(y)),
        };
        let sum = scaled(sum, self.scale)?;
        kernels::add_(&sum, x, 1.0)?;
        Ok((sum, kept))
    }

    /// The gradient of the part's output, given that of the residual stream behind.
    fn part(&self, d: &Tensor, kept: Option<Tensor>) -> Result<Tensor> {
        let d = scaled(d.clone(), self.scale)?;
        let (Some(norm), Some(y)) = (&self.after, kept) else { return Ok(d) };
        let dy = y.zeros_like()?;
        norm.backward(&dy, &y, &d)?;
        Ok(dy)
    }

    /// Add to the gradient `d` of the residual stream behind, which is also that before, what came through the part.
    fn leave(&self, d: &Tensor, x: &Tensor, dentered: &Tensor) -> Result<()> {
        match &self.before {
            None => kernels::add_(d, dentered, 1.0),
            Some(norm) => norm.backward(d, x, dentered),
        }
    }

    fn norms(&self) -> impl Iterator<Item = &Norm> {
        self.before.iter().chain(&self.after)
    }

    fn norms_mut(&mut self) -> impl Iterator<Item = &mut Norm> {
        self.before.iter_mut().chain(&mut self.after)
    }
}

impl Layer {
    /// `x` [T, H] -> [T, H], and what the backward pass needs. With a `cache`, `x` follows tokens whose keys and
    /// values it has.
    pub fn forward(&self, x: &Tensor, context: &Context<'_>, cache: Option<&KvCache>) -> Result<(Tensor, SavedLayer)> {
        let (y, attention) = self.attention.forward(self.attention_branch.enter(x)?, context, cache)?;
        let (middle, attended) = self.attention_branch.join(x, y)?;
        let (y, feed_forward) = self.feed_forward.forward(self.mlp_branch.enter(&middle)?, context.mode)?;
        let (y, fed) = self.mlp_branch.join(&middle, y)?;
        Ok((y, SavedLayer { x: x.clone(), attention, attended, middle, feed_forward, fed }))
    }

    /// Turn the gradient of the output, `d` [T, H], into that of the input, in place, and add to the gradients of what is
    /// trained. Where the input's gradient is not needed, `d` is left somewhere between.
    pub fn backward(&self, saved: SavedLayer, d: &Tensor, input_grad: Grad, context: &Context<'_>) -> Result<()> {
        let SavedLayer { x, attention, attended, middle, feed_forward, fed } = saved;
        let dy = self.mlp_branch.part(d, fed)?;
        let enter = || self.mlp_branch.enter(&middle);
        let dentered = self.feed_forward.backward(feed_forward, &dy, enter, context.mode.pass())?;
        self.mlp_branch.leave(d, &middle, &dentered)?;
        drop((middle, dy, dentered));

        let dy = self.attention_branch.part(d, attended)?;
        let enter = || self.attention_branch.enter(&x);
        match self.attention.backward(attention, &dy, enter, input_grad, context)? {
            Some(dentered) => self.attention_branch.leave(d, &x, &dentered),
            None => Ok(()),
        }
    }

    /// Every linear layer that can have an adapter: those of the attention, then those of the MLP, or of one expert after the other.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.attention.linears().chain(self.feed_forward.linears())
    }

    /// The same, to be changed.
    pub fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.attention.linears_mut().chain(self.feed_forward.linears_mut())
    }

    /// Every norm, to be changed.
    pub fn norms_mut(&mut self) -> impl Iterator<Item = &mut Norm> {
        let of_heads = self.attention.q_norm.iter_mut().chain(&mut self.attention.k_norm);
        self.attention_branch.norms_mut().chain(self.mlp_branch.norms_mut()).chain(of_heads)
    }

    /// Everything in it that is trained, in a fixed order.
    pub fn params(&self) -> Vec<Param> {
        let of_heads = self.attention.q_norm.iter().chain(&self.attention.k_norm);
        let norms = self.attention_branch.norms().chain(self.mlp_branch.norms()).chain(of_heads);
        let router = self.feed_forward.router.iter().filter_map(|router| router.weight.param());
        norms.filter_map(Norm::param).chain(router).chain(self.linears().flat_map(Linear::params)).cloned().collect()
    }
}
