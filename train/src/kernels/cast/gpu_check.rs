//! Other types beside the CPU's, bit for bit.

use candle_core::DType;

use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, bits},
};

pub fn cast(gpu: &Gpu) -> Result<()> {
    for n in [1, 7, 8, 577 * 3, 1 << 16] {
        for (from, to) in [(DType::F32, DType::BF16), (DType::BF16, DType::F32), (DType::F32, DType::F32)] {
            let x = gpu.random("x", &[n + 1], 3.0, from)?;
            // One element further on nothing is aligned.
            for skip in [0, 1] {
                let (here, there) = (x.0.narrow(0, skip, n)?, x.1.narrow(0, skip, n)?);
                let name = format!("cast {} to {}", from.as_str(), to.as_str());
                gpu.same(
                    &name,
                    &format!("{n}, {skip} on"),
                    &bits(&super::cast(&there, to)?)?,
                    &bits(&super::cast(&here, to)?)?,
                );
            }
        }
    }
    Ok(())
}
