//! A GPU as all kernels want it.

#![allow(unsafe_code, reason = "tracking of uses by events is switched off, which is sound for one stream")]

use candle_core::{
    CudaDevice, Device,
    cuda::{
        WrapErr,
        cudarc::cublas::sys::{cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION, cublasSetMathMode},
    },
};

use super::memory_pool;
use crate::error::Result;

/// The first GPU.
///
/// # Errors
/// None answers.
pub fn open() -> Result<Device> {
    // A stream of its own for all of a device's work, whichever thread asks: candle's plain device has one for each
    // thread, and nothing orders those.
    let device = Device::new_cuda_with_stream(0)?;
    let gpu = device.as_cuda_device()?;
    // SAFETY: every tensor of this device is made, used and freed on its one stream, which keeps the order; else two
    // events would be made and destroyed for each tensor.
    unsafe { gpu.disable_event_tracking() };
    sums_in_f32(gpu)?;
    // Virtual GPUs may have no pool, and give every tensor back to the driver.
    if gpu.cuda_stream().context().has_async_alloc() {
        memory_pool::keep_reserved(gpu)?;
    }
    Ok(device)
}

/// cuBLAS may divide a long product among blocks and add up their parts in the type of the result, which is bf16. In f32 a
/// result is rounded once.
fn sums_in_f32(gpu: &CudaDevice) -> Result<()> {
    let blas = gpu.cublas_handle();
    // SAFETY: the handle is the device's own and lives as long as it.
    unsafe { cublasSetMathMode(*blas.handle(), CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION) }.result().w()?;
    Ok(())
}
