//! A tokenizer from a GGUF file's metadata: `gpt2` (byte-level BPE: Llama 3, SmolLM2, Qwen 2) and `llama`
//! (SentencePiece BPE: Llama 2, Mistral). The keys are those of the GGUF specification.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    path::{Path, PathBuf},
};

use candle_core::quantized::gguf_file::Value;
use serde_json::{Map, json};
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, Tokenizer,
    decoders::{byte_fallback::ByteFallback, byte_level::ByteLevel, fuse::Fuse, sequence::Sequence, strip::Strip},
    models::bpe::{BPE, Vocab},
    normalizers::{
        prepend::Prepend,
        replace::{Replace, ReplacePattern},
        unicode::NFC,
        utils::Sequence as Normalizers,
    },
};

use super::by_name::{is_marked, swallows};
use crate::{
    error::{Error, Result},
    tokenizer::{
        Parts, Tokens,
        pieces::{KNOWN, Pieces},
        start_with,
    },
};

/// What SentencePiece writes for a space.
pub(crate) const SPACE: &str = "\u{2581}";

/// Longest piece of a SentencePiece vocabulary, in bytes; real ones have a few dozen.
const MAX_PIECE: usize = 1024;

/// Kinds of token, `tokenizer.ggml.token_type`.
pub(crate) mod kind {
    pub const NORMAL: i64 = 1;
    pub const UNKNOWN: i64 = 2;
    pub const CONTROL: i64 = 3;
    pub const USER_DEFINED: i64 = 4;
    pub const UNUSED: i64 = 5;
    pub const BYTE: i64 = 6;
}

/// Read the tokenizer of a GGUF file.
///
/// # Errors
/// The file is missing or torn, or its tokenizer is of a kind that is not known.
pub fn open(path: &Path) -> Result<Tokens> {
    let (_, content) = super::content(path)?;
    from_metadata(&content.metadata, path)
}

/// The tokenizer that a GGUF file's metadata describes. `source` is what errors call the file.
///
/// # Errors
/// A key is missing or of another type, or the tokenizer is of a kind that is not known.
pub fn from_metadata<S: BuildHasher>(metadata: &HashMap<String, Value, S>, source: &Path) -> Result<Tokens> {
    let keys = Keys { metadata, source };
    let tokens = keys.texts("tokens")?;
    let kinds = keys.numbers("token_type").unwrap_or_else(|_| vec![1; tokens.len()]);
    if kinds.len() != tokens.len() {
        let message = format!("{} tokens and {} token types; fetch it again", tokens.len(), kinds.len());
        return Err(Error::model(source, message));
    }
    let fault = |e: tokenizers::Error| Error::model(source, format!("its tokenizer cannot be built: {e}"));
    let mut tokenizer = match keys.text("model")?.as_str() {
        "gpt2" => byte_level(&keys, &tokens).map_err(|e| e.or(fault))?,
        "llama" => sentencepiece(&keys, &tokens, &kinds).map_err(|e| e.or(fault))?,
        other => {
            let message = format!(
                "its tokenizer is of the kind `{other}`; gpt2 and llama are read. Put the model's tokenizer.json in a \
                 folder and name it in `model.tokenizer`"
            );
            return Err(Error::model(source, message));
        }
    };
    let marked = is_marked(metadata);
    // The text is searched for these whole, before anything else.
    let whole = |wanted: i64| {
        let special = wanted == kind::CONTROL;
        let chosen = tokens.iter().zip(&kinds).filter(move |(_, k)| **k == wanted || (special && **k == kind::UNKNOWN));
        let token = move |t: &String| AddedToken::from(t, special).normalized(false).rstrip(marked && swallows(t));
        chosen.map(move |(t, _)| token(t)).collect::<Vec<_>>()
    };
    tokenizer.add_special_tokens(whole(kind::CONTROL)).map_err(fault)?;
    tokenizer.add_tokens(whole(kind::USER_DEFINED)).map_err(fault)?;
    // llama.cpp adds BOS to a SentencePiece vocabulary that does not say.
    let adds_bos = keys.switch("add_bos_token").unwrap_or(keys.text("model")? == "llama");
    if let Some((id, bos)) = keys.id("bos").and_then(|id| Some((id, tokens.get(id as usize)?))).filter(|_| adds_bos) {
        start_with(&mut tokenizer, bos, id).map_err(|e| Error::model(source, e))?;
    }
    let json = tokenizer.to_string(false).map_err(fault)?;
    let mut config = Map::new();
    config.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
    config.insert("clean_up_tokenization_spaces".into(), json!(false));
    config.insert("model_input_names".into(), json!(["input_ids", "attention_mask"]));
    for (name, key) in [("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")] {
        if let Some(token) = keys.id(key).and_then(|id| tokens.get(id as usize)) {
            config.insert(format!("{name}_token"), json!(token));
        }
    }
    config.insert("add_bos_token".into(), json!(adds_bos));
    let stops = ["eos", "eot", "eom"].into_iter().filter_map(|k| keys.id(k)).collect();
    let chat_template = match metadata.get("tokenizer.chat_template") {
        Some(Value::String(template)) => Some(template.clone()),
        _ => None,
    };
    Tokens::new(Parts { tokenizer, json, config, chat_template, stops, source: source.to_owned() })
}

