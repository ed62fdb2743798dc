//! AdamW on the CPU.

use candle_core::{DType, Tensor};
use half::bf16;
use rayon::prelude::*;

use crate::{
    error::{Error, Result},
    kernels::{
        dynamic_quant::QuantMap,
        simd::simd,
        storage::{Elements, FloatElement, same_size, update, update2},
    },
};

/// Elements to a scale of 8-bit moments.
pub const BLOCK: usize = 256;
const CHUNK: usize = 32 * BLOCK;

/// Of one step.
#[derive(Clone, Copy, Debug)]
pub struct Hyper {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first and second moments.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Which step this is, from 1.
    pub step: u64,
    /// What gradients are multiplied by first.
    pub grad_scale: f64,
}

impl Hyper {
    /// (1 - b1^t, sqrt(1 - b2^t))
    pub fn corrections(&self) -> (f64, f64) {
        #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53 steps")]
        let correction = |beta: f64| 1.0 - beta.powf(self.step as f64);
        (correction(self.betas[0]), correction(self.betas[1]).sqrt())
    }
}

/// Moments in 8 bits of n elements in B blocks of 256.
#[derive(Clone, Copy, Debug)]
pub struct Moments8bit<'a> {
    /// Codes of the first, u8 [n].
    pub m: &'a Tensor,
    /// Its scales, f32 [B].
    pub m_scale: &'a Tensor,
    /// What its codes mean: the values of `QuantMap::signed`, f32 [256]. The CPU has them at hand.
    pub m_map: &'a Tensor,
    /// Codes of the second, u8 [n].
    pub v: &'a Tensor,
    /// Its scales, f32 [B].
    pub v_scale: &'a Tensor,
    /// What its codes mean: the values of `QuantMap::unsigned`, f32 [256].
    pub v_map: &'a Tensor,
}

/// What all rules multiply by, in f32, worked out in f64.
struct Factors {
    decay: f32,
    b1: f32,
    b2: f32,
    one_b1: f32,
    one_b2: f32,
    grad: f32,
}

#[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
fn single(x: f64) -> f32 {
    x as f32
}

impl Factors {
    fn of(h: &Hyper) -> Self {
        let [b1, b2] = h.betas;
        Self {
            decay: single(1.0 - h.lr * h.weight_decay),
            b1: single(b1),
            b2: single(b2),
            one_b1: single(1.0 - b1),
            one_b2: single(1.0 - b2),
            grad: single(h.grad_scale),
        }
    }

    #[inline(always)]
    fn second(&self, v: f32, g: f32) -> f32 {
        fused(self.one_b2 * g, g, self.b2 * v)
    }
}

/// a b + c, rounded once (but for one in 2^29), without asking for an instruction that not every CPU has.
#[inline(always)]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    single(f64::from(a) * f64::from(b) + f64::from(c))
}

/// Runs `$body` with `$t` the type of a parameter's elements.
macro_rules! with_type_of {
    ($parameter:expr, $t:ident => $body:expr) => {
        match $parameter.dtype() {
            DType::F32 => {
                type $t = f32;
                $body
            }
            DType::BF16 => {
                type $t = bf16;
                $body
            }
            other => Err(Error::Other(format!("values are trained in f32 or bf16, not {other:?}"))),
        }
    };
}

pub fn adamw_(p: &Tensor, g: &Tensor, m: &Tensor, v: &Tensor, h: &Hyper) -> Result<()> {
    let (f, (c1, c2)) = (Factors::of(h), h.corrections());
    let (step, root, eps) = (single(-h.lr / c1), single(c2), single(h.eps));
    // m + (1 - b1) (g - m), from the nearer end.
    let near = f.one_b1.abs() < 0.5;
    let weight = if near { f.one_b1 } else { f.one_b1 - 1.0 };
    with_type_of!(p, P => each::<P>(p, g, m, v, |p, g, m, v| {
        let g = g * f.grad;
        let m = fused(weight, g - m, if near { m } else { g });
        let v = f.second(v, g);
        (p * f.decay + step * m / (v.sqrt() / root + eps), m, v)
    }))
}

pub fn adamw_32bit_(p: &Tensor, g: &Tensor, m: &Tensor, v: &Tensor, h: &Hyper) -> Result<()> {
    let (f, (c1, c2)) = (Factors::of(h), h.corrections());
    let (step, eps) = (single(-h.lr * c2 / c1), single(h.eps * c2));
    with_type_of!(p, P => each::<P>(p, g, m, v, |p, g, m, v| {
        let g = g * f.grad;
        let m = fused(f.one_b1, g, f.b1 * m);
        let v = f.second(v, g);
        (fused(step, m / (v.sqrt() + eps), p * f.decay), m, v)
    }))
}

/// `rule` makes of p, g, m and v of each element the new p, m and v.
fn each<P: FloatElement>(
    p: &Tensor,
    g: &Tensor,
    m: &Tensor,
    v: &Tensor,
    rule: impl Fn(f32, f32, f32, f32) -> (f32, f32, f32) + Sync,
) -> Result<()> {
    same_size("adamw", &[p, g, m, v])?;
    let g = Elements::of(g);
    let g = g.slice::<f32>()?;
    update2::<f32, f32, _>(m, v, |m, v| {
        update::<P, _>(p, |p| {
            p.par_chunks_mut(CHUNK)
                .zip(g.par_chunks(CHUNK))
                .zip(m.par_chunks_mut(CHUNK))
                .zip(v.par_chunks_mut(CHUNK))
                .for_each(|(((p, g), m), v)| {
                    simd(|| {
                        for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                            let new;
                            (new, *m, *v) = rule(p.to_f32(), *g, *m, *v);
                            *p = P::from_f32(new);
                        }
                    });
                });
        })
    })?
}

