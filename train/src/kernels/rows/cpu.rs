//! Rows by their numbers on the CPU.

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use super::RowIndex;
use crate::{
    error::Result,
    kernels::{
        float::{Float, with_float},
        storage::{Elements, update},
    },
};

pub fn gather_rows(all: &Tensor, index: &RowIndex, dtype: DType) -> Result<Tensor> {
    Ok(all.index_select(&index.places, 0)?.to_dtype(dtype)?)
}

pub fn put_rows_(all: &Tensor, index: &RowIndex, some: &Tensor) -> Result<()> {
    let (width, some) = (index.width(all, some)?, Elements::of(some));
    with_float!(all, T => {
        let some = some.slice::<T>()?;
        update::<T, _>(all, |all| {
            for (i, place) in index.of.iter().enumerate() {
                all[*place as usize * width..][..width].copy_from_slice(&some[i * width..][..width]);
            }
        })
    })
}

pub fn sum_rows(index: &RowIndex, some: &Tensor) -> Result<Tensor> {
    let all = Tensor::zeros((index.rows, some.dim(1)?), some.dtype(), some.device())?;
    super::add_rows_(&all, index, some)?;
    Ok(all)
}

pub fn add_rows_(all: &Tensor, index: &RowIndex, some: &Tensor) -> Result<()> {
    let (width, reverse) = (all.dim(1)?, index.reverse()?);
    let (starts, members) = (Elements::of(&reverse.starts), Elements::of(&reverse.members));
    let (starts, members, some) = (starts.slice::<u32>()?, members.slice::<u32>()?, Elements::of(some));
    with_float!(all, T => {
        let some = some.slice::<T>()?;
        update::<T, _>(all, |all| add(all, width, (starts, members), some))
    })
}

fn add<T: Float>(all: &mut [T], width: usize, (starts, members): (&[u32], &[u32]), some: &[T]) {
    if width == 0 {
        return;
    }
    all.par_chunks_mut(width).zip(starts.par_windows(2)).for_each(|(row, ends)| {
        for member in &members[ends[0] as usize..ends[1] as usize] {
            let other = &some[*member as usize * width..][..width];
            row.iter_mut().zip(other).for_each(|(sum, x)| *sum += *x);
        }
    });
}
