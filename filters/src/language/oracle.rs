//! The sentences of `tests/oracles/language`, what fastText's own library says of them, and the model trained on them.

use std::{fs, path::PathBuf};

use serde::Deserialize;

/// A sentence and what is known of it.
#[derive(Deserialize)]
pub struct Sentence {
    /// The language that it was written in.
    pub lang: String,
    /// The sentence.
    pub text: String,
    /// The three likeliest languages and their probabilities, by `tiny.ftz`.
    pub tiny: Vec<(String, f64)>,
    /// The same by the published `lid.176.ftz`.
    #[serde(rename = "lid.176")]
    pub lid_176: Vec<(String, f64)>,
}

/// A file of the folder.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracles/language")).join(name)
}

/// All sentences.
pub fn sentences() -> Vec<Sentence> {
    let text = fs::read_to_string(path("language.json")).unwrap_or_else(|e| panic!("language.json: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("language.json: {e}"))
}

/// The small model.
pub fn tiny() -> Vec<u8> {
    fs::read(path("tiny.ftz")).unwrap_or_else(|e| panic!("tiny.ftz: {e}"))
}
