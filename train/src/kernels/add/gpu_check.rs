//! Sums in place beside the CPU's.

use super::{add_, add_bias_};
use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, TYPES},
};

const LOST: f64 = 1e-6;

pub fn add(gpu: &Gpu) -> Result<()> {
    for dtype in TYPES {
        for (t, h) in [(1, 64), (7, 577), (300, 1536)] {
            let shape = &format!("{t}x{h}");
            for source in TYPES {
                let (d, src) = (gpu.random("d", &[t, h], 2.0, dtype)?, gpu.random("src", &[t, h], 3.0, source)?);
                add_(&d.0, &src.0, -0.3)?;
                add_(&d.1, &src.1, -0.3)?;
                gpu.close(("add", shape), &d.1, &d.0, dtype, LOST)?;
            }
            let (x, bias) = (gpu.random("x", &[t, h], 2.0, dtype)?, gpu.random("bias", &[h], 1.0, dtype)?);
            add_bias_(&x.0, &bias.0)?;
            add_bias_(&x.1, &bias.1)?;
            gpu.close(("add_bias", shape), &x.1, &x.0, dtype, LOST)?;
        }
    }
    Ok(())
}
