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
    /// Which linear layers get an adapter.
    pub targets: Vec<String>,
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

/// Layers that are several of [`LINEARS`] in one matrix, and which.
pub const FUSED: [(&str, &[&str]); 2] =
    [("qkv_proj", &["q_proj", "k_proj", "v_proj"]), ("gate_up_proj", &["gate_proj", "up_proj"])];

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
            targets: LINEARS.map(String::from).to_vec(),
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

    /// What the targets are called in a block of these linear layers: one that is several layers in one is meant where all of
    /// these are named.
    ///
    /// # Errors
    /// A target that the block does not have, or a part of a layer without the others; the message is a sentence's end.
    pub fn targets_in(&self, block: &[&'static str]) -> Result<Vec<String>, String> {
        let named = |name: &str| self.targets.iter().any(|t| t == name);
        let mut found: Vec<String> = Vec::new();
        for target in &self.targets {
            let fused = FUSED.iter().find(|(fused, parts)| block.contains(fused) && parts.contains(&target.as_str()));
            let own: &str = match fused {
                None if block.contains(&target.as_str()) => target,
                None => return Err(format!("`{target}`, and this model's blocks have {}", block.join(", "))),
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
