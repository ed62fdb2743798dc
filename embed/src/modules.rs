//! What the files of sentence-transformers say beside the encoder: how many tokens are read, what stands before a text, how its
//! tokens become one vector, and dense layers behind that.

use serde_json::{Map, Value};
use setaccio_base::{Error, Result};

use crate::{
    folder::Folder,
    math::{add_rows, tanh},
    product::{Panels, multiply},
    tensors::Tensors,
};

/// What follows a dense layer.
type Activation = fn(f64) -> f64;

/// A linear layer, whose weights have a row for each value that it gives.
pub struct Dense {
    weights: Panels,
    bias: Vec<f32>,
}

impl Dense {
    /// That of this name, which takes and gives so many values.
    ///
    /// # Errors
    /// It is not there, or of other sizes.
    pub fn new(tensors: &Tensors, name: &str, [inner, outer]: [usize; 2], biased: bool) -> Result<Self> {
        let weights = tensors.values(&format!("{name}.weight"), &[outer, inner])?;
        let bias = if biased { tensors.values(&format!("{name}.bias"), &[outer])? } else { vec![0.0; outer] };
        Ok(Self { weights: Panels::from_columns(&weights, inner), bias })
    }

    /// What it makes of rows.
    pub fn apply(&self, rows: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; rows.len() / self.weights.depth().max(1) * self.weights.columns()];
        multiply(rows, &self.weights, &mut out);
        add_rows(&mut out, &self.bias);
        out
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> u64 {
        4 * (self.weights.depth() * self.weights.columns()) as u64
    }
}

/// What the files of sentence-transformers say of what comes before and behind the encoder.
pub struct Modules {
    first_token: bool,
    dense: Vec<(Dense, Option<Activation>)>,
    /// Values of a vector.
    pub dimensions: usize,
    /// Tokens that are read of a text.
    pub most: Option<usize>,
    /// What stands before each text.
    pub prompt: String,
    /// Whether texts are read in lower case.
    pub lowercase: bool,
}

impl Modules {
    /// Of an encoder that nothing is known of.
    #[cfg(feature = "onnx")]
    pub fn of_nothing() -> Self {
        let (dense, prompt) = (Vec::new(), String::new());
        Self { first_token: false, dense, dimensions: 0, most: None, prompt, lowercase: false }
    }

