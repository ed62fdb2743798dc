//! What answers are worth, row by row, and what all of them are worth together.

mod auc;
mod choice;
pub mod extraction;
pub mod f1;
pub mod rouge;

pub use choice::Chosen;

use auc::{Ranked, Sides};

use crate::{
    error::{Error, Result},
    questions::Asked,
    recipe::{Generate, Metric, Task},
    scorer::{Reply, Written},
    whitespace,
};

/// A measure of all rows of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// As results call it.
    pub name: String,
    /// What each row adds.
    pub items: Items,
    /// Whether more is better; nothing where neither is.
    pub more_is_better: Option<bool>,
}

/// What each row adds to a measure, and so how they are put together.
#[derive(Clone, Debug, PartialEq)]
pub enum Items {
    /// Numbers, whose mean it is.
    Means(Vec<f64>),
    /// Log-likelihoods and what they are divided by when all are added up.
    Rates {
        /// Log-likelihoods.
        sums: Vec<f64>,
        /// Words or bytes.
        weights: Vec<f64>,
        /// What is told of the quotient.
        told: Rate,
    },
    /// The right answers and those that were chosen, by their numbers.
    Labels {
        /// The right ones.
        right: Vec<usize>,
        /// Those that were chosen.
        chosen: Vec<usize>,
        /// What is told of them.
        told: Metric,
    },
    /// Scores, whose areas under ROC curves it is the mean of.
    Areas {
        /// Rows by their scores.
        ranked: Ranked,
        /// What each area is of.
        sides: Vec<Sides>,
    },
}

/// What is told of a log-likelihood a word or byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// exp of its negative.
    Perplexity,
    /// Its negative in bits.
    Bits,
}

impl Items {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Means(values) => values.len(),
            Self::Rates { sums, .. } => sums.len(),
            Self::Labels { right, .. } => right.len(),
            Self::Areas { ranked, .. } => ranked.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it is of these rows, which may be there several times.
    #[allow(clippy::cast_precision_loss, reason = "counts of rows")]
    pub fn value(&self, rows: impl Iterator<Item = usize>) -> f64 {
        match self {
            Self::Means(values) => {
                let (mut sum, mut count) = (0.0, 0_usize);
                for row in rows {
                    sum += values[row];
                    count += 1;
                }
                sum / count as f64
            }
            Self::Rates { sums, weights, told } => {
                let (mut sum, mut weight) = (0.0, 0.0);
                for row in rows {
                    sum += sums[row];
                    weight += weights[row];
                }
                match told {
                    Rate::Perplexity => (-sum / weight).exp(),
                    Rate::Bits => -sum / weight / std::f64::consts::LN_2,
                }
            }
            Self::Areas { ranked, sides } => ranked.mean(sides, rows),
            Self::Labels { right, chosen, told } => {
                let pairs = rows.map(|row| (right[row], chosen[row]));
                match told {
                    Metric::F1 => f1::of_class(pairs, 1),
                    Metric::SentimentF1 => f1::sentiment(pairs),
                    _ => f1::mean(pairs),
                }
            }
        }
    }

    /// What it is of all rows.
    pub fn all(&self) -> f64 {
        self.value(0..self.len())
    }
}

/// What a model answered to a question, as it is scored.
#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// To a choice.
    Chosen(Chosen),
    /// A text.
    Written(Written),
    /// The log-likelihood of a text, its words and its bytes.
    Rolling {
        /// The log-likelihood.
        sum: f64,
        /// Pieces between white space.
        words: usize,
        /// Bytes of UTF-8.
        bytes: usize,
    },
}

impl Answered {
    /// How much likelier the second of two answers is than the first, in nats.
    fn second(&self) -> Option<f64> {
        match self {
            Self::Chosen(Chosen { sums, .. }) => Some(sums.get(1)? - sums[0]),
            _ => None,
        }
    }

    /// Of the replies to what was asked.
    ///
    /// # Errors
    /// They are of another question.
    pub fn of(asked: &Asked, replies: &[Reply]) -> Result<Self> {
        let scores = || {
            let score = |reply: &Reply| match reply {
                Reply::Score(score) => Some(*score),
                Reply::Written(_) => None,
            };
            replies.iter().map(score).collect::<Option<Vec<_>>>()
        };
        let answered = match (asked, replies) {
            (Asked::Choice { choices, right, truths, .. }, _) => scores()
                .filter(|scores| scores.len() == choices.len())
                .map(|scores| Self::Chosen(Chosen::new((choices, *right, truths), &scores))),
            (Asked::Generate { .. }, [Reply::Written(written)]) => Some(Self::Written(written.clone())),
            (Asked::Perplexity { text }, _) => scores().map(|scores| Self::Rolling {
                sum: scores.iter().map(|score| score.sum).sum(),
                words: whitespace::pieces(text),
                bytes: text.len(),
            }),
            _ => None,
        };
        answered.ok_or_else(|| Error::Other("the answer is of another question".into()))
    }
}

/// What a task's metrics are of its answers, but for BERTScore, which asks another model.
pub fn measures(task: &Task, asked: &[&Asked], answers: &[Answered]) -> Result<Vec<Measure>, String> {
    let mut all = Vec::new();
    for metric in &task.metrics {
        match (metric, &task.generate) {
            (Metric::Bertscore, _) => {}
            (Metric::ExactMatch, Some(generate)) => all.extend(exact(generate, asked, answers)?),
            (Metric::Rouge, _) => all.extend(rouges(asked, answers)),
            (Metric::Auc | Metric::BiasAuc, _) => {
                let scores: Vec<f64> = answers.iter().filter_map(Answered::second).collect();
                let (ranked, areas) = (Ranked::new(&scores), areas(*metric, task, asked)?);
                all.extend(areas.into_iter().map(|(name, sides)| {
                    let items = Items::Areas { ranked: ranked.clone(), sides };
                    Measure { name: name.into(), items, more_is_better: Some(true) }
                }));
            }
            (Metric::WordPerplexity | Metric::BytePerplexity | Metric::BitsPerByte, _) => {
                all.push(perplexity(*metric, answers));
            }
            _ => all.push(choice::measure(*metric, answers)),
        }
    }
    Ok(all)
}

