//! A model as a GGUF file that llama.cpp and candle load, with its tokenizer and chat template.

use std::{collections::BTreeMap, io::Write, path::Path};

use candle_core::{
    DType, Device, Tensor,
    quantized::{GgmlDType, gguf_file::Value},
};
use regex::Regex;
use setaccio_base::{numbers::counted, progress::Progress};

use super::{check, quant::Quant, report::ExportReport};
use crate::{
    artifacts::{
        destination::{Destination, check_apart},
        merge::{Base, Precision},
    },
    error::{Error, Result},
    formats::{
        gguf::{
            ROPE_FACTORS, ROPE_FREQS, by_name, layout, vocab,
            write::{self, Entry},
        },
        model_files::ModelFiles,
    },
    model::{
        config::{Architecture, Config, Scales},
        load::Source,
        rope_scaling::RopeScaling,
    },
    tokenizer::Tokens,
};

/// Version of the quantised formats.
const QUANTIZATION_VERSION: u32 = 2;

/// How a model is exported.
#[derive(Clone, Copy, Debug)]
pub struct GgufOptions {
    /// What its matrices are packed in.
    pub quant: Quant,
    /// Whether the file is read back and held against the model before it is put in place.
    pub check: bool,
}

/// Check by configuration and tokenizer alone that a model can be written as a GGUF file that llama.cpp reads as it was
/// trained; worth asking before hours of work.
///
/// # Errors
/// The tokenizer or the model has something that GGUF cannot say.
pub fn can_be_gguf(config: &Config, tokens: &Tokens) -> Result<()> {
    sizes(config)?;
    can_be_said(config, tokens.source.as_path())?;
    let vocab = vocab::metadata(tokens, config.vocab_size)?;
    vocab.check(tokens, &vocab.named())?;
    Ok(())
}

