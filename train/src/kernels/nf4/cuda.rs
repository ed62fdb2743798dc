//! nf4.cu over tensors. Quantising the scales once more is a matter of a few thousand numbers at loading, which the
//! CPU does.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor};

use super::launch::{
    Call, NF4, THREADS,
    Value::{F32, I64},
    blocks, empty, i32_of, i64_of, suffix,
};
use crate::{
    error::Result,
    kernels::cpu::nf4::{BLOCK, NESTED},
};

/// The scales of n weights in blocks of 64: B of them.
#[derive(Clone, Copy, Debug)]
pub enum Scales<'a> {
    /// f32 [B].
    Plain(&'a Tensor),
    /// `map[code] * nested[block / 256] + offset`.
    Double {
        /// u8 [B].
        codes: &'a Tensor,
        /// f32 [256].
        map: &'a Tensor,
        /// f32 [B / 256 rounded up].
        nested: &'a Tensor,
        /// Mean of the scales.
        offset: f32,
    },
}

/// Codes, u8 [(n + 1) / 2, 1], and scales, f32 [n / 64 rounded up], of n weights: the CPU's bytes.
///
/// # Errors
/// Types that do not fit.
pub fn nf4_quantize(weights: &Tensor) -> Result<(Tensor, Tensor)> {
    let (n, dtype, device) = (weights.elem_count(), weights.dtype(), weights.device());
    let packed = empty((n.div_ceil(2), 1), DType::U8, device)?;
    let scales = empty(n.div_ceil(BLOCK), DType::F32, device)?;
    let call = Call::new(&NF4, format!("nf4_quantize_{}", suffix(dtype)?))
        .write(&packed, DType::U8, n.div_ceil(2))?
        .write(&scales, DType::F32, n.div_ceil(BLOCK))?
        .read(weights, dtype, n)?
        .values(&[I64(i64_of(n))]);
    let warps = THREADS as usize / 32;
    let grid = i32_of(n.div_ceil(BLOCK).div_ceil(warps))?.unsigned_abs();
    // SAFETY: warp i has block i of 64 weights, two to a lane, and stops at n.
    unsafe { call.run((grid, 1), THREADS, 0) }?;
    Ok((packed, scales))
}

/// The weights again, over what is in `out` (f32 or bf16): the CPU's values, rounded to its type.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn nf4_dequantize(out: &Tensor, packed: &Tensor, scales: Scales<'_>) -> Result<()> {
    let (n, dtype) = (out.elem_count(), out.dtype());
    let (bytes, count, name) = (n.div_ceil(2), n.div_ceil(BLOCK), suffix(dtype)?);
    let call = match scales {
        Scales::Plain(scales) => Call::new(&NF4, format!("nf4_dequantize_{name}"))
            .write(out, dtype, n)?
            .read(packed, DType::U8, bytes)?
            .read(scales, DType::F32, count)?,
        Scales::Double { codes, map, nested, offset } => Call::new(&NF4, format!("nf4_dequantize_double_{name}"))
            .write(out, dtype, n)?
            .read(packed, DType::U8, bytes)?
            .read(codes, DType::U8, count)?
            .read(map, DType::F32, 256)?
            .read(nested, DType::F32, count.div_ceil(NESTED))?
            .values(&[F32(offset)]),
    };
    // SAFETY: thread i has weights 8 i to 8 i + 7, as far as there are n, and their scale.
    Ok(unsafe { call.values(&[I64(i64_of(n))]).run((blocks(n.div_ceil(8)), 1), THREADS, 0) }?)
}
