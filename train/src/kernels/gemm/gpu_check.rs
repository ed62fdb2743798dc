//! Matrix products beside the CPU's.

use super::gemm_;
use crate::{error::Result, kernels::gpu_check::Gpu};
use candle_core::{DType, Tensor};

/// What a sum of `k` products may lose. In f32 additions round, to either side. Tensor cores cut off what is below the last
/// place of each step's sum, always towards 0: up to a unit in the last place in each of k / 8 steps.
#[allow(clippy::cast_precision_loss, reason = "small")]
fn lost(k: usize, factors: DType) -> f64 {
    let k = k as f64;
    let grows = if factors == DType::BF16 { k / 8.0 * 2.0_f64.powi(-23) } else { k.sqrt() * 2.0_f64.powi(-24) };
    grows.max(2e-6)
}

pub fn gemm(gpu: &Gpu) -> Result<()> {
    let types = [(DType::F32, DType::F32), (DType::BF16, DType::BF16), (DType::BF16, DType::F32)];
    for (m, k, n) in [(1, 64, 96), (7, 4096, 64), (300, 576, 192), (1024, 64, 7), (3, 64, 128_256), (5, 1, 1)] {
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            for (factors, product) in types {
                let a = gpu.random("a", &if ta { [k, m] } else { [m, k] }, 1.0, factors)?;
                let b = gpu.random("b", &if tb { [n, k] } else { [k, n] }, 1.0, factors)?;
                let turned = |t: &Tensor, turn: bool| if turn { t.t() } else { Ok(t.clone()) };
                for beta in [0.5, 0.0] {
                    let c = gpu.random("c", &[m, n], 1.0, product)?;
                    // What is multiplied by 0 must not be read.
                    let there = if beta == 0.0 { gpu.filled(f32::NAN, &[m, n], product)?.1 } else { c.1 };
                    gemm_(&c.0, &turned(&a.0, ta)?, &turned(&b.0, tb)?, 2.0, beta)?;
                    gemm_(&there, &turned(&a.1, ta)?, &turned(&b.1, tb)?, 2.0, beta)?;
                    let turns = format!("{}{}", if ta { "T" } else { "N" }, if tb { "T" } else { "N" });
                    gpu.close(("gemm", &format!("{m}x{k}x{n} {turns}")), &there, &c.0, product, lost(k, factors))?;
                }
            }
        }
    }
    // Rows of a larger matrix, as the head and the adapters have them; columns, which are no rows end to end but still
    // a matrix.
    let (x, w) = (gpu.random("x", &[20, 48], 1.0, DType::BF16)?, gpu.random("w", &[33, 48], 1.0, DType::BF16)?);
    for (name, first, wide) in [("rows", 0, 48), ("columns", 8, 16)] {
        let y = gpu.filled(0.25, &[9, 33], DType::F32)?;
        for (y, x, w) in [(&y.0, &x.0, &w.0), (&y.1, &x.1, &w.1)] {
            let (x, w) = (x.narrow(0, 4, 9)?.narrow(1, first, wide)?, w.narrow(1, first, wide)?);
            gemm_(y, &x, &w.t()?, 1.0, 1.0)?;
        }
        gpu.close(("gemm", &format!("{name} of a matrix")), &y.1, &y.0, DType::F32, lost(48, DType::BF16))?;
    }
    Ok(())
}
