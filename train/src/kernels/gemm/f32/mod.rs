//! Products of f32 matrices on x86 with AVX-512, or with AVX2 and FMA. The right factor is packed in panels of a tile's width, each by the
//! thread that makes those columns of the product; the left one is read where it lies if its rows are whole. Each element is a sum whose
//! order depends on the inner size alone.

#![allow(
    unsafe_code,
    reason = "tiles are reached by addresses; the asserts of `multiply` are what they need to be sound"
)]

mod tile;
mod vector;

use std::{cell::Cell, ops::Range};

use rayon::prelude::*;

use self::{
    tile::{Line, More, Tile},
    vector::{Avx2, Avx512, Vector},
};
use crate::kernels::matrix::Mat;

/// Rows of the product from which on it is made here, and columns and inner size: packing would take longer than multiplying.
pub const LEAST: usize = 8;

/// Elements of the right factor that are packed at a time: what stays in the cache of a core beside the rest.
const PACKED: usize = 192 << 10;

/// Rows of the right factor that are packed at a time, at the most.
const DEEP: usize = 1024;

/// Pieces of a product for each thread: enough for all to end together, for what else they do.
const PIECES: usize = 4;

/// Rows of a piece, at the least: whole tiles of either height. Packing for fewer would take longer than another thread's help saves.
const HIGH: usize = 96;

/// A right factor is used by so many rows at the least if it is packed although its rows are whole.
const REUSED: usize = 32;

/// Instructions for products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// Tiles of 8 x 48.
    Avx512,
    /// Tiles of 6 x 16.
    Avx2,
}

impl Instructions {
    /// Those that products are made by, if any.
    pub fn best() -> Option<Self> {
        Self::all().next()
    }

    /// Those that this machine has, the best first.
    pub fn all() -> impl Iterator<Item = Self> {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = avx2 && is_x86_feature_detected!("avx512f");
        [(Self::Avx512, avx512), (Self::Avx2, avx2)].into_iter().filter_map(|(which, has)| has.then_some(which))
    }
}

thread_local! {
    static RIGHT: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Memory of this thread, which the next product uses again.
struct Scratch(Vec<Line>);

impl Scratch {
    fn new(elements: usize) -> Self {
        let mut lines = RIGHT.take();
        let count = elements.div_ceil(16);
        if lines.len() < count {
            lines.resize(count, Line([0.0; 16]));
        }
        Self(lines)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        RIGHT.set(std::mem::take(&mut self.0));
    }
}

/// An address that threads share: each reaches a part of its own.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: who uses it keeps the parts apart.
unsafe impl Send for Shared {}
// SAFETY: the same.
unsafe impl Sync for Shared {}

impl Shared {
    fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

/// What a product is added up of: alpha a b.
#[derive(Clone, Copy)]
pub struct Term<'a> {
    /// The left factor, whose rows are whole.
    pub a: Mat<'a, f32>,
    /// The right one.
    pub b: Mat<'a, f32>,
    /// What each element is multiplied by.
    pub alpha: f32,
}

impl Term<'_> {
    fn check(self, (m, n): (usize, usize)) {
        let Self { a, b, .. } = self;
        assert!(a.cols > 0 && a.cols == b.rows, "inner sizes differ, or there is nothing to multiply");
        assert!((a.rows, b.cols) == (m, n), "terms differ in shape");
        assert!(a.cs == 1, "rows of the left factor are not whole");
        for x in [&a, &b] {
            assert!(x.data.len() > (x.rows - 1) * x.rs + (x.cols - 1) * x.cs, "a factor is too short");
        }
    }
}

/// The inner size of a second term, at the most.
pub const MORE: usize = 256;

