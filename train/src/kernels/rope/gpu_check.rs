//! Rotary embedding beside the CPU's.

use super::{Direction, rope_};
use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, TYPES},
};

const LOST: f64 = 1e-6;

pub fn rope(gpu: &Gpu) -> Result<()> {
    for dtype in TYPES {
        for (t, heads, dim, half) in [(1, 1, 64, 32), (7, 9, 64, 24), (300, 4, 128, 64), (1024, 2, 6, 3)] {
            for tables in TYPES {
                let cos = gpu.random("cos", &[t, half], 1.0, tables)?;
                let sin = gpu.random("sin", &[t, half], 1.0, tables)?;
                for direction in [Direction::Forward, Direction::Backward] {
                    let x = gpu.random("x", &[t, heads * dim], 1.0, dtype)?;
                    rope_(&x.0, &cos.0, &sin.0, heads, dim, direction)?;
                    rope_(&x.1, &cos.1, &sin.1, heads, dim, direction)?;
                    gpu.close(("rope", &format!("{t}x{heads}x{dim}")), &x.1, &x.0, dtype, LOST)?;
                }
            }
        }
    }
    Ok(())
}
