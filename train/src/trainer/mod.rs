//! One optimiser step after another: micro-batches forward and backward, the norm of the gradients, AdamW. Knows no
//! files; `session/` feeds it and keeps what it makes.

#[cfg(feature = "cuda")]
pub mod gpu_check;
pub mod objective;

use setaccio_base::run_lock::Leg;

use crate::{
    data::micro::MicroBatch,
    error::{Error, Result},
    kernels,
    model::{
        context::Pass,
        llama::{Llama, Training},
    },
    optim::{
        Optimizer, Param,
        clip::{self, Norm},
        schedule::Rate,
    },
    recipe::{Init, Recipe},
    trainer::objective::{Models, Objective, StepMetrics},
};

/// A model in training.
pub struct Trainer {
    /// With its adapter, if it has one.
    pub model: Llama,
    /// The same before training, if it is asked beside each step.
    before: Option<Llama>,
    /// What is trained, in the order of the layers.
    pub params: Vec<Param>,
    /// Its moments.
    pub optimizer: Optimizer,
    rate: Rate,
    objective: Objective,
    seed: u64,
    max_grad_norm: f64,
    neftune_alpha: f64,
    recompute: usize,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepOutcome {
    /// Over its micro-batches.
    pub metrics: StepMetrics,
    /// Norm of all gradients, before clipping.
    pub grad_norm: f64,
    /// The rate it was taken with.
    pub learning_rate: f64,
    /// Tokens of its sequences; a question that two answers share counts for each.
    pub tokens: u64,
}

impl StepOutcome {
    /// The step's loss, in nats for likelihoods.
    pub fn loss(&self) -> f64 {
        self.metrics.loss()
    }
}

impl Trainer {
    /// Train `model` as the recipe says for `total` steps, with `recompute` layers computed again.
    pub fn new(mut model: Llama, recipe: &Recipe, total: u64, recompute: usize) -> Result<Self> {
        let objective = Objective::new(recipe);
        let before = objective.asks_beside().then(|| before(&model, recipe)).transpose()?;
        // As PEFT groups them, lengths of rows go with B.
        for lora in model.loras_mut() {
            lora.b.lr_scale = recipe.train.lora_plus_ratio;
            lora.dora.iter_mut().for_each(|dora| dora.magnitude.lr_scale = recipe.train.lora_plus_ratio);
        }
        let params = model.params();
        Ok(Self {
            params,
            before,
            optimizer: Optimizer::new(&recipe.train),
            rate: Rate::new(&recipe.train, total),
            objective,
            seed: recipe.seed,
            max_grad_norm: recipe.train.max_grad_norm,
            neftune_alpha: recipe.train.neftune_alpha,
            recompute,
            model,
        })
    }

    fn models(&self) -> Models<'_> {
        Models { now: &self.model, before: self.before.as_ref() }
    }

    /// The same for a run that went as far as `legs` say under other lengths.
    #[must_use]
    pub fn after(mut self, legs: &[Leg]) -> Self {
        self.rate = self.rate.after(legs);
        self
    }

    /// Steps taken; also the number, from 0, of the next.
    pub fn steps(&self) -> u64 {
        self.optimizer.steps()
    }

    /// Take the next step on these micro-batches; the loss is a mean over all their targets or rows together. On an
    /// error nothing is changed but gradients, which the next step clears.
    ///
    /// # Errors
    /// Loss or gradients that are not finite ([`StepError::Diverged`]), a stop asked for by `cancelled`.
    pub fn step(
        &mut self,
        micro_batches: &[MicroBatch],
        cancelled: &dyn Fn() -> bool,
    ) -> std::result::Result<StepOutcome, StepError> {
        let step = self.steps();
        let over = Objective::denominators(micro_batches);
        for param in &self.params {
            kernels::zero_(&param.grad)?;
        }
        let mut metrics = StepMetrics::default();
        for (micro, batch) in (0..).zip(micro_batches) {
            if cancelled() {
                return Err(Error::Interrupted.into());
            }
            let pass = Pass { seed: self.seed, step, micro };
            let training = Training { pass, recompute: self.recompute, neftune_alpha: self.neftune_alpha };
            let train = || self.objective.train(self.models(), batch, &training, over);
            // A thread of the pool takes part in the work that it shares out; another would be woken up after each piece of it.
            let on_cpu = self.params.first().is_some_and(|param| param.value.device().is_cpu());
            metrics.add(&if on_cpu { rayon::scope(|_| train()) } else { train() }?);
            if !metrics.loss().is_finite() {
                return Err(StepError::Diverged("the loss".into()));
            }
        }
        let grad_norm = match clip::norm(&self.params)? {
            Norm::Finite(norm) => norm,
            Norm::Diverged(name) => return Err(StepError::Diverged(format!("the gradient of {name}"))),
        };
        if cancelled() {
            return Err(Error::Interrupted.into());
        }
        let learning_rate = self.rate.at(step);
        self.optimizer.step(&self.params, learning_rate, clip::scale(grad_norm, self.max_grad_norm))?;
        let tokens = micro_batches.iter().map(MicroBatch::tokens).sum();
        Ok(StepOutcome { metrics, grad_norm, learning_rate, tokens })
    }

    /// The metrics of micro-batches without training. `cancelled` stops it; `each` is given every micro-batch that is done.
    pub fn evaluate(
        &self,
        batches: impl Iterator<Item = MicroBatch>,
        cancelled: &dyn Fn() -> bool,
        each: &mut dyn FnMut(&MicroBatch),
    ) -> Result<StepMetrics> {
        let mut metrics = StepMetrics::default();
        for batch in batches {
            if cancelled() {
                return Err(Error::Interrupted);
            }
            metrics.add(&self.objective.evaluate(self.models(), &batch)?);
            each(&batch);
        }
        Ok(metrics)
    }
}

/// A model before its first step, as a preference loss compares with it: what the recipe adds to the base is off, but for an
/// adapter that it goes on with, or begins with a part of the base.
pub fn before(model: &Llama, recipe: &Recipe) -> Result<Llama> {
    model.frozen(!recipe.lora.adapter.is_empty() || recipe.lora.init == Init::Pissa)
}

/// Why there is no step.
#[derive(Debug)]
pub enum StepError {
    /// This is not a finite number any more.
    Diverged(String),
    /// Anything else.
    Error(Error),
}

impl<E: Into<Error>> From<E> for StepError {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}
