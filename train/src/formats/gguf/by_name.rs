//! What llama.cpp knows of a tokenizer by the name of its model (`general.name`) alone: in one called Phi-3, special tokens swallow the
//! white space behind them, all but three. Source: the end of `llama_vocab::impl::load` in src/llama-vocab.cpp.

use std::{collections::HashMap, hash::BuildHasher};

use candle_core::quantized::gguf_file::Value;

/// The name that means it.
pub(crate) const MARK: &str = "Phi-3";
/// The key.
pub(crate) const NAME: &str = "general.name";
/// Those that swallow nothing.
const SPARED: [&str; 3] = ["<unk>", "<s>", "<|endoftext|>"];
/// Tokens that llama.cpp asks for without looking whether they are there.
const NEEDED: [&str; 4] = ["</s>", "<unk>", "<s>", "<|endoftext|>"];

/// Whether the model of these keys is called so.
pub(crate) fn is_marked<S: BuildHasher>(keys: &HashMap<String, Value, S>) -> bool {
    let name = keys.get(NAME).and_then(|name| name.to_string().ok()).map(|name| name.to_lowercase());
    name.is_some_and(|name| ["phi-3", "phi3"].iter().any(|mark| name.contains(mark)))
}

/// Whether a special token of such a model swallows what is behind it.
pub(crate) fn swallows(token: &str) -> bool {
    !SPARED.contains(&token)
}

/// Whether special tokens, each with whether it swallows, are what llama.cpp takes those of such a model for.
pub(crate) fn are_those(tokens: &[(&str, bool)]) -> bool {
    let there = |needed: &&str| tokens.iter().any(|(token, _)| token == needed);
    NEEDED.iter().all(there) && tokens.iter().all(|(token, swallowing)| *swallowing == swallows(token))
}

/// White space as C has it.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}
