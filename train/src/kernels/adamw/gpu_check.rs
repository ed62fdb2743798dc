//! AdamW in both precisions: the CPU's numbers, bit for bit.

use candle_core::{DType, Tensor};
use half::bf16;
use setaccio_train::{
    error::Result,
    kernels::{cpu, cuda},
};

use super::{Gpu, TYPES, bits, values};

fn hyper(step: u64, b1: f64) -> cpu::adamw::Hyper {
    let (betas, eps) = ([b1, 0.999], 1e-8);
    cpu::adamw::Hyper { lr: 3e-3, betas, eps, weight_decay: 0.1, step, grad_scale: 0.7 }
}

fn bits_of(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

pub fn adamw(gpu: &Gpu) -> Result<()> {
    for (n, b1) in [(1, 0.9), (300, 0.4), (576 * 64 + 3, 0.9)] {
        for small in [false, true] {
            for dtype in TYPES {
                let p = gpu.random("p", &[n], 1.0, dtype)?;
                let (m, v) = (gpu.filled(0.0, &[n], DType::F32)?, gpu.filled(0.0, &[n], DType::F32)?);
                let mut host = values(&p.0)?;
                let mut rounded: Vec<bf16> = host.iter().map(|p| bf16::from_f32(*p)).collect();
                let (mut hm, mut hv) = (vec![0.0_f32; n], vec![0.0_f32; n]);
                for step in 1..4 {
                    let (h, g) = (hyper(step, b1), gpu.random(&format!("g{step}"), &[n], 0.1, DType::F32)?);
                    let moments = cpu::adamw::Moments { m: &mut hm, v: &mut hv };
                    let grad = values(&g.0)?;
                    match (dtype, small) {
                        (DType::F32, false) => cpu::adamw::adamw(&mut host, &grad, moments, &h),
                        (DType::F32, true) => cpu::adamw::adamw_small(&mut host, &grad, moments, &h),
                        (_, false) => cpu::adamw::adamw(&mut rounded, &grad, moments, &h),
                        (_, true) => cpu::adamw::adamw_small(&mut rounded, &grad, moments, &h),
                    }
                    let step = if small { cuda::adamw_small } else { cuda::adamw };
                    step(&p.1, &g.1, &m.1, &v.1, &h)?;
                }
                if dtype == DType::BF16 {
                    host = rounded.iter().map(|p| p.to_f32()).collect();
                }
                let rule = if small { "adamw_small" } else { "adamw" };
                for (name, got, want) in [("p", &p.1, &host), ("m", &m.1, &hm), ("v", &v.1, &hv)] {
                    let kernel = format!("{rule} {name} {}", dtype.as_str());
                    gpu.same(&kernel, &format!("{n}, 3 steps"), &bits(got)?, &bits_of(want));
                }
            }
        }
    }
    Ok(())
}

pub fn adamw_8bit(gpu: &Gpu) -> Result<()> {
    let on_gpu = |map: &cpu::dynamic::Map| Tensor::new(&map.values, &gpu.device);
    let (signed, unsigned) = (on_gpu(cpu::dynamic::Map::signed())?, on_gpu(cpu::dynamic::Map::unsigned())?);
    for n in [1, 256, 300, 576 * 64 + 3] {
        let p = gpu.random("p", &[n], 1.0, DType::F32)?;
        let count = n.div_ceil(256);
        let codes = || Tensor::zeros(n, DType::U8, &gpu.device);
        let scales = || Tensor::zeros(count, DType::F32, &gpu.device);
        let (m, v, m_scale, v_scale) = (codes()?, codes()?, scales()?, scales()?);
        let mut host = values(&p.0)?;
        let ([mut hm, mut hv], [mut hms, mut hvs]) =
            ([vec![0_u8; n], vec![0; n]], [vec![0.0_f32; count], vec![0.0; count]]);
        for step in 1..5 {
            let mut grad = gpu.numbers(&format!("g{step}"), n, 0.1);
            // One that is not a number, and in the last step a whole block of zeros.
            grad[n / 3] = if step == 2 { f32::NAN } else { 0.0 };
            if step == 4 {
                grad.iter_mut().take(256).for_each(|g| *g = 0.0);
            }
            let there = Tensor::from_slice(&grad, n, &gpu.device)?;
            let h = hyper(step, 0.9);
            let moments = cpu::adamw::Moments8 { m: &mut hm, m_scale: &mut hms, v: &mut hv, v_scale: &mut hvs };
            cpu::adamw::adamw_8bit(&mut host, &grad, moments, &h);
            let moments = cuda::Moments8 {
                m: &m,
                m_scale: &m_scale,
                v: &v,
                v_scale: &v_scale,
                signed: &signed,
                unsigned: &unsigned,
            };
            cuda::adamw_8bit(&p.1, &there, moments, &h)?;
            let shape = format!("{n}, step {step}");
            gpu.same("adamw_8bit m", &shape, &m.to_vec1::<u8>()?, &hm);
            gpu.same("adamw_8bit v", &shape, &v.to_vec1::<u8>()?, &hv);
            gpu.same("adamw_8bit m_scale", &shape, &bits(&m_scale)?, &bits_of(&hms));
            gpu.same("adamw_8bit v_scale", &shape, &bits(&v_scale)?, &bits_of(&hvs));
            gpu.same("adamw_8bit p", &shape, &bits(&p.1)?, &bits_of(&host));
        }
    }
    Ok(())
}
