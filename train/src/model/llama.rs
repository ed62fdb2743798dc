//! A model of the Llama family: embedding, layers, head, and one training pass through them.

use candle_core::{DType, Device, Tensor};

use super::{
    head::{Head, Losses},
    layer::{Context, Layer, Past, Saved},
    maybe_trained::Values,
    mode::{Pass, View},
    rope::Rotary,
};
use crate::{
    data::Batch,
    error::Result,
    kernels::{self, RowLoss, Span},
    optim::Param,
};

/// A model.
#[derive(Clone, Debug)]
pub struct Llama {
    /// [V, H]; frozen as it was stored.
    pub embedding: Values,
    /// In the order of the forward pass.
    pub layers: Vec<Layer>,
    /// Final norm and head.
    pub head: Head,
    /// Angles of the positions.
    pub rotary: Rotary,
    /// What is computed with.
    pub dtype: DType,
}

/// A training pass: which one it is, and what is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// For dropout and noise.
    pub pass: Pass,
    /// How many layers are computed again in the backward pass instead of being kept.
    pub recompute: usize,
    /// NEFTune's alpha, 0 for none.
    pub neftune_alpha: f64,
}

enum Kept {
    All(Box<Saved>),
    Input(Tensor),
}

impl Llama {
    /// Where the model is.
    pub fn device(&self) -> &Device {
        self.embedding.tensor().device()
    }

