//! Grouped-query attention with rotary positions, forward and backward. T tokens, S keys, hidden width H, Hq query and
//! Hkv key heads of width D.

use std::iter::once;

use candle_core::Tensor;

use super::{
    context::{Context, Grad},
    kv_cache::KvCache,
    linear::Linear,
    norm::Norm,
    projections::Projections,
};
use crate::{
    error::Result,
    kernels::{self, AttentionForward, Direction, Heads, Output},
};

/// The attention of one layer.
#[derive(Clone, Debug)]
pub struct Attention {
    /// q, k and v: [Hq D, H], [Hkv D, H] and [Hkv D, H].
    pub qkv: Projections<3>,
    /// [D] for every head by itself, or [Hq D] for all of them together, before they are turned.
    pub q_norm: Option<Norm>,
    /// [D] or [Hkv D] likewise.
    pub k_norm: Option<Norm>,
    /// [H, Hq D]
    pub o_proj: Linear,
    /// Hq, Hkv and D, and what is done to scores.
    pub heads: Heads,
    /// Which of the context's angles heads are turned by; none if this layer knows of no positions.
    pub turned: Option<usize>,
}

/// Saved for the backward pass: q [T, Hq D] and k [S, Hkv D] after RoPE, v [S, Hkv D], the heads' output [T, Hq D] and
/// its log-sum-exp [T, Hq]; q [T, Hq D] and k [T, Hkv D] before their norms, if there are any; and x A^T [T, r] of each adapter.
/// Made again: the normed input, and the attention weights, tile by tile, from q, k and the log-sum-exp.
pub struct SavedAttention {
    attended: AttentionForward,
    unnormed: [Option<Tensor>; 2],
    xa: (Vec<Option<Tensor>>, Option<Tensor>),
}

/// Through a norm, if there is one, and what has to be kept for that.
fn through(norm: Option<&Norm>, x: Tensor) -> Result<(Tensor, Option<Tensor>)> {
    Ok(match norm {
        None => (x, None),
        Some(norm) => (norm.forward(&x)?, Some(x)),
    })
}

/// The gradient of what went through.
fn back_through(norm: Option<&Norm>, kept: Option<Tensor>, d: Tensor) -> Result<Tensor> {
    let (Some(norm), Some(x)) = (norm, kept) else { return Ok(d) };
    let dx = x.zeros_like()?;
    norm.backward(&dx, &x, &d)?;
    Ok(dx)
}

impl Attention {
    /// `normed` [T, H] -> [T, H]. With a `cache`, keys and values of the tokens before come from it and the new ones are
    /// put there.
    pub fn forward(
        &self,
        normed: Tensor,
        context: &Context<'_>,
        cache: Option<&KvCache>,
    ) -> Result<(Tensor, SavedAttention)> {
        let (heads, mode) = (self.heads, context.mode);
        let ([q, k, v], xa) = self.qkv.forward(&normed, mode)?;
        drop(normed);
        let ((q, q_kept), (k, k_kept)) = (through(self.q_norm.as_ref(), q)?, through(self.k_norm.as_ref(), k)?);
        self.turn(&q, &k, context, Direction::Forward)?;
        let (k, v) = match (cache.zip(context.cached.as_ref()), &context.keys) {
            (Some((cache, places)), _) => cache.put(&k, &v, places)?,
            (None, Some(keys)) => {
                (kernels::gather_rows(&k, keys, k.dtype())?, kernels::gather_rows(&v, keys, v.dtype())?)
            }
            (None, None) => (k, v),
        };
        let (out, lse) = kernels::attention(&q, &k, &v, context.spans, heads)?;
        let (y, oa) = self.o_proj.forward(&out, mode)?;
        let attended = AttentionForward { q, k, v, out, lse };
        Ok((y, SavedAttention { attended, unnormed: [q_kept, k_kept], xa: (xa, oa) }))
    }

    /// Given the gradient `d` [T, H] of the output, add to the gradients of what is trained; gives the gradient of the
    /// normed input, [T, H], if it is needed. `normed` makes that input again.
    pub fn backward(
        &self,
        saved: SavedAttention,
        d: &Tensor,
        normed: impl FnOnce() -> Result<Tensor>,
        input_grad: Grad,
        context: &Context<'_>,
    ) -> Result<Option<Tensor>> {
        let (heads, pass) = (self.heads, context.mode.pass());
        let SavedAttention { attended, unnormed: [q_kept, k_kept], xa: (xa, oa) } = saved;
        let like = |x: &Tensor| kernels::empty(x.shape(), x.dtype(), x.device());
        let dout = like(&attended.out)?;
        let out = || Ok(attended.out.clone());
        self.o_proj.backward(out, oa.as_ref(), d, Some((&dout, Output::Overwrite)), pass)?;
        let (dq, mut dk, mut dv) = kernels::attention_grad(&attended, &dout, context.spans, heads)?;
        if let Some(keys) = &context.keys {
            for d in [&mut dk, &mut dv] {
                *d = kernels::sum_rows(keys, d)?;
            }
        }
        drop((attended, dout));
        self.turn(&dq, &dk, context, Direction::Backward)?;
        let dq = back_through(self.q_norm.as_ref(), q_kept, dq)?;
        let dk = back_through(self.k_norm.as_ref(), k_kept, dk)?;
        let normed = normed()?;
        let dnormed = (input_grad == Grad::Needed).then(|| like(&normed)).transpose()?;
        self.qkv.backward(&normed, &xa, [dq, dk, dv], dnormed.as_ref(), pass)?;
        Ok(dnormed)
    }

    fn turn(&self, q: &Tensor, k: &Tensor, context: &Context<'_>, direction: Direction) -> Result<()> {
        let Some((cos, sin)) = self.turned.and_then(|which| context.angles.get(which)) else { return Ok(()) };
        kernels::rope_(q, cos, sin, self.heads.q, self.heads.dim, direction)?;
        kernels::rope_(k, cos, sin, self.heads.kv, self.heads.dim, direction)
    }

    /// q, k and v, or what is all three of them, and o.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.qkv.linears().iter().chain(once(&self.o_proj))
    }

    /// The same, to be changed.
    pub fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.qkv.linears_mut().iter_mut().chain(once(&mut self.o_proj))
    }
}
