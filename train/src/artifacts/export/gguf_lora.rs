//! An adapter as a GGUF file that llama.cpp puts on a model: `blk.N.attn_q.weight.lora_a` [r, in] and `.lora_b`
//! [out, r]. llama.cpp multiplies B A by `adapter.lora.alpha` / r, with the one alpha of the file and the r of each
//! tensor. So for a scale s of rank r alpha is s r: alpha itself, or alpha sqrt(r) with rsLoRA. A module whose s r is
//! another (`rank_pattern`, `alpha_pattern`) has the rest in its B.

use std::path::Path;

use candle_core::{Tensor, quantized::gguf_file::Value};
use setaccio_base::progress::Progress;

use super::{
    gguf::{family, single},
    quant::Quant,
    report::ExportReport,
};
use crate::{
    artifacts::{destination::Destination, merge::named_alike},
    error::{Error, Result},
    formats::{
        gguf::{
            layout,
            write::{self, Entry},
        },
        model_files::ModelFiles,
        peft::{self, AdapterConfig},
    },
    model::config::is_expert,
    recipe::{EMBEDDING, HEAD},
};

/// How an adapter is exported.
#[derive(Clone, Copy, Debug)]
pub struct LoraOptions {
    /// What A and B are written in: f32, f16 or bf16.
    pub quant: Quant,
    /// Whether the caller knows that the base is the adapter's, whatever it is called; otherwise one of another name is
    /// refused.
    pub same_base: bool,
}

/// Write the adapter in the folder `adapter`, trained upon `base`, to `out`.
///
/// # Errors
/// `out` is taken; the adapter belongs to another base; `quant` is not f32, f16 or bf16; the file system refuses.
pub fn gguf_lora(
    (adapter, base): (&Path, &ModelFiles),
    out: Destination,
    options: LoraOptions,
    progress: &dyn Progress,
) -> Result<ExportReport> {
    let LoraOptions { quant, same_base } = options;
    if !matches!(quant, Quant::F32 | Quant::F16 | Quant::Bf16) {
        let why = "an adapter is small, and quantising it loses what it learned: take f32, f16 or bf16";
        return Err(Error::Other(format!("--quant {}: {why}", quant.name())));
    }
    out.check_file()?;
    let (file, config) = (peft::load(adapter)?, base.config());
    file.fits(config, adapter)?;
    if !same_base {
        named_alike(base, &file, adapter, "--base")?;
    }
    if let Some(module) = file.saved.keys().find(|module| !file.tensors.contains_key(*module)) {
        let why = "is saved whole, and llama.cpp knows adapters alone: merge, and export the model";
        return Err(Error::tensor(adapter, module, why));
    }
    if file.applied(config).vocab_size != config.vocab_size {
        let why = "has rows for added tokens, which the base in llama.cpp has not: merge, and export the model";
        return Err(Error::tensor(adapter, EMBEDDING, why));
    }
    if config.tie_word_embeddings && [EMBEDDING, HEAD].iter().any(|module| file.tensors.contains_key(*module)) {
        let why = "is embedding and head in one, which llama.cpp puts no adapter on: merge, and export the model";
        return Err(Error::tensor(adapter, EMBEDDING, why));
    }
    if let Some(module) = file.tensors.keys().find(|module| is_expert(module)) {
        let why = "is upon an expert, and adapters of experts are not written to GGUF: merge, and export the model";
        return Err(Error::tensor(adapter, module, why));
    }
    if let Some(module) = file.magnitudes.keys().next() {
        let why = "is DoRA, and llama.cpp knows plain LoRA alone: merge, and export the model";
        return Err(Error::tensor(adapter, module, why));
    }
    let alpha = alpha(&file.config);
    let text = |text: &str| Value::String(text.to_owned());
    let keys = [
        ("general.architecture", text(family(config))),
        ("general.type", text("adapter")),
        ("general.file_type", Value::U32(quant.file_type())),
        ("adapter.type", text("lora")),
        ("adapter.lora.alpha", Value::F32(alpha)),
    ];
    let metadata = keys.map(|(key, value)| (key.to_owned(), value));
    let (mut entries, mut tensors) = (Vec::new(), Vec::new());
    for (module, (a, b)) in &file.tensors {
        let own = layout::own_name(&format!("{module}.weight"), config.architecture)
            .ok_or_else(|| Error::tensor(adapter, module, "GGUF has no name for it"))?;
        #[allow(clippy::cast_precision_loss, reason = "ranks are small")]
        let rest = file.config.scale_of(module)? * a.dim(0)? as f64 / f64::from(alpha);
        let b = layout::laid(single(b)?, &own, config)?;
        let b = if (rest - 1.0).abs() < 1e-7 { b } else { (b * rest)? };
        // Rows of an embedding are looked up, not multiplied: llama.cpp has a row of r for each token, and then [H, r].
        let (a, b) = if module == EMBEDDING { (b, single(a)?.t()?.contiguous()?) } else { (single(a)?, b) };
        for (half, tensor) in [("lora_a", a), ("lora_b", b)] {
            let (kind, _) = quant.of(tensor.dims());
            entries.push(Entry { name: format!("{own}.{half}"), shape: tensor.dims().to_vec(), kind });
            tensors.push(tensor);
        }
    }
    progress.stage("export", entries.len() as u64);
    let mut left = tensors.into_iter();
    let mut next = |entry: &Entry| -> Result<Tensor> {
        progress.advance(1, "tensors");
        left.next().filter(|_| !progress.cancelled()).ok_or(Error::Stopped).map_err(|e| match e {
            Error::Stopped if progress.cancelled() => Error::Stopped,
            _ => Error::tensor(out.path, &entry.name, "has no values"),
        })
    };
    let bytes = out.file(|file| write::write((file, out.path), &metadata, &entries, &mut next))?;
    Ok(ExportReport::new(bytes, &entries))
}

/// The alpha that gives the scale of a module of the usual rank. To llama.cpp 0 means that there is no alpha.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "ranks are small; GGUF has it in 32 bits"
)]
fn alpha(config: &AdapterConfig) -> f32 {
    let r = config.r as f64;
    let alpha = if config.rslora { config.alpha * r.sqrt() } else { config.alpha };
    if alpha as f32 == 0.0 { 1.0 } else { alpha as f32 }
}