/// `dst = alpha a b + beta dst`, as `gemm` of the CPU: every `depth` products are added up before they join the sum of an element. A second
/// term of a small inner size, as an adapter's, is added to each tile while it is in the cache: the same bits as of two products.
///
/// # Panics
/// The shapes do not fit each other or the slices, or the processor lacks the instructions: a fault of ours.
pub fn multiply(
    instructions: Instructions,
    (dst, rs): (&mut [f32], usize),
    (term, more): (Term<'_>, Option<Term<'_>>),
    beta: f32,
    (depth, parallel): (usize, bool),
) {
    let Term { a, b, alpha } = term;
    let (m, k, n) = (a.rows, a.cols, b.cols);
    assert!(Instructions::all().any(|had| had == instructions), "no {instructions:?}");
    assert!(m > 0 && n > 0, "there is nothing to multiply");
    assert!(rs >= n && dst.len() >= (m - 1) * rs + n, "the product does not fit");
    term.check((m, n));
    if let Some(more) = more {
        more.check((m, n));
        assert!(more.a.cols <= MORE, "a second term is too deep");
    }
    // SAFETY: what is run is compiled for instructions that are there.
    let (run, panel): (Run, usize) = match instructions {
        // The width of many a head is better cut in two.
        Instructions::Avx512 => (|block, rows| unsafe { avx512(block, rows) }, if n == 64 { 32 } else { 48 }),
        Instructions::Avx2 => (|block, rows| unsafe { avx2(block, rows) }, 16),
    };
    // In parts as equal as they can be, of whole depths.
    let deep = k.div_ceil(k.div_ceil(DEEP)).next_multiple_of(depth).min(k);
    // Columns whose last vector is not whole are packed whatever happens: others' would be read beyond the end.
    let packed = b.cs != 1 || m >= REUSED || n % panel != 0;
    let panels = n.div_ceil(panel);
    let threads = if parallel { rayon::current_num_threads() } else { 1 };
    // A piece is made by one thread, which packs its columns itself: threads wait for each other once a product. One that is woken up for
    // every panel and every block of rows costs a third of the time on two cores.
    let share = if threads == 1 { panels } else { panels.div_ceil(threads * PIECES) };
    let wide = if packed { share.min(PACKED / deep / panel).max(1) } else { share };
    let across = panels.div_ceil(wide);
    // Where columns are fewer than threads, some are packed by several of them.
    let down = if across < threads { m.div_ceil(HIGH).min((threads * 2).div_ceil(across)) } else { 1 };
    let high = m.div_ceil(down).next_multiple_of(if down == 1 { 1 } else { HIGH / 4 });
    let down = m.div_ceil(high);
    let to = Shared(dst.as_mut_ptr());
    let piece = |i: usize| {
        let rows = i % down * high..m.min((i % down + 1) * high);
        let left_edge = i / down * wide * panel;
        let width = (wide * panel).min(n - left_edge);
        let panels = width.div_ceil(panel);
        let own = if packed { panels * panel * deep } else { 0 };
        let mut scratch = Scratch::new(own + more.map_or(0, |more| panels * panel * more.a.cols));
        let right = Shared(scratch.0.as_mut_ptr().cast());
        for start in (0..k).step_by(deep) {
            let part = deep.min(k - start);
            let columns = |b: Mat<'_, f32>| left_edge * b.cs;
            let more = more.filter(|_| start + part == k).map(|Term { a, b, alpha }| {
                let b = Mat { data: &b.data[columns(b)..], cols: width, ..b };
                Part { a, b, alpha, right: Some(Shared(right.at(own))) }
            });
            let block = Block {
                to: Shared(to.at(left_edge)),
                rs,
                own: Part {
                    a: Mat { data: &a.data[start..], cols: part, ..a },
                    b: Mat { data: &b.data[start * b.rs + columns(b)..], rows: part, cols: width, ..b },
                    alpha,
                    right: packed.then_some(right),
                },
                more,
                panel,
                beta: if start == 0 { beta } else { 1.0 },
                depth,
            };
            run(&block, rows.clone());
        }
    };
    if threads == 1 {
        (0..across * down).for_each(piece);
    } else {
        (0..across * down).into_par_iter().with_max_len(1).for_each(piece);
    }
}

/// A part of the inner size and of the columns.
struct Block<'a> {
    /// The product's first element.
    to: Shared,
    rs: usize,
    own: Part<'a>,
    more: Option<Part<'a>>,
    /// Columns of a panel, whole vectors.
    panel: usize,
    beta: f32,
    depth: usize,
}

/// The part of a term.
#[derive(Clone, Copy)]
struct Part<'a> {
    a: Mat<'a, f32>,
    b: Mat<'a, f32>,
    alpha: f32,
    /// Where panels of `b` are packed, one behind another.
    right: Option<Shared>,
}

