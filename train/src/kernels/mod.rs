//! Every kernel in a folder of its name: `mod.rs` says what it computes and chooses by device, `cpu.rs` is the
//! reference, `cuda.rs` launches the `.cu` file beside it (feature `cuda`), and `gpu_check.rs` holds the two against each
//! other. Files beside the folders are what kernels share.
//!
//! Activations are [T, width], contiguous, T tokens. The CPU computes in f32 or f64 and gives the same result for any
//! number of threads; CUDA kernels keep f32 or bf16, compute in f32 and add up in a fixed order. A function that writes
//! through a `&Tensor` ends in an underscore, as in PyTorch.

#![allow(clippy::inline_always, reason = "what runs inside `simd` has to be compiled with the caller's instructions")]

/// Calls the function of that name in `cpu` or `cuda` beside the caller, by the device of a tensor.
macro_rules! by_device {
    ($on:expr, $name:ident($($argument:expr),*)) => {
        match $on.device() {
            candle_core::Device::Cpu => cpu::$name($($argument),*),
            #[cfg(feature = "cuda")]
            candle_core::Device::Cuda(_) => cuda::$name($($argument),*),
            other => Err($crate::Error::Other(format!(
                "no kernel `{}` for {other:?}: build with --features cuda",
                stringify!($name)
            ))),
        }
    };
}

pub mod adamw;
pub mod add;
pub mod attention;
pub mod cast;
pub mod columns;
pub mod cross_entropy;
pub mod dropout;
pub mod dynamic_quant;
pub mod float;
mod gated;
pub mod geglu;
pub mod gemm;
#[cfg(feature = "cuda")]
pub mod gpu_check;
#[cfg(feature = "cuda")]
pub mod gpu_device;
#[cfg(feature = "cuda")]
mod launch;
#[cfg(feature = "cuda")]
pub mod launch_timer;
pub mod masked;
pub mod matrix;
#[cfg(feature = "cuda")]
pub mod memory_pool;
pub mod nf4;
pub mod noise;
pub mod output;
pub mod rms_norm;
pub mod rope;
pub mod row_dots;
pub mod rows;
pub mod scale;
pub mod scale_rows;
pub mod simd;
pub mod storage;
pub mod sum_squares;
pub mod swiglu;

pub use add::{add_, add_bias_};
pub use attention::{AttentionForward, Heads, Scores, Span, attention, attention_grad};
pub use cast::cast;
pub use columns::{put_columns_, take_columns};
pub use cross_entropy::{RowLoss, RowLosses};
pub use dropout::dropout_;
pub use geglu::{geglu, geglu_grad_};
pub use gemm::{Products, bf16_by, cpu::rows_alike, f32_by, gemm_, linear, rows_};
pub use masked::{Mask, masked_grad_, masked_linear, masked_product_};
pub use noise::noise_;
pub use output::Output;
pub use rms_norm::{rms_norm, rms_norm_grad_, rms_norm_products};
pub use rope::{Direction, rope_};
pub use row_dots::row_dots;
pub use rows::{RowIndex, add_rows_, gather_rows, put_rows_, sum_rows};
pub use scale::{scale, soft_cap};
pub use scale_rows::scale_rows_;
pub use simd::{largest_of, sum_exp};
pub use storage::{copy_, empty, ones, to_host, zero_};
pub use sum_squares::sum_squares;
pub use swiglu::{swiglu, swiglu_grad_};
