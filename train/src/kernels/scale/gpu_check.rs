//! Elements times a number, and through a soft cap, beside the CPU's.

use super::{scale as times, soft_cap};
use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, TYPES},
};

const LOST: f64 = 1e-6;

pub fn scale(gpu: &Gpu) -> Result<()> {
    for dtype in TYPES {
        for n in [1, 7, 8, 577 * 3, 1 << 16] {
            let x = gpu.random("x", &[n + 1], 60.0, dtype)?;
            // One element further on nothing is aligned.
            for skip in [0, 1] {
                let (here, there) = (x.0.narrow(0, skip, n)?, x.1.narrow(0, skip, n)?);
                let shape = &format!("{n}, {skip} on");
                gpu.close(("scale", shape), &times(&there, -0.22)?, &times(&here, -0.22)?, dtype, LOST)?;
                gpu.close(("soft_cap", shape), &soft_cap(&there, 30.0)?, &soft_cap(&here, 30.0)?, dtype, LOST)?;
            }
        }
    }
    Ok(())
}
