//! RMSNorm and rotary embedding.

use candle_core::DType;
use setaccio_train::{error::Result, kernels};

use super::{Gpu, TYPES};

const LOST: f64 = 1e-6;

pub fn norms(gpu: &Gpu) -> Result<()> {
    for dtype in TYPES {
        for (t, h) in [(1, 64), (7, 576), (300, 4096), (1024, 96), (5, 33)] {
            let shape = format!("{t}x{h}");
            let (x, dy) = (gpu.random("x", &[t, h], 2.0, dtype)?, gpu.random("dy", &[t, h], 2.0, dtype)?);
            let (dx, w) = (gpu.random("dx", &[t, h], 2.0, dtype)?, gpu.random("w", &[h], 1.0, dtype)?);
            let want = kernels::rms_norm(&x.0, &w.0, 1e-5)?;
            gpu.close(("rms_norm", &shape), &kernels::rms_norm(&x.1, &w.1, 1e-5)?, &want, dtype, LOST)?;
            kernels::rms_norm_grad(&dx.0, &x.0, &w.0, &dy.0, 1e-5)?;
            kernels::rms_norm_grad(&dx.1, &x.1, &w.1, &dy.1, 1e-5)?;
            gpu.close(("rms_norm_grad", &shape), &dx.1, &dx.0, dtype, LOST)?;
        }
    }
    Ok(())
}

pub fn rotation(gpu: &Gpu) -> Result<()> {
    for dtype in TYPES {
        for (t, heads, dim) in [(1, 1, 64), (7, 9, 64), (300, 4, 128), (1024, 2, 6)] {
            for tables in [dtype, DType::F32] {
                let cos = gpu.random("cos", &[t, dim / 2], 1.0, tables)?;
                let sin = gpu.random("sin", &[t, dim / 2], 1.0, tables)?;
                for back in [false, true] {
                    let x = gpu.random("x", &[t, heads * dim], 1.0, dtype)?;
                    kernels::rope(&x.0, &cos.0, &sin.0, heads, dim, back)?;
                    kernels::rope(&x.1, &cos.1, &sin.1, heads, dim, back)?;
                    gpu.close(("rope", &format!("{t}x{heads}x{dim}")), &x.1, &x.0, dtype, LOST)?;
                }
            }
        }
    }
    Ok(())
}