impl Part<'_> {
    /// Row by row, with zeros beyond the last column.
    #[inline(always)]
    unsafe fn pack<L: Vector>(&self, panel: usize, panel_width: usize) {
        let (b, Some(right)) = (self.b, self.right) else { return };
        let to = right.at(panel * panel_width * b.rows);
        let first = panel * panel_width;
        let width = panel_width.min(b.cols - first);
        let from = b.data[first * b.cs..].as_ptr();
        // SAFETY: every element that is read lies in `b`, whose size was checked; the panel is this call's alone.
        unsafe {
            if width == panel_width && b.cs == 1 {
                for row in 0..b.rows {
                    for columns in (0..panel_width).step_by(L::LANES) {
                        L::load(from.wrapping_add(row * b.rs + columns))
                            .store(to.wrapping_add(row * panel_width + columns));
                    }
                }
                return;
            }
            for group in 0..panel_width / L::LANES {
                let (columns, to) = (group * L::LANES, to.wrapping_add(group * L::LANES));
                let lanes = L::LANES.min(width.saturating_sub(columns));
                let from = from.wrapping_add(columns * b.cs);
                let mut row = 0;
                if lanes == L::LANES && b.rs == 1 {
                    while row + L::LANES <= b.rows {
                        L::transpose((from.wrapping_add(row), b.cs), (to.wrapping_add(row * panel_width), panel_width));
                        row += L::LANES;
                    }
                }
                while row < b.rows {
                    for lane in 0..L::LANES {
                        let x = if lane < lanes { *from.wrapping_add(row * b.rs + lane * b.cs) } else { 0.0 };
                        *to.wrapping_add(row * panel_width + lane) = x;
                    }
                    row += 1;
                }
            }
        }
    }

    /// Rows of the left factor from the first of `height` on. Of those that are lacking the last one, and their sums are not looked at.
    #[inline(always)]
    fn left<const M: usize>(&self, (first, height): (usize, usize)) -> [*const f32; M] {
        std::array::from_fn(|i| self.a.data[(first + i.min(height - 1)) * self.a.rs..].as_ptr())
    }

    /// The right factor's columns from `edge` on, and how far its rows are from each other.
    #[inline(always)]
    fn right(&self, edge: usize, panel: usize) -> (*const f32, usize) {
        match self.right {
            Some(right) => (right.at(edge * self.b.rows).cast_const(), panel),
            None => (self.b.data[edge..].as_ptr(), self.b.rs),
        }
    }
}

/// Makes these rows of a block.
type Run = fn(&Block<'_>, Range<usize>);

#[target_feature(enable = "avx512f,avx2,fma")]
fn avx512(block: &Block<'_>, rows: Range<usize>) {
    // SAFETY: the instructions are enabled.
    unsafe { block.run::<Avx512, 8>(rows) }
}

#[target_feature(enable = "avx2,fma")]
fn avx2(block: &Block<'_>, rows: Range<usize>) {
    // SAFETY: the instructions are enabled.
    unsafe { block.run::<Avx2, 6>(rows) }
}

impl Block<'_> {
    #[inline(always)]
    unsafe fn run<L: Vector, const M: usize>(&self, rows: Range<usize>) {
        let Self { own, more, depth, panel: panel_width, .. } = *self;
        let panels = own.b.cols.div_ceil(panel_width);
        for panel in 0..panels {
            // SAFETY: as above.
            unsafe {
                own.pack::<L>(panel, panel_width);
                if let Some(more) = more {
                    more.pack::<L>(panel, panel_width);
                }
            }
        }
        for first in rows.clone().step_by(M) {
            let height = M.min(rows.end - first);
            let left = own.left((first, height));
            let more = more.map(|more| (more, more.left((first, height))));
            for panel in 0..panels {
                let edge = panel * panel_width;
                let size = (height, panel_width.min(own.b.cols - edge));
                let to = (self.to.at(first * self.rs + edge), self.rs);
                let right = own.right(edge, panel_width);
                let factors = (own.alpha, self.beta);
                let tile: Tile<M> = Tile { to, size, left, right, k: own.a.cols, depth, factors };
                // SAFETY: the sizes are those of `multiply`; rows and columns of the product are this call's alone.
                unsafe { make::<L, M>(tile) };
                if let Some((more, left)) = more {
                    let right = more.right(edge, panel_width);
                    // SAFETY: the same.
                    unsafe { make::<L, M>(tile.then(More { left, right, k: more.a.cols, alpha: more.alpha })) };
                }
            }
        }
    }
}

