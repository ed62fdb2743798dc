//! A tokenizer.json as the metadata of a GGUF file: byte-level BPE (`gpt2`) and SentencePiece BPE (`llama`). llama.cpp
//! goes by names where tokenizer.json spells out how a text is cut, so what none of the known names stands for is
//! refused: a guess would cut texts otherwise than training did, and nobody would see it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use candle_core::quantized::gguf_file::Value;
use serde::Deserialize;
use serde_json::Value as Json;
use tokenizers::{Model, ModelWrapper, NormalizedString, Normalizer, Tokenizer};

use crate::{
    error::{Error, Result},
    formats::gguf::{
        agreement::{self, Alike, conversation},
        by_name,
        tokenizer::{SPACE, kind},
    },
    random::{key, uniform},
    tokenizer::{
        Tokens,
        pieces::{KNOWN, Pieces},
    },
};

/// What of a tokenizer.json is needed.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    normalizer: Json,
    #[serde(default)]
    pre_tokenizer: Json,
    model: Bpe,
    #[serde(default)]
    added_tokens: Vec<Added>,
}

#[derive(Deserialize)]
struct Bpe {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: BTreeMap<String, u32>,
    merges: Vec<Merge>,
    unk_token: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
}

/// Written in one of two ways.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Text(String),
    Pair(String, String),
}

impl Merge {
    fn pair(&self) -> Option<(&str, &str)> {
        match self {
            Self::Text(text) => text.split_once(' '),
            Self::Pair(left, right) => Some((left, right)),
        }
    }
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    special: bool,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
}

impl Added {
    /// What tokenizer.json says of it that GGUF has no key for, and what that does.
    fn unsaid(&self, tokenizer: &Tokenizer, by_name: bool) -> Option<(&'static str, &'static str)> {
        // A token is searched for in the text as it is; one that is `normalized`, in the text as the normalizer leaves it.
        let changed = || {
            let mut content = NormalizedString::from(self.content.as_str());
            tokenizer
                .get_normalizer()
                .is_some_and(|n| n.normalize(&mut content).is_err() || content.get() != self.content)
        };
        [
            (self.rstrip && !by_name, ("rstrip", "takes the white space after it")),
            (self.lstrip, ("lstrip", "takes the white space before it")),
            (self.single_word, ("single_word", "is none within a word")),
            (self.normalized && changed(), ("normalized", "is looked for after the text was prepared")),
        ]
        .into_iter()
        .find_map(|(is, what)| is.then_some(what))
    }
}

/// What a tokenizer.json becomes.
pub(crate) struct Exported {
    /// The keys below `tokenizer`.
    pub keys: Vec<(String, Value)>,
    /// Texts that would show it if llama.cpp cut them otherwise.
    pub doubtful: Vec<String>,
    /// Which texts llama.cpp cuts as the tokenizer does.
    pub alike: Alike,
    /// Whether llama.cpp has to know it by the name of the model ([`by_name`]).
    pub by_name: bool,
}

impl Exported {
    /// Hold it against the tokenizer that it was made of, with the keys as a file has them. Gives how many texts are cut
    /// alike.
    ///
    /// # Errors
    /// One is not; the message shows it.
    pub fn check(&self, tokens: &Tokens, keys: &HashMap<String, Value>) -> Result<usize> {
        agreement::check(tokens, keys, &self.doubtful, self.alike)
    }

    /// Its keys, with the name that it needs, as a file has them.
    pub fn named(&self) -> HashMap<String, Value> {
        let name = self.by_name.then(|| (by_name::NAME.to_owned(), Value::String(by_name::MARK.to_owned())));
        self.keys.iter().cloned().chain(name).collect()
    }

