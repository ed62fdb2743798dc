//! A model whose vocabulary has grown: more rows of embedding and head than its files hold.

use candle_core::{DType, Tensor};

use super::{config::Config, load::Source};
use crate::{
    error::Result,
    nf4::Nf4,
    recipe::{EMBEDDING, HEAD},
};

/// The tensors of `source` with rows for `vocab` tokens in both tables. Each new row is the mean of those that are there: what
/// transformers' `resize_token_embeddings` draws from a normal distribution of a billionth of their covariance, without the
/// draw.
pub struct Grown<'a> {
    /// What the files hold.
    pub source: &'a dyn Source,
    /// And say.
    pub config: &'a Config,
    /// Rows.
    pub vocab: usize,
}

impl Source for Grown<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let module = name.strip_suffix(".weight").unwrap_or(name);
        let own = self.config.vocab_size;
        if ![EMBEDDING, HEAD].contains(&module) || self.vocab <= own {
            return self.source.tensor(name, shape);
        }
        let table = self.source.tensor(name, &[own, self.config.hidden_size])?;
        let mean = mean(&table)?.to_dtype(table.dtype())?;
        Ok(Tensor::cat(&[&table, &mean.repeat((self.vocab - own, 1))?], 0)?)
    }

    fn packed(&self, name: &str, shape: (usize, usize)) -> Result<Option<Nf4>> {
        self.source.packed(name, shape)
    }
}

/// The mean of the rows of a table [V, H], [1, H]. Added up in f64, row after row.
fn mean(table: &Tensor) -> Result<Tensor> {
    let (rows, width) = table.dims2()?;
    let mut sum = vec![0.0_f64; width];
    // A few rows at a time: the table is large, and may be in 16 bits.
    for start in (0..rows).step_by(1024) {
        let part =
            table.narrow(0, start, 1024.min(rows - start))?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        for row in part.chunks(width) {
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        }
    }
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "rounded once")]
    let mean: Vec<f32> = sum.into_iter().map(|sum| (sum / rows as f64) as f32).collect();
    Ok(Tensor::from_vec(mean, (1, width), table.device())?)
}
