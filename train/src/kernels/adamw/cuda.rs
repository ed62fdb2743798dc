//! adamw.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor};

use super::cpu::{BLOCK, Hyper, Moments8bit};
use crate::{
    error::Result,
    kernels::launch::{
        Launch, Module,
        Scalar::{self, F32, I64},
        THREADS, blocks, f32_of, i32_of, i64_of, module, suffix,
    },
};

const MODULE: Module = module!("adamw");

/// What `Factors` of adamw.cu holds, worked out in f64 as cpu.rs does.
fn factors(h: &Hyper, step: f64, eps: f64) -> [Scalar; 9] {
    let ([b1, b2], (_, root)) = (h.betas, h.corrections());
    [1.0 - h.lr * h.weight_decay, b1, b2, 1.0 - b1, 1.0 - b2, step, root, eps, h.grad_scale].map(|x| F32(f32_of(x)))
}

fn launch(kernel: &str, p: &Tensor, g: &Tensor, m: &Tensor, v: &Tensor, factors: &[Scalar]) -> Result<()> {
    let n = p.elem_count();
    let launch = Launch::new(&MODULE, format!("{kernel}_{}", suffix(p.dtype())?))
        .write(p, p.dtype(), n)?
        .write(m, DType::F32, n)?
        .write(v, DType::F32, n)?
        .read(g, DType::F32, n)?
        .values(factors)
        .values(&[I64(i64_of(n))]);
    // SAFETY: reads and writes n elements of each.
    Ok(unsafe { launch.run((blocks(n), 1), THREADS, 0) }?)
}

pub fn adamw_(p: &Tensor, g: &Tensor, m: &Tensor, v: &Tensor, h: &Hyper) -> Result<()> {
    let (c1, _) = h.corrections();
    launch("adamw", p, g, m, v, &factors(h, -h.lr / c1, h.eps))
}

pub fn adamw_32bit_(p: &Tensor, g: &Tensor, m: &Tensor, v: &Tensor, h: &Hyper) -> Result<()> {
    let (c1, c2) = h.corrections();
    launch("adamw_32bit", p, g, m, v, &factors(h, -h.lr * c2 / c1, h.eps * c2))
}

pub fn adamw_8bit_(p: &Tensor, g: &Tensor, moments: Moments8bit<'_>, h: &Hyper) -> Result<()> {
    let (c1, _) = h.corrections();
    let (n, count) = (p.elem_count(), p.elem_count().div_ceil(BLOCK));
    let launch = Launch::new(&MODULE, format!("adamw_8bit_{}", suffix(p.dtype())?))
        .write(p, p.dtype(), n)?
        .write(moments.m, DType::U8, n)?
        .write(moments.m_scale, DType::F32, count)?
        .write(moments.v, DType::U8, n)?
        .write(moments.v_scale, DType::F32, count)?
        .read(g, DType::F32, n)?
        .read(moments.m_map, DType::F32, 256)?
        .read(moments.v_map, DType::F32, 256)?
        .values(&factors(h, -h.lr / c1, h.eps))
        .values(&[I64(i64_of(n))]);
    // SAFETY: block i of 256 threads has elements 256 i to 256 i + 255, as far as there are n, and scale i.
    Ok(unsafe { launch.run((i32_of(count)?.unsigned_abs(), 1), 256, 0) }?)
}
