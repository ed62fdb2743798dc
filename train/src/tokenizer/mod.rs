//! Tokenizers from a Hugging Face folder, from GGUF, or trained on the spot.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};
use setaccio_base::{atomic, sha256::hex_digest, unwound::unwound};
use setaccio_templates::Renderer;
use tokenizers::{Tokenizer, processors::template::TemplateProcessing};

use crate::error::{Error, Result};

pub mod pieces;
pub mod tiny;

/// How published chat templates end a turn. Where one of these is a special token, it ends a generation
/// even if the configuration forgets to say so: the first Llama-3 files did.
const ENDS_OF_TURN: [&str; 4] = ["<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>"];

/// A tokenizer and what goes with it.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Text to ids and back. It adds nothing of its own: BOS and the like come from the chat template, or
    /// from the caller where `adds_bos` says so.
    pub tokenizer: Tokenizer,
    /// Beginning of a text, and its id.
    pub bos: Option<(String, u32)>,
    /// End of a text, and its id.
    pub eos: Option<(String, u32)>,
    /// What fills a batch elsewhere; we pad nothing, and pass it on.
    pub pad: Option<(String, u32)>,
    /// The model's own chat template.
    pub chat_template: Option<String>,
    /// One more than the largest id.
    pub vocab: usize,
    /// The file or folder it was read from.
    pub source: PathBuf,
    /// SHA-256 of its tokenizer.json, hex.
    pub sha256: String,
    /// Every id that ends a generation, sorted.
    pub eos_ids: Vec<u32>,
    /// Whether a plain text is to start with BOS.
    pub adds_bos: bool,
    /// tokenizer.json as it was read or made.
    json: String,
    /// tokenizer_config.json as it was read or made.
    config: Map<String, Value>,
}

/// A text as tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, [length].
    pub ids: Vec<u32>,
    /// The bytes of the text that each token stands for, from and to, [length].
    pub offsets: Vec<(usize, usize)>,
}

/// What a [`Tokens`] is put together from.
pub(crate) struct Parts {
    pub tokenizer: Tokenizer,
    pub json: String,
    pub config: Map<String, Value>,
    pub chat_template: Option<String>,
    /// Ids that the model's configuration calls the end of a generation.
    pub stops: Vec<u32>,
    pub source: PathBuf,
}

