//! What preference training minimises, and how it falls as the log-probability of each answer changes.
//!
//! Pure functions of numbers, in f64: the trainer brings summed log-probabilities and takes gradients back, which it
//! multiplies into the gradient of its chunked head. All log-probabilities are natural logarithms (nats), summed over an
//! answer's tokens; where a loss wants their mean over tokens, it divides here. TRL 1.16 is the model for what is
//! averaged over what, with one difference: means are over the rows and tokens of the whole step ([`Denominators`]), where TRL
//! averages the means of micro-batches. Both are the same where micro-batches are equally large.

mod answers;
mod cpo;
mod dpo;
mod kto;
mod orpo;
mod scalar;
mod sums;
mod tokens;

#[cfg(test)]
mod tests;

pub use answers::{Answer, Denominators, Grads, Pair, UnpairedAnswer};
pub(crate) use scalar::float;
pub use scalar::mean;
pub use sums::PreferenceSums;
pub use tokens::TokenSums;

use crate::recipe::{Preference, PreferenceLoss};

/// Loss and gradients of the pairs of a micro-batch, for DPO, ORPO, CPO and SimPO.
///
/// The step's loss is `sum of rows' parts / over.rows + sum of NLLs / over.tokens`; the gradients are those of this step's loss,
/// so that gradients of micro-batches add up to the step's. The sums are not divided yet ([`PreferenceSums::loss`]).
///
/// # Panics
/// With KTO, whose answers are judged one by one: [`unpaired`].
pub fn pairs(p: &Preference, pairs: &[Pair], over: Denominators) -> (PreferenceSums, Vec<Grads>) {
    assert!(p.loss != PreferenceLoss::Kto, "KTO judges single answers");
    let mut sums = PreferenceSums::default();
    let (rows, tokens) = (float(over.rows.max(1)), float(over.tokens.max(1)));
    let grads = pairs
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
            Grads {
                chosen: part.grads.chosen / rows + if over_text { 0.0 } else { nll },
                rejected: part.grads.rejected / rows,
                text: if over_text { nll } else { 0.0 },
            }
        })
        .collect();
    (sums, grads)
}

/// KTO: loss of a micro-batch of unpaired answers, and the gradient of the step's loss with respect to each answer's
/// summed log-probability.
///
/// `kl`, in nats, is the mean over the micro-batch of policy minus reference log-probability of answers that belong to
/// other prompts of the micro-batch (rotated by one); below 0 it counts as 0, and no gradient flows through it.
pub fn unpaired(p: &Preference, rows: &[UnpairedAnswer], kl: f64, over: Denominators) -> (PreferenceSums, Vec<f64>) {
    let kl = kl.max(0.0);
    let mut sums = PreferenceSums { kl, kl_batches: 1, ..PreferenceSums::default() };
    let count = float(over.rows.max(1));
    let grads = rows
        .iter()
        .map(|row| {
            let (loss, grad) = kto::row(p, row, kl, &mut sums);
            sums.rows += 1;
            sums.row_loss += loss;
            grad / count
        })
        .collect();
    (sums, grads)
}
