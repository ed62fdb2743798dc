//! config.json, as transformers 4 and 5 write it.

use std::{fs, path::Path};

use candle_core::DType;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    error::{Error, Result},
    model::{
        config::{Architecture, Bitsandbytes, Config},
        rope_scaling::RopeScaling,
    },
};

/// Types that weights are stored in, by their names in config.json.
pub(crate) const DTYPES: [(&str, DType); 3] =
    [("float32", DType::F32), ("float16", DType::F16), ("bfloat16", DType::BF16)];

impl Config {
    /// Read and check a config.json. Keys that are not known are left aside: they abound.
    ///
    /// # Errors
    /// It is missing or not JSON, a key is missing or wrong, or it describes a model that is not supported;
    /// the message names file and key.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read(file).map_err(Error::io("read", file))?;
        let map: Map<String, Value> =
            serde_json::from_slice(&text).map_err(|e| Error::model(file, format!("not a config.json: {e}")))?;
        Self::from_json(file, &map)
    }

    /// From the table of a config.json; `file` is for messages.
    pub fn from_json(file: &Path, map: &Map<String, Value>) -> Result<Self> {
        let keys = Keys { file, map, under: "" };
        let architecture = architecture(&keys)?;
        let act = keys.get("hidden_act")?.unwrap_or_else(|| "silu".to_owned());
        if act != "silu" {
            return Err(keys.wrong("hidden_act", &format!("`{act}` is not supported, only `silu`")));
        }
        let qwen = architecture == Architecture::Qwen2;
        for (key, allowed) in [("mlp_bias", false), ("attention_bias", qwen)] {
            if keys.get(key)?.unwrap_or(false) && !allowed {
                return Err(keys.wrong(key, "biases are supported on q, k and v of qwen2 only"));
            }
        }
        let heads = keys.need("num_attention_heads")?;
        let hidden_size = keys.need("hidden_size")?;
        let layers = keys.need("num_hidden_layers")?;
        let max_position_embeddings = keys.get("max_position_embeddings")?.unwrap_or(2048);
        let (rope_theta, rope_scaling) = RopeScaling::from_keys(&keys, max_position_embeddings)?;
        let config = Self {
            architecture,
            vocab_size: keys.need("vocab_size")?,
            hidden_size,
            intermediate_size: keys.need("intermediate_size")?,
            layers,
            heads,
            kv_heads: keys.get("num_key_value_heads")?.unwrap_or(heads),
            head_dim: match keys.get("head_dim")? {
                Some(head_dim) => head_dim,
                None => split(&keys, hidden_size, heads)?,
            },
            rms_norm_eps: keys.get("rms_norm_eps")?.unwrap_or(1e-6),
            rope_theta,
            rope_scaling,
            max_position_embeddings,
            tie_word_embeddings: keys.get("tie_word_embeddings")?.unwrap_or(false),
            attention_bias: qwen,
            bos: keys.get::<Ids>("bos_token_id")?.and_then(|ids| ids.list().first().copied()),
            eos: keys.get::<Ids>("eos_token_id")?.map(Ids::list).unwrap_or_default(),
            dtype: match keys.get("dtype")? {
                Some(name) => dtype(name),
                None => keys.get("torch_dtype")?.and_then(dtype),
            },
            sliding_window: sliding_window(&keys, architecture, layers)?,
            quantization: quantization(&keys)?,
        };
        config.check(file)?;
        Ok(config)
    }

    /// A config.json that transformers 4 and 5 both read. Of a model that was stored in 4 bits it describes the
    /// weights as they are without that.
    ///
    /// # Errors
    /// The model is from a GGUF file whose RoPE divisors config.json has no name for.
    pub fn to_json(&self) -> Result<Value> {
        let rope_scaling = self.rope_scaling.to_json().ok_or_else(|| {
            Error::Other("a config.json cannot hold a GGUF file's RoPE divisors; take the original model".into())
        })?;
        let ids = |ids: &[u32]| match ids {
            [] => Value::Null,
            [id] => json!(id),
            ids => json!(ids),
        };
        let mut json = json!({
            "architectures": [self.architecture.class()],
            "model_type": self.architecture.name(),
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "rope_scaling": rope_scaling,
            "max_position_embeddings": self.max_position_embeddings,
            "tie_word_embeddings": self.tie_word_embeddings,
            "bos_token_id": ids(self.bos.as_slice()),
            "eos_token_id": ids(&self.eos),
        });
        if let Some(dtype) = self.dtype {
            json["torch_dtype"] = DTYPES.iter().find(|(_, d)| *d == dtype).map(|(name, _)| *name).into();
        }
        match self.architecture {
            Architecture::Llama => {}
            Architecture::Mistral => json["sliding_window"] = self.sliding_window.into(),
            Architecture::Qwen2 => {
                json["use_sliding_window"] = self.sliding_window.is_some().into();
                json["sliding_window"] = self.sliding_window.into();
            }
        }
        Ok(json)
    }
}

