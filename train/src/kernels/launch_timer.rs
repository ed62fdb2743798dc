//! What the GPU spends its time on, and how much of its memory is taken.

#![allow(unsafe_code, reason = "the driver's memory pool is asked by its address")]

use std::{
    collections::BTreeMap,
    ffi::c_void,
    sync::{Mutex, PoisonError},
};

use candle_core::{
    CudaDevice,
    cuda::{
        WrapErr,
        cudarc::driver::{
            CudaEvent, CudaStream,
            result::{device::get_mem_pool, mem_pool},
            sys::{CUevent_flags, CUmemPool_attribute as Attribute},
        },
    },
};

use crate::error::Result;

type Candle<T> = candle_core::Result<T>;
type Marks = Vec<(String, CudaEvent, CudaEvent)>;

static MARKS: Mutex<Option<Marks>> = Mutex::new(None);

/// Begin to time every launch of ours, or stop and forget.
pub fn time(on: bool) {
    *MARKS.lock().unwrap_or_else(PoisonError::into_inner) = on.then(Vec::new);
}

/// Seconds on the GPU and launches since [`time`], by what was launched. Waits for the GPU. Two marks around each
/// launch: what the GPU idles between them counts.
///
/// # Errors
/// The driver's.
pub fn times() -> Result<BTreeMap<String, (f64, usize)>> {
    let marks = MARKS.lock().unwrap_or_else(PoisonError::into_inner).replace(Vec::new()).unwrap_or_default();
    let mut all: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    for (name, began, ended) in marks {
        let (seconds, launches) = all.entry(name).or_default();
        *seconds += f64::from(began.elapsed_ms(&ended).w()?) / 1e3;
        *launches += 1;
    }
    Ok(all)
}

/// Mark the begin of a launch, if somebody times them.
pub(super) fn began(stream: &CudaStream) -> Candle<Option<CudaEvent>> {
    let on = MARKS.lock().unwrap_or_else(PoisonError::into_inner).is_some();
    on.then(|| stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).w()).transpose()
}

/// Mark its end.
pub(super) fn ended(name: &str, began: Option<CudaEvent>, stream: &CudaStream) -> Candle<()> {
    let Some(began) = began else { return Ok(()) };
    let ended = stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).w()?;
    if let Some(marks) = &mut *MARKS.lock().unwrap_or_else(PoisonError::into_inner) {
        marks.push((name.to_owned(), began, ended));
    }
    Ok(())
}

/// Bytes of the pool that tensors are taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Tensors, now.
    pub used: u64,
    /// The most that they were since [`reset`].
    pub used_most: u64,
    /// Taken from the driver, now.
    pub reserved: u64,
    /// The most that this was since [`reset`].
    pub reserved_most: u64,
}

fn attribute(device: &CudaDevice, which: Attribute, set: Option<u64>) -> Candle<u64> {
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
/// The driver's, for instance of a GPU without pools.
pub fn keep(device: &CudaDevice) -> Result<()> {
    attribute(device, Attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, Some(u64::MAX))?;
    Ok(())
}

/// How large the pool is.
///
/// # Errors
/// The driver's.
pub fn pool(device: &CudaDevice) -> Result<Pool> {
    Ok(Pool {
        used: attribute(device, Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT, None)?,
        used_most: attribute(device, Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH, None)?,
        reserved: attribute(device, Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, None)?,
        reserved_most: attribute(device, Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH, None)?,
    })
}

/// Give back what no tensor uses, and count the most from now on.
///
/// # Errors
/// The driver's.
pub fn reset(device: &CudaDevice) -> Result<()> {
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
