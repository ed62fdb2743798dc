//! GGUF files, as llama.cpp's `convert_hf_to_gguf.py` writes them: other names, q and k of Llama with their rows
//! in another order, norms in f32, matrices in one of many quantised types, which candle dequantises.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufReader, Seek},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use candle_core::{
    Device, Tensor,
    quantized::{
        ggml_file::qtensor_from_ggml,
        gguf_file::{Content, TensorInfo, Value},
    },
};
use setaccio_base::{gguf_header, unwound::unwound};

use crate::{
    error::{Error, Result},
    model::{
        config::{Architecture, Config},
        rope_scaling::RopeScaling,
    },
};

pub(crate) mod agreement;
mod spm;
pub mod tokenizer;
pub mod vocab;
pub mod write;

/// Divisors of the rotary frequencies, in files of Llama 3.1 and later.
pub const ROPE_FREQS: &str = "rope_freqs.weight";

/// An open file, its header read and checked.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    file: File,
    bytes: u64,
    content: Content,
    /// From Hugging Face's names, or the file's own where there is none, to the file's.
    names: BTreeMap<String, String>,
}

impl Gguf {
    /// Open a file and check its header.
    ///
    /// # Errors
    /// It is missing, torn, not GGUF, has a quantised type that candle does not know, or contradicts itself.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, content) = content(path)?;
        let bytes = file.metadata().map_err(Error::io("read", path))?.len();
        let mut names = BTreeMap::new();
        for own in content.tensor_infos.keys() {
            if let Some(other) = names.insert(hugging_face(own), own.clone()) {
                let (one, two) = (own.max(&other), own.min(&other));
                return Err(Error::tensor(path, one, format!("and `{two}` are one tensor by two names")));
            }
        }
        Ok(Self { path: path.to_owned(), file, bytes, content, names })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A value of the metadata, e.g. `tokenizer.chat_template`.
    pub fn metadata(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    /// All of it.
    pub(crate) fn all_metadata(&self) -> &HashMap<String, Value> {
        &self.content.metadata
    }

    /// Names of the tensors, Hugging Face's where there is one, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The file's own name of a tensor and its shape, as Hugging Face has it.
    pub fn info(&self, name: &str) -> Option<(&str, &[usize])> {
        let own = self.names.get(name)?;
        Some((own, self.content.tensor_infos.get(own)?.shape.dims()))
    }

    /// A tensor in f32 on the CPU, its rows in Hugging Face's order.
    ///
    /// # Errors
    /// It is not in the file, or reading or dequantising fails.
    pub fn load(&self, name: &str, config: &Config) -> Result<Tensor> {
        let own = self.names.get(name).ok_or_else(|| Error::tensor(&self.path, name, "is not in this file"))?;
        let info = self.tensor(own)?;
        let (start, size) = self.range(own)?;
        let mut raw = vec![0; size];
        self.file.read_exact_at(&mut raw, start).map_err(Error::io("read", &self.path))?;
        let tensor = qtensor_from_ggml(info.ggml_dtype, &raw, info.shape.dims().to_vec(), &Device::Cpu)
            .and_then(|quantised| {
                drop(raw);
                quantised.dequantize(&Device::Cpu)
            })
            .map_err(|e| Error::tensor(&self.path, own, e.to_string()))?;
        let heads = match (config.architecture, own.split('.').nth(2)) {
            (Architecture::Llama, Some("attn_q")) => config.heads,
            (Architecture::Llama, Some("attn_k")) => config.kv_heads,
            _ => return Ok(tensor),
        };
        unpermute(&tensor, heads).map_err(|e| Error::tensor(&self.path, own, e.to_string()))
    }

    fn tensor(&self, own: &str) -> Result<&TensorInfo> {
        self.content.tensor_infos.get(own).ok_or_else(|| Error::tensor(&self.path, own, "is not in this file"))
    }

    /// First byte and length of a tensor.
    fn range(&self, own: &str) -> Result<(u64, usize)> {
        let info = self.tensor(own)?;
        let (block, size) = (info.ggml_dtype.block_size(), info.ggml_dtype.type_size());
        let elements = info.shape.dims().iter().try_fold(1_usize, |n, size| n.checked_mul(*size));
        let bytes = elements.filter(|n| n.is_multiple_of(block)).and_then(|n| (n / block).checked_mul(size));
        let bytes = bytes.ok_or_else(|| {
            Error::tensor(&self.path, own, format!("{:?} is no whole number of blocks of {block}", info.shape.dims()))
        })?;
        Ok((self.content.tensor_data_offset.saturating_add(info.offset), bytes))
    }

    /// The configuration, from the metadata and, where that is silent, the tensors.
    ///
    /// # Errors
    /// A key is missing or wrong, or the model is not supported; the message names file and key.
    pub fn config(&self) -> Result<Config> {
        let text = |key: &str| self.metadata(key).and_then(|v| v.to_string().ok()).map(String::as_str);
        if text("general.type").is_some_and(|t| t != "model") {
            return Err(self.wrong("general.type", "is not `model`: an adapter cannot be trained upon alone"));
        }
        let family = text("general.architecture").unwrap_or_default();
        // llama.cpp writes Mistral as Llama, which it is but for the window.
        let architecture = match family {
            "llama" => Architecture::Llama,
            "qwen2" => Architecture::Qwen2,
            other => {
                let why = format!("`{other}` is not supported; known are llama (with it Mistral) and qwen2");
                return Err(self.wrong("general.architecture", &why));
            }
        };
        let key = |name: &str| format!("{family}.{name}");
        let whole = |name: &str| self.whole(&key(name));
        let need = |name: &str| whole(name)?.ok_or_else(|| self.wrong(&key(name), "is missing"));
        let number = |name: &str| self.number(&key(name));
        let (hidden_size, heads) = (need("embedding_length")?, need("attention.head_count")?);
        let head_dim = match whole("attention.key_length")? {
            Some(head_dim) => head_dim,
            None if heads > 0 && hidden_size.is_multiple_of(heads) => hidden_size / heads,
            None => return Err(self.wrong(&key("attention.head_count"), "does not divide the embedding length")),
        };
        for name in ["rope.dimension_count", "attention.value_length"] {
            if let Some(found) = whole(name)?.filter(|n| *n != head_dim) {
                return Err(
                    self.wrong(&key(name), &format!("is {found}; only the head's width {head_dim} is supported"))
                );
            }
        }
        let rope_scaling = match text(&key("rope.scaling.type")) {
            _ if self.names.contains_key(ROPE_FREQS) => RopeScaling::Divisors(self.divisors()?),
            None | Some("none") => RopeScaling::None,
            Some("linear") => RopeScaling::Linear {
                factor: number("rope.scaling.factor")?
                    .ok_or_else(|| self.wrong(&key("rope.scaling.factor"), "is missing"))?,
            },
            Some(other) => {
                return Err(
                    self.wrong(&key("rope.scaling.type"), &format!("`{other}` is not supported, only `linear`"))
                );
            }
        };
        let embedding = "model.embed_tokens.weight";
        let (_, shape) = self.info(embedding).ok_or_else(|| Error::tensor(&self.path, embedding, "is missing"))?;
        let id = |name: &str| self.whole(&format!("tokenizer.ggml.{name}_token_id"));
        let id = |name: &str| id(name).map(|id| id.and_then(|id| u32::try_from(id).ok()));
        let config = Config {
            architecture,
            vocab_size: shape.first().copied().unwrap_or_default(),
            hidden_size,
            intermediate_size: need("feed_forward_length")?,
            layers: need("block_count")?,
            heads,
            kv_heads: whole("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            rms_norm_eps: number("attention.layer_norm_rms_epsilon")?
                .ok_or_else(|| self.wrong(&key("attention.layer_norm_rms_epsilon"), "is missing"))?,
            rope_theta: number("rope.freq_base")?.unwrap_or(10_000.0),
            rope_scaling,
            max_position_embeddings: need("context_length")?,
            tie_word_embeddings: !self.names.contains_key("lm_head.weight"),
            attention_bias: architecture == Architecture::Qwen2,
            bos: id("bos")?,
            eos: id("eos")?.into_iter().chain(id("eot")?).collect(),
            dtype: None,
            sliding_window: whole("attention.sliding_window")?.filter(|n| *n > 0),
            quantization: None,
        };
        config.check(&self.path)?;
        Ok(config)
    }

    /// `rope_freqs.weight`, [head_dim / 2].
    fn divisors(&self) -> Result<Vec<f32>> {
        let info = self.tensor(ROPE_FREQS)?;
        let (start, size) = self.range(ROPE_FREQS)?;
        if info.ggml_dtype != candle_core::quantized::GgmlDType::F32 {
            return Err(Error::tensor(&self.path, ROPE_FREQS, "is not in F32"));
        }
        let mut raw = vec![0; size];
        self.file.read_exact_at(&mut raw, start).map_err(Error::io("read", &self.path))?;
        Ok(raw.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    fn whole(&self, key: &str) -> Result<Option<usize>> {
        let wrong = || self.wrong(key, "is not a whole number");
        let number = match self.metadata(key) {
            None => return Ok(None),
            Some(value) => value.to_u64().ok().or_else(|| match value {
                Value::I32(v) => u64::try_from(*v).ok(),
                Value::I64(v) => u64::try_from(*v).ok(),
                _ => None,
            }),
        };
        number.and_then(|n| usize::try_from(n).ok()).ok_or_else(wrong).map(Some)
    }

    fn number(&self, key: &str) -> Result<Option<f64>> {
        match self.metadata(key) {
            None => Ok(None),
            // 1e-5 was meant, not the f32 next to it.
            Some(Value::F32(v)) => Ok(v.to_string().parse().ok()),
            Some(Value::F64(v)) => Ok(Some(*v)),
            Some(_) => Err(self.wrong(key, "is not a number")),
        }
    }

    fn wrong(&self, key: &str, why: &str) -> Error {
        Error::model(&self.path, format!("metadata `{key}`: {why}"))
    }
}

/// A file and what its header says, once that is known not to contradict itself: candle takes much of it as it is.
///
/// # Errors
/// As [`Gguf::open`].
fn content(path: &Path) -> Result<(File, Content)> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    gguf_header::check(&file, path)?;
    let mut reader = BufReader::new(&file);
    let content = reader.rewind().map_err(Error::io("read", path)).and_then(|()| {
        unwound(|| Content::read(&mut reader).map_err(|e| e.to_string()), |said| said).map_err(|said| {
            let known = "known are F32, F16, BF16, Q4_0 to Q8_0 and Q2_K to Q6_K";
            Error::model(path, format!("not a GGUF file, or of a quantised type not known here: {said}; {known}"))
        })
    })?;
    Ok((file, content))
}

const TOP: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];
const BLOCK: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// Hugging Face's name of a tensor; one that it has no name for keeps its own.
fn hugging_face(name: &str) -> String {
    let find = |table: &[(&str, &'static str)], own: &str| table.iter().find(|(g, _)| *g == own).map(|(_, h)| *h);
    let parts: Vec<&str> = name.split('.').collect();
    let known = match parts[..] {
        [own, "weight"] => find(&TOP, own).map(|hf| format!("{hf}.weight")),
        ["blk", layer, own, kind @ ("weight" | "bias")] => {
            find(&BLOCK, own).map(|hf| format!("model.layers.{layer}.{hf}.{kind}"))
        }
        _ => None,
    };
    known.unwrap_or_else(|| name.to_owned())
}

/// GGUF's name of a tensor that Hugging Face calls `name`, if it has one.
pub(crate) fn own_name(name: &str) -> Option<String> {
    let (module, kind) = name.rsplit_once('.')?;
    if let Some((own, _)) = TOP.iter().find(|(_, hf)| *hf == module) {
        return Some(format!("{own}.{kind}"));
    }
    let (layer, module) = module.strip_prefix("model.layers.")?.split_once('.')?;
    BLOCK.iter().find(|(_, hf)| *hf == module).map(|(own, _)| format!("blk.{layer}.{own}.{kind}"))
}

/// What the converter does to q and k, [heads * head_dim, ...] to the same: see [`unpermute`].
pub(crate) fn permute(tensor: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
    let (rows, rest) = (tensor.dim(0)?, tensor.elem_count() / tensor.dim(0)?.max(1));
    tensor.reshape((heads, 2, rows / heads / 2, rest))?.transpose(1, 2)?.contiguous()?.reshape(tensor.shape())
}

/// Undo what the converter does to q and k: within a head the rows (half, pair) were written as (pair, half),
/// because llama.cpp turns neighbours where Hugging Face turns halves. [heads * head_dim, ...] to the same.
fn unpermute(tensor: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
    let (rows, rest) = (tensor.dim(0)?, tensor.elem_count() / tensor.dim(0)?.max(1));
    let pairs = (rows / heads / 2, heads);
    tensor.reshape((pairs.1, pairs.0, 2, rest))?.transpose(1, 2)?.contiguous()?.reshape(tensor.shape())
}

#[cfg(test)]
mod tests;
