//! BERTScore (Zhang et al. 2020) as the Python package `bert_score` computes it: each token of one text is matched with the most
//! similar one of the other, by the cosine of their hidden states.

use std::{collections::HashMap, path::PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use setaccio_base::{filter_report::FileUse, progress::Progress};
use setaccio_embed::{Embedder, Panels, States};

use crate::{
    error::{Error, Result},
    metrics::{Items, Measure},
};

/// A model that BERTScore asks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its folder.
    pub model: PathBuf,
    /// Layers whose states are taken; absent: as `bert_score` has it for this model.
    pub layer: Option<usize>,
    /// Whether tokens that are in few targets weigh more.
    pub idf: bool,
}

/// What was asked, for results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Used {
    /// Layers.
    pub layer: usize,
    /// Whether tokens that are in few targets weigh more.
    pub idf: bool,
    /// The model's files.
    pub files: Vec<FileUse>,
}

/// A model that `bert_score` knows.
struct Known {
    /// Layers and tokens, by which it is told.
    is: (usize, usize),
    /// The layer that agrees best with people.
    layer: usize,
    /// What precision, recall and F of random pairs of Italian sentences are.
    italian: Option<[f64; 3]>,
}

/// Those that know Italian: multilingual BERT and its distillate, XLM-R base and large.
const KNOWN: [Known; 4] = [
    Known { is: (12, 119_547), layer: 9, italian: Some([0.620_519_94, 0.620_560_7, 0.620_062_23]) },
    Known { is: (6, 119_547), layer: 5, italian: None },
    Known { is: (12, 250_002), layer: 9, italian: Some([0.815_610_9, 0.815_581_5, 0.815_423_25]) },
    Known { is: (24, 250_002), layer: 17, italian: Some([0.835_224_6, 0.835_29, 0.834_981_4]) },
];

/// The model, ready.
pub struct BertScore {
    embedder: Embedder,
    layer: usize,
    idf: bool,
    baseline: Option<[f64; 3]>,
}

/// Precision, recall and F of a pair.
pub type Scores = [f64; 3];

impl BertScore {
    /// Open the model in a folder.
    ///
    /// # Errors
    /// It cannot be read, is no encoder of BERT's build, or is none whose layer is known.
    pub fn open(settings: &Settings) -> Result<Self> {
        let embedder = Embedder::open(&settings.model, "--bertscore")?;
        let wrong = |why: String| Error::damaged(&settings.model, why);
        let layers = embedder.layers().ok_or_else(|| {
            wrong(
                "is no encoder of BERT's build: --bertscore names the folder of BERT, DistilBERT, RoBERTa or XLM-R"
                    .into(),
            )
        })?;
        let known = KNOWN.iter().find(|known| known.is == (layers, embedder.vocabulary()));
        let layer = settings.layer.or(known.map(|known| known.layer)).ok_or_else(|| {
            wrong(format!("has {layers} layers, and which of them agrees best with people is not known: say with --bertscore-layer"))
        })?;
        if layer > layers {
            return Err(wrong(format!("has {layers} layers, and --bertscore-layer is {layer}")));
        }
        let baseline = known.filter(|known| known.layer == layer).and_then(|known| known.italian);
        Ok(Self { embedder, layer, idf: settings.idf, baseline })
    }

    /// What was asked.
    pub fn used(&self) -> Used {
        Used { layer: self.layer, idf: self.idf, files: self.embedder.files().to_vec() }
    }

    /// The scores of answers, each before its target.
    ///
    /// # Errors
    /// The tokenizer fails on a text, or it was stopped.
    pub fn scores(&self, pairs: &[(&str, &str)], progress: &dyn Progress) -> Result<Vec<Scores>> {
        progress.stage("bertscore", pairs.len() as u64);
        let weights = if self.idf { Some(self.weights(pairs)?) } else { None };
        pairs
            .par_iter()
            .map(|(answer, target)| {
                if progress.cancelled() {
                    return Err(Error::Interrupted);
                }
                let states = |text: &str| self.embedder.states(text.trim(), self.layer);
                let scores = greedy(&self.embedder, (&states(answer)?, &states(target)?), weights.as_ref());
                progress.advance(1, "");
                Ok(scores)
            })
            .collect()
    }