/// What cannot be measured of these questions, whatever is answered.
///
/// # Errors
/// A term has no positive or no negative row.
pub fn check(task: &Task, asked: &[&Asked]) -> Result<(), String> {
    task.metrics.iter().try_for_each(|metric| areas(*metric, task, asked).map(|_| ()))
}

/// The areas that a metric is the mean of, by the name of the measure; none of another metric.
fn areas(metric: Metric, task: &Task, asked: &[&Asked]) -> Result<Vec<(&'static str, Vec<Sides>)>, String> {
    let rows = asked.iter().filter_map(|asked| match asked {
        Asked::Choice { right, terms, .. } => Some((*right == Some(1), terms)),
        _ => None,
    });
    let (positive, terms): (Vec<bool>, Vec<&Vec<bool>>) = rows.unzip();
    let of = |sides: Sides, what: &str| {
        let lacking =
            || format!("`{}` wants rows of both answers, and there are none of one of them{what}", metric.name());
        if sides.are_there() { Ok(sides) } else { Err(lacking()) }
    };
    match (metric, task.choice.as_ref().and_then(|choice| choice.groups.as_ref())) {
        (Metric::Auc, _) => Ok(vec![("auc", vec![of(Sides::all(&positive), "")?])]),
        (Metric::BiasAuc, Some(groups)) => {
            let names = ["auc_subgroup", "auc_bpsn", "auc_bnsp"];
            let mut all = names.map(|name| (name, Vec::new()));
            for (number, term) in groups.terms.iter().enumerate() {
                let has: Vec<bool> = terms.iter().map(|terms| terms[number]).collect();
                for ((_, sides), one) in all.iter_mut().zip(Sides::beside(&positive, &has)) {
                    sides.push(of(one, &format!(" with or without the term `{term}`"))?);
                }
            }
            Ok(all.into())
        }
        _ => Ok(Vec::new()),
    }
}

/// Answers and targets that are texts.
pub fn texts<'a>(asked: &'a [&Asked], answers: &'a [Answered]) -> impl Iterator<Item = (&'a str, &'a str)> {
    asked.iter().zip(answers).filter_map(|pair| match pair {
        (Asked::Generate { target, .. }, Answered::Written(written)) => Some((written.text.as_str(), target.as_str())),
        _ => None,
    })
}

fn exact(generate: &Generate, asked: &[&Asked], answers: &[Answered]) -> Result<Vec<Measure>, String> {
    let compare = extraction::Comparison::new(generate)?;
    let measure = |name: String, take: &dyn Fn(&str) -> String| {
        let matches =
            texts(asked, answers).map(|(text, target)| f64::from(u8::from(compare.same(&take(text), target))));
        Measure { name, items: Items::Means(matches.collect()), more_is_better: Some(true) }
    };
    if generate.extract.is_empty() {
        return Ok(vec![measure("exact_match".into(), &str::to_owned)]);
    }
    let named = |extract| {
        let extractor = extraction::Extractor::new(extract)?;
        Ok(measure(format!("exact_match,{}", extract.name), &|text| extractor.take(text)))
    };
    generate.extract.iter().map(named).collect()
}

#[allow(clippy::cast_precision_loss, reason = "counts of words")]
fn rouges(asked: &[&Asked], answers: &[Answered]) -> Vec<Measure> {
    let mut all = Vec::new();
    for (ending, tokens) in [("", rouge::tokens as fn(&str) -> Vec<String>), ("_words", rouge::words)] {
        let scores: Vec<[rouge::Rouge; 3]> =
            texts(asked, answers).map(|(text, target)| rouge::score(&tokens(target), &tokens(text))).collect();
        for (i, name) in ["rouge1", "rouge2", "rougeL"].into_iter().enumerate() {
            let items = Items::Means(scores.iter().map(|score| score[i].f).collect());
            all.push(Measure { name: format!("{name}{ending}"), items, more_is_better: Some(true) });
        }
    }
    let lengths =
        |of: fn((&str, &str)) -> usize| Items::Means(texts(asked, answers).map(|pair| of(pair) as f64).collect());
    let words = |name: &str, items| Measure { name: name.into(), items, more_is_better: None };
    all.push(words("answer_words", lengths(|(text, _)| rouge::words(text).len())));
    all.push(words("target_words", lengths(|(_, target)| rouge::words(target).len())));
    all
}

#[allow(clippy::cast_precision_loss, reason = "counts of words and bytes")]
fn perplexity(metric: Metric, answers: &[Answered]) -> Measure {
    let (mut sums, mut weights) = (Vec::new(), Vec::new());
    for answer in answers {
        if let Answered::Rolling { sum, words, bytes } = answer {
            sums.push(*sum);
            weights.push(if metric == Metric::WordPerplexity { *words as f64 } else { *bytes as f64 });
        }
    }
    let told = if metric == Metric::BitsPerByte { Rate::Bits } else { Rate::Perplexity };
    Measure { name: metric.name().into(), items: Items::Rates { sums, weights, told }, more_is_better: Some(false) }
}
