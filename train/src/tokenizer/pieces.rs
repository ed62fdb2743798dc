//! How byte-level tokenizers cut a text into pieces before merging, by the names GGUF gives the ways
//! (`tokenizer.ggml.pre`). Each is what the tokenizer.json of the models it stands for says.

use serde_json::Value;
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

/// GPT-4o: words end where capitals begin again, and take contractions along; combining marks are letters.
const GPT4O: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// What llama.cpp does in its place: marks are no letters, and letters outside of ASCII have no case.
const GPT4O_IN_LLAMA_CPP: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]*[\p{L}&&[^A-Z]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]+[\p{L}&&[^A-Z]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// A way of cutting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// Llama 3 and SmolLM3; a piece that is a token stays whole, whatever the merges say.
    Llama3,
    /// The same without that: OLMo 2, Phi-4, and others with GPT-4's vocabulary.
    Dbrx,
    /// GPT-4o and Phi-4-mini.
    Gpt4o,
    /// Qwen 2 and 2.5; texts are brought to NFC before.
    Qwen2,
    /// SmolLM, SmolLM2, Granite 3 and StarCoder: every digit by itself, the rest as GPT-2.
    Smollm,
    /// GPT-2.
    Gpt2,
}

/// Every name and its way.
pub const KNOWN: [(&str, Pieces); 13] = [
    ("llama-bpe", Pieces::Llama3),
    ("llama3", Pieces::Llama3),
    ("llama-v3", Pieces::Llama3),
    ("dbrx", Pieces::Dbrx),
    ("smaug-bpe", Pieces::Dbrx),
    ("gpt-4o", Pieces::Gpt4o),
    ("qwen2", Pieces::Qwen2),
    ("smollm", Pieces::Smollm),
    ("refact", Pieces::Smollm),
    ("starcoder", Pieces::Smollm),
    ("gpt-2", Pieces::Gpt2),
    ("gpt2", Pieces::Gpt2),
    ("default", Pieces::Gpt2),
];

impl Pieces {
    /// The way called `name`.
    pub fn find(name: &str) -> Option<Self> {
        KNOWN.iter().find(|(n, _)| *n == name).map(|(_, way)| *way)
    }

    /// The name that llama.cpp's converter writes for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llama3 => "llama-bpe",
            Self::Dbrx => "dbrx",
            Self::Gpt4o => "gpt-4o",
            Self::Qwen2 => "qwen2",
            Self::Smollm => "smollm",
            Self::Gpt2 => "gpt-2",
        }
    }

    /// Whether a piece that is a token stays whole, whatever the merges say.
    pub const fn ignores_merges(self) -> bool {
        matches!(self, Self::Llama3)
    }

    /// The same way of cutting for a tokenizer that merges whatever is no single character, if there is one.
    pub const fn merging(self) -> Option<Self> {
        match self {
            Self::Llama3 => Some(Self::Dbrx),
            _ => None,
        }
    }

    /// The way that the `pre_tokenizer` of a tokenizer.json describes, if it is a known one.
    pub fn of(pre_tokenizer: &Value) -> Option<Self> {
        let plain = |value: &Value| {
            // Read and written again, so that defaults are spelled out.
            let read: PreTokenizerWrapper = serde_json::from_value(value.clone()).ok()?;
            let mut value = serde_json::to_value(read).ok()?;
            untrimmed(&mut value);
            Some(value)
        };
        let found = plain(pre_tokenizer)?;
        let same = |way: &Self| {
            way.build().ok().and_then(|built| plain(&serde_json::to_value(built).ok()?)) == Some(found.clone())
        };
        KNOWN.iter().map(|(_, way)| *way).find(same)
    }

    /// As [`Self::build`], but as llama.cpp does where that is not the same.
    pub fn build_as_llama_cpp(self) -> Result<PreTokenizerWrapper> {
        match self {
            Self::Gpt4o => {
                Ok(Sequence::new(vec![split(GPT4O_IN_LLAMA_CPP)?, ByteLevel::new(false, true, false).into()]).into())
            }
            _ => self.build(),
        }
    }

    /// Cut, then spell bytes as characters.
    pub fn build(self) -> Result<PreTokenizerWrapper> {
        let first = match self {
            Self::Llama3 | Self::Dbrx => split(LLAMA3)?,
            Self::Gpt4o => split(GPT4O)?,
            Self::Qwen2 => split(QWEN2)?,
            Self::Smollm => Digits::new(true).into(),
            Self::Gpt2 => return Ok(ByteLevel::new(false, true, true).into()),
        };
        // ByteLevel's own pattern is GPT-2's.
        let bytes = ByteLevel::new(false, true, self == Self::Smollm);
        Ok(Sequence::new(vec![first, bytes.into()]).into())
    }
}

fn split(pattern: &str) -> Result<PreTokenizerWrapper> {
    let pattern = SplitPattern::Regex(pattern.to_owned());
    Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map(PreTokenizerWrapper::from)
}

