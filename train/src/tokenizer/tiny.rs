//! A byte-level BPE trained on the spot, for models that the program makes itself. The same texts give
//! the same bytes on any number of threads: merges are chosen by count, and equal counts by token id.

use std::path::PathBuf;

use serde_json::{Map, json};
use tokenizers::{
    AddedToken, Tokenizer,
    decoders::byte_level::ByteLevel,
    models::{
        TrainerWrapper,
        bpe::{BPE, BpeTrainer},
    },
};

use super::{Parts, Tokens, pieces::Pieces, start_with};
use crate::error::{Error, Result};

/// Special tokens, with the ids 0, 1, ...: those of the Llama-3 chat format.
pub const SPECIAL: [&str; 5] =
    ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>"];

/// Its chat template.
pub const TEMPLATE: &str = include_str!("../../../pipelines/templates/llama3.jinja");

/// Size of the vocabulary unless somebody wants another.
pub const VOCAB: usize = 2048;

/// Fewest tokens: the special ones and every byte.
const LEAST: usize = SPECIAL.len() + 256;

/// Train a tokenizer of `vocab` tokens (fewer, if the texts have too few pairs to merge).
///
/// # Errors
/// `vocab` has no room for every byte.
pub fn train<S: AsRef<str> + Send>(texts: impl Iterator<Item = S> + Send, vocab: usize) -> Result<Tokens> {
    if vocab < LEAST {
        return Err(Error::Other(format!("a byte-level tokenizer has at least {LEAST} tokens, not {vocab}")));
    }
    let fault = |e: tokenizers::Error| Error::Other(format!("the tokenizer cannot be trained: {e}"));
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(Pieces::Llama3.build().map_err(fault)?));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let trainer = BpeTrainer::builder()
        .vocab_size(vocab)
        .min_frequency(2)
        .show_progress(false)
        .special_tokens(SPECIAL.map(|t| AddedToken::from(t, true).normalized(false)).to_vec())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    tokenizer.train(&mut TrainerWrapper::from(trainer), texts).map_err(fault)?;
    start_with(&mut tokenizer, SPECIAL[0], 0).map_err(Error::Other)?;
    let json = tokenizer.to_string(false).map_err(fault)?;
    let mut config = Map::new();
    config.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
    config.insert("bos_token".into(), json!(SPECIAL[0]));
    config.insert("add_bos_token".into(), json!(true));
    config.insert("eos_token".into(), json!(SPECIAL[3]));
    config.insert("pad_token".into(), json!(SPECIAL[4]));
    config.insert("clean_up_tokenization_spaces".into(), json!(false));
    config.insert("model_input_names".into(), json!(["input_ids", "attention_mask"]));
    Tokens::new(Parts {
        tokenizer,
        json,
        config,
        chat_template: Some(TEMPLATE.to_owned()),
        stops: vec![3, 4],
        source: PathBuf::from("the tiny tokenizer"),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::Encoding, *};

    fn texts() -> Vec<String> {
        let words = ["farina", "setaccio", "grano", "mulino", "perché", "città", "12", "🌾", "acqua"];
        (0..400).map(|i| (0..20).map(|j| words[(i * 7 + j * j + i * j) % 9]).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn the_same_bytes_on_any_number_of_threads() {
        let bytes = [1, 2, 2].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| train(texts().into_iter(), 300).unwrap().json)
        });
        assert!(bytes[0] == bytes[1] && bytes[1] == bytes[2]);
        assert_ne!(train(texts().iter().rev().take(9), 300).unwrap().json, bytes[0], "the texts decide");
    }

    #[test]
    fn any_text_comes_back() {
        let tokens = train(texts().into_iter(), VOCAB).unwrap();
        assert!(tokens.vocab > LEAST && tokens.vocab <= VOCAB, "{}", tokens.vocab);
        assert_eq!(tokens.encode("<|begin_of_text|><|eot_id|>").unwrap().ids, [0, 3]);
        for text in ["Perché la farina? 🌾\n\té\u{301} \u{200B}ß 日本", "", " ", "farina setaccio"] {
            let Encoding { ids, offsets } = tokens.encode(text).unwrap();
            assert_eq!(tokens.decode_with_special(&ids).unwrap(), text);
            assert_eq!(ids.len(), offsets.len());
        }
        assert!(tokens.encode("farina setaccio").unwrap().ids.len() < 6, "merges were learned");
        assert!(train(texts().into_iter(), 260).is_err());
    }
}
