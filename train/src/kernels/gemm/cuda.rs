//! Matrix products by cuBLAS.

#![allow(unsafe_code, reason = "cuBLAS takes addresses; the shapes are checked here")]

use std::ffi::c_void;

use candle_core::{
    DType, Tensor, bail,
    cuda::{
        WrapErr,
        cudarc::cublas::{result, sys},
        gemm_reduced_precision_f32,
    },
};

use super::cpu::dims;
use crate::{
    error::{Error, Result},
    kernels::launch::{f32_of, i32_of, with_addresses},
};

/// How a factor lies: as a matrix of columns (which is what cuBLAS knows) its transpose, or itself.
struct Factor {
    operation: sys::cublasOperation_t,
    /// Distance of rows, or of columns.
    apart: i32,
}

fn factor(name: &str, x: &Tensor) -> candle_core::Result<Factor> {
    let ((rows, cols), stride) = (x.dims2()?, x.stride());
    // The stride of the only row or column says nothing.
    let (by_row, by_col) = (if rows == 1 { cols } else { stride[0] }, if cols == 1 { rows } else { stride[1] });
    if (stride[1] == 1 || cols == 1) && by_row >= cols {
        Ok(Factor { operation: sys::cublasOperation_t::CUBLAS_OP_N, apart: i32_of(by_row.max(1))? })
    } else if (stride[0] == 1 || rows == 1) && by_col >= rows {
        Ok(Factor { operation: sys::cublasOperation_t::CUBLAS_OP_T, apart: i32_of(by_col.max(1))? })
    } else {
        bail!("gemm: {name} {:?} with strides {stride:?} has neither its rows nor its columns whole", x.shape())
    }
}

fn data_type(dtype: DType) -> candle_core::Result<sys::cudaDataType> {
    match dtype {
        DType::F32 => Ok(sys::cudaDataType::CUDA_R_32F),
        DType::BF16 => Ok(sys::cudaDataType::CUDA_R_16BF),
        other => bail!("gemm on CUDA multiplies f32 or bf16, not {other:?}"),
    }
}

pub fn gemm_(dst: &Tensor, a: &Tensor, b: &Tensor, alpha: f64, beta: f64) -> Result<()> {
    let (m, k, n) = dims(dst, a, b)?;
    if dst.layout().contiguous_offsets().is_none() {
        return Err(Error::Other("gemm: the result is not contiguous".into()));
    }
    if a.dtype() != b.dtype() || (a.dtype(), dst.dtype()) == (DType::F32, DType::BF16) {
        let types = format!("gemm: {:?} by {:?} into {:?}: convert first", a.dtype(), b.dtype(), dst.dtype());
        return Err(Error::Other(types));
    }
    if m == 0 || n == 0 {
        return Ok(());
    }
    let name = format!("gemm {m}x{k}x{n}");
    let (fa, fb) = (factor("a", a)?, factor("b", b)?);
    let (m, n, k) = (i32_of(m)?, i32_of(n)?, i32_of(k)?);
    let (factors, product) = (data_type(a.dtype())?, data_type(dst.dtype())?);
    let compute = if a.dtype() == DType::F32 && gemm_reduced_precision_f32() {
        sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32
    } else {
        sys::cublasComputeType_t::CUBLAS_COMPUTE_32F
    };
    let (alpha, beta) = (f32_of(alpha), f32_of(beta));
    Ok(with_addresses(&name, &[dst], &[a, b], |device, at| {
        let pointer = |i: usize| at[i] as *const c_void;
        // Rows of C are columns of its transpose: C^T = B^T A^T.
        // SAFETY: the shapes agree, each factor's strides were found to be those that it is passed with, and the
        // addresses are of tensors that stay locked until the product is in the stream.
        unsafe {
            result::gemm_ex(
                *device.cublas_handle().handle(),
                fb.operation,
                fa.operation,
                n,
                m,
                k,
                (&raw const alpha).cast(),
                pointer(2),
                factors,
                fb.apart,
                pointer(1),
                factors,
                fa.apart,
                (&raw const beta).cast(),
                pointer(0).cast_mut(),
                product,
                n,
                compute,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .w()
    })?)
}
