//! What the families of models do otherwise than Llama, a line each. What differs from model to model of one family is in
//! [`super::config::Config`].

use super::mlp::Activation;

/// A family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2, 3, 3.1, 3.2, SmolLM2 and their like.
    Llama,
    /// As Llama, with a sliding window in its first version.
    Mistral,
    /// As Llama, with a sliding window in some layers.
    Ministral,
    /// As Llama, with a bias on q, k and v.
    Qwen2,
    /// As Llama, with a norm on every head of q and k.
    Qwen3,
    /// As Llama, with layers that know of no positions.
    Smollm3,
    /// As Llama, with numbers that embeddings, scores, branches and logits are multiplied by.
    Granite,
    /// Norms behind attention and MLP instead of before, and on q and k as a whole.
    Olmo2,
    /// q, k and v of one matrix, gate and up of another; Phi-4-mini turns a part of each head.
    Phi3,
    /// Norms before and behind, soft caps, a window in every second layer, GELU.
    Gemma2,
    /// The same with a norm on every head of q and k in place of soft caps, and other frequencies in layers with a window.
    Gemma3,
    /// As Mistral, with experts in the place of the MLP.
    Mixtral,
    /// As Qwen 3, with experts in the place of the MLP, in all layers or some.
    Qwen3Moe,
}

/// What all models of a family have in common.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// `model_type` of config.json.
    pub name: &'static str,
    /// transformers' class.
    pub class: &'static str,
    /// llama.cpp's `general.architecture`.
    pub gguf: &'static str,
    /// Whether llama.cpp turns neighbours of a head, where Hugging Face turns halves.
    pub turns_neighbours: bool,
    /// Names of the norms before and behind the attention, and before and behind the MLP.
    pub norms: [Option<&'static str>; 4],
    /// Norms of q and k.
    pub head_norms: HeadNorms,
    /// What is added to the weights of norms.
    pub norm_offset: f64,
    /// Whether q, k and v are the rows of one matrix, and gate and up of another.
    pub fused: bool,
    /// What layers with experts call them.
    pub experts: Option<ExpertNames>,
    /// Of the gate.
    pub activation: Activation,
    /// Whether NEFTune's noise is part of what embeddings are scaled as.
    pub scales_noise: bool,
    /// What transformers takes where config.json is silent.
    pub defaults: Defaults,
}

/// Names of a layer's experts and their router, as published files have them.
#[derive(Clone, Copy, Debug)]
pub struct ExpertNames {
    /// What is below the layer, with `gate`, the router, and `experts.N` in it.
    pub block: &'static str,
    /// Gate, up and down of each.
    pub linears: [&'static str; 3],
}

/// What transformers takes where config.json is silent.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// Width of a head; none for `hidden_size / num_attention_heads`.
    pub head_dim: Option<usize>,
    /// Added to the mean square in norms.
    pub eps: f64,
    /// Base of the rotary frequencies.
    pub theta: f64,
    /// Whether the head is the embedding.
    pub tied: bool,
}

/// Norms of q and k, before they are turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadNorms {
    /// There are none.
    None,
    /// Every head by itself.
    Each,
    /// All heads together.
    Whole,
}

const USUAL: Defaults = Defaults { head_dim: None, eps: 1e-6, theta: 1e4, tied: false };

const LLAMA: Family = Family {
    name: "llama",
    class: "LlamaForCausalLM",
    gguf: "llama",
    turns_neighbours: true,
    norms: [Some("input_layernorm"), None, Some("post_attention_layernorm"), None],
    head_norms: HeadNorms::None,
    norm_offset: 0.0,
    fused: false,
    experts: None,
    activation: Activation::Silu,
    scales_noise: false,
    defaults: USUAL,
};

/// To llama.cpp Mistral is a Llama.
const MISTRAL: Family = Family { name: "mistral", class: "MistralForCausalLM", ..LLAMA };

const MINISTRAL: Family = Family { name: "ministral", class: "MinistralForCausalLM", ..LLAMA };

const QWEN2: Family =
    Family { name: "qwen2", class: "Qwen2ForCausalLM", gguf: "qwen2", turns_neighbours: false, ..LLAMA };

