//! `[lora]`: the adapter.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[lora]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Lora {
    /// Rank.
    pub r: usize,
    /// The update is scaled by alpha / r, or alpha / sqrt(r) with `rslora`.
    pub alpha: f64,
    /// Share of the adapter's inputs set to zero while training.
    pub dropout: f64,
    /// Rank-stabilised scaling.
    pub rslora: bool,
    /// Train the lengths of the rows of each adapted weight too (DoRA, arXiv 2402.09353); on a CPU, upon linear layers, without
    /// dropout.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub use_dora: bool,
    /// Which layers get an adapter: linear layers of the blocks, `embed_tokens`, `lm_head`.
    pub targets: Vec<String>,
    /// What is trained whole beside the adapter, in f32, and saved with it: `embed_tokens`, `lm_head`, or norms by the end of
    /// their names, as PEFT matches it (`norm` is every norm, `model.norm` the last one).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules_to_save: Vec<String>,
    /// `kaiming` (A uniform, B zero) or `pissa` (the principal components of the weight).
    pub init: Init,
    /// Type of A and B: `f32` or `bf16`.
    pub dtype: AdapterType,
    /// Folder of an adapter to go on with, of this rank, scale and targets; empty starts a new one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub adapter: String,
}

/// How an adapter starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// A Kaiming-uniform with a = sqrt 5, B zero: the model starts as it was.
    #[default]
    Kaiming,
    /// Principal singular values and vectors of the weight, taken out of the base (PiSSA, arXiv 2404.02948).
    Pissa,
}

/// Type that A and B are kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdapterType {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits; the optimiser still computes in 32.
    Bf16,
}

/// Every linear layer of a block, by its Hugging Face name, where each has a matrix of its own.
pub const LINEARS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Layers that are several of [`LINEARS`] in one matrix, or one of them by another name, and which.
pub const FUSED: [(&str, &[&str]); 5] = [
    ("qkv_proj", &["q_proj", "k_proj", "v_proj"]),
    ("gate_up_proj", &["gate_proj", "up_proj"]),
    ("w1", &["gate_proj"]),
    ("w3", &["up_proj"]),
    ("w2", &["down_proj"]),
];

/// The module of the embedding.
pub const EMBEDDING: &str = "model.embed_tokens";
/// And that of the head.
pub const HEAD: &str = "lm_head";
/// What these two are called in `lora.targets`.
pub const TABLES: [&str; 2] = ["embed_tokens", "lm_head"];

/// Whether a block may have a linear layer of that name.
pub fn is_linear(name: &str) -> bool {
    LINEARS.contains(&name) || FUSED.iter().any(|(fused, _)| *fused == name)
}

impl Default for Lora {
    fn default() -> Self {
        Self {
            r: 16,
            alpha: 16.0,
            dropout: 0.0,
            rslora: false,
            use_dora: false,
            targets: LINEARS.map(String::from).to_vec(),
            modules_to_save: Vec::new(),
            init: Init::Kaiming,
            dtype: AdapterType::F32,
            adapter: String::new(),
        }
    }
}

impl Lora {
    /// Whether the layer called `module`, e.g. `model.layers.0.self_attn.q_proj`, gets an adapter: it is named, or all that it is
    /// made of.
    pub fn covers(&self, module: &str) -> bool {
        let last = module.rsplit('.').next().unwrap_or(module);
        let named = |name: &str| self.targets.iter().any(|t| t == name);
        let fused = FUSED.iter().find(|(fused, _)| *fused == last);
        named(last) || fused.is_some_and(|(_, parts)| parts.iter().all(|part| named(part)))
    }

    /// Whether the module of that whole name is trained whole beside the adapter, as PEFT finds it: by the end of its name.
    pub fn saves(&self, module: &str) -> bool {
        self.modules_to_save.iter().any(|name| module.ends_with(name.as_str()))
    }

    /// Whether it has to do with the embedding or the head.
    pub fn touches_tables(&self) -> bool {
        [EMBEDDING, HEAD].iter().any(|module| self.covers(module) || self.saves(module))
    }

    /// Whether something of the model beside the adapter changes.
    pub fn saves_any(&self) -> bool {
        !self.modules_to_save.is_empty()
    }

    /// The same for a model whose head is its embedding: what is said of either is said of both.
    pub fn tie(&mut self) {
        for names in [&mut self.targets, &mut self.modules_to_save] {
            if let Some(at) = names.iter().position(|name| name == TABLES[1]) {
                names[at] = TABLES[0].into();
            }
            let mut seen = std::collections::BTreeSet::new();
            names.retain(|name| seen.insert(name.clone()));
        }
    }

    /// Check that `lora.modules_to_save` names modules of a model that can be trained whole, and none that has an adapter.
    ///
    /// # Errors
    /// The message is a sentence's end.
    pub fn check_saved(&self, savable: &[String]) -> Result<(), String> {
        for name in &self.modules_to_save {
            let named = |module: &&String| {
                module.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            };
            if name.is_empty() || !savable.iter().any(|module| named(&module)) {
                let mut ends: Vec<&str> = savable.iter().map(|m| m.rsplit('.').next().unwrap_or(m)).collect();
                ends.sort_unstable();
                ends.dedup();
                return Err(format!("`{name}`, and what this model can train whole is {}", ends.join(", ")));
            }
        }
        match [EMBEDDING, HEAD].into_iter().find(|module| self.covers(module) && self.saves(module)) {
            Some(both) => Err(format!("`{both}`, which `lora.targets` names too: keep one")),
            None => Ok(()),
        }
    }

    /// What the targets are called in a block of these linear layers: one that is several layers in one is meant where all of
    /// these are named.
    ///
    /// # Errors
    /// A target that the block does not have, or a part of a layer without the others; the message is a sentence's end.
    pub fn targets_in(&self, block: &[impl AsRef<str>]) -> Result<Vec<String>, String> {
        let named = |name: &str| self.targets.iter().any(|t| t == name);
        let has = |name: &str| block.iter().any(|own| own.as_ref() == name);
        let mut found: Vec<String> = Vec::new();
        for target in &self.targets {
            let fused = FUSED.iter().find(|(fused, parts)| has(fused) && parts.contains(&target.as_str()));
            let own: &str = match fused {
                None if TABLES.contains(&target.as_str()) => target,
                None if has(target) => target,
                None => {
                    let all: Vec<&str> = block.iter().map(AsRef::as_ref).collect();
                    return Err(format!("`{target}`, and this model's blocks have {}", all.join(", ")));
                }
                Some((fused, parts)) => {
                    if let Some(missing) = parts.iter().find(|part| !named(part) && !named(fused)) {
                        let why = "is one matrix with it in this model";
                        return Err(format!("`{target}` without `{missing}`, which {why}: name `{fused}`"));
                    }
                    fused
                }
            };
            if !found.iter().any(|f| f == own) {
                found.push(own.to_owned());
            }
        }
        Ok(found)
    }

    /// What B A x is multiplied by.
    #[allow(clippy::cast_precision_loss, reason = "ranks are small")]
    pub fn scale(&self) -> f64 {
        let r = self.r as f64;
        self.alpha / if self.rslora { r.sqrt() } else { r }
    }
}
