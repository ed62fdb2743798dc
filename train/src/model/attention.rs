//! Grouped-query attention with rotary positions, forward and backward. T tokens, S keys, hidden width H, Hq query and
//! Hkv key heads of width D.

use candle_core::Tensor;

use super::{
    context::{Context, Grad},
    kv_cache::KvCache,
    linear::Linear,
};
use crate::{
    error::Result,
    kernels::{self, AttentionForward, Direction, Heads, Output},
};

/// The attention of one layer.
#[derive(Clone, Debug)]
pub struct Attention {
    /// [Hq D, H]
    pub q_proj: Linear,
    /// [Hkv D, H]
    pub k_proj: Linear,
    /// [Hkv D, H]
    pub v_proj: Linear,
    /// [H, Hq D]
    pub o_proj: Linear,
    /// Hq, Hkv and D.
    pub heads: Heads,
}

/// Saved for the backward pass: q [T, Hq D] and k [S, Hkv D] after RoPE, v [S, Hkv D], the heads' output [T, Hq D] and
/// its log-sum-exp [T, Hq]; and x A^T [T, r] of each adapter. Made again: the normed input, and the attention weights,
/// tile by tile, from q, k and the log-sum-exp.
pub struct SavedAttention {
    attended: AttentionForward,
    xa: [Option<Tensor>; 4],
}

impl Attention {
    /// `normed` [T, H] -> [T, H]. With a `cache`, keys and values of the tokens before come from it and the new ones are
    /// appended.
    pub fn forward(
        &self,
        normed: Tensor,
        context: &Context<'_>,
        cache: Option<&mut KvCache>,
    ) -> Result<(Tensor, SavedAttention)> {
        let (heads, mode) = (self.heads, context.mode);
        let (q, qa) = self.q_proj.forward(&normed, mode)?;
        let (k, ka) = self.k_proj.forward(&normed, mode)?;
        let (v, va) = self.v_proj.forward(&normed, mode)?;
        drop(normed);
        kernels::rope_(&q, &context.cos, &context.sin, heads.q, heads.dim, Direction::Forward)?;
        kernels::rope_(&k, &context.cos, &context.sin, heads.kv, heads.dim, Direction::Forward)?;
        let (k, v) = match (cache, &context.keys) {
            (Some(cache), _) => cache.append(k, v)?,
            (None, Some(keys)) => {
                (kernels::gather_rows(&k, keys, k.dtype())?, kernels::gather_rows(&v, keys, v.dtype())?)
            }
            (None, None) => (k, v),
        };
        let (out, lse) = kernels::attention(&q, &k, &v, context.spans, heads)?;
        let (y, oa) = self.o_proj.forward(&out, mode)?;
        Ok((y, SavedAttention { attended: AttentionForward { q, k, v, out, lse }, xa: [qa, ka, va, oa] }))
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
        let SavedAttention { attended, xa: [qa, ka, va, oa] } = saved;
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
        kernels::rope_(&dq, &context.cos, &context.sin, heads.q, heads.dim, Direction::Backward)?;
        kernels::rope_(&dk, &context.cos, &context.sin, heads.kv, heads.dim, Direction::Backward)?;
        let normed = normed()?;
        let dnormed = (input_grad == Grad::Needed).then(|| like(&normed)).transpose()?;
        let mut output = Output::Overwrite;
        for (linear, xa, dy) in [(&self.q_proj, &qa, &dq), (&self.k_proj, &ka, &dk), (&self.v_proj, &va, &dv)] {
            let dx = dnormed.as_ref().map(|dx| (dx, output));
            linear.backward(|| Ok(normed.clone()), xa.as_ref(), dy, dx, pass)?;
            output = Output::Accumulate;
        }
        Ok(dnormed)
    }

    /// q, k, v and o, as in [`crate::recipe::LINEARS`].
    pub fn linears(&self) -> [&Linear; 4] {
        [&self.q_proj, &self.k_proj, &self.v_proj, &self.o_proj]
    }

    /// The same, to be changed.
    pub fn linears_mut(&mut self) -> [&mut Linear; 4] {
        [&mut self.q_proj, &mut self.k_proj, &mut self.v_proj, &mut self.o_proj]
    }
}
