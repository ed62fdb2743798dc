//! KTO (arXiv 2402.01306, equation 7): single answers, each against the drift of the whole model.
//!
//! With l the log-ratio of an answer between policy and reference (nats, summed over tokens), z the KL, s the logistic
//! function and w the weight of its kind, it adds
//!
//! ```text
//! w (1 - s(beta (l - z)))    desirable
//! w (1 - s(beta (z - l)))    undesirable
//! ```
//!
//! to the mean over rows. z is a constant: no gradient flows through it.

use super::{answers::UnpairedAnswer, scalar::sigmoid, sums::PreferenceSums};
use crate::recipe::Preference;

/// The answer's loss and its gradient with respect to the summed log-probability; its reward is beta l.
pub fn row(p: &Preference, row: &UnpairedAnswer, kl: f64, sums: &mut PreferenceSums) -> (f64, f64) {
    let ratio = row.answer.logp - row.reference;
    let which = usize::from(!row.desirable);
    let (beta, weight) = (p.beta(), p.kto_weights()[which]);
    sums.answers[which] += 1;
    sums.answer(which, beta * ratio, row.answer.logp);
    let sign = if row.desirable { 1.0 } else { -1.0 };
    let x = sign * beta * (ratio - kl);
    (weight * sigmoid(-x), -sign * weight * beta * sigmoid(x) * sigmoid(-x))
}
