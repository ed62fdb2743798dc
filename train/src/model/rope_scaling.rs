//! Rotary frequencies and how long-context models stretch them. Every operation is done in f32, in the order
//! in which the models were trained with it (transformers' `modeling_rope_utils`), so that a position turns a
//! head by the same angle here as there: at position 8192 a frequency in f64 would be off by half a milliradian.

use std::{f32::consts::TAU, path::Path};

use crate::error::{Error, Result};

/// What is done to the plain frequencies theta^(-2i / head_dim).
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
    /// Each frequency has its divisor, [head_dim / 2]: the tensor `rope_freqs.weight` of a GGUF file.
    Divisors(Vec<f32>),
}

impl RopeScaling {
    /// Check what [`inv_freq`] relies on; `pairs` is head_dim / 2.
    ///
    /// # Errors
    /// A factor that is not positive, or factors that contradict each other.
    pub(super) fn check(&self, file: &Path, pairs: usize) -> Result<()> {
        let fault = match self {
            Self::None => None,
            Self::Linear { factor } => (!positive(*factor)).then(|| format!("`factor` is {factor}; it is above 0")),
            Self::Llama3 { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings } => {
                let sound = positive(*factor) && positive(*low) && high.is_finite() && high > low;
                (!sound || *original_max_position_embeddings == 0).then(|| {
                    "`factor`, `low_freq_factor` and `original_max_position_embeddings` are above 0, and \
                     `high_freq_factor` is above `low_freq_factor`"
                        .into()
                })
            }
            Self::Divisors(divisors) if divisors.len() != pairs => {
                Some(format!("there are {} divisors for {pairs} frequencies", divisors.len()))
            }
            Self::Divisors(divisors) => {
                divisors.iter().find(|d| !positive(f64::from(**d))).map(|d| format!("a divisor is {d}; it is above 0"))
            }
        };
        fault.map_or(Ok(()), |fault| Err(Error::model(file, format!("RoPE scaling: {fault}"))))
    }

    /// What each plain frequency is divided by where that differs from one to the next, [head_dim / 2]: the tensor
    /// `rope_freqs.weight` of a GGUF file. In f64, rounded once, as the converter does.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "rounded to f32 on purpose")]
    pub fn divisors(&self, theta: f64, head_dim: usize) -> Option<Vec<f32>> {
        let (factor, low, high, original) = match self {
            Self::None | Self::Linear { .. } => return None,
            Self::Divisors(divisors) => return Some(divisors.clone()),
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                (*factor, *low_freq_factor, *high_freq_factor, *original_max_position_embeddings as f64)
            }
        };
        let divisor = |i: usize| {
            let wave = std::f64::consts::TAU * theta.powf((2 * i) as f64 / head_dim as f64);
            if wave < original / high {
                1.0
            } else if wave > original / low {
                factor
            } else {
                let smooth = (original / wave - low) / (high - low);
                1.0 / ((1.0 - smooth) / factor + smooth)
            }
        };
        Some((0..head_dim / 2).map(|i| divisor(i) as f32).collect())
    }
}

/// Frequencies in radians per position, [head_dim / 2]; the values are those of f32.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "rounded to f32 on purpose")]
pub(super) fn inv_freq(theta: f64, head_dim: usize, scaling: &RopeScaling) -> Vec<f64> {
    let plain = (0..head_dim / 2).map(|i| {
        let exponent = (2 * i) as f32 / head_dim as f32;
        1.0 / (f64::from(theta as f32).powf(f64::from(exponent)) as f32)
    });
    let scaled = plain.enumerate().map(|(i, plain)| match scaling {
        RopeScaling::None => plain,
        RopeScaling::Linear { factor } => plain / *factor as f32,
        RopeScaling::Divisors(divisors) => plain / divisors[i],
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
            let (original, wave) = (*original_max_position_embeddings as f64, TAU / plain);
            if wave < (original / high_freq_factor) as f32 {
                plain
            } else if wave > (original / low_freq_factor) as f32 {
                plain / *factor as f32
            } else {
                let span = (high_freq_factor - low_freq_factor) as f32;
                let smooth = (original as f32 / wave - *low_freq_factor as f32) / span;
                (1.0 - smooth) * plain / *factor as f32 + smooth * plain
            }
        }
    });
    scaled.map(f64::from).collect()
}

fn positive(x: f64) -> bool {
    x > 0.0 && x.is_finite()
}
