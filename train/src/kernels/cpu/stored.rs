//! The types that weights are kept in, whatever a kernel computes with.

use candle_core::{CpuStorage, WithDType};
use half::{bf16, f16};

/// A float in memory.
pub trait Stored: WithDType + Default {
    /// Of an f32, to the nearest, ties to even.
    fn of(value: f32) -> Self;
    /// As an f32; exact but for f64.
    fn single(self) -> f32;
    /// The elements of a tensor's storage, if they are of this type.
    fn elements(storage: &mut CpuStorage) -> Option<&mut Vec<Self>>;
}

macro_rules! stored {
    ($t:ty, $variant:ident, $of:expr, $single:expr) => {
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
            fn elements(storage: &mut CpuStorage) -> Option<&mut Vec<Self>> {
                match storage {
                    CpuStorage::$variant(elements) => Some(elements),
                    _ => None,
                }
            }
        }
    };
}

#[inline(always)]
#[allow(clippy::inline_always, clippy::cast_possible_truncation, reason = "vector code; rounding is the point")]
fn narrow(value: f64) -> f32 {
    value as f32
}

stored!(f32, F32, std::convert::identity, std::convert::identity);
stored!(f64, F64, f64::from, narrow);
stored!(bf16, BF16, bf16::from_f32, bf16::to_f32);
stored!(f16, F16, f16::from_f32, f16::to_f32);
