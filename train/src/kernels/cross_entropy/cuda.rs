//! cross_entropy.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Device, Tensor};

use super::cpu::RowLoss;
use crate::{
    error::Result,
    kernels::launch::{
        Launch, Module,
        Scalar::{F32, I64},
        empty, f32_of, i32_of, i64_of, module, suffix, to_host,
    },
};

const MODULE: Module = module!("cross_entropy");

/// Threads of a block, which has a row.
const WIDE: u32 = 1024;

/// The losses of N targets on a GPU.
pub struct Losses {
    /// u32 [N]
    targets: Tensor,
    /// nll, entropy, mean logit and whether the target is the most probable token, f64 [N, 4].
    results: Tensor,
}

impl Losses {
    /// Nothing if the logits are elsewhere.
    pub fn new(targets: &[u32], device: &Device) -> Result<Option<Self>> {
        if !device.is_cuda() || targets.is_empty() {
            return Ok(None);
        }
        let results = empty((targets.len(), 4), DType::F64, device)?;
        Ok(Some(Self { targets: Tensor::new(targets, device)?, results }))
    }

    pub fn add_(&self, logits: &Tensor, first: usize, scale: f64, cap: Option<f64>) -> Result<()> {
        let ((rows, vocab), dtype) = (logits.dims2()?, logits.dtype());
        let (targets, results) = (self.targets.narrow(0, first, rows)?, self.results.narrow(0, first, rows)?);
        let launch = Launch::new(&MODULE, format!("cross_entropy_{}", suffix(dtype)?))
            .write(logits, dtype, rows * vocab)?
            .write(&results, DType::F64, rows * 4)?
            .read(&targets, DType::U32, rows)?
            .values(&[F32(f32_of(scale)), F32(f32_of(cap.unwrap_or(0.0))), I64(i64_of(vocab))]);
        // SAFETY: block i of `rows` has row i of all three, and its target was found to be in the row.
        Ok(unsafe { launch.run((i32_of(rows)?.unsigned_abs(), 1), WIDE, 0) }?)
    }

    pub fn finish(self) -> Result<Vec<RowLoss>> {
        let results = to_host::<f64>(&self.results)?;
        let row = |r: &[f64]| RowLoss { nll: r[0], entropy: r[1], logit: r[2], correct: r[3] > 0.5 };
        Ok(results.chunks(4).map(row).collect())
    }
}
