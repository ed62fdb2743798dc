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

/// Pack lines from `line` on, from `start` to `end` along the inner size, into tiles that follow each other along it. `lines` has
/// them as rows, whichever side they are of. Beyond its last line, and beyond `end`, tiles are 0.
pub fn pack(side: Side, lines: Mat<'_, f32>, line: usize, (start, end): (usize, usize), tiles: &mut [Tile]) {
    simd(|| {
        for (i, tile) in tiles.iter_mut().enumerate() {
            let depth = start + i * DEPTH;
            if line + LINES <= lines.rows && depth + DEPTH <= end && lines.cs == 1 {
                along(side, &lines.data[line * lines.rs + depth..], lines.rs, tile);
            } else if line + LINES <= lines.rows && depth + DEPTH <= end && lines.rs == 1 {
                across(side, &lines.data[line + depth * lines.cs..], lines.cs, tile);
            } else {
                edge(side, lines, line, (depth, end), tile);
            }
        }
    });
}

/// A tile of lines whose elements lie side by side, lines `stride` apart.
#[inline(always)]
fn along(side: Side, data: &[f32], stride: usize, tile: &mut Tile) {
    let mut by_line = Tile::ZERO;
    for l in 0..LINES {
        let line = &data[l * stride..][..DEPTH];
        let out = &mut by_line.0[l * PAIRS..][..PAIRS];
        for p in 0..PAIRS {
            out[p] = pair(line[2 * p], line[2 * p + 1]);
        }
    }
    match side {
        Side::Left => *tile = by_line,
        Side::Right => transpose(&by_line, tile),
    }
}

/// A tile of lines that lie side by side, their elements `stride` apart.
#[inline(always)]
fn across(side: Side, data: &[f32], stride: usize, tile: &mut Tile) {
    let mut by_pair = Tile::ZERO;
    for p in 0..PAIRS {
        let first = &data[2 * p * stride..][..LINES];
        let second = &data[(2 * p + 1) * stride..][..LINES];
        let out = &mut by_pair.0[p * LINES..][..LINES];
        for l in 0..LINES {
            out[l] = pair(first[l], second[l]);
        }
    }
    match side {
        Side::Left => transpose(&by_pair, tile),
        Side::Right => *tile = by_pair,
    }
}

/// A tile that reaches beyond the factor, or of a factor that is neither rows nor columns.
#[inline(always)]
fn edge(side: Side, lines: Mat<'_, f32>, line: usize, (start, end): (usize, usize), tile: &mut Tile) {
    *tile = Tile::ZERO;
    for l in 0..LINES.min(lines.rows - line) {
        for k in 0..DEPTH.min(end - start) {
            let half = rounded(lines.data[(line + l) * lines.rs + (start + k) * lines.cs]) >> 16;
            let place = match side {
                Side::Left => l * PAIRS + k / 2,
                Side::Right => k / 2 * LINES + l,
            };
            tile.0[place] |= half << (16 * (k % 2));
        }
    }
}

#[inline(always)]
fn transpose(from: &Tile, to: &mut Tile) {
    for i in 0..LINES {
        for j in 0..LINES {
            to.0[j * LINES + i] = from.0[i * LINES + j];
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
            for (side, line) in
                [Side::Left, Side::Right].into_iter().flat_map(|side| [(side, 0), (side, 16), (side, 32)])
            {
                let mut tiles = [Tile::ZERO; 3];
                pack(side, lines, line, (0, cols), &mut tiles);
                for (l, k) in (0..LINES).flat_map(|l| (0..3 * DEPTH).map(move |k| (l, k))) {
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
