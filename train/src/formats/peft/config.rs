//! adapter_config.json: what of it is LoRA, and what of it is refused.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Value, json};

use crate::{
    error::{Error, Result},
    formats::config_json::Keys,
};

/// Name of the file.
pub const CONFIG: &str = "adapter_config.json";
/// Version of PEFT whose format is written, and which the oracle loads it with.
pub const PEFT_VERSION: &str = "0.21.2";

/// What adapter_config.json says.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// Name or path of the base model; empty if it is not said.
    pub base: String,
    /// Its commit or tag.
    pub revision: Option<String>,
    /// Rank.
    pub r: usize,
    /// The update is scaled by alpha / r, or alpha / sqrt(r) with `rslora`.
    pub alpha: f64,
    /// Dropout it was trained with.
    pub dropout: f64,
    /// Rank-stabilised scaling.
    pub rslora: bool,
    /// Which modules have an adapter.
    pub targets: Targets,
    /// Ranks of single modules, by the end of the name or a regular expression.
    pub rank_pattern: BTreeMap<String, usize>,
    /// Alphas of single modules, likewise.
    pub alpha_pattern: BTreeMap<String, f64>,
}

/// `target_modules`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Ends of names, sorted.
    Names(Vec<String>),
    /// A regular expression or `all-linear`; the tensors say what it stands for.
    Pattern(String),
}

impl AdapterConfig {
    /// Rank of a module.
    pub fn rank_of(&self, module: &str) -> Result<usize> {
        Ok(pattern(&self.rank_pattern, module)?.unwrap_or(self.r))
    }

    /// Alpha of a module.
    pub fn alpha_of(&self, module: &str) -> Result<f64> {
        Ok(pattern(&self.alpha_pattern, module)?.unwrap_or(self.alpha))
    }

    /// What B A x of a module is multiplied by.
    #[allow(clippy::cast_precision_loss, reason = "ranks are small")]
    pub fn scale_of(&self, module: &str) -> Result<f64> {
        let r = self.rank_of(module)? as f64;
        Ok(self.alpha_of(module)? / if self.rslora { r.sqrt() } else { r })
    }

    /// From the table of an adapter_config.json.
    ///
    /// # Errors
    /// A key is missing or wrong, or it is more than LoRA; the message names file and key.
    pub(super) fn parse(keys: &Keys) -> Result<Self> {
        for (key, wanted) in [("peft_type", "LORA"), ("task_type", "CAUSAL_LM"), ("bias", "none")] {
            if let Some(found) = keys.get::<String>(key)?.filter(|found| found != wanted) {
                return Err(keys.wrong(key, &format!("`{found}` is not supported, only `{wanted}`")));
            }
        }
        for key in MORE {
            let off = match keys.map.get(key) {
                None | Some(Value::Null | Value::Bool(false)) => true,
                Some(Value::Array(list)) => list.is_empty(),
                Some(Value::Object(table)) => table.is_empty(),
                Some(_) => false,
            };
            if !off {
                return Err(keys.wrong(key, "is set, and only plain LoRA upon linear layers is supported"));
            }
        }
        // PiSSA, OLoRA, CorDA and LoftQ change the base model as well.
        if let Some(init) = keys.map.get("init_lora_weights").and_then(Value::as_str)
            && !["gaussian", "orthogonal", "eva"].contains(&init)
        {
            let why = format!(
                "`{init}` goes with a base model that was changed: convert it to plain LoRA in PEFT, with \
             save_pretrained(path_initial_model_for_weight_conversion = ...)"
            );
            return Err(keys.wrong("init_lora_weights", &why));
        }
        let targets = if let Some(Value::String(pattern)) = keys.map.get("target_modules") {
            Targets::Pattern(pattern.clone())
        } else {
            let mut names: Vec<String> = keys.need("target_modules")?;
            names.sort();
            Targets::Names(names)
        };
        let config = Self {
            base: keys.get("base_model_name_or_path")?.unwrap_or_default(),
            revision: keys.get("revision")?,
            r: keys.need("r")?,
            alpha: keys.need("lora_alpha")?,
            dropout: keys.get("lora_dropout")?.unwrap_or(0.0),
            rslora: keys.get("use_rslora")?.unwrap_or(false),
            targets,
            rank_pattern: keys.get("rank_pattern")?.unwrap_or_default(),
            alpha_pattern: keys.get("alpha_pattern")?.unwrap_or_default(),
        };
        if config.r == 0 || config.rank_pattern.values().any(|r| *r == 0) {
            return Err(keys.wrong("r", "a rank is at least 1"));
        }
        if !(0.0..1.0).contains(&config.dropout) {
            return Err(keys.wrong("lora_dropout", "goes from 0 to below 1"));
        }
        Ok(config)
    }

    /// The text of adapter_config.json.
    pub(super) fn to_json(&self) -> String {
        let targets = match &self.targets {
            Targets::Names(names) => {
                let mut names = names.clone();
                names.sort();
                json!(names)
            }
            Targets::Pattern(pattern) => json!(pattern),
        };
        let named = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
        let alphas: BTreeMap<_, _> = self.alpha_pattern.iter().map(|(key, alpha)| (key, number(*alpha))).collect();
        let mut json = json!({
            "alpha_pattern": alphas,
            "base_model_name_or_path": named(&self.base),
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layers_to_transform": null,
            "lora_alpha": number(self.alpha),
            "lora_dropout": self.dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "peft_version": PEFT_VERSION,
            "r": self.r,
            "rank_pattern": self.rank_pattern,
            "revision": self.revision,
            "target_modules": targets,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": self.rslora,
        });
        // serde_json's order of keys depends on what else is built; the bytes must not.
        json.sort_all_objects();
        format!("{json:#}\n")
    }
}

impl Targets {
    /// Whether a module is named, in whole or by its end; of a pattern that is left to the tensors.
    pub fn may_name(&self, module: &str) -> bool {
        let ends = |name: &String| module.strip_suffix(name.as_str()).is_some_and(|r| r.is_empty() || r.ends_with('.'));
        match self {
            Self::Names(names) => names.iter().any(ends),
            Self::Pattern(_) => true,
        }
    }
}

/// Keys that make an adapter more than LoRA upon linear layers, when they are filled.
const MORE: [&str; 17] = [
    "modules_to_save",
    "layers_to_transform",
    "layer_replication",
    "use_dora",
    "lora_bias",
    "fan_in_fan_out",
    "trainable_token_indices",
    "target_parameters",
    "exclude_modules",
    "alora_invocation_tokens",
    "use_qalora",
    "use_bdlora",
    "megatron_config",
    "arrow_config",
    "velora_config",
    "monteclora_config",
    "kasa_config",
];

/// The value of the first key that matches the end of the module's name, as PEFT's `get_pattern_key` finds it.
fn pattern<T: Copy>(patterns: &BTreeMap<String, T>, module: &str) -> Result<Option<T>> {
    for (key, value) in patterns {
        let regex = Regex::new(&format!(r"^(?:.*\.)?(?:{key})$"))
            .map_err(|e| Error::Other(format!("{CONFIG}: `{key}` of rank_pattern or alpha_pattern: {e}")))?;
        if regex.is_match(module) {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

/// PEFT wants whole numbers as whole numbers: 16, not 16.0.
fn number(x: f64) -> Value {
    #[allow(clippy::cast_possible_truncation, reason = "whole and small enough")]
    if x.fract() == 0.0 && x.abs() < 1e15 { json!(x as i64) } else { json!(x) }
}
