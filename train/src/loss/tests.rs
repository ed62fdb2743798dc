//! Every loss against its own finite differences, at its known first value, and far out. TRL's own numbers are in
//! `tests/oracles/preference.rs`.

use super::*;
use crate::recipe::{DpoKind, Term};

const KINDS: [DpoKind; 13] = [
    DpoKind::Sigmoid,
    DpoKind::Hinge,
    DpoKind::Ipo,
    DpoKind::ExoPair,
    DpoKind::NcaPair,
    DpoKind::Robust,
    DpoKind::BcoPair,
    DpoKind::SppoHard,
    DpoKind::ApoZero,
    DpoKind::ApoDown,
    DpoKind::Discopop,
    DpoKind::Sft,
    DpoKind::SigmoidNorm,
];

fn dpo(kind: DpoKind) -> Preference {
    Preference { label_smoothing: 0.1, terms: vec![Term { kind, weight: 1.0 }], ..Preference::default() }
}

fn of_loss(loss: PreferenceLoss) -> Preference {
    Preference { loss, ..Preference::default() }
}

/// Each loss on pairs, with settings off their defaults.
fn paired() -> Vec<(String, Preference)> {
    let mut all: Vec<_> = KINDS.map(|kind| (format!("{kind:?}"), dpo(kind))).into();
    let list = [(DpoKind::Sigmoid, 0.8), (DpoKind::Hinge, 0.2), (DpoKind::Sft, 0.5)];
    let terms = list.map(|(kind, weight)| Term { kind, weight }).to_vec();
    all.push(("list".into(), Preference { terms, beta: Some(0.3), ..Preference::default() }));
    all.push(("orpo".into(), Preference { beta: Some(0.7), ..of_loss(PreferenceLoss::Orpo) }));
    all.push(("cpo".into(), Preference { label_smoothing: 0.2, ..of_loss(PreferenceLoss::Cpo) }));
    let simpo = Preference { gamma: Some(1.1), cpo_alpha: Some(0.4), ..of_loss(PreferenceLoss::Simpo) };
    all.push(("simpo".into(), simpo));
    all
}

fn answer(logp: f64, tokens: u64) -> Answer {
    Answer { logp, tokens }
}

/// Pairs on both sides of the fence, and one in which nothing has moved.
fn sample() -> Vec<Pair> {
    let pair = |c: f64, r: f64, reference: [f64; 2], text: f64| Pair {
        chosen: answer(c, 7),
        rejected: answer(r, 4),
        reference,
        text: answer(text, 12),
    };
    vec![
        pair(-9.5, -8.25, [-11.0, -7.5], -21.0),
        pair(-20.0, -5.0, [-14.0, -9.0], -33.0),
        pair(-3.0, -6.0, [-3.0, -6.0], -10.0),
        pair(-1.2, -7.0, [-30.0, -2.0], -2.0),
    ]
}

fn of(pairs: &[Pair], loss: PreferenceLoss) -> Denominators {
    let nll = |p: &Pair| if loss == PreferenceLoss::Orpo { p.text.tokens } else { p.chosen.tokens };
    Denominators { rows: pairs.len() as u64, tokens: pairs.iter().map(nll).sum() }
}

fn loss(p: &Preference, rows: &[Pair]) -> f64 {
    pairs(p, rows, of(rows, p.loss)).0.loss()
}

#[track_caller]
fn close(what: &str, got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance * want.abs().max(1.0), "{what}: {got:e} instead of {want:e}");
}

#[test]
fn grads_are_the_values_differences() {
    const H: f64 = 1e-4;
    for (name, p) in paired() {
        let rows = sample();
        let (_, grads) = pairs(&p, &rows, of(&rows, p.loss));
        for (i, grad) in grads.iter().enumerate() {
            for (field, got) in [grad.chosen, grad.rejected, grad.text].into_iter().enumerate() {
                let moved = |by: f64| {
                    let mut rows = rows.clone();
                    let pair = &mut rows[i];
                    [&mut pair.chosen, &mut pair.rejected, &mut pair.text][field].logp += by;
                    loss(&p, &rows)
                };
                // Fourth order: the error is of H^4 and of the last digit over H.
                let want = (8.0 * (moved(H) - moved(-H)) - (moved(2.0 * H) - moved(-2.0 * H))) / (12.0 * H);
                close(&format!("{name}, pair {i}, answer {field}"), got, want, 1e-8);
            }
        }
    }
}

#[test]
fn grads_of_unpaired_answers_are_the_values_differences() {
    const H: f64 = 1e-4;
    let p = Preference { desirable_weight: Some(1.5), undesirable_weight: Some(0.75), ..of_loss(PreferenceLoss::Kto) };
    let rows = [(-9.0, -7.0, true), (-4.0, -11.0, false), (-6.0, -6.5, true)];
    let rows =
        rows.map(|(logp, reference, desirable)| UnpairedAnswer { answer: answer(logp, 5), reference, desirable });
    let of = Denominators { rows: 3, tokens: 0 };
    for kl in [-0.3, 0.0, 2.5] {
        let (_, grads) = unpaired(&p, &rows, kl, of);
        for (i, got) in grads.iter().enumerate() {
            let moved = |by: f64| {
                let mut rows = rows;
                rows[i].answer.logp += by;
                unpaired(&p, &rows, kl, of).0.loss()
            };
            let want = (8.0 * (moved(H) - moved(-H)) - (moved(2.0 * H) - moved(-2.0 * H))) / (12.0 * H);
            close(&format!("kl {kl}, row {i}"), *got, want, 1e-8);
        }
    }
}

