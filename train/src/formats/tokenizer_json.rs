//! A tokenizer from a Hugging Face folder: tokenizer.json, and what tokenizer_config.json,
//! special_tokens_map.json, generation_config.json and chat_template.jinja say around it.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value};
use setaccio_base::{atomic, bundle::Place, unwound::unwound};
use tokenizers::Tokenizer;

use crate::{
    error::{Error, Result},
    tokenizer::{Parts, Tokens, content},
};

impl Tokens {
    /// Read the tokenizer of a model: a GGUF file, a Hugging Face folder, or a tokenizer.json in one.
    ///
    /// # Errors
    /// It is missing, torn, or of a kind that is not known.
    pub fn open(path: &Path) -> Result<Self> {
        type Open = fn(&Path) -> Result<Tokens>;
        let (open, file): (Open, _) = match path.extension().and_then(|e| e.to_str()) {
            Some("gguf") => (super::gguf::tokenizer::open, path.to_owned()),
            Some("json") => (open_file, path.to_owned()),
            _ => (open_file, path.join("tokenizer.json")),
        };
        // The crate that builds it takes much of a file as it is.
        unwound(|| open(&file), |said| Error::model(&file, format!("its tokenizer cannot be built: {said}")))
    }
}

/// Read a tokenizer.json, and the other files beside it.
fn open_file(file: &Path) -> Result<Tokens> {
    let folder = atomic::parent(file);
    let text = read(file)?.ok_or_else(|| {
        let hint = if folder.join("tokenizer.model").exists() {
            "; tokenizer.model is: let transformers convert it with AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        } else {
            "; fetch it from the model's repository, or name one in `model.tokenizer`"
        };
        Error::model(file, format!("is not there{hint}"))
    })?;
    charsmaps(&text).map_err(|why| Error::model(file, format!("{why}; fetch it again")))?;
    let tokenizer = Tokenizer::from_bytes(&text)
        .map_err(|e| Error::model(file, format!("is no tokenizer.json: {e}; fetch it again")))?;
    let object = |name: &str| object(&folder.join(name));
    let mut config = object("tokenizer_config.json")?.unwrap_or_default();
    for (key, value) in object("special_tokens_map.json")?.unwrap_or_default() {
        if config.get(&key).is_none_or(Value::is_null) {
            config.insert(key, value);
        }
    }
    let mut stops = Vec::new();
    for name in ["generation_config.json", "config.json"] {
        let ids = object(name)?.and_then(|mut o| o.remove("eos_token_id")).unwrap_or_default();
        let ids = if let Value::Array(ids) = ids { ids } else { vec![ids] };
        stops.extend(ids.iter().filter_map(Value::as_u64).filter_map(|id| u32::try_from(id).ok()));
    }
    let chat_template = match read(&folder.join("chat_template.jinja"))? {
        Some(template) => Some(template),
        None => config.get("chat_template").and_then(template),
    };
    let source: PathBuf = file.to_owned();
    Tokens::new(Parts { tokenizer, json: text, config, chat_template, stops, source })
}

/// Check that the tables of characters of a SentencePiece normaliser are as large as they say: the library asks for the memory
/// before it reads them. The first four bytes are the size of a trie, in bytes (SentencePiece's `normalizer.cc`).
fn charsmaps(json: &str) -> std::result::Result<(), String> {
    const KEY: &str = "precompiled_charsmap";
    // Files of megabytes are not parsed for it: where the key is written, its value follows.
    for (at, key) in json.match_indices(&format!("\"{KEY}\"")) {
        let Some(value) = json[at + key.len()..].trim_start().strip_prefix(':').map(str::trim_start) else { continue };
        if !value.starts_with('"') {
            continue;
        }
        let mut values = serde_json::Deserializer::from_str(value).into_iter::<String>();
        let Some(Ok(map)) = values.next() else { return Err(format!("`{KEY}` is cut short")) };
        let map = BASE64.decode(map).map_err(|e| format!("`{KEY}` is no base64: {e}"))?;
        let (size, rest) = map.split_first_chunk().ok_or_else(|| format!("`{KEY}` is cut short"))?;
        let size = u32::from_le_bytes(*size);
        if size as usize > rest.len() {
            return Err(format!("`{KEY}` says that {size} bytes follow, and {} do", rest.len()));
        }
    }
    Ok(())
}

/// The chat template of a configuration: one text, or a list of named ones.
fn template(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let named = value.as_array()?;
    let default = named.iter().find(|t| t.get("name").and_then(Value::as_str) == Some("default")).or(named.first())?;
    default.get("template").and_then(content).map(str::to_owned)
}

