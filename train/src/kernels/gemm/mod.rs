//! Matrix products: on a CPU our own of f32 (`f32/`, on x86 with AVX2 or AVX-512) and of rows, the crate `gemm` for all others; cuBLAS on
//! a GPU.

/// Does what it is told for each number below a constant. A loop so plain becomes a row of instructions in every build, and arrays that it goes
/// through become registers.
#[cfg(target_arch = "x86_64")]
macro_rules! each {
    ($i:ident < $n:ident, $what:expr) => {
        let mut $i = 0;
        while $i < $n {
            $what;
            $i = $i.wrapping_add(1);
        }
    };
}

mod bf16;
pub mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(target_arch = "x86_64")]
mod f32;
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

/// A product of matrices, and what it is multiplied by.
pub type Factors<'a> = (&'a Tensor, &'a Tensor, f64);

/// `dst = alpha a b + beta dst` and then `dst += alpha a b` of `more`, whose inner size is small, as an adapter's.
fn gemm_two_(dst: &Tensor, first: Factors<'_>, more: Factors<'_>, beta: f64) -> Result<()> {
    if dst.device().is_cpu() {
        return cpu::gemm_two_(dst, first, more, beta);
    }
    gemm_(dst, first.0, first.1, first.2, beta)?;
    gemm_(dst, more.0, more.1, more.2, 1.0)
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

    /// [`gemm_two_`], the first product so computed and the second exact.
    pub fn gemm_two_(self, dst: &Tensor, first: Factors<'_>, more: Factors<'_>, beta: f64) -> Result<()> {
        if self == Self::Bf16 {
            self.gemm_(dst, first.0, first.1, first.2, beta)?;
            return gemm_(dst, more.0, more.1, more.2, 1.0);
        }
        gemm_two_(dst, first, more, beta)
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

/// The instructions that multiply f32 on this CPU, as `f32/` and the crate `gemm` choose them.
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