impl Tokens {
    pub(crate) fn new(parts: Parts) -> Result<Self> {
        let Parts { mut tokenizer, json, config, chat_template, stops, source } = parts;
        let special = |key: &str| {
            let text = content(config.get(key)?)?;
            Some((text.to_owned(), tokenizer.token_to_id(text)?))
        };
        let [bos, eos, pad] = ["bos_token", "eos_token", "pad_token"].map(special);
        let added = tokenizer.get_added_vocabulary();
        let ends = ENDS_OF_TURN.iter().filter(|t| added.is_special_token(t));
        let mut eos_ids: Vec<u32> = ends.filter_map(|t| tokenizer.token_to_id(t)).chain(stops).collect();
        eos_ids.extend(eos.as_ref().map(|(_, id)| *id));
        eos_ids.sort_unstable();
        eos_ids.dedup();
        let eos = eos.or_else(|| eos_ids.first().and_then(|id| Some((tokenizer.id_to_token(*id)?, *id))));
        if eos_ids.is_empty() {
            let message = "no token ends a text: give `eos_token` in tokenizer_config.json or `eos_token_id` in \
                           generation_config.json";
            return Err(Error::model(source, message));
        }
        let stated = config.get("add_bos_token").and_then(Value::as_bool);
        let does = |id: &u32| tokenizer.encode("a", true).is_ok_and(|e| e.get_ids().first() == Some(id));
        let adds_bos = bos.as_ref().is_some_and(|(_, id)| stated.unwrap_or_else(|| does(id)));
        // Without one, offsets are those of the whole tokens: some processors trim white space from them.
        tokenizer.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| Error::model(&source, e.to_string()))?;
        let vocab = tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        let sha256 = hex_digest(json.as_bytes());
        Ok(Self { tokenizer, bos, eos, pad, chat_template, vocab, source, sha256, eos_ids, adds_bos, json, config })
    }

    /// The same with more tokens behind its own, found wherever a text spells them out; and whether each is special.
    ///
    /// # Errors
    /// One is a token already.
    pub fn with_added(&self, added: &[(&str, bool)]) -> Result<Self> {
        if added.is_empty() {
            return Ok(self.clone());
        }
        let wrong = |why: String| Error::model(&self.source, why);
        let mut json: Value =
            serde_json::from_str(&self.json).map_err(|e| wrong(format!("is no tokenizer.json: {e}")))?;
        let mut config = self.config.clone();
        for ((content, special), id) in added.iter().zip(self.vocab..) {
            if let Some(id) = self.tokenizer.token_to_id(content) {
                return Err(wrong(format!("{content:?} is to be added, and is its token {id} already")));
            }
            let token = json!({
                "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": special,
            });
            let list = json.as_object_mut().map(|json| json.entry("added_tokens").or_insert_with(|| json!([])));
            let list = list.and_then(Value::as_array_mut);
            list.ok_or_else(|| wrong("`added_tokens` is no list".into()))?.push(token.clone());
            // What transformers saved says it there, too.
            if let Some(decoder) = config.get_mut("added_tokens_decoder").and_then(Value::as_object_mut) {
                let mut token = token;
                token.as_object_mut().and_then(|token| token.remove("id"));
                decoder.insert(id.to_string(), token);
            }
        }
        let text = format!("{json:#}\n");
        let tokenizer = Tokenizer::from_bytes(&text).map_err(|e| wrong(format!("with tokens added: {e}")))?;
        let made = Self::new(Parts {
            tokenizer,
            json: text,
            config,
            chat_template: self.chat_template.clone(),
            stops: self.eos_ids.clone(),
            source: self.source.clone(),
        })?;
        for ((content, _), id) in added.iter().zip(self.vocab..) {
            let found = made.encode(content).map_err(wrong)?.ids;
            if found.iter().map(|id| *id as usize).ne([id]) {
                return Err(wrong(format!("{content:?} was added as token {id}, and is read as {found:?}")));
            }
        }
        Ok(made)
    }

    /// Its tokenizer.json, as it was read or made.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// A text as tokens. Special tokens are those the text spells out.
    pub fn encode(&self, text: &str) -> std::result::Result<Encoding, String> {
        let encode = || self.tokenizer.encode(text, false).map_err(|e| e.to_string());
        let encoding = unwound(encode, |said| said).map_err(|e| format!("the tokenizer fails: {e}"))?;
        Ok(Encoding { ids: encoding.get_ids().to_vec(), offsets: encoding.get_offsets().to_vec() })
    }

    /// Check that a model whose embedding has `vocab` rows has all of these tokens.
    ///
    /// # Errors
    /// The first that it has not, and what that means.
    pub fn within(&self, ids: &[u32], vocab: usize) -> std::result::Result<(), String> {
        let Some(id) = ids.iter().find(|id| **id as usize >= vocab) else { return Ok(()) };
        let Some(text) = self.tokenizer.id_to_token(*id) else {
            return Err(format!("there is no token {id}: the model has {vocab}"));
        };
        Err(format!(
            "token {id} (`{text}`) is outside the model's vocabulary of {vocab}: the tokenizer is another model's"
        ))
    }

    /// The text of ids, without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.decoded(ids, true)
    }

    /// The same with special tokens written out.
    pub fn decode_with_special(&self, ids: &[u32]) -> Result<String> {
        self.decoded(ids, false)
    }

    fn decoded(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let decode = || self.tokenizer.decode(ids, skip_special).map_err(|e| e.to_string());
        unwound(decode, |said| said).map_err(|said| Error::model(&self.source, said))
    }

    /// The added tokens from an id on, in their order, each as it is written in JSON; special ones are marked.
    pub fn added_from(&self, first: usize) -> Vec<String> {
        let added = self.tokenizer.get_added_vocabulary().get_added_tokens_decoder();
        let mut tokens: Vec<_> = added.iter().filter(|(id, _)| **id as usize >= first).collect();
        tokens.sort_by_key(|(id, _)| **id);
        let written = |token: &tokenizers::AddedToken| {
            let text = Value::from(token.content.as_str());
            if token.special { format!("{text} (special)") } else { text.to_string() }
        };
        tokens.into_iter().map(|(_, token)| written(token)).collect()
    }

    /// Whether an id is a special token.
    pub fn is_special(&self, id: u32) -> bool {
        let token = self.tokenizer.get_added_vocabulary().get_added_tokens_decoder().get(&id);
        token.is_some_and(|t| t.special)
    }

    /// The renderer of a chat template, the model's or another, with the model's tokens.
    ///
    /// # Errors
    /// It does not parse.
    pub fn renderer(&self, template: &str) -> std::result::Result<Renderer, setaccio_templates::Error> {
        let token = |t: &Option<(String, u32)>| t.as_ref().map(|(t, _)| t.clone()).unwrap_or_default();
        Renderer::new(Some(template), None, &token(&self.bos), &token(&self.eos))
    }

    /// Write tokenizer.json, tokenizer_config.json and, for what ends a generation, generation_config.json
    /// into `folder`, for transformers and for us.
    pub fn save(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let mut config = self.config.clone();
        config.entry("tokenizer_class").or_insert_with(|| json!("PreTrainedTokenizerFast"));
        if let Some(template) = &self.chat_template {
            config.insert("chat_template".into(), json!(template));
        }
        let mut generation = Map::new();
        generation.insert("eos_token_id".into(), json!(self.eos_ids));
        if let Some((_, id)) = self.bos {
            generation.insert("bos_token_id".into(), json!(id));
        }
        atomic::write(&folder.join("tokenizer.json"), self.json.as_bytes())?;
        for (name, object) in [("tokenizer_config.json", config), ("generation_config.json", generation)] {
            // Sorted, whatever map serde_json was built with.
            let object: BTreeMap<_, _> = object.into_iter().collect();
            let text = serde_json::to_string_pretty(&object).map_err(|e| Error::Other(e.to_string()))?;
            atomic::write(&folder.join(name), (text + "\n").as_bytes())?;
        }
        Ok(())
    }
}

