//! NF4 beside the CPU's: the same bytes, and the same weights again.

use candle_core::{DType, Device, Tensor};

use super::{Scales, double_quantize, nf4_dequantize_, nf4_quantize};
use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, TYPES, bits},
};

pub fn nf4(gpu: &Gpu) -> Result<()> {
    for n in [1, 2, 63, 64, 65, 150, 576 * 64, 300 * 4096 + 37] {
        let mut weights = gpu.numbers("w", n, 0.05);
        weights.iter_mut().skip(128).take(64).for_each(|w| *w = 0.0);
        for dtype in TYPES {
            let there = gpu.tensor(weights.clone(), &[n], dtype)?.1;
            let (want, got) = (nf4_quantize(&there.to_device(&Device::Cpu)?)?, nf4_quantize(&there)?);
            let (name, shape) = (format!("nf4_quantize {}", dtype.as_str()), n.to_string());
            let bytes = |packed: &Tensor| packed.flatten_all()?.to_vec1::<u8>();
            gpu.same(&name, &shape, &bytes(&got.0)?, &bytes(&want.0)?);
            gpu.same(&format!("{name} scales"), &shape, &bits(&got.1)?, &bits(&want.1)?);
            for (kind, scales) in [("", Scales::Plain(want.1.clone())), (" double", double_quantize(&want.1)?)] {
                dequantize(gpu, kind, n, &want.0, &scales)?;
            }
        }
    }
    Ok(())
}

/// In both types, where everything is aligned and where nothing is.
fn dequantize(gpu: &Gpu, kind: &str, n: usize, packed: &Tensor, scales: &Scales) -> Result<()> {
    let want = Tensor::zeros(n, DType::F32, &Device::Cpu)?;
    nf4_dequantize_(&want, packed, scales)?;
    let (packed, scales) = (packed.to_device(gpu.device())?, scales.to_device(gpu.device())?);
    for dtype in TYPES {
        // One element further on nothing is aligned, and the slow way has to do.
        for skip in [0, 1] {
            let out = gpu.filled(f32::NAN, &[n + skip], dtype)?.1.narrow(0, skip, n)?;
            nf4_dequantize_(&out, &packed, &scales)?;
            let name = format!("nf4_dequantize{kind} {}", dtype.as_str());
            gpu.same(&name, &format!("{n}, {skip} on"), &bits(&out)?, &bits(&want.to_dtype(dtype)?)?);
        }
    }
    Ok(())
}
