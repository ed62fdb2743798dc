//! What a run minimises, from the log-probabilities of a micro-batch to the weight of each of its targets.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{
    data::micro::{MicroBatch, PairBatch, TargetSpans, UnpairedBatch},
    error::{Error, Result},
    kernels::RowLoss,
    loss::{self, Answer, Denominators, PreferenceSums, TokenSums},
    model::{
        context::Mode,
        llama::{Llama, Training},
    },
    recipe::{Preference, Recipe, Task},
};

/// What a run minimises.
#[derive(Clone, Debug)]
pub enum Objective {
    /// Mean -log p of the targets.
    Likelihood,
    /// A loss on answers that were compared or judged.
    Preference(Preference),
}

/// The model in training, and as it was before, if the objective asks it beside each step.
#[derive(Clone, Copy, Debug)]
pub struct Models<'a> {
    /// With what it learned.
    pub now: &'a Llama,
    /// Without.
    pub before: Option<&'a Llama>,
}

/// What a run reports of some micro-batches, as sums that add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepMetrics {
    /// Over the targets; with preferences those of all answers, and the likeliest tokens counted in the wanted ones.
    pub losses: TokenSums,
    /// Over the answers.
    #[serde(default, skip_serializing_if = "PreferenceSums::is_empty")]
    pub sums: PreferenceSums,
}

impl StepMetrics {
    /// The loss of all that was added up.
    pub fn loss(&self) -> f64 {
        if self.sums.is_empty() { self.losses.mean() } else { self.sums.loss() }
    }

    /// Add another micro-batch's.
    pub fn add(&mut self, other: &Self) {
        self.losses.add(other.losses);
        self.sums.add(&other.sums);
    }
}

impl Objective {
    /// Of a recipe.
    pub fn new(recipe: &Recipe) -> Self {
        match recipe.task {
            Task::Sft | Task::Text => Self::Likelihood,
            Task::Preference => Self::Preference(recipe.preference()),
        }
    }

    /// Whether the model as it was before training is asked too.
    pub fn needs_reference(&self) -> bool {
        matches!(self, Self::Preference(p) if p.loss.needs_reference())
    }

    /// Whether it is asked beside each step.
    pub fn asks_beside(&self) -> bool {
        matches!(self, Self::Preference(p) if p.asks_beside())
    }

    /// The denominators of a step of these micro-batches.
    pub fn denominators<'a>(micro_batches: impl IntoIterator<Item = &'a MicroBatch>) -> Denominators {
        let mut over = Denominators::default();
        for micro in micro_batches {
            let (rows, tokens) = match micro {
                MicroBatch::Texts(batch) => (batch.rows.len(), batch.targets()),
                MicroBatch::Pairs(pairs) => {
                    (pairs.targets.len(), pairs.targets.iter().map(|[chosen, _]| chosen.text.len()).sum())
                }
                MicroBatch::Unpaired(answers) => (answers.targets.len(), 0),
            };
            over.rows += rows as u64;
            over.tokens += tokens as u64;
        }
        over
    }

    /// A micro-batch forward and backward: adds to the gradients those of the loss of a step whose means are taken `over`
    /// so much.
    pub fn train(
        &self,
        models: Models<'_>,
        micro: &MicroBatch,
        training: &Training,
        over: Denominators,
    ) -> Result<StepMetrics> {
        let reference = self.reference(models, micro)?;
        let mut metrics = StepMetrics::default();
        models.now.train(micro.batch(), training, |rows| {
            let (found, weights) = self.weigh(micro, rows, &reference, over);
            metrics = found;
            // What is not a number would spoil every gradient: the caller looks at the loss first.
            metrics.loss().is_finite().then_some(weights)
        })?;
        Ok(metrics)
    }

    /// The metrics of a micro-batch without training.
    pub fn evaluate(&self, models: Models<'_>, micro: &MicroBatch) -> Result<StepMetrics> {
        let reference = self.reference(models, micro)?;
        let rows = models.now.target_losses(micro.batch(), Mode::Eval)?;
        Ok(self.weigh(micro, &rows, &reference, Self::denominators([micro])).0)
    }

    /// What the loss of the micro-batch compares with.
    fn reference(&self, models: Models<'_>, micro: &MicroBatch) -> Result<Reference> {
        let mut reference = Reference::default();
        let before = || models.before.ok_or_else(|| Error::Other("the model before training is not there".into()));
        match micro {
            MicroBatch::Texts(_) => {}
            MicroBatch::Pairs(pairs) if self.needs_reference() => {
                reference.logps = match &pairs.reference {
                    Some(known) => known.clone(),
                    None => logps_of_pairs(before()?, pairs)?,
                }
            }
            MicroBatch::Pairs(pairs) => reference.logps = vec![[0.0; 2]; pairs.targets.len()],
            MicroBatch::Unpaired(answers) => {
                let before = before()?;
                let logps = |model: &Llama, batch, targets: &[TargetSpans]| -> Result<Vec<f64>> {
                    let rows = model.target_losses(batch, Mode::Eval)?;
                    Ok(targets.iter().map(|t| sum(&rows, &t.answer)).collect())
                };
                let of_rows = logps(before, &answers.batch, &answers.targets)?;
                reference.logps = of_rows.into_iter().map(|logp| [logp, 0.0]).collect();
                let [now, before] = [models.now, before].map(|model| {
                    logps(model, &answers.rotated, &answers.rotated_targets).map(|l| l.iter().sum::<f64>())
                });
                // A row alone has no other's answer.
                if answers.targets.len() > 1 {
                    reference.kl = loss::mean(now? - before?, answers.targets.len() as u64);
                }
            }
        }
        Ok(reference)
    }

    /// The metrics, and the derivative of the step's loss by each target's -log p.
    fn weigh(
        &self,
        micro: &MicroBatch,
        rows: &[RowLoss],
        reference: &Reference,
        over: Denominators,
    ) -> (StepMetrics, Vec<f64>) {
        match (self, micro) {
            (Self::Preference(p), MicroBatch::Pairs(pairs)) => weigh_pairs(p, pairs, rows, &reference.logps, over),
            (Self::Preference(p), MicroBatch::Unpaired(answers)) => weigh_unpaired(p, answers, rows, reference, over),
            _ => {
                let metrics = StepMetrics { losses: TokenSums::of(rows), sums: PreferenceSums::default() };
                (metrics, vec![1.0 / loss::float(over.tokens.max(1)); rows.len()])
            }
        }
    }
}

