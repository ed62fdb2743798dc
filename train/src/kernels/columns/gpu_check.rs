//! Columns beside the CPU's, bit for bit.

use super::{put_columns_, take_columns};
use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, TYPES, bits},
};

pub fn columns(gpu: &Gpu) -> Result<()> {
    for dtype in TYPES {
        // Whole pieces, others, and those that begin or end within one.
        for (t, all, start, width) in
            [(1, 1, 0, 1), (7, 192, 64, 64), (3, 577, 5, 300), (40, 96, 92, 4), (2, 3072, 8, 3064)]
        {
            let shape = &format!("{t}x{width} at {start} of {all}");
            let (x, part) = (gpu.random("x", &[t, all], 2.0, dtype)?, gpu.random("part", &[t, width], 2.0, dtype)?);
            let (here, there) = (take_columns(&x.0, start, width)?, take_columns(&x.1, start, width)?);
            gpu.same(&format!("take_columns {}", dtype.as_str()), shape, &bits(&there)?, &bits(&here)?);
            put_columns_(&x.0, start, &part.0)?;
            put_columns_(&x.1, start, &part.1)?;
            gpu.same(&format!("put_columns {}", dtype.as_str()), shape, &bits(&x.1)?, &bits(&x.0)?);
        }
    }
    Ok(())
}
