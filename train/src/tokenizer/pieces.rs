//! How byte-level tokenizers cut a text into pieces before merging, by the names GGUF gives the ways
//! (`tokenizer.ggml.pre`). Each is what the tokenizer.json of the models it stands for says.

use tokenizers::{
    PreTokenizerWrapper, Result, SplitDelimiterBehavior,
    pre_tokenizers::{
        byte_level::ByteLevel,
        digits::Digits,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

/// Llama 3: contractions, words, up to three digits, punctuation, line ends, spaces.
const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Qwen 2: the same, but for one digit a piece.
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// A way of cutting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// Llama 3; a piece that is a token stays whole, whatever the merges say.
    Llama3,
    /// Qwen 2 and 2.5; texts are brought to NFC before.
    Qwen2,
    /// SmolLM and SmolLM2: every digit by itself, the rest as GPT-2.
    Smollm,
    /// GPT-2.
    Gpt2,
}

/// Every name and its way.
pub const KNOWN: [(&str, Pieces); 8] = [
    ("llama-bpe", Pieces::Llama3),
    ("llama3", Pieces::Llama3),
    ("llama-v3", Pieces::Llama3),
    ("qwen2", Pieces::Qwen2),
    ("smollm", Pieces::Smollm),
    ("gpt-2", Pieces::Gpt2),
    ("gpt2", Pieces::Gpt2),
    ("default", Pieces::Gpt2),
];

impl Pieces {
    /// The way called `name`.
    pub fn find(name: &str) -> Option<Self> {
        KNOWN.iter().find(|(n, _)| *n == name).map(|(_, way)| *way)
    }

    /// Cut, then spell bytes as characters.
    ///
    /// # Errors
    /// Never: the patterns are constants, and tested.
    pub fn build(self) -> Result<PreTokenizerWrapper> {
        let split = |pattern: &str| {
            let pattern = SplitPattern::Regex(pattern.to_owned());
            Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map(PreTokenizerWrapper::from)
        };
        let first = match self {
            Self::Llama3 => split(LLAMA3)?,
            Self::Qwen2 => split(QWEN2)?,
            Self::Smollm => Digits::new(true).into(),
            Self::Gpt2 => return Ok(ByteLevel::new(false, true, true).into()),
        };
        // ByteLevel's own pattern is GPT-2's.
        let bytes = ByteLevel::new(false, true, self == Self::Smollm);
        Ok(Sequence::new(vec![first, bytes.into()]).into())
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    use super::*;

    #[test]
    fn each_way_cuts_as_its_models_do() {
        let text = "L'ho  12345 \n\nvisto,I'M";
        let cases: [(Pieces, &[&str]); 4] = [
            (Pieces::Llama3, &["L", "'ho", " ", " ", "123", "45", " \n\n", "visto", ",I", "'M"]),
            (Pieces::Qwen2, &["L", "'ho", " ", " ", "1", "2", "3", "4", "5", " \n\n", "visto", ",I", "'M"]),
            (
                Pieces::Smollm,
                &["L", "'", "ho", "  ", "1", "2", "3", "4", "5", " \n", "\n", "visto", ",", "I", "'", "M"],
            ),
            (Pieces::Gpt2, &["L", "'", "ho", " ", " 12345", " \n", "\n", "visto", ",", "I", "'", "M"]),
        ];
        for (way, expected) in cases {
            let mut pre = PreTokenizedString::from(text);
            way.build().unwrap().pre_tokenize(&mut pre).unwrap();
            let splits = pre.get_splits(OffsetReferential::Original, OffsetType::Byte);
            let found: Vec<&str> = splits.into_iter().map(|(_, (a, b), _)| &text[a..b]).collect();
            assert_eq!(found, expected, "{way:?}");
        }
    }

    #[test]
    fn names_are_known_once() {
        for (i, (name, way)) in KNOWN.iter().enumerate() {
            assert!(KNOWN[..i].iter().all(|(n, _)| n != name), "{name}");
            assert_eq!(Pieces::find(name), Some(*way));
        }
        assert_eq!(Pieces::find("falcon"), None);
    }
}
