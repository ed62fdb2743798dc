//! Answers that are chosen by their likelihood.

use super::{Answered, Items, Measure};
use crate::{recipe::Metric, scorer::Score};

/// What was chosen of some answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The log-likelihood of each.
    pub sums: Vec<f64>,
    /// The right one; none where the row's is none of them.
    pub right: Option<usize>,
    /// The likeliest.
    pub likeliest: usize,
    /// The likeliest for its characters.
    pub by_characters: usize,
    /// The likeliest for its bytes.
    pub by_bytes: usize,
    /// The share of probability of the true ones, where it is said which are.
    pub true_share: Option<f64>,
}

impl Chosen {
    /// Of these answers, whose scores these are.
    #[allow(clippy::cast_precision_loss, reason = "lengths of texts")]
    pub fn new((choices, right, truths): (&[String], Option<usize>, &[bool]), scores: &[Score]) -> Self {
        let sums: Vec<f64> = scores.iter().map(|score| score.sum).collect();
        let over = |length: fn(&String) -> usize| {
            let each = sums.iter().zip(choices).map(|(sum, choice)| sum / length(choice) as f64);
            greatest(&each.collect::<Vec<_>>())
        };
        let true_share = (!truths.is_empty()).then(|| {
            let share: Vec<f64> = sums.iter().map(|sum| sum.exp()).collect();
            let all: f64 = share.iter().sum();
            share.iter().zip(truths).filter(|(_, truth)| **truth).map(|(share, _)| share / all).sum()
        });
        Self {
            right,
            likeliest: greatest(&sums),
            by_characters: over(|choice| choice.chars().count()),
            by_bytes: over(String::len),
            true_share,
            sums,
        }
    }

    /// Whether what a metric chooses is right.
    fn is_right(&self, metric: Metric) -> bool {
        let chosen = match metric {
            Metric::AccNorm => self.by_characters,
            Metric::AccBytes => self.by_bytes,
            _ => self.likeliest,
        };
        self.right == Some(chosen)
    }
}

/// The place of the greatest; of equal ones the first. What is no number is taken for the greatest, as numpy does.
fn greatest(values: &[f64]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if values[best].is_nan() {
            break;
        }
        if value.is_nan() || *value > values[best] {
            best = i;
        }
    }
    best
}

/// A metric of answers that were chosen.
pub fn measure(metric: Metric, answers: &[Answered]) -> Measure {
    let chosen = answers.iter().filter_map(|answer| match answer {
        Answered::Chosen(chosen) => Some(chosen),
        _ => None,
    });
    let items = match metric {
        Metric::F1 | Metric::F1Macro | Metric::SentimentF1 => {
            // An answer that is none of the choices is a class of its own, which is never chosen.
            let pairs = chosen.map(|c| (c.right.unwrap_or(c.sums.len()), c.likeliest));
            let (right, chosen) = pairs.unzip();
            Items::Labels { right, chosen, told: metric }
        }
        Metric::Mc2 => Items::Means(chosen.map(|c| c.true_share.unwrap_or(f64::NAN)).collect()),
        _ => Items::Means(chosen.map(|c| f64::from(u8::from(c.is_right(metric)))).collect()),
    };
    Measure { name: metric.name().into(), items, more_is_better: Some(true) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(choices: &[&str], right: usize, truths: &[bool], sums: &[f64]) -> Chosen {
        let choices: Vec<String> = choices.iter().map(|c| (*c).to_owned()).collect();
        let scores: Vec<Score> = sums.iter().map(|sum| Score { sum: *sum, tokens: 1, greedy: false }).collect();
        Chosen::new((&choices, Some(right), truths), &scores)
    }

    #[test]
    fn answers_are_chosen_by_sums_characters_and_bytes() {
        // By hand: a character -2, -1.5, -1.6; a byte -2, -1.5, -0.8.
        let c = chosen(&["a", "bb", "\u{e8}\u{e8}"], 0, &[], &[-2.0, -3.0, -3.2]);
        assert_eq!((c.likeliest, c.by_characters, c.by_bytes), (0, 1, 2));
        assert_eq!([Metric::Acc, Metric::AccNorm, Metric::AccBytes].map(|m| c.is_right(m)), [true, false, false]);
        // Of equal ones the first.
        assert_eq!(chosen(&["a", "b"], 1, &[], &[-1.0, -1.0]).likeliest, 0);
        assert_eq!((greatest(&[0.0, f64::NAN, 9.0]), greatest(&[f64::NAN, 1.0])), (1, 0));
    }

    #[test]
    fn mc2_is_the_share_of_what_is_true() {
        // exp(ln x) of 0.1, 0.3, 0.1: (0.1 + 0.1) / 0.5.
        let sums = [0.1_f64, 0.3, 0.1].map(f64::ln);
        let share = chosen(&["a", "b", "c"], 0, &[true, false, true], &sums).true_share;
        assert!(share.is_some_and(|share| (share - 0.4).abs() < 1e-15), "{share:?}");
    }
}