    /// The measures of answers: as they are and, where it is known what they are of random Italian pairs, from there on.
    ///
    /// # Errors
    /// As [`BertScore::scores`].
    pub fn measures(&self, pairs: &[(&str, &str)], progress: &dyn Progress) -> Result<Vec<Measure>> {
        let scores = self.scores(pairs, progress)?;
        let measure = |name: String, of: &dyn Fn(&Scores) -> f64| Measure {
            name,
            items: Items::Means(scores.iter().map(of).collect()),
            more_is_better: Some(true),
        };
        let parts = ["p", "r", "f"];
        let mut all: Vec<Measure> =
            (0..3).map(|i| measure(format!("bertscore_{}", parts[i]), &|scores| scores[i])).collect();
        if let Some(baseline) = self.baseline {
            let rescaled = |i: usize| {
                let from = baseline[i];
                measure(format!("bertscore_{}_rescaled", parts[i]), &|scores| (scores[i] - from) / (1.0 - from))
            };
            all.extend((0..3).map(rescaled));
        }
        Ok(all)
    }

    /// What each token weighs: the logarithm of how few targets have it.
    #[allow(clippy::cast_precision_loss, reason = "counts of texts")]
    fn weights(&self, pairs: &[(&str, &str)]) -> Result<Idf> {
        let mut counts: HashMap<u32, usize> = HashMap::new();
        for (_, target) in pairs {
            let mut tokens = self.embedder.states(target.trim(), 0)?.tokens;
            tokens.sort_unstable();
            tokens.dedup();
            for token in tokens {
                *counts.entry(token).or_default() += 1;
            }
        }
        let n = (pairs.len() + 1) as f64;
        let of = counts.into_iter().map(|(token, count)| (token, (n / (count + 1) as f64).ln())).collect();
        Ok(Idf { of, unseen: n.ln() })
    }
}

/// What tokens weigh.
struct Idf {
    of: HashMap<u32, f64>,
    unseen: f64,
}

/// Precision, recall and F of an answer against a target. Of a text without tokens of its own all are 0.
fn greedy(embedder: &Embedder, (answer, target): (&States, &States), idf: Option<&Idf>) -> Scores {
    // The first and the last one begin and end every text.
    if answer.tokens.len() <= 2 || target.tokens.len() <= 2 {
        return [0.0; 3];
    }
    let (a, b) = (normalised(answer), normalised(target));
    let mut cosines = vec![0.0; answer.tokens.len() * target.tokens.len()];
    embedder.cosines(&a, &Panels::from_columns(&b, target.width), &mut cosines);
    let (rows, columns) = (answer.tokens.len(), target.tokens.len());
    let most = |values: &mut dyn Iterator<Item = f32>| values.fold(f32::NEG_INFINITY, f32::max);
    let of_answer = (0..rows).map(|i| most(&mut cosines[i * columns..(i + 1) * columns].iter().copied()));
    let of_target = (0..columns).map(|j| most(&mut (0..rows).map(|i| cosines[i * columns + j])));
    let precision = weighed(&answer.tokens, of_answer, idf);
    let recall = weighed(&target.tokens, of_target, idf);
    let f = if (precision + recall).abs() > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
    [precision, recall, f]
}

/// The mean of what each token's best match is, by what it weighs.
fn weighed(tokens: &[u32], best: impl Iterator<Item = f32>, idf: Option<&Idf>) -> f64 {
    let ends = [tokens[0], tokens[tokens.len() - 1]];
    let weight = |token: &u32| match idf {
        None => f64::from(u8::from(!ends.contains(token))),
        Some(idf) => idf.of.get(token).copied().unwrap_or(idf.unseen),
    };
    let (mut sum, mut all) = (0.0, 0.0);
    for (token, best) in tokens.iter().zip(best) {
        sum += weight(token) * f64::from(best);
        all += weight(token);
    }
    if all > 0.0 { sum / all } else { 0.0 }
}

/// The states, each of length 1.
#[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
fn normalised(states: &States) -> Vec<f32> {
    let mut values = states.values.clone();
    for row in values.chunks_exact_mut(states.width.max(1)) {
        let length = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        if length > 0.0 {
            for x in row {
                *x = (f64::from(*x) / length) as f32;
            }
        }
    }
    values
}
