//! What a merged model says of where it came from: its lock and its card.

use std::{
    fs,
    path::{Path, PathBuf},
};

use candle_core::DType;
use setaccio_base::{atomic, progress::Progress};

use super::{options::Options, options::name_of, weights::Precision};
use crate::{
    error::{Error, Result},
    formats::{
        model_files::ModelFiles,
        peft::{self, AdapterFile},
    },
    report::{
        card::{
            self,
            merged::{self, MergedFacts},
        },
        line::Line,
        lock::{self, ENGINE, FileHash, RunLock},
        merge_lock::MergeLock,
        metrics,
    },
};

/// What goes into a merge, by its hashes, and the run that it came from.
pub(super) struct Provenance {
    base: Vec<FileHash>,
    adapter: Vec<FileHash>,
    run: Option<(RunLock, Vec<Line>)>,
    name: String,
    shape: Option<card::merged::Adapter>,
}

impl Provenance {
    /// Of an adapter in a folder and its base.
    pub(super) fn of_adapter(
        base: &ModelFiles,
        folder: &Path,
        file: &AdapterFile,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let adapter = adapter_files(folder, progress)?;
        let shape = card::merged::Adapter {
            rank: file.config.r,
            alpha: file.config.alpha,
            layers: file.tensors.len(),
            saved: file.saved.keys().filter(|module| !file.tensors.contains_key(*module)).cloned().collect(),
        };
        Ok(Self {
            base: hashes(base, progress)?,
            run: run_beside(folder, &adapter)?,
            adapter,
            name: file.config.base.clone(),
            shape: Some(shape),
        })
    }

    /// Of a model that a run trained whole.
    pub(super) fn of_model(model: &ModelFiles, progress: &dyn Progress) -> Result<Self> {
        let adapter = hashes(model, progress)?;
        let run = run_beside(model.path(), &adapter)?;
        let base = run.as_ref().map(|(lock, _)| lock.base.clone()).unwrap_or_default();
        let name = model.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { base, adapter, run, name, shape: None })
    }

    /// Write the lock and the card into the folder of the merged model, which was held against its parts or not.
    pub(super) fn write(self, folder: &Path, (dtype, options): (DType, &Options), checked: bool) -> Result<()> {
        let lock = MergeLock {
            engine: ENGINE.into(),
            dtype: name_of(dtype),
            base_precision: precision(options.precision).into(),
            base: self.base,
            adapter: self.adapter,
            made: weights(folder)?,
        };
        lock.write(folder)?;
        if !options.card {
            return Ok(());
        }
        let text = merged::markdown(&MergedFacts {
            lock: &lock,
            run: self.run.as_ref().map(|(lock, _)| lock),
            lines: self.run.as_ref().map(|(_, lines)| lines.as_slice()).unwrap_or_default(),
            base: &self.name,
            adapter: self.shape.as_ref(),
            checked,
        });
        Ok(atomic::write(&folder.join(card::NAME), text.as_bytes())?)
    }
}

/// Whether the model in `out` was merged from these very parts in this way, and is there as it was written; no adapter is a
/// model that was trained whole.
///
/// # Errors
/// A file cannot be read, or it was stopped.
pub fn up_to_date(
    base: &ModelFiles,
    adapter: Option<&Path>,
    out: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<bool> {
    // One of another version is of another merge.
    let Ok(Some(lock)) = MergeLock::read(out) else { return Ok(false) };
    let dtype = name_of(options.dtype.map_or_else(|| base.stored(), Ok)?);
    let how = (dtype.as_str(), precision(options.precision));
    let cancelled = || progress.cancelled();
    let same = match adapter {
        Some(folder) => lock.is_of(how, &hashes(base, progress)?, &adapter_files(folder, progress)?),
        None => lock.is_of(how, &lock.base, &hashes(base, progress)?),
    };
    Ok(same && lock.whole(out, &cancelled)?)
}

/// Whether the model in `out` was merged from this adapter and base, in whatever type, and is there as it was written.
///
/// # Errors
/// A file cannot be read, or it was stopped.
pub fn is_of_adapter(out: &Path, base: &ModelFiles, adapter: &Path, progress: &dyn Progress) -> Result<bool> {
    let Ok(Some(lock)) = MergeLock::read(out) else { return Ok(false) };
    let same = lock.base == hashes(base, progress)? && lock.adapter == adapter_files(adapter, progress)?;
    Ok(same && lock.whole(out, &|| progress.cancelled())?)
}

fn precision(precision: Precision) -> &'static str {
    match precision {
        Precision::Stored => "stored",
        Precision::Nf4 { .. } => "nf4",
    }
}

fn hashes(files: &ModelFiles, progress: &dyn Progress) -> Result<Vec<FileHash>> {
    files.hashes(&|| progress.cancelled()).map_err(stopped)
}

fn stopped(error: Error) -> Error {
    if matches!(error, Error::Interrupted) { Error::Stopped } else { error }
}

fn adapter_files(folder: &Path, progress: &dyn Progress) -> Result<Vec<FileHash>> {
    let of = |name: &&str| FileHash::of(&folder.join(name), name, &|| progress.cancelled()).map_err(Error::from);
    [peft::CONFIG, peft::WEIGHTS].iter().map(of).collect::<Result<_>>().map_err(stopped)
}

/// The run whose folder holds `folder`, if it left these very files there, and its metrics.
fn run_beside(folder: &Path, files: &[FileHash]) -> Result<Option<(RunLock, Vec<Line>)>> {
    let run: PathBuf = folder.canonicalize().map_err(Error::io("find", folder))?;
    let Some(run) = run.parent() else { return Ok(None) };
    let path = run.join(lock::NAME);
    if !path.is_file() {
        return Ok(None);
    }
    // What another version wrote says nothing here.
    let Ok(lock) = RunLock::read(&path) else { return Ok(None) };
    if lock.made.is_empty() || !files.iter().all(|file| lock.made.contains(file)) {
        return Ok(None);
    }
    let lines = metrics::read(run)?;
    Ok(Some((lock, lines)))
}

/// Hashes of the weights in a folder.
fn weights(folder: &Path) -> Result<Vec<FileHash>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let name = entry.map_err(Error::io("list", folder))?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") {
            names.push(name);
        }
    }
    names.sort();
    names.iter().map(|name| Ok(FileHash::of(&folder.join(name), name, &|| false)?)).collect()
}
