//! flash.cu over tensors: attention in bf16 on tensor cores, for the heads that nearly every model has.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor};

use super::{
    cpu::{AttentionForward, Heads, Span},
    tiles::{grid, key_tiles, query_tiles, scale},
};
use crate::{
    error::Result,
    kernels::launch::{
        Launch, Module,
        Scalar::{self, F32, I32},
        i32_of, module,
    },
};

const MODULE: Module = module!("flash");

/// Rows of a tile, sixteen for each warp of a block, with those of flash.cu.
const ROWS: usize = 64;
const THREADS: u32 = 128;

/// Rows that pass by at a time, with those of flash.cu.
struct Pieces {
    width: usize,
    forward: usize,
    queries: usize,
    keys: usize,
}

const PIECES: [Pieces; 2] = [
    Pieces { width: 64, forward: 64, queries: 64, keys: 64 },
    Pieces { width: 128, forward: 64, queries: 32, keys: 32 },
];

/// Bytes of `rows` rows of a head of `width`, and of `floats` other numbers.
fn shared(width: usize, rows: usize, floats: usize) -> u32 {
    u32::try_from(2 * rows * width + 4 * floats).unwrap_or(u32::MAX)
}

fn pieces(heads: Heads) -> Option<&'static Pieces> {
    PIECES.iter().find(|p| p.width == heads.dim)
}

/// Whether flash.cu has a kernel for these: rows are read sixteen bytes at a time, a query sees every key before it, and there is
/// no soft cap.
pub fn supports(tensors: &[&Tensor], heads: Heads) -> bool {
    let aligned = |t: &&Tensor| t.dtype() == DType::BF16 && t.layout().start_offset().is_multiple_of(8);
    let plain = heads.scores.cap.is_none() && heads.scores.window.is_none();
    plain && pieces(heads).is_some() && tensors.iter().all(aligned)
}

/// Arguments that all of them take.
fn sizes(heads: Heads) -> candle_core::Result<[Scalar; 3]> {
    Ok([I32(i32_of(heads.q)?), I32(i32_of(heads.q / heads.kv)?), F32(scale(heads))])
}

/// Into `out` [T, Hq D] and `lse` [T, Hq], as `attention::attention`, which has checked the spans.
pub fn attention(
    (out, lse): (&Tensor, &Tensor),
    (q, k, v): (&Tensor, &Tensor, &Tensor),
    spans: &[Span],
    heads: Heads,
) -> Result<()> {
    let Some(pieces) = pieces(heads) else { return Ok(()) };
    let (nq, nk) = (q.dim(0)? * heads.q * heads.dim, k.dim(0)? * heads.kv * heads.dim);
    let tiles = query_tiles(spans, ROWS, q.device())?;
    let launch = Launch::new(&MODULE, format!("flash_{}", heads.dim))
        .write(out, DType::BF16, nq)?
        .write(lse, DType::F32, q.dim(0)? * heads.q)?
        .read(q, DType::BF16, nq)?
        .read(k, DType::BF16, nk)?
        .read(v, DType::BF16, nk)?
        .read(&tiles, DType::U32, tiles.elem_count())?
        .values(&sizes(heads)?);
    let shared = shared(heads.dim, ROWS + 4 * pieces.forward, 0);
    // SAFETY: a tile's rows are of its span, which is inside; shared memory is Q and two pieces of K and of V.
    Ok(unsafe { launch.run(grid(&tiles, heads.q)?, THREADS, shared) }?)
}

/// Into `dq` [T, Hq D], `dk` and `dv` [S, Hkv D], as `attention::attention_grad`; `delta` [T, Hq] is rowsum(dO O).
pub fn attention_grad(
    (dq, dk, dv): (&Tensor, &Tensor, &Tensor),
    f: &AttentionForward,
    (dout, delta): (&Tensor, &Tensor),
    spans: &[Span],
    heads: Heads,
) -> Result<()> {
    let (Some(pieces), device) = (pieces(heads), f.q.device()) else { return Ok(()) };
    let (nq, nk, nl) = (dq.elem_count(), dk.elem_count(), delta.elem_count());
    let (by_query, by_key) = (query_tiles(spans, ROWS, device)?, key_tiles(spans, ROWS, device)?);
    let for_queries = Launch::new(&MODULE, format!("flash_grad_q_{}", heads.dim)).write(dq, DType::BF16, nq)?;
    let for_keys = Launch::new(&MODULE, format!("flash_grad_kv_{}", heads.dim)).write(dk, DType::BF16, nk)?;
    let for_keys = for_keys.write(dv, DType::BF16, nk)?;
    let memory = |passing: usize, floats: usize| shared(heads.dim, 2 * ROWS + 4 * passing, floats);
    let launches = [
        (for_queries, &by_query, heads.q, memory(pieces.queries, 0)),
        (for_keys, &by_key, heads.kv, memory(pieces.keys, 4 * pieces.keys)),
    ];
    for (launch, tiles, heads_of_grid, shared) in launches {
        let launch = launch
            .read(&f.q, DType::BF16, nq)?
            .read(&f.k, DType::BF16, nk)?
            .read(&f.v, DType::BF16, nk)?
            .read(dout, DType::BF16, nq)?
            .read(&f.lse, DType::F32, nl)?
            .read(delta, DType::F32, nl)?
            .read(tiles, DType::U32, tiles.elem_count())?
            .values(&sizes(heads)?);
        // SAFETY: a tile's rows are of its span, which is inside; shared memory is the tile's rows of two tensors, two
        // pieces of two others, and for keys the log-sum-exp and delta of two pieces.
        unsafe { launch.run(grid(tiles, heads_of_grid)?, THREADS, shared) }?;
    }
    Ok(())
}
