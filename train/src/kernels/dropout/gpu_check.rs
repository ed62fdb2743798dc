//! Dropout beside the CPU's: in f32 bit for bit; in bf16 the same elements and nothing but one rounding.

use super::dropout_;
use crate::{
    error::Result,
    kernels::{
        gpu_check::{Gpu, TYPES, bits},
        output::Output,
    },
    random::key,
};

pub fn dropout(gpu: &Gpu) -> Result<()> {
    for (t, h) in [(1, 64), (7, 577), (1024, 576)] {
        for dtype in TYPES {
            let (overwrite, accumulate) = (Output::Overwrite, Output::Accumulate);
            for (p, output) in [(0.0, overwrite), (0.1, overwrite), (0.1, accumulate), (0.5, accumulate)] {
                let (x, y) = (gpu.random("x", &[t, h], 1.0, dtype)?, gpu.random("y", &[t, h], 1.0, dtype)?);
                let there = if output == accumulate { y.1 } else { gpu.filled(f32::NAN, &[t, h], dtype)?.1 };
                dropout_(&y.0, &x.0, key(gpu.seed, "mask"), p, output)?;
                dropout_(&there, &x.1, key(gpu.seed, "mask"), p, output)?;
                let name = format!("dropout {}", dtype.as_str());
                gpu.same(&name, &format!("{t}x{h}"), &bits(&there)?, &bits(&y.0.to_dtype(dtype)?)?);
            }
        }
    }
    Ok(())
}
