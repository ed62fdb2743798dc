//! Softmax cross-entropy of a few rows of logits, and its gradient in their place.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

pub use cpu::RowLoss;

use candle_core::{Device, Tensor};

use crate::error::{Error, Result};

/// The losses of N targets, some rows of logits after others. A GPU keeps them until all are asked for, so that the host does
/// not wait for each piece.
pub struct RowLosses {
    targets: Vec<u32>,
    cap: Option<f64>,
    done: Vec<RowLoss>,
    #[cfg(feature = "cuda")]
    there: Option<cuda::Losses>,
}

impl RowLosses {
    /// Of these targets, whose logits will be on `device`. With a soft cap c the softmax is that of `y = c tanh(x / c)`, and the
    /// gradient, which is the one of the logit x, has a factor `1 - (y / c)^2` more.
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables, clippy::unnecessary_wraps, reason = "as with a GPU"))]
    pub fn new(targets: Vec<u32>, cap: Option<f64>, device: &Device) -> Result<Self> {
        Ok(Self {
            #[cfg(feature = "cuda")]
            there: cuda::Losses::new(&targets, device)?,
            done: Vec::with_capacity(targets.len()),
            targets,
            cap,
        })
    }

    /// Cross-entropy of the `logits` [C, V] of the targets from number `first` on, the next ones; the logits become
    /// `scale (softmax - onehot(target))`. With `scale` 0 they are spent all the same.
    ///
    /// # Errors
    /// A target outside the vocabulary; shapes or types that do not fit.
    pub fn add_(&mut self, logits: &Tensor, first: usize, scale: f64) -> Result<()> {
        let rows = logits.dim(0)?;
        let Some(targets) = self.targets.get(first..first + rows) else {
            return Err(Error::Other(format!(
                "{rows} rows of logits from target {first} of {} on",
                self.targets.len()
            )));
        };
        cpu::dims(logits, targets)?;
        #[cfg(feature = "cuda")]
        if let Some(there) = &self.there {
            return there.add_(logits, first, scale, self.cap);
        }
        self.done.extend(cpu::cross_entropy_(logits, targets, scale, self.cap)?);
        Ok(())
    }

    /// All of them. Waits for the GPU.
    #[cfg_attr(not(feature = "cuda"), allow(clippy::unnecessary_wraps, reason = "as with a GPU"))]
    pub fn finish(self) -> Result<Vec<RowLoss>> {
        #[cfg(feature = "cuda")]
        if let Some(there) = self.there {
            return there.finish();
        }
        Ok(self.done)
    }
}
