//! How much of a GPU's memory is taken.

#![allow(unsafe_code, reason = "the driver's memory pool is asked by its address")]

use std::ffi::c_void;

use candle_core::{
    CudaDevice,
    cuda::{
        WrapErr,
        cudarc::driver::{
            result::{device::get_mem_pool, mem_pool},
            sys::CUmemPool_attribute as Attribute,
        },
    },
};

use crate::error::Result;

/// Bytes of the pool that tensors are taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// Tensors, now.
    pub used: u64,
    /// The most that they were since [`reset_peaks`].
    pub used_peak: u64,
    /// Taken from the driver, now.
    pub reserved: u64,
    /// The most that this was since [`reset_peaks`].
    pub reserved_peak: u64,
}

fn attribute(device: &CudaDevice, which: Attribute, set: Option<u64>) -> candle_core::Result<u64> {
    let mut value = set.unwrap_or(0);
    let at = (&raw mut value).cast::<c_void>();
    // SAFETY: the pool is the device's own, and all of these attributes are numbers of 64 bits.
    unsafe {
        let pool = get_mem_pool(device.cuda_stream().context().cu_device()).w()?;
        match set {
            Some(_) => mem_pool::set_attribute(pool, which, at).w()?,
            None => mem_pool::get_attribute(pool, which, at).w()?,
        }
    }
    Ok(value)
}

/// Have the pool keep what it took from the driver. Otherwise everything that is free goes back whenever the GPU is
/// waited for, once a step at least, and has to be mapped anew.
///
/// # Errors
/// A GPU without pools.
pub fn keep_reserved(device: &CudaDevice) -> Result<()> {
    attribute(device, Attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, Some(u64::MAX))?;
    Ok(())
}

/// How much of it is in use.
pub fn usage(device: &CudaDevice) -> Result<PoolUsage> {
    Ok(PoolUsage {
        used: attribute(device, Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT, None)?,
        used_peak: attribute(device, Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH, None)?,
        reserved: attribute(device, Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, None)?,
        reserved_peak: attribute(device, Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH, None)?,
    })
}

/// Give back what no tensor uses, and count the most from now on.
pub fn reset_peaks(device: &CudaDevice) -> Result<()> {
    let stream = device.cuda_stream();
    stream.synchronize().w()?;
    // SAFETY: the pool is the device's own.
    unsafe {
        let pool = get_mem_pool(stream.context().cu_device()).w()?;
        mem_pool::trim_to(pool, 0).w()?;
    }
    attribute(device, Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH, Some(0))?;
    attribute(device, Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH, Some(0))?;
    Ok(())
}
