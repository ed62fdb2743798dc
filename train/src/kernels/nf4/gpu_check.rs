//! NF4: the CPU's bytes, and back.

use candle_core::{DType, Device, Tensor};
use half::bf16;
use setaccio_train::{
    error::Result,
    kernels::{cpu, cuda},
};

use super::{Gpu, TYPES, bits};

pub fn nf4(gpu: &Gpu) -> Result<()> {
    for n in [1, 2, 63, 64, 65, 150, 576 * 64, 300 * 4096 + 37] {
        let mut weights = gpu.numbers("w", n, 0.05);
        weights.iter_mut().skip(128).take(64).for_each(|w| *w = 0.0);
        let rounded: Vec<bf16> = weights.iter().map(|w| bf16::from_f32(*w)).collect();
        for dtype in TYPES {
            let there = gpu.tensor(weights.clone(), &[n], dtype)?.1;
            let (packed, scales) = match dtype {
                DType::F32 => cpu::nf4::quantize(&weights),
                _ => cpu::nf4::quantize(&rounded),
            };
            let (p, s) = cuda::nf4_quantize(&there)?;
            let (name, shape) = (format!("nf4_quantize {}", dtype.as_str()), n.to_string());
            gpu.same(&name, &shape, &p.flatten_all()?.to_vec1::<u8>()?, &packed);
            gpu.same(&format!("{name} scales"), &shape, &s.to_vec1::<f32>()?, &scales);
            back(gpu, &p, &s, (&packed, &scales), n)?;
        }
    }
    Ok(())
}

/// Dequantised with plain and with doubled scales, in both types, where everything is aligned and where nothing is.
fn back(gpu: &Gpu, p: &Tensor, s: &Tensor, (packed, scales): (&[u8], &[f32]), n: usize) -> Result<()> {
    let doubled = cpu::nf4::quantize_scales(scales);
    let map = &cpu::dynamic::Map::signed().values;
    let (codes, nested) = (doubled.codes.len(), doubled.nested.len());
    let double = cuda::Scales::Double {
        codes: &Tensor::from_slice(&doubled.codes, codes, &gpu.device)?,
        map: &Tensor::new(map, &gpu.device)?,
        nested: &Tensor::from_slice(&doubled.nested, nested, &gpu.device)?,
        offset: doubled.offset,
    };
    let scale = |i| cpu::nf4::scale(&doubled.codes, map, &doubled.nested, doubled.offset, i);
    let (mut plain, mut twice) = (vec![0.0_f32; n], vec![0.0_f32; n]);
    cpu::nf4::dequantize(packed, |i| scales[i], &mut plain);
    cpu::nf4::dequantize(packed, scale, &mut twice);
    for dtype in TYPES {
        for (kind, scales, want) in [("", cuda::Scales::Plain(s), &plain), (" double", double, &twice)] {
            // One element further on nothing is aligned, and the slow way has to do.
            for skip in [0, 1] {
                let out = gpu.filled(f32::NAN, &[n + skip], dtype)?.1.narrow(0, skip, n)?;
                cuda::nf4_dequantize(&out, p, scales)?;
                let want = Tensor::from_slice(want, n, &Device::Cpu)?.to_dtype(dtype)?;
                let name = format!("nf4_dequantize{kind} {}", dtype.as_str());
                gpu.same(&name, &format!("{n}, {skip} on"), &bits(&out)?, &bits(&want)?);
            }
        }
    }
    Ok(())
}
