//! Tensors in main memory as slices, of every type that weights and moments are kept in.

use std::cell::Cell;

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Shape, Storage, StorageRef, Tensor, WithDType, bail};
use half::{bf16, f16};

use super::matrix::Mat;
use crate::error::{Error, Result};

/// What a tensor can be made of.
pub trait Element: WithDType + Default {
    /// The elements of a tensor's storage, if they are of this type.
    fn elements(storage: &mut CpuStorage) -> Option<&mut Vec<Self>>;
}

/// A float in memory, whatever a kernel computes with.
pub trait FloatElement: Element {
    /// Of an f32, to the nearest, ties to even.
    fn from_f32(value: f32) -> Self;
    /// As an f32; exact but for f64.
    fn to_f32(self) -> f32;
}

macro_rules! element {
    ($t:ty, $variant:ident) => {
        impl Element for $t {
            fn elements(storage: &mut CpuStorage) -> Option<&mut Vec<Self>> {
                match storage {
                    CpuStorage::$variant(elements) => Some(elements),
                    _ => None,
                }
            }
        }
    };
}

macro_rules! float_element {
    ($t:ty, $variant:ident, $from:expr, $to:expr) => {
        element!($t, $variant);
        impl FloatElement for $t {
            #[inline(always)]
            fn from_f32(value: f32) -> Self {
                $from(value)
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                $to(self)
            }
        }
    };
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "rounding is the point")]
fn f32_of_f64(value: f64) -> f32 {
    value as f32
}

/// To the nearest, ties to even, by integer arithmetic that becomes vector code.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the upper half is kept")]
fn bf16_of_f32(value: f32) -> bf16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) >> 16;
    // Rounding could carry the bits of a NaN over into those of an infinity or of a zero.
    bf16::from_bits(if value.is_nan() { (bits >> 16) as u16 | 0x40 } else { rounded as u16 })
}

element!(u8, U8);
float_element!(f32, F32, std::convert::identity, std::convert::identity);
float_element!(f64, F64, f64::from, f32_of_f64);
float_element!(bf16, BF16, bf16_of_f32, |x: bf16| f32::from_bits(u32::from(x.to_bits()) << 16));
float_element!(f16, F16, f16::from_f32, f16::to_f32);

/// A tensor's elements, locked for reading.
pub struct Elements<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Elements<'a> {
    /// Of a tensor in main memory.
    pub fn of(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    /// In order.
    ///
    /// # Errors
    /// Another device or type; a view that is not contiguous.
    pub fn slice<T: WithDType>(&self) -> candle_core::Result<&[T]> {
        match self.layout.contiguous_offsets() {
            Some((start, end)) => Ok(&self.storage()?.as_slice::<T>()?[start..end]),
            None => bail!("a kernel was given a view that is not contiguous"),
        }
    }

    /// As a matrix, which may be a transposed view.
    ///
    /// # Errors
    /// Another device, type or rank.
    pub fn mat<T: WithDType>(&self) -> candle_core::Result<Mat<'_, T>> {
        let ((rows, cols), stride) = (self.layout.shape().dims2()?, self.layout.stride());
        let data = &self.storage()?.as_slice::<T>()?[self.layout.start_offset()..];
        Ok(Mat { data, rows, cols, rs: stride[0], cs: stride[1] })
    }

    fn storage(&self) -> candle_core::Result<&CpuStorage> {
        match &*self.storage {
            Storage::Cpu(storage) => Ok(storage),
            _ => bail!("a CPU kernel was given a tensor of another device"),
        }
    }
}

struct Update<F>(Cell<Option<F>>);

impl<F: FnOnce(&mut CpuStorage, (usize, usize)) -> candle_core::Result<()>> InplaceOp1 for Update<F> {
    fn name(&self) -> &'static str {
        "update"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        match (self.0.take(), layout.contiguous_offsets()) {
            (Some(f), Some(offsets)) => f(storage, offsets),
            _ => bail!("a kernel was given a target that is not contiguous"),
        }
    }
}

