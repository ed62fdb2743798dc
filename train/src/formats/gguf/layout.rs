//! What llama.cpp calls the tensors of a family, how it wants them to lie, and what of a family it takes for granted.

use candle_core::Tensor;

use crate::model::{
    config::{Architecture, Config},
    family::Family,
};

/// Base of the frequencies of Gemma 3's layers with a window.
pub const GEMMA3_LOCAL_THETA: f64 = 10_000.0;
/// Layers of the largest Gemma 2 and 3, whose scores are scaled by the width of the model's part for a head.
const GEMMA_27B: [(Architecture, usize); 2] = [(Architecture::Gemma2, 46), (Architecture::Gemma3, 62)];

const TOP: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];
const LINEARS: [(&str, &str); 7] = [
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];
/// In the place of the five that they are made of.
const FUSED: [(&str, &str); 4] = [
    ("attn_qkv", "self_attn.qkv_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_up", "mlp.gate_up_proj"),
    ("ffn_down", "mlp.down_proj"),
];
/// By their places, as in [`Family::norms`].
const NORMS: [&str; 4] = ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"];
/// Gate, up and down of all experts of a layer, one after the other in a tensor.
const EXPERTS: [&str; 3] = ["ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"];
/// The router, which is never packed.
pub(crate) const ROUTER: &str = "ffn_gate_inp";
const HEAD_NORMS: [(&str, &str); 2] = [("attn_q_norm", "self_attn.q_norm"), ("attn_k_norm", "self_attn.k_norm")];

/// llama.cpp's and Hugging Face's names of what a block has.
fn block(family: &Family) -> impl Iterator<Item = (&'static str, &'static str)> {
    let linears = if family.fused { &FUSED[..] } else { &LINEARS[..] };
    let norms = NORMS.into_iter().zip(family.norms).filter_map(|(own, name)| Some((own, name?)));
    norms.chain(linears.iter().copied()).chain(HEAD_NORMS)
}

/// Hugging Face's name of a tensor, if it has one.
pub(super) fn hugging_face(own: &str, architecture: Architecture) -> Option<String> {
    let parts: Vec<&str> = own.split('.').collect();
    match parts[..] {
        [own, "weight"] => TOP.iter().find(|(g, _)| *g == own).map(|(_, hf)| format!("{hf}.weight")),
        ["blk", layer, ROUTER, "weight"] => {
            architecture.family().experts.map(|names| format!("model.layers.{layer}.{}.gate.weight", names.block))
        }
        ["blk", layer, own, kind @ ("weight" | "bias")] => block(architecture.family())
            .find(|(g, _)| *g == own)
            .map(|(_, hf)| format!("model.layers.{layer}.{hf}.{kind}")),
        _ => None,
    }
}

/// Hugging Face's names of the tensors that lie one after the other in one, in a layer of so many experts; none if it is another.
pub(super) fn experts(own: &str, architecture: Architecture, count: usize) -> Option<Vec<String>> {
    let names = architecture.family().experts?;
    let ("blk", rest) = own.split_once('.')? else { return None };
    let (layer, rest) = rest.split_once('.')?;
    let place = EXPERTS.iter().position(|known| rest.strip_suffix(".weight") == Some(*known))?;
    let name = |i| format!("model.layers.{layer}.{}.experts.{i}.{}.weight", names.block, names.linears[place]);
    Some((0..count).map(name).collect())
}

/// llama.cpp's name of a tensor that Hugging Face calls `name`, if it has one; that of an expert is in one with all of its layer.
pub(crate) fn own_name(name: &str, architecture: Architecture) -> Option<String> {
    let (module, kind) = name.rsplit_once('.')?;
    if let Some((own, _)) = TOP.iter().find(|(_, hf)| *hf == module) {
        return Some(format!("{own}.{kind}"));
    }
    let (layer, module) = module.strip_prefix("model.layers.")?.split_once('.')?;
    if let Some(names) = architecture.family().experts
        && let Some(below) = module.strip_prefix(names.block).and_then(|below| below.strip_prefix('.'))
    {
        if below == "gate" {
            return Some(format!("blk.{layer}.{ROUTER}.{kind}"));
        }
        if let Some((_, last)) = below.strip_prefix("experts.").and_then(|below| below.split_once('.')) {
            let place = names.linears.iter().position(|name| *name == last)?;
            return Some(format!("blk.{layer}.{}.{kind}", EXPERTS[place]));
        }
    }
    let (own, _) = block(architecture.family()).find(|(_, hf)| *hf == module)?;
    Some(format!("blk.{layer}.{own}.{kind}"))
}

