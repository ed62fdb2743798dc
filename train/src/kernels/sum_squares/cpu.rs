//! Sums of squares on the CPU.

use candle_core::{DType, Tensor, WithDType};
use half::bf16;
use rayon::prelude::*;

use crate::{
    error::Result,
    kernels::{float::with_float, storage::Elements},
};

// Squares are added up in order within a piece, then the pieces in order: the same for any number of threads.
const PIECE: usize = 1 << 14;

pub fn sum_squares(tensors: &[&Tensor]) -> Result<Vec<f64>> {
    let sum = |tensor: &&Tensor| {
        let elements = Elements::of(tensor);
        if tensor.dtype() == DType::BF16 {
            return Ok(squares(elements.slice::<bf16>()?));
        }
        with_float!(tensor, T => Ok(squares(elements.slice::<T>()?)))
    };
    tensors.iter().map(sum).collect()
}

fn squares<T: WithDType>(x: &[T]) -> f64 {
    let pieces: Vec<f64> = x
        .par_chunks(PIECE)
        .map(|piece| {
            // Eight sums side by side, so that this is vector code.
            let mut lanes = [0.0_f64; 8];
            for eight in piece.chunks(8) {
                for (lane, x) in lanes.iter_mut().zip(eight) {
                    *lane += x.to_f64() * x.to_f64();
                }
            }
            lanes.iter().sum()
        })
        .collect();
    pieces.iter().sum()
}
