//! What a run minimises, from the log-probabilities of a micro-batch to the weight of each of its targets.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{
    data::micro::{Judged, Micro, Pairs, Said},
    error::Result,
    kernels::RowLoss,
    loss::{self, Answer, Of, Sums},
    model::{
        head::Losses,
        llama::{Llama, Training},
        mode::View,
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

/// What was said of some micro-batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Over the targets; with preferences those of all answers, and the likeliest tokens counted in the wanted ones.
    pub losses: Losses,
    /// Over the answers.
    #[serde(default, skip_serializing_if = "Sums::is_empty")]
    pub sums: Sums,
}

impl Told {
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

    /// What the means of a step are taken over.
    pub fn of<'a>(micro_batches: impl IntoIterator<Item = &'a Micro>) -> Of {
        let mut of = Of::default();
        for micro in micro_batches {
            let (rows, tokens) = match micro {
                Micro::Texts(batch) => (batch.rows.len(), batch.targets()),
                Micro::Pairs(pairs) => (pairs.said.len(), pairs.said.iter().map(|[better, _]| better.text.len()).sum()),
                Micro::Judged(judged) => (judged.said.len(), 0),
            };
            of.rows += rows as u64;
            of.tokens += tokens as u64;
        }
        of
    }

    /// A micro-batch forward and backward: adds to the gradients those of the loss of a step that is `of` so much.
    ///
    /// # Errors
    /// As [`Llama::train`].
    pub fn train(&self, model: &Llama, micro: &Micro, training: &Training, of: Of) -> Result<Told> {
        let read = self.beside(model, micro)?;
        let mut told = Told::default();
        model.train(micro.batch(), training, |rows| {
            let (said, weights) = self.weigh(micro, rows, &read, of);
            told = said;
            // What is not a number would spoil every gradient: the caller looks at the loss first.
            told.loss().is_finite().then_some(weights)
        })?;
        Ok(told)
    }

    /// What is said of a micro-batch without training.
    ///
    /// # Errors
    /// As [`Llama::read`].
    pub fn evaluate(&self, model: &Llama, micro: &Micro) -> Result<Told> {
        let read = self.beside(model, micro)?;
        let rows = model.read(micro.batch(), View::Trained)?;
        Ok(self.weigh(micro, &rows, &read, Self::of([micro])).0)
    }

    /// What has to be known before the micro-batch itself is read.
    fn beside(&self, model: &Llama, micro: &Micro) -> Result<Beside> {
        let mut beside = Beside::default();
        match micro {
            Micro::Texts(_) => {}
            Micro::Pairs(pairs) if self.needs_reference() => beside.reference = reference(model, pairs)?,
            Micro::Pairs(pairs) => beside.reference = vec![[0.0; 2]; pairs.said.len()],
            Micro::Judged(judged) => {
                let logps = |view, batch, said: &[Said]| -> Result<Vec<f64>> {
                    let rows = model.read(batch, view)?;
                    Ok(said.iter().map(|s| sum(&rows, &s.answer)).collect())
                };
                let before = logps(View::Reference, &judged.batch, &judged.said)?;
                beside.reference = before.into_iter().map(|logp| [logp, 0.0]).collect();
                let [now, before] = [View::Trained, View::Reference]
                    .map(|view| logps(view, &judged.rotated, &judged.rotated_said).map(|l| l.iter().sum::<f64>()));
                // A row alone has no other's answer.
                if judged.said.len() > 1 {
                    beside.kl = crate::trainer::per(now? - before?, judged.said.len() as u64);
                }
            }
        }
        Ok(beside)
    }

    /// Sums, and the derivative of the step's loss by each target's -log p.
    fn weigh(&self, micro: &Micro, rows: &[RowLoss], beside: &Beside, of: Of) -> (Told, Vec<f64>) {
        match (self, micro) {
            (Self::Preference(p), Micro::Pairs(pairs)) => weigh_pairs(p, pairs, rows, &beside.reference, of),
            (Self::Preference(p), Micro::Judged(judged)) => weigh_judged(p, judged, rows, beside, of),
            _ => {
                let told = Told { losses: Losses::of(rows), sums: Sums::default() };
                (told, vec![1.0 / crate::loss::float(of.tokens.max(1)); rows.len()])
            }
        }
    }
}

