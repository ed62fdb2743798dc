//! One decoder layer, forward and backward by hand. Only what is dear to compute is kept in between: the norms and
//! the product of the gate are made again.

use candle_core::Tensor;

use super::{linear::Linear, maybe_trained::Values, mode::View};
use crate::{
    error::Result,
    kernels::{self, Attended, Heads, Span},
    optim::Param,
};

/// The weights of one layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// q, k, v and output projections of the attention.
    pub attention: [Linear; 4],
    /// gate, up and down projections of the feed-forward part.
    pub mlp: [Linear; 3],
    /// [H], before the attention.
    pub input_norm: Values,
    /// [H], before the feed-forward part.
    pub post_norm: Values,
    /// Sizes of the heads.
    pub heads: Heads,
    /// Added to the mean square in the norms.
    pub eps: f64,
}

/// What a layer reads besides its input: the same for all layers of a pass.
pub struct Context<'a> {
    /// Cosines of the positions, [T, D / 2].
    pub cos: Tensor,
    /// Sines of the positions, [T, D / 2].
    pub sin: Tensor,
    /// The documents.
    pub spans: &'a [Span],
    /// Which token's key and value each key of the spans is, [S]; every token's own, in order, without it.
    pub keys: Option<Tensor>,
    /// With which adapter.
    pub view: View,
}

/// Keys and values of the tokens before, when a text is written token by token.
#[derive(Clone, Debug, Default)]
pub struct Past(Option<(Tensor, Tensor)>);

impl Past {
    /// Tokens that are there.
    pub fn len(&self) -> usize {
        self.0.as_ref().and_then(|(k, _)| k.dim(0).ok()).unwrap_or(0)
    }

    /// Whether nothing was read yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// All keys and values with the new ones, [S, Hkv D].
    fn extend(&mut self, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor)> {
        let all = match self.0.take() {
            None => (k, v),
            Some((before_k, before_v)) => (Tensor::cat(&[before_k, k], 0)?, Tensor::cat(&[before_v, v], 0)?),
        };
        self.0 = Some(all.clone());
        Ok(all)
    }
}

/// What the backward pass needs of the forward pass.
pub struct Saved {
    x: Tensor,
    attended: Attended,
    middle: Tensor,
    gate: Tensor,
    up: Tensor,
    xa: [Option<Tensor>; 7],
}

impl Layer {
    /// `x` [T, H] -> [T, H], and what the backward pass needs.
    ///
    /// # Errors
    /// Out of memory; a fault of ours.
    pub fn forward(&self, x: &Tensor, context: &Context<'_>) -> Result<(Tensor, Saved)> {
        self.after(x, context, None)
    }

    /// As [`Self::forward`], after a `past` that grows by these tokens.
    ///
    /// # Errors
    /// Out of memory; a fault of ours.
    pub fn after(&self, x: &Tensor, context: &Context<'_>, past: Option<&mut Past>) -> Result<(Tensor, Saved)> {
        let [wq, wk, wv, wo] = &self.attention;
        let [wgate, wup, wdown] = &self.mlp;
        let (heads, view) = (self.heads, context.view);

        let normed = kernels::rms_norm(x, &self.input_norm.to_dtype(x.dtype())?, self.eps)?;
        let (q, qa) = wq.forward(&normed, view)?;
        let (k, ka) = wk.forward(&normed, view)?;
        let (v, va) = wv.forward(&normed, view)?;
        drop(normed);
        kernels::rope(&q, &context.cos, &context.sin, heads.q, heads.dim, false)?;
        kernels::rope(&k, &context.cos, &context.sin, heads.kv, heads.dim, false)?;
        let (k, v) = match (past, &context.keys) {
            (Some(past), _) => past.extend(k, v)?,
            (None, Some(keys)) => (k.index_select(keys, 0)?, v.index_select(keys, 0)?),
            (None, None) => (k, v),
        };
        let (out, lse) = kernels::attention(&q, &k, &v, context.spans, heads)?;
        let (middle, oa) = wo.forward(&out, view)?;
        kernels::add(&middle, x, 1.0)?;

        let normed = kernels::rms_norm(&middle, &self.post_norm.to_dtype(x.dtype())?, self.eps)?;
        let (gate, ga) = wgate.forward(&normed, view)?;
        let (up, ua) = wup.forward(&normed, view)?;
        drop(normed);
        let (y, da) = wdown.forward(&kernels::swiglu(&gate, &up)?, view)?;
        kernels::add(&y, &middle, 1.0)?;

        let attended = Attended { q, k, v, out, lse };
        let xa = [qa, ka, va, oa, ga, ua, da];
        Ok((y, Saved { x: x.clone(), attended, middle, gate, up, xa }))
    }

