//! SwiGLU beside the CPU's.

use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, TYPES},
};

const LOST: f64 = 1e-6;

pub fn swiglu(gpu: &Gpu) -> Result<()> {
    for dtype in TYPES {
        for (t, h) in [(1, 64), (7, 577), (300, 1536)] {
            let shape = &format!("{t}x{h}");
            let gate = gpu.random("gate", &[t, h], 12.0, dtype)?;
            let (up, d) = (gpu.random("up", &[t, h], 2.0, dtype)?, gpu.random("d", &[t, h], 2.0, dtype)?);
            let want = super::swiglu(&gate.0, &up.0)?;
            gpu.close(("swiglu", shape), &super::swiglu(&gate.1, &up.1)?, &want, dtype, LOST)?;
            let want = super::swiglu_grad(&gate.0, &up.0, &d.0)?;
            let got = super::swiglu_grad(&gate.1, &up.1, &d.1)?;
            gpu.close(("swiglu_grad gate", shape), &got.0, &want.0, dtype, LOST)?;
            gpu.close(("swiglu_grad up", shape), &got.1, &want.1, dtype, LOST)?;
        }
    }
    Ok(())
}
