//! GEGLU beside the CPU's.

use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, TYPES},
};

/// 1 - p, of a p close to 1, is what that was rounded to, and is multiplied by up to 20 where a gate is about 4.
const LOST: f64 = 2e-6;

pub fn geglu(gpu: &Gpu) -> Result<()> {
    for dtype in TYPES {
        for (t, h) in [(1, 64), (7, 577), (300, 1536)] {
            let shape = &format!("{t}x{h}");
            let gate = gpu.random("gate", &[t, h], 12.0, dtype)?;
            let (up, d) = (gpu.random("up", &[t, h], 2.0, dtype)?, gpu.random("d", &[t, h], 2.0, dtype)?);
            let want = super::geglu(&gate.0, &up.0)?;
            gpu.close(("geglu", shape), &super::geglu(&gate.1, &up.1)?, &want, dtype, LOST)?;
            super::geglu_grad_(&gate.0, &up.0, &d.0)?;
            super::geglu_grad_(&gate.1, &up.1, &d.1)?;
            for (name, got, want) in [("gate", &gate.1, &gate.0), ("up", &up.1, &up.0), ("product", &d.1, &d.0)] {
                gpu.close((&format!("geglu_grad {name}"), shape), got, want, dtype, LOST)?;
            }
        }
    }
    Ok(())
}
