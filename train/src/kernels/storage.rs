//! Tensors in main memory as slices, of every type that weights and moments are kept in.

use std::cell::Cell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, StorageRef, Tensor, WithDType, bail};
use half::{bf16, f16};

use super::gemm::Mat;

/// What a tensor can be made of.
pub trait Element: WithDType + Default {
    /// The elements of a tensor's storage, if they are of this type.
    fn elements(storage: &mut CpuStorage) -> Option<&mut Vec<Self>>;
}

/// A float in memory, whatever a kernel computes with.
pub trait Stored: Element {
    /// Of an f32, to the nearest, ties to even.
    fn of(value: f32) -> Self;
    /// As an f32; exact but for f64.
    fn single(self) -> f32;
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

macro_rules! stored {
    ($t:ty, $variant:ident, $of:expr, $single:expr) => {
        element!($t, $variant);
        impl Stored for $t {
            #[inline(always)]
            #[allow(clippy::inline_always, reason = "so that loops over it become vector code")]
            fn of(value: f32) -> Self {
                $of(value)
            }
            #[inline(always)]
            #[allow(clippy::inline_always, reason = "so that loops over it become vector code")]
            fn single(self) -> f32 {
                $single(self)
            }
        }
    };
}

#[inline(always)]
#[allow(clippy::inline_always, clippy::cast_possible_truncation, reason = "vector code; rounding is the point")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// To the nearest, ties to even, by integer arithmetic that becomes vector code.
#[inline(always)]
#[allow(clippy::inline_always, clippy::cast_possible_truncation, reason = "vector code; the upper half is kept")]
fn brain(value: f32) -> bf16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) >> 16;
    // Rounding could carry the bits of a NaN over into those of an infinity or of a zero.
    bf16::from_bits(if value.is_nan() { (bits >> 16) as u16 | 0x40 } else { rounded as u16 })
}

element!(u8, U8);
stored!(f32, F32, std::convert::identity, std::convert::identity);
stored!(f64, F64, f64::from, narrow);
stored!(bf16, BF16, brain, |x: bf16| f32::from_bits(u32::from(x.to_bits()) << 16));
stored!(f16, F16, f16::from_f32, f16::to_f32);

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
    pub fn slice<T: WithDType>(&self) -> Result<&[T]> {
        match (&*self.storage, self.layout.contiguous_offsets()) {
            (Storage::Cpu(storage), Some((start, end))) => Ok(&storage.as_slice::<T>()?[start..end]),
            (Storage::Cpu(_), None) => bail!("a kernel was given a view that is not contiguous"),
            _ => bail!("a CPU kernel was given a tensor of another device: build with --features cuda"),
        }
    }
}

impl Elements<'_> {
    /// As a matrix, which may be a transposed view.
    ///
    /// # Errors
    /// Another device, type or rank.
    pub fn mat<T: WithDType>(&self) -> Result<Mat<'_, T>> {
        let ((rows, cols), stride) = (self.layout.shape().dims2()?, self.layout.stride());
        let Storage::Cpu(storage) = &*self.storage else { bail!("a CPU kernel was given a tensor of another device") };
        let data = &storage.as_slice::<T>()?[self.layout.start_offset()..];
        Ok(Mat { data, rows, cols, rs: stride[0], cs: stride[1] })
    }
}

struct Update<F>(Cell<Option<F>>);

impl<F: FnOnce(&mut CpuStorage, (usize, usize)) -> Result<()>> InplaceOp1 for Update<F> {
    fn name(&self) -> &'static str {
        "update"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        match (self.0.take(), layout.contiguous_offsets()) {
            (Some(f), Some(offsets)) => f(storage, offsets),
            _ => bail!("a kernel was given a target that is not contiguous"),
        }
    }
}

/// Change a tensor's elements in place. What `f` reads or changes besides must be other tensors.
///
/// # Errors
/// Another device or type; a view that is not contiguous; what `f` says.
pub fn update<T: Element>(tensor: &Tensor, f: impl FnOnce(&mut [T]) -> Result<()>) -> Result<()> {
    let found = tensor.dtype();
    let change = |storage: &mut CpuStorage, (start, end): (usize, usize)| match T::elements(storage) {
        Some(elements) => f(&mut elements[start..end]),
        None => bail!("a kernel was given {found:?} where it writes {:?}", T::DTYPE),
    };
    tensor.inplace_op1(&Update(Cell::new(Some(change))))
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "exact on purpose")]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_as_half_does() {
        for i in 0..=u32::MAX >> 8 {
            let x = f32::from_bits((i << 8) | (0x80 * (i & 1)));
            let (ours, theirs) = (brain(x), bf16::from_f32(x));
            assert!(ours == theirs || ours.is_nan() && theirs.is_nan(), "{x:e}: {ours} {theirs}");
            assert!(x.is_nan() || ours.single() == theirs.to_f32());
        }
    }
}