/// A tile by its width.
#[inline(always)]
unsafe fn make<L: Vector, const M: usize>(tile: Tile<M>) {
    // SAFETY: as for the tile.
    unsafe {
        match tile.size.1.div_ceil(L::LANES) {
            1 => tile.make::<L, 1>(),
            2 => tile.make::<L, 2>(),
            _ => tile.make::<L, 3>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{key, uniform_vec};

    #[test]
    fn equals_the_definition_for_every_layout_and_a_row_is_the_same_beside_others() {
        for instructions in Instructions::all() {
            // The last ones have fewer panels than threads, and more of them than pieces.
            for (m, k, n) in [
                (1, 1, 1),
                (7, 70, 49),
                (9, 33, 48),
                (70, 300, 100),
                (40, 1100, 96),
                (130, 64, 192),
                (8, 520, 1),
                (33, 70, 3120),
                (500, 40, 16),
                (33, 9, 1700),
            ] {
                let (a, b) = (uniform_vec(key(1, "a"), m * k, 1.0), uniform_vec(key(1, "b"), k * n, 1.0));
                let old = uniform_vec(key(1, "c"), m * n, 1.0);
                let at = Mat::rows(&a, m, k, k);
                for tb in [false, true] {
                    let bt = if tb { Mat::rows(&b, n, k, k).t() } else { Mat::rows(&b, k, n, n) };
                    let made = |a: Mat<'_, f32>, old: &[f32], threads| {
                        let (mut c, term) = (old.to_vec(), (Term { a, b: bt, alpha: 2.0 }, None));
                        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                        pool.install(|| multiply(instructions, (&mut c, n), term, 0.5, (256, threads > 1)));
                        c
                    };
                    let got = made(at, &old, 2);
                    for threads in [1, 3, 7] {
                        assert!(got == made(at, &old, threads), "{m}x{k}x{n}: threads change the result");
                    }
                    let one = Mat { data: &at.data[(m - 1) * at.rs..], rows: 1, ..at };
                    assert!(got[(m - 1) * n..] == made(one, &old[(m - 1) * n..], 2), "{m}x{k}x{n}: a row by itself");
                    let mut others = Instructions::all().filter(|other| *other != instructions);
                    let alike = |other| {
                        let mut c = old.clone();
                        multiply(other, (&mut c, n), (Term { a: at, b: bt, alpha: 2.0 }, None), 0.5, (256, true));
                        c == got
                    };
                    assert!(others.all(alike), "{instructions:?} {m}x{k}x{n}: others give other bits");
                    for (i, got) in got.iter().enumerate() {
                        let (r, c) = (i / n, i % n);
                        let product =
                            |i| f64::from(at.data[r * at.rs + i * at.cs]) * f64::from(bt.data[i * bt.rs + c * bt.cs]);
                        let want = 2.0 * (0..k).map(product).sum::<f64>() + 0.5 * f64::from(old[i]);
                        assert!((f64::from(*got) - want).abs() < 2e-4, "{instructions:?} {m}x{k}x{n} {tb} at {r},{c}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_second_term_is_that_of_a_second_product() {
        for instructions in Instructions::all() {
            for (m, k, n, r) in [(70, 300, 100, 16), (9, 1100, 48, 3), (40, 33, 500, 256)] {
                let [a, b] = [("a", m * k), ("b", k * n)].map(|(name, len)| uniform_vec(key(1, name), len, 1.0));
                let [a2, b2] = [("a2", m * r), ("b2", r * n)].map(|(name, len)| uniform_vec(key(1, name), len, 1.0));
                let first = Term { a: Mat::rows(&a, m, k, k), b: Mat::rows(&b, k, n, n), alpha: 1.0 };
                for b2 in [Mat::rows(&b2, r, n, n), Mat::rows(&b2, n, r, r).t()] {
                    let second = Term { a: Mat::rows(&a2, m, r, r), b: b2, alpha: 0.5 };
                    let (mut both, mut each) = (vec![f32::NAN; m * n], vec![f32::NAN; m * n]);
                    multiply(instructions, (&mut both, n), (first, Some(second)), 0.0, (256, true));
                    multiply(instructions, (&mut each, n), (first, None), 0.0, (256, true));
                    multiply(instructions, (&mut each, n), (second, None), 1.0, (256, true));
                    assert!(both == each, "{instructions:?} {m}x{k}x{n} and {r}");
                }
            }
        }
    }
}
