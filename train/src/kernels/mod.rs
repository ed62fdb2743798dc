//! Every kernel once, by device: `host` runs the reference of `cpu/` over a tensor's elements, `cuda` (feature
//! `cuda`) launches the same function on a GPU. Activations are [T, width], contiguous, T tokens.

use candle_core::{DType, Device, Shape, Tensor};

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod host;

pub use cpu::{
    attention::{Heads, Span},
    cross_entropy::RowLoss,
};

use crate::error::{Error, Result};

macro_rules! by_device {
    ($on:expr, $name:ident($($argument:expr),*)) => {
        match $on.device() {
            Device::Cpu => host::$name($($argument),*),
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => cuda::$name($($argument),*),
            other => Err(Error::Other(format!("no kernel `{}` for {other:?}: build with --features cuda", stringify!($name)))),
        }
    };
}

/// A tensor for the next kernel to write all of: on a GPU with whatever was there before, in main memory with zeros.
///
/// # Errors
/// Out of memory.
pub fn room(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        return Ok(cuda::empty(shape, dtype, device)?);
    }
    Ok(Tensor::zeros(shape, dtype, device)?)
}

/// `dst = alpha a b + beta dst` for matrices; `a` and `b` may be transposed views.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn gemm(dst: &Tensor, a: &Tensor, b: &Tensor, alpha: f64, beta: f64) -> Result<()> {
    by_device!(dst, gemm(dst, a, b, alpha, beta))
}

/// `x w^T`: [T, in] and [out, in] -> [T, out].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn linear(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    let y = room((x.dim(0)?, w.dim(0)?), x.dtype(), x.device())?;
    gemm(&y, x, &w.t()?, 1.0, 0.0)?;
    Ok(y)
}

/// `dst += s src`, element by element.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn add(dst: &Tensor, src: &Tensor, s: f64) -> Result<()> {
    by_device!(dst, add(dst, src, s))
}

/// `dst[t, c] += bias[c]`.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn add_bias(dst: &Tensor, bias: &Tensor) -> Result<()> {
    by_device!(dst, add_bias(dst, bias))
}

/// RMSNorm of every row of `x` [T, H] with weight `w` [H].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
    by_device!(x, rms_norm(x, w, eps))
}

/// Add to `dx` the gradient of [`rms_norm`] with respect to `x`.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn rms_norm_grad(dx: &Tensor, x: &Tensor, w: &Tensor, dy: &Tensor, eps: f64) -> Result<()> {
    by_device!(dx, rms_norm_grad(dx, x, w, dy, eps))
}

/// Turn the heads of `x` [T, heads x dim] in place; `cos` and `sin` are [T, dim / 2]. `back` is the gradient.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, heads: usize, dim: usize, back: bool) -> Result<()> {
    by_device!(x, rope(x, cos, sin, heads, dim, back))
}

/// `silu(gate) up`.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    by_device!(gate, swiglu(gate, up))
}

/// Gradients of [`swiglu`] with respect to `gate` and `up`.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn swiglu_grad(gate: &Tensor, up: &Tensor, d: &Tensor) -> Result<(Tensor, Tensor)> {
    by_device!(gate, swiglu_grad(gate, up, d))
}

/// `dst = x mask / (1 - p)`, or `dst +=` with `add`. The mask is a function of `key` and the element's number.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn dropout(dst: &Tensor, x: &Tensor, key: u64, p: f64, add: bool) -> Result<()> {
    by_device!(dst, dropout(dst, x, key, p, add))
}

/// Add to row t of `x` noise uniform in plus or minus `magnitude[t]`.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn noise(x: &Tensor, magnitude: &[f32], key: u64) -> Result<()> {
    by_device!(x, noise(x, magnitude, key))
}

/// Causal attention within spans: output [T, Hq D] and log-sum-exp [T, Hq].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, spans: &[Span], heads: Heads) -> Result<(Tensor, Tensor)> {
    by_device!(q, attention(q, k, v, spans, heads))
}

/// What [`attention`] read and wrote.
#[derive(Clone, Debug)]
pub struct Attended {
    /// [T, Hq D]
    pub q: Tensor,
    /// [S, Hkv D]
    pub k: Tensor,
    /// [S, Hkv D]
    pub v: Tensor,
    /// [T, Hq D]
    pub out: Tensor,
    /// [T, Hq]
    pub lse: Tensor,
}

/// Gradients of [`attention`] with respect to q, k and v.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn attention_grad(f: &Attended, dout: &Tensor, spans: &[Span], heads: Heads) -> Result<(Tensor, Tensor, Tensor)> {
    by_device!(dout, attention_grad(f, dout, spans, heads))
}

/// Cross-entropy of `logits` [C, V] against `targets` [C]; the logits become `scale (softmax - onehot)`.
///
/// # Errors
/// Shapes or types that do not fit, a target outside the vocabulary.
pub fn cross_entropy(logits: &Tensor, targets: &[u32], scale: f64) -> Result<Vec<RowLoss>> {
    by_device!(logits, cross_entropy(logits, targets, scale))
}
