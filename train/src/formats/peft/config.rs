//! adapter_config.json: what of it is LoRA, and what of it is refused.

use regex::Regex;
use serde::de::DeserializeOwned;
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
    /// And which of those have none.
    pub except: Except,
    /// Ranks of single modules, by the end of the name or a regular expression. The first that fits counts.
    pub rank_pattern: Vec<(String, usize)>,
    /// Alphas of single modules, likewise.
    pub alpha_pattern: Vec<(String, f64)>,
    /// What it changes beside what A and B add.
    pub beside: Beside,
}

/// What an adapter changes beside what A and B add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// `modules_to_save`: ends of the names of modules that are saved whole.
    pub modules_to_save: Vec<String>,
    /// `ensure_weight_tying`: a head that is the embedding stays the embedding.
    pub tied: bool,
    /// `use_dora`: lengths of rows are the adapter's.
    pub dora: bool,
}

/// What of the targets has no adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Except {
    /// `exclude_modules`: names as `target_modules` has them, or a regular expression of a whole name.
    pub excluded: Option<Targets>,
    /// `layers_to_transform`: the only layers that have an adapter; none for all.
    pub layers: Vec<usize>,
    /// `layers_pattern`: what the list of layers is called; none for whatever has a number.
    pub layers_pattern: Vec<String>,
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

    /// Whether a module is saved whole, as PEFT finds it: by the end of its name, whatever stands before.
    pub fn saves(&self, module: &str) -> bool {
        self.beside.modules_to_save.iter().any(|name| module.ends_with(name.as_str()))
    }

    /// Whether a module is named, in whole or by its end, and not taken out again, as PEFT's `check_target_module_exists`
    /// has it; which modules a pattern of targets names is left to the tensors.
    pub fn may_name(&self, module: &str) -> Result<bool> {
        let Except { excluded, layers, layers_pattern } = &self.except;
        let out = match excluded {
            None => false,
            Some(Targets::Pattern(whole)) => regex("exclude_modules", &format!("^(?:{whole})$"))?.is_match(module),
            Some(names) => names.may_name(module),
        };
        let whole = matches!(&self.targets, Targets::Names(names) if names.iter().any(|name| name == module));
        if out || !self.targets.may_name(module) || layers.is_empty() || whole {
            return Ok(!out && self.targets.may_name(module));
        }
        let lists = match &layers_pattern[..] {
            [] => vec![r"^.*?\.[^.]*\.(?P<idx>\d+)\.".to_owned()],
            some => some.iter().map(|list| format!(r"^(?:(?:.*?\.)?{list}\.(?P<idx>\d+)\.)")).collect(),
        };
        for list in lists {
            if let Some(found) = regex("layers_pattern", &list)?.captures(module) {
                let layer = found.name("idx").and_then(|number| number.as_str().parse().ok());
                return Ok(layer.is_some_and(|layer| layers.contains(&layer)));
            }
        }
        Ok(false)
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
                return Err(
                    keys.wrong(key, "is set, and is not supported: LoRA upon layers and modules saved whole are")
                );
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
        let Some(named) = targets(keys, "target_modules")? else {
            return Err(keys.wrong("target_modules", "is missing"));
        };
        let config = Self {
            base: keys.get("base_model_name_or_path")?.unwrap_or_default(),
            revision: keys.get("revision")?,
            r: keys.need("r")?,
            alpha: keys.need("lora_alpha")?,
            dropout: keys.get("lora_dropout")?.unwrap_or(0.0),
            rslora: keys.get("use_rslora")?.unwrap_or(false),
            except: Except {
                excluded: targets(keys, "exclude_modules")?,
                layers: one_or_many(keys, "layers_to_transform")?,
                layers_pattern: one_or_many(keys, "layers_pattern")?,
            },
            targets: named,
            rank_pattern: in_order(keys, "rank_pattern")?,
            alpha_pattern: in_order(keys, "alpha_pattern")?,
            beside: Beside {
                modules_to_save: keys.get("modules_to_save")?.unwrap_or_default(),
                tied: keys.get("ensure_weight_tying")?.unwrap_or(false),
                dora: keys.get("use_dora")?.unwrap_or(false),
            },
        };
        if config.beside.modules_to_save.iter().any(String::is_empty) {
            return Err(keys.wrong("modules_to_save", "names a module by nothing"));
        }
        if matches!(config.targets, Targets::Pattern(_)) && !config.except.layers.is_empty() {
            return Err(keys.wrong("layers_to_transform", "goes with a list of `target_modules`, not with a pattern"));
        }
        if config.r == 0 || config.rank_pattern.iter().any(|(_, r)| *r == 0) {
            return Err(keys.wrong("r", "a rank is at least 1"));
        }
        let alphas = [config.alpha].into_iter().chain(config.alpha_pattern.iter().map(|(_, alpha)| *alpha));
        if let Some(alpha) = alphas.into_iter().find(|alpha| alpha.abs() > MOST_ALPHA) {
            return Err(
                keys.wrong("lora_alpha", &format!("{alpha:e} is more than 32 bits hold of an update that it scales"))
            );
        }
        if !(0.0..1.0).contains(&config.dropout) {
            return Err(keys.wrong("lora_dropout", "goes from 0 to below 1"));
        }
        Ok(config)
    }

    /// The text of adapter_config.json.
    pub(super) fn to_json(&self) -> String {
        let targets = |targets: &Targets| match targets {
            Targets::Names(names) => {
                let mut names = names.clone();
                names.sort();
                json!(names)
            }
            Targets::Pattern(pattern) => json!(pattern),
        };
        let named = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
        let mut json = json!({
            "alpha_pattern": {},
            "base_model_name_or_path": named(&self.base),
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layers_to_transform": Some(&self.except.layers).filter(|layers| !layers.is_empty()),
            "lora_alpha": number(self.alpha),
            "lora_dropout": self.dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "peft_version": PEFT_VERSION,
            "r": self.r,
            "rank_pattern": {},
            "revision": self.revision,
            "target_modules": targets(&self.targets),
            "task_type": "CAUSAL_LM",
            "use_dora": self.beside.dora,
            "use_rslora": self.rslora,
        });
        if let Some(excluded) = &self.except.excluded {
            json["exclude_modules"] = targets(excluded);
        }
        if !self.beside.modules_to_save.is_empty() {
            json["modules_to_save"] = json!(self.beside.modules_to_save);
        }
        if self.beside.tied {
            json["ensure_weight_tying"] = json!(true);
        }
        if !self.except.layers_pattern.is_empty() {
            json["layers_pattern"] = json!(self.except.layers_pattern);
        }
        json.sort_all_objects();
        // These are tried in their order.
        json["rank_pattern"] = self.rank_pattern.iter().map(|(key, rank)| (key.clone(), json!(rank))).collect();
        json["alpha_pattern"] = self.alpha_pattern.iter().map(|(key, alpha)| (key.clone(), number(*alpha))).collect();
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

/// Larger scales make infinities of any weights.
const MOST_ALPHA: f64 = 1e30;

/// Keys that make an adapter more than LoRA upon layers and modules saved whole, when they are filled.
const MORE: [&str; 13] = [
    "layer_replication",
    "lora_bias",
    "fan_in_fan_out",
    "trainable_token_indices",
    "target_parameters",
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
fn pattern<T: Copy>(patterns: &[(String, T)], module: &str) -> Result<Option<T>> {
    for (key, value) in patterns {
        let whole = Regex::new(&format!(r"^(?:.*\.)?(?:{key})$"))
            .map_err(|e| Error::Other(format!("{CONFIG}: `{key}` of rank_pattern or alpha_pattern: {e}")))?;
        if whole.is_match(module) {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

fn regex(key: &str, pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|e| Error::Other(format!("{CONFIG}: `{key}`: {e}")))
}

/// The pairs of a table in the order of the file.
fn in_order<T: DeserializeOwned>(keys: &Keys, key: &str) -> Result<Vec<(String, T)>> {
    if !keys.filled(key) {
        return Ok(Vec::new());
    }
    let inner = Keys { file: keys.file, map: keys.map(key)?, under: key };
    inner.map.keys().map(|name| Ok((name.clone(), inner.need(name)?))).collect()
}

/// A list, or the one value that stands for a list of it.
fn one_or_many<T: DeserializeOwned>(keys: &Keys, key: &str) -> Result<Vec<T>> {
    match keys.map.get(key) {
        Some(Value::Array(_)) | None => Ok(keys.get(key)?.unwrap_or_default()),
        Some(Value::String(text)) if text.is_empty() => Ok(Vec::new()),
        Some(_) => Ok(keys.get(key)?.into_iter().collect()),
    }
}

/// Names, or a pattern; none if the key is not filled.
fn targets(keys: &Keys, key: &str) -> Result<Option<Targets>> {
    Ok(match keys.map.get(key) {
        Some(Value::String(pattern)) => Some(Targets::Pattern(pattern.clone())).filter(|_| !pattern.is_empty()),
        _ => keys.get(key)?.map(|mut names: Vec<String>| {
            names.sort();
            Targets::Names(names)
        }),
    })
}

/// PEFT wants whole numbers as whole numbers: 16, not 16.0.
fn number(x: f64) -> Value {
    #[allow(clippy::cast_possible_truncation, reason = "whole and small enough")]
    if x.fract() == 0.0 && x.abs() < 1e15 { json!(x as i64) } else { json!(x) }
}
