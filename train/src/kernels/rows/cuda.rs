//! rows.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor};

use super::RowIndex;
use crate::{
    error::Result,
    kernels::launch::{
        Launch, Module,
        Scalar::{I32, U32},
        empty, i32_of, module, suffix,
    },
};

const MODULE: Module = module!("rows");

/// Threads of a block, which has a row: enough for 1024 elements at a time.
const WIDE: u32 = 128;

pub fn gather_rows(all: &Tensor, index: &RowIndex, dtype: DType) -> Result<Tensor> {
    let (members, width) = (index.of.len(), all.dim(1)?);
    let some = empty((members, width), dtype, all.device())?;
    index.width(all, &some)?;
    let launch = Launch::new(&MODULE, format!("gather_rows_{}_{}", suffix(dtype)?, suffix(all.dtype())?))
        .write(&some, dtype, members * width)?
        .read(all, all.dtype(), index.rows * width)?
        .read(&index.places, DType::U32, members)?
        .values(&[I32(i32_of(width)?)]);
    // SAFETY: block i of `members` writes row i; its place was found to be below the rows of `all`.
    unsafe { launch.run((i32_of(members)?.unsigned_abs(), 1), WIDE, 0) }?;
    Ok(some)
}

pub fn put_rows_(all: &Tensor, index: &RowIndex, some: &Tensor) -> Result<()> {
    let (members, width, dtype) = (index.of.len(), index.width(all, some)?, all.dtype());
    let launch = Launch::new(&MODULE, format!("put_rows_{}", suffix(dtype)?))
        .write(all, dtype, index.rows * width)?
        .read(some, dtype, members * width)?
        .read(&index.places, DType::U32, members)?
        .values(&[I32(i32_of(width)?)]);
    // SAFETY: block i of `members` reads row i; its place was found to be below the rows of `all`, and no other's.
    Ok(unsafe { launch.run((i32_of(members)?.unsigned_abs(), 1), WIDE, 0) }?)
}

/// Each row of `all` becomes the sum of its own, and of what was there if `keep`.
fn add(all: &Tensor, index: &RowIndex, some: &Tensor, keep: bool) -> Result<()> {
    let (rows, members, width) = (index.rows, index.of.len(), index.width(all, some)?);
    let reverse = index.reverse()?;
    let launch = Launch::new(&MODULE, format!("add_rows_{}_{}", suffix(all.dtype())?, suffix(some.dtype())?))
        .write(all, all.dtype(), rows * width)?
        .read(some, some.dtype(), members * width)?
        .read(&reverse.starts, DType::U32, rows + 1)?
        .read(&reverse.members, DType::U32, members)?
        .values(&[I32(i32_of(width)?), U32(u32::from(keep))]);
    // SAFETY: block i of `rows` writes row i; its members are those of `RowIndex::reverse`, all of them below `members`.
    Ok(unsafe { launch.run((i32_of(rows)?.unsigned_abs(), 1), WIDE, 0) }?)
}

pub fn add_rows_(all: &Tensor, index: &RowIndex, some: &Tensor) -> Result<()> {
    add(all, index, some, true)
}

pub fn sum_rows(index: &RowIndex, some: &Tensor) -> Result<Tensor> {
    let all = empty((index.rows, some.dim(1)?), some.dtype(), some.device())?;
    add(&all, index, some, false)?;
    Ok(all)
}