/// What a preference loss compares with.
#[derive(Default)]
struct Reference {
    /// Log-probability of each row's answers under the reference, in nats.
    logps: Vec<[f64; 2]>,
    /// Mean log-ratio of the answers to other questions, in nats.
    kl: f64,
}

/// Log-probabilities of the answers of pairs, in nats.
pub fn logps_of_pairs(model: &Llama, pairs: &PairBatch) -> Result<Vec<[f64; 2]>> {
    let rows = model.target_losses(&pairs.batch, Mode::Eval)?;
    Ok(pairs.targets.iter().map(|sides| [0, 1].map(|i: usize| sum(&rows, &sides[i].answer))).collect())
}

/// Log-probability of a range of targets, in nats.
fn sum(rows: &[RowLoss], range: &Range<usize>) -> f64 {
    rows[range.clone()].iter().map(|row| -row.nll).sum()
}

fn answer(rows: &[RowLoss], range: &Range<usize>) -> Answer {
    Answer { logp: sum(rows, range), tokens: range.len() as u64 }
}

/// Count an answer's tokens.
fn count(metrics: &mut StepMetrics, rows: &[RowLoss], range: &Range<usize>, side: usize) {
    let rows = &rows[range.clone()];
    let mut losses = TokenSums::of(rows);
    if side > 0 {
        (losses.correct, losses.guessed) = (0, 0);
    }
    metrics.losses.add(losses);
    metrics.sums.logits[side] += rows.iter().map(|row| row.logit).sum::<f64>();
    metrics.sums.logit_tokens[side] += rows.len() as u64;
}

fn weigh_pairs(
    p: &Preference,
    pairs: &PairBatch,
    rows: &[RowLoss],
    reference: &[[f64; 2]],
    over: Denominators,
) -> (StepMetrics, Vec<f64>) {
    let read = pairs.targets.iter().zip(reference).map(|([chosen, rejected], reference)| loss::Pair {
        chosen: answer(rows, &chosen.answer),
        rejected: answer(rows, &rejected.answer),
        reference: *reference,
        text: answer(rows, &chosen.text),
    });
    let (sums, grads) = loss::pairs(p, &read.collect::<Vec<_>>(), over);
    let mut metrics = StepMetrics { losses: TokenSums::default(), sums };
    let mut weights = vec![0.0; rows.len()];
    for ([chosen, rejected], grad) in pairs.targets.iter().zip(grads) {
        // log p falls as -log p rises.
        let parts = [(&chosen.text, grad.text), (&chosen.answer, grad.chosen), (&rejected.answer, grad.rejected)];
        for (range, grad) in parts {
            weights[range.clone()].iter_mut().for_each(|weight| *weight -= grad);
        }
        count(&mut metrics, rows, &chosen.answer, 0);
        count(&mut metrics, rows, &rejected.answer, 1);
    }
    (metrics, weights)
}

fn weigh_unpaired(
    p: &Preference,
    answers: &UnpairedBatch,
    rows: &[RowLoss],
    reference: &Reference,
    over: Denominators,
) -> (StepMetrics, Vec<f64>) {
    let read = answers.targets.iter().zip(&answers.desirable).zip(&reference.logps);
    let read = read.map(|((targets, desirable), [reference, _])| loss::UnpairedAnswer {
        answer: answer(rows, &targets.answer),
        reference: *reference,
        desirable: *desirable,
    });
    let (sums, grads) = loss::unpaired(p, &read.collect::<Vec<_>>(), reference.kl, over);
    let mut metrics = StepMetrics { losses: TokenSums::default(), sums };
    let mut weights = vec![0.0; rows.len()];
    for ((targets, desirable), grad) in answers.targets.iter().zip(&answers.desirable).zip(grads) {
        weights[targets.answer.clone()].fill(-grad);
        count(&mut metrics, rows, &targets.answer, usize::from(!desirable));
    }
    (metrics, weights)
}
