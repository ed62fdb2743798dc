//! The run itself: load, train, evaluate, checkpoint, and leave an adapter with all that is to be known about it.

use std::{collections::BTreeMap, path::Path};

use candle_core::Tensor;

use setaccio_base::{atomic, parallel, progress::Progress, sha256::hex_digest};

use super::{ended::Ended, finish, plan::RunPlan, reference, steps::Run};
use crate::{
    checkpoint::{Checkpoint, Store},
    device,
    error::{Error, Result},
    formats::peft,
    model::{
        grown::Grown,
        llama::Llama,
        load::{self, LoadOptions, Trainable},
    },
    optim::schedule::Rate,
    recipe::Method,
    report::{
        lock::{self, FileHash, RunLock},
        metrics::Metrics,
    },
    trainer::{self, Trainer, objective::Objective},
};

/// How a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartMode {
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
pub enum RunOutcome {
    /// The folder held this very run, finished.
    UpToDate,
    /// It is finished now.
    Trained {
        /// The step that was resumed from, if it was.
        resumed: Option<u64>,
        /// Where it ended.
        ended: Ended,
        /// Loss of the last step, in nats a token.
        loss: f64,
        /// Evaluation loss of the result, if there are rows for one.
        eval_loss: Option<f64>,
    },
}

/// Train. `command` is what a person would type to make this run again.
///
/// # Errors
/// Whatever stops a run; the newest checkpoint stays.
pub fn run(plan: &RunPlan, command: &str, start: StartMode, progress: &dyn Progress) -> Result<RunOutcome> {
    parallel::take_part();
    let folder = &plan.folder;
    let mut lock = lock_of(plan, command, progress)?;
    let mut store = Store::open(folder, plan.recipe_file.recipe.checkpoint.keep, &lock)?;
    atomic::sweep(folder)?;
    // Whatever is there, be it broken or of an older version, gives way to `--force`.
    let before = match start {
        StartMode::Force => None,
        StartMode::Again => there(folder).unwrap_or_else(|error| {
            progress.warn(&format!("{error}: training anew"));
            None
        }),
        _ => there(folder)?,
    };
    let again = start == StartMode::Again;
    // To the length that it had it is gone on with as it was.
    if start == StartMode::Resume
        && let Some(before) = before.as_ref().filter(|before| lock::is_as_long(before, &lock))
    {
        lock.legs.clone_from(&before.legs);
    }
    if let Some(before) = &before
        && lock::is_same_run(&lock, before)?
        && finish::whole(folder, before)?
    {
        return Ok(RunOutcome::UpToDate);
    }
    let start = if again { how_again(before.as_ref(), &lock, folder, progress)? } else { start };
    if start == StartMode::Fresh && (before.is_some() || !store.steps()?.is_empty()) {
        let message = "holds a run already: `--resume` goes on with it, `--force` starts anew over it, `--out` names \
                       another folder";
        return Err(Error::damaged(folder, message));
    }
    let found = match start {
        StartMode::Resume => newest(&mut store, folder, (before.as_ref(), &lock), progress)?,
        StartMode::Fresh | StartMode::Force | StartMode::Again => None,
    };
    if let (StartMode::Resume, Some(found)) = (start, &found) {
        let before = before.as_ref().unwrap_or(&found.lock);
        went_on_elsewhere(before, &mut lock, found.state.step, progress);
        if !lock::is_as_long(before, &lock) {
            let steps = plan.steps_of(&before.recipe.train);
            lock.legs = lock::legs(&before.legs, steps, found.state.step, plan.total);
            other_length(plan, (steps, found.state.step), progress);
        }
    }
    // A chain that asks for fewer steps wants them from the first.
    let found = found.filter(|found| !again || found.state.step <= plan.total);
    // Before anything is written: a finished run stays finished.
    if let Some(beyond) = found.as_ref().filter(|f| f.state.step > plan.total) {
        let message = format!("is beyond the {} steps that are asked for: ask for more, or use `--force`", plan.total);
        return Err(Error::damaged(&beyond.path, message));
    }

    let recipe = &plan.recipe_file.recipe;
    if found.is_none() {
        finish::vacant(folder, recipe.method)?;
    }
    let (model, initial) = load(plan, progress)?;
    let objective = Objective::new(recipe);
    if objective.needs_reference() && !objective.asks_beside() {
        let before = trainer::before(&model, recipe)?;
        for data in [Some(&plan.train), plan.eval.as_ref()].into_iter().flatten() {
            reference::refer(data, (&before, &lock), folder, recipe.train.batch, progress)?;
        }
    }
    let trainer = Trainer::new(model, recipe, plan.total, plan.recompute)?.after(&lock.legs);
    store.belongs_to(&lock);
    // From here on the folder is this run's. The lock comes last: until then it is not there, or fits nothing.
    if found.is_none() {
        store.clear()?;
        finish::clear(folder)?;
    }
    plan.place_base()?;
    finish::unseal(folder)?;
    finish::write_lock(folder, &lock)?;
    let metrics = Metrics::open(folder, found.as_ref().map_or(0, |f| f.state.metrics_bytes))?;
    let mut run = Run::new(plan, progress, store, trainer, metrics)?;
    run.after(&lock.legs);
    if let Some(found) = &found {
        run.take_over(found)?;
    }
    let resumed = found.as_ref().map(|f| f.state.step);
    run.complete()?;
    let best = if recipe.checkpoint.load_best_model_at_end { run.take_best()? } else { None };
    let ended = Ended { steps: run.state.step, early: run.stopped_early() && run.state.step < plan.total, best };
    finish::finish(plan, (&run.trainer.model, &initial), lock, ended)?;
    let eval = if best.is_some() { run.state.best } else { run.state.eval };
    Ok(RunOutcome::Trained { resumed, ended, loss: run.state.loss, eval_loss: eval.map(|e| e.loss) })
}

