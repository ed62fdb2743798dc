//! A factor of a product, rounded to bf16 and cut into tiles, in the order in which the inner loop reads them.

use half::bf16;

use crate::kernels::{matrix::Mat, simd::simd};

/// Lines of a tile: rows of a left factor, columns of a right one.
pub const LINES: usize = 16;

/// Pairs of neighbours along the inner size in a line of a tile.
pub const PAIRS: usize = 16;

/// Elements along the inner size in a line of a tile.
pub const DEPTH: usize = 2 * PAIRS;

/// 16 lines of 16 pairs of bf16, the first of a pair in the lower half: line by line of a left factor, pair by pair of a right one.
/// That is how AMX takes its operands (Intel's Software Developer's Manual, volume 1, chapter 18), and AVX512-BF16 too.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Tile(pub [u32; LINES * PAIRS]);

impl Tile {
    /// Zeros.
    pub const ZERO: Self = Self([0; LINES * PAIRS]);
}

/// Which factor tiles are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Lines are rows.
    Left,
    /// Lines are columns.
    Right,
}

/// An f32 whose upper half is the nearest bf16, of two the even one. What is no number stays none.
#[inline(always)]
fn rounded(x: f32) -> u32 {
    let bits = x.to_bits();
    let up = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    if x.is_nan() { bits | 1 << 22 } else { up }
}

#[inline(always)]
fn pair(first: f32, second: f32) -> u32 {
    rounded(first) >> 16 | rounded(second) & 0xffff_0000
}

/// Pack lines from `line` on, from `start` to `end` along the inner size, into rows of `count` tiles that follow each other along
/// it. `lines` has them as rows, whichever side they are of. Beyond its last line, and beyond `end`, tiles are 0.
pub fn pack(
    side: Side,
    lines: Mat<'_, f32>,
    line: usize,
    (start, end): (usize, usize),
    (count, tiles): (usize, &mut [Tile]),
) {
    // Rows of tiles, and tiles of a row, that lie within the factor.
    let rows = tiles.len() / count;
    let whole_rows = rows.min(lines.rows.saturating_sub(line) / LINES);
    let whole = (end - start) / DEPTH;
    let from = |l: usize, k: usize| &lines.data[(line + l) * lines.rs + (start + k) * lines.cs..];
    let (whole_rows, whole) = match (lines.cs, lines.rs) {
        (1, _) => {
            simd(|| {
                for (row, tiles) in tiles.chunks_exact_mut(count).take(whole_rows).enumerate() {
                    for l in 0..LINES {
                        along(side, from(row * LINES + l, 0), l, &mut tiles[..whole]);
                    }
                }
            });
            (whole_rows, whole)
        }
        (_, 1) => {
            simd(|| {
                for i in 0..whole {
                    for p in 0..PAIRS {
                        let k = i * DEPTH + 2 * p;
                        if whole_rows > 0 {
                            let tiles = tiles[i..].iter_mut().step_by(count).take(whole_rows);
                            across(side, (from(0, k), from(0, k + 1)), p, tiles);
                        }
                    }
                }
            });
            (whole_rows, whole)
        }
        _ => (0, 0),
    };
    for (row, tiles) in tiles.chunks_exact_mut(count).enumerate() {
        let done = if row < whole_rows { whole } else { 0 };
        for (i, tile) in tiles.iter_mut().enumerate().skip(done) {
            edge(side, lines, line + row * LINES, (start + i * DEPTH, end), tile);
        }
    }
}

/// Line `l` of a row of tiles, whose elements lie side by side: read from one end to the other, as memory is fetched.
#[inline(always)]
fn along(side: Side, data: &[f32], l: usize, tiles: &mut [Tile]) {
    for (tile, line) in tiles.iter_mut().zip(data.as_chunks::<DEPTH>().0) {
        let mut pairs = [0; PAIRS];
        for p in 0..PAIRS {
            pairs[p] = pair(line[2 * p], line[2 * p + 1]);
        }
        match side {
            Side::Left => tile.0[l * PAIRS..][..PAIRS].copy_from_slice(&pairs),
            Side::Right => (0..PAIRS).for_each(|p| tile.0[p * LINES + l] = pairs[p]),
        }
    }
}