    /// Those of a folder whose encoder has this width.
    pub fn read(folder: &mut Folder, width: usize) -> Result<Self> {
        let path = folder.path.clone();
        let wrong = |why: String| Error::damaged(&path, why);
        let mut modules = Self {
            first_token: false,
            dense: Vec::new(),
            dimensions: width,
            most: None,
            prompt: String::new(),
            lowercase: false,
        };
        let sentence = folder.json("sentence_bert_config.json")?.unwrap_or_default();
        modules.most = sentence.get("max_seq_length").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        modules.lowercase = sentence.get("do_lower_case").and_then(Value::as_bool).unwrap_or(false);
        if modules.most.is_none() {
            let tokenizer = folder.json("tokenizer_config.json")?.unwrap_or_default();
            // Where nothing is known a number of 30 digits stands.
            let most = tokenizer.get("model_max_length").and_then(Value::as_u64);
            modules.most = most.and_then(|n| usize::try_from(n).ok());
        }
        let whole = folder.json("config_sentence_transformers.json")?.unwrap_or_default();
        if let Some(name) = whole.get("default_prompt_name").and_then(Value::as_str) {
            let prompt = whole.get("prompts").and_then(|prompts| prompts.get(name)).and_then(Value::as_str);
            modules.prompt = prompt.unwrap_or_default().into();
        }
        let Some(list) = folder.value("modules.json")? else { return Ok(modules) };
        let list = list.as_array().filter(|list| !list.is_empty());
        let list = list.ok_or_else(|| wrong("modules.json is no list of modules".into()))?;
        let (mut pools, mut done) = (false, false);
        for module in list {
            let text = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
            let (place, kind) = (text("path"), text("type").rsplit('.').next().unwrap_or_default());
            let config = |folder: &mut Folder| {
                let config = folder.json(&format!("{place}/config.json"))?;
                config.ok_or_else(|| wrong(format!("modules.json names {place}, and {place}/config.json is not there")))
            };
            // Vectors are brought to length 1 in the end, and not on the way.
            if std::mem::replace(&mut done, kind == "Normalize") {
                return Err(wrong(format!("modules.json has a `{kind}` behind `Normalize`, which is not known")));
            }
            match kind {
                "Transformer" | "Normalize" => {}
                "Pooling" => {
                    let config = config(folder)?;
                    modules.first_token = first_token(&config).map_err(&wrong)?;
                    pools = true;
                    if !modules.prompt.is_empty() && config.get("include_prompt") == Some(&Value::Bool(false)) {
                        let why =
                            format!("{place} leaves the default prompt out (`include_prompt`), which is not known");
                        return Err(wrong(why));
                    }
                }
                "Dense" => {
                    let config = config(folder)?;
                    let size =
                        |key: &str| config.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
                    let (Some(inner), Some(outer)) = (size("in_features"), size("out_features")) else {
                        return Err(wrong(format!("{place}/config.json does not say how large its layer is")));
                    };
                    if inner != modules.dimensions {
                        return Err(wrong(format!("{place} takes {inner} values, and gets {}", modules.dimensions)));
                    }
                    let activation = config.get("activation_function").and_then(Value::as_str).unwrap_or_default();
                    let activation: Option<Activation> = match activation.rsplit('.').next().unwrap_or_default() {
                        "Tanh" => Some(tanh),
                        "Identity" => None,
                        other => {
                            return Err(wrong(format!(
                                "{place} has the activation `{other}`; known are Tanh and Identity"
                            )));
                        }
                    };
                    let tensors = Tensors::read_file(folder, &path.join(place).join("model.safetensors"))?;
                    let biased = config.get("bias").and_then(Value::as_bool).unwrap_or(true);
                    modules.dense.push((Dense::new(&tensors, "linear", [inner, outer], biased)?, activation));
                    modules.dimensions = outer;
                }
                other => return Err(wrong(format!("modules.json names a `{other}`, which is not known"))),
            }
        }
        if !pools {
            return Err(wrong("modules.json names no `Pooling`, without which a text has no vector".into()));
        }
        Ok(modules)
    }

    /// The vector of a text, of those of its tokens, each of this width: their mean, or the first, and what dense layers make of it.
    pub fn pool(&self, x: &[f32], width: usize) -> Vec<f32> {
        let mut pooled = x[..width].to_vec();
        if !self.first_token {
            for row in x[width..].chunks_exact(width) {
                add_rows(&mut pooled, row);
            }
            #[allow(clippy::cast_precision_loss, reason = "far below 2^24")]
            let n = (x.len() / width) as f32;
            for value in &mut pooled {
                *value /= n;
            }
        }
        for (dense, activation) in &self.dense {
            pooled = dense.apply(&pooled);
            if let Some(activation) = activation {
                #[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
                for value in &mut pooled {
                    *value = activation(f64::from(*value)) as f32;
                }
            }
        }
        pooled
    }
}

/// Whether the first token stands for the text, and not the mean of all.
fn first_token(config: &Map<String, Value>) -> std::result::Result<bool, String> {
    if let Some(mode) = config.get("pooling_mode").and_then(Value::as_str) {
        return match mode {
            "mean" => Ok(false),
            "cls" => Ok(true),
            other => Err(format!("pools by `{other}`; known are `mean` and `cls`")),
        };
    }
    let modes: Vec<&str> = config.iter().filter(|(_, on)| **on == true).map(|(key, _)| key.as_str()).collect();
    match modes.iter().copied().filter(|key| key.starts_with("pooling_mode_")).collect::<Vec<_>>()[..] {
        ["pooling_mode_mean_tokens"] => Ok(false),
        ["pooling_mode_cls_token"] => Ok(true),
        ref others => Err(format!("pools by {}; known are mean and cls alone", others.join(" and "))),
    }
}
