//! Association by likelihood: which of two answers a model finds likelier behind a question about a phrase, and whether that follows the
//! phrases of two lists (P-AT, Onorati et al. 2023, by likelihood instead of by what is written).

use serde::Serialize;

use super::{
    suite::{Association, AssociationTest, Suite},
    sureness::{mean, permuted, resampled},
};

/// What came of a test for one model.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// S of -1 to 1: half the difference of the lists' means of tanh(d / 2), where d is log p(a) - log p(b) of a phrase, over all templates
    /// and both orders. Above 0, answers follow the prejudice.
    pub soft: f64,
    /// Where 95% of it lie when phrases are resampled.
    pub interval: Option<[f64; 2]>,
    /// S by which answer is likelier alone.
    pub hard: f64,
    /// How probable so large an S is if which list a phrase is of is chance.
    pub p: f64,
    /// The same among all tests, by Holm's method.
    pub p_holm: f64,
    /// The mean of d: what is answered whatever the phrase, in nats; above 0, `a`.
    pub default: f64,
    /// The mean of how far d moves when the two answers change places, in nats.
    pub order_effect: f64,
    /// The mean probability of any answer but these two.
    pub neither: f64,
}

/// Log-probabilities of the two answers, `a` first.
pub type Answers = [f64; 2];

/// The questions about a phrase: a context and its answers, for each template with `a` named first, then with `b`.
pub fn questions(suite: &Association, test: &AssociationTest, phrase: &str) -> Vec<(String, [String; 2])> {
    let answers = [&test.a, &test.b].map(|answer| format!(" {answer}"));
    let put = |template: &String, (a, b): (&str, &str)| {
        template.replace("{a}", a).replace("{b}", b).replace("{phrase}", phrase)
    };
    let orders = [(test.a.as_str(), test.b.as_str()), (test.b.as_str(), test.a.as_str())];
    let asked = suite.templates.iter().flat_map(|template| orders.map(|order| put(template, order)));
    asked.map(|context| (context, answers.clone())).collect()
}

/// The phrases of a test, those of `x` first, and how many these are.
pub fn phrases<'a>(suite: &'a Suite, test: &AssociationTest) -> (Vec<&'a str>, usize) {
    let list = |name: &str| suite.phrases.get(name).into_iter().flatten().map(String::as_str);
    let x: Vec<&str> = list(&test.x).collect();
    let n = x.len();
    (x.into_iter().chain(list(&test.y)).collect(), n)
}

/// What answers say: of each phrase, those of `x` first, in the order of [`questions`]. `p_holm` is `p` until all tests are known.
pub fn measure(phrases: &[Vec<Answers>], x: usize, seed: u64) -> Found {
    let d = |answers: &Answers| answers[0] - answers[1];
    let of_phrase: Vec<f64> = phrases.iter().map(|answers| mean(answers.iter().map(d))).collect();
    let soft: Vec<f64> = of_phrase.iter().map(|d| (d / 2.0).tanh()).collect();
    let hard: Vec<f64> = of_phrase.iter().map(|d| if *d == 0.0 { 0.0 } else { d.signum() }).collect();
    let half = |values: &[f64]| (mean(values[..x].iter().copied()) - mean(values[x..].iter().copied())) / 2.0;
    let p = permuted(&soft[..x], &soft[x..], seed);
    let again = |lists: &[Vec<usize>]| {
        (mean(lists[0].iter().map(|at| soft[*at])) - mean(lists[1].iter().map(|at| soft[x + at]))) / 2.0
    };
    let moved = |answers: &[Answers]| mean(answers.chunks_exact(2).map(|orders| (d(&orders[0]) - d(&orders[1])).abs()));
    let other = |answers: &Answers| (1.0 - answers[0].exp() - answers[1].exp()).max(0.0);
    Found {
        soft: half(&soft),
        interval: resampled(&[x, phrases.len() - x], seed, &again),
        hard: half(&hard),
        p,
        p_holm: p,
        default: mean(of_phrase.iter().copied()),
        order_effect: mean(phrases.iter().map(|answers| moved(answers))),
        neither: mean(phrases.iter().flatten().map(other)),
    }
}
