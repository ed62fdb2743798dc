//! attention.cu over tensors, and flash.cu where it fits.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Device, Shape, Tensor, bail};

use super::{
    flash,
    launch::{
        ATTENTION, Call, THREADS,
        Value::{F32, I32, I64},
        empty, f32_of, i32_of, i64_of, suffix,
    },
};
use crate::{
    error::Result,
    kernels::{Attended, Heads, Span},
};

/// Sizes that a kernel was compiled for, with those of attention.cu.
struct Kind {
    /// Width of a head, rounded up.
    width: usize,
    /// Queries and keys of a tile in the forward pass.
    forward: (usize, usize),
    /// Both, in the backward pass.
    backward: usize,
}

const KINDS: [Kind; 3] = [
    Kind { width: 64, forward: (64, 64), backward: 64 },
    Kind { width: 128, forward: (64, 64), backward: 32 },
    Kind { width: 256, forward: (32, 32), backward: 16 },
];

impl Kind {
    fn of(heads: Heads) -> candle_core::Result<&'static Self> {
        match KINDS.iter().find(|s| heads.dim <= s.width) {
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

/// Rows of five for the kernels, those with the most work first so that no long one is left for last.
fn upload(
    mut tiles: Vec<[usize; 5]>,
    work: impl Fn(&[usize; 5]) -> usize,
    device: &Device,
) -> candle_core::Result<Tensor> {
    tiles.sort_by_key(|t| std::cmp::Reverse(work(t)));
    let mut numbers = Vec::with_capacity(tiles.len() * 5);
    for number in tiles.iter().flatten() {
        numbers.push(i32_of(*number)?.unsigned_abs());
    }
    Tensor::from_vec(numbers, (tiles.len(), 5), device)
}

/// Tiles of `size` queries: {first query, queries, first key of the span, keys that the first query sees, 0}.
pub(super) fn query_tiles(spans: &[Span], size: usize, device: &Device) -> candle_core::Result<Tensor> {
    let of = |s: &Span| {
        let s = *s;
        (0..s.q_len).step_by(size).map(move |i| [s.q + i, size.min(s.q_len - i), s.k, s.k_len - s.q_len + i + 1, 0])
    };
    upload(spans.iter().flat_map(of).collect(), |t| t[1] + t[3], device)
}

/// Tiles of `size` keys: {first key, keys, first query that sees it, queries from there, keys after the first that this
/// query sees}.
pub(super) fn key_tiles(spans: &[Span], size: usize, device: &Device) -> candle_core::Result<Tensor> {
    let of = |s: &Span| {
        let s = *s;
        let before = s.k_len - s.q_len;
        (0..s.k_len).step_by(size).map(move |i| {
            let query = i.saturating_sub(before);
            [s.k + i, size.min(s.k_len - i), s.q + query, s.q_len - query, before.saturating_sub(i)]
        })
    };
    upload(spans.iter().flat_map(of).collect(), |t| t[3], device)
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

/// Whether the spans, in their order, name each of `rows` rows once: then a kernel writes all of a result.
fn whole(spans: &[Span], rows: usize, row: impl Fn(&Span) -> (usize, usize)) -> bool {
    let end = spans.iter().map(row).try_fold(0, |end, (first, rows)| (first == end).then_some(end + rows));
    end == Some(rows)
}

/// Room for a result, with zeros where a kernel may leave some out.
fn room(shape: &Shape, dtype: DType, device: &Device, whole: bool) -> candle_core::Result<Tensor> {
    if whole { empty(shape, dtype, device) } else { Tensor::zeros(shape, dtype, device) }
}

fn by_query(s: &Span) -> (usize, usize) {
    (s.q, s.q_len)
}

fn by_key(s: &Span) -> (usize, usize) {
    (s.k, s.k_len)
}

pub(super) fn scale(heads: Heads) -> f32 {
    f32_of(1.0 / f64::from(u32::try_from(heads.dim).unwrap_or(u32::MAX)).sqrt())
}

pub(super) fn grid(tiles: &Tensor, heads: usize) -> candle_core::Result<(u32, u32)> {
    const MOST: usize = 65_535;
    if heads > MOST {
        bail!("attention on CUDA: at most {MOST} heads, not {heads}");
    }
    Ok((i32_of(tiles.dim(0)?)?.unsigned_abs(), i32_of(heads)?.unsigned_abs()))
}

/// Causal attention within spans: output [T, Hq D] and log-sum-exp, f32 [T, Hq].
///
/// # Errors
/// Shapes or types that do not fit, heads wider than 256.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, spans: &[Span], heads: Heads) -> Result<(Tensor, Tensor)> {
    let (tokens, keys, dtype, shape) = (q.dim(0)?, k.dim(0)?, q.dtype(), Kind::of(heads)?);
    check(spans, tokens, keys)?;
    let (nq, nk) = (tokens * heads.q * heads.dim, keys * heads.kv * heads.dim);
    let (all, device) = (whole(spans, tokens, by_query), q.device());
    let out = room(q.shape(), dtype, device, all)?;
    let lse = room(&(tokens, heads.q).into(), DType::F32, device, all)?;
    if flash::fits(&[q, k, v], heads) {
        flash::attention((&out, &lse), (q, k, v), spans, heads)?;
        return Ok((out, lse));
    }
    let (m, n) = shape.forward;
    let tiles = query_tiles(spans, m, q.device())?;
    let call = Call::new(&ATTENTION, format!("attention_{}_{}", shape.width, suffix(dtype)?))
        .write(&out, dtype, nq)?
        .write(&lse, DType::F32, tokens * heads.q)?
        .read(q, dtype, nq)?
        .read(k, dtype, nk)?
        .read(v, dtype, nk)?
        .read(&tiles, DType::U32, tiles.elem_count())?
        .values(&[I32(i32_of(heads.q)?), I32(i32_of(heads.q / heads.kv)?), I32(i32_of(heads.dim)?), F32(scale(heads))]);
    // SAFETY: a tile's rows are of its span, which is inside; shared memory is Q, K or V, and the weights.
    unsafe { call.run(grid(&tiles, heads.q)?, THREADS, shape.shared(m + n, m * (n + 1))) }?;
    Ok((out, lse))
}

/// Gradients of [`attention`] with respect to q, k and v. A sum has one owner and one order, so the result is the same every time.
///
/// # Errors
/// Shapes or types that do not fit, heads wider than 256.
pub fn attention_grad(f: &Attended, dout: &Tensor, spans: &[Span], heads: Heads) -> Result<(Tensor, Tensor, Tensor)> {
    let (tokens, keys, dtype, shape) = (f.q.dim(0)?, f.k.dim(0)?, f.q.dtype(), Kind::of(heads)?);
    check(spans, tokens, keys)?;
    let (nq, nk, nl) = (tokens * heads.q * heads.dim, keys * heads.kv * heads.dim, tokens * heads.q);
    let (device, name) = (f.q.device(), suffix(dtype)?);
    let delta = empty((tokens, heads.q), DType::F32, device)?;
    let call = Call::new(&ATTENTION, format!("attention_delta_{name}"))
        .write(&delta, DType::F32, nl)?
        .read(dout, dtype, nq)?
        .read(&f.out, dtype, nq)?
        .values(&[I32(i32_of(heads.dim)?), I64(i64_of(nl))]);
    let warps = THREADS as usize / 32;
    // SAFETY: warp i of nl sums `dim` products of its own.
    unsafe { call.run((i32_of(nl.div_ceil(warps))?.unsigned_abs(), 1), THREADS, 0) }?;

    let (all_queries, all_keys) = (whole(spans, tokens, by_query), whole(spans, keys, by_key));
    let dq = room(f.q.shape(), dtype, device, all_queries)?;
    let (dk, dv) = (room(f.k.shape(), dtype, device, all_keys)?, room(f.v.shape(), dtype, device, all_keys)?);
    if flash::fits(&[&f.q, &f.k, &f.v, dout], heads) {
        flash::attention_grad((&dq, &dk, &dv), f, (dout, &delta), spans, heads)?;
        return Ok((dq, dk, dv));
    }
    let (size, width) = (shape.backward, shape.width);
    let (by_query, by_key) = (query_tiles(spans, size, device)?, key_tiles(spans, size, device)?);
    let values = [I32(i32_of(heads.q)?), I32(i32_of(heads.q / heads.kv)?), I32(i32_of(heads.dim)?), F32(scale(heads))];
    let queries = Call::new(&ATTENTION, format!("attention_grad_q_{width}_{name}")).write(&dq, dtype, nq)?;
    let pairs = Call::new(&ATTENTION, format!("attention_grad_kv_{width}_{name}"))
        .write(&dk, dtype, nk)?
        .write(&dv, dtype, nk)?;
    for (call, tiles, heads, scores) in [(queries, &by_query, heads.q, 1), (pairs, &by_key, heads.kv, 2)] {
        let call = call
            .read(&f.q, dtype, nq)?
            .read(&f.k, dtype, nk)?
            .read(&f.v, dtype, nk)?
            .read(dout, dtype, nq)?
            .read(&f.lse, DType::F32, nl)?
            .read(&delta, DType::F32, nl)?
            .read(tiles, DType::U32, tiles.elem_count())?
            .values(&values);
        // SAFETY: a tile's rows are of its span, which is inside; shared memory is Q, K, V, dO and one or two squares.
        unsafe { call.run(grid(tiles, heads)?, THREADS, shape.shared(4 * size, scores * size * (size + 1))) }?;
    }
    Ok((dq, dk, dv))
}