/// Write the model of `files` with `tokens` to `out`. One tensor is in memory at a time.
///
/// # Errors
/// `out` is taken; the tokenizer or the model has something that GGUF cannot say; a tensor is missing, torn or not
/// finite; the file system refuses; what was written says something else than the model. `out` is as it was then.
pub fn gguf(
    (files, tokens): (&ModelFiles, &Tokens),
    out: Destination,
    options: GgufOptions,
    progress: &dyn Progress,
) -> Result<ExportReport> {
    let GgufOptions { quant, check } = options;
    out.check_file()?;
    files.check()?;
    let config = files.config();
    let name = files.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let vocab = vocab::metadata(tokens, config.vocab_size)?;
    files.warn(progress);
    if let Some(warning) = vocab.warning() {
        progress.warn(warning);
    }
    let name = if vocab.by_name { format!("{} {}", by_name::MARK, unremarked(&name)) } else { unremarked(&name) };
    let mut metadata = general(config, quant, &name);
    metadata.extend(sizes(config)?);
    metadata.extend(vocab.keys.iter().cloned());
    can_be_said(config, files.path())?;
    let frequencies = frequencies(config);
    // What each tensor is made of: the matrices of all experts of a layer lie one after the other in one.
    let mut names: BTreeMap<String, Vec<(String, Vec<usize>)>> = BTreeMap::new();
    for (hf, shape) in config.shapes() {
        let own = layout::own_name(&hf, config.architecture)
            .ok_or_else(|| Error::tensor(files.path(), &hf, "GGUF has no name for it"))?;
        names.entry(own).or_default().push((hf, shape));
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut other: BTreeMap<[&str; 2], u64> = BTreeMap::new();
    for (hf, _) in config.shapes() {
        let Some((own, parts)) = layout::own_name(&hf, config.architecture).and_then(|own| names.get_key_value(&own))
        else {
            continue;
        };
        if parts[0].0 != hf {
            continue;
        }
        let shape = match &parts[..] {
            [(_, shape)] => shape.clone(),
            several => [&[several.len()], &several[0].1[..]].concat(),
        };
        let logits = own == "output.weight" || (own == "token_embd.weight" && config.tie_word_embeddings);
        let (kind, wanted) = if logits {
            quant.of_head(&shape)
        } else if own.ends_with(&format!(".{}.weight", layout::ROUTER)) {
            // As llama.cpp keeps it: small, and it decides.
            (GgmlDType::F32, GgmlDType::F32)
        } else {
            quant.of(&shape)
        };
        if kind != wanted {
            *other.entry([write::kind(wanted).0, write::kind(kind).0]).or_default() += 1;
        }
        entries.push(Entry { name: own.clone(), shape, kind });
    }
    for (name, values) in &frequencies {
        entries.push(Entry { name: name.clone(), shape: vec![values.len()], kind: GgmlDType::F32 });
    }
    for ([wanted, kind], n) in other {
        let tensors = counted(n, "tensor");
        progress.warn(&format!("blocks of {wanted} do not fit the rows of {tensors}: written in {kind}"));
    }
    for difference in differences(config) {
        progress.warn(&difference);
    }
    let base = Base { files, precision: Precision::Stored };
    progress.stage("export", entries.len() as u64);
    let mut make = |entry: &Entry| -> Result<Tensor> {
        if progress.cancelled() {
            return Err(Error::Stopped);
        }
        let made = match (names.get(&entry.name), frequencies.get(&entry.name)) {
            (Some(parts), _) => {
                let part = |(hf, shape): &(String, Vec<usize>)| -> Result<Tensor> {
                    Ok(layout::laid(base.tensor(hf, shape)?, &entry.name, config)?)
                };
                match &parts[..] {
                    [only] => part(only),
                    several => Ok(Tensor::stack(&several.iter().map(part).collect::<Result<Vec<_>>>()?, 0)?),
                }
            }
            (None, Some(values)) => Ok(Tensor::new(&values[..], &Device::Cpu)?),
            (None, None) => Err(Error::tensor(files.path(), &entry.name, "is no tensor of this model")),
        };
        progress.advance(1, "tensors");
        made
    };
    let kinds = entries.iter().filter_map(|entry| Some((names.get(&entry.name)?, entry.kind)));
    let kinds = kinds.flat_map(|(parts, kind)| parts.iter().map(move |(hf, _)| (hf.clone(), kind))).collect();
    check_apart(files.path(), out.path)?;
    out.file(|file| {
        let bytes = write::write((file, out.path), &metadata, &entries, &mut make)?;
        let mut report = ExportReport::new(bytes, &entries);
        if check {
            file.flush().map_err(Error::io("write", out.path))?;
            report.check = Some(check::check((&base, tokens), &kinds, (file.aside(), &vocab), progress)?);
        }
        Ok(report)
    })
}

/// What of the rotary frequencies tensors have to hold.
#[allow(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
fn frequencies(config: &Config) -> BTreeMap<String, Vec<f32>> {
    let single = |list: &[f64]| list.iter().map(|x| *x as f32).collect();
    match &config.rope_scaling {
        RopeScaling::Long { short, long, .. } => {
            ROPE_FACTORS.iter().zip([short, long]).map(|(name, list)| ((*name).to_owned(), single(list))).collect()
        }
        other => {
            let divisors = other.divisors(config.rope_theta, config.rotary_dim);
            divisors.into_iter().map(|divisors| (ROPE_FREQS.to_owned(), divisors)).collect()
        }
    }
}

/// Check that llama.cpp computes what the model does: much of a family it takes for granted, and reads no key for it.
///
/// # Errors
/// It does not; the message says what.
fn can_be_said(config: &Config, at: &Path) -> Result<()> {
    use Architecture::{Gemma2, Gemma3, Granite, Llama, Ministral, Mistral, Mixtral, Phi3, Qwen2};
    let (family, architecture) = (config.architecture.family(), config.architecture);
    let no = |what: String| Err(Error::model(at, format!("{what}, which llama.cpp does not know of {}", family.gguf)));
    let llama = matches!(architecture, Llama | Mistral | Ministral | Mixtral);
    match &config.rope_scaling {
        RopeScaling::Llama3 { .. } | RopeScaling::Divisors(_) if !llama => {
            return no("stretches its rotary frequencies as Llama 3 does".into());
        }
        RopeScaling::Long { .. } if architecture != Phi3 => {
            return no("stretches its rotary frequencies by LongRoPE".into());
        }
        RopeScaling::Yarn { factor, attention_factor, truncate, .. } => {
            let usual = RopeScaling::yarn_attention(*factor, 1.0);
            if (attention_factor / usual - 1.0).abs() > 1e-6 || !truncate {
                return no(format!(
                    "scales scores by {attention_factor} beside YaRN of factor {factor}, and not by {usual}"
                ));
            }
        }
        _ => {}
    }
    if (config.output_bias || config.mlp_bias || (config.attention_bias && architecture != Qwen2))
        && !(llama || architecture == Granite)
    {
        return no("has biases".into());
    }
    if let Some(experts) = &config.experts {
        if !experts.to_one {
            return no("does not bring the weights of a token's experts to a sum of 1".into());
        }
        if experts.without.contains(&true) {
            return no("has layers without experts".into());
        }
    }
    if config.unturned != layout::unturned(architecture, config.layers) {
        return no("has other layers without positions than every fourth".into());
    }
    if matches!(architecture, Gemma2 | Gemma3) {
        let usual =
            layout::gemma_scale(architecture, config.layers, (config.hidden_size, config.heads, config.head_dim));
        let scale = config.scales.attention.unwrap_or(usual);
        if (scale / usual - 1.0).abs() > 1e-6 {
            return no(format!("multiplies scores by {scale}, and not by {usual}"));
        }
        if config.sliding_window.is_some() && config.sliding != layout::sliding(architecture, config.layers) {
            return no("has its window in other layers".into());
        }
        if config.rope_local_theta.is_some_and(|theta| (theta - layout::GEMMA3_LOCAL_THETA).abs() > 1e-6) {
            return no("has another base of its frequencies in layers with a window".into());
        }
    }
    Ok(())
}

/// What llama.cpp does otherwise than the model, but only with long texts.
fn differences(config: &Config) -> Vec<String> {
    let mut all = Vec::new();
    let positions = config.max_position_embeddings;
    if let Some(window) =
        config.sliding_window.filter(|_| !matches!(config.architecture, Architecture::Gemma2 | Architecture::Gemma3))
    {
        all.push(format!(
            "this model's attention sees {window} tokens back, and llama.cpp lets it see all: keep texts below that"
        ));
    }
    match &config.rope_scaling {
        RopeScaling::Dynamic { .. } => all.push(format!(
            "beyond {positions} tokens this model stretches its rotary frequencies by the length of the text, and llama.cpp does \
             not: keep texts below that"
        )),
        RopeScaling::Long { original_max_position_embeddings: original, .. } => all.push(format!(
            "llama.cpp chooses between this model's two sets of rotary frequencies by the context that it is started with, not by \
             the length of the text: start it with at most {original} tokens for short texts"
        )),
        _ => {}
    }
    all
}

/// What llama.cpp calls the family; Mistral is a Llama to it.
pub(super) fn family(config: &Config) -> &'static str {
    config.architecture.family().gguf
}

