//! The run itself: load, train, evaluate, checkpoint, and leave an adapter with all that is to be known about it.

use std::path::Path;

use setaccio_filters::hash::sha256;

use super::{Prepared, Watch, finish, reference, steps::Run};
use crate::{
    checkpoint::{Loaded as Found, Store},
    device,
    error::{Error, Result},
    lora::{self, peft},
    model::load::{self, Hold},
    objective::Objective,
    recipe::{Init, Method, Reference},
    report::{
        lock::{self, Data, FileHash, RunLock},
        metrics::Metrics,
    },
    trainer::Trainer,
};

/// How a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// In a folder that holds no other run.
    Fresh,
    /// From the newest checkpoint that is whole.
    Resume,
    /// Anew, over whatever run is there.
    Force,
    /// As a chain wants it: on with this very run if the folder holds it, else anew.
    Again,
}

/// How it ended.
#[derive(Clone, Debug)]
pub enum Done {
    /// The folder held this very run, finished.
    UpToDate,
    /// It is finished now.
    Trained {
        /// The step that was resumed from, if it was.
        resumed: Option<u64>,
        /// Loss of the last step, in nats a token.
        loss: f64,
        /// Loss of the last evaluation, if there are rows for one.
        eval_loss: Option<f64>,
    },
}

/// Train. `command` is what a person would type to make this run again.
///
/// # Errors
/// Whatever stops a run; the newest checkpoint stays.
pub fn run(prepared: &Prepared, command: &str, start: Start, watch: &dyn Watch) -> Result<Done> {
    let folder = &prepared.folder;
    let lock = lock_of(prepared, command, watch)?;
    let mut store = Store::open(folder, prepared.loaded.recipe.checkpoint.keep, &lock)?;
    // Whatever is there, be it broken or of an older version, gives way to `--force`.
    let before = match start {
        Start::Force => None,
        Start::Again => there(folder).unwrap_or_else(|error| {
            watch.warn(&format!("{error}: training anew"));
            None
        }),
        _ => there(folder)?,
    };
    let again = start == Start::Again;
    if let Some(before) = &before
        && lock.is_same_and_as_long_as(before)?
        && finish::whole(folder, before)?
    {
        return Ok(Done::UpToDate);
    }
    let start = match (start, &before) {
        (Start::Again, Some(before)) => {
            let differences = before.differences(&lock)?;
            if let Some(first) = differences.first() {
                let more =
                    if differences.len() > 1 { format!(" and {} more", differences.len() - 1) } else { String::new() };
                watch.warn(&format!("{} holds a run that differs in {first}{more}: training anew", folder.display()));
                Start::Force
            } else {
                Start::Resume
            }
        }
        (Start::Again, None) => Start::Force,
        (start, _) => start,
    };
    if start == Start::Fresh && (before.is_some() || !store.steps()?.is_empty()) {
        let message = "holds a run already: `--resume` goes on with it, `--force` starts anew over it, `--out` names \
                       another folder";
        return Err(Error::Damaged { path: folder.clone(), message: message.into() });
    }
    let found = match start {
        Start::Resume => newest(&mut store, folder, (before.as_ref(), &lock), watch)?,
        Start::Fresh | Start::Force | Start::Again => None,
    };
    // A chain that asks for fewer steps wants them from the first.
    let found = found.filter(|found| !again || found.state.step <= prepared.total);
    // Before anything is written: a finished run stays finished.
    if let Some(beyond) = found.as_ref().filter(|f| f.state.step > prepared.total) {
        let message =
            format!("is beyond the {} steps that are asked for: ask for more, or use `--force`", prepared.total);
        return Err(Error::Damaged { path: beyond.path.clone(), message });
    }

    let recipe = &prepared.loaded.recipe;
    if found.is_none() {
        finish::vacant(folder, recipe.method)?;
    }
    let hold = Hold {
        quantization: recipe.model.quantization,
        double_quant: recipe.model.double_quant,
        dtype: prepared.dtype,
        device: prepared.device.clone(),
        adapter: (recipe.method == Method::Lora).then(|| (recipe.lora.clone(), recipe.seed)),
        whole: recipe.method == Method::Full,
    };
    watch.stage("load", prepared.files.config().layers as u64);
    let mut model = load::model(prepared.files.config(), &prepared.files, &hold, &|_| {
        watch.done(1, "");
        !watch.cancelled()
    })?;
    let begun = lora::values(&model)?;
    let objective = Objective::new(recipe);
    if let Some(file) = &prepared.adapter {
        lora::go_on(&mut model, file, Path::new(&recipe.lora.adapter))?;
    }
    // Without either, the model before training is the base with the adapter off.
    if objective.needs_reference() && (prepared.adapter.is_some() || recipe.lora.init == Init::Pissa) {
        lora::keep_start(&mut model)?;
    }
    if objective.needs_reference() && recipe.preference().reference == Reference::Precomputed {
        for data in [Some(&prepared.train), prepared.eval.as_ref()].into_iter().flatten() {
            reference::refer(data, (&model, &lock), folder, recipe.train.batch, watch)?;
        }
    }
    let trainer = Trainer::new(model, recipe, prepared.total, prepared.recompute);
    // From here on the folder is this run's. The lock comes last: until then it is not there, or fits nothing.
    if found.is_none() {
        store.clear()?;
        finish::clear(folder)?;
    }
    prepared.place_base()?;
    finish::write_lock(folder, &lock)?;
    let metrics = Metrics::open(folder, found.as_ref().map_or(0, |f| f.state.metrics_bytes))?;
    let mut run = Run::new(prepared, watch, store, trainer, metrics);
    if let Some(found) = &found {
        run.take_over(found)?;
    }
    let resumed = found.as_ref().map(|f| f.state.step);
    run.complete()?;
    finish::finish(prepared, &run.trainer.model, &begun, lock)?;
    Ok(Done::Trained { resumed, loss: run.state.loss, eval_loss: run.state.eval.map(|e| e.loss) })
}

