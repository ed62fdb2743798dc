//! Stretched rotary frequencies, so that a model sees further than it was trained to. Every operation is done in f32, in the
//! order in which the models were trained with it (transformers' `modeling_rope_utils`), so that a position turns a
//! head by the same angle here as there: at position 8192 a frequency in f64 would be off by half a milliradian.

use std::{f32::consts::TAU, path::Path};

use crate::error::{Error, Result};

/// What is done to the plain frequencies theta^(-2i / R), R the elements of a head that turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum RopeScaling {
    /// Nothing.
    #[default]
    None,
    /// All divided by `factor` (position interpolation, arXiv 2306.15595).
    Linear {
        /// At least 1 in practice.
        factor: f64,
    },
    /// Nothing, until a document is longer than the model's positions: then theta grows with its length (dynamic NTK).
    Dynamic {
        /// At least 1 in practice.
        factor: f64,
    },
    /// Llama 3.1: long waves divided by `factor`, short ones left, a smooth passage between them.
    Llama3 {
        /// What long waves are divided by.
        factor: f64,
        /// Waves longer than `original / low_freq_factor` are long.
        low_freq_factor: f64,
        /// Waves shorter than `original / high_freq_factor` are short.
        high_freq_factor: f64,
        /// Positions that the model was first trained with.
        original_max_position_embeddings: usize,
    },
    /// YaRN (arXiv 2309.00071): likewise, the passage linear in the number of the frequency, and scores are scaled.
    Yarn {
        /// What long waves are divided by.
        factor: f64,
        /// Waves that turn as often within the original positions, or more, are left.
        beta_fast: f64,
        /// Waves that turn as often, or less, are divided.
        beta_slow: f64,
        /// Whether the passage begins and ends at whole numbers.
        truncate: bool,
        /// Positions that the model was first trained with.
        original_max_position_embeddings: usize,
        /// What cosines and sines are multiplied by.
        attention_factor: f64,
    },
    /// LongRoPE (arXiv 2402.13753): each frequency has two divisors, [R / 2], one for documents within the original positions
    /// and one for longer ones.
    Long {
        /// Within.
        short: Vec<f64>,
        /// Beyond.
        long: Vec<f64>,
        /// Positions that the model was first trained with.
        original_max_position_embeddings: usize,
        /// What cosines and sines are multiplied by.
        attention_factor: f64,
    },
    /// Each frequency has its divisor, [R / 2]: the tensor `rope_freqs.weight` of a GGUF file.
    Divisors(Vec<f32>),
}

impl RopeScaling {
    /// What YaRN multiplies cosines and sines by, unless it is said otherwise.
    pub fn yarn_attention(factor: f64, mscale: f64) -> f64 {
        if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
    }

    /// And LongRoPE.
    #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53 positions")]
    pub fn long_attention(factor: f64, original: usize) -> f64 {
        if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / (original as f64).ln()).sqrt() }
    }

    /// What cosines and sines are multiplied by.
    pub fn attention_factor(&self) -> f64 {
        match self {
            Self::Yarn { attention_factor, .. } | Self::Long { attention_factor, .. } => *attention_factor,
            _ => 1.0,
        }
    }

    /// Check what [`inv_freq`] relies on; `pairs` is R / 2.
    ///
    /// # Errors
    /// A factor that is not positive, or factors that contradict each other.
    pub(super) fn check(&self, file: &Path, pairs: usize) -> Result<()> {
        let counted = |n: usize, what: &str| format!("there are {n} {what} for {pairs} frequencies");
        let fault = match self {
            Self::None => None,
            Self::Linear { factor } | Self::Dynamic { factor } => {
                (!positive(*factor)).then(|| format!("`factor` is {factor}; it is above 0"))
            }
            Self::Llama3 { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings } => {
                let sound = positive(*factor) && positive(*low) && high.is_finite() && high > low;
                (!sound || *original_max_position_embeddings == 0).then(|| {
                    "`factor`, `low_freq_factor` and `original_max_position_embeddings` are above 0, and \
                     `high_freq_factor` is above `low_freq_factor`"
                        .into()
                })
            }
            Self::Yarn { factor, beta_fast, beta_slow, original_max_position_embeddings, attention_factor, .. } => {
                let sound = [factor, beta_fast, beta_slow, attention_factor].into_iter().all(|x| positive(*x));
                (!sound || *original_max_position_embeddings == 0).then(|| {
                    "`factor`, `beta_fast`, `beta_slow`, `attention_factor` and `original_max_position_embeddings` are above 0"
                        .into()
                })
            }
            Self::Long { short, long, original_max_position_embeddings, attention_factor } => {
                let sound = short.iter().chain(long).chain([attention_factor]).all(|x| positive(*x));
                if short.len() != pairs {
                    Some(counted(short.len(), "in `short_factor`"))
                } else if long.len() != pairs {
                    Some(counted(long.len(), "in `long_factor`"))
                } else if !sound || *original_max_position_embeddings < 2 {
                    Some("factors are above 0, and `original_max_position_embeddings` is above 1".into())
                } else {
                    None
                }
            }
            Self::Divisors(divisors) if divisors.len() != pairs => Some(counted(divisors.len(), "divisors")),
            Self::Divisors(divisors) => {
                divisors.iter().find(|d| !positive(f64::from(**d))).map(|d| format!("a divisor is {d}; it is above 0"))
            }
        };
        fault.map_or(Ok(()), |fault| Err(Error::model(file, format!("RoPE scaling: {fault}"))))
    }

    /// What each plain frequency is divided by where that differs from one to the next, [R / 2]: the tensor
    /// `rope_freqs.weight` of a GGUF file. In f64, rounded once, as the converter does.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "rounded to f32 on purpose")]
    pub fn divisors(&self, theta: f64, dim: usize) -> Option<Vec<f32>> {
        let (factor, low, high, original) = match self {
            Self::Divisors(divisors) => return Some(divisors.clone()),
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                (*factor, *low_freq_factor, *high_freq_factor, *original_max_position_embeddings as f64)
            }
            _ => return None,
        };
        let divisor = |i: usize| {
            let wave = std::f64::consts::TAU * theta.powf((2 * i) as f64 / dim as f64);
            if wave < original / high {
                1.0
            } else if wave > original / low {
                factor
            } else {
                let smooth = (original / wave - low) / (high - low);
                1.0 / ((1.0 - smooth) / factor + smooth)
            }
        };
        Some((0..dim / 2).map(|i| divisor(i) as f32).collect())
    }
}

