//! Matrices without copying: rows of a larger one, columns, transposed.

/// A matrix in somebody's memory: element (r, c) lies at `r * rs + c * cs`.
#[derive(Clone, Copy)]
pub struct Mat<'a, T> {
    /// The elements, the first of them element (0, 0).
    pub data: &'a [T],
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Distance of rows.
    pub rs: usize,
    /// Distance of columns.
    pub cs: usize,
}

impl<'a, T> Mat<'a, T> {
    /// Rows that lie `rs` apart, columns side by side.
    pub fn rows(data: &'a [T], rows: usize, cols: usize, rs: usize) -> Self {
        Self { data, rows, cols, rs, cs: 1 }
    }

    /// The same elements with rows and columns exchanged.
    #[must_use]
    pub fn t(self) -> Self {
        Self { data: self.data, rows: self.cols, cols: self.rows, rs: self.cs, cs: self.rs }
    }
}
