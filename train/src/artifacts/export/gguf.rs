//! A model as a GGUF file that llama.cpp and candle load, with its tokenizer and chat template.

use std::{collections::BTreeMap, io::Write, path::Path};

use candle_core::{
    DType, Device, Tensor,
    quantized::{GgmlDType, gguf_file::Value},
};
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
            self, ROPE_FREQS, vocab,
            write::{self, Entry},
        },
        model_files::ModelFiles,
    },
    model::{
        config::{Architecture, Config},
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
    divisors(config, tokens.source.as_path())?;
    let vocab = vocab::metadata(tokens, config.vocab_size)?;
    vocab.check(tokens, &vocab.keys.iter().cloned().collect())?;
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
    let mut metadata = general(config, quant, &name);
    metadata.extend(sizes(config)?);
    metadata.extend(vocab.keys.iter().cloned());
    let divisors = divisors(config, files.path())?;
    let mut names = BTreeMap::new();
    let mut entries = Vec::new();
    let mut other: BTreeMap<[&str; 2], u64> = BTreeMap::new();
    for (hf, shape) in config.shapes() {
        let own = gguf::own_name(&hf).ok_or_else(|| Error::tensor(files.path(), &hf, "GGUF has no name for it"))?;
        let logits = own == "output.weight" || (own == "token_embd.weight" && config.tie_word_embeddings);
        let (kind, wanted) = if logits { quant.of_head(&shape) } else { quant.of(&shape) };
        if kind != wanted {
            *other.entry([write::kind(wanted).0, write::kind(kind).0]).or_default() += 1;
        }
        names.insert(own.clone(), hf);
        entries.push(Entry { name: own, shape, kind });
    }
    if let Some(divisors) = &divisors {
        entries.push(Entry { name: ROPE_FREQS.into(), shape: vec![divisors.len()], kind: GgmlDType::F32 });
    }
    for ([wanted, kind], n) in other {
        let tensors = counted(n, "tensor");
        progress.warn(&format!("blocks of {wanted} do not fit the rows of {tensors}: written in {kind}"));
    }
    if let Some(window) = config.sliding_window {
        progress.warn(&format!(
            "this model's attention sees {window} tokens back, and llama.cpp lets it see all: keep texts below that"
        ));
    }
    let base = Base { files, precision: Precision::Stored };
    progress.stage("export", entries.len() as u64);
    let mut make = |entry: &Entry| -> Result<Tensor> {
        if progress.cancelled() {
            return Err(Error::Stopped);
        }
        let made = match (names.get(&entry.name), &divisors) {
            (Some(hf), _) => permuted(base.tensor(hf, &entry.shape)?, &entry.name, config),
            (None, Some(divisors)) => Ok(Tensor::new(&divisors[..], &Device::Cpu)?),
            (None, None) => Err(Error::tensor(files.path(), &entry.name, "is no tensor of this model")),
        };
        progress.advance(1, "tensors");
        made
    };
    let kinds = entries.iter().filter_map(|entry| Some((names.get(&entry.name)?.clone(), entry.kind))).collect();
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

/// Divisors of the rotary frequencies, where a tensor has to hold them.
fn divisors(config: &Config, at: &Path) -> Result<Option<Vec<f32>>> {
    let divisors = config.rope_scaling.divisors(config.rope_theta, config.head_dim);
    if divisors.is_some() && config.architecture == Architecture::Qwen2 {
        let why = "stretches its rotary frequencies as Llama 3 does, which llama.cpp does not know of Qwen 2";
        return Err(Error::model(at, why));
    }
    Ok(divisors)
}

/// Rows of q and k as llama.cpp turns them: neighbours, where Hugging Face turns halves. Of Qwen 2 it turns halves too.
pub(super) fn permuted(tensor: Tensor, own: &str, config: &Config) -> Result<Tensor> {
    let heads = match own.split('.').nth(2) {
        _ if config.architecture == Architecture::Qwen2 => return Ok(tensor),
        Some("attn_q") => config.heads,
        Some("attn_k") => config.kv_heads,
        _ => return Ok(tensor),
    };
    Ok(gguf::permute(&tensor, heads)?)
}

/// What llama.cpp calls the family; Mistral is a Llama to it.
pub(super) fn family(config: &Config) -> &'static str {
    match config.architecture {
        Architecture::Llama | Architecture::Mistral => "llama",
        Architecture::Qwen2 => "qwen2",
    }
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
        ("rope.dimension_count", config.head_dim),
    ] {
        put(name, whole(n)?);
    }
    put("attention.layer_norm_rms_epsilon", real(config.rms_norm_eps));
    put("rope.freq_base", real(config.rope_theta));
    if config.heads * config.head_dim != config.hidden_size {
        put("attention.key_length", whole(config.head_dim)?);
        put("attention.value_length", whole(config.head_dim)?);
    }
    if let RopeScaling::Linear { factor } = config.rope_scaling {
        put("rope.scaling.type", Value::String("linear".into()));
        put("rope.scaling.factor", real(factor));
    }
    if let Some(window) = config.sliding_window {
        put("attention.sliding_window", whole(window)?);
    }
    Ok(keys)
}

/// An adapter's half, in f32.
pub(super) fn single(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.to_dtype(DType::F32)?)
}
