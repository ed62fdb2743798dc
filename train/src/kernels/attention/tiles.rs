//! How attention is divided among blocks of threads.

use candle_core::{Device, Tensor, bail};

use super::cpu::{Heads, Span};
use crate::kernels::launch::{f32_of, i32_of};

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
pub fn query_tiles(spans: &[Span], size: usize, device: &Device) -> candle_core::Result<Tensor> {
    let of = |s: &Span| {
        let s = *s;
        (0..s.q_len).step_by(size).map(move |i| [s.q + i, size.min(s.q_len - i), s.k, s.k_len - s.q_len + i + 1, 0])
    };
    upload(spans.iter().flat_map(of).collect(), |t| t[1] + t[3], device)
}

/// Tiles of `size` keys: {first key, keys, first query that sees it, queries from there, keys after the first that this
/// query sees}.
pub fn key_tiles(spans: &[Span], size: usize, device: &Device) -> candle_core::Result<Tensor> {
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

/// What scores are multiplied by.
pub fn scale(heads: Heads) -> f32 {
    f32_of(heads.scale())
}

/// A block of threads for each tile and head.
pub fn grid(tiles: &Tensor, heads: usize) -> candle_core::Result<(u32, u32)> {
    const MOST: usize = 65_535;
    if heads > MOST {
        bail!("attention on CUDA: at most {MOST} heads, not {heads}");
    }
    Ok((i32_of(tiles.dim(0)?)?.unsigned_abs(), i32_of(heads)?.unsigned_abs()))
}
