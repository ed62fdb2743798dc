//! nf4.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor};

use super::cpu::{BLOCK, NESTED, Scales};
use crate::{
    error::Result,
    kernels::launch::{
        Launch, Module,
        Scalar::{F32, I64},
        THREADS, blocks, empty, i32_of, i64_of, module, suffix,
    },
};

const MODULE: Module = module!("nf4");

pub fn nf4_quantize(weights: &Tensor) -> Result<(Tensor, Tensor)> {
    let (n, dtype, device) = (weights.elem_count(), weights.dtype(), weights.device());
    let packed = empty((n.div_ceil(2), 1), DType::U8, device)?;
    let scales = empty(n.div_ceil(BLOCK), DType::F32, device)?;
    let launch = Launch::new(&MODULE, format!("nf4_quantize_{}", suffix(dtype)?))
        .write(&packed, DType::U8, n.div_ceil(2))?
        .write(&scales, DType::F32, n.div_ceil(BLOCK))?
        .read(weights, dtype, n)?
        .values(&[I64(i64_of(n))]);
    let warps = THREADS as usize / 32;
    let grid = i32_of(n.div_ceil(BLOCK).div_ceil(warps))?.unsigned_abs();
    // SAFETY: warp i has block i of 64 weights, two to a lane, and stops at n.
    unsafe { launch.run((grid, 1), THREADS, 0) }?;
    Ok((packed, scales))
}

pub fn nf4_dequantize_(out: &Tensor, packed: &Tensor, scales: &Scales) -> Result<()> {
    let (n, dtype) = (out.elem_count(), out.dtype());
    let (bytes, count, name) = (n.div_ceil(2), n.div_ceil(BLOCK), suffix(dtype)?);
    let launch = match scales {
        Scales::Plain(scales) => Launch::new(&MODULE, format!("nf4_dequantize_{name}"))
            .write(out, dtype, n)?
            .read(packed, DType::U8, bytes)?
            .read(scales, DType::F32, count)?,
        Scales::Double { codes, map, nested, offset } => Launch::new(&MODULE, format!("nf4_dequantize_double_{name}"))
            .write(out, dtype, n)?
            .read(packed, DType::U8, bytes)?
            .read(codes, DType::U8, count)?
            .read(map, DType::F32, 256)?
            .read(nested, DType::F32, count.div_ceil(NESTED))?
            .values(&[F32(*offset)]),
    };
    // SAFETY: thread i has weights 8 i to 8 i + 7, as far as there are n, and their scale.
    Ok(unsafe { launch.values(&[I64(i64_of(n))]).run((blocks(n.div_ceil(8)), 1), THREADS, 0) }?)
}
