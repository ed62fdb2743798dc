//! What a finished run leaves: the adapter or the model with its tokenizer, the lock, the curve and the card.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use setaccio_base::atomic::{remove, sync_dir, write as write_whole};

use super::Prepared;
use crate::{
    checkpoint::hint,
    error::{Error, Result},
    lora::{
        self,
        peft::{self, AdapterConfig, AdapterFile, Targets},
    },
    merge,
    model::{llama::Llama, sharded},
    recipe::{Init, Method},
    report::{
        card, curve,
        lock::{self, FileHash, RunLock},
        metrics,
    },
};

/// Write the lock.
///
/// # Errors
/// The file system refuses.
pub fn write_lock(folder: &Path, lock: &RunLock) -> Result<()> {
    Ok(write_whole(&folder.join(lock::NAME), lock.to_toml()?.as_bytes())?)
}

/// The folder of what the run of a lock made, if it is finished.
fn made_by(lock: &RunLock) -> Option<&'static str> {
    (!lock.made.is_empty()).then(|| lock.recipe.method.folder())
}

/// Check that the folder that this method writes is free, or an earlier run's.
///
/// # Errors
/// It is there, and the run that is there made another.
pub fn vacant(folder: &Path, method: Method) -> Result<()> {
    let path = folder.join(method.folder());
    match RunLock::read(&folder.join(lock::NAME)) {
        Ok(before) if path.exists() && made_by(&before) != Some(method.folder()) => {
            let message = "is there already, and the run in this folder did not make it: move it away";
            Err(Error::Damaged { path, message: message.into() })
        }
        _ => Ok(()),
    }
}

/// Remove what says that a run was finished in the folder, and what it made.
///
/// # Errors
/// The file system refuses.
pub fn clear(folder: &Path) -> Result<()> {
    // A lock that cannot be read says of nothing that a run made it.
    let made = RunLock::read(&folder.join(lock::NAME)).ok().as_ref().and_then(made_by);
    Ok([lock::NAME, card::NAME, curve::NAME].into_iter().chain(made).try_for_each(|name| remove(&folder.join(name)))?)
}

