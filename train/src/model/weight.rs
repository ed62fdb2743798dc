//! A matrix, as it is held: whole, or in 4 bits until the moment it is used.

use candle_core::{DType, Tensor};

use super::maybe_trained::MaybeTrained;
use crate::{error::Result, nf4::Nf4, optim::Param};

/// The weight of a linear layer, [out, in].
#[derive(Clone, Debug)]
pub enum Weight {
    /// In a float type.
    Dense(MaybeTrained),
    /// In 4 bits.
    Nf4(Nf4),
}

impl Weight {
    /// The matrix in the type that is computed with; for 4 bits a new one that lives as long as its use.
    pub fn dense(&self, dtype: DType) -> Result<Tensor> {
        match self {
            Self::Dense(weight) => weight.to_dtype(dtype),
            Self::Nf4(packed) => packed.dequantize(dtype),
        }
    }

    /// The same, which training does not change; see [`MaybeTrained::frozen`].
    pub fn frozen(&self, dtype: DType) -> Result<Self> {
        Ok(match self {
            Self::Dense(weight) => Self::Dense(weight.frozen(dtype)?),
            Self::Nf4(packed) => Self::Nf4(packed.clone()),
        })
    }

    /// Rows and columns, (out, in).
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::Dense(weight) => weight.tensor().dims2().unwrap_or_default(),
            Self::Nf4(packed) => packed.shape(),
        }
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Dense(weight) => weight.bytes(),
            Self::Nf4(packed) => packed.bytes(),
        }
    }

    /// What is trained of it, if it is trained whole.
    pub fn param(&self) -> Option<&Param> {
        match self {
            Self::Dense(weight) => weight.param(),
            Self::Nf4(_) => None,
        }
    }
}