/// theta^(2i / dim) in f32, [dim / 2].
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "rounded to f32 on purpose")]
fn waves(theta: f64, dim: usize) -> impl Iterator<Item = f32> {
    (0..dim / 2).map(move |i| f64::from(theta as f32).powf(f64::from((2 * i) as f32 / dim as f32)) as f32)
}

/// Plain frequencies in radians per position, [dim / 2].
pub(super) fn plain(theta: f64, dim: usize) -> impl Iterator<Item = f32> {
    waves(theta, dim).map(|wave| 1.0 / wave)
}

/// Each divided by its own, [dim / 2].
#[allow(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
pub(super) fn divided(theta: f64, dim: usize, divisors: &[f64]) -> Vec<f32> {
    waves(theta, dim).zip(divisors).map(|(wave, divisor)| 1.0 / (*divisor as f32 * wave)).collect()
}

/// theta of a document of `length` tokens in a model made for `positions`.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "rounded to f32 on purpose")]
pub(super) fn grown(theta: f64, factor: f64, (length, positions): (usize, usize), dim: usize) -> f64 {
    let stretch = factor as f32 * length as f32 / positions as f32 - (factor - 1.0) as f32;
    let exponent = dim as f64 / (dim as f64 - 2.0);
    f64::from(theta as f32 * f64::from(stretch).powf(f64::from(exponent as f32)) as f32)
}

/// Frequencies in radians per position of documents within the original positions, [dim / 2].
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "rounded to f32 on purpose")]
pub(super) fn inv_freq(theta: f64, dim: usize, scaling: &RopeScaling) -> Vec<f32> {
    match scaling {
        RopeScaling::None | RopeScaling::Dynamic { .. } => plain(theta, dim).collect(),
        RopeScaling::Linear { factor } => plain(theta, dim).map(|plain| plain / *factor as f32).collect(),
        RopeScaling::Divisors(divisors) => plain(theta, dim).zip(divisors).map(|(plain, d)| plain / d).collect(),
        RopeScaling::Long { short, .. } => divided(theta, dim, short),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
            let original = *original_max_position_embeddings as f64;
            let scaled = plain(theta, dim).map(|plain| {
                let wave = TAU / plain;
                if wave < (original / high_freq_factor) as f32 {
                    plain
                } else if wave > (original / low_freq_factor) as f32 {
                    plain / *factor as f32
                } else {
                    let span = (high_freq_factor - low_freq_factor) as f32;
                    let smooth = (original as f32 / wave - *low_freq_factor as f32) / span;
                    (1.0 - smooth) * plain / *factor as f32 + smooth * plain
                }
            });
            scaled.collect()
        }
        RopeScaling::Yarn { factor, beta_fast, beta_slow, truncate, original_max_position_embeddings, .. } => {
            let turning = |times: f64| {
                let waves = (*original_max_position_embeddings as f64 / (times * std::f64::consts::TAU)).ln();
                dim as f64 * waves / (2.0 * theta.ln())
            };
            let (low, high) = (turning(*beta_fast), turning(*beta_slow));
            let (low, high) = if *truncate { (low.floor(), high.ceil()) } else { (low, high) };
            let (low, high) = (low.max(0.0), high.min(dim as f64 - 1.0));
            let span = if (high - low).abs() < f64::EPSILON { 0.001 } else { high - low };
            let scaled = waves(theta, dim).enumerate().map(|(i, wave)| {
                let left = 1.0 - ((i as f32 - low as f32) / span as f32).clamp(0.0, 1.0);
                1.0 / (*factor as f32 * wave) * (1.0 - left) + 1.0 / wave * left
            });
            scaled.collect()
        }
    }
}

fn positive(x: f64) -> bool {
    x > 0.0 && x.is_finite()
}
