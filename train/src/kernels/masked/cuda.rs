//! masked.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor};

use super::Mask;
use crate::{
    error::Result,
    kernels::{
        dropout::threshold,
        launch::{
            Launch, Module,
            Scalar::{self, F32, I32, I64, U32, U64},
            THREADS, blocks, empty, f32_of, i32_of, i64_of, module,
        },
        output::Output,
    },
};

const MODULE: Module = module!("masked");

/// Rows and columns of a tile, with those of masked.cu.
const TILE: usize = 64;
/// Tiles on their way or in use, with that of masked.cu.
const STAGES: usize = 3;
/// Tiles of columns that a block of `masked_product_` goes over, with that of masked.cu.
const COLUMNS: usize = 4;
const WIDE: u32 = 128;
/// Blocks that the gradient is divided among, at least: parts of the rows are added up apart and then in their order.
const LEAST_BLOCKS: usize = 256;

/// Whether there are kernels for `x` [T, in] and a matrix [r, in].
pub fn supports(x: &Tensor, a: &Tensor) -> Result<bool> {
    let ((_, width), (rank, _)) = (x.dims2()?, a.dims2()?);
    let aligned = |t: &Tensor| t.layout().start_offset().is_multiple_of(8);
    let fits = width.is_multiple_of(TILE) && [16, 32, 64].contains(&rank) && aligned(x) && aligned(a);
    Ok(x.device().is_cuda() && x.dtype() == DType::BF16 && fits)
}

/// Bytes of `rows` rows of tiles.
fn shared(rows: usize) -> u32 {
    u32::try_from(rows * TILE * 2).unwrap_or(u32::MAX)
}

/// What all of them are told of the mask and of sizes.
fn values(mask: Mask, rows: usize, width: usize) -> candle_core::Result<[Scalar; 5]> {
    let scale = f32_of(1.0 / (1.0 - mask.p));
    Ok([U64(mask.key), U32(threshold(mask.p)), F32(scale), I32(i32_of(rows)?), I32(i32_of(width)?)])
}

fn count(n: usize) -> candle_core::Result<u32> {
    Ok(i32_of(n)?.unsigned_abs())
}

pub fn masked_linear(x: &Tensor, a: &Tensor, mask: Mask) -> Result<Tensor> {
    let ((rows, width), rank) = (x.dims2()?, a.dim(0)?);
    let y = empty((rows, rank), DType::BF16, x.device())?;
    let launch = Launch::new(&MODULE, format!("masked_linear_{rank}"))
        .write(&y, DType::BF16, rows * rank)?
        .read(x, DType::BF16, rows * width)?
        .read(a, DType::BF16, rank * width)?
        .values(&values(mask, rows, width)?);
    // SAFETY: block i has the TILE rows from TILE i on, as far as there are; shared memory is STAGES tiles of both factors.
    unsafe { launch.run((count(rows.div_ceil(TILE))?, 1), WIDE, shared(STAGES * (TILE + rank))) }?;
    Ok(y)
}

pub fn masked_product_(dx: &Tensor, u: &Tensor, a: &Tensor, mask: Mask, output: Output) -> Result<()> {
    let ((rows, width), rank) = (dx.dims2()?, a.dim(0)?);
    let launch = Launch::new(&MODULE, format!("masked_product_{rank}"))
        .write(dx, DType::BF16, rows * width)?
        .read(u, DType::BF16, rows * rank)?
        .read(a, DType::BF16, rank * width)?
        .values(&values(mask, rows, width)?)
        .values(&[U32(u32::from(output == Output::Accumulate))]);
    let grid = (count(rows.div_ceil(TILE))?, count(width.div_ceil(TILE * COLUMNS))?);
    // SAFETY: a block has TILE rows of COLUMNS tiles, as far as there are; shared memory is u's rows, a's and the result's.
    Ok(unsafe { launch.run(grid, WIDE, shared(2 * TILE + rank)) }?)
}

pub fn masked_grad_(grad: &Tensor, u: &Tensor, x: &Tensor, mask: Mask) -> Result<()> {
    let ((rows, width), rank) = (x.dims2()?, grad.dim(0)?);
    // By the sizes alone, so that the order of the sum is the same on every GPU.
    let parts = LEAST_BLOCKS.div_ceil(width / TILE).min(rows.div_ceil(TILE)).max(1);
    let each = rows.div_ceil(TILE).div_ceil(parts) * TILE;
    let partial = empty((parts, rank, width), DType::F32, x.device())?;
    let launch = Launch::new(&MODULE, format!("masked_grad_{rank}"))
        .write(&partial, DType::F32, parts * rank * width)?
        .read(u, DType::BF16, rows * rank)?
        .read(x, DType::BF16, rows * width)?
        .values(&values(mask, rows, width)?)
        .values(&[I32(i32_of(each)?)]);
    // SAFETY: block (i, j) writes the TILE columns from TILE i on of part j; shared memory is STAGES tiles of both factors.
    unsafe { launch.run((count(width / TILE)?, count(parts)?), WIDE, shared(STAGES * 2 * TILE)) }?;
    let n = rank * width;
    let launch = Launch::new(&MODULE, "masked_sum")
        .write(grad, DType::F32, n)?
        .read(&partial, DType::F32, parts * n)?
        .values(&[I32(i32_of(parts)?), I64(i64_of(n))]);
    // SAFETY: reads and writes n elements, and reads n of each part.
    Ok(unsafe { launch.run((blocks(n), 1), THREADS, 0) }?)
}
