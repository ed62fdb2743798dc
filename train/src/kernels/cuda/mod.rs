//! The kernels of `cpu/` on a GPU: activations in f32 or bf16, arithmetic in f32, sums in a fixed order. Products are
//! cuBLAS's; everything else is in the .cu files here, which build.rs compiles to PTX. `tests/gpu` holds them
//! against the CPU.

#![allow(clippy::many_single_char_names, reason = "the letters of the formulas")]

mod adamw;
mod attention;
mod elementwise;
mod flash;
mod gemm;
mod launch;
mod nf4;
mod norm;
pub mod watch;

pub use adamw::{Moments8, adamw, adamw_8bit, adamw_small};
pub use attention::{attention, attention_grad};
pub use elementwise::{add, add_bias, dropout, noise, sum_squares, swiglu, swiglu_grad};
pub use gemm::gemm;
pub use launch::{empty, poison};
pub use nf4::{Scales, nf4_dequantize, nf4_quantize};
pub use norm::{cross_entropy, rms_norm, rms_norm_grad, rope};
