//! Cross-entropy beside the CPU's.

use super::{RowLoss, RowLosses};
use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, TYPES, values},
};
use candle_core::{DType, Tensor};

const LOST: f64 = 3e-6;

/// In two pieces, where there are two rows.
fn cross_entropy_(logits: &Tensor, targets: &[u32], scale: f64, cap: Option<f64>) -> Result<Vec<RowLoss>> {
    let mut losses = RowLosses::new(targets.to_vec(), cap, logits.device())?;
    let half = targets.len().div_ceil(2);
    for (first, rows) in [(0, half), (half, targets.len() - half)].into_iter().filter(|(_, rows)| *rows > 0) {
        losses.add_(&logits.narrow(0, first, rows)?, first, scale)?;
    }
    losses.finish()
}

pub fn cross_entropy(gpu: &Gpu) -> Result<()> {
    for (rows, vocab) in [(1, 96), (7, 96), (300, 97), (5, 49_152), (3, 128_256)] {
        for dtype in TYPES {
            for (scale, cap) in [(0.25, None), (0.0, None), (0.25, Some(30.0))] {
                let logits = gpu.random("logits", &[rows, vocab], 15.0, dtype)?;
                // Every second target is the most probable token, the last of them among equals.
                let mut targets = Vec::new();
                for (i, row) in values(&logits.0)?.chunks(vocab).enumerate() {
                    let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(at, _)| at);
                    targets.push(u32::try_from(if i % 2 == 0 { best } else { i * 31 % vocab }).unwrap_or(0));
                }
                let want = cross_entropy_(&logits.0, &targets, scale, cap)?;
                let got = cross_entropy_(&logits.1, &targets, scale, cap)?;
                let shape = format!("{rows} of {vocab}");
                gpu.close(("cross_entropy", &shape), &logits.1, &logits.0, dtype, LOST)?;
                let mut worst = if got.len() == rows { 0.0_f64 } else { f64::INFINITY };
                for (g, w) in got.iter().zip(&want) {
                    for (g, w) in [(g.nll, w.nll), (g.entropy, w.entropy), (g.logit, w.logit)] {
                        let off = (g - w).abs() / (1.0 + w.abs());
                        worst = if off.is_nan() { f64::NAN } else { worst.max(off) };
                    }
                }
                gpu.say(&format!("cross_entropy losses {}", dtype.as_str()), &shape, worst, LOST);
                let correct = |rows: &[RowLoss]| rows.iter().map(|r| r.correct).collect::<Vec<_>>();
                gpu.same(&format!("cross_entropy correct {}", dtype.as_str()), &shape, &correct(&got), &correct(&want));
            }
        }
    }
    let logits = gpu.random("logits", &[2, 10], 1.0, DType::F32)?;
    gpu.same("refused", "a target outside", &[cross_entropy_(&logits.1, &[3, 10], 1.0, None).is_err()], &[true]);
    Ok(())
}
