//! Causal attention over documents laid end to end: no matrix of all scores is ever held (Dao et al. 2022). With
//! s = D^-1/2, P = softmax(s Q K^T), O = P V:
//! dV = P^T dO, dP = dO V^T, dS = s P (dP - rowsum(dO O)), dQ = dS K, dK = dS^T Q. [`Scores`] changes s, lets a query see the
//! last keys only, and puts a soft cap on scores, whose slope is then a factor of dS.
//!
//! On a GPU heads of 64 and 128 in bf16 run on tensor cores (`flash.rs`), all others up to 256 in `cuda.rs`, and so do those
//! with a soft cap, or with a window that is narrower than a document.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
mod flash;
#[cfg(feature = "cuda")]
pub mod gpu_check;
#[cfg(feature = "cuda")]
mod tiles;

pub use cpu::{AttentionForward, Heads, Scores, Span};

use candle_core::Tensor;

use crate::error::Result;

/// `q` [T, Hq D], `k` and `v` [S, Hkv D] -> output [T, Hq D] and log-sum-exp of the scores [T, Hq].
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, spans: &[Span], heads: Heads) -> Result<(Tensor, Tensor)> {
    by_device!(q, attention(q, k, v, spans, heads))
}

/// Gradients of [`attention`] with respect to q [T, Hq D], k and v [S, Hkv D], given that of its output, `dout`
/// [T, Hq D]. A sum has one owner and one order, so the result is the same every time.
pub fn attention_grad(
    forward: &AttentionForward,
    dout: &Tensor,
    spans: &[Span],
    heads: Heads,
) -> Result<(Tensor, Tensor, Tensor)> {
    by_device!(dout, attention_grad(forward, dout, spans, heads))
}
