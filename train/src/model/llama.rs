//! A model: embedding, layers, head, and one training pass through them.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use super::{
    context::{Context, Grad, Mode, Pass},
    embedding::Embedding,
    head::Head,
    kv_cache::KvCache,
    layer::{Layer, SavedLayer},
    lora::LoraLayer,
    rope::{Places, Rotary},
};
use crate::{
    data::Batch,
    error::Result,
    kernels::{self, RowIndex, RowLoss, Span},
    loss::TokenSums,
    optim::Param,
    recipe::{EMBEDDING, HEAD},
};

/// A model.
#[derive(Clone, Debug)]
pub struct Llama {
    /// [V, H]
    pub embedding: Embedding,
    /// In the order of the forward pass.
    pub layers: Vec<Layer>,
    /// Final norm and head.
    pub head: Head,
    /// What NEFTune's noise is multiplied by, which is added to embeddings after they are scaled.
    pub noise_scale: f64,
    /// Angles of the positions; layers name theirs.
    pub rotary: Vec<Rotary>,
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

/// What a layer leaves for the backward pass.
enum Activations {
    /// All that it needs.
    Saved(Box<SavedLayer>),
    /// Its input [T, H]: the forward pass of the layer is done again (activation checkpointing).
    Recompute(Tensor),
}

impl Llama {
    /// Where the model is.
    pub fn device(&self) -> &Device {
        self.embedding.weight.tensor().device()
    }

    fn context<'a>(
        &self,
        positions: &[u32],
        (spans, keys): (&'a [Span], Option<Vec<u32>>),
        mode: Mode,
    ) -> Result<Context<'a>> {
        let places = Places::new(positions, spans, keys.as_deref());
        let angles = self.rotary.iter().map(|rotary| rotary.angles(&places, self.dtype, self.device()));
        let angles = angles.collect::<Result<Vec<_>>>()?;
        let keys = keys.map(|keys| RowIndex::new(keys, positions.len(), self.device())).transpose()?;
        Ok(Context { angles, spans, keys, cached: None, mode })
    }

    /// Hidden states after the last layer, [T, H].
    pub fn hidden_states(&self, batch: &Batch, mode: Mode) -> Result<Tensor> {
        let (spans, keys) = batch.spans();
        let context = self.context(&batch.positions, (&spans, keys), mode)?;
        let mut x = self.embedding.forward(&batch.ids, self.dtype)?;
        for layer in &self.layers {
            x = layer.forward(&x, &context, None)?.0;
        }
        Ok(x)
    }

    /// A cache of so many rows for each layer.
    pub fn caches(&self, rows: usize) -> Result<Vec<KvCache>> {
        let width = |layer: &Layer| layer.attention.heads.kv * layer.attention.heads.dim;
        self.layers.iter().map(|layer| KvCache::new(rows, width(layer), self.dtype, self.device())).collect()
    }

    /// Hidden states after the last layer, [T, H], of tokens that go on with texts: each of `spans`, end to end in `ids`, has its
    /// last tokens there, and in the `caches`, one a layer, its run of keys, where those of the new ones are put.
    pub fn extend(&self, ids: &[u32], spans: &[Span], caches: &[KvCache], mode: Mode) -> Result<Tensor> {
        let new = |span: &Span| (0_u32..).take(span.k_len).skip(span.k_len - span.q_len);
        let positions: Vec<u32> = spans.iter().flat_map(new).collect();
        let mut context = self.context(&positions, (spans, None), mode)?;
        // All layers' caches have the same rows.
        if let Some(cache) = caches.first() {
            let ends = |span: &Span| (0_u32..).take(span.k + span.k_len).skip(span.k + span.k_len - span.q_len);
            let places = spans.iter().flat_map(ends).collect();
            context.cached = Some(RowIndex::new(places, cache.rows()?, self.device())?);
        }
        let mut x = self.embedding.forward(ids, self.dtype)?;
        for (layer, cache) in self.layers.iter().zip(caches) {
            x = layer.forward(&x, &context, Some(cache))?.0;
        }
        Ok(x)
    }

    /// The loss of each target, without a gradient.
    pub fn target_losses(&self, batch: &Batch, mode: Mode) -> Result<Vec<RowLoss>> {
        Ok(self.head.forward(&self.hidden_states(batch, mode)?, batch, (mode, Grad::NotNeeded))?.0)
    }

    /// Their sums with the adapter as it is.
    pub fn evaluate(&self, batch: &Batch) -> Result<TokenSums> {
        Ok(TokenSums::of(&self.target_losses(batch, Mode::Eval)?))
    }

