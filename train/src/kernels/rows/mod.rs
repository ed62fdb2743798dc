//! Rows of a matrix by their numbers: gathered, put in the place of others, and added up again where they came from.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};

/// Which of N rows each of M others stands for, on a device.
#[derive(Clone, Debug)]
pub struct RowIndex {
    /// N
    rows: usize,
    /// Row of each of the M.
    of: Vec<u32>,
    /// The same, u32 [M].
    places: Tensor,
    /// Made when somebody adds.
    reverse: OnceLock<Reverse>,
}

/// The way back.
#[derive(Clone, Debug)]
struct Reverse {
    /// Which of the M stand for each of the N rows, ascending, one row's after the other's, u32 [M].
    members: Tensor,
    /// Where each row's begin among them, and M, u32 [N + 1].
    starts: Tensor,
}

impl RowIndex {
    /// `places` [M] among `rows` rows.
    ///
    /// # Errors
    /// A place beyond them.
    pub fn new(places: Vec<u32>, rows: usize, device: &Device) -> Result<Self> {
        if let Some(place) = places.iter().find(|place| **place as usize >= rows) {
            return Err(Error::Other(format!("row {place} of {rows} rows is asked for")));
        }
        Ok(Self { rows, places: Tensor::new(&places[..], device)?, of: places, reverse: OnceLock::new() })
    }

    #[allow(clippy::cast_possible_truncation, reason = "places are u32, and so are their numbers")]
    fn reverse(&self) -> Result<&Reverse> {
        if let Some(reverse) = self.reverse.get() {
            return Ok(reverse);
        }
        let (places, rows, device) = (&self.of, self.rows, self.places.device());
        let mut starts = vec![0_u32; rows + 1];
        for place in places {
            starts[*place as usize + 1] += 1;
        }
        for row in 0..rows {
            starts[row + 1] += starts[row];
        }
        let (mut next, mut members) = (starts.clone(), vec![0_u32; places.len()]);
        for (member, place) in places.iter().enumerate() {
            let at = &mut next[*place as usize];
            members[*at as usize] = member as u32;
            *at += 1;
        }
        let members = Tensor::from_vec(members, places.len(), device)?;
        let starts = Tensor::from_vec(starts, rows + 1, device)?;
        Ok(self.reverse.get_or_init(|| Reverse { members, starts }))
    }

    /// Refuses two that stand for the same row: on a GPU nothing says which of them is written last.
    fn apart(&self) -> Result<()> {
        let mut places = self.of.clone();
        places.sort_unstable();
        match places.windows(2).find(|two| two[0] == two[1]) {
            Some(two) => Err(Error::Other(format!("row {} would be written twice", two[0]))),
            None => Ok(()),
        }
    }

    /// W, if `all` [N, W] and `some` [M, W] fit.
    fn width(&self, all: &Tensor, some: &Tensor) -> Result<usize> {
        let ((rows, width), (members, other)) = (all.dims2()?, some.dims2()?);
        if (rows, members, width) == (self.rows, self.of.len(), other) {
            return Ok(width);
        }
        let sizes = format!("{} of {} rows", self.of.len(), self.rows);
        Err(Error::Other(format!("{sizes}: {:?} beside {:?}", all.shape(), some.shape())))
    }
}

/// The rows of `all` [N, W] that each of M stands for, [M, W], in the type `dtype`.
pub fn gather_rows(all: &Tensor, index: &RowIndex, dtype: DType) -> Result<Tensor> {
    by_device!(all, gather_rows(all, index, dtype))
}

/// Put each row of `some` [M, W] in the place of the row of `all` [N, W] that it stands for, in the type of both.
///
/// # Errors
/// Two stand for the same row; other sizes or types.
pub fn put_rows_(all: &Tensor, index: &RowIndex, some: &Tensor) -> Result<()> {
    index.width(all, some)?;
    index.apart()?;
    by_device!(all, put_rows_(all, index, some))
}

/// Add to each row of `all` [N, W] those of `some` [M, W] that stand for it, in the order of their numbers. On a GPU the sum
/// is in f32 and rounded once.
pub fn add_rows_(all: &Tensor, index: &RowIndex, some: &Tensor) -> Result<()> {
    index.width(all, some)?;
    by_device!(all, add_rows_(all, index, some))
}

/// The same on rows of zeros, [N, W].
pub fn sum_rows(index: &RowIndex, some: &Tensor) -> Result<Tensor> {
    by_device!(some, sum_rows(index, some))
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "exact on purpose")]
mod tests {
    use super::*;

    #[test]
    fn rows_go_and_come_back_in_their_order() {
        let all = Tensor::new(&[[1_f32, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]], &Device::Cpu).unwrap();
        let index = RowIndex::new(vec![3, 0, 3, 2], 4, &Device::Cpu).unwrap();
        let some = gather_rows(&all, &index, DType::F32).unwrap();
        let rows = |t: &Tensor| t.to_vec2::<f32>().unwrap();
        assert_eq!(rows(&some), [[7.0, 8.0], [1.0, 2.0], [7.0, 8.0], [5.0, 6.0]]);
        assert_eq!(rows(&sum_rows(&index, &some).unwrap()), [[1.0, 2.0], [0.0, 0.0], [5.0, 6.0], [14.0, 16.0]]);
        add_rows_(&all, &index, &some).unwrap();
        assert_eq!(rows(&all), [[2.0, 4.0], [3.0, 4.0], [10.0, 12.0], [21.0, 24.0]]);
        // (1e8 + 1) - 1e8 is 0 in f32, and 1e8 - 1e8 + 1 is not.
        let some = Tensor::new(&[[1_f32], [0.0], [1e8], [0.0]], &Device::Cpu).unwrap();
        let all = Tensor::new(&[[0_f32], [0.0], [0.0], [-1e8]], &Device::Cpu).unwrap();
        add_rows_(&all, &index, &some).unwrap();
        assert_eq!(rows(&all)[3], [0.0]);
    }

    #[test]
    fn rows_take_the_place_of_others_once() {
        let all = Tensor::new(&[[1_f32, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu).unwrap();
        let some = Tensor::new(&[[7_f32, 8.0], [9.0, 10.0]], &Device::Cpu).unwrap();
        let index = |places: [u32; 2]| RowIndex::new(places.to_vec(), 3, &Device::Cpu).unwrap();
        put_rows_(&all, &index([2, 0]), &some).unwrap();
        assert_eq!(all.to_vec2::<f32>().unwrap(), [[9.0, 10.0], [3.0, 4.0], [7.0, 8.0]]);
        let error = put_rows_(&all, &index([1, 1]), &some).unwrap_err().to_string();
        assert_eq!(error, "row 1 would be written twice");
    }

    #[test]
    fn a_row_that_is_not_there_and_other_sizes_are_refused() {
        let error = RowIndex::new(vec![0, 4], 4, &Device::Cpu).unwrap_err().to_string();
        assert_eq!(error, "row 4 of 4 rows is asked for");
        let index = RowIndex::new(vec![1], 2, &Device::Cpu).unwrap();
        let rows = |n| Tensor::zeros((n, 3), DType::F32, &Device::Cpu).unwrap();
        let error = add_rows_(&rows(3), &index, &rows(1)).unwrap_err().to_string();
        assert_eq!(error, "1 of 2 rows: [3, 3] beside [1, 3]");
    }
}
