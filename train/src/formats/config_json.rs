//! config.json, as transformers 4 and 5 write it.

use std::{fs, path::Path};

use candle_core::DType;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    error::{Error, Result},
    model::{
        config::{Architecture, Bitsandbytes, Config, Experts, Scales},
        mlp::Activation,
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
        let defaults = architecture.family().defaults;
        activation(&keys, architecture)?;
        let heads = keys.need("num_attention_heads")?;
        let hidden_size = keys.need("hidden_size")?;
        let layers = keys.need("num_hidden_layers")?;
        let max_position_embeddings = keys.get("max_position_embeddings")?.unwrap_or(2048);
        let rope = Rope::read(&keys, architecture, max_position_embeddings)?;
        let head_dim = match keys.get("head_dim")?.or(defaults.head_dim) {
            Some(head_dim) => head_dim,
            None => split(&keys, hidden_size, heads)?,
        };
        let biases = biases(&keys, architecture)?;
        let sliding = sliding(&keys, architecture, layers)?;
        let config = Self {
            architecture,
            vocab_size: keys.need("vocab_size")?,
            hidden_size,
            intermediate_size: keys.need("intermediate_size")?,
            experts: experts(&keys, architecture, layers)?,
            layers,
            heads,
            kv_heads: keys.get("num_key_value_heads")?.unwrap_or(heads),
            head_dim,
            rotary_dim: part(head_dim, rope.part),
            rms_norm_eps: keys.get("rms_norm_eps")?.unwrap_or(defaults.eps),
            rope_theta: rope.theta,
            rope_scaling: rope.scaling,
            rope_local_theta: rope.local_theta,
            max_position_embeddings,
            tie_word_embeddings: keys.get("tie_word_embeddings")?.unwrap_or(defaults.tied),
            attention_bias: biases[0],
            output_bias: biases[1],
            mlp_bias: biases[2],
            scales: scales(&keys, architecture, hidden_size)?,
            bos: keys.get::<Ids>("bos_token_id")?.and_then(|ids| ids.list().first().copied()),
            eos: keys.get::<Ids>("eos_token_id")?.map(Ids::list).unwrap_or_default(),
            dtype: match keys.get("dtype")? {
                Some(name) => dtype(name),
                None => keys.get("torch_dtype")?.and_then(dtype),
            },
            sliding_window: sliding.as_ref().map(|(window, _)| *window),
            sliding: sliding.map(|(_, layers)| layers).unwrap_or_default(),
            unturned: unturned(&keys, architecture, layers)?,
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
        let mut rope_scaling = self.rope_scaling.to_json().ok_or_else(|| {
            Error::Other("a config.json cannot hold a GGUF file's RoPE divisors; take the original model".into())
        })?;
        let mut json = json!({
            "architectures": [self.architecture.family().class],
            "model_type": self.architecture.name(),
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "max_position_embeddings": self.max_position_embeddings,
            "tie_word_embeddings": self.tie_word_embeddings,
            "bos_token_id": ids(self.bos.as_slice()),
            "eos_token_id": ids(&self.eos),
        });
        if let Some(dtype) = self.dtype {
            json["torch_dtype"] = DTYPES.iter().find(|(_, d)| *d == dtype).map(|(name, _)| *name).into();
        }
        let mut put = |key: &str, value: Value| json[key] = value;
        match self.architecture.family().activation {
            Activation::Silu => put("hidden_act", "silu".into()),
            Activation::Gelu => put("hidden_activation", GELU.into()),
        }
        let window = self.sliding_window.into();
        match self.architecture {
            Architecture::Llama | Architecture::Granite => {
                put("attention_bias", self.attention_bias.into());
                put("mlp_bias", self.mlp_bias.into());
            }
            Architecture::Mistral | Architecture::Mixtral => put("sliding_window", window),
            Architecture::Ministral => {
                put("sliding_window", window);
                put("layer_types", self.layer_types());
            }
            Architecture::Qwen2 | Architecture::Qwen3 | Architecture::Qwen3Moe => {
                put("use_sliding_window", self.sliding_window.is_some().into());
                put("sliding_window", window);
                if self.sliding_window.is_some() && self.architecture != Architecture::Qwen3Moe {
                    put("layer_types", self.layer_types());
                }
                if self.architecture != Architecture::Qwen2 {
                    put("attention_bias", self.attention_bias.into());
                }
            }
            Architecture::Smollm3 => {
                put("attention_bias", self.attention_bias.into());
                put("mlp_bias", self.mlp_bias.into());
                put("use_sliding_window", self.sliding_window.is_some().into());
                put("sliding_window", window);
                put("layer_types", self.layer_types());
                let turned: Vec<u8> = (0..self.layers).map(|i| u8::from(self.turned(i).is_some())).collect();
                put("no_rope_layers", turned.into());
            }
            Architecture::Olmo2 => put("attention_bias", self.attention_bias.into()),
            Architecture::Phi3 => {
                put("sliding_window", window);
                #[allow(clippy::cast_precision_loss, reason = "heads are narrow")]
                put("partial_rotary_factor", (self.rotary_dim as f64 / self.head_dim as f64).into());
                // transformers takes it from here alone.
                if let Some(original) = rope_scaling.as_object_mut().and_then(|map| map.remove(ORIGINAL)) {
                    put(ORIGINAL, original);
                }
            }
            Architecture::Gemma2 | Architecture::Gemma3 => {
                put("attention_bias", self.attention_bias.into());
                put("sliding_window", window);
                put("layer_types", self.layer_types());
                put("final_logit_softcapping", self.scales.logit_cap.into());
                if self.architecture == Architecture::Gemma2 {
                    put("attn_logit_softcapping", self.scales.attention_cap.into());
                }
                if let Some(scale) = self.scales.attention {
                    #[allow(
                        clippy::cast_possible_truncation,
                        reason = "transformers wants a whole number, and it was one"
                    )]
                    put("query_pre_attn_scalar", ((1.0 / (scale * scale)).round() as i64).into());
                }
                if let Some(theta) = self.rope_local_theta {
                    put("rope_local_base_freq", theta.into());
                }
            }
        }
        if self.architecture == Architecture::Granite {
            put("embedding_multiplier", self.scales.embedding.into());
            put("attention_multiplier", self.scales.attention.unwrap_or(1.0).into());
            put("residual_multiplier", self.scales.residual.into());
            put("logits_scaling", self.scales.logits.into());
        }
        for (key, value) in self.experts_to_json() {
            put(key, value);
        }
        put("rope_scaling", rope_scaling);
        Ok(json)
    }

    /// What is said of experts.
    fn experts_to_json(&self) -> Vec<(&'static str, Value)> {
        let Some(Experts { count, chosen, inner, to_one, without }) = &self.experts else { return Vec::new() };
        let chosen = ("num_experts_per_tok", (*chosen).into());
        if self.architecture == Architecture::Mixtral {
            return vec![chosen, ("num_local_experts", (*count).into())];
        }
        let without: Vec<usize> = (0..self.layers).filter(|layer| without.get(*layer) == Some(&true)).collect();
        vec![
            chosen,
            ("num_experts", (*count).into()),
            ("moe_intermediate_size", (*inner).into()),
            ("norm_topk_prob", (*to_one).into()),
            ("decoder_sparse_step", 1.into()),
            ("mlp_only_layers", without.into()),
        ]
    }

    /// `layer_types`.
    fn layer_types(&self) -> Value {
        let name = |layer| if self.heads(layer).scores.window.is_some() { SLIDING } else { FULL };
        (0..self.layers).map(name).collect::<Vec<_>>().into()
    }
}

