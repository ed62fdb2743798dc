//! An adapter and its base as one model: W' = W + s B A, in f32, written in the type that is wanted. Tensor by tensor,
//! so that a model of any size is merged in the memory of its largest tensor; then checked against the base with the
//! adapter on, and only then put in place.

mod check;
mod options;
mod run;
mod weights;

use std::{fs, path::Path};

use candle_core::DType;
use serde_json::{Map, Value};
use setaccio_base::atomic::write as write_whole;

pub use check::Check;
pub use options::{Options, bytes, dtype};
pub use run::Trained;
pub use weights::{Base, Precision, Sum};

use crate::{
    error::{Error, Result},
    lora::peft::{self, AdapterFile},
    model::{
        config::{Config, DTYPES},
        files::{CONFIG, ModelFiles},
        load::Source,
        save::base_config,
        sharded,
    },
    publish,
    session::Watch,
    tokenizer::Tokens,
};

const GENERATION: &str = "generation_config.json";
/// What the check run asks, with a tokenizer: questions, prose, something that is no language.
const PROMPTS: [&str; 3] =
    ["Perché il cielo è blu?", "Nel mezzo del cammin di nostra vita mi ritrovai", "The answer is 42: {\"x\": [1, 2]}"];

/// What a merge left.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// Type of the weights.
    pub dtype: DType,
    /// Linear layers that the adapter was added to.
    pub modules: usize,
    /// Files of weights, and bytes of their values.
    pub weights: sharded::Written,
    /// The check run, unless it was left out.
    pub check: Option<Check>,
}

/// Merge the adapter in `adapter` into `base`, as a folder `out` that transformers loads: weights, config.json,
/// generation_config.json, and the tokenizer with its chat template, from beside the adapter if it is there.
///
/// # Errors
/// The adapter belongs to another base; `out` is taken; a file is torn; a value is not finite; the check run finds a
/// difference that rounding does not explain. `out` is as it was then.
pub fn merge(base: &ModelFiles, adapter: &Path, out: &Path, options: &Options, watch: &dyn Watch) -> Result<Merged> {
    let dtype = ready(base, out, options)?;
    let file = peft::load(adapter)?;
    file.fits(base.config(), adapter)?;
    if !options.same_base {
        named_alike(base, &file, adapter)?;
    }
    let tokens = tokens(base, adapter)?;
    if tokens.is_none() {
        watch.warn("neither the adapter nor the base has a tokenizer: the merged folder has none");
    }
    let source = Base { files: base, precision: options.precision };
    publish::folder(out, options.force, |folder| {
        let sum = Sum { base: &source, adapter: &file };
        let weights = write(&sum, (base.config(), folder), (dtype, options.shard_bytes), watch)?;
        finish(base, tokens.as_ref(), folder, dtype)?;
        let check = options.check.then(|| compare(&source, &file, folder, (dtype, tokens.as_ref()), watch));
        Ok(Merged { dtype, modules: file.tensors.len(), weights, check: check.transpose()? })
    })
}

/// Write a model that was trained whole, `model`, into the folder `out` in another type or other files.
///
/// # Errors
/// `out` is taken; a file is torn; a value is not finite, or not any more in that type. `out` is as it was then.
pub fn copy(model: &ModelFiles, out: &Path, options: &Options, watch: &dyn Watch) -> Result<Merged> {
    let dtype = ready(model, out, options)?;
    let tokens = tokens(model, model.path())?;
    let base = Base { files: model, precision: options.precision };
    publish::folder(out, options.force, |folder| {
        let weights = write(&base, (model.config(), folder), (dtype, options.shard_bytes), watch)?;
        finish(model, tokens.as_ref(), folder, dtype)?;
        Ok(Merged { dtype, modules: 0, weights, check: None })
    })
}

/// Check that `model` is whole and `out` free for what is made of it, and say in which type that is written.
fn ready(model: &ModelFiles, out: &Path, options: &Options) -> Result<DType> {
    publish::vacant_folder(out, options.force)?;
    publish::apart(model.path(), out)?;
    model.check()?;
    options.dtype.map_or_else(|| model.stored(), Ok)
}

/// Write the weights that `source` gives.
fn write(
    source: &dyn Source,
    (config, folder): (&Config, &Path),
    (dtype, shard_bytes): (DType, u64),
    watch: &dyn Watch,
) -> Result<sharded::Written> {
    let shapes = config.shapes();
    watch.stage("merge", shapes.len() as u64);
    sharded::write(folder, dtype, &shapes, shard_bytes, &mut |name, shape| {
        if watch.cancelled() {
            return Err(Error::Stopped);
        }
        let tensor = source.tensor(name, shape);
        watch.done(1, "tensors");
        tensor
    })
}