/// A name that llama.cpp draws no conclusions from: of a model whose name has `phi-3` or `phi3` in it, it takes special tokens to
/// swallow the spaces behind them, and fails where some are missing. Models whose tokens do have the mark put before.
fn unremarked(name: &str) -> String {
    Regex::new("(?i)(phi)-?3").map_or_else(|_| name.to_owned(), |mark| mark.replace_all(name, "${1} 3").into_owned())
}

fn general(config: &Config, quant: Quant, name: &str) -> Vec<(String, Value)> {
    let text = |text: &str| Value::String(text.to_owned());
    let keys = [
        ("general.architecture", text(family(config))),
        ("general.type", text("model")),
        ("general.name", text(name)),
        ("general.file_type", Value::U32(quant.file_type())),
        ("general.quantization_version", Value::U32(QUANTIZATION_VERSION)),
    ];
    keys.map(|(key, value)| (key.to_owned(), value)).to_vec()
}

fn sizes(config: &Config) -> Result<Vec<(String, Value)>> {
    let family = family(config);
    let mut keys = Vec::new();
    let mut put = |name: &str, value: Value| keys.push((format!("{family}.{name}"), value));
    let whole = |n: usize| -> Result<Value> {
        u32::try_from(n).map(Value::U32).map_err(|_| Error::Other(format!("{n} is too large for GGUF's metadata")))
    };
    #[allow(clippy::cast_possible_truncation, reason = "GGUF has these in 32 bits")]
    let real = |x: f64| Value::F32(x as f32);
    for (name, n) in [
        ("vocab_size", config.vocab_size),
        ("context_length", config.max_position_embeddings),
        ("embedding_length", config.hidden_size),
        ("block_count", config.layers),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", config.kv_heads),
        ("rope.dimension_count", config.rotary_dim),
    ] {
        put(name, whole(n)?);
    }
    if let Some(experts) = &config.experts {
        put("expert_count", whole(experts.count)?);
        put("expert_used_count", whole(experts.chosen)?);
        if config.architecture != Architecture::Mixtral {
            put("expert_feed_forward_length", whole(experts.inner)?);
        }
    }
    put("attention.layer_norm_rms_epsilon", real(config.rms_norm_eps));
    put("rope.freq_base", real(config.rope_theta));
    if config.heads * config.head_dim != config.hidden_size {
        put("attention.key_length", whole(config.head_dim)?);
        put("attention.value_length", whole(config.head_dim)?);
    }
    match &config.rope_scaling {
        RopeScaling::Linear { factor } => {
            put("rope.scaling.type", Value::String("linear".into()));
            put("rope.scaling.factor", real(*factor));
        }
        RopeScaling::Yarn { factor, beta_fast, beta_slow, original_max_position_embeddings, .. } => {
            put("rope.scaling.type", Value::String("yarn".into()));
            put("rope.scaling.factor", real(*factor));
            put("rope.scaling.original_context_length", whole(*original_max_position_embeddings)?);
            put("rope.scaling.yarn_beta_fast", real(*beta_fast));
            put("rope.scaling.yarn_beta_slow", real(*beta_slow));
        }
        RopeScaling::Long { original_max_position_embeddings, attention_factor, .. } => {
            put("rope.scaling.original_context_length", whole(*original_max_position_embeddings)?);
            put("rope.scaling.attn_factor", real(*attention_factor));
        }
        _ => {}
    }
    // Read as that of all layers, or of those that the family has it in.
    let windows = layout::sliding(config.architecture, config.layers);
    if let Some(window) = config.sliding_window.filter(|_| config.sliding == windows) {
        put("attention.sliding_window", whole(window)?);
    }
    let Scales { embedding, attention, residual, logits, attention_cap, logit_cap } = config.scales;
    if config.architecture == Architecture::Granite {
        put("embedding_scale", real(embedding));
        put("residual_scale", real(residual));
        put("logit_scale", real(logits));
        if let Some(attention) = attention {
            put("attention.scale", real(attention));
        }
    }
    for (name, cap) in [("attn_logit_softcapping", attention_cap), ("final_logit_softcapping", logit_cap)] {
        if let Some(cap) = cap {
            put(name, real(cap));
        }
    }
    Ok(keys)
}

/// An adapter's half, in f32.
pub(super) fn single(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.to_dtype(DType::F32)?)
}
