//! The KV cache: keys and values of the tokens before, so that a text is written one token at a time. It holds many texts.

use candle_core::{DType, Device, Tensor};

use crate::{
    error::Result,
    kernels::{self, RowIndex},
};

/// Keys (after RoPE) and values of one layer, [R, Hkv D] each: of R rows every text has a run of its own, in its order.
#[derive(Clone, Debug)]
pub struct KvCache {
    k: Tensor,
    v: Tensor,
}

impl KvCache {
    /// R.
    pub fn rows(&self) -> Result<usize> {
        Ok(self.k.dim(0)?)
    }

    /// Of so many rows of this width, with nothing in them. Clones share them.
    pub fn new(rows: usize, width: usize, dtype: DType, device: &Device) -> Result<Self> {
        let zeros = || Tensor::zeros((rows, width), dtype, device);
        Ok(Self { k: zeros()?, v: zeros()? })
    }

    /// Put in `k` and `v` of new tokens, [T, Hkv D], each into the row that `places` says; gives all keys and values.
    pub fn put(&self, k: &Tensor, v: &Tensor, places: &RowIndex) -> Result<(Tensor, Tensor)> {
        kernels::put_rows_(&self.k, places, k)?;
        kernels::put_rows_(&self.v, places, v)?;
        Ok((self.k.clone(), self.v.clone()))
    }

    /// Copy `len` rows from the row `from` on to the row `to` on.
    pub fn copy(&self, from: usize, to: usize, len: usize) -> Result<()> {
        for rows in [&self.k, &self.v] {
            // What is copied is a tensor of its own first: the runs may overlap.
            kernels::copy_(&rows.narrow(0, to, len)?, &rows.narrow(0, from, len)?.force_contiguous()?)?;
        }
        Ok(())
    }
}
