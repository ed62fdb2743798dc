//! Matrix products: the crate `gemm` on a CPU, cuBLAS on a GPU.

mod bf16;
pub mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;
mod rows;

use candle_core::{DType, Tensor};

use super::storage::empty;
use crate::error::Result;

/// `dst = alpha a b + beta dst` for matrices `a` [m, k], `b` [k, n], which may be transposed views, and `dst` [m, n]. With
/// `beta` 0 what is in `dst` does not count. On a GPU sums are in f32, whatever `dst` is in; f32 is multiplied as such, not
/// as TF32, unless candle was told otherwise.
pub fn gemm_(dst: &Tensor, a: &Tensor, b: &Tensor, alpha: f64, beta: f64) -> Result<()> {
    by_device!(dst, gemm_(dst, a, b, alpha, beta))
}

/// How a CPU computes products with a weight of the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Products {
    /// In the type of what is multiplied.
    #[default]
    Exact,
    /// Of f32 matrices, with their elements rounded to bf16 and their products added up in f32. Of fewer than 32 rows in f32.
    Bf16,
}

impl Products {
    /// [`gemm_`], so computed. A GPU's products are those of the type that it computes in.
    pub fn gemm_(self, dst: &Tensor, a: &Tensor, b: &Tensor, alpha: f64, beta: f64) -> Result<()> {
        if self == Self::Bf16 && dst.device().is_cpu() && dst.dtype() == DType::F32 {
            return bf16::gemm_(dst, a, b, alpha, beta);
        }
        gemm_(dst, a, b, alpha, beta)
    }
}

/// `dst = alpha x w^T + beta dst` for a few rows `x` [T, k], `w` [n, k] in any float type and `dst` [T, n]. On a CPU a row's result is
/// the same whatever rows are beside it; cuBLAS may choose by their number.
pub fn rows_(dst: &Tensor, x: &Tensor, w: &Tensor, alpha: f64, beta: f64) -> Result<()> {
    if dst.device().is_cpu() {
        return rows::rows_(dst, x, w, alpha, beta);
    }
    gemm_(dst, x, &super::cast(w, x.dtype())?.t()?, alpha, beta)
}

/// Rows and columns of a product from which on [`gemm_`] adds up in one order.
const STEADY: usize = 16 * 16;

/// How many rows a product of at least `columns` columns must have on a CPU for each to be the same whatever rows are beside it, and
/// however many: below, `gemm` adds up in another order, as it does for one row.
pub fn steady_rows(columns: usize) -> usize {
    STEADY / columns.max(1) + 1
}

/// The instructions that multiply f32 on this CPU, as the crate `gemm` chooses them.
pub fn f32_by() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        match (fma, is_x86_feature_detected!("avx512f")) {
            (true, true) => "AVX-512",
            (true, false) => "AVX2 and FMA",
            (false, _) => "SSE2",
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        if cfg!(target_arch = "aarch64") { "NEON" } else { "no vector instructions" }
    }
}

/// The instructions that multiply bf16 on this CPU.
pub fn bf16_by() -> &'static str {
    bf16::by().unwrap_or("those of f32, rounded before")
}

/// `x w^T`: [T, in] and [out, in] -> [T, out].
pub fn linear(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    let y = empty((x.dim(0)?, w.dim(0)?), x.dtype(), x.device())?;
    gemm_(&y, x, &w.t()?, 1.0, 0.0)?;
    Ok(y)
}
