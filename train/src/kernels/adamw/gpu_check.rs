//! AdamW in both precisions: the CPU's numbers, bit for bit.

use candle_core::{DType, Device, Tensor};

use super::{Hyper, Moments8bit, adamw_, adamw_8bit_, adamw_32bit_};
use crate::{
    error::Result,
    kernels::{
        dynamic_quant::QuantMap,
        gpu_check::{Gpu, TYPES, bits},
    },
};

fn hyper(step: u64, b1: f64) -> Hyper {
    let (betas, eps) = ([b1, 0.999], 1e-8);
    Hyper { lr: 3e-3, betas, eps, weight_decay: 0.1, step, grad_scale: 0.7 }
}

type Rule = fn(&Tensor, &Tensor, &Tensor, &Tensor, &Hyper) -> Result<()>;

pub fn adamw(gpu: &Gpu) -> Result<()> {
    let rules: [(&str, Rule); 2] = [("adamw", adamw_), ("adamw_32bit", adamw_32bit_)];
    for (n, b1) in [(1, 0.9), (300, 0.4), (576 * 64 + 3, 0.9)] {
        for (rule, step_) in rules {
            for dtype in TYPES {
                let p = gpu.random("p", &[n], 1.0, dtype)?;
                // In the parameter's own type on the CPU too.
                let host = p.1.to_device(&Device::Cpu)?;
                let (m, v) = (gpu.filled(0.0, &[n], DType::F32)?, gpu.filled(0.0, &[n], DType::F32)?);
                for step in 1..4 {
                    let (h, g) = (hyper(step, b1), gpu.random(&format!("g{step}"), &[n], 0.1, DType::F32)?);
                    step_(&host, &g.0, &m.0, &v.0, &h)?;
                    step_(&p.1, &g.1, &m.1, &v.1, &h)?;
                }
                for (name, got, want) in [("p", &p.1, &host), ("m", &m.1, &m.0), ("v", &v.1, &v.0)] {
                    let kernel = format!("{rule} {name} {}", dtype.as_str());
                    gpu.same(&kernel, &format!("{n}, 3 steps"), &bits(got)?, &bits(want)?);
                }
            }
        }
    }
    Ok(())
}

/// Codes and scales of both moments and what the codes mean, before the first step.
fn zeros(n: usize, device: &Device) -> Result<[Tensor; 6]> {
    let (codes, scales) =
        (|| Tensor::zeros(n, DType::U8, device), || Tensor::zeros(n.div_ceil(256), DType::F32, device));
    let [m_map, v_map] = [QuantMap::signed(), QuantMap::unsigned()].map(|map| Tensor::new(&map.values, device));
    Ok([codes()?, scales()?, m_map?, codes()?, scales()?, v_map?])
}

fn moments([m, m_scale, m_map, v, v_scale, v_map]: &[Tensor; 6]) -> Moments8bit<'_> {
    Moments8bit { m, m_scale, m_map, v, v_scale, v_map }
}

pub fn adamw_8bit(gpu: &Gpu) -> Result<()> {
    for (n, dtype) in [1, 256, 300, 576 * 64 + 3].into_iter().flat_map(|n| TYPES.map(|dtype| (n, dtype))) {
        let p = gpu.random("p", &[n], 1.0, dtype)?.1;
        // In the parameter's own type on the CPU too.
        let own = p.to_device(&Device::Cpu)?;
        let (host, there) = (zeros(n, &Device::Cpu)?, zeros(n, gpu.device())?);
        for step in 1..5 {
            let mut grad = gpu.numbers(&format!("g{step}"), n, 0.1);
            // One that is not a number, and in the last step a whole block of zeros.
            grad[n / 3] = if step == 2 { f32::NAN } else { 0.0 };
            if step == 4 {
                grad.iter_mut().take(256).for_each(|g| *g = 0.0);
            }
            let (g, h) = (gpu.tensor(grad, &[n], DType::F32)?, hyper(step, 0.9));
            adamw_8bit_(&own, &g.0, moments(&host), &h)?;
            adamw_8bit_(&p, &g.1, moments(&there), &h)?;
            let (shape, name_of) = (format!("{n}, step {step}"), dtype.as_str());
            for (name, i) in [("m", 0), ("v", 3), ("m_scale", 1), ("v_scale", 4)] {
                gpu.same(&format!("adamw_8bit {name} {name_of}"), &shape, &bits(&there[i])?, &bits(&host[i])?);
            }
            gpu.same(&format!("adamw_8bit p {name_of}"), &shape, &bits(&p)?, &bits(&own)?);
        }
    }
    Ok(())
}