/// The heads of q and k, whose rows llama.cpp wants in another order where it turns neighbours.
fn turned_heads(own: &str, config: &Config) -> Option<usize> {
    match own.split('.').nth(2) {
        _ if !config.architecture.family().turns_neighbours => None,
        Some("attn_q") => Some(config.heads),
        Some("attn_k") => Some(config.kv_heads),
        _ => None,
    }
}

fn is_norm(own: &str) -> bool {
    own.ends_with("norm.weight")
}

/// A tensor of Hugging Face's as the file called `own` has it: rows of a head as pairs, norms with their offset.
pub(crate) fn laid(tensor: Tensor, own: &str, config: &Config) -> candle_core::Result<Tensor> {
    match turned_heads(own, config) {
        Some(heads) => permute(&tensor, heads),
        None if is_norm(own) => offset(tensor, config.architecture.family().norm_offset),
        None => Ok(tensor),
    }
}

/// The same back.
pub(super) fn unlaid(tensor: Tensor, own: &str, config: &Config) -> candle_core::Result<Tensor> {
    match turned_heads(own, config) {
        Some(heads) => unpermute(&tensor, heads),
        None if is_norm(own) => offset(tensor, -config.architecture.family().norm_offset),
        None => Ok(tensor),
    }
}

fn offset(tensor: Tensor, by: f64) -> candle_core::Result<Tensor> {
    if by == 0.0 { Ok(tensor) } else { tensor.to_dtype(candle_core::DType::F32)? + by }
}

/// Within a head the rows (half, pair) become (pair, half), because llama.cpp turns neighbours where Hugging Face turns halves.
/// [heads * head_dim, ...] to the same.
fn permute(tensor: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
    let (rows, rest) = (tensor.dim(0)?, tensor.elem_count() / tensor.dim(0)?.max(1));
    tensor.reshape((heads, 2, rows / heads / 2, rest))?.transpose(1, 2)?.contiguous()?.reshape(tensor.shape())
}

/// Undo [`permute`].
fn unpermute(tensor: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
    let (rows, rest) = (tensor.dim(0)?, tensor.elem_count() / tensor.dim(0)?.max(1));
    let pairs = (rows / heads / 2, heads);
    tensor.reshape((pairs.1, pairs.0, 2, rest))?.transpose(1, 2)?.contiguous()?.reshape(tensor.shape())
}

/// Which layers have the window that a file names: llama.cpp goes by the family alone.
pub(crate) fn sliding(architecture: Architecture, layers: usize) -> Vec<bool> {
    let every = match architecture {
        Architecture::Gemma2 => 2,
        Architecture::Gemma3 => 6,
        _ => return vec![true; layers],
    };
    (0..layers).map(|i| !(i + 1).is_multiple_of(every)).collect()
}

/// Which layers know of no positions, likewise.
pub(crate) fn unturned(architecture: Architecture, layers: usize) -> Vec<bool> {
    let found: Vec<bool> =
        (0..layers).map(|i| architecture == Architecture::Smollm3 && (i + 1).is_multiple_of(4)).collect();
    if found.contains(&true) { found } else { Vec::new() }
}

/// What scores of a Gemma are multiplied by, likewise; of its width, heads and their width.
#[allow(clippy::cast_precision_loss, reason = "widths are small")]
pub(crate) fn gemma_scale(
    architecture: Architecture,
    layers: usize,
    (hidden, heads, head_dim): (usize, usize, usize),
) -> f64 {
    let width = if GEMMA_27B.contains(&(architecture, layers)) { hidden / heads.max(1) } else { head_dim };
    1.0 / (width as f64).sqrt()
}
