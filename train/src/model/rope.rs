//! Angles of the rotary position embedding.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Tensor};

use super::rope_scaling::{self, RopeScaling};
use crate::{
    error::Result,
    kernels::{self, RowIndex, Span},
};

/// One rotary embedding: an angular frequency for each pair of the R elements of a head that turn, in radians a token.
#[derive(Clone, Debug)]
pub struct Rotary {
    /// [R / 2]
    usual: Vec<f32>,
    /// Of a document that is longer than so many tokens they are others.
    longer: Option<(usize, Longer)>,
    /// What cosines and sines are multiplied by.
    scale: f32,
    /// Cosines and sines of all positions so far, where a GPU computes: rows are chosen there, instead of being worked out and
    /// sent for each pass.
    tables: Arc<Mutex<Option<(Tensor, Tensor)>>>,
}

/// The frequencies of long documents.
#[derive(Clone, Debug)]
enum Longer {
    /// [R / 2]
    Listed(Vec<f32>),
    /// Plain ones, of a base that grows with the document (dynamic NTK).
    Grown { theta: f64, factor: f64 },
}

/// Where every token is.
pub struct Places<'a> {
    positions: &'a [u32],
    /// Length of the longest document that it is part of, [T].
    lengths: Vec<usize>,
}

impl<'a> Places<'a> {
    /// From a batch's positions [T], its spans, and the token that each key of a span is, if documents share tokens. Documents
    /// with tokens in common turn these alike, so the longest of them decides for all.
    pub fn new(positions: &'a [u32], spans: &[Span], keys: Option<&[u32]>) -> Self {
        let mut first = 0;
        let mut longest: Vec<(usize, usize)> = Vec::with_capacity(spans.len());
        for (i, span) in spans.iter().enumerate() {
            let shares = keys.is_some_and(|keys| keys.get(span.k).is_some_and(|token| (*token as usize) < span.q));
            first = if shares { first } else { i };
            longest.push((first, 0));
            longest[first].1 = longest[first].1.max(span.k_len);
        }
        let mut lengths = vec![0; positions.len()];
        for (span, (first, _)) in spans.iter().zip(&longest) {
            lengths[span.q..span.q + span.q_len].fill(longest[*first].1);
        }
        Self { positions, lengths }
    }
}

impl Rotary {
    /// Of base `theta` over `dim` elements of a head, stretched, in a model made for so many positions.
    pub fn new(theta: f64, dim: usize, scaling: &RopeScaling, positions: usize) -> Self {
        let longer = match scaling {
            RopeScaling::Dynamic { factor } => Some((positions, Longer::Grown { theta, factor: *factor })),
            RopeScaling::Long { long, original_max_position_embeddings: original, .. } => {
                Some((*original, Longer::Listed(rope_scaling::divided(theta, dim, long))))
            }
            _ => None,
        };
        let usual = rope_scaling::inv_freq(theta, dim, scaling);
        #[allow(clippy::cast_possible_truncation, reason = "cosines are in f32 too")]
        Self { usual, longer, scale: scaling.attention_factor() as f32, tables: Arc::default() }
    }

    /// Frequencies of a document of so many tokens, [R / 2].
    fn of_length(&self, length: usize) -> Vec<f32> {
        match &self.longer {
            Some((usual, longer)) if length > *usual => match longer {
                Longer::Listed(frequencies) => frequencies.clone(),
                Longer::Grown { theta, factor } => {
                    let dim = 2 * self.usual.len();
                    rope_scaling::plain(rope_scaling::grown(*theta, *factor, (length, *usual), dim), dim).collect()
                }
            },
            _ => self.usual.clone(),
        }
    }

    /// Cosines and sines for each place, [T, R / 2]. The angle is a product in f32, as in transformers: at position
    /// 8,000 its rounding is already 5e-4 radians, and the models were trained with it.
    pub fn angles(&self, places: &Places<'_>, dtype: DType, device: &Device) -> Result<(Tensor, Tensor)> {
        // What a position turns by depends on its document's length.
        if device.is_cpu() || self.longer.is_some() {
            return self.table(places, dtype, device);
        }
        let rows = places.positions.iter().max().map_or(0, |last| *last as usize + 1);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tables.take().filter(|(cos, _)| cos.elem_count() >= rows * self.usual.len());
        let (cos, sin) = if let Some(known) = known {
            known
        } else {
            let all: Vec<u32> = (0..u32::try_from(rows.next_power_of_two()).unwrap_or(u32::MAX)).collect();
            self.table(&Places { positions: &all, lengths: vec![0; all.len()] }, dtype, device)?
        };
        let index = RowIndex::new(places.positions.to_vec(), cos.dim(0)?, device)?;
        let chosen = (kernels::gather_rows(&cos, &index, dtype)?, kernels::gather_rows(&sin, &index, dtype)?);
        *tables = Some((cos, sin));
        Ok(chosen)
    }

    fn table(&self, places: &Places<'_>, dtype: DType, device: &Device) -> Result<(Tensor, Tensor)> {
        let n = places.positions.len() * self.usual.len();
        let (mut cos, mut sin) = (Vec::with_capacity(n), Vec::with_capacity(n));
        let (mut length, mut frequencies) = (0, self.usual.clone());
        for (position, of) in places.positions.iter().zip(&places.lengths) {
            if self.longer.is_some() && length != *of {
                (length, frequencies) = (*of, self.of_length(*of));
            }
            #[allow(clippy::cast_precision_loss, reason = "positions are far below 2^24")]
            let position = *position as f32;
            for frequency in &frequencies {
                let (s, c) = f64::from(position * frequency).sin_cos();
                #[allow(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
                {
                    cos.push(c as f32 * self.scale);
                    sin.push(s as f32 * self.scale);
                }
            }
        }
        let shape = (places.positions.len(), self.usual.len());
        // Rounded before they are sent.
        let tensor = |v: Vec<f32>| Tensor::from_vec(v, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device);
        Ok((tensor(cos)?, tensor(sin)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_with_tokens_in_common_count_as_the_longest() {
        let span = |q, q_len, k, k_len| Span { q, q_len, k, k_len };
        // Four tokens, then two documents that go on from the first three of six.
        let spans = [span(0, 4, 0, 4), span(4, 6, 4, 6), span(10, 2, 10, 5), span(12, 7, 15, 10)];
        let keys: Vec<u32> = (0..4).chain(4..10).chain(4..7).chain(10..12).chain(4..7).chain(12..19).collect();
        let positions = vec![0; 19];
        let shared = Places::new(&positions, &spans, Some(&keys));
        assert_eq!(shared.lengths, [vec![4; 4], vec![10; 15]].concat());
        let apart = Places::new(&positions, &spans[..2], None);
        assert_eq!(apart.lengths[..10], [vec![4; 4], vec![6; 6]].concat());
    }
}