const KNOWN: &str = "`default`, `linear` and `llama3`";

impl RopeScaling {
    /// `rope_theta` and the scaling from the keys of a config.json: `rope_scaling` or, as transformers 5 has it,
    /// `rope_parameters`.
    ///
    /// # Errors
    /// A type that is not known, a factor that is missing or not positive, a rotation of a part of each head.
    fn from_keys(keys: &Keys, positions: usize) -> Result<(f64, Self)> {
        let nothing = Map::new();
        let name = ["rope_scaling", "rope_parameters"].into_iter().find(|name| keys.filled(name));
        let inner = match name {
            Some(name) => keys.map(name)?,
            None => &nothing,
        };
        let inner = Keys { file: keys.file, map: inner, under: name.unwrap_or_default() };
        if let Some((layer, _)) = inner.map.iter().find(|(_, value)| value.is_object()) {
            return Err(inner.wrong(layer, "frequencies that differ by layer are not supported"));
        }
        let theta = match inner.get("rope_theta")? {
            Some(theta) => theta,
            None => keys.get("rope_theta")?.unwrap_or(10_000.0),
        };
        for part in [keys, &inner] {
            if part.get::<f64>("partial_rotary_factor")?.is_some_and(|f| (f - 1.0).abs() > f64::EPSILON) {
                return Err(part.wrong("partial_rotary_factor", "turning a part of each head is not supported"));
            }
        }
        let kind: Option<String> = match inner.get("rope_type")? {
            Some(kind) => Some(kind),
            None => inner.get("type")?,
        };
        let scaling = match kind.as_deref() {
            None | Some("default") => Self::None,
            Some("linear") => Self::Linear { factor: inner.need("factor")? },
            Some("llama3") => Self::Llama3 {
                factor: inner.need("factor")?,
                low_freq_factor: inner.need("low_freq_factor")?,
                high_freq_factor: inner.need("high_freq_factor")?,
                original_max_position_embeddings: inner.get("original_max_position_embeddings")?.unwrap_or(positions),
            },
            Some(other) => {
                return Err(inner.wrong("rope_type", &format!("`{other}` is not supported; known are {KNOWN}")));
            }
        };
        Ok((theta, scaling))
    }

    /// As config.json has it, or none for divisors, which it has no name for.
    fn to_json(&self) -> Option<Value> {
        Some(match self {
            Self::None => Value::Null,
            Self::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original_max_position_embeddings,
            }),
            Self::Divisors(_) => return None,
        })
    }
}

/// A table of a JSON file, and where it is.
pub(crate) struct Keys<'a> {
    pub file: &'a Path,
    pub map: &'a Map<String, Value>,
    /// The key it is the value of, empty at the top.
    pub under: &'a str,
}

