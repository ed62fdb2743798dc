//! What several models say to the same texts. Layers are read one at a time and pass through all models at once, so that
//! models of any size are compared in the memory of their largest layer or of their embedding.

use candle_core::{DType, Device, Tensor};

use crate::{
    data::{Batch, Example},
    error::{Error, Result},
    formats::peft::AdapterFile,
    model::{
        config::Config,
        context::{Context, Mode},
        embedding::Embedding,
        head::Head,
        layer::Layer,
        load::{self, LoadOptions, Source},
        lora::LoraLayer,
        rope::Places,
    },
    recipe::{EMBEDDING, HEAD},
};

/// A model that is asked.
pub(crate) struct Asked<'a> {
    /// What its files say of it.
    pub config: &'a Config,
    /// Its weights.
    pub source: &'a dyn Source,
    /// What is put on them; modules that it saves whole are `source`'s to give.
    pub adapter: Option<&'a AdapterFile>,
}

/// Logits of every model at every token of `prompts`, end to end, in f32. `each` is called after every layer, and stops it by
/// `false`.
///
/// # Errors
/// Reading fails, a model has fewer layers than the first, or it was stopped.
pub(crate) fn logits(models: &[Asked<'_>], prompts: &[Vec<u32>], each: &dyn Fn() -> bool) -> Result<Vec<Vec<f32>>> {
    let mut batch = Batch::default();
    for (row, ids) in (0..).zip(prompts) {
        batch.push(&Example { ids: ids.clone(), trained: vec![false; ids.len()] }, row);
    }
    let spans = batch.spans().0;
    let begin = |model: &Asked<'_>| -> Result<(Tensor, Context<'_>)> {
        let config = model.config;
        let embedding = model.source.tensor("model.embed_tokens.weight", &[config.vocab_size, config.hidden_size])?;
        let places = Places::new(&batch.positions, &spans, None);
        let angles = config.rotaries().into_iter().map(|rotary| rotary.angles(&places, DType::F32, &Device::Cpu));
        let angles = angles.collect::<Result<_>>()?;
        let context = Context { angles, spans: &spans, keys: None, cached: None, mode: Mode::Eval };
        let lora = lora_of(model, EMBEDDING)?;
        let embedding = Embedding { weight: embedding.into(), lora, scale: config.scales.embedding };
        Ok((embedding.forward(&batch.ids, DType::F32)?, context))
    };
    let mut states = models.iter().map(begin).collect::<Result<Vec<_>>>()?;
    for i in 0..models.first().map_or(0, |model| model.config.layers) {
        for (model, (x, context)) in models.iter().zip(&mut states) {
            let mut layer = load::layer(model.config, model.source, &LoadOptions::default(), i)?;
            if let Some(adapter) = model.adapter {
                put(&mut layer, adapter)?;
            }
            *x = layer.forward(x, context, None)?.0;
        }
        if !each() {
            return Err(Error::Stopped);
        }
    }
    let end = |(model, (x, _)): (&Asked<'_>, &(Tensor, Context<'_>))| -> Result<Vec<f32>> {
        Ok(head(model)?.logits(x)?.flatten_all()?.to_vec1::<f32>()?)
    };
    models.iter().zip(&states).map(end).collect()
}

/// The largest difference of a logit.
pub(crate) fn apart(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

/// The largest logit, and at least 1.
pub(crate) fn largest(logits: &[f32]) -> f64 {
    logits.iter().fold(1.0, |top, x| f64::from(x.abs()).max(top))
}

/// What is put on the embedding or the head.
fn lora_of(model: &Asked<'_>, module: &str) -> Result<Option<LoraLayer>> {
    let of = |adapter: &AdapterFile| adapter.lora_of_table(module, model.config, DType::F32, &Device::Cpu);
    Ok(model.adapter.map(of).transpose()?.flatten())
}

fn put(layer: &mut Layer, adapter: &AdapterFile) -> Result<()> {
    layer.linears_mut().try_for_each(|linear| adapter.attach_to(linear, DType::F32, &Device::Cpu))
}

/// What the files hold as the head, and the embedding only where they hold none.
fn head(model: &Asked<'_>) -> Result<Head> {
    let Asked { config, source, .. } = model;
    let (hidden, vocab) = (config.hidden_size, config.vocab_size);
    let norm = source.tensor("model.norm.weight", &[hidden])?.to_dtype(DType::F32)?;
    let weight = source.tensor("lm_head.weight", &[vocab, hidden])?;
    Ok(Head { lora: lora_of(model, HEAD)?, ..load::head(config, norm.into(), weight.into()) })
}
