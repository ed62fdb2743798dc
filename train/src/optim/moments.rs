//! The moments of one parameter.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use super::Param;
#[cfg(feature = "cuda")]
use crate::kernels::{cpu::dynamic::Map, cuda};
use crate::{
    error::{Error, Result},
    kernels::cpu::{
        adamw::{BLOCK, Hyper, Moments, Moments8, adamw, adamw_8bit, adamw_small},
        stored::{Elements, Stored, update},
    },
    recipe::Optimizer,
};

/// bitsandbytes keeps the moments of smaller tensors in 32 bits.
const SMALL: usize = 4096;

/// N elements in B blocks of 256.
#[derive(Debug)]
pub enum Slot {
    /// f32 [N] each.
    Full { m: Tensor, v: Tensor },
    /// u8 [N] and f32 [B].
    Eight { m: Tensor, m_scale: Tensor, v: Tensor, v_scale: Tensor },
}

/// What the codes of moments in 8 bits mean, signed and unsigned, f32 [256] each on the GPU once they are needed there.
#[derive(Debug, Default)]
pub struct Maps(#[cfg(feature = "cuda")] std::sync::OnceLock<[Tensor; 2]>);

#[cfg(feature = "cuda")]
impl Maps {
    fn on(&self, device: &Device) -> Result<&[Tensor; 2]> {
        if let Some(maps) = self.0.get() {
            return Ok(maps);
        }
        let maps = [Tensor::new(&Map::signed().values, device)?, Tensor::new(&Map::unsigned().values, device)?];
        Ok(self.0.get_or_init(|| maps))
    }
}

fn eight_bit(kind: Optimizer, n: usize) -> bool {
    kind == Optimizer::Adamw8bit && n >= SMALL
}

impl Slot {
    /// Before the first step.
    pub fn zeros(kind: Optimizer, n: usize, device: &Device) -> Result<Self> {
        let zeros = |n: usize, dtype| -> Result<Tensor> { Ok(Tensor::zeros(n, dtype, device)?) };
        if !eight_bit(kind, n) {
            return Ok(Self::Full { m: zeros(n, DType::F32)?, v: zeros(n, DType::F32)? });
        }
        let blocks = n.div_ceil(BLOCK);
        Ok(Self::Eight {
            m: zeros(n, DType::U8)?,
            m_scale: zeros(blocks, DType::F32)?,
            v: zeros(n, DType::U8)?,
            v_scale: zeros(blocks, DType::F32)?,
        })
    }

    /// From its parts by name, which is the reverse of [`Slot::parts`].
    pub fn of(kind: Optimizer, mut parts: BTreeMap<String, Tensor>) -> std::result::Result<Self, String> {
        let n = parts.get("m").map_or(0, Tensor::elem_count);
        let mut part = |name: &str, dtype, len| match parts.remove(name) {
            Some(tensor) if tensor.dtype() == dtype && tensor.dims() == [len] => Ok(tensor),
            Some(tensor) => {
                Err(format!("has {:?} {:?} as {name}, not {dtype:?} [{len}]", tensor.dtype(), tensor.dims()))
            }
            None => Err(format!("has no {name}")),
        };
        let slot = if eight_bit(kind, n) {
            let blocks = n.div_ceil(BLOCK);
            Self::Eight {
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
            None => Ok(slot),
        }
    }

    /// Every tensor, by its name.
    pub fn parts(&self) -> Vec<(&'static str, &Tensor)> {
        match self {
            Self::Full { m, v } => vec![("m", m), ("v", v)],
            Self::Eight { m, m_scale, v, v_scale } => {
                vec![("m", m), ("m_scale", m_scale), ("v", v), ("v_scale", v_scale)]
            }
        }
    }

    /// N
    pub fn len(&self) -> usize {
        match self {
            Self::Full { m, .. } | Self::Eight { m, .. } => m.elem_count(),
        }
    }

    /// Memory for the moments of `n` elements.
    pub fn bytes(kind: Optimizer, n: usize) -> usize {
        if eight_bit(kind, n) { 2 * n + 8 * n.div_ceil(BLOCK) } else { 8 * n }
    }

    /// One step of the parameter's value.
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables, reason = "the CPU has its own maps"))]
    pub fn step(&self, kind: Optimizer, param: &Param, h: &Hyper, maps: &Maps) -> Result<()> {
        if param.grad.elem_count() != self.len() {
            let (grad, value) = (param.grad.dims(), param.value.dims());
            return Err(Error::Other(format!("a gradient of {grad:?} for a value of {value:?}")));
        }
        #[cfg(feature = "cuda")]
        if param.value.device().is_cuda() {
            return self.update_on_gpu(kind, param, h, maps);
        }
        match param.value.dtype() {
            DType::F32 => Ok(self.update::<f32>(kind, param, h)?),
            DType::BF16 => Ok(self.update::<half::bf16>(kind, param, h)?),
            other => Err(Error::Other(format!("values are trained in f32 or bf16, not {other:?}"))),
        }
    }

    #[cfg(feature = "cuda")]
    fn update_on_gpu(&self, kind: Optimizer, param: &Param, h: &Hyper, maps: &Maps) -> Result<()> {
        let (p, g) = (&param.value, &param.grad);
        match self {
            Self::Full { m, v } if kind == Optimizer::Adamw => cuda::adamw(p, g, m, v, h),
            Self::Full { m, v } => cuda::adamw_small(p, g, m, v, h),
            Self::Eight { m, m_scale, v, v_scale } => {
                let [signed, unsigned] = maps.on(p.device())?;
                cuda::adamw_8bit(p, g, cuda::Moments8 { m, m_scale, v, v_scale, signed, unsigned }, h)
            }
        }
    }

    fn update<P: Stored>(&self, kind: Optimizer, param: &Param, h: &Hyper) -> candle_core::Result<()> {
        let grad = Elements::of(&param.grad);
        let g = grad.slice::<f32>()?;
        let first = if kind == Optimizer::Adamw { adamw::<P> } else { adamw_small::<P> };
        update::<P>(&param.value, |p| match self {
            Self::Full { m, v } => update(m, |m| {
                update(v, |v| {
                    first(p, g, Moments { m, v }, h);
                    Ok(())
                })
            }),
            Self::Eight { m, m_scale, v, v_scale } => update(m, |m| {
                update(m_scale, |m_scale| {
                    update(v, |v| {
                        update(v_scale, |v_scale| {
                            adamw_8bit(p, g, Moments8 { m, m_scale, v, v_scale }, h);
                            Ok(())
                        })
                    })
                })
            }),
        })
    }
}
