//! What a kernel's `gpu_check.rs` is given: random inputs on both devices, results that hold NaNs, and comparisons.
//!
//! In bf16 the CPU gets the same rounded inputs and computes in f32, so what is left is the rounding of results to
//! 8 bits, at most 2^-8 of each, and of what is read again on the way.

use std::cell::RefCell;

use super::{gpu_device, launch::poison_results};
use crate::{
    error::Result,
    random::{key, uniform_vec},
};
use candle_core::{DType, Device, Tensor};

/// Types that every kernel computes on.
pub const TYPES: [DType; 2] = [DType::F32, DType::BF16];

/// The same tensor in main memory (f32) and on the GPU.
pub struct Pair(pub Tensor, pub Tensor);

/// What one comparison found.
#[derive(Clone, Debug)]
pub struct Line {
    /// The kernel, with the type of its elements.
    pub kernel: String,
    /// Sizes.
    pub shape: String,
    /// As a share of the largest value, or the share of elements whose bits differ.
    pub error: f64,
    /// The most that this may be.
    pub allowed: f64,
}

impl Line {
    /// Whether it is close enough; what is not a number never is.
    pub fn passed(&self) -> bool {
        self.error <= self.allowed
    }
}

/// A GPU, where the inputs come from, and what was found so far.
pub struct Gpu {
    device: Device,
    /// Of all random inputs.
    pub seed: u64,
    found: RefCell<Vec<Line>>,
}

impl Gpu {
    /// The first GPU, with outputs full of NaNs from here on.
    pub fn open(seed: u64) -> Result<Self> {
        let device = gpu_device::open()?;
        poison_results();
        Ok(Self { device, seed, found: RefCell::new(Vec::new()) })
    }

    /// Run a case and take what it found.
    pub fn run(&self, case: fn(&Self) -> Result<()>) -> Result<Vec<Line>> {
        case(self)?;
        Ok(self.found.take())
    }

    /// The device itself.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// These values, rounded to `dtype`, on both.
    pub fn tensor(&self, values: Vec<f32>, shape: &[usize], dtype: DType) -> Result<Pair> {
        let host = Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?;
        let there = host.to_device(&self.device)?;
        Ok(Pair(host.to_dtype(DType::F32)?, there))
    }

    /// `n` values of the stream called `name`, uniform in plus or minus `scale`.
    pub fn numbers(&self, name: &str, n: usize, scale: f32) -> Vec<f32> {
        uniform_vec(key(self.seed, name), n, scale)
    }

    /// Uniform in plus or minus `scale`, rounded to `dtype`.
    pub fn random(&self, name: &str, shape: &[usize], scale: f32, dtype: DType) -> Result<Pair> {
        self.tensor(self.numbers(name, shape.iter().product(), scale), shape, dtype)
    }

    /// One value throughout.
    pub fn filled(&self, with: f32, shape: &[usize], dtype: DType) -> Result<Pair> {
        self.tensor(vec![with; shape.iter().product()], shape, dtype)
    }

    /// Note one comparison.
    pub fn say(&self, kernel: &str, shape: &str, error: f64, allowed: f64) {
        self.found.borrow_mut().push(Line { kernel: kernel.into(), shape: shape.into(), error, allowed });
    }

    /// `got` is of type `dtype` and rounds as such; `f32` is what may be lost in f32, for sums of that length.
    pub fn close(
        &self,
        (kernel, shape): (&str, &str),
        got: &Tensor,
        want: &Tensor,
        dtype: DType,
        f32: f64,
    ) -> Result<()> {
        // Half a unit in the last of 8 bits is at most 2^-8 of a number; one that is rounded on the way has more in `f32`.
        let allowed = if dtype == DType::F32 { f32 } else { f32 + 1.0 / 256.0 };
        self.say(&format!("{kernel} {}", dtype.as_str()), shape, apart(got, want)?, allowed);
        Ok(())
    }

    /// Bit for bit.
    pub fn same<T: PartialEq>(&self, kernel: &str, shape: &str, got: &[T], want: &[T]) {
        let differ = got.iter().zip(want).filter(|(g, w)| g != w).count() + got.len().abs_diff(want.len());
        #[allow(clippy::cast_precision_loss, reason = "small")]
        self.say(kernel, shape, differ as f64 / want.len().max(1) as f64, 0.0);
    }
}

/// All values, as f32 in main memory.
pub fn values(t: &Tensor) -> Result<Vec<f32>> {
    let host = t.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    Ok(host.flatten_all()?.to_vec1()?)
}

/// Their bits.
pub fn bits(t: &Tensor) -> Result<Vec<u32>> {
    Ok(values(t)?.iter().map(|v| v.to_bits()).collect())
}

/// The larger of the largest difference, as a share of the largest value, and the root mean square of differences as a
/// share of that of values; a value that was never written is no number, and neither is the result. Where values are 0
/// but for rounding, such as dq of a lone token, they are shares of 0.1.
pub fn apart(got: &Tensor, want: &Tensor) -> Result<f64> {
    let (got, want) = (values(got)?, values(want)?);
    if got.len() != want.len() {
        return Ok(f64::INFINITY);
    }
    let (mut worst, mut largest, mut squares, mut all) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    for (g, w) in got.iter().zip(&want) {
        let (g, w) = (f64::from(*g), f64::from(*w));
        if !(g.is_finite() && w.is_finite()) {
            return Ok(f64::NAN);
        }
        (worst, largest) = (worst.max((g - w).abs()), largest.max(w.abs()));
        (squares, all) = (squares + (g - w).powi(2), all + w * w);
    }
    #[allow(clippy::cast_precision_loss, reason = "small")]
    let n = got.len().max(1) as f64;
    Ok((worst / largest.max(0.1)).max((squares / n).sqrt() / (all / n).sqrt().max(0.1)))
}