/// Whether what a lock says was made is there as it was written.
///
/// # Errors
/// A file cannot be read.
pub fn whole(folder: &Path, lock: &RunLock) -> Result<bool> {
    if lock.made.is_empty() {
        return Ok(false);
    }
    for file in &lock.made {
        let path = folder.join(lock.recipe.method.folder()).join(&file.file);
        if !path.exists() || FileHash::of(&path, &file.file)? != *file {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Write everything; the lock with the hashes of what was made last, because it says that the run is finished.
///
/// # Errors
/// The file system refuses.
pub fn finish(
    prepared: &Prepared,
    model: &Llama,
    begun: &BTreeMap<String, (Tensor, Tensor)>,
    mut lock: RunLock,
) -> Result<()> {
    let (folder, recipe, config) = (&prepared.folder, &prepared.loaded.recipe, prepared.files.config());
    let mut tokens = prepared.tokens.clone();
    // What it was trained with is what it wants to be asked with.
    tokens.chat_template = prepared.chat_template()?.or(tokens.chat_template);
    lock.made = match recipe.method {
        Method::Lora => {
            let file = file(prepared, model, begun)?;
            together((folder, Method::Lora.folder()), |adapter| {
                peft::save(adapter, &file)?;
                tokens.save(adapter)
            })?
        }
        Method::Full => together((folder, Method::Full.folder()), |place| {
            save_whole(prepared, model, place)?;
            merge::finish(&prepared.files, Some(&tokens), place, DType::F32)
        })?,
    };
    let lines = metrics::read(folder)?;
    write_whole(&folder.join(curve::NAME), curve::svg(&recipe.name, &lines).as_bytes())?;
    let counts = prepared.train.counts();
    let facts = card::Facts {
        lock: &lock,
        lines: &lines,
        run: folder,
        trainable: prepared.memory.trainable as u64,
        parameters: config.shapes().iter().map(|(_, shape)| shape.iter().product::<usize>() as u64).sum(),
        steps: prepared.total,
        epochs: prepared.epoch(prepared.total),
        rows: [prepared.train.len() as u64, counts.truncated, counts.dropped + counts.unanswered],
        tokens: [counts.tokens, counts.trained],
    };
    write_whole(&folder.join(card::NAME), card::markdown(&facts).as_bytes())?;
    write_lock(folder, &lock)
}

/// Write the weights of a model that was trained whole, in f32: what the base was stored in may be too
/// coarse for what was learned.
fn save_whole(prepared: &Prepared, model: &Llama, place: &Path) -> Result<()> {
    let params: BTreeMap<String, Tensor> = model.params().into_iter().map(|p| (p.name, p.value)).collect();
    let shapes = prepared.files.config().shapes();
    sharded::write(place, DType::F32, &shapes, merge::Options::default().shard_bytes, &mut |name, _| {
        let value = params.get(name).ok_or_else(|| Error::Other(format!("nothing was trained as {name}")))?;
        Ok(value.to_device(&Device::Cpu)?)
    })?;
    Ok(())
}

/// Let `write` fill the folder called `name` out of sight, then put it in its place: it is all there or not at all,
/// whenever the disk is full or the machine goes down. Gives the hashes of its files.
fn together((folder, name): (&Path, &str), write: impl Fn(&Path) -> Result<()>) -> Result<Vec<FileHash>> {
    let (aside, place) = (folder.join(".setaccio").join(name), folder.join(name));
    remove(&aside)?;
    fs::create_dir_all(&aside).map_err(Error::io("create", &aside))?;
    let written = write(&aside).and_then(|()| files(&aside)).map_err(|error| match hint(&error) {
        "" => error,
        hint => Error::Other(format!("{error}{hint}")),
    });
    if written.is_err() {
        // The error counts; whatever cannot be removed now is removed by the next attempt.
        let _ = remove(&aside);
    }
    let written = written?;
    sync_dir(&aside)?;
    remove(&place)?;
    fs::rename(&aside, &place).map_err(Error::io("put in place", &place))?;
    sync_dir(folder)?;
    Ok(written)
}

fn file(prepared: &Prepared, model: &Llama, begun: &BTreeMap<String, (Tensor, Tensor)>) -> Result<AdapterFile> {
    let recipe = &prepared.loaded.recipe;
    let mut targets = recipe.lora.targets.clone();
    targets.sort();
    let text = |s: &str| (!s.is_empty()).then(|| s.to_owned());
    let config = AdapterConfig {
        base: text(&recipe.model.repo).unwrap_or_else(|| prepared.base().display().to_string()),
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

#[cfg(test)]
mod tests {
    use super::*;

    const ADAPTER: &str = "adapter";

    #[test]
    fn an_adapter_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let put = |folder: &Path, name: &str, text: &str| {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
            fs::write(folder.join(name), text).map_err(Error::io("write", folder))
        };
        // As a crash leaves it.
        put(&at(".setaccio/adapter/.writing-x"), "torn", "").unwrap();
        let full = |folder: &Path| put(folder, "a", "1").and(Err(Error::Other("full".into())));
        assert!(together((dir.path(), ADAPTER), full).is_err());
        assert!(!at(ADAPTER).exists() && !at(".setaccio/adapter").exists());
        together((dir.path(), ADAPTER), |folder| put(folder, "a", "1")).unwrap();
        assert!(together((dir.path(), ADAPTER), full).is_err());
        assert_eq!(fs::read_to_string(at("adapter/a")).unwrap(), "1", "the one before stays");
        let files = together((dir.path(), ADAPTER), |folder| put(folder, "b", "12")).unwrap();
        assert_eq!(files.iter().map(|f| (f.file.as_str(), f.bytes)).collect::<Vec<_>>(), [("b", 2)]);
        assert!(!at("adapter/a").exists() && at("adapter/b").exists());
    }
}