/// Without what changes offsets and no token: offsets are cut by `trim_offsets`, and a sequence of one is that one. The patterns
/// that are known here match every character of a text, so that removing what lies between matches is keeping each match by
/// itself.
fn untrimmed(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("trim_offsets");
            if map.get("type") == Some(&"Split".into())
                && (map.get("behavior"), map.get("invert")) == (Some(&"Removed".into()), Some(&true.into()))
            {
                map.insert("behavior".into(), "Isolated".into());
                map.insert("invert".into(), false.into());
            }
            map.values_mut().for_each(untrimmed);
        }
        Value::Array(list) => list.iter_mut().for_each(untrimmed),
        _ => {}
    }
    if value["type"] == "Sequence"
        && let Some([one]) = value["pretokenizers"].as_array().map(Vec::as_slice)
    {
        *value = one.clone();
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    use super::*;

    #[test]
    fn each_way_cuts_as_its_models_do() {
        let text = "L'ho  12345 \n\nvisto,I'M";
        let cases: [(Pieces, &[&str]); 5] = [
            (Pieces::Gpt4o, &["L", "'ho", " ", " ", "123", "45", " \n\n", "visto", ",I'M"]),
            (Pieces::Llama3, &["L", "'ho", " ", " ", "123", "45", " \n\n", "visto", ",I", "'M"]),
            (Pieces::Qwen2, &["L", "'ho", " ", " ", "1", "2", "3", "4", "5", " \n\n", "visto", ",I", "'M"]),
            (
                Pieces::Smollm,
                &["L", "'", "ho", "  ", "1", "2", "3", "4", "5", " \n", "\n", "visto", ",", "I", "'", "M"],
            ),
            (Pieces::Gpt2, &["L", "'", "ho", " ", " 12345", " \n", "\n", "visto", ",", "I", "'", "M"]),
        ];
        for (way, expected) in cases {
            assert_eq!(cut(&way.build().unwrap(), text), expected, "{way:?}");
            assert_eq!(cut(&way.build_as_llama_cpp().unwrap(), text), expected, "{way:?}");
        }
        // What llama.cpp 0.3.36 of llama-cpp-python cuts otherwise.
        let text = "e\u{300}caffèLatte perÒ ÈVERO HTMLParser/";
        let cases: [(PreTokenizerWrapper, &[&str]); 2] = [
            (Pieces::Gpt4o.build().unwrap(), &["e\u{300}caffè", "Latte", " per", "Ò", " ÈVERO", " HTMLParser", "/"]),
            (
                Pieces::Gpt4o.build_as_llama_cpp().unwrap(),
                &["e", "\u{300}caffè", "Latte", " perÒ", " È", "VERO", " HTMLParser", "/"],
            ),
        ];
        for (way, expected) in cases {
            assert_eq!(cut(&way, text), expected);
        }
    }

    fn cut<'a>(way: &PreTokenizerWrapper, text: &'a str) -> Vec<&'a str> {
        let mut pre = PreTokenizedString::from(text);
        way.pre_tokenize(&mut pre).unwrap();
        let splits = pre.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(_, (a, b), _)| &text[a..b]).collect()
    }

    #[test]
    fn published_pre_tokenizers_are_recognised() {
        let file = |text: &str| Pieces::of(&serde_json::from_str(text).unwrap());
        let split = |pattern: &str| serde_json::json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let sequence = |first: Value, trim: bool, regex: bool| {
            let bytes = serde_json::json!({
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": trim, "use_regex": regex,
            });
            Pieces::of(&serde_json::json!({"type": "Sequence", "pretokenizers": [first, bytes]}))
        };
        assert_eq!(sequence(split(LLAMA3), true, false), Some(Pieces::Llama3));
        // As tokenizers that were made of tiktoken's say it: Phi-4's, for one.
        let mut removed = split(LLAMA3);
        (removed["behavior"], removed["invert"]) = ("Removed".into(), true.into());
        assert_eq!(sequence(removed.clone(), true, false), Some(Pieces::Llama3));
        removed["invert"] = false.into();
        assert_eq!(sequence(removed, true, false), None, "that leaves out what matches");
        assert_eq!(sequence(split(QWEN2), false, false), Some(Pieces::Qwen2));
        let digits = serde_json::json!({"type": "Digits", "individual_digits": true});
        assert_eq!(sequence(digits.clone(), true, true), Some(Pieces::Smollm));
        // GPT-2's file is older than `use_regex`.
        assert_eq!(
            file(r#"{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true}"#),
            Some(Pieces::Gpt2)
        );
        // One digit more, a space in front, no pattern: other tokens.
        assert_eq!(sequence(split(&LLAMA3.replace("{1,3}", "{1,2}")), true, false), None);
        assert_eq!(file(r#"{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true}"#), None);
        assert_eq!(sequence(digits, true, false), None);
        assert_eq!(file("null"), None);
        for (name, way) in KNOWN {
            let built = serde_json::to_value(way.build().unwrap()).unwrap();
            // One way of cutting has two names.
            let cut = if way == Pieces::Dbrx { Pieces::Llama3 } else { way };
            assert_eq!((Pieces::of(&built), Pieces::find(way.name())), (Some(cut), Some(way)), "{name}");
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
