//! NF4 and double quantisation, as bitsandbytes has them: 4 bits a weight and a scale for each 64, in 8 bits
//! with double quantisation. 4.13 bits a weight in all, 4.5 without.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

#[cfg(feature = "cuda")]
use crate::kernels::cuda;
use crate::{
    error::{Error, Result},
    kernels::{
        cpu::{
            dynamic::Map,
            nf4 as kernel,
            stored::{Elements, Stored, update},
        },
        room,
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

/// One scale for each 64 weights: B blocks, the last of which may be shorter.
#[derive(Clone, Debug)]
pub enum Scales {
    /// f32 [B].
    Plain(Tensor),
    /// `map[code] * nested[block / 256] + offset`.
    Double {
        /// u8 [B].
        codes: Tensor,
        /// The dynamic 8-bit map, f32 [256].
        map: Tensor,
        /// f32 [B / 256 rounded up].
        nested: Tensor,
        /// Mean of the scales.
        offset: f32,
    },
}

impl Nf4 {
    /// Quantise a matrix [out, in] of f32, bf16 or f16; `double` quantises the scales too. The result lies on
    /// the device of the matrix.
    ///
    /// # Errors
    /// Another type or rank; a weight that is not finite; weights so large that their mean scale is not.
    pub fn quantize(weight: &Tensor, double: bool) -> Result<Self> {
        let (shape, device) = (weight.dims2()?, weight.device());
        let weight = weight.to_device(&Device::Cpu)?.contiguous()?;
        let (dtype, (packed, scales)) = match weight.dtype() {
            DType::F32 => ("float32", quantize::<f32>(&weight)?),
            DType::BF16 => ("bfloat16", quantize::<half::bf16>(&weight)?),
            DType::F16 => ("float16", quantize::<half::f16>(&weight)?),
            other => return Err(Error::Other(format!("NF4 is made of f32, bf16 or f16 weights, not {other:?}"))),
        };
        let (bytes, blocks) = (packed.len(), scales.len());
        let packed = Tensor::from_vec(packed, (bytes, 1), device)?;
        let scales = if double {
            let doubled = kernel::quantize_scales(&scales);
            if !doubled.offset.is_finite() {
                return Err(Error::Other(
                    "NF4: the weights are too large for double quantisation: use `double_quant = false`".into(),
                ));
            }
            let nested = doubled.nested.len();
            Scales::Double {
                codes: Tensor::from_vec(doubled.codes, blocks, device)?,
                map: Tensor::new(&Map::signed().values, device)?,
                nested: Tensor::from_vec(doubled.nested, nested, device)?,
                offset: doubled.offset,
            }
        } else {
            Scales::Plain(Tensor::from_vec(scales, blocks, device)?)
        };
        Ok(Self { packed, scales, dtype: dtype.into(), shape })
    }

    /// Of codes and scales that are there already: u8 [(out in + 1) / 2] and one scale for each 64 weights.
    pub fn of(packed: Tensor, scales: Scales, dtype: &str, shape: (usize, usize)) -> Result<Self> {
        let n = shape.0 * shape.1;
        let blocks = match &scales {
            Scales::Plain(scales) => scales.elem_count(),
            Scales::Double { codes, .. } => codes.elem_count(),
        };
        if packed.elem_count() != n.div_ceil(2) || blocks != n.div_ceil(kernel::BLOCK) {
            let message = format!("NF4: {} bytes and {blocks} scales for {shape:?}", packed.elem_count());
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
        let scales = match &self.scales {
            Scales::Plain(scales) => Scales::Plain(scales.to_device(device)?),
            Scales::Double { codes, map, nested, offset } => Scales::Double {
                codes: codes.to_device(device)?,
                map: map.to_device(device)?,
                nested: nested.to_device(device)?,
                offset: *offset,
            },
        };
        Ok(Self { packed: self.packed.to_device(device)?, scales, dtype: self.dtype.clone(), shape: self.shape })
    }

    /// The weights again, [out, in], rounded to `dtype` (f32, f64, bf16 or f16; f32 or bf16 on a GPU).
    pub fn dequantize(&self, dtype: DType) -> Result<Tensor> {
        let out = room(self.shape, dtype, self.packed.device())?;
        self.dequantize_into(&out)?;
        Ok(out)
    }

    /// The weights again, over what is in `out`, contiguous [out, in].
    pub fn dequantize_into(&self, out: &Tensor) -> Result<()> {
        if out.dims() != [self.shape.0, self.shape.1] {
            return Err(Error::Other(format!("NF4: a weight of {:?} does not go into {:?}", self.shape, out.dims())));
        }
        #[cfg(feature = "cuda")]
        if out.device().is_cuda() {
            let scales = match &self.scales {
                Scales::Plain(scales) => cuda::Scales::Plain(scales),
                Scales::Double { codes, map, nested, offset } => {
                    cuda::Scales::Double { codes, map, nested, offset: *offset }
                }
            };
            return cuda::nf4_dequantize(out, &self.packed, scales);
        }
        match out.dtype() {
            DType::F32 => self.fill::<f32>(out),
            DType::F64 => self.fill::<f64>(out),
            DType::BF16 => self.fill::<half::bf16>(out),
            DType::F16 => self.fill::<half::f16>(out),
            other => Err(Error::Other(format!("NF4 becomes f32, f64, bf16 or f16, not {other:?}"))),
        }
    }

    fn fill<T: Stored>(&self, out: &Tensor) -> Result<()> {
        let packed = Elements::of(&self.packed);
        let packed = packed.slice()?;
        match &self.scales {
            Scales::Plain(scales) => {
                let scales = Elements::of(scales);
                let scales = scales.slice::<f32>()?;
                update::<T>(out, |out| {
                    kernel::dequantize(packed, |i| scales[i], out);
                    Ok(())
                })?;
            }
            Scales::Double { codes, map, nested, offset } => {
                let (codes, map, nested) = (Elements::of(codes), Elements::of(map), Elements::of(nested));
                let (codes, map, nested) = (codes.slice()?, map.slice()?, nested.slice()?);
                update::<T>(out, |out| {
                    kernel::dequantize(packed, |i| kernel::scale(codes, map, nested, *offset, i), out);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        let size = |t: &Tensor| t.elem_count() * t.dtype().size_in_bytes();
        let scales = match &self.scales {
            Scales::Plain(scales) => size(scales),
            Scales::Double { codes, map, nested, .. } => size(codes) + size(map) + size(nested),
        };
        size(&self.packed) + scales
    }
}

/// Codes and scales of a matrix whose weights are all finite.
fn quantize<T: Stored>(weight: &Tensor) -> Result<(Vec<u8>, Vec<f32>)> {
    let elements = Elements::of(weight);
    let weights = elements.slice::<T>()?;
    // Without an early end, so that it is vector code.
    let finite = |piece: &[T]| piece.iter().fold(true, |all, w| all & w.single().is_finite());
    if !weights.par_chunks(1 << 14).all(finite) {
        let i = weights.iter().take_while(|w| w.single().is_finite()).count();
        let columns = weight.dim(1)?;
        let (row, column) = (i / columns, i % columns);
        return Err(Error::Other(format!(
            "NF4: the weight at row {row}, column {column} is not finite: the file is damaged or its training diverged"
        )));
    }
    Ok(kernel::quantize(weights))
}
