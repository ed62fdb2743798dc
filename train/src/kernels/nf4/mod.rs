//! NF4 (Dettmers et al. 2023, QLoRA): 16 quantiles of a normal distribution, scaled by the largest magnitude of each 64
//! weights; with double quantisation those scales, less their mean, are in 8 bits too. The bytes are those of
//! bitsandbytes, on every device.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

pub use cpu::{BLOCK, CODE, NESTED, Scales};

use candle_core::Tensor;

use super::dynamic_quant::QuantMap;
use crate::error::{Error, Result};

/// Codes, the first of each two in the high half of a byte, u8 [(n + 1) / 2, 1], and scales, f32 [n / 64 rounded up], of n
/// finite weights in f32 or bf16, on the CPU also f16. An odd last byte is filled with the code of 0.
pub fn nf4_quantize(weights: &Tensor) -> Result<(Tensor, Tensor)> {
    by_device!(weights, nf4_quantize(weights))
}

/// Scales in 8 bits, on their device. The CPU works them out: they are a few thousand numbers at loading.
///
/// # Errors
/// Weights so large that their mean scale is not finite.
pub fn double_quantize(scales: &Tensor) -> Result<Scales> {
    let (double, device) = (cpu::quantize_scales(&scales.to_vec1::<f32>()?), scales.device());
    if !double.offset.is_finite() {
        let message = "NF4: the weights are too large for double quantisation: use `double_quant = false`";
        return Err(Error::Other(message.into()));
    }
    Ok(Scales::Double {
        codes: Tensor::new(double.codes, device)?,
        map: Tensor::new(&QuantMap::signed().values, device)?,
        nested: Tensor::new(double.nested, device)?,
        offset: double.offset,
    })
}

/// The weights again, over what is in `out`: `out[i] = CODE[code i] * scale(i / 64)`, multiplied in f32 and rounded to the
/// type of `out`, f32 or bf16, on the CPU also f64 and f16.
pub fn nf4_dequantize_(out: &Tensor, packed: &Tensor, scales: &Scales) -> Result<()> {
    by_device!(out, nf4_dequantize_(out, packed, scales))
}
