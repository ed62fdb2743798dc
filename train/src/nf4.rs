//! NF4 and double quantisation, as bitsandbytes has them: 4 bits a weight and a scale for each 64, in 8 bits
//! with double quantisation. 4.13 bits a weight in all, 4.5 without.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

pub use crate::kernels::nf4::Scales;
use crate::{
    error::{Error, Result},
    kernels::{
        empty,
        nf4::{BLOCK, double_quantize, nf4_dequantize_, nf4_quantize},
        storage::{Elements, FloatElement},
    },
};

/// A quantised matrix. Everything it is made of lies on its device.
#[derive(Clone, Debug)]
pub struct Nf4 {
    /// Two codes a byte, row by row, u8 [(out in + 1) / 2, 1].
    pub packed: Tensor,
    /// What the codes are multiplied by.
    pub scales: Scales,
    /// Type of the weights before: `float32`, `bfloat16` or `float16`.
    pub dtype: String,
    shape: (usize, usize),
}

/// What becomes of the scales of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoubleQuant {
    /// They stay in f32.
    Off,
    /// They are quantised to 8 bits.
    On,
}

impl From<bool> for DoubleQuant {
    /// As recipes and bitsandbytes' configurations say it.
    fn from(double_quant: bool) -> Self {
        if double_quant { Self::On } else { Self::Off }
    }
}

impl Nf4 {
    /// Quantise a matrix [out, in] of f32, bf16 or f16, on the CPU. The result lies on the device of the matrix.
    ///
    /// # Errors
    /// A weight that is not finite; weights so large that their mean scale is not.
    pub fn quantize(weight: &Tensor, double_quant: DoubleQuant) -> Result<Self> {
        let (shape, device) = (weight.dims2()?, weight.device());
        let weight = weight.to_device(&Device::Cpu)?.contiguous()?;
        let dtype = match weight.dtype() {
            DType::F32 => finite::<f32>(&weight, "float32"),
            DType::BF16 => finite::<half::bf16>(&weight, "bfloat16"),
            DType::F16 => finite::<half::f16>(&weight, "float16"),
            other => Err(Error::Other(format!("NF4 is made of f32, bf16 or f16 weights, not {other:?}"))),
        }?;
        let (packed, scales) = nf4_quantize(&weight)?;
        let scales = match double_quant {
            DoubleQuant::On => double_quantize(&scales)?,
            DoubleQuant::Off => Scales::Plain(scales),
        };
        Ok(Self { packed: packed.to_device(device)?, scales: scales.to_device(device)?, dtype: dtype.into(), shape })
    }

    /// Of codes and scales that are there already: u8 [(out in + 1) / 2] and one scale for each 64 weights.
    ///
    /// # Errors
    /// Sizes that are not those of the shape.
    pub fn of(packed: Tensor, scales: Scales, dtype: &str, shape: (usize, usize)) -> Result<Self> {
        let n = shape.0 * shape.1;
        if packed.elem_count() != n.div_ceil(2) || scales.blocks() != n.div_ceil(BLOCK) {
            let message = format!("NF4: {} bytes and {} scales for {shape:?}", packed.elem_count(), scales.blocks());
            return Err(Error::Other(message));
        }
        Ok(Self { packed, scales, dtype: dtype.into(), shape })
    }

    /// (out, in)
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// The same on another device.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let (packed, scales) = (self.packed.to_device(device)?, self.scales.to_device(device)?);
        Ok(Self { packed, scales, dtype: self.dtype.clone(), shape: self.shape })
    }

    /// The weights again, [out, in], rounded to `dtype` (f32, f64, bf16 or f16; f32 or bf16 on a GPU).
    pub fn dequantize(&self, dtype: DType) -> Result<Tensor> {
        let out = empty(self.shape, dtype, self.packed.device())?;
        self.dequantize_into(&out)?;
        Ok(out)
    }

    /// The weights again, over what is in `out`, contiguous [out, in].
    pub fn dequantize_into(&self, out: &Tensor) -> Result<()> {
        if out.dims() != [self.shape.0, self.shape.1] {
            return Err(Error::Other(format!("NF4: a weight of {:?} does not go into {:?}", self.shape, out.dims())));
        }
        nf4_dequantize_(out, &self.packed, &self.scales)
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.packed.elem_count() + self.scales.bytes()
    }
}

/// `name` if all weights of a matrix are finite.
fn finite<'a, T: FloatElement>(weight: &Tensor, name: &'a str) -> Result<&'a str> {
    let elements = Elements::of(weight);
    let weights = elements.slice::<T>()?;
    // Without an early end, so that it is vector code.
    let finite = |piece: &[T]| piece.iter().fold(true, |all, w| all & w.to_f32().is_finite());
    if weights.par_chunks(1 << 14).all(finite) {
        return Ok(name);
    }
    let i = weights.iter().take_while(|w| w.to_f32().is_finite()).count();
    let columns = weight.dim(1)?;
    let (row, column) = (i / columns, i % columns);
    Err(Error::Other(format!(
        "NF4: the weight at row {row}, column {column} is not finite: the file is damaged or its training diverged"
    )))
}