/// Pair `p` of the lines of tiles above each other, which lie side by side.
#[inline(always)]
fn across<'a>(side: Side, (first, second): (&[f32], &[f32]), p: usize, tiles: impl Iterator<Item = &'a mut Tile>) {
    for ((tile, first), second) in tiles.zip(first.as_chunks::<LINES>().0).zip(second.as_chunks::<LINES>().0) {
        let mut lines = [0; LINES];
        for l in 0..LINES {
            lines[l] = pair(first[l], second[l]);
        }
        match side {
            Side::Left => (0..LINES).for_each(|l| tile.0[l * PAIRS + p] = lines[l]),
            Side::Right => tile.0[p * LINES..][..LINES].copy_from_slice(&lines),
        }
    }
}

/// A tile that reaches beyond the factor, or of a factor that is neither rows nor columns.
#[inline(always)]
fn edge(side: Side, lines: Mat<'_, f32>, line: usize, (start, end): (usize, usize), tile: &mut Tile) {
    *tile = Tile::ZERO;
    for l in 0..LINES.min(lines.rows.saturating_sub(line)) {
        for k in 0..DEPTH.min(end.saturating_sub(start)) {
            let half = rounded(lines.data[(line + l) * lines.rs + (start + k) * lines.cs]) >> 16;
            let place = match side {
                Side::Left => l * PAIRS + k / 2,
                Side::Right => k / 2 * LINES + l,
            };
            tile.0[place] |= half << (16 * (k % 2));
        }
    }
}

/// The elements of a matrix, row by row, each the nearest bf16.
pub fn nearest(mat: Mat<'_, f32>) -> Vec<f32> {
    let row = |r: usize| (0..mat.cols).map(move |c| bf16::from_f32(mat.data[r * mat.rs + c * mat.cs]).to_f32());
    (0..mat.rows).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_as_by_the_crate_half() {
        let few = [
            0.0,
            -0.0,
            1.0,
            1.003_906_2,
            1.011_718_8,
            f32::MAX,
            f32::MIN_POSITIVE,
            f32::INFINITY,
            -3.3,
            1e-40,
            f32::NAN,
        ];
        let many = (0..10_000_u32).map(|i| f32::from_bits(i.wrapping_mul(429_497)));
        for x in few.into_iter().chain(many) {
            let half = u16::try_from(rounded(x) >> 16).unwrap();
            assert!(half == bf16::from_f32(x).to_bits() || x.is_nan() && bf16::from_bits(half).is_nan(), "{x}");
        }
    }

    #[test]
    fn a_tile_holds_its_lines_whatever_the_layout() {
        let (rows, cols) = (37, 70);
        let data: Vec<f32> = (0_u16..37 * 70).map(f32::from).collect();
        let turned: Vec<f32> = (0..cols * rows).map(|i| data[i % rows * cols + i / rows]).collect();
        for lines in [Mat::rows(&data, rows, cols, cols), Mat::rows(&turned, cols, rows, rows).t()] {
            for (side, first) in [Side::Left, Side::Right].into_iter().flat_map(|side| [(side, 0), (side, 16)]) {
                let mut all = [Tile([u32::MAX; LINES * PAIRS]); 12];
                pack(side, lines, first, (0, cols), (3, &mut all));
                for (l, k) in (0..4 * LINES).flat_map(|l| (0..3 * DEPTH).map(move |k| (l, k))) {
                    let tiles = &all[l / LINES * 3..];
                    let (line, l) = (first + l / LINES * LINES, l % LINES);
                    let (tile, p) = (&tiles[k / DEPTH], k % DEPTH / 2);
                    let place = if side == Side::Left { l * PAIRS + p } else { p * LINES + l };
                    let found = bf16::from_bits(u16::try_from(tile.0[place] >> (16 * (k % 2)) & 0xffff).unwrap());
                    let inside = line + l < rows && k < cols;
                    let want = if inside { bf16::from_f32(data[(line + l) * cols + k]) } else { bf16::ZERO };
                    assert_eq!(found, want, "{side:?}, line {line} + {l}, element {k}");
                }
            }
        }
    }
}
