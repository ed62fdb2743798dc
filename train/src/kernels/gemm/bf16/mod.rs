//! Products of f32 matrices whose factors are rounded to bf16 first, on a CPU: what `torch.autocast` makes of a linear layer, but
//! that the product itself is not rounded. Sums are f32. Which instructions compute them decides in which order they are added up, and
//! so the last bits; the number of threads does not.

mod block;
mod tiles;

use std::{cell::Cell, thread::LocalKey};

use candle_core::Tensor;
use rayon::prelude::*;

use self::{
    block::{Instructions, SIDE, Sums},
    tiles::{DEPTH, LINES, Side, Tile, nearest, pack},
};
use super::cpu::{self, Threads, dims};
use crate::{
    error::Result,
    kernels::{
        matrix::Mat,
        storage::{Elements, update},
    },
};

/// The inner size is cut into blocks that are not longer, so that a block of the right factor stays in a core's cache of 2 MiB.
const DEEP: usize = 1024;

/// Columns of the right factor that are packed at a time.
const WIDE: usize = 1024;

/// Rows of the left factor that a thread packs and multiplies at a time.
const HIGH: usize = 256;

/// Rows of tiles of the right factor that a thread packs at a time: of columns that lie side by side, 512 bytes.
const ROWS: usize = 8;

/// A product of fewer rows is left to f32: packing the other factor would take longer than multiplying by it.
const FEW: usize = 32;

/// `dst = alpha a b + beta dst` for f32 matrices on a CPU, as `gemm_` of the folder, with factors rounded to bf16.
pub fn gemm_(dst: &Tensor, a: &Tensor, b: &Tensor, alpha: f64, beta: f64) -> Result<()> {
    let (m, _, n) = dims(dst, a, b)?;
    if m < FEW {
        return cpu::gemm_(dst, a, b, alpha, beta);
    }
    let (a, b) = (Elements::of(a), Elements::of(b));
    let (a, b) = (a.mat()?, b.mat()?);
    update::<f32, _>(dst, |out| gemm(out, n, a, b, (alpha, beta)))
}

/// The instructions for it, if this machine has any.
pub fn by() -> Option<&'static str> {
    Instructions::best().map(Instructions::name)
}

/// The same for slices; rows of `dst` are `rs` apart.
fn gemm(dst: &mut [f32], rs: usize, a: Mat<'_, f32>, b: Mat<'_, f32>, factors: (f64, f64)) {
    match Instructions::best() {
        Some(instructions) if a.cols > 0 => multiply(instructions, dst, rs, (a, b), factors),
        _ => multiply_rounded(dst, rs, (a, b), factors),
    }
}

/// Without instructions for it: products of two bf16 are exact in f32, so that f32 multiplies what is rounded before.
fn multiply_rounded(dst: &mut [f32], rs: usize, (a, b): (Mat<'_, f32>, Mat<'_, f32>), factors: (f64, f64)) {
    let left = nearest(a);
    for edge in (0..b.cols).step_by(WIDE) {
        let block = Mat { data: &b.data[edge * b.cs..], cols: WIDE.min(b.cols - edge), ..b };
        let right = nearest(block);
        let b = Mat::rows(&right, b.rows, block.cols, block.cols);
        cpu::gemm(&mut dst[edge..], rs, Mat::rows(&left, a.rows, a.cols, a.cols), b, factors, Threads::All);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "what multiplies f32 is f32")]
fn multiply(
    instructions: Instructions,
    dst: &mut [f32],
    rs: usize,
    (a, b): (Mat<'_, f32>, Mat<'_, f32>),
    (alpha, beta): (f64, f64),
) {
    let (m, k, n) = (a.rows, a.cols, b.cols);
    assert_eq!(k, b.rows, "inner sizes differ");
    if m == 0 || n == 0 {
        return;
    }
    assert!(rs >= n && dst.len() >= (m - 1) * rs + n, "the product does not fit");
    let deep = k.div_ceil(k.div_ceil(DEEP)).next_multiple_of(DEPTH);
    let wide = WIDE.min(n.next_multiple_of(SIDE));
    let columns = b.t();
    let mut right = Scratch::new(&RIGHT, wide / LINES * (deep / DEPTH));
    for left_edge in (0..n).step_by(wide) {
        let width = wide.min(n - left_edge);
        for start in (0..k).step_by(deep) {
            let range = (start, k.min(start + deep));
            let count = (range.1 - range.0).div_ceil(DEPTH);
            let right = &mut right.tiles[..width.div_ceil(SIDE) * 2 * count];
            right.par_chunks_mut(ROWS * count).enumerate().for_each(|(i, tiles)| {
                pack(Side::Right, columns, left_edge + i * ROWS * LINES, range, (count, tiles));
            });
            let block = Block {
                instructions,
                right,
                count,
                edge: left_edge,
                width,
                rs,
                alpha: alpha as f32,
                beta: if start == 0 { beta as f32 } else { 1.0 },
            };
            dst.par_chunks_mut(rs * HIGH).take(m.div_ceil(HIGH)).enumerate().for_each(|(i, out)| {
                let top = i * HIGH;
                let height = HIGH.min(m - top);
                let tiles = height.div_ceil(SIDE) * 2 * count;
                let left = &mut Scratch::new(&LEFT, tiles).tiles[..tiles];
                pack(Side::Left, a, top, range, (count, left));
                block.multiply(left, height, out);
            });
        }
    }
}

thread_local! {
    static LEFT: Cell<Vec<Tile>> = const { Cell::new(Vec::new()) };
    static RIGHT: Cell<Vec<Tile>> = const { Cell::new(Vec::new()) };
}

