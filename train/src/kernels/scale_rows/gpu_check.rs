//! Rows times a number each beside the CPU's.

use super::scale_rows_;
use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, TYPES},
};

const LOST: f64 = 1e-6;

pub fn scale_rows(gpu: &Gpu) -> Result<()> {
    for dtype in TYPES {
        for (t, h) in [(1, 64), (7, 577), (300, 1536)] {
            let (x, weights) = (gpu.random("x", &[t, h], 2.0, dtype)?, gpu.numbers("weights", t, 3.0));
            let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
            scale_rows_(&x.0, &weights)?;
            scale_rows_(&x.1, &weights)?;
            gpu.close(("scale_rows", &format!("{t}x{h}")), &x.1, &x.0, dtype, LOST)?;
        }
    }
    Ok(())
}