    /// Turn the gradient of the output, `d` [T, H], into that of the input, in place, and add to the
    /// gradients of what is trained. What flows to the input alone is left out where nobody `asks` for it: below the
    /// first layer there is the embedding, which is mostly frozen.
    ///
    /// # Errors
    /// Out of memory; a fault of ours.
    pub fn backward(&self, saved: Saved, d: &Tensor, asks: bool, context: &Context<'_>) -> Result<()> {
        let [wq, wk, wv, wo] = &self.attention;
        let [wgate, wup, wdown] = &self.mlp;
        let (heads, pass) = (self.heads, context.view.pass());
        let Saved { x, attended, middle, gate, up, xa: [qa, ka, va, oa, ga, ua, da] } = saved;

        let dproduct = gate.zeros_like()?;
        wdown.backward(&kernels::swiglu(&gate, &up)?, da.as_ref(), d, Some(&dproduct), pass)?;
        let (dgate, dup) = kernels::swiglu_grad(&gate, &up, &dproduct)?;
        drop((gate, up, dproduct));
        let post_norm = self.post_norm.to_dtype(d.dtype())?;
        let normed = kernels::rms_norm(&middle, &post_norm, self.eps)?;
        let dnormed = middle.zeros_like()?;
        wgate.backward(&normed, ga.as_ref(), &dgate, Some(&dnormed), pass)?;
        wup.backward(&normed, ua.as_ref(), &dup, Some(&dnormed), pass)?;
        drop((dgate, dup));
        // `d` flows past the feed-forward part as it is, and through it as follows.
        kernels::rms_norm_grad(d, &middle, &post_norm, &dnormed, self.eps)?;
        self.post_norm.add_norm(&middle, &dnormed, self.eps)?;
        drop(middle);

        let dout = attended.out.zeros_like()?;
        wo.backward(&attended.out, oa.as_ref(), d, Some(&dout), pass)?;
        let (dq, mut dk, mut dv) = kernels::attention_grad(&attended, &dout, context.spans, heads)?;
        if let Some(keys) = &context.keys {
            for d in [&mut dk, &mut dv] {
                *d = Tensor::zeros((x.dim(0)?, d.dim(1)?), d.dtype(), d.device())?.index_add(keys, d, 0)?;
            }
        }
        drop((attended, dout));
        kernels::rope(&dq, &context.cos, &context.sin, heads.q, heads.dim, true)?;
        kernels::rope(&dk, &context.cos, &context.sin, heads.kv, heads.dim, true)?;
        let input_norm = self.input_norm.to_dtype(d.dtype())?;
        let normed = kernels::rms_norm(&x, &input_norm, self.eps)?;
        let dnormed = asks.then(|| x.zeros_like()).transpose()?;
        for (linear, xa, dy) in [(wq, &qa, &dq), (wk, &ka, &dk), (wv, &va, &dv)] {
            linear.backward(&normed, xa.as_ref(), dy, dnormed.as_ref(), pass)?;
        }
        match dnormed {
            Some(dnormed) => {
                self.input_norm.add_norm(&x, &dnormed, self.eps)?;
                kernels::rms_norm_grad(d, &x, &input_norm, &dnormed, self.eps)
            }
            None => Ok(()),
        }
    }

    /// Every linear layer, in the order of [`crate::recipe::LINEARS`].
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.attention.iter().chain(&self.mlp)
    }

    /// Everything in it that is trained, in a fixed order.
    pub fn params(&self) -> Vec<Param> {
        let norms = [&self.input_norm, &self.post_norm].into_iter().filter_map(Values::param);
        norms.chain(self.linears().flat_map(Linear::params)).cloned().collect()
    }

    /// The linear layers, to be changed.
    pub fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.attention.iter_mut().chain(&mut self.mlp)
    }
}