    /// What a person should know of it.
    pub fn warning(&self) -> Option<&'static str> {
        match self.alike {
            Alike::All => None,
            Alike::NoSpaceFirst => Some(
                "this tokenizer puts a space before a text unless it begins with one, and llama.cpp always: it cuts texts that \
                 begin with a space otherwise",
            ),
            Alike::BehindAToken => Some(
                "this tokenizer puts a space before a text that begins with no special token, and GGUF can say always or \
                 never: it says never, as conversations begin with one; llama.cpp cuts other texts without that space",
            ),
            Alike::WithoutTokens => Some(
                "this tokenizer puts a space before a text that begins with no special token, and GGUF can say always or \
                 never: it says always; llama.cpp has a space behind special tokens too",
            ),
            Alike::WithoutMarks => Some(
                "llama.cpp takes combining marks (of Hindi and Thai, of accents that are characters of their own) for no \
                 letters, and letters outside of ASCII for capitals and small ones alike: it cuts words with marks, or with both \
                 cases beyond the first letter, otherwise than this tokenizer of GPT-4o's kind",
            ),
        }
    }
}

/// The keys below `tokenizer` for a model with `size` rows in its embedding.
///
/// # Errors
/// The tokenizer is larger than the model, or of a kind that llama.cpp has no name for here.
pub(crate) fn metadata(tokens: &Tokens, size: usize) -> Result<Exported> {
    let wrong = |why: String| Error::model(&tokens.source, why);
    // What is no BPE has its vocabulary in another form.
    let kind = serde_json::from_str::<Json>(tokens.json()).ok().map(|json| json["model"]["type"].clone());
    if let Some(Json::String(kind)) = kind
        && kind != "BPE"
    {
        return Err(wrong(format!("its tokenizer is of the kind {kind}; only BPE can be written to GGUF here")));
    }
    let file: File = serde_json::from_str(tokens.json())
        .map_err(|e| wrong(format!("its tokenizer.json is not as BPE has it: {e}")))?;
    if file.model.kind.as_deref().is_some_and(|kind| kind != "BPE") {
        return Err(wrong("its tokenizer is no BPE".into()));
    }
    let mut listed: Vec<Option<(String, i32)>> = vec![None; size];
    let mut put = |id: u32, text: &str, kind: i64| -> Result<()> {
        let place = listed.get_mut(id as usize).ok_or_else(|| {
            wrong(format!("its tokenizer has `{text}` as token {id}, and the model has {size}: it is another model's"))
        })?;
        *place = Some((text.to_owned(), i32::try_from(kind).unwrap_or_default()));
        Ok(())
    };
    for (text, id) in &file.model.vocab {
        let byte = file.model.byte_fallback && is_byte(text);
        let unknown = file.model.unk_token.as_ref() == Some(text);
        put(
            *id,
            text,
            if unknown {
                kind::UNKNOWN
            } else if byte {
                kind::BYTE
            } else {
                kind::NORMAL
            },
        )?;
    }
    let swallowing: Vec<(&str, bool)> = file.added_tokens.iter().map(|t| (t.content.as_str(), t.rstrip)).collect();
    let by_name = swallowing.iter().any(|(_, swallows)| *swallows) && by_name::are_those(&swallowing);
    for token in &file.added_tokens {
        if let Some((key, does)) = token.unsaid(&tokens.tokenizer, by_name) {
            return Err(wrong(format!(
                "its token `{}` {does} (`{key}`), which GGUF cannot say: in llama.cpp the model would read other tokens than \
                 it was trained with. Train with `{key}` set to false in tokenizer.json, if that is right for the model",
                token.content
            )));
        }
        let unknown = file.model.unk_token.as_ref() == Some(&token.content);
        let own = if token.special { kind::CONTROL } else { kind::USER_DEFINED };
        put(token.id, &token.content, if unknown { kind::UNKNOWN } else { own })?;
    }
    let (mut keys, mut doubtful, mut alike) = (Keys(Vec::new()), Vec::new(), Alike::All);
    let unused = |id: usize| (format!("[PAD{id}]"), i32::try_from(kind::UNUSED).unwrap_or_default());
    let listed: Vec<(String, i32)> =
        listed.into_iter().enumerate().map(|(id, token)| token.unwrap_or_else(|| unused(id))).collect();
    match Pieces::of(&file.pre_tokenizer) {
        Some(pieces) if !file.model.byte_fallback => {
            byte_level(&mut keys, tokens, &file, pieces)?;
            if pieces == Pieces::Gpt4o {
                alike = Alike::WithoutMarks;
            }
        }
        None if file.model.byte_fallback => (doubtful, alike) = sentencepiece(&mut keys, tokens, &file, &listed)?,
        _ => return Err(wrong(unknown())),
    }
    keys.put("tokens", Value::Array(listed.iter().map(|(text, _)| Value::String(text.clone())).collect()));
    keys.put("token_type", Value::Array(listed.iter().map(|(_, kind)| Value::I32(*kind)).collect()));
    let id = |token: &Option<(String, u32)>| token.as_ref().map(|(_, id)| *id);
    let eos = id(&tokens.eos);
    let mut ends = tokens.eos_ids.iter().copied().filter(|end| Some(*end) != eos);
    let unknown = file.model.unk_token.as_ref().and_then(|text| file.model.vocab.get(text)).copied();
    for (name, id) in [
        ("bos", id(&tokens.bos)),
        ("eos", eos),
        // Further ends of a generation; llama.cpp stops at each of them.
        ("eot", ends.next()),
        ("eom", ends.next()),
        ("padding", id(&tokens.pad)),
        ("unknown", unknown),
    ] {
        if let Some(id) = id {
            keys.put(&format!("{name}_token_id"), Value::U32(id));
        }
    }
    keys.put("add_bos_token", Value::Bool(tokens.adds_bos));
    keys.put("add_eos_token", Value::Bool(false));
    if let Some(template) = &tokens.chat_template {
        keys.0.push(("tokenizer.chat_template".into(), Value::String(template.clone())));
    }
    Ok(Exported { keys: keys.0, doubtful, alike, by_name })
}

