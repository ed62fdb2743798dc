//! Rows by their numbers beside the CPU's.

use super::{RowIndex, add_rows_, gather_rows, put_rows_, sum_rows};
use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, TYPES, bits},
    random,
};
use candle_core::Device;

const LOST: f64 = 1e-6;

pub fn rows(gpu: &Gpu) -> Result<()> {
    // Rows that nobody stands for, rows with many; widths of whole pieces and others.
    for (n, m, width) in [(1, 1, 8), (9, 40, 64), (300, 70, 577), (64, 300, 1536)] {
        let stream = random::key(gpu.seed, "places");
        let places: Vec<u32> =
            (0..m as u64).map(|i| u32::try_from(random::bits(stream, i) % n as u64).unwrap_or(0)).collect();
        let here = RowIndex::new(places.clone(), n, &Device::Cpu)?;
        let there = RowIndex::new(places, n, gpu.device())?;
        let shape = &format!("{m} of {n}x{width}");
        for dtype in TYPES {
            for other in TYPES {
                let all = gpu.random("all", &[n, width], 2.0, dtype)?;
                let want = bits(&gather_rows(&all.0, &here, other)?)?;
                let name = format!("gather_rows {} of {}", other.as_str(), dtype.as_str());
                gpu.same(&name, shape, &bits(&gather_rows(&all.1, &there, other)?)?, &want);
                let some = gpu.random("some", &[m, width], 3.0, other)?;
                add_rows_(&all.0, &here, &some.0)?;
                add_rows_(&all.1, &there, &some.1)?;
                gpu.close(("add_rows", shape), &all.1, &all.0, dtype, LOST)?;
            }
            // The same rows in another order, so that each is written once.
            let turned: Vec<u32> = (0..n).map(|i| u32::try_from(n - 1 - i).unwrap_or(0)).collect();
            let (all, some) =
                (gpu.random("all", &[n, width], 2.0, dtype)?, gpu.random("put", &[n, width], 3.0, dtype)?);
            put_rows_(&all.0, &RowIndex::new(turned.clone(), n, &Device::Cpu)?, &some.0)?;
            put_rows_(&all.1, &RowIndex::new(turned, n, gpu.device())?, &some.1)?;
            gpu.same(&format!("put_rows {}", dtype.as_str()), shape, &bits(&all.1)?, &bits(&all.0)?);
            let some = gpu.random("some", &[m, width], 3.0, dtype)?;
            gpu.close(("sum_rows", shape), &sum_rows(&there, &some.1)?, &sum_rows(&here, &some.0)?, dtype, LOST)?;
        }
    }
    Ok(())
}
