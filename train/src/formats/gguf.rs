//! GGUF files, as llama.cpp's `convert_hf_to_gguf.py` writes them: other names, q and k of Llama with their rows
//! in another order, norms in f32 and with their offset, matrices in one of many quantised types, which candle dequantises.

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
        config::{Architecture, Config, Experts, Scales},
        rope_scaling::RopeScaling,
    },
};

pub(crate) mod agreement;
pub(crate) mod by_name;
pub mod layout;
mod spm;
pub mod tokenizer;
pub mod vocab;
pub mod write;

/// Divisors of the rotary frequencies, in files of Llama 3.1 and later.
pub const ROPE_FREQS: &str = "rope_freqs.weight";
/// LongRoPE's, within and beyond the original positions.
pub const ROPE_FACTORS: [&str; 2] = ["rope_factors_short.weight", "rope_factors_long.weight"];

/// An open file, its header read and checked.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    file: File,
    bytes: u64,
    content: Content,
    /// The family, if it is a known one.
    architecture: Option<Architecture>,
    /// By Hugging Face's names, or the file's own where there is none.
    names: BTreeMap<String, Place>,
}

/// Where a tensor is.
#[derive(Clone, Debug)]
struct Place {
    /// The file's name.
    own: String,
    /// Which of the matrices of that tensor, and of how many, if it has several.
    part: Option<(usize, usize)>,
}

