//! Masked products beside the CPU's, which takes two passes.

use candle_core::DType;

use super::{Mask, masked_grad_, masked_linear, masked_product_};
use crate::{
    error::Result,
    kernels::{
        gpu_check::{Gpu, TYPES, bits},
        output::Output,
    },
    random::key,
};

const LOST: f64 = 1e-5;

pub fn masked(gpu: &Gpu) -> Result<()> {
    // The last has no kernel of its own, and neither has f32.
    for (rows, width, rank) in [(1, 64, 16), (70, 192, 64), (300, 1088, 32), (129, 320, 64), (33, 96, 8)] {
        for dtype in TYPES {
            let mask = Mask { key: key(gpu.seed, "mask"), p: 0.2 };
            let shape = &format!("{rows}x{width}, rank {rank}");
            let (x, a) = (gpu.random("x", &[rows, width], 1.0, dtype)?, gpu.random("a", &[rank, width], 1.0, dtype)?);
            let u = gpu.random("u", &[rows, rank], 1.0, dtype)?;
            // What is masked is rounded before it is multiplied, or after.
            let rounded = if dtype == DType::BF16 { 1.0 / 256.0 } else { 0.0 };
            let want = masked_linear(&x.0, &a.0, mask)?;
            gpu.close(("masked_linear", shape), &masked_linear(&x.1, &a.1, mask)?, &want, dtype, LOST + rounded)?;
            for output in [Output::Overwrite, Output::Accumulate] {
                let dx = gpu.random("dx", &[rows, width], 1.0, dtype)?;
                let there = match output {
                    Output::Overwrite => gpu.filled(f32::NAN, &[rows, width], dtype)?.1,
                    Output::Accumulate => dx.1,
                };
                masked_product_(&dx.0, &u.0, &a.0, mask, output)?;
                masked_product_(&there, &u.1, &a.1, mask, output)?;
                gpu.close(("masked_product", shape), &there, &dx.0, dtype, LOST + rounded)?;
            }
            let (grad, again) = (
                gpu.random("grad", &[rank, width], 1.0, DType::F32)?,
                gpu.random("grad", &[rank, width], 1.0, DType::F32)?,
            );
            masked_grad_(&grad.0, &u.0, &x.0, mask)?;
            masked_grad_(&grad.1, &u.1, &x.1, mask)?;
            masked_grad_(&again.1, &u.1, &x.1, mask)?;
            gpu.close(("masked_grad", shape), &grad.1, &grad.0, DType::F32, LOST + rounded)?;
            gpu.same(&format!("masked_grad twice {}", dtype.as_str()), shape, &bits(&again.1)?, &bits(&grad.1)?);
        }
    }
    Ok(())
}
