//! ORPO (arXiv 2403.07691): the NLL of prompt and chosen answer, and an odds ratio that needs no reference.
//!
//! With c and r the mean log-probabilities of a token of chosen and rejected answer, odds(p) = p / (1 - p) and s the
//! logistic function, a pair adds `-beta ln s(L)` where
//!
//! ```text
//! L = ln odds(e^c) - ln odds(e^r) = (c - r) - (ln(1 - e^c) - ln(1 - e^r))
//! ```
//!
//! to the mean over rows. The NLL is a mean over tokens; TRL takes it over the prompt as well, unlike the paper.

use super::{
    answers::{Grads, Pair, PairLoss},
    scalar::{log_1m_exp, log_sigmoid},
    sums::PreferenceSums,
};
use crate::recipe::Preference;

/// The highest mean log-probability that counts: at 0 the odds are infinite, and f32 rounds anything nearer to it.
const CERTAIN: f64 = -1e-7;

/// What the pair adds; rewards are beta times mean log-probabilities.
pub fn part(p: &Preference, pair: &Pair, sums: &mut PreferenceSums) -> PairLoss {
    let (beta, means) = (p.beta(), [pair.chosen.mean(), pair.rejected.mean()]);
    sums.pair(means.map(|l| beta * l), means);
    let [c, r] = means.map(|l| l.min(CERTAIN));
    let log_odds = (c - r) - (log_1m_exp(c) - log_1m_exp(r));
    let ratio = log_sigmoid(log_odds);
    sums.log_odds_ratio += ratio;
    sums.log_odds_chosen += log_odds;
    sums.odds += 1;
    // ln s(L) has the derivative s(-L) by L, and L has 1 / (1 - e^c) and -1 / (1 - e^r) by c and r. Written as one exponential, the
    // product stays finite while the chosen answer becomes certain.
    let grad = |l: f64| beta * (log_sigmoid(-log_odds) - log_1m_exp(l)).exp();
    PairLoss {
        row: -beta * ratio,
        grads: Grads { chosen: -grad(c) / pair.chosen.length(), rejected: grad(r) / pair.rejected.length(), text: 0.0 },
        nll: pair.text,
        nll_weight: 1.0,
    }
}
