//! A model of the Llama family: embedding, layers, head, and one training pass through them.

use candle_core::{DType, Device, Tensor};

use super::{
    head::{Head, Losses},
    layer::{Context, Layer, Past, Saved},
    pass::Pass,
    rotary::Rotary,
};
use crate::{data::Batch, error::Result, kernels, kernels::Span, optim::Param};

/// A model.
#[derive(Clone, Debug)]
pub struct Llama {
    /// [V, H], as it was stored.
    pub embedding: Tensor,
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
    /// The summed loss is multiplied by this: 1 / the targets of the whole step.
    pub scale: f64,
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
        self.embedding.device()
    }

    /// Embeddings of `ids`, [T, H].
    ///
    /// # Errors
    /// An id outside the vocabulary.
    pub fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        let ids = Tensor::new(ids, self.device())?;
        Ok(self.embedding.index_select(&ids, 0)?.to_dtype(self.dtype)?)
    }

    fn context<'a>(&self, positions: &[u32], spans: &'a [Span], pass: Option<Pass>) -> Result<Context<'a>> {
        let (cos, sin) = self.rotary.angles(positions, self.dtype, self.device())?;
        Ok(Context { cos, sin, spans, pass })
    }

    /// Hidden states after the last layer, [T, H].
    ///
    /// # Errors
    /// An id outside the vocabulary; out of memory.
    pub fn hidden(&self, batch: &Batch) -> Result<Tensor> {
        let spans = spans(batch);
        let context = self.context(&batch.positions, &spans, None)?;
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
        let context = self.context(&positions, &spans, None)?;
        let mut x = self.embed(ids)?;
        for (layer, past) in self.layers.iter().zip(past) {
            x = layer.after(&x, &context, Some(past))?.0;
        }
        Ok(self.head.logits(&x.narrow(0, ids.len() - 1, 1)?)?.squeeze(0)?)
    }

    /// Losses without a gradient and without dropout.
    ///
    /// # Errors
    /// As [`Self::hidden`].
    pub fn evaluate(&self, batch: &Batch) -> Result<Losses> {
        Ok(self.head.loss(&self.hidden(batch)?, batch, None)?.0)
    }

    /// One micro-batch forward and backward: adds to every adapter's gradient.
    ///
    /// # Errors
    /// As [`Self::hidden`].
    pub fn train(&self, batch: &Batch, training: &Training) -> Result<Losses> {
        let spans = spans(batch);
        let context = self.context(&batch.positions, &spans, Some(training.pass))?;
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
        let (losses, d) = self.head.loss(&x, batch, Some(training.scale))?;
        drop(x);
        let Some(d) = d.filter(|_| losses.targets > 0) else { return Ok(losses) };
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let saved = match kept.pop() {
                Some(Kept::All(saved)) => *saved,
                Some(Kept::Input(x)) => layer.forward(&x, &context)?.1,
                None => break,
            };
            layer.backward(saved, &d, i == 0, &context)?;
        }
        Ok(losses)
    }

    /// Every trained tensor in a fixed order: layer after layer, A before B.
    pub fn params(&self) -> Vec<Param> {
        let loras = self.layers.iter().flat_map(Layer::linears).filter_map(|l| l.lora.as_ref());
        loras.flat_map(|lora| [lora.a.clone(), lora.b.clone()]).collect()
    }

    /// Memory of the frozen weights, in bytes.
    pub fn bytes(&self) -> usize {
        let size = |t: &Tensor| t.elem_count() * t.dtype().size_in_bytes();
        let linears: usize = self.layers.iter().flat_map(Layer::linears).map(|l| l.weight.bytes()).sum();
        let tied = self.head.weight.id() == self.embedding.id();
        linears + size(&self.embedding) + if tied { 0 } else { size(&self.head.weight) }
    }
}

/// The documents of a batch as spans of queries that see the keys of the same document.
pub fn spans(batch: &Batch) -> Vec<Span> {
    let ends = batch.starts.iter().skip(1);
    let pairs = batch.starts.iter().zip(ends);
    pairs
        .map(|(start, end)| {
            let (first, len) = (*start as usize, (end - start) as usize);
            Span { q: first, q_len: len, k: first, k_len: len }
        })
        .collect()
}

/// NEFTune's amplitude for each token: alpha / sqrt(length of its document x width).
fn magnitudes(batch: &Batch, width: usize, alpha: f64) -> Vec<f32> {
    let lengths = spans(batch).into_iter().map(|s| s.q_len);
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "sizes are small")]
    lengths.flat_map(|len| vec![(alpha / ((len * width) as f64).sqrt()) as f32; len]).collect()
}
