//! CPO (arXiv 2401.08417) and SimPO (arXiv 2405.14734): pairs without a reference, and the NLL of the chosen answers.
//!
//! With c and r the log-probabilities of chosen and rejected answer, summed over tokens for CPO and averaged for SimPO,
//! s the logistic function, e the label smoothing and
//!
//! ```text
//! x = beta (c - r)            CPO
//! x = beta (c - r) - gamma    SimPO
//! ```
//!
//! a pair adds `-(1 - e) ln s(x) - e ln s(-x)` to the mean over rows, and the chosen answers' NLL, a mean over their
//! tokens, counts `cpo_alpha` times.

use super::{
    answers::{Grads, Pair, PairLoss},
    scalar::{log_sigmoid, sigmoid},
    sums::PreferenceSums,
};
use crate::recipe::{Preference, PreferenceLoss};

/// What the pair adds; rewards are beta times the log-probabilities, without gamma.
pub fn part(p: &Preference, pair: &Pair, sums: &mut PreferenceSums) -> PairLoss {
    let (beta, e) = (p.beta(), p.label_smoothing);
    let answers = [pair.chosen, pair.rejected];
    let (logps, lengths, margin) = if p.loss == PreferenceLoss::Simpo {
        (answers.map(super::answers::Answer::mean), answers.map(super::answers::Answer::length), p.gamma())
    } else {
        (answers.map(|a| a.logp), [1.0; 2], 0.0)
    };
    sums.pair(logps.map(|l| beta * l), logps);
    let x = beta * (logps[0] - logps[1]) - margin;
    let grad = beta * (e * sigmoid(x) - (1.0 - e) * sigmoid(-x));
    PairLoss {
        row: -(1.0 - e) * log_sigmoid(x) - e * log_sigmoid(-x),
        grads: Grads { chosen: grad / lengths[0], rejected: -grad / lengths[1], text: 0.0 },
        nll: pair.chosen,
        nll_weight: p.cpo_alpha(),
    }
}
