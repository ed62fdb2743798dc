//! NF4 on the CPU: the bytes of bitsandbytes 0.50 on a CPU with one thread. Where its backends differ: a block of zeros
//! is code 7 (0) throughout and scale 0; a last block shorter than 64 is divided by its scale, where whole blocks are
//! multiplied by the reciprocal; the mean is summed in PyTorch's order.

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::{
    error::{Error, Result},
    kernels::{
        dynamic_quant::{QuantMap, largest},
        simd::simd,
        storage::{Elements, FloatElement, tensor, update},
    },
};

/// Weights to a scale.
pub const BLOCK: usize = 64;
/// Scales to a scale of scales.
pub const NESTED: usize = 256;
/// What the sixteen codes stand for.
pub const CODE: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];
// What one thread takes at a time: any multiple of an even number of blocks gives the same result.
const CHUNK: usize = 128 * BLOCK;

/// What the codes of n weights are multiplied by, one scale for each block of 64: B blocks, the last of which may be
/// shorter.
#[derive(Clone, Debug)]
pub enum Scales {
    /// f32 [B].
    Plain(Tensor),
    /// `map[code] * nested[block / 256] + offset`.
    Double {
        /// u8 [B].
        codes: Tensor,
        /// The dynamic 8-bit map, f32 [256].
        map: Tensor,
        /// f32 [B / 256 rounded up].
        nested: Tensor,
        /// Mean of the scales.
        offset: f32,
    },
}

impl Scales {
    /// How many blocks they are of.
    pub fn blocks(&self) -> usize {
        match self {
            Self::Plain(scales) => scales.elem_count(),
            Self::Double { codes, .. } => codes.elem_count(),
        }
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Plain(scales) => 4 * scales.elem_count(),
            Self::Double { codes, map, nested, .. } => {
                codes.elem_count() + 4 * (map.elem_count() + nested.elem_count())
            }
        }
    }

    /// The same on another device.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(match self {
            Self::Plain(scales) => Self::Plain(scales.to_device(device)?),
            Self::Double { codes, map, nested, offset } => Self::Double {
                codes: codes.to_device(device)?,
                map: map.to_device(device)?,
                nested: nested.to_device(device)?,
                offset: *offset,
            },
        })
    }
}

pub fn nf4_quantize(weights: &Tensor) -> Result<(Tensor, Tensor)> {
    let elements = Elements::of(weights);
    let (packed, scales) = match weights.dtype() {
        DType::F32 => quantize::<f32>(elements.slice()?),
        DType::BF16 => quantize::<bf16>(elements.slice()?),
        DType::F16 => quantize::<f16>(elements.slice()?),
        other => return Err(Error::Other(format!("NF4 is made of f32, bf16 or f16 weights, not {other:?}"))),
    };
    let (bytes, blocks) = (packed.len(), scales.len());
    Ok((tensor(packed, (bytes, 1))?, tensor(scales, blocks)?))
}

pub fn nf4_dequantize_(out: &Tensor, packed: &Tensor, scales: &Scales) -> Result<()> {
    match out.dtype() {
        DType::F32 => dequantize_into::<f32>(out, packed, scales),
        DType::F64 => dequantize_into::<f64>(out, packed, scales),
        DType::BF16 => dequantize_into::<bf16>(out, packed, scales),
        DType::F16 => dequantize_into::<f16>(out, packed, scales),
        other => Err(Error::Other(format!("NF4 becomes f32, f64, bf16 or f16, not {other:?}"))),
    }
}

fn dequantize_into<T: FloatElement>(out: &Tensor, packed: &Tensor, scales: &Scales) -> Result<()> {
    let packed = Elements::of(packed);
    let packed = packed.slice()?;
    match scales {
        Scales::Plain(scales) => {
            let scales = Elements::of(scales);
            let scales = scales.slice::<f32>()?;
            update::<T, _>(out, |out| dequantize(packed, |i| scales[i], out))
        }
        Scales::Double { codes, map, nested, offset } => {
            let (codes, map, nested) = (Elements::of(codes), Elements::of(map), Elements::of(nested));
            let (codes, map, nested) = (codes.slice::<u8>()?, map.slice::<f32>()?, nested.slice::<f32>()?);
            // The product is rounded before the sum, as bitsandbytes does it on a CPU.
            let scale = |i: usize| map[usize::from(codes[i])] * nested[i / NESTED] + offset;
            update::<T, _>(out, |out| dequantize(packed, scale, out))
        }
    }
}

/// Codes, the first of each two in the high half of a byte, [(n + 1) / 2], and scales, [n / 64 rounded up], of n
/// finite weights. An odd last byte is filled with the code of 0.
fn quantize<T: FloatElement>(weights: &[T]) -> (Vec<u8>, Vec<f32>) {
    let mut packed = vec![0; weights.len().div_ceil(2)];
    let mut scales = vec![0.0; weights.len().div_ceil(BLOCK)];
    weights.par_chunks(CHUNK).zip(packed.par_chunks_mut(CHUNK / 2)).zip(scales.par_chunks_mut(CHUNK / BLOCK)).for_each(
        |((weights, packed), scales)| {
            simd(|| {
                for ((w, out), scale) in weights.chunks(BLOCK).zip(packed.chunks_mut(BLOCK / 2)).zip(scales) {
                    *scale = quantize_block(w, out);
                }
            });
        },
    );
    (packed, scales)
}

