//! A model as a Hugging Face folder whose linear layers are in 4 bits, as transformers writes and reads them with
//! bitsandbytes.

use std::{collections::BTreeMap, path::Path};

use candle_core::DType;
use setaccio_base::{atomic, progress::Progress};

use super::report::ExportReport;
use crate::{
    artifacts::{
        destination::{Destination, check_apart},
        model_folder,
    },
    error::{Error, Result},
    formats::{
        bitsandbytes,
        config_json::DTYPES,
        model_files::{CONFIG, ModelFiles, WHOLE},
        safetensors::to_bytes,
    },
    model::{
        config::{is_block_linear, is_expert},
        load::Source,
    },
    nf4::{DoubleQuant, Nf4},
    tokenizer::Tokens,
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
pub fn save_4bit(files: &ModelFiles, folder: &Path, double_quant: DoubleQuant, compute: DType) -> Result<()> {
    let stored_as = compute;
    let Some((compute, _)) = DTYPES.iter().find(|(_, d)| *d == compute) else {
        return Err(Error::Other(format!("bitsandbytes computes in f32, f16 or bf16, not {}", compute.as_str())));
    };
    check_apart(files.path(), folder)?;
    let model = files.config();
    let stored = model.quantization.as_ref();
    let double_quant = stored.map_or(double_quant, |stored| stored.double_quant.into());
    let mut tensors = BTreeMap::new();
    for (name, shape) in model.shapes() {
        match shape[..] {
            // transformers 5 packs linear layers, and joins experts to tensors that are none.
            [out, input] if is_expert(&name) => {
                let whole = match files.packed(&name, (out, input))? {
                    Some(packed) => packed.dequantize(stored_as)?,
                    None => files.load(&name, &shape)?,
                };
                tensors.insert(name.clone(), whole);
            }
            [out, input] if is_block_linear(&name) => {
                let packed = match files.packed(&name, (out, input))? {
                    Some(packed) => packed,
                    None => Nf4::quantize(&files.load(&name, &shape)?, double_quant)
                        .map_err(|e| Error::tensor(files.path(), &name, e.to_string()))?,
                };
                tensors.extend(bitsandbytes::tensors(&packed, &name)?);
            }
            _ => {
                tensors.insert(name.clone(), files.load(&name, &shape)?);
            }
        }
    }
    let mut config = files.config_json()?;
    config["quantization_config"] = bitsandbytes::config(double_quant, compute, &WHOLE_MODULES);
    // serde_json's order of keys depends on what else is built; the bytes must not.
    config.sort_all_objects();
    let config = format!("{config:#}\n");
    Ok(atomic::write_together(folder, &[(WHOLE, to_bytes(&tensors)?), (CONFIG, config.into_bytes())])?)
}

/// Write the model of `files` to the folder `out`: linear layers in NF4 with double quantisation, all else as it is
/// stored, computed in the type of the embedding; and its tokenizer, if there is one. The weights of the folder are in
/// memory once.
///
/// # Errors
/// `out` is taken; a tensor is missing, torn or not finite; the file system refuses. `out` is as it was then.
pub fn four_bit(
    (files, tokens): (&ModelFiles, Option<&Tokens>),
    out: Destination,
    progress: &dyn Progress,
) -> Result<ExportReport> {
    out.check_folder()?;
    files.check()?;
    files.warn(progress);
    if files.config().experts.is_some() {
        progress.warn("experts stay in the type they have: transformers 5 reads none in 4 bits");
    }
    if tokens.is_none() {
        progress.warn("the model has no tokenizer: the folder has none");
    }
    let compute = files.stored()?;
    out.folder(|folder| {
        save_4bit(files, folder, DoubleQuant::On, compute)?;
        model_folder::add_tokenizer(files, tokens, folder)?;
        let written = ModelFiles::open(folder)?;
        let shapes = written.config().shapes();
        let packed = shapes.iter().filter(|(name, _)| written.has(&format!("{name}.absmax"))).count();
        let kinds = BTreeMap::from([("NF4", packed), ("the type they had", shapes.len() - packed)]);
        Ok(ExportReport { bytes: written.bytes(), kinds, check: None })
    })
}