const SLIDING: &str = "sliding_attention";
const FULL: &str = "full_attention";
const GELU: &str = "gelu_pytorch_tanh";
const ORIGINAL: &str = "original_max_position_embeddings";

const KNOWN: &str = "`default`, `linear`, `dynamic`, `llama3`, `yarn` and `longrope`";

/// One id by itself, several as a list.
fn ids(ids: &[u32]) -> Value {
    match ids {
        [] => Value::Null,
        [id] => json!(id),
        ids => json!(ids),
    }
}

/// What config.json says of rotary positions.
struct Rope {
    theta: f64,
    scaling: RopeScaling,
    /// Base in layers with a window, where it is another.
    local_theta: Option<f64>,
    /// Which part of a head turns.
    part: f64,
}

impl Rope {
    /// From `rope_scaling` or, as transformers 5 has it, `rope_parameters`.
    ///
    /// # Errors
    /// A type that is not known, a factor that is missing or not positive, what the family does not have.
    fn read(keys: &Keys, architecture: Architecture, positions: usize) -> Result<Self> {
        let nothing = Map::new();
        let name = ["rope_scaling", "rope_parameters"].into_iter().find(|name| keys.filled(name));
        let inner = match name {
            Some(name) => keys.map(name)?,
            None => &nothing,
        };
        let mut inner = Keys { file: keys.file, map: inner, under: name.unwrap_or_default() };
        let mut local_theta = None;
        if architecture == Architecture::Gemma3 {
            local_theta = Some(keys.get("rope_local_base_freq")?.unwrap_or(10_000.0));
            if inner.filled(SLIDING) {
                let local = Keys { file: keys.file, map: inner.map(SLIDING)?, under: SLIDING };
                let kind = local.get("rope_type")?.unwrap_or_else(|| "default".to_owned());
                if kind != "default" {
                    return Err(local.wrong("rope_type", &format!("`{kind}` is not supported in layers with a window")));
                }
                local_theta = local.get("rope_theta")?.or(local_theta);
            }
            if inner.filled(FULL) {
                inner = Keys { file: keys.file, map: inner.map(FULL)?, under: FULL };
            }
        }
        if let Some((layer, _)) = inner.map.iter().find(|(key, value)| value.is_object() && *key != SLIDING) {
            return Err(inner.wrong(layer, "frequencies that differ by layer are not supported in this family"));
        }
        let theta = match inner.get("rope_theta")? {
            Some(theta) => theta,
            None => keys.get("rope_theta")?.unwrap_or(architecture.family().defaults.theta),
        };
        let mut part = 1.0;
        for place in [keys, &inner] {
            if let Some(found) = place.get::<f64>("partial_rotary_factor")? {
                if (found - 1.0).abs() > f64::EPSILON && architecture != Architecture::Phi3 {
                    let why = "turning a part of each head is not supported in this family";
                    return Err(place.wrong("partial_rotary_factor", why));
                }
                part = found;
            }
        }
        Ok(Self { theta, scaling: RopeScaling::from_keys(keys, &inner, architecture, positions)?, local_theta, part })
    }
}