    /// One micro-batch forward and backward: adds to the gradients of all that is trained. `weigh` is given the loss of each
    /// target, and gives the derivative of the step's loss by each target's -log p, or nothing to leave the backward pass
    /// out.
    pub fn train(
        &self,
        batch: &Batch,
        training: &Training,
        weigh: impl FnOnce(&[RowLoss]) -> Option<Vec<f64>>,
    ) -> Result<()> {
        let (spans, keys) = batch.spans();
        let context = self.context(&batch.positions, (&spans, keys), Mode::Train(training.pass))?;
        let mut x = self.embedding.forward(&batch.ids, self.dtype)?;
        if training.neftune_alpha > 0.0 {
            let magnitude = magnitudes(batch, x.dim(1)?, training.neftune_alpha * self.noise_scale);
            kernels::noise_(&x, &magnitude, training.pass.key("neftune"))?;
        }
        let mut activations = Vec::with_capacity(self.layers.len());
        for (i, layer) in self.layers.iter().enumerate() {
            let (y, saved) = layer.forward(&x, &context, None)?;
            let recompute = i < training.recompute;
            activations.push(if recompute { Activations::Recompute(x) } else { Activations::Saved(Box::new(saved)) });
            x = y;
        }
        let (losses, saved) = self.head.forward(&x, batch, (context.mode, Grad::Needed))?;
        let (Some(weights), Some(saved)) = (weigh(&losses), saved) else { return Ok(()) };
        let d = self.head.backward(saved, &weights)?;
        drop(x);
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let saved = match activations.pop() {
                Some(Activations::Saved(saved)) => *saved,
                Some(Activations::Recompute(x)) => layer.forward(&x, &context, None)?.1,
                None => break,
            };
            let trained_below = i > 0 || self.embedding.trained();
            layer.backward(saved, &d, if trained_below { Grad::Needed } else { Grad::NotNeeded }, &context)?;
        }
        self.embedding.backward(&batch.ids, d)
    }

    /// A copy in main memory of every A and B, by module. A head that is the embedding has none of its own.
    pub fn adapters(&self) -> Result<BTreeMap<String, (Tensor, Tensor)>> {
        let linears = self.layers.iter().flat_map(Layer::linears);
        let pairs = linears.filter_map(|l| Some((l.name.clone(), l.lora.as_ref()?)));
        let embedding = self.embedding.lora.iter().map(|lora| (EMBEDDING.to_owned(), lora));
        let head = self.head.lora.iter().filter(|_| !self.tied()).map(|lora| (HEAD.to_owned(), lora));
        let copy = |t: &Tensor| t.copy()?.to_device(&Device::Cpu);
        let all = pairs.chain(embedding).chain(head);
        all.map(|(name, lora)| Ok((name, (copy(&lora.a.value)?, copy(&lora.b.value)?)))).collect()
    }

    /// A copy in main memory of the lengths of rows that DoRA trains, by module.
    pub fn magnitudes(&self) -> Result<BTreeMap<String, Tensor>> {
        let linears = self.layers.iter().flat_map(Layer::linears);
        let all = linears.filter_map(|l| Some((l.name.clone(), &l.lora.as_ref()?.dora.as_ref()?.magnitude.value)));
        all.map(|(name, value)| Ok((name, value.copy()?.to_device(&Device::Cpu)?))).collect()
    }

    /// A copy in main memory of every weight that is trained whole, by module.
    pub fn saved(&self) -> Result<BTreeMap<String, Tensor>> {
        let weights =
            self.params().into_iter().filter_map(|p| Some((p.name.strip_suffix(".weight")?.to_owned(), p.value)));
        weights.map(|(module, value)| Ok((module, value.copy()?.to_device(&Device::Cpu)?))).collect()
    }

    /// Every adapter, to be changed. What is trained of a head that is the embedding is that of the embedding.
    pub fn loras_mut(&mut self) -> impl Iterator<Item = &mut LoraLayer> {
        let linears = self.layers.iter_mut().flat_map(Layer::linears_mut).filter_map(|l| l.lora.as_mut());
        linears.chain(&mut self.embedding.lora).chain(&mut self.head.lora)
    }

    /// The model as it is now, which training does not change: of what is trained whole it has a copy, in the type that is
    /// computed with, and it shares all else. `adapters` says whether it has them too.
    pub fn frozen(&self, adapters: bool) -> Result<Self> {
        let mut model = self.clone();
        for layer in &mut model.layers {
            for norm in layer.norms_mut() {
                norm.weight = norm.weight.frozen(self.dtype)?;
            }
            if let Some(router) = &mut layer.feed_forward.router {
                router.weight = router.weight.frozen(self.dtype)?;
            }
            for linear in layer.linears_mut() {
                *linear = linear.frozen(self.dtype, adapters)?;
            }
        }
        model.head.norm.weight = model.head.norm.weight.frozen(self.dtype)?;
        let lora = |lora: &Option<LoraLayer>| lora.as_ref().filter(|_| adapters).map(LoraLayer::copy).transpose();
        model.embedding.weight = self.embedding.weight.frozen(self.dtype)?;
        model.embedding.lora = lora(&self.embedding.lora)?;
        (model.head.weight, model.head.lora) = if self.tied() {
            (model.embedding.weight.clone(), model.embedding.lora.clone())
        } else {
            (self.head.weight.frozen(self.dtype)?, lora(&self.head.lora)?)
        };
        Ok(model)
    }

    /// Whether the head is the embedding.
    pub fn tied(&self) -> bool {
        self.head.weight.tensor().id() == self.embedding.weight.tensor().id()
    }

    /// Every trained tensor once, in the order of the forward pass; of an adapter A before B.
    pub fn params(&self) -> Vec<Param> {
        let mut params: Vec<Param> = self.embedding.params().cloned().collect();
        params.extend(self.layers.iter().flat_map(Layer::params));
        params.extend(self.head.norm.param().cloned());
        params.extend(self.head.params().filter(|_| !self.tied()).cloned());
        params
    }

    /// Memory of the matrices, in bytes.
    pub fn bytes(&self) -> usize {
        let linears: usize = self.layers.iter().flat_map(Layer::linears).map(|l| l.weight.bytes()).sum();
        let routers = self.layers.iter().filter_map(|layer| layer.feed_forward.router.as_ref());
        let linears = linears + routers.map(|router| router.weight.bytes()).sum::<usize>();
        linears + self.embedding.weight.bytes() + if self.tied() { 0 } else { self.head.weight.bytes() }
    }
}

/// NEFTune's amplitude for each token: alpha / sqrt(length of its document x width).
fn magnitudes(batch: &Batch, width: usize, alpha: f64) -> Vec<f32> {
    let lengths = batch.spans().0.into_iter().map(|s| (s.q_len, s.k_len));
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "sizes are small")]
    lengths.flat_map(|(rows, len)| vec![(alpha / ((len * width) as f64).sqrt()) as f32; rows]).collect()
}