/// Why a way of cutting is refused.
fn unknown() -> String {
    let names: BTreeSet<&str> = KNOWN.iter().filter_map(|(name, way)| (way.name() == *name).then_some(*name)).collect();
    let names: Vec<&str> = names.into_iter().collect();
    format!(
        "its tokenizer cuts texts in a way that has no name here ({}, or SentencePiece's BPE): in llama.cpp the model \
         would read other tokens than it was trained with. Use llama.cpp's convert_hf_to_gguf.py for this model",
        names.join(", ")
    )
}

struct Keys(Vec<(String, Value)>);

impl Keys {
    fn put(&mut self, name: &str, value: Value) {
        self.0.push((format!("tokenizer.ggml.{name}"), value));
    }
}

fn is_byte(text: &str) -> bool {
    text.len() == 6
        && text.starts_with("<0x")
        && text.ends_with('>')
        && text[3..5].bytes().all(|b| b.is_ascii_hexdigit())
}

fn byte_level(keys: &mut Keys, tokens: &Tokens, file: &File, pieces: Pieces) -> Result<()> {
    let wrong = |why: String| Error::model(&tokens.source, why);
    let plain = match file.normalizer["type"].as_str() {
        None => file.normalizer.is_null(),
        Some("NFC") => true,
        Some("Sequence") => file.normalizer["normalizers"].as_array().is_some_and(Vec::is_empty),
        Some(_) => false,
    };
    if !plain {
        return Err(wrong(format!(
            "its tokenizer changes texts first ({}), which llama.cpp does not",
            file.normalizer
        )));
    }
    let pieces = match (same_without_merges(tokens, file, pieces), pieces.merging()) {
        (Ok(()), _) => pieces,
        (Err(_), Some(merging)) if same_without_merges(tokens, file, merging).is_ok() => merging,
        (Err(why), _) => return Err(wrong(why)),
    };
    let pair = |merge: &Merge| merge.pair().map(|(left, right)| Value::String(format!("{left} {right}")));
    let merges = file.model.merges.iter().map(pair).collect::<Option<Vec<_>>>();
    keys.put("model", Value::String("gpt2".into()));
    keys.put("pre", Value::String(pieces.name().into()));
    keys.put("merges", Value::Array(merges.ok_or_else(|| wrong("a merge is no pair; fetch it again".into()))?));
    Ok(())
}