const QWEN3: Family = Family {
    name: "qwen3",
    class: "Qwen3ForCausalLM",
    gguf: "qwen3",
    head_norms: HeadNorms::Each,
    defaults: Defaults { head_dim: Some(128), ..USUAL },
    ..QWEN2
};

const SMOLLM3: Family = Family {
    name: "smollm3",
    class: "SmolLM3ForCausalLM",
    gguf: "smollm3",
    defaults: Defaults { theta: 2e6, tied: true, ..USUAL },
    ..LLAMA
};

const GRANITE: Family =
    Family { name: "granite", class: "GraniteForCausalLM", gguf: "granite", scales_noise: true, ..LLAMA };

const OLMO2: Family = Family {
    name: "olmo2",
    class: "Olmo2ForCausalLM",
    gguf: "olmo2",
    turns_neighbours: false,
    norms: [None, Some("post_attention_layernorm"), None, Some("post_feedforward_layernorm")],
    head_norms: HeadNorms::Whole,
    defaults: Defaults { eps: 1e-5, ..USUAL },
    ..LLAMA
};

const PHI3: Family = Family {
    name: "phi3",
    class: "Phi3ForCausalLM",
    gguf: "phi3",
    turns_neighbours: false,
    fused: true,
    defaults: Defaults { eps: 1e-5, ..USUAL },
    ..LLAMA
};

const GEMMA2: Family = Family {
    name: "gemma2",
    class: "Gemma2ForCausalLM",
    gguf: "gemma2",
    turns_neighbours: false,
    norms: [
        Some("input_layernorm"),
        Some("post_attention_layernorm"),
        Some("pre_feedforward_layernorm"),
        Some("post_feedforward_layernorm"),
    ],
    norm_offset: 1.0,
    activation: Activation::Gelu,
    defaults: Defaults { head_dim: Some(256), tied: true, ..USUAL },
    ..LLAMA
};

const GEMMA3: Family = Family {
    name: "gemma3_text",
    class: "Gemma3ForCausalLM",
    gguf: "gemma3",
    head_norms: HeadNorms::Each,
    defaults: Defaults { head_dim: Some(256), theta: 1e6, tied: true, ..USUAL },
    ..GEMMA2
};

/// To llama.cpp Mixtral is a Llama with experts.
const MIXTRAL: Family = Family {
    name: "mixtral",
    class: "MixtralForCausalLM",
    experts: Some(ExpertNames { block: "block_sparse_moe", linears: ["w1", "w3", "w2"] }),
    defaults: Defaults { eps: 1e-5, theta: 1e6, ..USUAL },
    ..LLAMA
};

const QWEN3_MOE: Family = Family {
    name: "qwen3_moe",
    class: "Qwen3MoeForCausalLM",
    gguf: "qwen3moe",
    experts: Some(ExpertNames { block: "mlp", linears: ["gate_proj", "up_proj", "down_proj"] }),
    defaults: USUAL,
    ..QWEN3
};

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Llama,
        Self::Mistral,
        Self::Ministral,
        Self::Qwen2,
        Self::Qwen3,
        Self::Smollm3,
        Self::Granite,
        Self::Olmo2,
        Self::Phi3,
        Self::Gemma2,
        Self::Gemma3,
        Self::Mixtral,
        Self::Qwen3Moe,
    ];

    /// What its models have in common.
    pub const fn family(self) -> &'static Family {
        match self {
            Self::Llama => &LLAMA,
            Self::Mistral => &MISTRAL,
            Self::Ministral => &MINISTRAL,
            Self::Qwen2 => &QWEN2,
            Self::Qwen3 => &QWEN3,
            Self::Smollm3 => &SMOLLM3,
            Self::Granite => &GRANITE,
            Self::Olmo2 => &OLMO2,
            Self::Phi3 => &PHI3,
            Self::Gemma2 => &GEMMA2,
            Self::Gemma3 => &GEMMA3,
            Self::Mixtral => &MIXTRAL,
            Self::Qwen3Moe => &QWEN3_MOE,
        }
    }

    /// `model_type` of config.json.
    pub const fn name(self) -> &'static str {
        self.family().name
    }
}
