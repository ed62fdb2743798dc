//! A model as a Hugging Face folder whose linear layers are in 4 bits, as transformers writes and reads them with
//! bitsandbytes.

use std::{collections::BTreeMap, fs, path::Path};

use candle_core::DType;
use serde_json::{Map, Value};

use super::{
    config::DTYPES,
    files::{CONFIG, ModelFiles, WHOLE, write_together},
    load::Source,
    safetensors::to_bytes,
};
use crate::{
    error::{Error, Result},
    nf4::{Nf4, checkpoint},
    publish,
    recipe::LINEARS,
};

/// The head is no part of what is quantised; transformers is told so by name, and leaves it alone by default too.
const WHOLE_MODULES: [&str; 1] = ["lm_head"];

/// Write the model of `files` to `folder` with the linear layers of its blocks in NF4 and every other tensor as it
/// is stored (from GGUF in f32). A layer that is in NF4 already stays as it is, byte for byte. `compute` is what
/// bitsandbytes is told to compute in: f32, f16 or bf16. config.json is that of the model's folder, or is made from
/// a GGUF file's metadata, plus `quantization_config`; it comes last, so that a folder with one is whole. The
/// tokenizer is the caller's to copy.
///
/// The folder's weights are in memory once before they are written: 0.6 bytes a weight, and what stays whole.
///
/// # Errors
/// `folder` is the model's own; a tensor is missing, torn or not finite; the model is from a GGUF file with RoPE divisors;
/// the file system refuses.
pub fn save_4bit(files: &ModelFiles, folder: &Path, double_quant: bool, compute: DType) -> Result<()> {
    let Some((compute, _)) = DTYPES.iter().find(|(_, d)| *d == compute) else {
        return Err(Error::Other(format!("bitsandbytes computes in f32, f16 or bf16, not {}", compute.as_str())));
    };
    publish::apart(files.path(), folder)?;
    let model = files.config();
    let stored = model.quantization.as_ref();
    let double_quant = stored.map_or(double_quant, |stored| stored.double_quant);
    let mut tensors = BTreeMap::new();
    for (name, shape) in model.shapes() {
        match shape[..] {
            [out, input] if in_blocks(&name) => {
                let packed = match files.packed(&name, (out, input))? {
                    Some(packed) => packed,
                    None => Nf4::quantize(&files.load(&name, &shape)?, double_quant.into())
                        .map_err(|e| Error::tensor(files.path(), &name, e.to_string()))?,
                };
                tensors.extend(checkpoint::tensors(&packed, &name)?);
            }
            _ => {
                tensors.insert(name.clone(), files.load(&name, &shape)?);
            }
        }
    }
    let mut config = base_config(files)?;
    config["quantization_config"] = checkpoint::config(double_quant, compute, &WHOLE_MODULES);
    // serde_json's order of keys depends on what else is built; the bytes must not.
    config.sort_all_objects();
    let config = format!("{config:#}\n");
    write_together(folder, &[(WHOLE, to_bytes(&tensors)?), (CONFIG, config.into_bytes())])
}

/// Whether a tensor is the weight of one of the seven linear layers.
pub(crate) fn in_blocks(name: &str) -> bool {
    let module = name.strip_suffix(".weight").and_then(|module| module.rsplit_once('.'));
    module.is_some_and(|(_, last)| LINEARS.contains(&last))
}

/// config.json as it was: what the loader does not know may matter to others.
pub(crate) fn base_config(files: &ModelFiles) -> Result<Value> {
    if files.gguf().is_some() {
        return files.config().to_json();
    }
    let path = files.path().join(CONFIG);
    let text = fs::read(&path).map_err(Error::io("read", &path))?;
    let map: Map<String, Value> =
        serde_json::from_slice(&text).map_err(|e| Error::model(&path, format!("not a config.json: {e}")))?;
    Ok(Value::Object(map))
}
