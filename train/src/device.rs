//! What a run computes on, and in which type: the CPU in f32, a GPU in bf16.

use candle_core::{DType, Device};

#[cfg(feature = "cuda")]
use crate::kernels::{gpu_device, memory_pool};
use crate::{
    error::{Error, Result},
    kernels::{self, Products},
    memory,
    recipe::{self, ComputeType},
};

/// The device that is asked for, and the type that it computes in.
///
/// # Errors
/// `cuda` in a build without it, or without a GPU that answers.
pub fn pick(wanted: recipe::Device) -> Result<(Device, DType)> {
    match wanted {
        recipe::Device::Cpu => Ok((Device::Cpu, DType::F32)),
        recipe::Device::Cuda => Ok((gpu()?, DType::BF16)),
        recipe::Device::Auto => Ok(gpu().map_or((Device::Cpu, DType::F32), |gpu| (gpu, DType::BF16))),
    }
}

#[cfg(feature = "cuda")]
fn gpu() -> Result<Device> {
    let silent = |error: &dyn std::fmt::Display| {
        // candle may add a backtrace.
        let error = error.to_string();
        let error = error.lines().next().unwrap_or_default();
        Error::Other(format!(
            "device `cuda`: no GPU answers ({error}): see whether `nvidia-smi` lists one, or take device `cpu`"
        ))
    };
    let device = gpu_device::open().map_err(|error| silent(&error))?;
    let capability = device.as_cuda_device()?.cuda_stream().context().compute_capability();
    capable(capability.map_err(|error| silent(&error))?)?;
    Ok(device)
}

/// Whether a GPU of this compute capability can run the kernels, which build.rs compiles for 8.0.
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "tested in every build, called where there are kernels"))]
fn capable((major, minor): (i32, i32)) -> Result<()> {
    if major >= 8 {
        return Ok(());
    }
    Err(Error::Other(format!(
        "device `cuda`: the GPU has compute capability {major}.{minor}, and bf16 arithmetic needs 8.0 (Ampere) or later: \
         take device `cpu`"
    )))
}

#[cfg(not(feature = "cuda"))]
fn gpu() -> Result<Device> {
    let message =
        "device `cuda`: this program was built without it: build with `--features cuda`, or take device `cpu`";
    Err(Error::Other(message.into()))
}

/// How products with weights are computed on `device`.
///
/// # Errors
/// `f32` on a GPU.
pub fn products(wanted: ComputeType, device: &Device) -> Result<Products> {
    match wanted {
        ComputeType::F32 if !device.is_cpu() => {
            let message = "train.dtype = \"f32\": a GPU computes in bf16; take `auto`, or device `cpu`";
            Err(Error::Other(message.into()))
        }
        ComputeType::Bf16 if device.is_cpu() => Ok(Products::Bf16),
        _ => Ok(Products::Exact),
    }
}

/// As a lock names it, e.g. `bf16 on cuda`.
pub fn name(device: &Device, dtype: DType, products: Products) -> String {
    let factors = if products == Products::Bf16 { ", products of bf16," } else { "" };
    format!("{}{factors} on {}", dtype.as_str(), if device.is_cuda() { "cuda" } else { "cpu" })
}

/// The instructions that compute products on `device`, if that is the CPU: the last bits depend on them.
pub fn instructions(device: &Device, products: Products) -> Option<String> {
    let of_bf16 =
        if products == Products::Bf16 { format!(", of bf16 by {}", kernels::bf16_by()) } else { String::new() };
    device.is_cpu().then(|| format!("products of f32 by {}{of_bf16}", kernels::f32_by()))
}

/// Memory that is free where `device` computes, in bytes, if it can be told.
pub fn free(device: &Device) -> Option<usize> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => {
            let (free, _) = device.cuda_stream().context().mem_get_info().ok()?;
            // What the pool keeps for the next tensor is free too.
            let kept = memory_pool::usage(device).ok().map_or(0, |pool| pool.reserved.saturating_sub(pool.used));
            Some(free + usize::try_from(kept).ok()?)
        }
        _ => memory::free(),
    }
}

/// What this process holds there already, in bytes, which is not among what is free.
pub fn resident(device: &Device) -> usize {
    // What the driver keeps for itself is gone from what it calls free, and stays gone.
    if device.is_cuda() { 0 } else { memory::resident().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_computes_in_f32() {
        let (device, dtype) = pick(recipe::Device::Cpu).unwrap();
        let named = |wanted| name(&device, dtype, products(wanted, &device).unwrap());
        assert!(device.is_cpu());
        assert_eq!([ComputeType::Auto, ComputeType::F32].map(named), ["f32 on cpu"; 2]);
        assert_eq!(named(ComputeType::Bf16), "f32, products of bf16, on cpu");
        let by = |products| instructions(&device, products).unwrap();
        assert!(by(Products::Bf16).starts_with(&format!("{}, of bf16 by ", by(Products::Exact))));
        assert!(resident(&device) > 0 && free(&device).is_some());
    }

    #[test]
    fn a_gpu_without_bf16_is_refused_with_its_number() {
        assert!([(8, 0), (8, 9), (9, 0), (12, 1)].into_iter().all(|c| capable(c).is_ok()));
        let error = capable((7, 5)).unwrap_err().to_string();
        assert!(error.contains("capability 7.5") && error.contains("take device `cpu`"), "{error}");
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_cuda_says_so_only_if_asked() {
        assert!(pick(recipe::Device::Auto).unwrap().0.is_cpu());
        let error = pick(recipe::Device::Cuda).unwrap_err().to_string();
        assert!(error.contains("--features cuda"), "{error}");
    }
}
