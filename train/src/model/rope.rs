//! Angles of the rotary position embedding.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Tensor};

use crate::{
    error::Result,
    kernels::{self, RowIndex},
};

/// One angular frequency for each pair of elements, [D / 2], in radians a token.
#[derive(Clone, Debug)]
pub struct Rotary {
    frequencies: Vec<f32>,
    /// Cosines and sines of all positions so far, where a GPU computes: rows are chosen there, instead of being worked out and
    /// sent for each pass.
    tables: Arc<Mutex<Option<(Tensor, Tensor)>>>,
}

impl Rotary {
    /// From the frequencies of a configuration.
    #[allow(clippy::cast_possible_truncation, reason = "as the published models were trained")]
    pub fn new(frequencies: &[f64]) -> Self {
        Self { frequencies: frequencies.iter().map(|f| *f as f32).collect(), tables: Arc::default() }
    }

    /// Cosines and sines for each position, [T, D / 2]. The angle is a product in f32, as in transformers: at position
    /// 8,000 its rounding is already 5e-4 radians, and the models were trained with it.
    pub fn angles(&self, positions: &[u32], dtype: DType, device: &Device) -> Result<(Tensor, Tensor)> {
        if device.is_cpu() {
            return self.table(positions, dtype, device);
        }
        let rows = positions.iter().max().map_or(0, |last| *last as usize + 1);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tables.take().filter(|(cos, _)| cos.elem_count() >= rows * self.frequencies.len());
        let (cos, sin) = match known {
            Some(known) => known,
            None => self.table(
                &(0..u32::try_from(rows.next_power_of_two()).unwrap_or(u32::MAX)).collect::<Vec<_>>(),
                dtype,
                device,
            )?,
        };
        let index = RowIndex::new(positions.to_vec(), cos.dim(0)?, device)?;
        let chosen = (kernels::gather_rows(&cos, &index, dtype)?, kernels::gather_rows(&sin, &index, dtype)?);
        *tables = Some((cos, sin));
        Ok(chosen)
    }

    fn table(&self, positions: &[u32], dtype: DType, device: &Device) -> Result<(Tensor, Tensor)> {
        let n = positions.len() * self.frequencies.len();
        let (mut cos, mut sin) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for position in positions {
            #[allow(clippy::cast_precision_loss, reason = "positions are far below 2^24")]
            let position = *position as f32;
            for frequency in &self.frequencies {
                let (s, c) = f64::from(position * frequency).sin_cos();
                #[allow(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
                {
                    cos.push(c as f32);
                    sin.push(s as f32);
                }
            }
        }
        let shape = (positions.len(), self.frequencies.len());
        // Rounded before they are sent.
        let tensor = |v: Vec<f32>| Tensor::from_vec(v, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device);
        Ok((tensor(cos)?, tensor(sin)?))
    }
}