/// Change a tensor's elements in place. What `f` reads or changes besides must be other tensors.
///
/// # Errors
/// Another device or type; a view that is not contiguous.
pub fn update<T: Element, R>(tensor: &Tensor, f: impl FnOnce(&mut [T]) -> R) -> Result<R> {
    let (found, mut result) = (tensor.dtype(), None);
    let change = |storage: &mut CpuStorage, (start, end): (usize, usize)| match T::elements(storage) {
        Some(elements) => {
            result = Some(f(&mut elements[start..end]));
            Ok(())
        }
        None => bail!("a kernel was given {found:?} where it writes {:?}", T::DTYPE),
    };
    tensor.inplace_op1(&Update(Cell::new(Some(change))))?;
    result.ok_or_else(|| Error::Other("a tensor was not changed".into()))
}

/// As [`update`], two tensors at once.
///
/// # Errors
/// As for [`update`].
pub fn update2<A: Element, B: Element, R>(
    a: &Tensor,
    b: &Tensor,
    f: impl FnOnce(&mut [A], &mut [B]) -> R,
) -> Result<R> {
    update(a, |a| update(b, |b| f(a, b)))?
}

/// A new tensor in main memory.
///
/// # Errors
/// A shape of another number of elements.
pub fn tensor<T: WithDType>(elements: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
    Ok(Tensor::from_vec(elements, shape.into(), &Device::Cpu)?)
}

/// A tensor for the next kernel to write all of, with whatever was there before. In tests it is no number.
///
/// # Errors
/// Out of memory.
pub fn empty(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        return Ok(super::launch::empty(shape, dtype, device)?);
    }
    if cfg!(test) && dtype.is_float() {
        return Ok(Tensor::full(f64::NAN, shape, device)?.to_dtype(dtype)?);
    }
    // SAFETY: any bits are a number of the types that kernels know, and no result depends on these: on a GPU nor in tests are they zeros.
    #[allow(unsafe_code, reason = "zeros for every activation would be written by one thread while the others wait")]
    Ok(unsafe { Tensor::empty(shape, dtype, device) }?)
}

/// Set every element to 0.
///
/// # Errors
/// A view that is not contiguous.
pub fn zero_(tensor: &Tensor) -> Result<()> {
    #[cfg(feature = "cuda")]
    if tensor.device().is_cuda() {
        return Ok(super::launch::fill(tensor, 0)?);
    }
    Ok(tensor.zero_set()?)
}

/// Let `to` hold what `from` does, of the same shape and type and on the same device.
///
/// # Errors
/// Another shape, type or device; a view that is not contiguous.
pub fn copy_(to: &Tensor, from: &Tensor) -> Result<()> {
    #[cfg(feature = "cuda")]
    if to.device().is_cuda() {
        return Ok(super::launch::copy(to, from)?);
    }
    Ok(to.slice_set(from, 0, 0)?)
}

/// All elements in order, in main memory and as f32.
///
/// # Errors
/// On a GPU another type than f32 and bf16, or a view that is not contiguous.
pub fn to_host(tensor: &Tensor) -> Result<Vec<f32>> {
    #[cfg(feature = "cuda")]
    if tensor.device().is_cuda() {
        return Ok(match tensor.dtype() {
            DType::F32 => super::launch::to_host(tensor)?,
            _ => super::launch::to_host(tensor)?.into_iter().map(bf16::to_f32).collect(),
        });
    }
    Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// A row of `n` ones, [1, n].
///
/// # Errors
/// Out of memory.
pub fn ones(n: usize, dtype: DType, device: &Device) -> Result<Tensor> {
    // Made in main memory: a GPU would need a kernel of candle's for it.
    Ok(Tensor::ones((1, n), dtype, &Device::Cpu)?.to_device(device)?)
}

/// Refuses tensors of different numbers of elements.
///
/// # Errors
/// The shapes.
pub fn same_size(kernel: &str, tensors: &[&Tensor]) -> Result<()> {
    match tensors.iter().find(|t| t.elem_count() != tensors[0].elem_count()) {
        Some(t) => Err(Error::Other(format!("{kernel}: {:?} beside {:?}", t.shape(), tensors[0].shape()))),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "exact on purpose")]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_as_half_does() {
        for i in 0..=u32::MAX >> 8 {
            let x = f32::from_bits((i << 8) | (0x80 * (i & 1)));
            let (ours, theirs) = (bf16_of_f32(x), bf16::from_f32(x));
            assert!(ours == theirs || ours.is_nan() && theirs.is_nan(), "{x:e}: {ours} {theirs}");
            assert!(x.is_nan() || FloatElement::to_f32(ours) == theirs.to_f32());
        }
    }
}