impl<'a> Keys<'a> {
    /// Whether the key is there and not null.
    pub fn filled(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|v| !v.is_null())
    }

    /// Its value, if it is there and not null.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let value = self.map.get(key).filter(|v| !v.is_null());
        value.map(|v| T::deserialize(v).map_err(|e| self.wrong(key, &e.to_string()))).transpose()
    }

    /// Its value.
    pub fn need<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        self.get(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    /// The table that is its value.
    pub fn map(&self, key: &str) -> Result<&'a Map<String, Value>> {
        self.map.get(key).and_then(Value::as_object).ok_or_else(|| self.wrong(key, "is not a table"))
    }

    /// An error that names file and key.
    pub fn wrong(&self, key: &str, why: &str) -> Error {
        let dot = if self.under.is_empty() { "" } else { "." };
        Error::model(self.file, format!("`{}{dot}{key}`: {why}", self.under))
    }
}

/// One token id or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

impl Ids {
    fn list(self) -> Vec<u32> {
        match self {
            Self::One(id) => vec![id],
            Self::Many(ids) => ids,
        }
    }
}

fn architecture(keys: &Keys) -> Result<Architecture> {
    let known = Architecture::ALL.map(Architecture::name).join(", ");
    let name: String = keys.get("model_type")?.ok_or_else(|| {
        keys.wrong("model_type", &format!("is missing, so this is not a model's config.json; known are {known}"))
    })?;
    Architecture::ALL
        .into_iter()
        .find(|a| a.name() == name)
        .ok_or_else(|| keys.wrong("model_type", &format!("`{name}` is not supported; known are {known}")))
}

fn split(keys: &Keys, hidden: usize, heads: usize) -> Result<usize> {
    match hidden.checked_rem(heads) {
        Some(0) => Ok(hidden / heads),
        _ => Err(keys.wrong("num_attention_heads", &format!("{heads} heads do not divide `hidden_size` {hidden}"))),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it comes from `Keys::get`")]
fn dtype(name: String) -> Option<DType> {
    DTYPES.iter().find(|(known, _)| *known == name).map(|(_, dtype)| *dtype)
}

/// The window, where at least one layer has it.
fn sliding_window(keys: &Keys, architecture: Architecture, layers: usize) -> Result<Option<usize>> {
    match architecture {
        Architecture::Llama => Ok(None),
        // transformers takes 4096 for a config.json that does not say.
        Architecture::Mistral if !keys.map.contains_key("sliding_window") => Ok(Some(4096)),
        Architecture::Mistral => keys.get("sliding_window"),
        Architecture::Qwen2 => {
            let from = keys.get("max_window_layers")?.unwrap_or(28);
            let slides = match keys.get::<Vec<String>>("layer_types")? {
                Some(types) => types.iter().any(|t| t == "sliding_attention"),
                None => from < layers,
            };
            let enabled = slides && keys.get("use_sliding_window")?.unwrap_or(false);
            if enabled { keys.get("sliding_window") } else { Ok(None) }
        }
    }
}

fn quantization(keys: &Keys) -> Result<Option<Bitsandbytes>> {
    const KEY: &str = "quantization_config";
    if !keys.filled(KEY) {
        return Ok(None);
    }
    let inner = Keys { file: keys.file, map: keys.map(KEY)?, under: KEY };
    let four = inner.get("load_in_4bit")?.unwrap_or(false);
    let method = inner.get("quant_method")?.unwrap_or_else(|| "bitsandbytes".to_owned());
    if method != "bitsandbytes" || !four {
        let found = if method == "bitsandbytes" { "8-bit bitsandbytes".into() } else { format!("`{method}`") };
        let why = format!("{found} weights cannot be read; take the 16-bit model, or one in bitsandbytes' 4-bit NF4");
        return Err(inner.wrong("quant_method", &why));
    }
    for (key, wanted) in [("bnb_4bit_quant_type", "nf4"), ("bnb_4bit_quant_storage", "uint8")] {
        // Without the key bitsandbytes takes fp4, but stores bytes.
        let found = inner.get(key)?.unwrap_or_else(|| if wanted == "nf4" { "fp4" } else { wanted }.to_owned());
        if found != wanted {
            return Err(inner.wrong(key, &format!("`{found}` is not supported, only `{wanted}`")));
        }
    }
    Ok(Some(Bitsandbytes { double_quant: inner.get("bnb_4bit_use_double_quant")?.unwrap_or(false) }))
}

#[cfg(test)]
mod tests;
