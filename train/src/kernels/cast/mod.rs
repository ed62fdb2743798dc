//! Tensors in another type.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

use candle_core::{DType, Tensor};

use crate::error::Result;

/// `x` in the type `dtype`, each element rounded to the nearest; the very same tensor if it is of that type already.
pub fn cast(x: &Tensor, dtype: DType) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() && x.dtype() != dtype {
        return cuda::cast(x, dtype);
    }
    Ok(x.to_dtype(dtype)?)
}
