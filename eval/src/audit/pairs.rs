//! Counterfactual pairs: how likely the same phrase is behind two subjects; and the masculine default, how likely a masculine ending is
//! behind a noun that tells no gender.

use serde::Serialize;
use setaccio_base::numbers::wilson;

use super::{
    suite::{Masculine, Suite},
    sureness::{mean, resampled},
};
use crate::statistics::binomial;

/// What came of a kind of pair for one model.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Pairs: a phrase behind two subjects.
    pub n: usize,
    /// Those in which praise is likelier behind the first subject, or blame behind the second.
    pub favour_first: usize,
    /// Wilson's interval of their share.
    pub interval: [f64; 2],
    /// How probable so uneven a share is by chance, by the exact binomial test, which takes pairs for independent.
    pub p: f64,
    /// The same among all kinds of pairs, by Holm's method.
    pub p_holm: f64,
    /// The mean of how much likelier the first is made by it, in nats.
    pub nats: f64,
    /// Where 95% of that lie when subjects and phrases are resampled, which does not take pairs for independent.
    pub nats_interval: Option<[f64; 2]>,
}

/// What came of the masculine default for one model.
#[derive(Clone, Debug, Serialize)]
pub struct Default {
    /// Sentences: a predicate behind a noun.
    pub n: usize,
    /// Those of which the masculine form is likelier.
    pub masculine: usize,
    /// Wilson's interval of their share.
    pub interval: [f64; 2],
    /// The mean of log p(masculine) - log p(feminine), in nats.
    pub nats: f64,
    /// Where 95% of that lie when nouns are resampled.
    pub nats_interval: Option<[f64; 2]>,
}

/// The phrases behind subjects: praise first, and how much of it there is.
pub fn phrases(suite: &Suite) -> (Vec<&str>, usize) {
    let list = |name: &str| suite.phrases.get(name).into_iter().flatten().map(String::as_str);
    let good: Vec<&str> = list("good").collect();
    let n = good.len();
    (good.into_iter().chain(list("bad")).collect(), n)
}

/// What a subject's sentences are scored as: its context, and each phrase behind it.
pub fn continuations(phrases: &[&str]) -> Vec<String> {
    phrases.iter().map(|phrase| format!(" {phrase}.")).collect()
}

/// What log-probabilities say: of each pair of subjects, of each phrase, praise first, behind the first subject and behind the second.
pub fn measure(subjects: &[Vec<[f64; 2]>], good: usize, seed: u64) -> Found {
    let favour = |subject: usize, phrase: usize| {
        let [first, second] = subjects[subject][phrase];
        if phrase < good { first - second } else { second - first }
    };
    let phrases = subjects.first().map_or(0, Vec::len);
    let all: Vec<f64> =
        (0..subjects.len()).flat_map(|s| (0..phrases).map(move |p| (s, p))).map(|(s, p)| favour(s, p)).collect();
    let (ahead, behind) = (count(&all, |x| x > 0.0), count(&all, |x| x < 0.0));
    let p = binomial(ahead, behind);
    let again = |lists: &[Vec<usize>]| {
        let phrases = || lists[1].iter().copied().chain(lists[2].iter().map(|at| good + at));
        mean(lists[0].iter().flat_map(|s| phrases().map(|p| favour(*s, p))))
    };
    Found {
        n: all.len(),
        favour_first: ahead,
        interval: wilson(ahead, all.len()),
        p,
        p_holm: p,
        nats: mean(all.iter().copied()),
        nats_interval: resampled(&[subjects.len(), good, phrases - good], seed, &again),
    }
}

/// The sentences of the masculine default: a noun, and what follows it in both forms.
pub fn masculine_questions(masculine: &Masculine) -> Vec<(String, Vec<String>)> {
    let ends: Vec<String> = masculine.predicates.iter().flatten().cloned().collect();
    masculine.nouns.iter().map(|noun| (noun.clone(), ends.clone())).collect()
}

/// What log-probabilities say: of each noun, of each predicate, of the masculine and of the feminine form.
pub fn masculine(nouns: &[Vec<[f64; 2]>], seed: u64) -> Default {
    let d: Vec<f64> = nouns.iter().flatten().map(|[masculine, feminine]| masculine - feminine).collect();
    let hits = count(&d, |x| x > 0.0);
    let of_noun: Vec<f64> = nouns.iter().map(|all| mean(all.iter().map(|[m, f]| m - f))).collect();
    Default {
        n: d.len(),
        masculine: hits,
        interval: wilson(hits, d.len()),
        nats: mean(d),
        nats_interval: resampled(&[nouns.len()], seed, &|lists| mean(lists[0].iter().map(|at| of_noun[*at]))),
    }
}

fn count(values: &[f64], of: impl Fn(f64) -> bool) -> usize {
    values.iter().filter(|x| of(**x)).count()
}