/// Tiles of this thread, which the next product uses again: a megabyte or two that would be cleared each time.
struct Scratch {
    place: &'static LocalKey<Cell<Vec<Tile>>>,
    /// As many as were asked for, or more, with anything in them.
    tiles: Vec<Tile>,
}

impl Scratch {
    fn new(place: &'static LocalKey<Cell<Vec<Tile>>>, count: usize) -> Self {
        let mut tiles = place.take();
        if tiles.len() < count {
            tiles.resize(count, Tile::ZERO);
        }
        Self { place, tiles }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.place.set(std::mem::take(&mut self.tiles));
    }
}

/// A block of the right factor, packed, and what becomes of the products with it.
struct Block<'a> {
    instructions: Instructions,
    right: &'a [Tile],
    /// Tiles along the inner size.
    count: usize,
    /// Its first column, and how many there are.
    edge: usize,
    width: usize,
    /// Between rows of the product.
    rs: usize,
    alpha: f32,
    beta: f32,
}

impl Block<'_> {
    /// Multiply `height` rows, packed, and put the products into rows of `out`.
    fn multiply(&self, left: &[Tile], height: usize, out: &mut [f32]) {
        self.instructions.run(|block| {
            let mut sums = Sums([0.0; SIDE * SIDE]);
            for (j, right) in self.right.chunks(2 * self.count).enumerate() {
                for (i, left) in left.chunks(2 * self.count).enumerate() {
                    block(left.split_at(self.count).into(), right.split_at(self.count).into(), &mut sums);
                    let columns = SIDE.min(self.width - j * SIDE);
                    for row in 0..SIDE.min(height - i * SIDE) {
                        let out = &mut out[(i * SIDE + row) * self.rs + self.edge + j * SIDE..][..columns];
                        let sums = sums.0[row * SIDE..].iter();
                        if self.beta == 0.0 {
                            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = self.alpha * sum);
                        } else {
                            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = self.alpha * sum + self.beta * *out);
                        }
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{key, uniform_vec};

    /// Every way that this machine has to compute a product, by name.
    type Way = (&'static str, Box<dyn Fn(&mut [f32], usize, (Mat<'_, f32>, Mat<'_, f32>), (f64, f64)) + Sync>);

    fn ways() -> Vec<Way> {
        let plain: Way = ("f32 of what is rounded", Box::new(multiply_rounded));
        let mut ways = vec![plain];
        for instructions in Instructions::all() {
            let name = if instructions == Instructions::Amx { "AMX" } else { "AVX512-BF16" };
            ways.push((name, Box::new(move |dst, rs, ab, by| multiply(instructions, dst, rs, ab, by))));
        }
        ways
    }

    #[test]
    fn equals_the_definition_for_any_layout_and_any_number_of_threads() {
        for (m, k, n) in [(32, 32, 32), (33, 65, 47), (1, 5, 1), (300, 40, 70), (40, 2100, 36), (34, 33, 1100)] {
            let (a, b) = (uniform_vec(key(1, "a"), m * k, 1.0), uniform_vec(key(1, "b"), k * n, 1.0));
            let old = uniform_vec(key(1, "c"), m * n, 1.0);
            for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
                let at = if ta { Mat::rows(&a, k, m, m).t() } else { Mat::rows(&a, m, k, k) };
                let bt = if tb { Mat::rows(&b, n, k, k).t() } else { Mat::rows(&b, k, n, n) };
                let (left, right) = (nearest(at), nearest(bt));
                let want: Vec<f64> = (0..m * n)
                    .map(|i| {
                        let (row, column) = (i / n, i % n);
                        let products = (0..k).map(|i| f64::from(left[row * k + i]) * f64::from(right[i * n + column]));
                        2.0 * products.sum::<f64>() + 0.5 * f64::from(old[i])
                    })
                    .collect();
                for (name, way) in &ways() {
                    let mut got = Vec::new();
                    for threads in [1, 2, 3] {
                        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                        let mut c = old.clone();
                        pool.install(|| way(&mut c, n, (at, bt), (2.0, 0.5)));
                        got.push(c);
                    }
                    assert!(got[0] == got[1] && got[1] == got[2], "{name}, {m}x{k}x{n}: threads change the result");
                    let off = got[0].iter().zip(&want).map(|(got, want)| (f64::from(*got) - want).abs());
                    let (off, most) = (off.fold(0.0, f64::max), 2e-7 * f64::from(u32::try_from(k).unwrap()).max(20.0));
                    assert!(off < most, "{name}, {m}x{k}x{n}, {ta} {tb}: {off}");
                }
            }
        }
    }

    #[test]
    fn what_is_beside_the_product_stays_and_with_beta_0_what_was_there_does_not_count() {
        let (m, k, n, rs) = (40, 64, 33, 50);
        let (a, b) = (uniform_vec(key(2, "a"), m * k, 1.0), uniform_vec(key(2, "b"), k * n, 1.0));
        for (name, way) in &ways() {
            let mut c = vec![f32::NAN; m * rs];
            way(&mut c, rs, (Mat::rows(&a, m, k, k), Mat::rows(&b, k, n, n)), (1.0, 0.0));
            for (i, x) in c.iter().enumerate() {
                assert_eq!(x.is_nan(), i % rs >= n, "{name}: {i}");
            }
        }
    }

    #[test]
    fn what_is_no_number_is_none_in_the_product() {
        let (a, b) = (vec![f32::NAN; 32 * 32], vec![0.0; 32 * 32]);
        for (name, way) in &ways() {
            let mut c = vec![0.0; 32 * 32];
            way(&mut c, 32, (Mat::rows(&a, 32, 32, 32), Mat::rows(&b, 32, 32, 32)), (1.0, 0.0));
            assert!(c.iter().all(|x| x.is_nan()), "{name}");
        }
    }
}
