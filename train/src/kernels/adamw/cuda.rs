//! adamw.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor};

use super::launch::{
    ADAMW, Call, THREADS,
    Value::{self, F32, I64},
    blocks, f32_of, i32_of, i64_of, suffix,
};
use crate::{
    error::Result,
    kernels::cpu::adamw::{BLOCK, Hyper},
};

/// decay, b1, b2, 1 - b1, 1 - b2, step, root, eps, grad: worked out in f64 as kernels/cpu/adamw.rs does.
fn factors(h: &Hyper, small: bool) -> [Value; 9] {
    #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53 steps")]
    let correction = |beta: f64| 1.0 - beta.powf(h.step as f64);
    let [b1, b2] = h.betas;
    let (c1, c2) = (correction(b1), correction(b2).sqrt());
    let (step, eps) = if small { (-h.lr * c2 / c1, h.eps * c2) } else { (-h.lr / c1, h.eps) };
    [1.0 - h.lr * h.weight_decay, b1, b2, 1.0 - b1, 1.0 - b2, step, c2, eps, h.grad_scale].map(|x| F32(f32_of(x)))
}

fn step(name: &str, p: &Tensor, g: &Tensor, m: &Tensor, v: &Tensor, factors: &[Value]) -> Result<()> {
    let n = p.elem_count();
    let call = Call::new(&ADAMW, format!("{name}_{}", suffix(p.dtype())?))
        .write(p, p.dtype(), n)?
        .write(m, DType::F32, n)?
        .write(v, DType::F32, n)?
        .read(g, DType::F32, n)?
        .values(factors)
        .values(&[I64(i64_of(n))]);
    // SAFETY: reads and writes n elements of each.
    Ok(unsafe { call.run((blocks(n), 1), THREADS, 0) }?)
}

/// One step as `torch.optim.AdamW` takes it: parameter `p` (f32 or bf16), gradient `g` and moments `m`, `v` (f32),
/// all of one size.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn adamw(p: &Tensor, g: &Tensor, m: &Tensor, v: &Tensor, h: &Hyper) -> Result<()> {
    step("adamw", p, g, m, v, &factors(h, false))
}

/// One step as bitsandbytes takes it for tensors too small for 8 bits; arguments as for [`adamw`].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn adamw_small(p: &Tensor, g: &Tensor, m: &Tensor, v: &Tensor, h: &Hyper) -> Result<()> {
    step("adamw_small", p, g, m, v, &factors(h, true))
}

/// Moments in 8 bits: codes u8 [n], scales f32 [n / 256 rounded up], maps f32 [256].
#[derive(Clone, Copy, Debug)]
pub struct Moments8<'a> {
    /// First.
    pub m: &'a Tensor,
    /// Its scales.
    pub m_scale: &'a Tensor,
    /// Second.
    pub v: &'a Tensor,
    /// Its scales.
    pub v_scale: &'a Tensor,
    /// Values of `dynamic::Map::signed`, on the GPU.
    pub signed: &'a Tensor,
    /// Values of `dynamic::Map::unsigned`, on the GPU.
    pub unsigned: &'a Tensor,
}

/// One step with moments in 8 bits: the CPU's bytes.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn adamw_8bit(p: &Tensor, g: &Tensor, moments: Moments8<'_>, h: &Hyper) -> Result<()> {
    let (n, count) = (p.elem_count(), p.elem_count().div_ceil(BLOCK));
    let call = Call::new(&ADAMW, format!("adamw_8bit_{}", suffix(p.dtype())?))
        .write(p, p.dtype(), n)?
        .write(moments.m, DType::U8, n)?
        .write(moments.m_scale, DType::F32, count)?
        .write(moments.v, DType::U8, n)?
        .write(moments.v_scale, DType::F32, count)?
        .read(g, DType::F32, n)?
        .read(moments.signed, DType::F32, 256)?
        .read(moments.unsigned, DType::F32, 256)?
        .values(&factors(h, false))
        .values(&[I64(i64_of(n))]);
    // SAFETY: block i of 256 threads has elements 256 i to 256 i + 255, as far as there are n, and scale i.
    Ok(unsafe { call.run((i32_of(count)?.unsigned_abs(), 1), 256, 0) }?)
}