/// By name llama.cpp knows whether a piece that is a token is taken whole, whatever the merges make of it
/// (`ignore_merges`). Where tokenizer.json says otherwise, that is all the same only if merges lead to every token.
fn same_without_merges(tokens: &Tokens, file: &File, pieces: Pieces) -> std::result::Result<(), String> {
    let ModelWrapper::BPE(bpe) = tokens.tokenizer.get_model() else { return Err("its tokenizer is no BPE".into()) };
    if bpe.ignore_merges == pieces.ignores_merges() {
        return Ok(());
    }
    let mut merging = bpe.clone();
    merging.ignore_merges = false;
    let added: BTreeSet<u32> = file.added_tokens.iter().map(|token| token.id).collect();
    for (text, id) in file.model.vocab.iter().filter(|(_, id)| !added.contains(id)) {
        let made = merging.tokenize(text).map_err(|e| format!("its tokenizer fails: {e}"))?;
        if made.len() != 1 || made[0].id != *id {
            return Err(format!(
                "its tokenizer says `ignore_merges` is {}, where `{}` means the opposite, and `{text}` comes out \
                 otherwise: in llama.cpp the model would read other tokens than it was trained with",
                bpe.ignore_merges,
                pieces.name()
            ));
        }
    }
    Ok(())
}

/// SentencePiece merges the pair that makes the piece of the highest score. tokenizer.json has the order of merges
/// instead, so a piece's score is its place in that order, negative, as Llama 2's own scores are. Gives texts of pieces
/// that share a score, and which texts are cut alike.
fn sentencepiece(
    keys: &mut Keys,
    tokens: &Tokens,
    file: &File,
    listed: &[(String, i32)],
) -> Result<(Vec<String>, Alike)> {
    let wrong = |why: String| Error::model(&tokens.source, why);
    let (prefix, scheme) = match space_prefix(file).ok_or_else(|| wrong(unknown()))? {
        Prefix::Always => (true, Alike::All),
        Prefix::UnlessSpace => (true, Alike::NoSpaceFirst),
        Prefix::Never => (false, Alike::All),
        // What has a chat template is asked by it.
        Prefix::First if begins_with_a_token(tokens) => (false, Alike::BehindAToken),
        Prefix::First => (true, Alike::WithoutTokens),
    };
    let pairs = file.model.merges.iter().map(Merge::pair).collect::<Option<Vec<_>>>();
    let pairs = pairs.ok_or_else(|| wrong("a merge is no pair; fetch it again".into()))?;
    let (order, tied) = places(&pairs).map_err(|made| {
        let why = format!("two merges make `{made}` with others between them, which no scores can say");
        wrong(format!("its tokenizer is no SentencePiece: {why}"))
    })?;
    // What no merge makes comes after all that one makes.
    #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^24 pieces")]
    let score = |text: &String, kind: i32| match order.get(text) {
        Some(place) => -(*place as f32),
        None if i64::from(kind) == kind::NORMAL => -(order.len() as f32),
        None => 0.0,
    };
    keys.put("model", Value::String("llama".into()));
    keys.put("pre", Value::String("default".into()));
    keys.put("scores", Value::Array(listed.iter().map(|(text, kind)| Value::F32(score(text, *kind))).collect()));
    keys.put("add_space_prefix", Value::Bool(prefix));
    Ok((of_their_letters(&tied), scheme))
}

