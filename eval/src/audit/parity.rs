//! Parity: whether a model answers as well, and as willingly, when it is asked otherwise: in tu, in Lei, in regional Italian, in a language of a
//! region; and what a speaker pays for it in tokens.

use serde::Serialize;
use setaccio_base::numbers::wilson;

use super::sureness::{mean, resampled};
use crate::statistics::binomial;

/// What came of one form for one model.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The form.
    pub form: String,
    /// Questions.
    pub n: usize,
    /// Those of which the right answer is the likeliest, per character.
    pub right: usize,
    /// Wilson's interval of their share.
    pub interval: [f64; 2],
    /// How much lower the share is than that of the reference.
    pub lost: f64,
    /// Where 95% of that lie when questions are resampled.
    pub lost_interval: Option<[f64; 2]>,
    /// How probable questions on which the two forms differ are to be as uneven by chance, exactly.
    pub p: f64,
    /// Written answers that refuse; nothing where none was written.
    pub refused: Option<usize>,
    /// Tokens a word of the questions.
    pub tokens_a_word: f64,
}

/// The answer of a choice: the number of the likeliest per character, as `acc_norm` has it.
pub fn chosen(sums: &[f64], choices: &[String]) -> usize {
    #[allow(clippy::cast_precision_loss, reason = "the length of an answer")]
    let of = |i: usize| sums[i] / choices[i].chars().count().max(1) as f64;
    (0..sums.len()).fold(0, |best, i| if of(i) > of(best) { i } else { best })
}

/// What a form's answers say beside the reference's: which questions were answered rightly.
pub fn measure(form: &str, right: &[bool], reference: &[bool], seed: u64) -> Found {
    let number = |right: bool| f64::from(u8::from(right));
    let lost: Vec<f64> = right.iter().zip(reference).map(|(own, other)| number(*other) - number(*own)).collect();
    let hits = right.iter().filter(|right| **right).count();
    let [worse, better] = [1.0, -1.0].map(|sign| lost.iter().filter(|x| **x * sign > 0.0).count());
    Found {
        form: form.to_owned(),
        n: right.len(),
        right: hits,
        interval: wilson(hits, right.len()),
        lost: mean(lost.iter().copied()),
        lost_interval: resampled(&[right.len()], seed, &|lists| mean(lists[0].iter().map(|at| lost[*at]))),
        p: binomial(worse, better),
        refused: None,
        tokens_a_word: 0.0,
    }
}
