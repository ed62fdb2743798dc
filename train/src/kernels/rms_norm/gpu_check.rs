//! RMSNorm beside the CPU's.

use super::{rms_norm_grad_, rms_norm_products};
use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, TYPES},
};
use candle_core::DType;

const LOST: f64 = 1e-6;

pub fn rms_norm(gpu: &Gpu) -> Result<()> {
    for dtype in TYPES {
        for (t, h, offset) in [(1, 64, 0.0), (7, 576, 1.0), (300, 4096, 0.0), (1024, 96, 0.0), (5, 33, 1.0)] {
            let shape = format!("{t}x{h}");
            let (x, dy) = (gpu.random("x", &[t, h], 2.0, dtype)?, gpu.random("dy", &[t, h], 2.0, dtype)?);
            let (dx, w) = (gpu.random("dx", &[t, h], 2.0, dtype)?, gpu.random("w", &[h], 1.0, dtype)?);
            let want = super::rms_norm(&x.0, &w.0, 1e-5, offset)?;
            gpu.close(("rms_norm", &shape), &super::rms_norm(&x.1, &w.1, 1e-5, offset)?, &want, dtype, LOST)?;
            rms_norm_grad_(&dx.0, &x.0, &w.0, &dy.0, 1e-5, offset)?;
            rms_norm_grad_(&dx.1, &x.1, &w.1, &dy.1, 1e-5, offset)?;
            gpu.close(("rms_norm_grad", &shape), &dx.1, &dx.0, dtype, LOST)?;
            let want = rms_norm_products(&x.0, &dy.0, DType::F32, 1e-5)?;
            let got = rms_norm_products(&x.1, &dy.1, DType::F32, 1e-5)?;
            gpu.close(("rms_norm_products", &shape), &got, &want, DType::F32, LOST)?;
        }
    }
    Ok(())
}