/// A and B by module.
type Adapters = BTreeMap<String, (Tensor, Tensor)>;

/// How a chain begins: on with the run that the folder holds, if it is this very one, else anew.
fn how_again(before: Option<&RunLock>, lock: &RunLock, folder: &Path, progress: &dyn Progress) -> Result<StartMode> {
    let Some(before) = before else { return Ok(StartMode::Force) };
    let differences = lock::differences(before, lock)?;
    let Some(first) = differences.first() else { return Ok(StartMode::Resume) };
    let more = if differences.len() > 1 { format!(" and {} more", differences.len() - 1) } else { String::new() };
    progress.warn(&format!("{} holds a run that differs in {first}{more}: training anew", folder.display()));
    Ok(StartMode::Force)
}

/// The model of a run before its first step, and its adapter as that was made, before one that it goes on with took its place.
fn load(plan: &RunPlan, progress: &dyn Progress) -> Result<(Llama, Adapters)> {
    let recipe = &plan.recipe_file.recipe;
    let options = LoadOptions {
        quantization: recipe.model.quantization,
        double_quant: recipe.model.double_quant,
        dtype: plan.dtype,
        products: plan.products,
        device: plan.device.clone(),
        trainable: match recipe.method {
            Method::Lora => Trainable::Adapter(recipe.lora.clone(), recipe.seed),
            Method::Full => Trainable::Weights,
        },
    };
    progress.stage("load", plan.config.layers as u64);
    let grown = Grown { source: &plan.files, config: plan.files.config(), vocab: plan.config.vocab_size };
    let mut model = load::model(&plan.config, &grown, &options, &|_| {
        progress.advance(1, "");
        !progress.cancelled()
    })?;
    let initial = model.adapters()?;
    if let Some(file) = &plan.adapter {
        file.copy_into(&mut model, Path::new(&recipe.lora.adapter))?;
    }
    Ok((model, initial))
}

/// Keep in `lock` what computed the steps so far, and say so where it is not what computes now.
fn went_on_elsewhere(before: &RunLock, lock: &mut RunLock, step: u64, progress: &dyn Progress) {
    let now = std::mem::replace(&mut lock.instructions, before.instructions.clone());
    if let (Some(were), Some(are)) = (lock.instructions.last(), now.last())
        && were != are
    {
        progress.warn(&format!(
            "up to step {step} this run had {were}, and from here on it has {are}: its last bits are those of neither alone"
        ));
    }
    lock.instructions.extend(now);
    lock.instructions.dedup();
}

/// Say what becomes of the learning rate of a run that had `steps` steps and is gone on with from step `from` on.
fn other_length(plan: &RunPlan, (steps, from): (u64, u64), progress: &dyn Progress) {
    if from >= plan.total {
        return;
    }
    let train = &plan.recipe_file.recipe.train;

    let [was, is] = [steps, plan.total].map(|total| Rate::new(train, total).at(from));
    progress.note(&format!(
        "a run of {steps} steps goes on from step {from} to {}: from here on the learning rate is that of a run of {} steps, \
         which is {is:.2e} at step {} (it was {was:.2e})",
        plan.total,
        plan.total,
        from + 1
    ));
}

/// The lock of the run that the folder holds, if it holds one.
fn there(folder: &Path) -> Result<Option<RunLock>> {
    let path = folder.join(lock::NAME);
    Ok(path.exists().then(|| RunLock::read(&path)).transpose()?)
}

fn newest(
    store: &mut Store,
    folder: &Path,
    (before, lock): (Option<&RunLock>, &RunLock),
    progress: &dyn Progress,
) -> Result<Option<Checkpoint>> {
    if let Some(before) = before {
        let differences = lock::differences_beside_length(before, lock)?;
        if !differences.is_empty() {
            let message = format!(
                "holds a run that differs, and numbers of both would be mixed; give back what it was begun with, or \
                 start anew with `--force`:\n  {}",
                differences.join("\n  ")
            );
            return Err(Error::damaged(folder, message));
        }
    }
    let (found, warnings) = store.latest()?;
    for warning in warnings {
        progress.warn(&warning.to_string());
    }
    if found.is_none() {
        progress.warn("there is no whole checkpoint to resume from; starting from the first step");
    }
    Ok(found)
}

fn lock_of(plan: &RunPlan, command: &str, progress: &dyn Progress) -> Result<RunLock> {
    let recipe = &plan.recipe_file.recipe;
    let mut lock = lock::begin(recipe.clone(), command, &device::name(&plan.device, plan.dtype, plan.products));
    lock.instructions.extend(device::instructions(&plan.device, plan.products));
    lock.tokenizer_sha256.clone_from(&plan.tokens.sha256);
    let template = match recipe.data.template.as_str() {
        "" => plan.tokens.chat_template.clone().unwrap_or_default().into_bytes(),
        file => {
            let template = plan.recipe_file.place.beside(file);
            template.read().map_err(Error::io("read", template.path()))?.into_owned()
        }
    };
    lock.template_sha256 = hex_digest(&template);
    if plan.adapter.is_some() {
        let folder = Path::new(&recipe.lora.adapter);
        let hashed =
            [peft::CONFIG, peft::WEIGHTS].map(|name| FileHash::of(&folder.join(name), name, &|| progress.cancelled()));
        lock.start = hashed.into_iter().collect::<setaccio_base::Result<_>>()?;
    }
    lock.base = plan.files.hashes(&|| progress.cancelled())?;
    let data = recipe.data.train.iter().map(|folder| lock::data_folder(folder, &|| progress.cancelled()));
    lock.data = data.collect::<Result<_>>()?;
    Ok(lock)
}
