//! The configuration of a model: sizes and switches, checked and turned into the list of tensors that its files must hold.
//! It is read from a config.json or from a GGUF file's metadata, in `formats/`.

use std::path::Path;

use candle_core::DType;

pub use super::family::Architecture;
use super::{
    family::HeadNorms,
    rope::Rotary,
    rope_scaling::{self, RopeScaling},
};
use crate::{
    error::{Error, Result},
    kernels::{Heads, Scores},
    recipe::{EMBEDDING, HEAD, is_linear},
};

/// A model's sizes and switches.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Family.
    pub architecture: Architecture,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// What is in the place of the MLP, if the family has experts.
    pub experts: Option<Experts>,
    /// Number of blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head, even; heads x head_dim need not be `hidden_size`.
    pub head_dim: usize,
    /// Elements of a head that turn with the position, the first ones; even.
    pub rotary_dim: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How they are stretched.
    pub rope_scaling: RopeScaling,
    /// Their base in layers with a sliding window, where that is another one; these are not stretched.
    pub rope_local_theta: Option<f64>,
    /// Positions the model is made for.
    pub max_position_embeddings: usize,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// Whether q, k and v have a bias.
    pub attention_bias: bool,
    /// And o.
    pub output_bias: bool,
    /// And the MLP's three.
    pub mlp_bias: bool,
    /// What is multiplied by what, and capped.
    pub scales: Scales,
    /// First token of a text.
    pub bos: Option<u32>,
    /// Tokens that end a text; the first is the one to write.
    pub eos: Vec<u32>,
    /// Type that the weights are said to be stored in.
    pub dtype: Option<DType>,
    /// How many tokens are seen, with the one that looks, by layers that do not see all before them.
    pub sliding_window: Option<usize>,
    /// Which layers those are; empty if none.
    pub sliding: Vec<bool>,
    /// Which layers know of no positions; empty if none.
    pub unturned: Vec<bool>,
    /// If the linear layers are stored in 4 bits.
    pub quantization: Option<Bitsandbytes>,
}

/// MLPs of a layer of which a router chooses some for each token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experts {
    /// How many a layer has.
    pub count: usize,
    /// How many a token goes through.
    pub chosen: usize,
    /// Width inside each.
    pub inner: usize,
    /// Whether the weights of those that are chosen are brought to a sum of 1.
    pub to_one: bool,
    /// Which layers have one MLP all the same; empty if none.
    pub without: Vec<bool>,
}

/// What is multiplied by what, and capped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scales {
    /// Embeddings.
    pub embedding: f64,
    /// Scores of the attention; none for 1 / sqrt(head_dim).
    pub attention: Option<f64>,
    /// What attention and MLP add to the residual stream.
    pub residual: f64,
    /// Logits are divided by this.
    pub logits: f64,
    /// Soft cap of scores.
    pub attention_cap: Option<f64>,
    /// Soft cap of logits.
    pub logit_cap: Option<f64>,
}

impl Default for Scales {
    fn default() -> Self {
        Self { embedding: 1.0, attention: None, residual: 1.0, logits: 1.0, attention_cap: None, logit_cap: None }
    }
}

/// A linear layer of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockLinear {
    /// Below the layer, e.g. `self_attn.q_proj`.
    pub name: String,
    /// Width of what it gives.
    pub out: usize,
    /// Width of what it is given.
    pub input: usize,
    /// Whether it has a bias.
    pub bias: bool,
}

impl BlockLinear {
    /// Its own name, e.g. `q_proj`.
    pub fn last(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }
}

/// `quantization_config` of a bitsandbytes checkpoint in NF4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitsandbytes {
    /// Whether the block scales are quantised too.
    pub double_quant: bool,
    /// Whether experts are in the type that they had: transformers 5 packs linear layers, and its experts are none.
    pub whole_experts: bool,
}

