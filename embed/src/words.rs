//! What models ask of a tokenizer beside tokens.

use serde_json::Value;
use tokenizers::Tokenizer;

/// What a tokenizer says of its tokens.
pub struct Words {
    /// One more than the largest number of a token.
    pub tokens: usize,
    /// Half of the tokens have no more characters.
    pub median_characters: usize,
    /// The token that stands for unknown words.
    pub unknown: Option<u32>,
}

impl Words {
    /// Of a tokenizer, whose file is `json`.
    pub fn new(tokenizer: &Tokenizer, json: &[u8]) -> Self {
        let vocabulary = tokenizer.get_vocab(true);
        let mut lengths: Vec<usize> = vocabulary.keys().map(|token| token.chars().count()).collect();
        lengths.sort_unstable();
        let median_characters = match lengths.len() {
            0 => 0,
            n if n % 2 == 1 => lengths[n / 2],
            n => usize::midpoint(lengths[n / 2 - 1], lengths[n / 2]),
        };
        let file: Value = serde_json::from_slice(json).unwrap_or_default();
        let unknown = match &file["model"]["unk_token"] {
            Value::String(token) => tokenizer.token_to_id(token),
            _ => file["model"]["unk_id"].as_u64().and_then(|id| u32::try_from(id).ok()),
        };
        let tokens = vocabulary.values().max().map_or(0, |most| *most as usize + 1);
        Self { tokens, median_characters, unknown }
    }
}
