//! What a finished run leaves: the adapter with its tokenizer, the lock, the curve and the card.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use candle_core::Tensor;
use setaccio_curate::folder::write_whole;

use super::Prepared;
use crate::{
    error::{Error, Result},
    lora::{
        self,
        peft::{self, AdapterConfig, AdapterFile, Targets},
    },
    model::llama::Llama,
    recipe::Init,
    report::{
        card, curve,
        lock::{self, FileHash, RunLock},
        metrics,
    },
};

/// Name of the adapter's folder.
pub const ADAPTER: &str = "adapter";

/// Write the lock.
///
/// # Errors
/// The file system refuses.
pub fn write_lock(folder: &Path, lock: &RunLock) -> Result<()> {
    Ok(write_whole(&folder.join(lock::NAME), lock.to_toml()?.as_bytes())?)
}

/// Whether the adapter that a lock names is there as it was written.
///
/// # Errors
/// A file cannot be read.
pub fn whole(folder: &Path, lock: &RunLock) -> Result<bool> {
    if lock.adapter.is_empty() {
        return Ok(false);
    }
    for file in &lock.adapter {
        let path = folder.join(ADAPTER).join(&file.file);
        if !path.exists() || FileHash::of(&path, &file.file)? != *file {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Write everything; the lock with the adapter's hashes last, because it says that the run is finished.
///
/// # Errors
/// The file system refuses.
pub fn finish(
    prepared: &Prepared,
    model: &Llama,
    begun: &BTreeMap<String, (Tensor, Tensor)>,
    mut lock: RunLock,
) -> Result<()> {
    let (folder, recipe) = (&prepared.folder, &prepared.loaded.recipe);
    let adapter = folder.join(ADAPTER);
    let file = file(prepared, model, begun)?;
    peft::save(&adapter, &file)?;
    let mut tokens = prepared.tokens.clone();
    // What it was trained with is what it wants to be asked with.
    tokens.chat_template = prepared.chat_template()?.or(tokens.chat_template);
    tokens.save(&adapter)?;
    let lines = metrics::read(folder)?;
    write_whole(&folder.join("loss.svg"), curve::svg(&recipe.name, &lines).as_bytes())?;
    lock.adapter = files(&adapter)?;
    let counts = prepared.train.counts();
    let facts = card::Facts {
        lock: &lock,
        lines: &lines,
        trainable: prepared.memory.trainable,
        steps: prepared.total,
        epochs: prepared.epoch(prepared.total),
        rows: [prepared.train.len() as u64, counts.truncated, counts.dropped + counts.unanswered],
        tokens: [counts.tokens, counts.trained],
        base: if recipe.model.path == "tiny" { "base".into() } else { recipe.model.path.clone() },
    };
    write_whole(&folder.join("README.md"), card::markdown(&facts).as_bytes())?;
    write_lock(folder, &lock)
}

fn file(prepared: &Prepared, model: &Llama, begun: &BTreeMap<String, (Tensor, Tensor)>) -> Result<AdapterFile> {
    let recipe = &prepared.loaded.recipe;
    let mut targets = recipe.lora.targets.clone();
    targets.sort();
    let text = |s: &str| (!s.is_empty()).then(|| s.to_owned());
    let config = AdapterConfig {
        base: text(&recipe.model.repo).unwrap_or_else(|| prepared.files.path().display().to_string()),
        revision: text(&recipe.model.revision),
        r: recipe.lora.r,
        alpha: recipe.lora.alpha,
        dropout: recipe.lora.dropout,
        rslora: recipe.lora.rslora,
        targets: Targets::Names(targets),
        rank_pattern: BTreeMap::new(),
        alpha_pattern: BTreeMap::new(),
    };
    let file = AdapterFile { config, tensors: lora::values(model)? };
    match recipe.lora.init {
        Init::Kaiming => Ok(file),
        // Whoever loads it has the whole base, not what PiSSA left of it.
        Init::Pissa => file.without_start(begun),
    }
}

fn files(folder: &Path) -> Result<Vec<FileHash>> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let paths = entries.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<PathBuf>>>();
    let mut paths = paths.map_err(Error::io("list", folder))?;
    paths.sort();
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    paths.iter().map(|path| FileHash::of(path, &name(path))).collect()
}