impl Config {
    /// Check that the sizes fit together; `file` is for messages.
    ///
    /// # Errors
    /// They do not; the message names file and key.
    pub fn check(&self, file: &Path) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        let wrong = |key: &str, why: String| Err(Error::model(file, format!("`{key}`: {why}")));
        for (key, size) in sizes {
            // Nothing real is near; products of two stay far from overflow.
            if !(1..=1 << 28).contains(&size) {
                return wrong(key, format!("{size} is not a size"));
            }
        }
        // Nor is a whole layer's width.
        for (key, heads) in [("num_attention_heads", self.heads), ("num_key_value_heads", self.kv_heads)] {
            if heads * self.head_dim > 1 << 28 {
                return wrong(key, format!("{heads} heads of {} are too wide", self.head_dim));
            }
        }
        if self.layers > 10_000 {
            return wrong("num_hidden_layers", format!("{} layers are too many", self.layers));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let why = format!("{} key-value heads do not divide {} heads", self.kv_heads, self.heads);
            return wrong("num_key_value_heads", why);
        }
        if !self.head_dim.is_multiple_of(2) {
            return wrong("head_dim", format!("{} is odd; heads are turned pair by pair", self.head_dim));
        }
        if !self.rotary_dim.is_multiple_of(2) || !(2..=self.head_dim).contains(&self.rotary_dim) {
            let why =
                format!("{} of {} elements of a head cannot be turned pair by pair", self.rotary_dim, self.head_dim);
            return wrong("partial_rotary_factor", why);
        }
        for (key, list) in [("layer_types", &self.sliding), ("no_rope_layers", &self.unturned)] {
            if !list.is_empty() && list.len() != self.layers {
                return wrong(key, format!("names {} layers of {}", list.len(), self.layers));
            }
        }
        let Scales { embedding, attention, residual, logits, attention_cap, logit_cap } = self.scales;
        let numbers = [
            ("rms_norm_eps", Some(self.rms_norm_eps)),
            ("rope_theta", Some(self.rope_theta)),
            ("rope_local_base_freq", self.rope_local_theta),
            ("embedding_multiplier", Some(embedding)),
            ("attention_multiplier", attention),
            ("residual_multiplier", Some(residual)),
            ("logits_scaling", Some(logits)),
            ("attn_logit_softcapping", attention_cap),
            ("final_logit_softcapping", logit_cap),
        ];
        for (key, value) in numbers {
            if let Some(value) = value.filter(|value| !(*value > 0.0 && value.is_finite())) {
                return wrong(key, format!("{value} is not above 0"));
            }
        }
        if let Some(Experts { count, chosen, inner, without, .. }) = &self.experts {
            // Far more than any has: sizes are multiplied with each other.
            for (key, size, most) in [
                ("num_experts", *count, 1 << 16),
                ("num_experts_per_tok", *chosen, *count),
                ("moe_intermediate_size", *inner, 1 << 28),
            ] {
                if !(1..=most).contains(&size) {
                    return wrong(key, format!("{size} is not from 1 to {most}"));
                }
            }
            if !without.is_empty() && without.len() != self.layers {
                return wrong("mlp_only_layers", format!("names {} layers of {}", without.len(), self.layers));
            }
        }
        if self.sliding_window == Some(0) {
            return wrong("sliding_window", "no token sees itself in a window of 0".into());
        }
        self.rope_scaling.check(file, self.rotary_dim / 2)
    }

    /// Rotary frequencies in radians per position, [rotary_dim / 2].
    pub fn inv_freq(&self) -> Vec<f64> {
        let frequencies = rope_scaling::inv_freq(self.rope_theta, self.rotary_dim, &self.rope_scaling);
        frequencies.into_iter().map(f64::from).collect()
    }

    /// Its rotary embeddings; [`Config::turned`] says which layer has which.
    pub fn rotaries(&self) -> Vec<Rotary> {
        let rotary = |theta, scaling| Rotary::new(theta, self.rotary_dim, scaling, self.max_position_embeddings);
        let local = self.rope_local_theta.map(|theta| rotary(theta, &RopeScaling::None));
        std::iter::once(rotary(self.rope_theta, &self.rope_scaling)).chain(local).collect()
    }

    /// The rotary embedding of a layer, if it knows of positions.
    pub fn turned(&self, layer: usize) -> Option<usize> {
        let local = self.rope_local_theta.is_some() && self.slides(layer);
        (!self.unturned.get(layer).is_some_and(|unturned| *unturned)).then_some(usize::from(local))
    }

    fn slides(&self, layer: usize) -> bool {
        self.sliding.get(layer).is_some_and(|slides| *slides)
    }

    /// The heads of a layer.
    pub fn heads(&self, layer: usize) -> Heads {
        let scores = Scores {
            scale: self.scales.attention,
            cap: self.scales.attention_cap,
            window: self.sliding_window.filter(|_| self.slides(layer)),
        };
        Heads { q: self.heads, kv: self.kv_heads, dim: self.head_dim, scores }
    }

    /// Widths of q's and k's norms, if there are any.
    pub fn head_norms(&self) -> Option<[usize; 2]> {
        match self.architecture.family().head_norms {
            HeadNorms::None => None,
            HeadNorms::Each => Some([self.head_dim; 2]),
            HeadNorms::Whole => Some([self.heads * self.head_dim, self.kv_heads * self.head_dim]),
        }
    }

    /// The experts of a layer, if it has any.
    pub fn experts(&self, layer: usize) -> Option<&Experts> {
        self.experts.as_ref().filter(|experts| !experts.without.get(layer).is_some_and(|without| *without))
    }

    /// What a layer's router is called, below the layer; nothing in a family without experts.
    pub fn router(&self) -> Option<String> {
        self.architecture.family().experts.map(|names| format!("{}.gate", names.block))
    }

    /// The linear layers of a block: those of q, k and v, o, those of gate and up, down; of experts the last three of each.
    pub fn linears(&self, layer: usize) -> Vec<BlockLinear> {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let (q, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let linear = |name: &str, out, input, bias| BlockLinear { name: name.to_owned(), out, input, bias };
        let mut all = if self.architecture.family().fused {
            vec![linear("self_attn.qkv_proj", q + 2 * kv, hidden, self.attention_bias)]
        } else {
            [("self_attn.q_proj", q), ("self_attn.k_proj", kv), ("self_attn.v_proj", kv)]
                .map(|(name, out)| linear(name, out, hidden, self.attention_bias))
                .to_vec()
        };
        all.push(linear("self_attn.o_proj", hidden, q, self.output_bias));
        if let Some((Experts { count, inner, .. }, names)) = self.experts(layer).zip(self.architecture.family().experts)
        {
            let [gate, up, down] = names.linears;
            for i in 0..*count {
                let of = |name, out, input| {
                    linear(&format!("{}.experts.{i}.{name}", names.block), out, input, self.mlp_bias)
                };
                all.extend([of(gate, *inner, hidden), of(up, *inner, hidden), of(down, hidden, *inner)]);
            }
            return all;
        }
        if self.architecture.family().fused {
            all.push(linear("mlp.gate_up_proj", 2 * inner, hidden, self.mlp_bias));
        } else {
            all.extend(["mlp.gate_proj", "mlp.up_proj"].map(|name| linear(name, inner, hidden, self.mlp_bias)));
        }
        all.push(linear("mlp.down_proj", hidden, inner, self.mlp_bias));
        all
    }

    /// What an adapter calls the linear layers of the blocks, each name once.
    pub fn targets(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let with = (0..self.layers).find(|layer| self.experts(*layer).is_some());
        let without = (0..self.layers).find(|layer| self.experts(*layer).is_none());
        for linear in [without, with].into_iter().flatten().flat_map(|layer| self.linears(layer)) {
            if !names.iter().any(|name| name == linear.last()) {
                names.push(linear.last().to_owned());
            }
        }
        names
    }

    /// Numbers of the model, and those of them that one token goes through.
    pub fn parameters(&self) -> [u64; 2] {
        let all: u64 = self.shapes().iter().map(|(_, shape)| shape.iter().product::<usize>() as u64).sum();
        let Some(experts) = &self.experts else { return [all; 2] };
        let with = (0..self.layers).filter(|layer| self.experts(*layer).is_some()).count();
        let asleep = (experts.count - experts.chosen) * 3 * experts.inner * self.hidden_size;
        [all, all - (with * asleep) as u64]
    }

    /// Modules that can be trained whole beside an adapter, and their shapes: embedding, head, norms.
    pub fn savable(&self) -> Vec<(String, Vec<usize>)> {
        let table = vec![self.vocab_size, self.hidden_size];
        let modules = self.shapes().into_iter().filter_map(|(name, shape)| {
            let module = name.strip_suffix(".weight")?;
            (module.ends_with("norm") || module == EMBEDDING).then(|| (module.to_owned(), shape))
        });
        modules.chain([(HEAD.to_owned(), table)]).collect()
    }

    /// Every tensor that the files must hold, by its Hugging Face name, in the order of loading. A tied head is
    /// not among them.
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let hidden = self.hidden_size;
        let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![self.vocab_size, hidden])];
        let [before, after, mlp_before, mlp_after] = self.architecture.family().norms;
        for layer in 0..self.layers {
            let mut add = |name: &str, shape: Vec<usize>| shapes.push((format!("model.layers.{layer}.{name}"), shape));
            let norm = |name: &&str| (format!("{name}.weight"), vec![hidden]);
            let router = self.experts(layer).zip(self.router());
            let router = router.map(|(experts, name)| (format!("{name}.weight"), vec![experts.count, hidden]));
            let linear = |linear: BlockLinear| {
                let bias = linear.bias.then(|| (format!("{}.bias", linear.name), vec![linear.out]));
                std::iter::once((format!("{}.weight", linear.name), vec![linear.out, linear.input])).chain(bias)
            };
            let (attention, mlp): (Vec<_>, Vec<_>) =
                self.linears(layer).into_iter().partition(|l| l.name.starts_with("self_attn"));
            let of_heads = self.head_norms().into_iter().flat_map(|[q, k]| [("q_norm", q), ("k_norm", k)]);
            let of_heads = of_heads.map(|(name, width)| (format!("self_attn.{name}.weight"), vec![width]));
            before
                .iter()
                .map(norm)
                .chain(attention.into_iter().flat_map(linear))
                .chain(of_heads)
                .chain(after.iter().chain(&mlp_before).map(norm))
                .chain(router)
                .chain(mlp.into_iter().flat_map(linear))
                .chain(mlp_after.iter().map(norm))
                .for_each(|(name, shape)| add(&name, shape));
        }
        shapes.push(("model.norm.weight".into(), vec![hidden]));
        if !self.tie_word_embeddings {
            shapes.push(("lm_head.weight".into(), vec![self.vocab_size, hidden]));
        }
        shapes
    }
}

/// Whether a module or a tensor is of one of a layer's experts.
pub(crate) fn is_expert(name: &str) -> bool {
    name.contains(".experts.")
}

/// Whether a tensor is the weight of one of a block's linear layers.
pub(crate) fn is_block_linear(name: &str) -> bool {
    let module = name.strip_suffix(".weight").and_then(|module| module.rsplit_once('.'));
    module.is_some_and(|(_, last)| is_linear(last))
}
