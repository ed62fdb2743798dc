//! An adapter and its base as one model: W' = W + s B A, in f32, written in the type that is wanted. Tensor by tensor,
//! so that a model of any size is merged in the memory of its largest tensor; then checked against the base with the
//! adapter on, and only then put in place.

mod check;
mod options;
mod provenance;
mod weights;

use std::path::Path;

use candle_core::DType;
use setaccio_base::progress::Progress;

pub use check::Check;
pub use options::{DTYPES, Options, bytes, dtype};
pub use provenance::{is_of_adapter, up_to_date};
pub use weights::{Base, Precision, Replaced, Sum};

use provenance::Provenance;

use crate::{
    artifacts::{
        destination::{Destination, check_apart},
        model_folder,
    },
    error::{Error, Result},
    formats::{
        model_files::ModelFiles,
        peft::{self, AdapterFile},
        sharded,
    },
    model::{config::Config, load::Source},
    tokenizer::Tokens,
};

/// What the check run asks, with a tokenizer: questions, prose, something that is no language.
const PROMPTS: [&str; 3] =
    ["Perché il cielo è blu?", "Nel mezzo del cammin di nostra vita mi ritrovai", "The answer is 42: {\"x\": [1, 2]}"];

/// What a merge left.
#[derive(Clone, Debug, PartialEq)]
pub struct MergeReport {
    /// Type of the weights.
    pub dtype: DType,
    /// Linear layers that the adapter was added to.
    pub modules: usize,
    /// Files of weights, and bytes of their values.
    pub weights: sharded::ShardCounts,
    /// The check run, unless it was left out.
    pub check: Option<Check>,
}

/// Merge the adapter in `adapter` into `base`, as a folder `out` that transformers loads: weights, config.json,
/// generation_config.json, and the tokenizer with its chat template, from beside the adapter if it is there.
///
/// # Errors
/// The adapter belongs to another base; `out` is taken; a file is torn; a value is not finite; the check run finds a
/// difference that rounding does not explain. `out` is as it was then.
pub fn merge(
    base: &ModelFiles,
    adapter: &Path,
    out: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<MergeReport> {
    let dtype = ready(base, out, options, progress)?;
    let file = peft::load(adapter)?;
    file.fits(base.config(), adapter)?;
    if !options.same_base {
        named_alike(base, &file, adapter, "--model")?;
    }
    let tokens = tokens(base, adapter)?;
    if tokens.is_none() {
        progress.warn("neither the adapter nor the base has a tokenizer: the merged folder has none");
    }
    let provenance = Provenance::of_adapter(base, adapter, &file, progress)?;
    let source = Base { files: base, precision: options.precision };
    Destination { path: out, force: options.force }.folder(|folder| {
        let sum = Sum { upon: Replaced { base: &source, adapter: &file } };
        let applied = file.applied(base.config());
        let weights = write(&sum, (&applied, folder), (dtype, options.shard_bytes), progress)?;
        model_folder::complete((base, &applied), tokens.as_ref(), folder, dtype)?;
        let check = options.check.then(|| compare(&source, &file, folder, (dtype, tokens.as_ref()), progress));
        let check = check.transpose()?;
        provenance.write(folder, (dtype, options), check.is_some())?;
        Ok(MergeReport { dtype, modules: file.modules(), weights, check })
    })
}

/// Write a model that was trained whole, `model`, into the folder `out` in another type or other files.
///
/// # Errors
/// `out` is taken; a file is torn; a value is not finite, or not any more in that type. `out` is as it was then.
pub fn copy(model: &ModelFiles, out: &Path, options: &Options, progress: &dyn Progress) -> Result<MergeReport> {
    let dtype = ready(model, out, options, progress)?;
    let tokens = tokens(model, model.path())?;
    let provenance = Provenance::of_model(model, progress)?;
    let base = Base { files: model, precision: options.precision };
    Destination { path: out, force: options.force }.folder(|folder| {
        let weights = write(&base, (model.config(), folder), (dtype, options.shard_bytes), progress)?;
        model_folder::complete((model, model.config()), tokens.as_ref(), folder, dtype)?;
        provenance.write(folder, (dtype, options), false)?;
        Ok(MergeReport { dtype, modules: 0, weights, check: None })
    })
}

/// Check that `model` is whole and `out` free for what is made of it, and say in which type that is written.
fn ready(model: &ModelFiles, out: &Path, options: &Options, progress: &dyn Progress) -> Result<DType> {
    Destination { path: out, force: options.force }.check_folder()?;
    check_apart(model.path(), out)?;
    model.check()?;
    model.warn(progress);
    options.dtype.map_or_else(|| model.stored(), Ok)
}

/// Write the weights that `source` gives.
fn write(
    source: &dyn Source,
    (config, folder): (&Config, &Path),
    (dtype, shard_bytes): (DType, u64),
    progress: &dyn Progress,
) -> Result<sharded::ShardCounts> {
    let shapes = config.shapes();
    progress.stage("merge", shapes.len() as u64);
    sharded::write(folder, dtype, &shapes, shard_bytes, &mut |name, shape| {
        if progress.cancelled() {
            return Err(Error::Stopped);
        }
        let tensor = source.tensor(name, shape);
        progress.advance(1, "tensors");
        tensor
    })
}

/// Compare what was written with the adapter on.
fn compare(
    base: &Base,
    adapter: &AdapterFile,
    folder: &Path,
    (dtype, tokens): (DType, Option<&Tokens>),
    progress: &dyn Progress,
) -> Result<Check> {
    let merged = ModelFiles::open(folder)?;
    merged.check()?;
    progress.stage("check", merged.config().layers as u64);
    let check = check::check((base, adapter), (&merged, dtype), &prompts(tokens, merged.config())?, &|| {
        progress.advance(1, "layers");
        !progress.cancelled()
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
        progress.warn(&format!(
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
pub(crate) fn prompts(tokens: Option<&Tokens>, config: &Config) -> Result<Vec<Vec<u32>>> {
    let vocab = u32::try_from(config.vocab_size).unwrap_or(u32::MAX);
    let Some(tokens) = tokens else {
        return Ok((0..3).map(|row| (0..12).map(|i| (row + i * (vocab / 12).max(1)) % vocab).collect()).collect());
    };
    let bos = tokens.bos.as_ref().filter(|_| tokens.adds_bos).map(|(_, id)| *id);
    let ids = |text: &&str| -> Result<Vec<u32>> {
        let ids = tokens.encode(text).map_err(Error::Other)?.ids;
        tokens.within(&ids, config.vocab_size).map_err(|why| Error::model(&tokens.source, why))?;
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

/// Refuse a base that is called otherwise than the adapter's: shapes do not tell a model from its chat version. `flag`
/// names the base on the command line.
pub(crate) fn named_alike(base: &ModelFiles, file: &AdapterFile, adapter: &Path, flag: &str) -> Result<()> {
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
        "was trained upon `{wanted}`, and the base is {}: name that one with {flag}, or, if it is the same model under \
         another name, add --same-base",
        path.display()
    );
    Err(Error::model(adapter.join(peft::CONFIG), why))
}

#[cfg(test)]
mod tests;