/// Ours, or one of the crate that builds.
enum Fault {
    Ours(Error),
    Theirs(tokenizers::Error),
}

impl Fault {
    fn or(self, wrap: impl FnOnce(tokenizers::Error) -> Error) -> Error {
        match self {
            Self::Ours(error) => error,
            Self::Theirs(error) => wrap(error),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<tokenizers::Error> for Fault {
    fn from(error: tokenizers::Error) -> Self {
        Self::Theirs(error)
    }
}

fn byte_level<S: BuildHasher>(keys: &Keys<'_, S>, tokens: &[String]) -> std::result::Result<Tokenizer, Fault> {
    let name = keys.text("pre").unwrap_or_else(|_| "default".into());
    let pieces = Pieces::find(&name).ok_or_else(|| {
        let known: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
        let message = format!(
            "it cuts texts by `{name}`; known are {}. Put the model's tokenizer.json in a folder and name it in \
             `model.tokenizer`",
            known.join(", ")
        );
        Error::model(keys.source, message)
    })?;
    let merges = keys.texts("merges")?;
    let pair = |m: &String| m.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
    let merges = merges.iter().map(pair).collect::<Option<Vec<_>>>();
    let merges = merges.ok_or_else(|| Error::model(keys.source, "a merge is no pair; fetch it again"))?;
    let bpe = BPE::builder().vocab_and_merges(vocab(tokens), merges).ignore_merges(pieces.ignores_merges()).build()?;
    let mut tokenizer = Tokenizer::new(bpe);
    if pieces == Pieces::Qwen2 {
        tokenizer.with_normalizer(Some(NFC))?;
    }
    tokenizer.with_pre_tokenizer(Some(pieces.build()?));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    Ok(tokenizer)
}

/// SentencePiece merges the pair that makes the piece of the highest score; as a BPE, its merges are all
/// ways to make a piece of two, by falling score.
fn sentencepiece<S: BuildHasher>(
    keys: &Keys<'_, S>,
    tokens: &[String],
    kinds: &[i64],
) -> std::result::Result<Tokenizer, Fault> {
    let scores = keys.scores(tokens.len())?;
    // The ways to cut a piece in two take as long as the square of its length.
    if let Some(id) = tokens.iter().position(|piece| piece.len() > MAX_PIECE) {
        let message = format!("its token {id} has {} bytes; {MAX_PIECE} are the most", tokens[id].len());
        return Err(Error::model(keys.source, message).into());
    }
    let vocab = vocab(tokens);
    let mut merges = Vec::new();
    for (id, piece) in tokens.iter().enumerate().filter(|(id, _)| kinds[*id] == 1) {
        let cuts = piece.char_indices().skip(1).filter_map(|(at, _)| {
            let (left, right) = piece.split_at(at);
            let long = left.chars().count();
            Some((scores[id], long, *vocab.get(left)?, *vocab.get(right)?))
        });
        merges.extend(cuts);
    }
    // Of the ways to make one piece, transformers puts those with the longer left side first.
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    let token = |id: u32| tokens[id as usize].clone();
    let merges = merges.into_iter().map(|(_, _, left, right)| (token(left), token(right))).collect();
    let mut bpe = BPE::builder().vocab_and_merges(vocab, merges).byte_fallback(true).fuse_unk(true);
    if let Some(unknown) = keys.id("unknown").and_then(|id| tokens.get(id as usize)) {
        bpe = bpe.unk_token(unknown.clone());
    }
    let mut tokenizer = Tokenizer::new(bpe.build()?);
    let text = |t: &str| ReplacePattern::String(t.to_owned());
    let mut normal: Vec<NormalizerWrapper> = vec![Replace::new(text(" "), SPACE)?.into()];
    let mut back: Vec<DecoderWrapper> =
        vec![Replace::new(text(SPACE), " ")?.into(), ByteFallback::default().into(), Fuse::default().into()];
    if keys.switch("add_space_prefix").unwrap_or(true) {
        normal.insert(0, Prepend::new(SPACE.to_owned()).into());
        back.push(Strip::new(' ', 1, 0).into());
    }
    tokenizer.with_normalizer(Some(Normalizers::new(normal)))?;
    tokenizer.with_decoder(Some(Sequence::new(back)));
    Ok(tokenizer)
}

fn vocab(tokens: &[String]) -> Vocab {
    (0..).zip(tokens).map(|(id, token)| (token.clone(), id)).collect()
}

/// The keys below `tokenizer.ggml`.
struct Keys<'a, S> {
    metadata: &'a HashMap<String, Value, S>,
    source: &'a Path,
}

impl<S: BuildHasher> Keys<'_, S> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(&format!("tokenizer.ggml.{key}"))
    }

