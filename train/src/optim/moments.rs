//! The moments of one parameter.

use std::{collections::BTreeMap, sync::OnceLock};

use candle_core::{DType, Device, Tensor};

use super::Param;
use crate::{
    error::{Error, Result},
    kernels::{
        adamw::{BLOCK, Hyper, Moments8bit, adamw_, adamw_8bit_, adamw_32bit_},
        dynamic_quant::QuantMap,
    },
    recipe::Optimizer,
};

/// bitsandbytes keeps the moments of smaller tensors in 32 bits.
const SMALL: usize = 4096;

/// N elements in B blocks of 256.
#[derive(Debug)]
pub enum Moments {
    /// f32 [N] each.
    Full { m: Tensor, v: Tensor },
    /// u8 [N] and f32 [B].
    EightBit { m: Tensor, m_scale: Tensor, v: Tensor, v_scale: Tensor },
}

/// What the codes of moments in 8 bits mean, signed and unsigned, f32 [256] each: made where they are first needed.
#[derive(Debug, Default)]
pub struct QuantMaps(OnceLock<[Tensor; 2]>);

impl QuantMaps {
    fn on(&self, device: &Device) -> Result<&[Tensor; 2]> {
        if let Some(maps) = self.0.get() {
            return Ok(maps);
        }
        let [signed, unsigned] = [QuantMap::signed(), QuantMap::unsigned()].map(|m| Tensor::new(&m.values, device));
        let maps = [signed?, unsigned?];
        Ok(self.0.get_or_init(|| maps))
    }
}

fn eight_bit(kind: Optimizer, n: usize) -> bool {
    kind == Optimizer::Adamw8bit && n >= SMALL
}

impl Moments {
    /// Before the first step.
    pub fn zeros(kind: Optimizer, n: usize, device: &Device) -> Result<Self> {
        let zeros = |n: usize, dtype| -> Result<Tensor> { Ok(Tensor::zeros(n, dtype, device)?) };
        if !eight_bit(kind, n) {
            return Ok(Self::Full { m: zeros(n, DType::F32)?, v: zeros(n, DType::F32)? });
        }
        let blocks = n.div_ceil(BLOCK);
        Ok(Self::EightBit {
            m: zeros(n, DType::U8)?,
            m_scale: zeros(blocks, DType::F32)?,
            v: zeros(n, DType::U8)?,
            v_scale: zeros(blocks, DType::F32)?,
        })
    }

    /// From its parts by name, which is the reverse of [`Moments::parts`].
    pub fn of(kind: Optimizer, mut parts: BTreeMap<String, Tensor>) -> std::result::Result<Self, String> {
        let n = parts.get("m").map_or(0, Tensor::elem_count);
        let mut part = |name: &str, dtype, len| match parts.remove(name) {
            Some(tensor) if tensor.dtype() == dtype && tensor.dims() == [len] => Ok(tensor),
            Some(tensor) => {
                Err(format!("has {:?} {:?} as {name}, not {dtype:?} [{len}]", tensor.dtype(), tensor.dims()))
            }
            None => Err(format!("has no {name}")),
        };
        let moments = if eight_bit(kind, n) {
            let blocks = n.div_ceil(BLOCK);
            Self::EightBit {
                m: part("m", DType::U8, n)?,
                m_scale: part("m_scale", DType::F32, blocks)?,
                v: part("v", DType::U8, n)?,
                v_scale: part("v_scale", DType::F32, blocks)?,
            }
        } else {
            Self::Full { m: part("m", DType::F32, n)?, v: part("v", DType::F32, n)? }
        };
        match parts.into_keys().next() {
            Some(extra) => Err(format!("has an unknown part {extra}")),
            None => Ok(moments),
        }
    }

    /// Every tensor, by its name.
    pub fn parts(&self) -> Vec<(&'static str, &Tensor)> {
        match self {
            Self::Full { m, v } => vec![("m", m), ("v", v)],
            Self::EightBit { m, m_scale, v, v_scale } => {
                vec![("m", m), ("m_scale", m_scale), ("v", v), ("v_scale", v_scale)]
            }
        }
    }

    /// N
    pub fn len(&self) -> usize {
        match self {
            Self::Full { m, .. } | Self::EightBit { m, .. } => m.elem_count(),
        }
    }

    /// Memory for the moments of `n` elements.
    pub fn bytes(kind: Optimizer, n: usize) -> usize {
        if eight_bit(kind, n) { 2 * n + 8 * n.div_ceil(BLOCK) } else { 8 * n }
    }

    /// One step of the parameter's value.
    pub fn step(&self, kind: Optimizer, param: &Param, h: &Hyper, maps: &QuantMaps) -> Result<()> {
        let (p, g) = (&param.value, &param.grad);
        if g.elem_count() != self.len() {
            return Err(Error::Other(format!("a gradient of {:?} for a value of {:?}", g.dims(), p.dims())));
        }
        match self {
            Self::Full { m, v } if kind == Optimizer::Adamw => adamw_(p, g, m, v, h),
            Self::Full { m, v } => adamw_32bit_(p, g, m, v, h),
            Self::EightBit { m, m_scale, v, v_scale } => {
                let [m_map, v_map] = maps.on(p.device())?;
                adamw_8bit_(p, g, Moments8bit { m, m_scale, m_map, v, v_scale, v_map }, h)
            }
        }
    }
}
