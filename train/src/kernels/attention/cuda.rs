//! attention.cu over tensors, and flash.cu where it fits.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Device, Shape, Tensor, bail};

use super::{
    cpu::{AttentionForward, Heads, Scores, Span},
    flash,
    tiles::{grid, key_tiles, query_tiles, scale},
};
use crate::{
    error::Result,
    kernels::launch::{
        Launch, Module,
        Scalar::{self, F32, I32, I64},
        THREADS, empty, f32_of, i32_of, i64_of, module, suffix,
    },
};

const MODULE: Module = module!("attention");

/// Sizes that a kernel was compiled for, with those of attention.cu.
struct TileSizes {
    /// Width of a head, rounded up.
    width: usize,
    /// Queries and keys of a tile in the forward pass.
    forward: (usize, usize),
    /// Both, in the backward pass.
    backward: usize,
}

const TILE_SIZES: [TileSizes; 3] = [
    TileSizes { width: 64, forward: (64, 64), backward: 64 },
    TileSizes { width: 128, forward: (64, 64), backward: 32 },
    TileSizes { width: 256, forward: (32, 32), backward: 16 },
];

impl TileSizes {
    fn of(heads: Heads) -> candle_core::Result<&'static Self> {
        match TILE_SIZES.iter().find(|s| heads.dim <= s.width) {
            _ if heads.kv == 0 || heads.dim == 0 || !heads.q.is_multiple_of(heads.kv) => {
                bail!("attention: {} query heads over {} heads of keys of {}", heads.q, heads.kv, heads.dim)
            }
            Some(shape) => Ok(shape),
            None => bail!("attention on CUDA: heads are at most 256 wide, not {}", heads.dim),
        }
    }

    /// Bytes of shared memory for `rows` rows of a head and `scores` other floats.
    fn shared(&self, rows: usize, scores: usize) -> u32 {
        u32::try_from((rows * (self.width + 1) + scores) * 4).unwrap_or(u32::MAX)
    }
}

/// Every row that a span names is in q [T, ..] and k [S, ..], and every query sees a key.
fn check(spans: &[Span], tokens: usize, keys: usize) -> candle_core::Result<()> {
    for s in spans {
        if s.q + s.q_len > tokens || s.k + s.k_len > keys || s.q_len > s.k_len {
            bail!("attention: {s:?} does not fit {tokens} queries and {keys} keys");
        }
    }
    Ok(())
}

/// A result with zeros where a kernel leaves rows out, given (first row, rows) of each span.
fn result(
    shape: impl Into<Shape>,
    dtype: DType,
    device: &Device,
    mut spans: impl Iterator<Item = (usize, usize)>,
) -> candle_core::Result<Tensor> {
    let shape = shape.into();
    let end = spans.try_fold(0, |end, (first, rows)| (first == end).then_some(end + rows));
    // Where the spans, in their order, name each row once, the kernel writes all of them.
    if end == Some(shape.dims()[0]) { empty(shape, dtype, device) } else { Tensor::zeros(shape, dtype, device) }
}

/// Without a window that no span is longer than.
fn needed(heads: Heads, spans: &[Span]) -> Heads {
    let window = heads.scores.window.filter(|window| spans.iter().any(|s| s.k_len > *window));
    Heads { scores: Scores { window, ..heads.scores }, ..heads }
}

/// Arguments that all of them take last.
fn values(heads: Heads) -> candle_core::Result<[Scalar; 6]> {
    Ok([
        I32(i32_of(heads.q)?),
        I32(i32_of(heads.q / heads.kv)?),
        I32(i32_of(heads.dim)?),
        F32(scale(heads)),
        F32(f32_of(heads.scores.cap.unwrap_or(0.0))),
        I64(heads.scores.window.map_or(i64::MAX, i64_of)),
    ])
}

fn queries(spans: &[Span]) -> impl Iterator<Item = (usize, usize)> {
    spans.iter().map(|s| (s.q, s.q_len))
}

fn keys(spans: &[Span]) -> impl Iterator<Item = (usize, usize)> {
    spans.iter().map(|s| (s.k, s.k_len))
}

pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, spans: &[Span], heads: Heads) -> Result<(Tensor, Tensor)> {
    let heads = needed(heads, spans);
    let (t, s, dtype, sizes) = (q.dim(0)?, k.dim(0)?, q.dtype(), TileSizes::of(heads)?);
    check(spans, t, s)?;
    let (nq, nk) = (t * heads.q * heads.dim, s * heads.kv * heads.dim);
    let out = result(q.shape(), dtype, q.device(), queries(spans))?;
    let lse = result((t, heads.q), DType::F32, q.device(), queries(spans))?;
    if flash::supports(&[q, k, v], heads) {
        flash::attention((&out, &lse), (q, k, v), spans, heads)?;
        return Ok((out, lse));
    }
    let (m, n) = sizes.forward;
    let tiles = query_tiles(spans, m, q.device())?;
    let launch = Launch::new(&MODULE, format!("attention_{}_{}", sizes.width, suffix(dtype)?))
        .write(&out, dtype, nq)?
        .write(&lse, DType::F32, t * heads.q)?
        .read(q, dtype, nq)?
        .read(k, dtype, nk)?
        .read(v, dtype, nk)?
        .read(&tiles, DType::U32, tiles.elem_count())?
        .values(&values(heads)?);
    // SAFETY: a tile's rows are of its span, which is inside; shared memory is Q, K or V, and the weights.
    unsafe { launch.run(grid(&tiles, heads.q)?, THREADS, sizes.shared(m + n, m * (n + 1))) }?;
    Ok((out, lse))
}

pub fn attention_grad(
    f: &AttentionForward,
    dout: &Tensor,
    spans: &[Span],
    heads: Heads,
) -> Result<(Tensor, Tensor, Tensor)> {
    let heads = needed(heads, spans);
    let (t, s, dtype, sizes) = (f.q.dim(0)?, f.k.dim(0)?, f.q.dtype(), TileSizes::of(heads)?);
    check(spans, t, s)?;
    let (nq, nk, nl) = (t * heads.q * heads.dim, s * heads.kv * heads.dim, t * heads.q);
    let (device, name) = (f.q.device(), suffix(dtype)?);
    let delta = empty((t, heads.q), DType::F32, device)?;
    let launch = Launch::new(&MODULE, format!("attention_delta_{name}"))
        .write(&delta, DType::F32, nl)?
        .read(dout, dtype, nq)?
        .read(&f.out, dtype, nq)?
        .values(&[I32(i32_of(heads.dim)?), I64(i64_of(nl))]);
    let warps = THREADS as usize / 32;
    // SAFETY: warp i of nl sums `dim` products of its own.
    unsafe { launch.run((i32_of(nl.div_ceil(warps))?.unsigned_abs(), 1), THREADS, 0) }?;

    let dq = result(f.q.shape(), dtype, device, queries(spans))?;
    let dk = result(f.k.shape(), dtype, device, keys(spans))?;
    let dv = result(f.v.shape(), dtype, device, keys(spans))?;
    if flash::supports(&[&f.q, &f.k, &f.v, dout], heads) {
        flash::attention_grad((&dq, &dk, &dv), f, (dout, &delta), spans, heads)?;
        return Ok((dq, dk, dv));
    }
    let (size, width) = (sizes.backward, sizes.width);
    let (by_query, by_key) = (query_tiles(spans, size, device)?, key_tiles(spans, size, device)?);
    let values = values(heads)?;
    let for_queries = Launch::new(&MODULE, format!("attention_grad_q_{width}_{name}")).write(&dq, dtype, nq)?;
    let for_keys = Launch::new(&MODULE, format!("attention_grad_kv_{width}_{name}"))
        .write(&dk, dtype, nk)?
        .write(&dv, dtype, nk)?;
    for (launch, tiles, heads, scores) in [(for_queries, &by_query, heads.q, 1), (for_keys, &by_key, heads.kv, 2)] {
        let launch = launch
            .read(&f.q, dtype, nq)?
            .read(&f.k, dtype, nk)?
            .read(&f.v, dtype, nk)?
            .read(dout, dtype, nq)?
            .read(&f.lse, DType::F32, nl)?
            .read(&delta, DType::F32, nl)?
            .read(tiles, DType::U32, tiles.elem_count())?
            .values(&values);
        // SAFETY: a tile's rows are of its span, which is inside; shared memory is Q, K, V, dO and one or two squares.
        unsafe { launch.run(grid(tiles, heads)?, THREADS, sizes.shared(4 * size, scores * size * (size + 1))) }?;
    }
    Ok((dq, dk, dv))
}