/// A special token of a configuration: text, or an object with `content`.
pub(crate) fn content(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// Let a tokenizer that was made here put BOS first, for transformers, which asks tokenizer.json alone.
pub(crate) fn start_with(tokenizer: &mut Tokenizer, bos: &str, id: u32) -> std::result::Result<(), String> {
    let template = TemplateProcessing::builder().try_single(vec![bos, "$A"])?.special_tokens(vec![(bos, id)]).build();
    tokenizer.with_post_processor(Some(template.map_err(|e| e.to_string())?));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_tokens_are_found_in_texts() {
        let made = tiny::train(["Nel mezzo del cammin"].into_iter(), 300).unwrap();
        let more = made.with_added(&[("terzina", false), ("<|verso|>", true)]).unwrap();
        let (word, mark) = (u32::try_from(made.vocab).unwrap(), u32::try_from(made.vocab + 1).unwrap());
        assert_eq!(more.vocab, made.vocab + 2);
        assert_ne!(more.sha256, made.sha256);
        let text = "<|verso|>Nel mezzo terzina";
        let ids = more.encode(text).unwrap().ids;
        assert_eq!((ids[0], *ids.last().unwrap()), (mark, word));
        assert_eq!(ids[1..ids.len() - 1], made.encode("Nel mezzo ").unwrap().ids);
        assert_eq!(more.decode(&ids).unwrap(), "Nel mezzo terzina", "special tokens are not shown");
        assert_eq!(more.decode_with_special(&ids).unwrap(), text);
        assert_eq!((more.adds_bos, &more.eos_ids, &more.bos), (made.adds_bos, &made.eos_ids, &made.bos));
        let dir = tempfile::tempdir().unwrap();
        more.save(dir.path()).unwrap();
        assert_eq!(Tokens::open(dir.path()).unwrap().encode(text).unwrap().ids, ids);
        let twice = more.with_added(&[("terzina", false)]).unwrap_err().to_string();
        assert!(twice.contains(&format!("\"terzina\" is to be added, and is its token {word} already")), "{twice}");
    }

    #[test]
    fn a_saved_tokenizer_reads_back_the_same() {
        let texts = ["Nel mezzo del cammin di nostra vita", "mi ritrovai per una selva oscura"];
        let made = tiny::train(texts.into_iter(), 300).unwrap();
        let dir = tempfile::tempdir().unwrap();
        made.save(dir.path()).unwrap();
        let read = Tokens::open(dir.path()).unwrap();
        assert_eq!((&read.sha256, &read.bos, &read.eos), (&made.sha256, &made.bos, &made.eos));
        assert_eq!((&read.eos_ids, read.vocab, read.adds_bos), (&made.eos_ids, made.vocab, made.adds_bos));
        assert_eq!(read.chat_template, made.chat_template);
        let again = tempfile::tempdir().unwrap();
        read.save(again.path()).unwrap();
        for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
            let [a, b] = [&dir, &again].map(|d| fs::read(d.path().join(name)).unwrap());
            assert!(a == b, "{name}");
        }
    }
}