/// The lock of the run that the folder holds, if it holds one.
fn there(folder: &Path) -> Result<Option<RunLock>> {
    let path = folder.join(lock::NAME);
    path.exists().then(|| RunLock::read(&path)).transpose()
}

fn newest(
    store: &mut Store,
    folder: &Path,
    (before, lock): (Option<&RunLock>, &RunLock),
    watch: &dyn Watch,
) -> Result<Option<Found>> {
    if let Some(before) = before {
        let differences = before.differences(lock)?;
        if !differences.is_empty() {
            let message = format!(
                "holds a run that differs, and numbers of both would be mixed; give back what it was begun with, or \
                 start anew with `--force`:\n  {}",
                differences.join("\n  ")
            );
            return Err(Error::Damaged { path: folder.to_owned(), message });
        }
    }
    let (found, warnings) = store.latest()?;
    for warning in warnings {
        watch.warn(&warning.to_string());
    }
    if found.is_none() {
        watch.warn("there is no whole checkpoint to resume from; starting from the first step");
    }
    Ok(found)
}

fn lock_of(prepared: &Prepared, command: &str, watch: &dyn Watch) -> Result<RunLock> {
    let recipe = &prepared.loaded.recipe;
    let mut lock = RunLock::new(recipe.clone(), command, &device::name(&prepared.device, prepared.dtype));
    lock.tokenizer_sha256.clone_from(&prepared.tokens.sha256);
    let template = match recipe.data.template.as_str() {
        "" => prepared.tokens.chat_template.clone().unwrap_or_default().into_bytes(),
        file => {
            let template = prepared.loaded.place.beside(file);
            template.read().map_err(Error::io("read", template.path()))?.into_owned()
        }
    };
    lock.template_sha256 = sha256(&template);
    if prepared.adapter.is_some() {
        let folder = Path::new(&recipe.lora.adapter);
        let hashed = [peft::CONFIG, peft::WEIGHTS].map(|name| FileHash::of(&folder.join(name), name));
        lock.start = hashed.into_iter().collect::<Result<_>>()?;
    }
    lock.base = prepared.files.hashes(&|| watch.cancelled())?;
    let data = recipe.data.train.iter().map(|folder| Data::of(folder, &|| watch.cancelled()));
    lock.data = data.collect::<Result<_>>()?;
    Ok(lock)
}
