//! ROUGE (Lin 2004) as the Python package `rouge_score` computes it, without its stemmer.

use std::collections::HashMap;

use setaccio_base::nfc::nfc;

/// Precision, recall and F of one comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rouge {
    /// Share of the answer that the target has.
    pub precision: f64,
    /// Share of the target that the answer has.
    pub recall: f64,
    /// Their harmonic mean.
    pub f: f64,
}

/// The tokens of `rouge_score`: runs of a to z and 0 to 9 in small letters. A letter with an accent is none, and cuts its word.
pub fn tokens(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let runs = lower.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit()));
    runs.filter(|run| !run.is_empty()).map(str::to_owned).collect()
}

/// The words of Unicode: runs of letters, digits and underscores in small letters.
pub fn words(text: &str) -> Vec<String> {
    let lower = nfc(text).to_lowercase();
    let runs = lower.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    runs.filter(|run| !run.is_empty()).map(str::to_owned).collect()
}

/// ROUGE-1, ROUGE-2 and ROUGE-L of an answer against a target.
pub fn score(target: &[String], answer: &[String]) -> [Rouge; 3] {
    [ngrams(target, answer, 1), ngrams(target, answer, 2), longest(target, answer)]
}

#[allow(clippy::cast_precision_loss, reason = "counts of words")]
fn of(hits: usize, target: usize, answer: usize) -> Rouge {
    let precision = hits as f64 / answer.max(1) as f64;
    let recall = hits as f64 / target.max(1) as f64;
    let f = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
    Rouge { precision, recall, f }
}

fn ngrams(target: &[String], answer: &[String], n: usize) -> Rouge {
    let counted = |words: &[String]| {
        let mut counts: HashMap<Vec<String>, usize> = HashMap::new();
        for gram in words.windows(n) {
            *counts.entry(gram.to_vec()).or_default() += 1;
        }
        counts
    };
    let (target, answer) = (counted(target), counted(answer));
    let hits = target.iter().map(|(gram, count)| *count.min(answer.get(gram).unwrap_or(&0))).sum();
    of(hits, target.values().sum(), answer.values().sum())
}

/// By the longest common subsequence.
fn longest(target: &[String], answer: &[String]) -> Rouge {
    if target.is_empty() || answer.is_empty() {
        return Rouge::default();
    }
    let mut row = vec![0; answer.len() + 1];
    for word in target {
        let mut corner = 0;
        for (i, other) in answer.iter().enumerate() {
            let above = row[i + 1];
            row[i + 1] = if word == other { corner + 1 } else { above.max(row[i]) };
            corner = above;
        }
    }
    of(row[answer.len()], target.len(), answer.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_rouge_score() {
        let (target, answer) =
            ("Roma \u{e8} la capitale d'Italia.", "La capitale d'Italia \u{e8} la citt\u{e0} di Roma.");
        for (tokens, expected) in [
            (
                tokens as fn(&str) -> Vec<String>,
                [[0.625, 1.0, 0.769_231], [0.428_571, 0.75, 0.545_455], [0.5, 0.8, 0.615_385]],
            ),
            (words, [[0.666_667, 1.0, 0.8], [0.5, 0.8, 0.615_385], [0.444_444, 0.666_667, 0.533_333]]),
        ] {
            let found = score(&tokens(target), &tokens(answer));
            for (found, [precision, recall, f]) in found.iter().zip(expected) {
                let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
                assert!(
                    near(found.precision, precision) && near(found.recall, recall) && near(found.f, f),
                    "{found:?}"
                );
            }
        }
    }

    #[test]
    fn letters_with_accents_are_no_tokens_and_are_words() {
        assert_eq!(tokens("Perch\u{e9} la citt\u{e0} \u{e8} pi\u{f9} bella?"), ["perch", "la", "citt", "pi", "bella"]);
        // However the accent is written.
        assert_eq!(words("Perche\u{301}, \u{c8} pi\u{f9}_bella"), ["perch\u{e9}", "\u{e8}", "pi\u{f9}_bella"]);
        assert_eq!(score(&tokens("\u{e8}"), &tokens("\u{e8}"))[0].f.to_bits(), 0);
    }
}