    /// Embeddings of `ids`, [T, H].
    ///
    /// # Errors
    /// An id outside the vocabulary.
    pub fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        let ids = Tensor::new(ids, self.device())?;
        Ok(self.embedding.tensor().index_select(&ids, 0)?.to_dtype(self.dtype)?)
    }

    fn context<'a>(
        &self,
        positions: &[u32],
        (spans, keys): (&'a [Span], Option<Vec<u32>>),
        view: View,
    ) -> Result<Context<'a>> {
        let (cos, sin) = self.rotary.angles(positions, self.dtype, self.device())?;
        let keys = keys.map(|keys| Tensor::new(keys, self.device())).transpose()?;
        Ok(Context { cos, sin, spans, keys, view })
    }

    /// Hidden states after the last layer, [T, H], with the adapter as it is.
    ///
    /// # Errors
    /// An id outside the vocabulary; out of memory.
    pub fn hidden(&self, batch: &Batch) -> Result<Tensor> {
        self.seen(batch, View::Trained)
    }

    fn seen(&self, batch: &Batch, view: View) -> Result<Tensor> {
        let (spans, keys) = batch.spans();
        let context = self.context(&batch.positions, (&spans, keys), view)?;
        let mut x = self.embed(&batch.ids)?;
        for layer in &self.layers {
            x = layer.forward(&x, &context)?.0;
        }
        Ok(x)
    }

    /// Logits [V] of what follows `ids`, which come after what `past` has seen: one [`Past`] a layer.
    ///
    /// # Errors
    /// As [`Self::hidden`].
    pub fn next(&self, ids: &[u32], past: &mut [Past]) -> Result<Tensor> {
        let before = past.first().map_or(0, Past::len);
        let span = Span { q: 0, q_len: ids.len(), k: 0, k_len: before + ids.len() };
        let positions: Vec<u32> = (0_u32..).skip(before).take(ids.len()).collect();
        let spans = [span];
        let context = self.context(&positions, (&spans, None), View::Trained)?;
        let mut x = self.embed(ids)?;
        for (layer, past) in self.layers.iter().zip(past) {
            x = layer.after(&x, &context, Some(past))?.0;
        }
        Ok(self.head.logits(&x.narrow(0, ids.len() - 1, 1)?)?.squeeze(0)?)
    }

    /// What is said of each target, without a gradient and without dropout.
    ///
    /// # Errors
    /// As [`Self::hidden`].
    pub fn read(&self, batch: &Batch, view: View) -> Result<Vec<RowLoss>> {
        Ok(self.head.read(&self.seen(batch, view)?, batch, false)?.0)
    }

    /// Their sums with the adapter as it is.
    ///
    /// # Errors
    /// As [`Self::hidden`].
    pub fn evaluate(&self, batch: &Batch) -> Result<Losses> {
        Ok(Losses::of(&self.read(batch, View::Trained)?))
    }

    /// One micro-batch forward and backward: adds to the gradient of all that is trained. `weigh` is told what was said of each
    /// target and gives the derivative of the loss by each target's -log p, or nothing to leave the gradient out.
    ///
    /// # Errors
    /// As [`Self::hidden`].
    pub fn train(
        &self,
        batch: &Batch,
        training: &Training,
        weigh: impl FnOnce(&[RowLoss]) -> Option<Vec<f64>>,
    ) -> Result<()> {
        let (spans, keys) = batch.spans();
        let context = self.context(&batch.positions, (&spans, keys), View::Training(training.pass))?;
        let mut x = self.embed(&batch.ids)?;
        if training.neftune_alpha > 0.0 {
            let magnitude = magnitudes(batch, x.dim(1)?, training.neftune_alpha);
            kernels::noise(&x, &magnitude, training.pass.key("neftune"))?;
        }
        let mut kept = Vec::with_capacity(self.layers.len());
        for (i, layer) in self.layers.iter().enumerate() {
            let (y, saved) = layer.forward(&x, &context)?;
            kept.push(if i < training.recompute { Kept::Input(x) } else { Kept::All(Box::new(saved)) });
            x = y;
        }
        let (losses, read) = self.head.read(&x, batch, true)?;
        let (Some(weights), Some(read)) = (weigh(&losses), read) else { return Ok(()) };
        let d = self.head.slope(&x, read, &weights)?;
        drop(x);
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let saved = match kept.pop() {
                Some(Kept::All(saved)) => *saved,
                Some(Kept::Input(x)) => layer.forward(&x, &context)?.1,
                None => break,
            };
            layer.backward(saved, &d, i > 0 || self.embedding.param().is_some(), &context)?;
        }
        if let Some(param) = self.embedding.param() {
            let d = d.to_dtype(param.grad.dtype())?;
            let ids = Tensor::new(&batch.ids[..], d.device())?.unsqueeze(1)?.expand(d.shape())?.contiguous()?;
            param.grad.scatter_add_set(&ids, &d, 0)?;
        }
        Ok(())
    }

    /// As [`Self::train`] for a loss that is `scale` times the sum of -log p over the targets.
    ///
    /// # Errors
    /// As [`Self::hidden`].
    pub fn train_sum(&self, batch: &Batch, training: &Training, scale: f64) -> Result<Losses> {
        let mut losses = Losses::default();
        self.train(batch, training, |rows| {
            losses = Losses::of(rows);
            Some(vec![scale; rows.len()])
        })?;
        Ok(losses)
    }

    /// Whether the head is the embedding.
    fn tied(&self) -> bool {
        self.head.weight.tensor().id() == self.embedding.tensor().id()
    }

    /// Every trained tensor once, in the order of the forward pass; of an adapter A before B.
    pub fn params(&self) -> Vec<Param> {
        let mut params: Vec<Param> = self.embedding.param().cloned().into_iter().collect();
        params.extend(self.layers.iter().flat_map(Layer::params));
        params.extend(self.head.norm.param().cloned());
        params.extend(self.head.weight.param().filter(|_| !self.tied()).cloned());
        params
    }

    /// Memory of the matrices, in bytes.
    pub fn bytes(&self) -> usize {
        let linears: usize = self.layers.iter().flat_map(Layer::linears).map(|l| l.weight.bytes()).sum();
        linears + self.embedding.bytes() + if self.tied() { 0 } else { self.head.weight.bytes() }
    }
}

/// NEFTune's amplitude for each token: alpha / sqrt(length of its document x width).
fn magnitudes(batch: &Batch, width: usize, alpha: f64) -> Vec<f32> {
    let lengths = batch.spans().0.into_iter().map(|s| (s.q_len, s.k_len));
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "sizes are small")]
    lengths.flat_map(|(rows, len)| vec![(alpha / ((len * width) as f64).sqrt()) as f32; rows]).collect()
}
