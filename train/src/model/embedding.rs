//! The embedding of tokens, frozen, trained whole, or with an adapter: row i of E [V, H], and s B_i A more, with A [r, H] and B [V, r],
//! which PEFT keeps the other way round, as `lora_embedding_B` and `lora_embedding_A`. Backward: dE_i += d, dB_i += s d A^T,
//! dA += s B_i^T d. There is no dropout on ids.

use candle_core::{DType, Tensor};

use super::{layer::scaled, lora::LoraLayer, maybe_trained::MaybeTrained};
use crate::{
    error::Result,
    kernels::{self, RowIndex},
    optim::Param,
};

/// The embedding.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// [V, H]; frozen as it was stored.
    pub weight: MaybeTrained,
    /// As of a linear layer of V outputs and H inputs.
    pub lora: Option<LoraLayer>,
    /// What embeddings are multiplied by.
    pub scale: f64,
}

impl Embedding {
    /// Embeddings of `ids`, [T, H].
    pub fn forward(&self, ids: &[u32], dtype: DType) -> Result<Tensor> {
        let ids = self.index(ids)?;
        let x = kernels::gather_rows(self.weight.tensor(), &ids, dtype)?;
        if let Some(lora) = &self.lora {
            let rows = kernels::gather_rows(&lora.b.value, &ids, dtype)?;
            kernels::gemm_(&x, &rows, &kernels::cast(&lora.a.value, dtype)?, lora.scale, 1.0)?;
        }
        scaled(x, self.scale)
    }

    /// Given the gradient `d` [T, H] of the embeddings of `ids`, add to the gradients of what is trained.
    pub fn backward(&self, ids: &[u32], d: Tensor) -> Result<()> {
        if !self.trained() {
            return Ok(());
        }
        let (ids, d) = (self.index(ids)?, scaled(d, self.scale)?);
        if let Some(param) = self.weight.param() {
            kernels::add_rows_(&param.grad, &ids, &d)?;
        }
        if let Some(lora) = &self.lora {
            let a = kernels::cast(&lora.a.value, d.dtype())?;
            let u = kernels::empty((d.dim(0)?, a.dim(0)?), d.dtype(), d.device())?;
            kernels::gemm_(&u, &d, &a.t()?, lora.scale, 0.0)?;
            kernels::add_rows_(&lora.b.grad, &ids, &u)?;
            let rows = kernels::gather_rows(&lora.b.value, &ids, d.dtype())?;
            kernels::gemm_(&lora.a.grad, &rows.t()?, &d, lora.scale, 1.0)?;
        }
        Ok(())
    }

    /// Whether anything of it is trained.
    pub fn trained(&self) -> bool {
        self.weight.param().is_some() || self.lora.is_some()
    }

    /// What is trained of it.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        self.weight.param().into_iter().chain(self.lora.iter().flat_map(|lora| [&lora.a, &lora.b]))
    }

    fn index(&self, ids: &[u32]) -> Result<RowIndex> {
        let table = self.weight.tensor();
        RowIndex::new(ids.to_vec(), table.dim(0)?, table.device())
    }
}