/// Some texts of the letters of these pieces, in which they overlap in many ways.
fn of_their_letters(pieces: &[String]) -> Vec<String> {
    let letters: Vec<char> = pieces.iter().flat_map(|p| p.chars()).collect::<BTreeSet<_>>().into_iter().collect();
    let stream = key(1, "texts of tied pieces");
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a few letters"
    )]
    let letter = |at: u64| letters[(uniform(stream, at) * letters.len() as f32) as usize % letters.len()];
    let text = |i: u64| (i * 24..i * 24 + 8 + i % 17).map(letter).collect::<String>().replace(SPACE, " ");
    (0..if letters.is_empty() { 0 } else { 40 }).map(text).collect()
}

/// The place of each piece that merges make, and those that share theirs. Pieces that share a score have their merges sorted
/// by the length of the left side, whatever they make, so that those of one lie between those of another: the runs of spaces of
/// Llama 2. They share a place.
///
/// # Errors
/// A piece whose merges lie apart, with others between them that no shared score explains.
fn places(pairs: &[(&str, &str)]) -> std::result::Result<(BTreeMap<String, usize>, Vec<String>), String> {
    let made: Vec<String> = pairs.iter().map(|(left, right)| format!("{left}{right}")).collect();
    let mut last = BTreeMap::new();
    for (at, piece) in made.iter().enumerate() {
        last.insert(piece.as_str(), at);
    }
    let (mut order, mut tied) = (BTreeMap::new(), Vec::new());
    let mut from = 0;
    while from < made.len() {
        let mut to = from;
        let mut at = from;
        while at <= to {
            to = to.max(last[made[at].as_str()]);
            at += 1;
        }
        let (place, group) = (order.len(), &made[from..=to]);
        for piece in group {
            order.entry(piece.clone()).or_insert(place);
        }
        if order.len() > place + 1 {
            let long = |at: usize| pairs[at].0.chars().count();
            if let Some(at) = (from + 1..=to).find(|at| long(*at) > long(*at - 1)) {
                return Err(made[at].clone());
            }
            tied.extend(group.iter().collect::<BTreeSet<_>>().into_iter().cloned());
        }
        from = to + 1;
    }
    Ok((order, tied))
}

/// Where a tokenizer puts a space of its own.
#[derive(Clone, Copy)]
enum Prefix {
    /// Before every part of a text that is between special tokens.
    Always,
    /// The same, but for parts that begin with a space.
    UnlessSpace,
    /// Before a text that begins with no special token, nor with a space.
    First,
    Never,
}

/// Whether a conversation, as the chat template writes it, begins with a special token.
fn begins_with_a_token(tokens: &Tokens) -> bool {
    let added = tokens.tokenizer.get_added_vocabulary().get_added_tokens_decoder();
    conversation(tokens).is_some_and(|text| added.values().any(|token| text.starts_with(&token.content)))
}

/// Where a text gets a space, or none if it is prepared in another way than SentencePiece's.
fn space_prefix(file: &File) -> Option<Prefix> {
    let replaces =
        |step: &Json| step["type"] == "Replace" && step["pattern"]["String"] == " " && step["content"] == SPACE;
    let prepends = |step: &Json| step["type"] == "Prepend" && step["prepend"] == SPACE;
    let steps = match file.normalizer["type"].as_str() {
        Some("Sequence") => file.normalizer["normalizers"].as_array()?.clone(),
        Some(_) => vec![file.normalizer.clone()],
        None => Vec::new(),
    };
    match (&steps[..], &file.pre_tokenizer) {
        ([one, two], Json::Null) if prepends(one) && replaces(two) => Some(Prefix::Always),
        ([one], Json::Null) if replaces(one) => Some(Prefix::Never),
        ([], pre) if pre["type"] == "Metaspace" && pre["replacement"] == SPACE && pre["split"] == false => {
            Some(match pre["prepend_scheme"].as_str() {
                Some("never") => Prefix::Never,
                Some("first") => Prefix::First,
                _ => Prefix::UnlessSpace,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
