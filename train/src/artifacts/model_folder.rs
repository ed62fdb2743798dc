//! What a model's folder has beside its weights: config.json, generation_config.json and the tokenizer.

use std::{fs, path::Path};

use candle_core::DType;
use serde_json::{Map, Value};
use setaccio_base::atomic;

use crate::{
    error::{Error, Result},
    formats::{
        config_json::DTYPES,
        model_files::{CONFIG, ModelFiles},
    },
    model::config::Config,
    tokenizer::Tokens,
};

const GENERATION: &str = "generation_config.json";

/// Write beside the weights of the model `made` of a base, in this type, none of them in 4 bits, what else belongs into a model's folder: config.json, the
/// tokenizer, and what else the base says about generating (temperature, top_p and the like).
pub fn complete(
    (base, made): (&ModelFiles, &Config),
    tokens: Option<&Tokens>,
    folder: &Path,
    dtype: DType,
) -> Result<()> {
    let mut config = config((base, made), dtype)?;
    config.sort_all_objects();
    atomic::write(&folder.join(CONFIG), format!("{config:#}\n").as_bytes())?;
    add_tokenizer(base, tokens, folder)
}

/// The base's config.json, with what is otherwise in the model that was made of it.
fn config((base, made): (&ModelFiles, &Config), dtype: DType) -> Result<Value> {
    let mut config = base.config_json()?;
    let name = DTYPES.iter().find(|(_, d)| *d == dtype).map(|(name, _)| *name);
    if let Some(map) = config.as_object_mut() {
        map.remove("quantization_config");
        // transformers 5 calls it `dtype` and reads both.
        map.remove("dtype");
        map.insert("torch_dtype".into(), name.into());
        if made.vocab_size != base.config().vocab_size {
            map.insert("vocab_size".into(), made.vocab_size.into());
        }
        if made.tie_word_embeddings != base.config().tie_word_embeddings {
            map.insert("tie_word_embeddings".into(), made.tie_word_embeddings.into());
        }
    }
    Ok(config)
}

/// Write the tokenizer, and keep what else the base says about generating: temperature, top_p and the like.
pub fn add_tokenizer(base: &ModelFiles, tokens: Option<&Tokens>, folder: &Path) -> Result<()> {
    let Some(tokens) = tokens else { return Ok(()) };
    tokens.save(folder)?;
    let read = |path: &Path| -> Result<Map<String, Value>> {
        let text = fs::read(path).map_err(Error::io("read", path))?;
        serde_json::from_slice(&text).map_err(|e| Error::model(path, format!("is no JSON object: {e}; fetch it again")))
    };
    let (theirs, ours) = (base.path().join(GENERATION), folder.join(GENERATION));
    if !theirs.is_file() {
        return Ok(());
    }
    let mut all = read(&theirs)?;
    all.extend(read(&ours)?);
    let mut all = Value::Object(all);
    all.sort_all_objects();
    Ok(atomic::write(&ours, format!("{all:#}\n").as_bytes())?)
}
