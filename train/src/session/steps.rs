//! The steps of a run, with what happens between them: a line of metrics, an evaluation, a checkpoint.

use std::time::Instant;

use candle_core::Tensor;
use setaccio_base::progress::Progress;

use super::{plan::RunPlan, samples::Samples};
use crate::{
    checkpoint::{Checkpoint, Evaluation, State, Store},
    data::{Dataset, in_order},
    error::{Error, Result},
    kernels::sum_squares,
    loss::mean,
    memory,
    report::{
        lock::Leg,
        metrics::{Eval, Metrics, Step, Written},
    },
    trainer::{StepError, StepOutcome, Trainer},
};

/// Names of a checkpoint's tensors begin with one of these.
const TRAINED: &str = "trained/";
const OPTIMIZER: &str = "optimizer/";

/// A run under way.
pub struct Run<'a> {
    plan: &'a RunPlan,
    progress: &'a dyn Progress,
    store: Store,
    /// The model.
    pub trainer: Trainer,
    metrics: Metrics,
    /// What the next checkpoint will say.
    pub state: State,
    /// Steps at which it ended at a former length.
    ends: Vec<u64>,
    samples: Samples,
    /// Whether it says what no checkpoint says.
    unsaved: bool,
    /// Step of the newest checkpoint.
    kept: Option<u64>,
    clock: Clock,
    /// Bytes that it was predicted to take, until that was said.
    predicted: Option<usize>,
}

/// Of the steps since the last line of metrics that this process took.
#[derive(Default)]
struct Clock {
    tokens: u64,
    began: Option<Instant>,
}

impl Clock {
    /// Tokens a second.
    fn speed(&self) -> Option<f64> {
        let seconds = self.began?.elapsed().as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "shown to three digits")]
        let tokens = self.tokens as f64;
        (seconds > 0.0).then(|| tokens / seconds)
    }
}

