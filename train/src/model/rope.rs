//! Angles of the rotary position embedding.

use candle_core::{DType, Device, Tensor};

use crate::error::Result;

/// One angular frequency for each pair of elements, [D / 2], in radians a token.
#[derive(Clone, Debug)]
pub struct Rotary(Vec<f32>);

impl Rotary {
    /// From the frequencies of a configuration.
    #[allow(clippy::cast_possible_truncation, reason = "as the published models were trained")]
    pub fn new(frequencies: &[f64]) -> Self {
        Self(frequencies.iter().map(|f| *f as f32).collect())
    }

    /// Cosines and sines for each position, [T, D / 2]. The angle is a product in f32, as in transformers: at position
    /// 8,000 its rounding is already 5e-4 radians, and the models were trained with it.
    pub fn angles(&self, positions: &[u32], dtype: DType, device: &Device) -> Result<(Tensor, Tensor)> {
        let n = positions.len() * self.0.len();
        let (mut cos, mut sin) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for position in positions {
            #[allow(clippy::cast_precision_loss, reason = "positions are far below 2^24")]
            let position = *position as f32;
            for frequency in &self.0 {
                let (s, c) = f64::from(position * frequency).sin_cos();
                #[allow(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
                {
                    cos.push(c as f32);
                    sin.push(s as f32);
                }
            }
        }
        let shape = (positions.len(), self.0.len());
        // Rounded before they are sent.
        let tensor = |v: Vec<f32>| Tensor::from_vec(v, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device);
        Ok((tensor(cos)?, tensor(sin)?))
    }
}