    fn wrong(&self, key: &str, want: &str) -> Error {
        let message = format!("tokenizer.ggml.{key} is not there, or is not {want}; fetch the file again");
        Error::Model { file: PathBuf::from(self.source), message }
    }

    fn list<T>(&self, key: &str, want: &str, each: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>> {
        let Some(Value::Array(values)) = self.get(key) else { return Err(self.wrong(key, want)) };
        values.iter().map(each).collect::<Option<_>>().ok_or_else(|| self.wrong(key, want))
    }

    fn text(&self, key: &str) -> Result<String> {
        match self.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            _ => Err(self.wrong(key, "a text")),
        }
    }

    fn texts(&self, key: &str) -> Result<Vec<String>> {
        self.list(key, "a list of texts", |v| v.to_string().ok().cloned())
    }

    fn numbers(&self, key: &str) -> Result<Vec<i64>> {
        self.list(key, "a list of whole numbers", whole)
    }

    fn scores(&self, n: usize) -> Result<Vec<f32>> {
        let scores = self.list("scores", "a list of 32-bit floats", |v| v.to_f32().ok())?;
        if scores.len() == n { Ok(scores) } else { Err(self.wrong("scores", "as long as the list of tokens")) }
    }

    fn id(&self, name: &str) -> Option<u32> {
        u32::try_from(whole(self.get(&format!("{name}_token_id"))?)?).ok()
    }

    fn switch(&self, key: &str) -> Option<bool> {
        self.get(key)?.to_bool().ok()
    }
}

/// Files hold these numbers in every width.
fn whole(value: &Value) -> Option<i64> {
    Some(match *value {
        Value::U8(v) => v.into(),
        Value::I8(v) => v.into(),
        Value::U16(v) => v.into(),
        Value::I16(v) => v.into(),
        Value::U32(v) => v.into(),
        Value::I32(v) => v.into(),
        Value::I64(v) => v,
        Value::U64(v) => i64::try_from(v).ok()?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(model: &str, tokens: &[&str]) -> HashMap<String, Value> {
        let texts = |t: &[&str]| Value::Array(t.iter().map(|t| Value::String((*t).to_owned())).collect());
        let mut out = HashMap::new();
        let mut put = |key: &str, value| out.insert(format!("tokenizer.ggml.{key}"), value);
        put("model", Value::String(model.to_owned()));
        put("tokens", texts(tokens));
        put("merges", texts(&["l a", "Ġ la"]));
        put("scores", Value::Array((0_u8..).take(tokens.len()).map(|i| Value::F32(-f32::from(i))).collect()));
        put("eos_token_id", Value::U32(0));
        put("token_type", Value::Array((0..tokens.len()).map(|i| Value::I32(if i == 0 { 3 } else { 1 })).collect()));
        out
    }

    #[test]
    fn byte_level_merges_come_from_the_file() {
        let mut data = metadata("gpt2", &["<|im_end|>", "l", "a", "Ġ", "la", "Ġla"]);
        let ids = |data: &HashMap<String, Value>| {
            from_metadata(data, Path::new("m.gguf")).map(|t| t.encode("la la<|im_end|>l").unwrap().ids)
        };
        assert_eq!(ids(&data).unwrap(), [4, 5, 0, 1]);
        data.insert("tokenizer.ggml.pre".into(), Value::String("falcon".into()));
        let error = ids(&data).unwrap_err().to_string();
        assert!(error.starts_with("m.gguf: it cuts texts by `falcon`; known are llama-bpe"), "{error}");
        data.remove("tokenizer.ggml.merges");
        data.insert("tokenizer.ggml.pre".into(), Value::String("llama-bpe".into()));
        assert!(ids(&data).unwrap_err().to_string().contains("tokenizer.ggml.merges is not there"));
        data.insert("tokenizer.ggml.model".into(), Value::String("t5".into()));
        assert!(ids(&data).unwrap_err().to_string().contains("of the kind `t5`"));
    }

    #[test]
    fn sentencepiece_merges_come_from_the_scores() {
        // By score: `▁la` before `al`, so `▁ala` is `▁`, `al`, `a` only where `▁la` does not fit.
        let data = metadata("llama", &["</s>", "▁", "l", "a", "la", "▁la", "al"]);
        let tokens = from_metadata(&data, Path::new("m.gguf")).unwrap();
        assert_eq!(tokens.encode("la la</s>al").unwrap().ids, [5, 5, 0, 1, 6]);
        assert_eq!(tokens.decode(&[5, 5]).unwrap(), "la la");
        assert_eq!(tokens.eos_ids, [0]);
        let mut long = metadata("llama", &["</s>", &"l".repeat(1025)]);
        let said = |data: &HashMap<String, Value>| from_metadata(data, Path::new("m.gguf")).unwrap_err().to_string();
        assert_eq!(said(&long), "m.gguf: its token 1 has 1025 bytes; 1024 are the most");
        for key in ["scores", "tokens"] {
            long.remove(&format!("tokenizer.ggml.{key}"));
            assert!(said(&long).starts_with(&format!("m.gguf: tokenizer.ggml.{key} is not there")), "{}", said(&long));
        }
    }
}
