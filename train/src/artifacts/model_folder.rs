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
    tokenizer::Tokens,
};

const GENERATION: &str = "generation_config.json";

/// Write beside the weights of this type, none of them in 4 bits, what else belongs into a model's folder: config.json, the
/// tokenizer, and what else the base says about generating (temperature, top_p and the like).
pub fn complete(base: &ModelFiles, tokens: Option<&Tokens>, folder: &Path, dtype: DType) -> Result<()> {
    let mut config = config(base, dtype)?;
    config.sort_all_objects();
    atomic::write(&folder.join(CONFIG), format!("{config:#}\n").as_bytes())?;
    add_tokenizer(base, tokens, folder)
}

/// The base's config.json.
fn config(base: &ModelFiles, dtype: DType) -> Result<Value> {
    let mut config = base.config_json()?;
    let name = DTYPES.iter().find(|(_, d)| *d == dtype).map(|(name, _)| *name);
    if let Some(map) = config.as_object_mut() {
        map.remove("quantization_config");
        // transformers 5 calls it `dtype` and reads both.
        map.remove("dtype");
        map.insert("torch_dtype".into(), name.into());
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