#[inline(always)]
fn quantize_block<T: FloatElement>(weights: &[T], packed: &mut [u8]) -> f32 {
    // The reciprocal of anything smaller would be infinite.
    const LEAST: f32 = 1e-38;
    let mut x = [0.0_f32; BLOCK];
    for (x, w) in x.iter_mut().zip(weights) {
        *x = w.to_f32();
    }
    let mut scale = largest(&x);
    if weights.len() == BLOCK {
        let inverse = 1.0 / if scale > LEAST { scale } else { LEAST };
        for x in &mut x {
            *x *= inverse;
        }
    } else {
        scale = scale.max(LEAST);
        for x in &mut x {
            *x /= scale;
        }
    }
    for (x, packed) in x.chunks_exact(16).zip(packed.chunks_mut(8)) {
        // The code is the number of middles below the weight.
        let mut codes = [0_i32; 16];
        for pair in CODE.windows(2) {
            let middle = pair[0].midpoint(pair[1]);
            for (code, x) in codes.iter_mut().zip(x) {
                *code += i32::from(*x > middle);
            }
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 15")]
        for (byte, pair) in packed.iter_mut().zip(codes.chunks_exact(2)) {
            *byte = (pair[0] << 4 | pair[1]) as u8;
        }
    }
    scale
}

/// The weights again: `out[i] = CODE[code i] * scale(i / 64)`, multiplied in f32.
fn dequantize<T: FloatElement>(packed: &[u8], scale: impl Fn(usize) -> f32 + Sync, out: &mut [T]) {
    out.par_chunks_mut(CHUNK).zip(packed.par_chunks(CHUNK / 2)).enumerate().for_each(|(chunk, (out, packed))| {
        simd(|| {
            for (i, (out, packed)) in out.chunks_mut(BLOCK).zip(packed.chunks(BLOCK / 2)).enumerate() {
                dequantize_block(packed, scale(chunk * (CHUNK / BLOCK) + i), out);
            }
        });
    });
}

#[inline(always)]
fn dequantize_block<T: FloatElement>(packed: &[u8], scale: f32, out: &mut [T]) {
    let table = CODE.map(|code| T::from_f32(code * scale));
    let mut pairs = out.chunks_exact_mut(2);
    for (pair, byte) in pairs.by_ref().zip(packed) {
        pair[0] = table[usize::from(byte >> 4)];
        pair[1] = table[usize::from(byte & 15)];
    }
    if let ([last], Some(byte)) = (pairs.into_remainder(), packed.last()) {
        *last = table[usize::from(byte >> 4)];
    }
}

/// Scales in 8 bits: `scale = map[code] * nested[i / 256] + offset`.
#[derive(Clone, Debug, PartialEq)]
pub struct DoubleQuant {
    /// Codes of the signed map, one a block.
    pub codes: Vec<u8>,
    /// One for each 256 blocks.
    pub nested: Vec<f32>,
    /// The mean of the scales.
    pub offset: f32,
}

/// Quantise scales once more.
pub fn quantize_scales(scales: &[f32]) -> DoubleQuant {
    let offset = mean(scales);
    let mut codes = vec![0; scales.len()];
    let nested = scales
        .par_chunks(NESTED)
        .zip(codes.par_chunks_mut(NESTED))
        .map(|(scales, codes)| {
            let mut centred = [0.0; NESTED];
            for (c, s) in centred.iter_mut().zip(scales) {
                *c = s - offset;
            }
            QuantMap::signed().quantize(&centred[..scales.len()], codes)
        })
        .collect();
    DoubleQuant { codes, nested, offset }
}

/// The mean in f32, added up in the order of PyTorch on an x86 CPU with one thread: eight lanes (one, for fewer
/// than eight values) by four running sums, each emptied into a coarser one after 2^p rows, four levels deep.
/// Any order would do, but the last digit of the offset is in a checkpoint.
#[allow(clippy::cast_precision_loss, reason = "far below 2^24 blocks to a tensor, or rounded as PyTorch does")]
fn mean(x: &[f32]) -> f32 {
    let total = if x.len() < 8 { sum::<1>(x) } else { sum::<8>(x) };
    total / x.len() as f32
}

fn sum<const LANES: usize>(x: &[f32]) -> f32 {
    const LEVELS: usize = 4;
    let (rows, tail) = x.as_chunks::<LANES>();
    let (quads, rest) = rows.as_chunks::<4>();
    let bits = quads.len().next_power_of_two().trailing_zeros() as usize;
    let power = (bits / LEVELS).max(4);
    let mut level = [[[0.0_f32; LANES]; 4]; LEVELS];
    for (i, quad) in quads.iter().enumerate() {
        add(&mut level[0], quad);
        let done = i + 1;
        // Level j - 1 is emptied whenever the count of rows is a multiple of 2^(j p).
        for j in (1..LEVELS).take_while(|j| done.is_multiple_of(1 << (j * power))) {
            let lower = std::mem::replace(&mut level[j - 1], [[0.0; LANES]; 4]);
            add(&mut level[j], &lower);
        }
    }
    let [mut sums, coarser @ ..] = level;
    for level in &coarser {
        add(&mut sums, level);
    }
    for row in rest {
        add(std::slice::from_mut(&mut sums[0]), std::slice::from_ref(row));
    }
    let [mut lanes, others @ ..] = sums;
    for other in others {
        add(std::slice::from_mut(&mut lanes), &[other]);
    }
    let tail = tail.iter().fold(0.0, |a, x| a + x);
    lanes.iter().fold(tail, |a, x| a + x)
}

fn add<const LANES: usize>(to: &mut [[f32; LANES]], from: &[[f32; LANES]]) {
    for (to, from) in to.iter_mut().flatten().zip(from.iter().flatten()) {
        *to += from;
    }
}
