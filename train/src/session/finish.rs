//! What a finished run leaves: the adapter or the model with its tokenizer, the lock, the curve and the card.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use setaccio_base::{
    atomic::{self, remove},
    manifest,
    sha256::hex_digest,
};
use setaccio_dataset::folder::{LEDGER, REPORT};

use super::{ended::Ended, plan::RunPlan};
use crate::{
    artifacts::{merge, model_folder},
    checkpoint::hint,
    data::told,
    error::{Error, Result},
    formats::{
        peft::{self, AdapterConfig, AdapterFile, Beside, Except, Targets},
        sharded,
    },
    model::llama::Llama,
    recipe::{Init, Method, TINY_FOLDER},
    report::{
        card, curve, evaluation,
        lock::{self, FileHash, RunLock},
        metrics, tensorboard,
    },
};

/// Write the lock.
pub fn write_lock(folder: &Path, lock: &RunLock) -> Result<()> {
    Ok(atomic::write(&folder.join(lock::NAME), lock.to_toml()?.as_bytes())?)
}

/// The folder of what the run of a lock made, if it was finished once.
fn made_by(lock: &RunLock) -> Option<&'static str> {
    // A run that is gone on with keeps what it made at its former end until it makes it anew.
    let made = !lock.made.is_empty() || lock.legs.iter().any(|leg| leg.finished());
    made.then(|| lock.recipe.method.folder())
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
            Err(Error::damaged(path, message))
        }
        _ => Ok(()),
    }
}

/// Remove what says that a run was finished in the folder, and what it made.
pub fn clear(folder: &Path) -> Result<()> {
    // A lock that cannot be read says of nothing that a run made it.
    let made = RunLock::read(&folder.join(lock::NAME)).ok().as_ref().and_then(made_by);
    evaluation::clear(folder)?;
    Ok([lock::NAME, card::NAME, curve::NAME, REPORT, manifest::NAME]
        .into_iter()
        .chain(made)
        .try_for_each(|name| remove(&folder.join(name)))?)
}

/// Remove what says the hashes of a run that is gone on with, and what its former end was evaluated by.
pub fn unseal(folder: &Path) -> Result<()> {
    evaluation::clear(folder)?;
    // It shows the run as it was.
    remove(&folder.join(REPORT))?;
    Ok(remove(&folder.join(manifest::NAME))?)
}