/// With the policy still at the reference, each loss has a value that its formula gives by hand.
#[test]
fn first_step() {
    let rows = [sample()[2]];
    let ln2 = std::f64::consts::LN_2;
    let (beta, e) = (0.1_f64, 0.1_f64);
    let want = [
        ln2,
        1.0,
        (0.5 / beta).powi(2),
        -0.5 * (2.0 * ln2 + (1.0 - e).ln() + e.ln()),
        2.0 * ln2,
        ln2,
        2.0 * ln2,
        2.0 * (0.5 / beta).powi(2),
        1.0,
        1.0,
        0.5 * ln2 + 0.5,
        3.0 / 7.0,
        ln2,
    ];
    for (kind, want) in KINDS.into_iter().zip(want) {
        close(&format!("{kind:?}"), loss(&dpo(kind), &rows), want, 1e-15);
    }
    close("dpo", loss(&Preference::default(), &rows), ln2, 1e-15);
    let still = UnpairedAnswer { answer: answer(-3.0, 7), reference: -3.0, desirable: true };
    let (sums, _) = unpaired(&of_loss(PreferenceLoss::Kto), &[still], -1.0, Denominators { rows: 1, tokens: 0 });
    close("kto", sums.loss(), 0.5, 1e-15);
}

#[test]
fn nothing_overflows() {
    for (name, p) in paired() {
        for (chosen, rejected) in [(-1e4, -1.0), (-1.0, -1e4), (-1e4, -1e4), (0.0, -5.0), (-5.0, 0.0), (0.0, 0.0)] {
            let rows = [Pair {
                chosen: answer(chosen, 1),
                rejected: answer(rejected, 1),
                reference: [-1.0; 2],
                text: answer(chosen, 2),
            }];
            let (sums, grads) = pairs(&p, &rows, of(&rows, p.loss));
            let all = [sums.loss(), grads[0].chosen, grads[0].rejected, grads[0].text];
            assert!(all.iter().all(|x| x.is_finite()), "{name} at {chosen}, {rejected}: {all:?}");
        }
    }
    let p = of_loss(PreferenceLoss::Kto);
    for (logp, desirable) in [(-1e4, true), (-1e4, false), (0.0, true), (0.0, false)] {
        let row = UnpairedAnswer { answer: answer(logp, 1), reference: -5e3, desirable };
        let (sums, grads) = unpaired(&p, &[row], 1e4, Denominators { rows: 1, tokens: 0 });
        assert!(sums.loss().is_finite() && grads[0].is_finite(), "kto at {logp}");
    }
}

/// Eight micro-batches of one are one of eight: loss, gradients and metrics.
#[test]
fn accumulation_changes_nothing() {
    for (name, p) in paired() {
        let rows: Vec<Pair> = sample().into_iter().chain(sample()).collect();
        let of = of(&rows, p.loss);
        let (whole, grads) = pairs(&p, &rows, of);
        let mut sums = PreferenceSums::default();
        for (row, want) in rows.iter().zip(grads) {
            let (one, grad) = pairs(&p, &[*row], of);
            sums.add(&one);
            assert_eq!(grad, [want], "{name}");
        }
        close(&name, sums.loss(), whole.loss(), 1e-14);
        for ((metric, got), (_, want)) in sums.metrics().into_iter().zip(whole.metrics()) {
            close(&format!("{name}: {metric}"), got, want, 1e-14);
        }
    }
}

/// A metric appears where it is over something, under TRL's name.
#[test]
fn metrics_that_there_are() {
    let names = |sums: PreferenceSums| sums.metrics().into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ");
    let common = "rewards/chosen rewards/rejected rewards/accuracies rewards/margins logps/chosen logps/rejected";
    let of_pairs = |loss| names(pairs(&of_loss(loss), &sample(), Denominators { rows: 4, tokens: 28 }).0);
    assert_eq!(of_pairs(PreferenceLoss::Dpo), common);
    assert_eq!(of_pairs(PreferenceLoss::Orpo), format!("{common} nll_loss log_odds_ratio log_odds_chosen"));
    assert_eq!(of_pairs(PreferenceLoss::Simpo), format!("{common} nll_loss"));
    let row = UnpairedAnswer { answer: answer(-3.0, 7), reference: -4.0, desirable: false };
    let kto = unpaired(&of_loss(PreferenceLoss::Kto), &[row], 0.5, Denominators { rows: 1, tokens: 0 }).0;
    assert_eq!(names(kto), "rewards/rejected logps/rejected kl");
    let logits = PreferenceSums { logits: [6.0, 0.0], logit_tokens: [3, 0], ..PreferenceSums::default() };
    assert_eq!(logits.metrics(), [("logits/chosen", 2.0)]);
}