impl Gguf {
    /// Open a file and check its header.
    ///
    /// # Errors
    /// It is missing, torn, not GGUF, has a quantised type that candle does not know, or contradicts itself.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, content) = content(path)?;
        let bytes = file.metadata().map_err(Error::io("read", path))?.len();
        let family = content.metadata.get("general.architecture").and_then(|v| v.to_string().ok());
        let experts = family.and_then(|family| content.metadata.get(&format!("{family}.expert_count")));
        let experts = experts.and_then(|count| count.to_u32().ok()).unwrap_or(0) as usize;
        // llama.cpp writes Mistral as Llama, which it is but for the window, and Mixtral as a Llama with experts.
        let architecture = Architecture::ALL
            .into_iter()
            .find(|a| family.is_some_and(|f| f == a.family().gguf) && (experts > 0) == a.family().experts.is_some());
        let mut names: BTreeMap<String, Place> = BTreeMap::new();
        for (own, info) in &content.tensor_infos {
            // A file that says more experts than it has is found out by their shapes.
            let count = info.shape.dims().first().map_or(0, |count| experts.min(*count));
            let joined = architecture.and_then(|architecture| layout::experts(own, architecture, count));
            let known = architecture.and_then(|architecture| layout::hugging_face(own, architecture));
            let parts = joined.as_ref().map_or(0, Vec::len);
            let all = joined.unwrap_or_else(|| vec![known.unwrap_or_else(|| own.clone())]);
            for (i, name) in all.into_iter().enumerate() {
                let place = Place { own: own.clone(), part: (parts > 0).then_some((i, parts)) };
                if let Some(other) = names.insert(name, place) {
                    let (one, two) = (own.max(&other.own), own.min(&other.own));
                    return Err(Error::tensor(path, one, format!("and `{two}` are one tensor by two names")));
                }
            }
        }
        Ok(Self { path: path.to_owned(), file, bytes, content, architecture, names })
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
        let Place { own, part } = self.names.get(name)?;
        let dims = self.content.tensor_infos.get(own)?.shape.dims();
        Some((own, if part.is_some() { dims.get(1..)? } else { dims }))
    }

    /// A tensor in f32 on the CPU, its rows in Hugging Face's order.
    ///
    /// # Errors
    /// It is not in the file, or reading or dequantising fails.
    pub fn load(&self, name: &str, config: &Config) -> Result<Tensor> {
        let missing = || Error::tensor(&self.path, name, "is not in this file");
        let (Place { own, part }, (_, shape)) = self.names.get(name).zip(self.info(name)).ok_or_else(missing)?;
        let info = self.tensor(own)?;
        let (start, size) = self.range(own)?;
        // Rows are whole numbers of blocks, and so are matrices.
        let (start, size) = part.map_or((start, size), |(i, of)| (start + (size / of * i) as u64, size / of));
        let mut raw = vec![0; size];
        self.file.read_exact_at(&mut raw, start).map_err(Error::io("read", &self.path))?;
        let tensor = qtensor_from_ggml(info.ggml_dtype, &raw, shape.to_vec(), &Device::Cpu)
            .and_then(|quantised| {
                drop(raw);
                quantised.dequantize(&Device::Cpu)
            })
            .map_err(|e| Error::tensor(&self.path, own, e.to_string()))?;
        layout::unlaid(tensor, own, config).map_err(|e| Error::tensor(&self.path, own, e.to_string()))
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
        let Some(architecture) = self.architecture else {
            let why = format!("`{family}` is not supported; known are {} (llama is Mistral and Mixtral too)", known());
            return Err(self.wrong("general.architecture", &why));
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
        if let Some(found) = whole("attention.value_length")?.filter(|n| *n != head_dim) {
            let why = format!("is {found}; only the head's width {head_dim} is supported");
            return Err(self.wrong(&key("attention.value_length"), &why));
        }
        let rotary_dim = whole("rope.dimension_count")?.unwrap_or(head_dim);
        if rotary_dim != head_dim && architecture != Architecture::Phi3 {
            let why = format!("is {rotary_dim}; in this family only the head's width {head_dim} is supported");
            return Err(self.wrong(&key("rope.dimension_count"), &why));
        }
        let context_length = need("context_length")?;
        let rope_scaling = self.rope_scaling(&key, context_length)?;
        let layers = need("block_count")?;
        let window = whole("attention.sliding_window")?.filter(|n| *n > 0);
        let sliding = match window {
            None => Vec::new(),
            Some(_) => layout::sliding(architecture, layers),
        };
        let scalar = |name: &str| Ok::<f64, Error>(number(name)?.unwrap_or(1.0));
        #[allow(clippy::cast_precision_loss, reason = "a width is small")]
        let scales = match architecture {
            Architecture::Granite => Scales {
                embedding: scalar("embedding_scale")?,
                attention: number("attention.scale")?,
                residual: scalar("residual_scale")?,
                logits: scalar("logit_scale")?,
                ..Scales::default()
            },
            Architecture::Gemma2 | Architecture::Gemma3 => Scales {
                embedding: (hidden_size as f64).sqrt(),
                attention: Some(layout::gemma_scale(architecture, layers, (hidden_size, heads, head_dim))),
                attention_cap: number("attn_logit_softcapping")?,
                logit_cap: number("final_logit_softcapping")?,
                ..Scales::default()
            },
            _ => Scales::default(),
        };
        let biased = |name: &str| self.names.contains_key(&format!("model.layers.0.{name}.bias"));
        let embedding = "model.embed_tokens.weight";
        let (_, shape) = self.info(embedding).ok_or_else(|| Error::tensor(&self.path, embedding, "is missing"))?;
        let id = |name: &str| self.whole(&format!("tokenizer.ggml.{name}_token_id"));
        let id = |name: &str| id(name).map(|id| id.and_then(|id| u32::try_from(id).ok()));
        let config = Config {
            architecture,
            vocab_size: shape.first().copied().unwrap_or_default(),
            hidden_size,
            intermediate_size: need("feed_forward_length")?,
            experts: self.experts(architecture)?,
            layers,
            heads,
            kv_heads: whole("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            rotary_dim,
            rms_norm_eps: number("attention.layer_norm_rms_epsilon")?
                .ok_or_else(|| self.wrong(&key("attention.layer_norm_rms_epsilon"), "is missing"))?,
            rope_theta: number("rope.freq_base")?.unwrap_or(10_000.0),
            rope_scaling,
            rope_local_theta: match architecture {
                Architecture::Gemma3 => Some(number("rope.freq_base_swa")?.unwrap_or(layout::GEMMA3_LOCAL_THETA)),
                _ => None,
            },
            max_position_embeddings: context_length,
            tie_word_embeddings: !self.names.contains_key("lm_head.weight"),
            attention_bias: biased("self_attn.q_proj"),
            output_bias: biased("self_attn.o_proj"),
            mlp_bias: biased("mlp.down_proj"),
            scales,
            bos: id("bos")?,
            eos: id("eos")?.into_iter().chain(id("eot")?).collect(),
            dtype: None,
            sliding_window: window.filter(|_| sliding.contains(&true)),
            sliding,
            unturned: layout::unturned(architecture, layers),
            quantization: None,
        };
        config.check(&self.path)?;
        Ok(config)
    }

    /// The experts of a family that has them, whose weights llama.cpp brings to a sum of 1.
    fn experts(&self, architecture: Architecture) -> Result<Option<Experts>> {
        let family = architecture.family();
        if family.experts.is_none() {
            return Ok(None);
        }
        let need = |names: &[&str]| -> Result<usize> {
            for name in names {
                if let Some(found) = self.whole(&format!("{}.{name}", family.gguf))? {
                    return Ok(found);
                }
            }
            Err(self.wrong(&format!("{}.{}", family.gguf, names[0]), "is missing"))
        };
        Ok(Some(Experts {
            count: need(&["expert_count"])?,
            chosen: need(&["expert_used_count"])?,
            inner: need(&["expert_feed_forward_length", "feed_forward_length"])?,
            to_one: true,
            without: Vec::new(),
        }))
    }

    /// How rotary frequencies are stretched in a model made for so many positions; `key` gives the family's name of a key.
    fn rope_scaling(&self, key: &dyn Fn(&str) -> String, positions: usize) -> Result<RopeScaling> {
        let number = |name: &str| self.number(&key(name));
        let factor =
            || number("rope.scaling.factor")?.ok_or_else(|| self.wrong(&key("rope.scaling.factor"), "is missing"));
        let original =
            || -> Result<usize> { Ok(self.whole(&key("rope.scaling.original_context_length"))?.unwrap_or(positions)) };
        if ROPE_FACTORS.iter().all(|name| self.names.contains_key(*name)) {
            let [short, long] = ROPE_FACTORS.map(|name| self.single(name));
            let wide =
                |list: Vec<f32>| list.into_iter().map(|x| x.to_string().parse().unwrap_or(f64::from(x))).collect();
            return Ok(RopeScaling::Long {
                short: wide(short?),
                long: wide(long?),
                original_max_position_embeddings: original()?,
                attention_factor: number("rope.scaling.attn_factor")?.unwrap_or(1.0),
            });
        }
        if self.names.contains_key(ROPE_FREQS) {
            return Ok(RopeScaling::Divisors(self.single(ROPE_FREQS)?));
        }
        let kind = key("rope.scaling.type");
        match self.metadata(&kind).and_then(|v| v.to_string().ok()).map(String::as_str) {
            None | Some("none") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear { factor: factor()? }),
            Some("yarn") => {
                let factor = factor()?;
                Ok(RopeScaling::Yarn {
                    factor,
                    beta_fast: number("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                    beta_slow: number("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                    truncate: true,
                    original_max_position_embeddings: original()?,
                    attention_factor: RopeScaling::yarn_attention(factor, 1.0),
                })
            }
            Some(other) => Err(self.wrong(&kind, &format!("`{other}` is not supported, only `linear` and `yarn`"))),
        }
    }

    /// A short tensor in f32 that Hugging Face has no name for.
    fn single(&self, name: &str) -> Result<Vec<f32>> {
        let info = self.tensor(name)?;
        let (start, size) = self.range(name)?;
        if info.ggml_dtype != candle_core::quantized::GgmlDType::F32 {
            return Err(Error::tensor(&self.path, name, "is not in F32"));
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

/// What llama.cpp calls the families, each name once.
fn known() -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in Architecture::ALL.map(|a| a.family().gguf) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
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

#[cfg(test)]
mod tests;
