//! Kernels that treat each element alone, sums of squares, and what every kernel refuses.

use candle_core::{DType, Device, Tensor};
use setaccio_train::{
    error::Result,
    kernels::{self, cuda},
    random::key,
};

use super::{Gpu, Pair, TYPES, bits, values};

const LOST: f64 = 1e-6;

pub fn elements(gpu: &Gpu) -> Result<()> {
    for dtype in TYPES {
        for (t, h) in [(1, 64), (7, 577), (300, 1536)] {
            let shape = &format!("{t}x{h}");
            let gate = gpu.random("gate", &[t, h], 12.0, dtype)?;
            let (up, d) = (gpu.random("up", &[t, h], 2.0, dtype)?, gpu.random("d", &[t, h], 2.0, dtype)?);
            let want = kernels::swiglu(&gate.0, &up.0)?;
            gpu.close(("swiglu", shape), &kernels::swiglu(&gate.1, &up.1)?, &want, dtype, LOST)?;
            let want = kernels::swiglu_grad(&gate.0, &up.0, &d.0)?;
            let got = kernels::swiglu_grad(&gate.1, &up.1, &d.1)?;
            gpu.close(("swiglu_grad gate", shape), &got.0, &want.0, dtype, LOST)?;
            gpu.close(("swiglu_grad up", shape), &got.1, &want.1, dtype, LOST)?;
            for source in TYPES {
                let (d, src) = (gpu.random("d", &[t, h], 2.0, dtype)?, gpu.random("src", &[t, h], 3.0, source)?);
                kernels::add(&d.0, &src.0, -0.3)?;
                kernels::add(&d.1, &src.1, -0.3)?;
                gpu.close(("add", shape), &d.1, &d.0, dtype, LOST)?;
            }
            let bias = gpu.random("bias", &[h], 1.0, dtype)?;
            kernels::add_bias(&up.0, &bias.0)?;
            kernels::add_bias(&up.1, &bias.1)?;
            gpu.close(("add_bias", shape), &up.1, &up.0, dtype, LOST)?;
        }
    }
    Ok(())
}

/// In f32 bit for bit; in bf16 the same elements and nothing but one rounding.
pub fn masks_and_noise(gpu: &Gpu) -> Result<()> {
    for (t, h) in [(1, 64), (7, 577), (1024, 576)] {
        let shape = format!("{t}x{h}");
        for dtype in TYPES {
            for (p, add) in [(0.0, false), (0.1, false), (0.1, true), (0.5, true)] {
                let (x, y) = (gpu.random("x", &[t, h], 1.0, dtype)?, gpu.random("y", &[t, h], 1.0, dtype)?);
                let there = if add { y.1 } else { gpu.filled(f32::NAN, &[t, h], dtype)?.1 };
                kernels::dropout(&y.0, &x.0, key(gpu.seed, "mask"), p, add)?;
                kernels::dropout(&there, &x.1, key(gpu.seed, "mask"), p, add)?;
                let name = format!("dropout {}", dtype.as_str());
                gpu.same(&name, &shape, &bits(&there)?, &bits(&y.0.to_dtype(dtype)?)?);
            }
            let (x, m) = (gpu.random("x", &[t, h], 1.0, dtype)?, gpu.numbers("m", t, 0.3));
            kernels::noise(&x.0, &m, key(gpu.seed, "noise"))?;
            kernels::noise(&x.1, &m, key(gpu.seed, "noise"))?;
            gpu.same(&format!("noise {}", dtype.as_str()), &shape, &bits(&x.1)?, &bits(&x.0.to_dtype(dtype)?)?);
        }
    }
    Ok(())
}

pub fn sums_of_squares(gpu: &Gpu) -> Result<()> {
    let mut tensors: Vec<Pair> = Vec::new();
    for n in [1, 7, 300, 576 * 1024 + 1] {
        for dtype in TYPES {
            tensors.push(gpu.random("x", &[n], 3.0, dtype)?);
        }
    }
    let there: Vec<&Tensor> = tensors.iter().map(|t| &t.1).collect();
    let got = cuda::sum_squares(&there)?;
    for (got, pair) in got.iter().zip(&tensors) {
        let want: f64 = values(&pair.0)?.iter().map(|x| f64::from(*x).powi(2)).sum();
        let name = format!("sum_squares {}", pair.1.dtype().as_str());
        gpu.say(&name, &format!("{}", pair.1.elem_count()), (got / want - 1.0).abs(), 1e-12);
    }
    gpu.same("sum_squares twice", "all", &got, &cuda::sum_squares(&there)?);
    Ok(())
}

pub fn refusals(gpu: &Gpu) -> Result<()> {
    let x = gpu.filled(0.0, &[4, 8], DType::F32)?.1;
    let short = gpu.filled(0.0, &[4, 7], DType::F32)?.1;
    let rounded = gpu.filled(0.0, &[4, 8], DType::BF16)?.1;
    let turned = gpu.filled(0.0, &[8, 4], DType::F32)?.1.t()?;
    let elsewhere = Tensor::zeros((4, 8), DType::F32, &Device::Cpu)?;
    // A tensor cannot be locked for reading and writing at once, so that is refused too.
    let refused = [
        ("a short tensor", kernels::swiglu(&x, &short).is_err()),
        ("another type", kernels::swiglu(&x, &rounded).is_err()),
        ("a turned view", kernels::swiglu(&x, &turned).is_err()),
        ("a tensor elsewhere", kernels::swiglu(&x, &elsewhere).is_err()),
        ("its own output", kernels::add(&x, &x, 1.0).is_err()),
    ];
    for (what, refused) in refused {
        gpu.same("refused", what, &[refused], &[true]);
    }
    Ok(())
}