/// Whether what a lock says was made is there as it was written.
pub fn whole(folder: &Path, lock: &RunLock) -> Result<bool> {
    if lock.made.is_empty() {
        return Ok(false);
    }
    for file in &lock.made {
        let path = folder.join(lock.recipe.method.folder()).join(&file.file);
        if !path.exists() || FileHash::of(&path, &file.file, &|| false)? != *file {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Write everything; the lock with the hashes of what was made last, because it says that the run is finished.
pub fn finish(
    plan: &RunPlan,
    (model, initial): (&Llama, &BTreeMap<String, (Tensor, Tensor)>),
    mut lock: RunLock,
    ended: Ended,
) -> Result<()> {
    let (folder, recipe, config) = (&plan.folder, &plan.recipe_file.recipe, &plan.config);
    let tokens = plan.trained_tokens()?;
    lock.made = match recipe.method {
        Method::Lora => {
            let file = file(plan, model, initial)?;
            whole_folder((folder, Method::Lora.folder()), |adapter| {
                peft::save(adapter, &file)?;
                tokens.save(adapter)
            })?
        }
        Method::Full => whole_folder((folder, Method::Full.folder()), |place| {
            save_whole(plan, model, place)?;
            model_folder::complete((&plan.files, config), Some(&tokens), place, DType::F32)
        })?,
    };
    lock.texts = told::counted_by_name(&plan.train);
    let lines = metrics::read(folder)?;
    atomic::write(&folder.join(curve::NAME), curve::svg(&recipe.name, &lines).as_bytes())?;
    let counts = plan.train.counts();
    let facts = card::Facts {
        lock: &lock,
        lines: &lines,
        run: folder,
        trainable: plan.memory.trainable as u64,
        parameters: config.parameters(),
        steps: ended.steps,
        planned: plan.total,
        early: ended.early,
        best: ended.best,
        epochs: plan.epoch(ended.steps),
        rows: [plan.train.len() as u64, counts.truncated, counts.dropped + counts.unanswered],
        tokens: [counts.tokens, counts.trained],
        told: &told::of(counts),
        grown: (config.vocab_size != plan.files.config().vocab_size).then_some(config.vocab_size),
    };
    atomic::write(&folder.join(card::NAME), card::markdown(&facts).as_bytes())?;
    seal(folder, &lock)?;
    write_lock(folder, &lock)
}

/// Write the hashes of all that the run leaves, the lock's own too, which is not there yet.
fn seal(folder: &Path, lock: &RunLock) -> Result<()> {
    let text = lock.to_toml()?;
    let below = |folder: &str, file: &FileHash| FileHash { file: format!("{folder}/{}", file.file), ..file.clone() };
    let made = lock.made.iter().map(|file| below(lock.recipe.method.folder(), file));
    // A base that the run made itself is nowhere else.
    let base = lock.base.iter().filter(|_| lock.recipe.model.is_tiny()).map(|file| below(TINY_FOLDER, file));
    let own = FileHash { file: lock::NAME.into(), bytes: text.len() as u64, sha256: hex_digest(text.as_bytes()) };
    let given = made.chain(base).chain([own]).collect();
    let mut names = [card::NAME, curve::NAME, metrics::NAME, tensorboard::NAME].map(str::to_owned).to_vec();
    names.extend(of_rows(folder)?);
    Ok(manifest::write(folder, &names, given)?)
}

/// What `setaccio train ROWS` has put into the folder of a run, if it is one's: recipes, and what says the hashes of the rows.
fn of_rows(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<std::io::Result<Vec<String>>>().map_err(Error::io("list", folder))?;
    names.retain(|name| Path::new(name).extension().is_some_and(|end| end == "toml") && name != lock::NAME);
    names.sort();
    let ledger = format!("data/{LEDGER}");
    names.extend(folder.join(&ledger).is_file().then_some(ledger));
    Ok(names)
}

/// Write the weights of a model that was trained whole, in f32: what the base was stored in may be too
/// coarse for what was learned.
fn save_whole(plan: &RunPlan, model: &Llama, place: &Path) -> Result<()> {
    let params: BTreeMap<String, Tensor> = model.params().into_iter().map(|p| (p.name, p.value)).collect();
    let shapes = plan.config.shapes();
    sharded::write(place, DType::F32, &shapes, merge::Options::default().shard_bytes, &mut |name, _| {
        let value = params.get(name).ok_or_else(|| Error::Other(format!("nothing was trained as {name}")))?;
        Ok(value.to_device(&Device::Cpu)?)
    })?;
    Ok(())
}

/// Let `write` fill the folder called `name`: it is all there or not at all, whenever the disk is full or the machine goes
/// down. Gives the hashes of its files.
fn whole_folder((folder, name): (&Path, &str), write: impl Fn(&Path) -> Result<()>) -> Result<Vec<FileHash>> {
    let place = folder.join(name);
    let write = |aside: &Path| write(aside).map_err(|error: Error| error.in_place(aside, &place));
    atomic::folder(&place, || Ok(()), |aside| write(aside).and_then(|()| files(aside))).map_err(|error| {
        match hint(&error) {
            "" => error,
            hint => Error::Other(format!("{error}{hint}")),
        }
    })
}

fn file(plan: &RunPlan, model: &Llama, initial: &BTreeMap<String, (Tensor, Tensor)>) -> Result<AdapterFile> {
    let recipe = &plan.recipe_file.recipe;
    let mut targets = recipe.lora.targets.clone();
    targets.sort();
    let grown = plan.config.vocab_size != plan.files.config().vocab_size;
    let text = |s: &str| (!s.is_empty()).then(|| s.to_owned());
    let config = AdapterConfig {
        base: text(&recipe.model.repo).unwrap_or_else(|| plan.base().display().to_string()),
        revision: text(&recipe.model.revision),
        r: recipe.lora.r,
        alpha: recipe.lora.alpha,
        dropout: recipe.lora.dropout,
        rslora: recipe.lora.rslora,
        targets: Targets::Names(targets),
        except: Except::default(),
        rank_pattern: Vec::new(),
        alpha_pattern: Vec::new(),
        // What is one matrix in the base is one matrix in training.
        beside: Beside {
            modules_to_save: recipe.lora.modules_to_save.clone(),
            dora: recipe.lora.use_dora,
            tied: model.tied() && (recipe.lora.touches_tables() || grown),
        },
    };
    let file = AdapterFile::of(config, model, grown)?;
    match recipe.lora.init {
        Init::Kaiming => Ok(file),
        // Whoever loads it has the whole base, not what PiSSA left of it.
        Init::Pissa => file.without_start(initial),
    }
}

fn files(folder: &Path) -> Result<Vec<FileHash>> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let paths = entries.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<PathBuf>>>();
    let mut paths = paths.map_err(Error::io("list", folder))?;
    paths.sort();
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    paths.iter().map(|path| Ok(FileHash::of(path, &name(path), &|| false)?)).collect()
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
        put(&at(".writing-adapter/x"), "torn", "").unwrap();
        let full = |folder: &Path| put(folder, "a", "1").and(Err(Error::Other("full".into())));
        assert!(whole_folder((dir.path(), ADAPTER), full).is_err());
        assert!(!at(ADAPTER).exists() && !at(".writing-adapter").exists());
        whole_folder((dir.path(), ADAPTER), |folder| put(folder, "a", "1")).unwrap();
        assert!(whole_folder((dir.path(), ADAPTER), full).is_err());
        assert_eq!(fs::read_to_string(at("adapter/a")).unwrap(), "1", "the one before stays");
        let files = whole_folder((dir.path(), ADAPTER), |folder| put(folder, "b", "12")).unwrap();
        assert_eq!(files.iter().map(|f| (f.file.as_str(), f.bytes)).collect::<Vec<_>>(), [("b", 2)]);
        assert!(!at("adapter/a").exists() && at("adapter/b").exists());
    }
}