impl RopeScaling {
    fn from_keys(keys: &Keys, inner: &Keys, architecture: Architecture, positions: usize) -> Result<Self> {
        let kind: Option<String> = match inner.get("rope_type")? {
            Some(kind) => Some(kind),
            None => inner.get("type")?,
        };
        // Phi-3's first files say `su`, and transformers reads their `yarn` as the same.
        let kind = match kind.as_deref() {
            Some("su" | "yarn") if architecture == Architecture::Phi3 => Some("longrope"),
            other => other,
        };
        // Beside the table it has precedence.
        let original = || -> Result<usize> {
            let usual = if architecture == Architecture::Phi3 { 4096 } else { positions };
            Ok(keys.get(ORIGINAL)?.or(inner.get(ORIGINAL)?).unwrap_or(usual))
        };
        #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53 positions")]
        let stretch = |original: usize| -> Result<f64> {
            Ok(inner.get("factor")?.unwrap_or(positions as f64 / original.max(1) as f64))
        };
        Ok(match kind {
            None | Some("default") => Self::None,
            Some("linear") => Self::Linear { factor: inner.need("factor")? },
            Some("dynamic") => Self::Dynamic { factor: inner.need("factor")? },
            Some("llama3") => Self::Llama3 {
                factor: inner.need("factor")?,
                low_freq_factor: inner.need("low_freq_factor")?,
                high_freq_factor: inner.need("high_freq_factor")?,
                original_max_position_embeddings: original()?,
            },
            Some("yarn") => {
                let factor = stretch(original()?)?;
                let scale = |key: &str| Ok::<_, Error>(inner.get::<f64>(key)?.filter(|scale| *scale != 0.0));
                let attention = |scale| Self::yarn_attention(factor, scale);
                let attention_factor =
                    match (inner.get("attention_factor")?, scale("mscale")?, scale("mscale_all_dim")?) {
                        (Some(said), ..) => said,
                        (None, Some(one), Some(all)) => attention(one) / attention(all),
                        (None, ..) => attention(1.0),
                    };
                Self::Yarn {
                    factor,
                    beta_fast: inner.get("beta_fast")?.unwrap_or(32.0),
                    beta_slow: inner.get("beta_slow")?.unwrap_or(1.0),
                    truncate: inner.get("truncate")?.unwrap_or(true),
                    original_max_position_embeddings: original()?,
                    attention_factor,
                }
            }
            Some("longrope") => Self::Long {
                short: inner.need("short_factor")?,
                long: inner.need("long_factor")?,
                original_max_position_embeddings: original()?,
                attention_factor: match inner.get("attention_factor")? {
                    Some(said) => said,
                    None => Self::long_attention(stretch(original()?)?, original()?),
                },
            },
            Some(other) => {
                return Err(inner.wrong("rope_type", &format!("`{other}` is not supported; known are {KNOWN}")));
            }
        })
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
            Self::Dynamic { factor } => json!({"rope_type": "dynamic", "factor": factor}),
            Self::Yarn {
                factor,
                beta_fast,
                beta_slow,
                truncate,
                original_max_position_embeddings,
                attention_factor,
            } => json!({
                "rope_type": "yarn",
                "factor": factor,
                "beta_fast": beta_fast,
                "beta_slow": beta_slow,
                "truncate": truncate,
                "original_max_position_embeddings": original_max_position_embeddings,
                "attention_factor": attention_factor,
            }),
            Self::Long { short, long, original_max_position_embeddings, attention_factor } => json!({
                "rope_type": "longrope",
                "short_factor": short,
                "long_factor": long,
                "original_max_position_embeddings": original_max_position_embeddings,
                "attention_factor": attention_factor,
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

/// Elements of a head that turn.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "heads are narrow, and what is too large is refused"
)]
fn part(head_dim: usize, of: f64) -> usize {
    (head_dim as f64 * of) as usize
}

/// Check that the gate goes through the family's activation.
fn activation(keys: &Keys, architecture: Architecture) -> Result<()> {
    let (key, wanted) = match architecture.family().activation {
        Activation::Silu => ("hidden_act", "silu"),
        Activation::Gelu => ("hidden_activation", GELU),
    };
    let found = keys.get(key)?.unwrap_or_else(|| wanted.to_owned());
    if found == wanted {
        return Ok(());
    }
    Err(keys.wrong(key, &format!("`{found}` is not supported, only `{wanted}`")))
}

/// Whether q, k and v, o, and the MLP have biases.
fn biases(keys: &Keys, architecture: Architecture) -> Result<[bool; 3]> {
    use Architecture::{
        Gemma2, Gemma3, Granite, Llama, Ministral, Mistral, Mixtral, Olmo2, Phi3, Qwen2, Qwen3, Qwen3Moe, Smollm3,
    };
    let (attention, mlp) = match architecture {
        Llama | Granite | Smollm3 => (true, true),
        Qwen3 | Qwen3Moe | Olmo2 | Gemma2 | Gemma3 => (true, false),
        Mistral | Ministral | Mixtral | Phi3 => (false, false),
        // Whatever is said, q, k and v have one.
        Qwen2 => return Ok([true, false, false]),
    };
    let mut found = [false; 2];
    for ((key, allowed), found) in [("attention_bias", attention), ("mlp_bias", mlp)].into_iter().zip(&mut found) {
        *found = keys.get(key)?.unwrap_or(false);
        if *found && !allowed {
            return Err(keys.wrong(key, "this family has no such biases"));
        }
    }
    Ok([found[0], found[0], found[1]])
}

/// The experts of a family that has them.
fn experts(keys: &Keys, architecture: Architecture, layers: usize) -> Result<Option<Experts>> {
    let size = |names: &[&str], usual: usize| -> Result<usize> {
        let found = names.iter().map(|name| keys.get(name)).collect::<Result<Vec<_>>>()?;
        Ok(found.into_iter().flatten().next().unwrap_or(usual))
    };
    match architecture {
        Architecture::Mixtral => {
            if keys.get("router_jitter_noise")?.is_some_and(|noise: f64| noise != 0.0) {
                return Err(keys.wrong("router_jitter_noise", "noise before the router is not supported: set it to 0"));
            }
            Ok(Some(Experts {
                count: size(&["num_local_experts", "num_experts"], 8)?,
                chosen: size(&["num_experts_per_tok"], 2)?,
                inner: keys.need("intermediate_size")?,
                to_one: true,
                without: Vec::new(),
            }))
        }
        Architecture::Qwen3Moe => {
            let only: Vec<usize> = keys.get("mlp_only_layers")?.unwrap_or_default();
            let every = size(&["decoder_sparse_step"], 1)?;
            let count = size(&["num_experts", "num_local_experts"], 128)?;
            let with =
                |layer: &usize| !only.contains(layer) && count > 0 && every > 0 && (layer + 1).is_multiple_of(every);
            let without: Vec<bool> = (0..layers).map(|layer| !with(&layer)).collect();
            if !without.contains(&false) {
                return Err(keys.wrong("num_experts", "no layer has experts; such a model is a `qwen3`"));
            }
            Ok(Some(Experts {
                count,
                chosen: size(&["num_experts_per_tok"], 8)?,
                inner: size(&["moe_intermediate_size"], 768)?,
                to_one: keys.get("norm_topk_prob")?.unwrap_or(false),
                without: if without.contains(&true) { without } else { Vec::new() },
            }))
        }
        _ => Ok(None),
    }
}

/// What is multiplied by what, and capped.
fn scales(keys: &Keys, architecture: Architecture, hidden: usize) -> Result<Scales> {
    let number = |key: &str| Ok::<f64, Error>(keys.get(key)?.unwrap_or(1.0));
    match architecture {
        Architecture::Granite => Ok(Scales {
            embedding: number("embedding_multiplier")?,
            attention: Some(number("attention_multiplier")?),
            residual: number("residual_multiplier")?,
            logits: number("logits_scaling")?,
            ..Scales::default()
        }),
        Architecture::Gemma2 | Architecture::Gemma3 => {
            let second = architecture == Architecture::Gemma2;
            if keys.get("use_bidirectional_attention")?.unwrap_or(false) {
                return Err(
                    keys.wrong("use_bidirectional_attention", "only attention to the tokens before is supported")
                );
            }
            if !second && keys.filled("attn_logit_softcapping") {
                return Err(
                    keys.wrong("attn_logit_softcapping", "Gemma 3 has no cap on scores, and transformers ignores it")
                );
            }
            // null is no cap, and silence is the family's.
            let cap = |key: &str, usual: f64| -> Result<Option<f64>> {
                if keys.map.contains_key(key) { keys.get(key) } else { Ok(second.then_some(usual)) }
            };
            let scalar: f64 = keys.get("query_pre_attn_scalar")?.unwrap_or(256.0);
            #[allow(clippy::cast_precision_loss, reason = "a width is small")]
            Ok(Scales {
                embedding: (hidden as f64).sqrt(),
                attention: Some(scalar.powf(-0.5)),
                attention_cap: if second { cap("attn_logit_softcapping", 50.0)? } else { None },
                logit_cap: cap("final_logit_softcapping", 30.0)?,
                ..Scales::default()
            })
        }
        _ => Ok(Scales::default()),
    }
}

/// The window, where at least one layer has it, and which do.
fn sliding(keys: &Keys, architecture: Architecture, layers: usize) -> Result<Option<(usize, Vec<bool>)>> {
    use Architecture::{
        Gemma2, Gemma3, Granite, Llama, Ministral, Mistral, Mixtral, Olmo2, Phi3, Qwen2, Qwen3, Qwen3Moe, Smollm3,
    };
    // transformers takes 4096 for a config.json that does not say.
    let usual = || if keys.map.contains_key("sliding_window") { keys.get("sliding_window") } else { Ok(Some(4096)) };
    let switch = || Ok::<bool, Error>(keys.get("use_sliding_window")?.unwrap_or(false));
    let window = match architecture {
        Llama | Granite | Olmo2 => None,
        Mistral | Ministral | Gemma2 | Gemma3 => usual()?,
        Phi3 | Mixtral => keys.get("sliding_window")?,
        Qwen2 | Qwen3 | Qwen3Moe => {
            if switch()? {
                usual()?
            } else {
                None
            }
        }
        Smollm3 => {
            if switch()? {
                keys.get("sliding_window")?
            } else {
                None
            }
        }
    };
    let types = keys.get::<Vec<String>>("layer_types")?;
    if let Some(other) = types.iter().flatten().find(|t| ![SLIDING, FULL].contains(&t.as_str())) {
        return Err(keys.wrong("layer_types", &format!("`{other}` is not supported, only `{FULL}` and `{SLIDING}`")));
    }
    let Some(window) = window else { return Ok(None) };
    let which: Vec<bool> = match (types, architecture) {
        // transformers gives all layers the window, whatever is said; a person means what is said.
        (Some(types), Mistral | Mixtral | Phi3 | Qwen3Moe) if types.iter().any(|t| t == FULL) => {
            let why = "this family has the window in every layer; a Mistral with others is a `ministral`";
            return Err(keys.wrong("layer_types", why));
        }
        (Some(types), _) => types.iter().map(|t| t == SLIDING).collect(),
        (None, Gemma2) => (0..layers).map(|i| (i + 1) % 2 != 0).collect(),
        (None, Gemma3) => {
            let pattern: usize = keys.get("sliding_window_pattern")?.unwrap_or(6);
            (0..layers).map(|i| !(i + 1).is_multiple_of(pattern)).collect()
        }
        (None, Qwen2 | Qwen3) => {
            let from = keys.get("max_window_layers")?.unwrap_or(28);
            (0..layers).map(|i| i >= from).collect()
        }
        (None, Smollm3) => unturned(keys, architecture, layers)?,
        (None, _) => vec![true; layers],
    };
    Ok(which.contains(&true).then_some((window, which)))
}

/// Which layers know of no positions.
fn unturned(keys: &Keys, architecture: Architecture, layers: usize) -> Result<Vec<bool>> {
    if architecture != Architecture::Smollm3 {
        return Ok(Vec::new());
    }
    // 1 turns, whatever the key's name says.
    let found: Vec<bool> = if let Some(turned) = keys.get::<Vec<u8>>("no_rope_layers")? {
        turned.iter().take(layers).map(|turned| *turned == 0).collect()
    } else {
        let every: usize = keys.get("no_rope_layer_interval")?.unwrap_or(4);
        (0..layers).map(|i| (i + 1).is_multiple_of(every)).collect()
    };
    Ok(if found.contains(&true) { found } else { Vec::new() })
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
    // What the files hold says whether experts are in 4 bits too.
    let double_quant = inner.get("bnb_4bit_use_double_quant")?.unwrap_or(false);
    Ok(Some(Bitsandbytes { double_quant, whole_experts: false }))
}

#[cfg(test)]
mod tests;
