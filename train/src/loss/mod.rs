//! What preference training minimises, and how it falls as the log-probability of each answer changes.
//!
//! Pure functions of numbers, in f64: the trainer brings summed log-probabilities and takes slopes back, which it
//! multiplies into the gradient of its chunked head. All log-probabilities are natural logarithms (nats), summed over an
//! answer's tokens; where a loss wants their mean over tokens, it divides here. TRL 1.16 is the model for what is
//! averaged over what, with one difference: means are over the rows and tokens of the whole step ([`Of`]), where TRL
//! averages the means of micro-batches. Both are the same where micro-batches are equally large.

mod cpo;
mod dpo;
mod kto;
mod orpo;
mod scalar;
mod sums;
#[cfg(test)]
mod tests;

pub use sums::Sums;

use crate::recipe::{Preference, PreferenceLoss};

/// An answer as the model sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Answer {
    /// Log-probability, summed over its tokens, in nats.
    pub logp: f64,
    /// How many tokens.
    pub tokens: u64,
}

impl Answer {
    /// Tokens as a divisor; 1 for none, as TRL has it.
    fn length(self) -> f64 {
        float(self.tokens.max(1))
    }

    /// Mean log-probability of a token, in nats.
    fn mean(self) -> f64 {
        self.logp / self.length()
    }
}

/// Two answers to one prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pair {
    /// The better one.
    pub chosen: Answer,
    /// The other.
    pub rejected: Answer,
    /// Log-probability of chosen and rejected under the reference, in nats; zeros where the loss needs none.
    pub reference: [f64; 2],
    /// The prompt followed by the chosen answer: every token but the first, which nothing precedes. Only ORPO reads it,
    /// whose NLL is over both.
    pub text: Answer,
}

/// What the means of a step are taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Of {
    /// Pairs, or judged answers, of all its micro-batches.
    pub rows: u64,
    /// Tokens that the NLL is over, of all its micro-batches: those of `text` for ORPO, of `chosen` for the others.
    pub tokens: u64,
}

/// How the step's loss changes with each summed log-probability, per nat. `text` holds the chosen answer's tokens too:
/// both slopes apply to them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slopes {
    /// With that of the chosen answer.
    pub chosen: f64,
    /// With that of the rejected answer.
    pub rejected: f64,
    /// With that of the prompt and chosen answer.
    pub text: f64,
}

/// What one pair adds to the loss, before means are taken: a part per row and a part per token.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// Averaged over rows.
    row: f64,
    /// Slopes of `row`; `text` is not used.
    slopes: Slopes,
    /// What the NLL is over.
    nll: Answer,
    /// What the mean of the NLL over tokens is multiplied by.
    nll_weight: f64,
}

/// Loss and slopes of the pairs of a micro-batch, for DPO, ORPO, CPO and SimPO.
///
/// The step's loss is `sum of rows' parts / of.rows + sum of NLLs / of.tokens`; the slopes are those of this step's loss,
/// so that gradients of micro-batches add up to the step's. The sums are not divided yet ([`Sums::loss`]).
///
/// # Panics
/// With KTO, whose answers are judged one by one: [`judged`].
pub fn pairs(p: &Preference, pairs: &[Pair], of: Of) -> (Sums, Vec<Slopes>) {
    assert!(p.loss != PreferenceLoss::Kto, "KTO judges single answers");
    let mut sums = Sums::default();
    let (rows, tokens) = (float(of.rows.max(1)), float(of.tokens.max(1)));
    let slopes = pairs
        .iter()
        .map(|pair| {
            let part = match p.loss {
                PreferenceLoss::Orpo => orpo::part(p, pair, &mut sums),
                PreferenceLoss::Cpo | PreferenceLoss::Simpo => cpo::part(p, pair, &mut sums),
                PreferenceLoss::Dpo | PreferenceLoss::Kto => dpo::part(p, pair, &mut sums),
            };
            sums.rows += 1;
            sums.pairs += 1;
            sums.answers = sums.answers.map(|n| n + 1);
            sums.row_loss += part.row;
            sums.token_loss -= part.nll_weight * part.nll.logp;
            sums.nll -= part.nll.logp;
            sums.nll_tokens += part.nll.tokens;
            let nll = -part.nll_weight / tokens;
            let over_text = p.loss == PreferenceLoss::Orpo;
            Slopes {
                chosen: part.slopes.chosen / rows + if over_text { 0.0 } else { nll },
                rejected: part.slopes.rejected / rows,
                text: if over_text { nll } else { 0.0 },
            }
        })
        .collect();
    (sums, slopes)
}

/// A single answer and what somebody thought of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Judged {
    /// The answer.
    pub answer: Answer,
    /// Its log-probability under the reference, in nats.
    pub reference: f64,
    /// Whether it was wanted.
    pub desirable: bool,
}

/// KTO: loss of a micro-batch of judged answers, and the slope of the step's loss with each answer's summed
/// log-probability.
///
/// `kl`, in nats, is the mean over the micro-batch of policy minus reference log-probability of answers that belong to
/// other prompts of the micro-batch (rotated by one); below 0 it counts as 0, and no gradient flows through it.
pub fn judged(p: &Preference, rows: &[Judged], kl: f64, of: Of) -> (Sums, Vec<f64>) {
    let kl = kl.max(0.0);
    let mut sums = Sums { kl, kl_batches: 1, ..Sums::default() };
    let over = float(of.rows.max(1));
    let slopes = rows
        .iter()
        .map(|row| {
            let (loss, slope) = kto::row(p, row, kl, &mut sums);
            sums.rows += 1;
            sums.row_loss += loss;
            slope / over
        })
        .collect();
    (sums, slopes)
}

#[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53 rows and tokens")]
pub(crate) fn float(x: u64) -> f64 {
    x as f64
}