/// What a preference loss compares with.
#[derive(Default)]
struct Beside {
    /// Log-probability of each row's answers under the reference, in nats.
    reference: Vec<[f64; 2]>,
    /// Mean log-ratio of the answers to other questions, in nats.
    kl: f64,
}

/// Log-probabilities of the answers of pairs under the model as it was before training, in nats.
///
/// # Errors
/// As [`Llama::read`].
pub fn reference(model: &Llama, pairs: &Pairs) -> Result<Vec<[f64; 2]>> {
    if let Some(known) = &pairs.reference {
        return Ok(known.clone());
    }
    let rows = model.read(&pairs.batch, View::Reference)?;
    Ok(pairs.said.iter().map(|sides| [0, 1].map(|i: usize| sum(&rows, &sides[i].answer))).collect())
}

/// Log-probability of a range of targets, in nats.
fn sum(rows: &[RowLoss], range: &Range<usize>) -> f64 {
    rows[range.clone()].iter().map(|row| -row.nll).sum()
}

fn answer(rows: &[RowLoss], range: &Range<usize>) -> Answer {
    Answer { logp: sum(rows, range), tokens: range.len() as u64 }
}

/// Count an answer's tokens.
fn count(told: &mut Told, rows: &[RowLoss], range: &Range<usize>, side: usize) {
    let rows = &rows[range.clone()];
    let mut losses = Losses::of(rows);
    if side > 0 {
        (losses.correct, losses.guessed) = (0, 0);
    }
    told.losses.add(losses);
    told.sums.logits[side] += rows.iter().map(|row| row.logit).sum::<f64>();
    told.sums.logit_tokens[side] += rows.len() as u64;
}

fn weigh_pairs(p: &Preference, pairs: &Pairs, rows: &[RowLoss], before: &[[f64; 2]], of: Of) -> (Told, Vec<f64>) {
    let read = pairs.said.iter().zip(before).map(|([better, other], reference)| loss::Pair {
        chosen: answer(rows, &better.answer),
        rejected: answer(rows, &other.answer),
        reference: *reference,
        text: answer(rows, &better.text),
    });
    let (sums, slopes) = loss::pairs(p, &read.collect::<Vec<_>>(), of);
    let mut told = Told { losses: Losses::default(), sums };
    let mut weights = vec![0.0; rows.len()];
    for ([better, other], slope) in pairs.said.iter().zip(slopes) {
        let parts = [(&better.text, slope.text), (&better.answer, slope.chosen), (&other.answer, slope.rejected)];
        for (range, slope) in parts {
            weights[range.clone()].iter_mut().for_each(|weight| *weight -= slope);
        }
        count(&mut told, rows, &better.answer, 0);
        count(&mut told, rows, &other.answer, 1);
    }
    (told, weights)
}

fn weigh_judged(p: &Preference, judged: &Judged, rows: &[RowLoss], beside: &Beside, of: Of) -> (Told, Vec<f64>) {
    let read = judged.said.iter().zip(&judged.desirable).zip(&beside.reference);
    let read = read.map(|((said, desirable), [reference, _])| loss::Judged {
        answer: answer(rows, &said.answer),
        reference: *reference,
        desirable: *desirable,
    });
    let (sums, slopes) = loss::judged(p, &read.collect::<Vec<_>>(), beside.kl, of);
    let mut told = Told { losses: Losses::default(), sums };
    let mut weights = vec![0.0; rows.len()];
    for ((said, desirable), slope) in judged.said.iter().zip(&judged.desirable).zip(slopes) {
        weights[said.answer.clone()].fill(-slope);
        count(&mut told, rows, &said.answer, usize::from(!desirable));
    }
    (told, weights)
}