pub fn adamw_8bit_(p: &Tensor, g: &Tensor, moments: Moments8bit<'_>, h: &Hyper) -> Result<()> {
    let Moments8bit { m, m_scale, v, v_scale, .. } = moments;
    same_size("adamw", &[p, g, m, v])?;
    let g = Elements::of(g);
    let g = g.slice()?;
    update2(m, m_scale, |m, m_scale| {
        update2(
            v,
            v_scale,
            |v, v_scale| with_type_of!(p, P => update::<P, _>(p, |p| eight_bit(p, g, (m, m_scale), (v, v_scale), h))),
        )
    })??
}

/// Codes and scales of `m` with the signed map, of `v` with the unsigned one.
fn eight_bit<P: FloatElement>(
    p: &mut [P],
    g: &[f32],
    (m, m_scale): (&mut [u8], &mut [f32]),
    (v, v_scale): (&mut [u8], &mut [f32]),
    h: &Hyper,
) {
    let (f, (c1, c2)) = (Factors::of(h), h.corrections());
    let (step, root, eps) = (single(-h.lr / c1), single(c2), single(h.eps));
    let (signed, unsigned) = (QuantMap::signed(), QuantMap::unsigned());
    p.par_chunks_mut(BLOCK)
        .zip(g.par_chunks(BLOCK))
        .zip(m.par_chunks_mut(BLOCK).zip(m_scale.par_iter_mut()))
        .zip(v.par_chunks_mut(BLOCK).zip(v_scale.par_iter_mut()))
        .with_min_len(16)
        .for_each(|(((p, g), (m8, m_scale)), (v8, v_scale))| {
            let ([mut m, mut v], n) = ([[0.0_f32; BLOCK]; 2], p.len());
            for i in 0..n {
                m[i] = signed.values[usize::from(m8[i])] * *m_scale;
                v[i] = unsigned.values[usize::from(v8[i])] * *v_scale;
            }
            simd(|| {
                for (((p, g), m), v) in p.iter_mut().zip(g).zip(&mut m).zip(&mut v) {
                    let g = g * f.grad;
                    let new_m = fused(f.one_b1, g, f.b1 * *m);
                    let new_v = f.second(*v, g);
                    let new_p = p.to_f32() * f.decay + step * new_m / (new_v.sqrt() / root + eps);
                    // Choosing after the fact, so that this is vector code.
                    let good = g.is_finite();
                    *m = if good { new_m } else { 0.0 };
                    *v = if good { new_v } else { 0.0 };
                    *p = if good { P::from_f32(new_p) } else { *p };
                }
            });
            *m_scale = signed.quantize(&m[..n], m8);
            *v_scale = unsigned.quantize(&v[..n], v8);
        });
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    const H: Hyper = Hyper { lr: 0.1, betas: [0.9, 0.99], eps: 1e-8, weight_decay: 0.5, step: 1, grad_scale: 1.0 };

    fn tensor<const N: usize>(values: [f32; N]) -> Tensor {
        Tensor::new(&values, &Device::Cpu).unwrap()
    }

    #[test]
    fn the_first_step_is_the_learning_rate_against_the_sign() {
        // m / c1 = g and v / c2^2 = g^2, so the step is lr whatever the gradient.
        for rule in [adamw_, adamw_32bit_] {
            let (p, m, v) = (tensor([1.0, 1.0, -2.0]), tensor([0.0; 3]), tensor([0.0; 3]));
            rule(&p, &tensor([4.0, -0.01, 300.0]), &m, &v, &H).unwrap();
            for (p, expected) in p.to_vec1::<f32>().unwrap().into_iter().zip([0.95 - 0.1, 0.95 + 0.1, -1.9 - 0.1]) {
                assert!((p - expected).abs() < 1e-6, "{p} {expected}");
            }
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_leaves_its_element_alone() {
        let g = Tensor::new([f32::NAN, 1.0, f32::INFINITY].repeat(100), &Device::Cpu).unwrap();
        let codes = || Tensor::zeros(300, DType::U8, &Device::Cpu).unwrap();
        let (p, m, v, m_scale, v_scale) = (tensor([1.0; 300]), codes(), codes(), tensor([0.0; 2]), tensor([0.0; 2]));
        let moments =
            Moments8bit { m: &m, m_scale: &m_scale, m_map: &m_scale, v: &v, v_scale: &v_scale, v_map: &v_scale };
        adamw_8bit_(&p, &g, moments, &H).unwrap();
        for (i, p) in p.to_vec1::<f32>().unwrap().into_iter().enumerate() {
            let expected = if i % 3 == 1 { 0.85 } else { 1.0 };
            assert!((p - expected).abs() < 1e-6, "{i}: {p}");
        }
        let (m, v) = (m.to_vec1::<u8>().unwrap(), v.to_vec1::<u8>().unwrap());
        assert_eq!((m[0], m[1], v[0], v[1]), (131, 255, 7, 255));
        let [m_scale, v_scale] = [m_scale, v_scale].map(|scale| scale.to_vec1::<f32>().unwrap());
        assert!((m_scale[1] - 0.1).abs() < 1e-7 && (v_scale[1] - 0.01).abs() < 1e-8);
    }
}