fn due(every: u64, step: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn share(part: u64, of: u64) -> f64 {
    mean(part as f64, of)
}

impl<'a> Run<'a> {
    /// About to take the first step.
    pub fn new(
        plan: &'a RunPlan,
        progress: &'a dyn Progress,
        store: Store,
        trainer: Trainer,
        metrics: Metrics,
    ) -> Result<Self> {
        let (state, clock, samples) = (State::default(), Clock::default(), Samples::of(plan)?);
        let (ends, unsaved, kept) = (Vec::new(), false, None);
        let predicted = Some(plan.predicted_memory());
        Ok(Self { plan, progress, store, trainer, metrics, state, ends, samples, unsaved, kept, clock, predicted })
    }

    /// What went before under other lengths: an end that is taken again is logged and evaluated as it was then.
    pub fn after(&mut self, legs: &[Leg]) {
        self.ends = legs.iter().filter(|leg| leg.finished()).map(|leg| leg.until).collect();
    }

    fn is_an_end(&self, step: u64) -> bool {
        step == self.plan.total || self.ends.contains(&step)
    }

    /// Put back what a checkpoint holds.
    pub fn take_over(&mut self, found: &Checkpoint) -> Result<()> {
        let damaged = |message: String| Error::damaged(&found.path, message);
        self.take_values(found)?;
        let moments = found.tensors.names().filter_map(|name| {
            let own = name.strip_prefix(OPTIMIZER)?.to_owned();
            Some(found.tensors.load(name).map(|tensor| (own, tensor)))
        });
        self.trainer.optimizer.load_state(moments, self.trainer.model.device())?;
        let step = found.state.step;
        if self.trainer.steps() != step {
            return Err(damaged(format!("its optimiser has taken {} steps, not {step}", self.trainer.steps())));
        }
        (self.state, self.kept) = (found.state.clone(), Some(step));
        Ok(())
    }

    /// Put back what was trained.
    fn take_values(&self, found: &Checkpoint) -> Result<()> {
        for param in &self.trainer.params {
            let name = format!("{TRAINED}{}", param.name);
            let fits = |t: &Tensor| t.shape() == param.value.shape() && t.dtype() == param.value.dtype();
            let Some(tensor) = found.tensors.load(&name).ok().filter(fits) else {
                let message = format!("`{name}` is missing, or of another shape or type");
                return Err(Error::damaged(&found.path, message));
            };
            param.put(&tensor)?;
        }
        Ok(())
    }

    /// Let the model be what it was after the evaluation with the least loss, and say after which step that was.
    ///
    /// # Errors
    /// The checkpoint of that step is not there any more, or torn.
    pub fn take_best(&mut self) -> Result<Option<u64>> {
        let Some(best) = self.state.best.filter(|best| best.step < self.state.step) else { return Ok(None) };
        let found = self.store.at(best.step).map_err(|error| {
            Error::Other(format!(
                "the result was to be what had the least evaluation loss, and the checkpoint of that is lost: {error}; train \
                 again with --force, or take the last step with `checkpoint.load_best_model_at_end = false`"
            ))
        })?;
        self.take_values(&found)?;
        Ok(Some(best.step))
    }

    /// Whether it stopped because its evaluation loss does not fall any more.
    pub fn stopped_early(&self) -> bool {
        let patience = self.plan.recipe_file.recipe.eval.patience;
        patience > 0 && self.state.stale >= patience
    }

    /// Take every step that is left.
    ///
    /// # Errors
    /// Whatever stops a run. An interruption leaves a checkpoint of the last step that was taken.
    pub fn complete(&mut self) -> Result<()> {
        self.progress.stage("train", self.plan.total);
        self.progress.advance(self.state.step, "");
        let ended = self.steps();
        if matches!(ended, Err(Error::Interrupted)) && self.unsaved {
            self.save()?;
        }
        ended
    }

    fn steps(&mut self) -> Result<()> {
        // A run may have been interrupted between a step and the evaluation after it.
        if self.state.step > 0 {
            self.settle()?;
        } else if self.plan.recipe_file.recipe.eval.at_start && self.state.eval.is_none() {
            self.evaluate()?;
        }
        while self.state.step < self.plan.total && !self.stopped_early() {
            let outcome = self.step()?;
            let step = self.state.step;
            if step == 1 || due(self.plan.recipe_file.recipe.train.log_every, step) || self.is_an_end(step) {
                self.log(&outcome)?;
            }
            self.settle()?;
        }
        Ok(())
    }

    /// Evaluate and save if the last step calls for it and it was not done yet.
    fn settle(&mut self) -> Result<()> {
        let (recipe, step) = (&self.plan.recipe_file.recipe, self.state.step);
        let last = self.is_an_end(step);
        if due(recipe.eval.every, step) || last {
            self.evaluate()?;
        }
        let best = recipe.checkpoint.load_best_model_at_end && self.state.is_best() && self.is_evaluated();
        if (due(recipe.checkpoint.every, step) || last || best || self.stopped_early()) && self.unsaved {
            self.save()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<StepOutcome> {
        let step = self.trainer.steps();
        self.clock.began.get_or_insert_with(Instant::now);
        let batches = self.plan.order.batches(&self.plan.train, step);
        let outcome = match self.trainer.step(&batches, &|| self.progress.cancelled()) {
            Ok(outcome) => outcome,
            Err(StepError::Error(error)) => return Err(error),
            Err(StepError::Diverged(what)) => return Err(self.diverged(step, what)),
        };
        self.clock.tokens += outcome.tokens;
        self.state.window.loss += outcome.loss();
        self.state.window.steps += 1;
        self.state.window.metrics.add(&outcome.metrics);
        self.state.step = step + 1;
        self.state.tokens += outcome.tokens;
        self.state.loss = outcome.loss();
        self.unsaved = true;
        let speed = self.clock.speed().map_or_else(String::new, |s| format!("  {s:.0} tokens/s"));
        let eval = self.state.eval.map_or_else(String::new, |e| format!("  eval {:.4}", e.loss));
        self.progress.advance(1, &format!("loss {:.4}{eval}{speed}", outcome.loss()));
        Ok(outcome)
    }

    fn diverged(&self, step: u64, what: String) -> Error {
        let kept = match self.kept {
            Some(step) => format!("the checkpoint of step {step} is kept"),
            None => "there was no checkpoint yet".into(),
        };
        let try_this = match step {
            // Nothing was changed yet: it is the base that gives no number.
            0 => {
                "nothing was learned yet, so see whether the base's weights are whole (and lora.alpha is as meant, with an \
                 adapter), or look at those rows"
            }
            _ => "try a smaller train.learning_rate or train.max_grad_norm, or look at those rows",
        };
        let kept = format!("{kept}; {try_this}");
        Error::Diverged { step: step + 1, what, rows: self.plan.places(step), kept }
    }

    fn log(&mut self, outcome: &StepOutcome) -> Result<()> {
        let window = std::mem::take(&mut self.state.window);
        let clock = std::mem::take(&mut self.clock);
        let (losses, sums) = (window.metrics.losses, window.metrics.sums);
        #[allow(clippy::cast_precision_loss, reason = "shown to three digits")]
        let gib = |bytes: usize| bytes as f64 / memory::GIB;
        // What this process holds is what is predicted where the CPU computes.
        let predicted = self.predicted.take().filter(|_| self.plan.device.is_cpu());
        self.metrics.log(&Step {
            step: self.state.step,
            epoch: self.plan.epoch(self.state.step),
            loss: mean(window.loss, window.steps),
            grad_norm: outcome.grad_norm,
            learning_rate: outcome.learning_rate,
            num_tokens: self.state.tokens,
            mean_token_accuracy: share(losses.correct, losses.guessed),
            entropy: Some(mean(losses.entropy, losses.targets)),
            tokens_per_second: clock.speed(),
            peak_memory_gib: memory::peak().map(gib),
            predicted_memory_gib: predicted.map(gib),
            more: sums.metrics().into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        })
    }

    /// Whether the model as it is was evaluated.
    fn is_evaluated(&self) -> bool {
        self.state.eval.is_some_and(|eval| eval.step == self.state.step)
    }

    /// Evaluate and ask, each unless it was done after this very step.
    fn evaluate(&mut self) -> Result<()> {
        let began = Instant::now();
        if let Some(rows) = self.plan.eval.as_ref().filter(|_| !self.is_evaluated()) {
            self.evaluate_rows(rows)?;
        }
        if self.state.asked != Some(self.state.step) && !self.samples.is_empty() {
            let samples = self.samples.ask(&self.trainer.model, self.progress)?;
            let (step, epoch) = (self.state.step, self.plan.epoch(self.state.step));
            self.metrics.written(&Written { step, epoch, samples })?;
            self.state.asked = Some(step);
            self.unsaved = true;
        }
        // The time belongs to no training step.
        if let Some(start) = &mut self.clock.began {
            *start += began.elapsed();
        }
        Ok(())
    }

    fn evaluate_rows(&mut self, rows: &Dataset) -> Result<()> {
        let mut tokens = 0;
        let recipe = &self.plan.recipe_file.recipe;
        let batches = in_order(rows, recipe.train.batch);
        let metrics = self.trainer.evaluate(batches, &|| self.progress.cancelled(), &mut |b| tokens += b.tokens())?;
        let (losses, loss) = (metrics.losses, metrics.loss());
        if !loss.is_finite() {
            return Err(self.diverged(self.state.step.saturating_sub(1), "the evaluation loss after it".into()));
        }
        self.state.evaluated(Evaluation { step: self.state.step, loss }, recipe.eval.min_delta);
        self.unsaved = true;
        self.metrics.eval(&Eval {
            step: self.state.step,
            epoch: self.plan.epoch(self.state.step),
            eval_loss: loss,
            eval_mean_token_accuracy: share(losses.correct, losses.guessed),
            eval_entropy: Some(mean(losses.entropy, losses.targets)),
            eval_num_tokens: tokens,
            more: metrics.sums.metrics().into_iter().map(|(name, value)| (format!("eval_{name}"), value)).collect(),
        })
    }

    fn save(&mut self) -> Result<()> {
        let params = self.trainer.params.iter().map(|p| (format!("{TRAINED}{}", p.name), p.value.clone()));
        let moments = self.trainer.optimizer.state()?.into_iter().map(|(n, t)| (format!("{OPTIMIZER}{n}"), t));
        let tensors: Vec<(String, Tensor)> = params.chain(moments).collect();
        // A step can ruin values or moments with finite gradients; what cannot be trained on is not worth keeping.
        // A sum of squares of f32 or bf16 is finite in f64 if all of them are.
        let floats: Vec<&(String, Tensor)> = tensors.iter().filter(|(_, t)| t.dtype().is_float()).collect();
        let squares = sum_squares(&floats.iter().map(|(_, t)| t).collect::<Vec<_>>())?;
        if let Some(((name, _), _)) = floats.iter().zip(squares).find(|(_, sum)| !sum.is_finite()) {
            return Err(self.diverged(self.state.step.saturating_sub(1), format!("after it, {name}")));
        }
        self.state.metrics_bytes = self.metrics.sync()?;
        self.store.save(&tensors, &self.state)?;
        (self.unsaved, self.kept) = (false, Some(self.state.step));
        Ok(())
    }
}