/// Compare what was written with the adapter on.
fn compare(
    base: &Base,
    adapter: &AdapterFile,
    folder: &Path,
    (dtype, tokens): (DType, Option<&Tokens>),
    watch: &dyn Watch,
) -> Result<Check> {
    let merged = ModelFiles::open(folder)?;
    merged.check()?;
    watch.stage("check", merged.config().layers as u64);
    let check = check::check((base, adapter), (&merged, dtype), &prompts(tokens, merged.config())?, &|| {
        watch.done(1, "layers");
        !watch.cancelled()
    })?;
    if !check.good() {
        return Err(Error::Other(format!(
            "the check run: logits of the merged model are up to {:.3e} from those with the adapter on, and {} weights \
             explain {:.3e}; nothing was put in place. Take --dtype f32, and tell us if it happens there too",
            check.largest,
            dtype.as_str(),
            check.explained
        )));
    }
    if check.effect < check.largest {
        watch.warn(&format!(
            "rounding to {} moves the logits by up to {:.3e}, and the adapter by only {:.3e}: what it learned drowns; \
             merge with --dtype f32",
            dtype.as_str(),
            check.largest,
            check.effect
        ));
    }
    Ok(check)
}

/// Ids to ask: texts, or without a tokenizer a walk through the vocabulary.
fn prompts(tokens: Option<&Tokens>, config: &Config) -> Result<Vec<Vec<u32>>> {
    let vocab = u32::try_from(config.vocab_size).unwrap_or(u32::MAX);
    let Some(tokens) = tokens else {
        return Ok((0..3).map(|row| (0..12).map(|i| (row + i * (vocab / 12).max(1)) % vocab).collect()).collect());
    };
    let bos = tokens.bos.as_ref().filter(|_| tokens.adds_bos).map(|(_, id)| *id);
    let ids = |text: &&str| -> Result<Vec<u32>> {
        let ids = tokens.encode(text).map_err(Error::Other)?.ids;
        if let Some(id) = ids.iter().find(|id| **id >= vocab) {
            let why = format!("gives token {id}, and the model has {vocab}: it is another model's tokenizer");
            return Err(Error::model(&tokens.source, why));
        }
        Ok(bos.into_iter().chain(ids).collect())
    };
    PROMPTS.iter().map(ids).collect()
}

/// The tokenizer that lies beside the adapter, with the template that it was trained with, or else the base's.
fn tokens(base: &ModelFiles, adapter: &Path) -> Result<Option<Tokens>> {
    let has = |folder: &Path| folder.join("tokenizer.json").is_file();
    if has(adapter) {
        return Tokens::open(adapter).map(Some);
    }
    if base.gguf().is_some() || has(base.path()) { Tokens::open(base.path()).map(Some) } else { Ok(None) }
}

/// Write beside the weights of this type, none of them in 4 bits, what else belongs into a model's folder: config.json, the
/// tokenizer, and what else the base says about generating (temperature, top_p and the like).
pub(crate) fn finish(base: &ModelFiles, tokens: Option<&Tokens>, folder: &Path, dtype: DType) -> Result<()> {
    let mut config = config(base, dtype)?;
    config.sort_all_objects();
    write_whole(&folder.join(CONFIG), format!("{config:#}\n").as_bytes())?;
    finish_folder(base, tokens, folder)
}

/// The base's config.json.
fn config(base: &ModelFiles, dtype: DType) -> Result<Value> {
    let mut config = base_config(base)?;
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
pub(crate) fn finish_folder(base: &ModelFiles, tokens: Option<&Tokens>, folder: &Path) -> Result<()> {
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
    Ok(write_whole(&ours, format!("{all:#}\n").as_bytes())?)
}

/// Refuse a base that is called otherwise than the adapter's. Shapes do not tell a model from its chat version.
pub(crate) fn named_alike(base: &ModelFiles, file: &AdapterFile, adapter: &Path) -> Result<()> {
    let wanted = file.config.base.trim_end_matches('/');
    let path = base.path();
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_lowercase();
    let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let place = Path::new(wanted).canonicalize().ok();
    // `models--meta-llama--Llama-2-7b-hf/snapshots/...`, as the Hub's cache has it.
    let in_cache = || full.to_string_lossy().contains(&format!("models--{}/", wanted.replace('/', "--")));
    // Of what is there we know that it is another.
    let same_name = || {
        let own = [full.file_name(), full.file_stem()].map(|n| n.unwrap_or_default().to_string_lossy().to_lowercase());
        place.is_none() && own.contains(&last(wanted))
    };
    if wanted.is_empty() || place.as_ref() == Some(&full) || in_cache() || same_name() {
        return Ok(());
    }
    let why = format!(
        "was trained upon `{wanted}`, and the base is {}: name that one with --model, or, if it is the same model under \
         another name, add --same-base",
        path.display()
    );
    Err(Error::model(adapter.join(peft::CONFIG), why))
}

#[cfg(test)]
mod tests;