fn read(path: &Path) -> Result<Option<String>> {
    match Place::disk(path).text_plain() {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path)(e)),
    }
}

fn object(path: &Path) -> Result<Option<Map<String, Value>>> {
    let parse = |text: String| {
        serde_json::from_str(&text).map_err(|e| Error::model(path, format!("is no JSON object: {e}; fetch it again")))
    };
    read(path)?.map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;
    use setaccio_base::unwound::CONTRADICTION;

    use super::*;
    use crate::tokenizer::tiny;

    fn folder(config: &Value) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        tiny::train(["uno due tre"].into_iter(), 300).unwrap().save(dir.path()).unwrap();
        fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        dir
    }

    #[test]
    fn configurations_as_they_are_published() {
        let dir = folder(&json!({
            "bos_token": {"content": "<|begin_of_text|>", "lstrip": false},
            "eos_token": null,
            "chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}],
        }));
        let open = || Tokens::open(dir.path()).unwrap();
        assert_eq!(open().bos, Some(("<|begin_of_text|>".into(), 0)));
        assert_eq!(open().chat_template.as_deref(), Some("d"));
        // No eos anywhere: the end of a turn, which is a special token, stands in.
        fs::remove_file(dir.path().join("generation_config.json")).unwrap();
        assert_eq!(open().eos, Some(("<|eot_id|>".into(), 3)));
        fs::write(dir.path().join("special_tokens_map.json"), r#"{"eos_token": "<|end_of_text|>"}"#).unwrap();
        assert_eq!((open().eos, open().eos_ids), (Some(("<|end_of_text|>".into(), 4)), vec![3, 4]));
        fs::write(dir.path().join("generation_config.json"), r#"{"eos_token_id": [4, 9]}"#).unwrap();
        assert_eq!(open().eos_ids, [3, 4, 9]);
        fs::write(dir.path().join("chat_template.jinja"), "j").unwrap();
        assert_eq!(open().chat_template.as_deref(), Some("j"));
    }

    #[test]
    fn what_is_missing_or_torn_is_named() {
        let dir = folder(&json!({"eos_token": "<|eot_id|>"}));
        let error = |dir: &Path| Tokens::open(dir).unwrap_err().to_string();
        let path = dir.path().join("tokenizer.json");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(error(dir.path()).contains("tokenizer.json: is no tokenizer.json"), "{}", error(dir.path()));
        fs::remove_file(&path).unwrap();
        assert!(error(dir.path()).contains("fetch it from the model's repository"));
        fs::write(dir.path().join("tokenizer.model"), "").unwrap();
        assert!(error(dir.path()).contains("save_pretrained"));
        fs::write(&path, whole).unwrap();
        fs::write(dir.path().join("tokenizer_config.json"), "[").unwrap();
        assert!(error(dir.path()).contains("tokenizer_config.json: is no JSON object"));
    }

    #[test]
    fn what_the_library_panics_at_is_an_error_that_names_the_file() {
        let file = |model: &Value| {
            let dir = folder(&json!({"eos_token": "a"}));
            let path = dir.path().join("tokenizer.json");
            fs::write(&path, json!({"version": "1.0", "added_tokens": [], "model": model}).to_string()).unwrap();
            (dir, path)
        };
        let bpe = |prefix: &str| json!({"type": "BPE", "continuing_subword_prefix": prefix, "vocab": {"a": 0, "#b": 1, "ab": 2}, "merges": ["a #b"]});
        let (_dir, path) = file(&bpe("#"));
        assert_eq!(Tokens::open(&path).unwrap().vocab, 3);
        let (_dir, path) = file(&bpe("#######"));
        let error = Tokens::open(&path).unwrap_err().to_string();
        let said = format!("{}: its tokenizer cannot be built: {CONTRADICTION}", path.display());
        assert_eq!(error, said);
        // A table of characters that says to be of 4 GB.
        let text = fs::read_to_string(&path).unwrap().replacen(
            '{',
            r#"{"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////w=="},"#,
            1,
        );
        fs::write(&path, text).unwrap();
        let error = Tokens::open(&path).unwrap_err().to_string();
        assert!(error.contains("`precompiled_charsmap` says that 4294967295 bytes follow, and 0 do"), "{error}");
        // Ids up to the last that there is take no memory of their own.
        let (_dir, path) = file(&json!({"type": "BPE", "vocab": {"a": u32::MAX}, "merges": []}));
        assert!(Tokens::open(&path).is_ok_and(|tokens| tokens.vocab == 1 << 32));
    }
}
