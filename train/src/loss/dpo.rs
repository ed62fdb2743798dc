//! DPO and its kin: losses of the two log-ratios between policy and reference.
//!
//! With c and r the log-ratios of chosen and rejected answer (nats, summed over tokens), n their numbers of tokens,
//! D = c - r, x = beta D, s the logistic function and e the label smoothing, a pair's loss is
//!
//! | kind | loss |
//! |---|---|
//! | `sigmoid` | -(1 - e) ln s(x) - e ln s(-x) |
//! | `hinge` | max(0, 1 - x) |
//! | `ipo` | (c/n_c - r/n_r - 1 / (2 beta))^2 |
//! | `exo_pair` | s(x) (ln s(x) - ln(1 - e)) + s(-x) (ln s(-x) - ln e) |
//! | `nca_pair` | -ln s(beta c) - ln s(-beta c) / 2 - ln s(-beta r) / 2 |
//! | `robust` | (-(1 - e) ln s(x) + e ln s(-x)) / (1 - 2e) |
//! | `bco_pair` | -ln s(beta c) - ln s(-beta r) |
//! | `sppo_hard` | (c - 1 / (2 beta))^2 + (r + 1 / (2 beta))^2 |
//! | `apo_zero` | s(-beta c) + s(beta r) |
//! | `apo_down` | s(beta c) + s(-x) |
//! | `discopop` | (1 - m) ln(1 + e^-x) + m e^-x, with m = s(x / tau) |
//! | `sigmoid_norm` | -ln s(beta (c/n_c - r/n_r)) |
//!
//! and `sft` is the NLL of the chosen answers over their tokens. Papers are named at [`DpoKind`]. Every first step has
//! c = r = 0: `sigmoid` starts at ln 2.

use super::{
    answers::{Pair, PairLoss},
    scalar::{log_sigmoid, sigmoid},
    sums::PreferenceSums,
};
use crate::recipe::{DpoKind, Preference};

/// A loss, and its gradients with respect to c and r.
struct Value(f64, [f64; 2]);

/// A function of x = beta (c - r) alone: its value, and its derivative `grad` by x.
fn of_margin(value: f64, grad: f64, beta: f64) -> Value {
    Value(value, [beta * grad, -beta * grad])
}

/// What the pair adds; its rewards are beta c and beta r for every kind.
pub fn part(p: &Preference, pair: &Pair, sums: &mut PreferenceSums) -> PairLoss {
    let (chosen, rejected) = (pair.chosen, pair.rejected);
    let ratios = [chosen.logp - pair.reference[0], rejected.logp - pair.reference[1]];
    let lengths = [chosen.length(), rejected.length()];
    sums.pair(ratios.map(|l| p.beta() * l), [chosen.logp, rejected.logp]);
    let mut part = PairLoss::default();
    for term in p.terms() {
        if term.kind == DpoKind::Sft {
            (part.nll, part.nll_weight) = (chosen, term.weight);
            continue;
        }
        let Value(value, grads) = value(term.kind, p, ratios, lengths);
        part.row += term.weight * value;
        part.grads.chosen += term.weight * grads[0];
        part.grads.rejected += term.weight * grads[1];
    }
    part
}

/// The loss of one kind, with its gradients. DPO itself is `sigmoid`: d loss / d c = -beta ((1 - e) s(-x) - e s(x)).
fn value(kind: DpoKind, p: &Preference, [c, r]: [f64; 2], [n_c, n_r]: [f64; 2]) -> Value {
    let (beta, e) = (p.beta(), p.label_smoothing);
    let x = beta * (c - r);
    match kind {
        DpoKind::Sigmoid => {
            let value = -(1.0 - e) * log_sigmoid(x) - e * log_sigmoid(-x);
            of_margin(value, e * sigmoid(x) - (1.0 - e) * sigmoid(-x), beta)
        }
        DpoKind::Hinge => of_margin((1.0 - x).max(0.0), if x < 1.0 { -1.0 } else { 0.0 }, beta),
        DpoKind::Ipo => {
            let off = c / n_c - r / n_r - 0.5 / beta;
            Value(off * off, [2.0 * off / n_c, -2.0 * off / n_r])
        }
        DpoKind::ExoPair => {
            let (kept, flipped) = ((-e).ln_1p(), e.ln());
            let (q, rest) = (sigmoid(x), sigmoid(-x));
            let value = q * (log_sigmoid(x) - kept) + rest * (log_sigmoid(-x) - flipped);
            of_margin(value, q * rest * (x - kept + flipped), beta)
        }
        DpoKind::NcaPair => {
            let (c, r) = (beta * c, beta * r);
            let value = -log_sigmoid(c) - 0.5 * log_sigmoid(-c) - 0.5 * log_sigmoid(-r);
            Value(value, [beta * (0.5 * sigmoid(c) - sigmoid(-c)), beta * 0.5 * sigmoid(r)])
        }
        DpoKind::Robust => {
            let clean = 1.0 - 2.0 * e;
            let value = (e * log_sigmoid(-x) - (1.0 - e) * log_sigmoid(x)) / clean;
            of_margin(value, -(e * sigmoid(x) + (1.0 - e) * sigmoid(-x)) / clean, beta)
        }
        DpoKind::BcoPair => {
            let (c, r) = (beta * c, beta * r);
            Value(-log_sigmoid(c) - log_sigmoid(-r), [-beta * sigmoid(-c), beta * sigmoid(r)])
        }
        DpoKind::SppoHard => {
            let (c, r) = (c - 0.5 / beta, r + 0.5 / beta);
            Value(c * c + r * r, [2.0 * c, 2.0 * r])
        }
        DpoKind::ApoZero => {
            let (c, r) = (beta * c, beta * r);
            Value(sigmoid(-c) + sigmoid(r), [-beta * sigmoid_grad(c), beta * sigmoid_grad(r)])
        }
        DpoKind::ApoDown => {
            let c = beta * c;
            Value(sigmoid(c) + sigmoid(-x), [beta * (sigmoid_grad(c) - sigmoid_grad(x)), beta * sigmoid_grad(x)])
        }
        DpoKind::Discopop => {
            let tau = p.discopop_tau();
            let (m, rest) = (sigmoid(x / tau), sigmoid(-x / tau));
            let logistic = -log_sigmoid(x);
            // m e^-x as one exponential: apart, they are 0 and infinity far to the left.
            let exponential = (log_sigmoid(x / tau) - x).exp();
            let grad = (exponential - m * logistic) * rest / tau - rest * sigmoid(-x) - exponential;
            of_margin(rest * logistic + exponential, grad, beta)
        }
        DpoKind::SigmoidNorm => {
            let mean = beta * (c / n_c - r / n_r);
            let grad = -beta * sigmoid(-mean);
            Value(-log_sigmoid(mean), [grad / n_c, -grad / n_r])
        }
        DpoKind::Sft => Value(0.0, [0.0; 2]),
    }
}

/// Derivative of the logistic function.
fn sigmoid_grad(x: f64) -> f64 {
    sigmoid(x) * sigmoid(-x)
}
