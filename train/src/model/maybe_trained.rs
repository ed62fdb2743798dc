//! A tensor of the model: frozen as it was read, or in training with its gradient.

use candle_core::{DType, Tensor};

use crate::{error::Result, kernels, optim::Param};

/// A tensor of the model.
#[derive(Clone, Debug)]
pub enum MaybeTrained {
    /// As it was read, in any float type.
    Frozen(Tensor),
    /// Trained whole. Clones share value and gradient, as a head does that is tied to the embedding.
    Trained(Param),
}

impl From<Tensor> for MaybeTrained {
    fn from(tensor: Tensor) -> Self {
        Self::Frozen(tensor)
    }
}

impl MaybeTrained {
    /// `tensor`, which nobody else holds, to be trained under its Hugging Face name, in f32 (f64 where that is computed
    /// with). Vectors, which are norms and biases, do not decay.
    pub fn trained(name: &str, tensor: Tensor, compute: DType) -> Result<Self> {
        let dtype = if compute == DType::F64 { DType::F64 } else { DType::F32 };
        let value = kernels::cast(&tensor, dtype)?.contiguous()?;
        drop(tensor);
        let grad = value.zeros_like()?;
        let decays = value.rank() > 1;
        Ok(Self::Trained(Param { name: name.to_owned(), value, grad, lr_scale: 1.0, decays }))
    }

    /// The tensor in the type that it is held in.
    pub fn tensor(&self) -> &Tensor {
        match self {
            Self::Frozen(tensor) => tensor,
            Self::Trained(param) => &param.value,
        }
    }

    /// The tensor in the type that is computed with.
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        kernels::cast(self.tensor(), dtype)
    }

    /// The same, which training does not change: itself, or a copy in the type that is computed with.
    pub fn frozen(&self, dtype: DType) -> Result<Self> {
        Ok(match self {
            Self::Frozen(tensor) => tensor.clone(),
            Self::Trained(param) if param.value.dtype() == dtype => param.value.copy()?,
            Self::Trained(param) => kernels::cast(&param.value, dtype)?,
        }
        .into())
    }

    /// What is trained, if it is.
    pub fn param(&self) -> Option<&Param> {
        match self {
            Self::Frozen(_) => None,
            Self::Trained(param) => Some(param),
        }
    }

    /// Memory of the tensor, in bytes.
    pub fn bytes(&self) -> usize {
        self.tensor().elem_count() * self.tensor().dtype().size_in_bytes()
    }

    /// If this vector [C] is trained, add to its gradient the sum of the rows of `d` [T, C].
    pub fn add_row_sum_grad(&self, d: &Tensor) -> Result<()> {
        let Some(param) = self.param() else { return Ok(()) };
        let ones = kernels::ones(d.dim(0)?, d.dtype(), d.device())?;
        kernels::gemm_(&param.grad.unsqueeze(0)?, &ones, d, 1.0, 1.0)
    }
}
