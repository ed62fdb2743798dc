//! The reference: every kernel as a function over slices, the same result for any number of threads.

pub mod attention;
pub mod cross_entropy;
pub mod elementwise;
pub mod gemm;
pub mod norm;
pub mod real;
pub mod rope;
