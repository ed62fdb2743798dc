//! Noise beside the CPU's: in f32 bit for bit, in bf16 but for one rounding.

use super::noise_;
use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, TYPES, bits},
    random::key,
};

pub fn noise(gpu: &Gpu) -> Result<()> {
    for (t, h) in [(1, 64), (7, 577), (1024, 576)] {
        for dtype in TYPES {
            let (x, magnitude) = (gpu.random("x", &[t, h], 1.0, dtype)?, gpu.numbers("magnitude", t, 0.3));
            noise_(&x.0, &magnitude, key(gpu.seed, "noise"))?;
            noise_(&x.1, &magnitude, key(gpu.seed, "noise"))?;
            let name = format!("noise {}", dtype.as_str());
            gpu.same(&name, &format!("{t}x{h}"), &bits(&x.1)?, &bits(&x.0.to_dtype(dtype)?)?);
        }
    }
    Ok(())
}
