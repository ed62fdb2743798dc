//! The reference: every kernel as a function over slices, the same result for any number of threads.

pub mod adamw;
pub mod attention;
pub mod cross_entropy;
pub mod dynamic;
pub mod elementwise;
pub mod gemm;
pub mod nf4;
pub mod norm;
pub mod real;
pub mod rope;
pub mod stored;
