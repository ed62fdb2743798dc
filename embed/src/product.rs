//! Products of matrices in 32 bits. Each element of a product is the sum of its terms by ascending index, from 0, each term
//! rounded before it is added: vector code computes several elements side by side and changes none. Rust joins no product
//! and sum into one operation by itself, so that AVX-512, AVX2 and plain code give the same bits.

#![allow(clippy::inline_always, reason = "what is compiled for wide vectors has to be in their function")]

/// Columns that are computed side by side.
const COLUMNS: usize = 16;

/// Rows that share a pass over these.
const ROWS: usize = 6;

/// A matrix as the right side of products: cut into panels of [`COLUMNS`] columns, each panel row after row. The last one is
/// filled up with zeros.
pub struct Panels {
    /// Rows of the matrix.
    depth: usize,
    /// Its columns.
    columns: usize,
    values: Vec<[f32; COLUMNS]>,
}

impl Panels {
    /// The matrix whose rows of so many columns lie one after another.
    pub fn from_rows(values: &[f32], columns: usize) -> Self {
        let depth = values.len().checked_div(columns).unwrap_or(0);
        Self::new(depth, columns, |row, column| values[row * columns + column])
    }

    /// The matrix whose columns of `depth` values lie one after another.
    pub fn from_columns(values: &[f32], depth: usize) -> Self {
        let columns = values.len().checked_div(depth).unwrap_or(0);
        Self::new(depth, columns, |row, column| values[column * depth + row])
    }

    fn new(depth: usize, columns: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        let mut panels = vec![[0.0; COLUMNS]; depth * columns.div_ceil(COLUMNS)];
        for (panel, lines) in panels.chunks_exact_mut(depth.max(1)).enumerate() {
            let first = panel * COLUMNS;
            let here = COLUMNS.min(columns - first);
            for (row, line) in lines.iter_mut().enumerate() {
                for (column, held) in line[..here].iter_mut().enumerate() {
                    *held = value(row, first + column);
                }
            }
        }
        Self { depth, columns, values: panels }
    }

    /// Its rows.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Its columns.
    pub fn columns(&self) -> usize {
        self.columns
    }
}

/// Write to `out` the product of `left`, whose rows of `right.depth()` values lie one after another, and `right`.
///
/// # Panics
/// `out` has not a value for each row of `left` and each column of `right`.
pub fn multiply(left: &[f32], right: &Panels, out: &mut [f32]) {
    let rows = left.len().checked_div(right.depth).unwrap_or(0);
    assert_eq!(out.len(), rows * right.columns, "a value for each row and column");
    // Six values of a column side by side, so that a pass reads on.
    let packed: Vec<[f32; ROWS]> = left
        .chunks(ROWS * right.depth.max(1))
        .flat_map(|group| (0..right.depth).map(|k| std::array::from_fn(|i| value(group, i * right.depth + k))))
        .collect();
    let run = Run { packed: &packed, right, rows, out };
    // For AVX-512 the compiler gathers single values and takes eight times as long.
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return pulp::Simd::vectorize(simd, run);
    }
    pulp::Arch::new().dispatch(run);
}

/// A product that is compiled for the widest vectors of this machine.
struct Run<'a> {
    packed: &'a [[f32; ROWS]],
    right: &'a Panels,
    rows: usize,
    out: &'a mut [f32],
}
impl pulp::NullaryFnOnce for Run<'_> {
    type Output = ();
    #[inline(always)]
    fn call(self) {
        let Run { packed, right, rows, out } = self;
        for (panel, lines) in right.values.chunks_exact(right.depth.max(1)).enumerate() {
            let first = panel * COLUMNS;
            let columns = COLUMNS.min(right.columns - first);
            for (group, left) in packed.chunks_exact(right.depth.max(1)).enumerate() {
                let sums = tile(left, lines);
                for (i, sums) in sums.iter().enumerate().take(rows - group * ROWS) {
                    let start = (group * ROWS + i) * right.columns + first;
                    out[start..start + columns].copy_from_slice(&sums[..columns]);
                }
            }
        }
    }
}

fn value(values: &[f32], at: usize) -> f32 {
    values.get(at).copied().unwrap_or(0.0)
}

/// The products of six rows with a panel.
#[inline(always)]
fn tile(left: &[[f32; ROWS]], panel: &[[f32; COLUMNS]]) -> [[f32; COLUMNS]; ROWS] {
    let mut sums = [[0.0; COLUMNS]; ROWS];
    for (left, right) in left.iter().zip(panel) {
        for (sums, x) in sums.iter_mut().zip(left) {
            for (sum, y) in sums.iter_mut().zip(right) {
                *sum += x * y;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that no sum of which is exact.
    fn values(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from(u16::try_from(state >> 16).unwrap_or(0)) / 65_536.0 - 0.5
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn every_element_is_the_sum_by_ascending_index() {
        for (rows, depth, columns) in [(1, 1, 1), (6, 16, 16), (7, 33, 17), (13, 512, 40), (0, 4, 4), (2, 5, 0)] {
            let (left, right) = (values(rows * depth, 1), values(depth * columns, 2));
            let mut expected = Vec::new();
            for i in 0..rows {
                for j in 0..columns {
                    let mut sum = 0.0_f32;
                    for k in 0..depth {
                        sum += left[i * depth + k] * right[k * columns + j];
                    }
                    expected.push(sum.to_bits());
                }
            }
            let turned: Vec<f32> = (0..columns)
                .flat_map(|j| (0..depth).map(move |k| (j, k)))
                .map(|(j, k)| right[k * columns + j])
                .collect();
            for panels in [Panels::from_rows(&right, columns), Panels::from_columns(&turned, depth)] {
                let mut out = vec![f32::NAN; rows * columns];
                multiply(&left, &panels, &mut out);
                assert_eq!(out.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), expected, "{rows} {depth} {columns}");
            }
        }
    }
}
