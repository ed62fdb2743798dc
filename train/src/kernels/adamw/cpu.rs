//! AdamW (Loshchilov and Hutter, arXiv 1711.05101), one step over one tensor: as PyTorch does it, as
//! bitsandbytes does it in 32 bits, and with moments in 8 bits.
//!
//! All three: p *= 1 - lr wd, m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, c1 = 1 - b1^t, c2 = sqrt(1 - b2^t),
//! p -= lr / c1 * m / (sqrt(v) / c2 + eps). They round differently, and so does this: moments are equal bit for
//! bit; parameters are within the rounding of PyTorch's square root, which is not always the nearest.

#![allow(clippy::many_single_char_names, reason = "the letters of the paper")]

use rayon::prelude::*;

use super::{dynamic::Map, real::simd, stored::Stored};

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

/// The same in f32, worked out in f64.
struct Factors {
    decay: f32,
    b1: f32,
    b2: f32,
    one_b1: f32,
    one_b2: f32,
    c1: f64,
    c2: f64,
    grad: f32,
}

#[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
fn single(x: f64) -> f32 {
    x as f32
}

impl Factors {
    fn of(h: &Hyper) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53 steps")]
        let correction = |beta: f64| 1.0 - beta.powf(h.step as f64);
        let [b1, b2] = h.betas;
        Self {
            decay: single(1.0 - h.lr * h.weight_decay),
            b1: single(b1),
            b2: single(b2),
            one_b1: single(1.0 - b1),
            one_b2: single(1.0 - b2),
            c1: correction(b1),
            c2: correction(b2).sqrt(),
            grad: single(h.grad_scale),
        }
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "vector code")]
    fn second(&self, v: f32, g: f32) -> f32 {
        fused(self.one_b2 * g, g, self.b2 * v)
    }
}

/// a b + c, rounded once (but for one in 2^29), without asking for an instruction that not every CPU has.
#[inline(always)]
#[allow(clippy::inline_always, reason = "vector code")]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    single(f64::from(a) * f64::from(b) + f64::from(c))
}

/// The tensors of one parameter, all [n].
pub struct Moments<'a> {
    /// First.
    pub m: &'a mut [f32],
    /// Second.
    pub v: &'a mut [f32],
}

/// One step as `torch.optim.AdamW` takes it.
pub fn adamw<P: Stored>(p: &mut [P], g: &[f32], moments: Moments, h: &Hyper) {
    let f = Factors::of(h);
    let (step, root, eps) = (single(-h.lr / f.c1), single(f.c2), single(h.eps));
    // m + (1 - b1) (g - m), from the nearer end.
    let near = f.one_b1.abs() < 0.5;
    let weight = if near { f.one_b1 } else { f.one_b1 - 1.0 };
    each(p, g, moments, |p, g, m, v| {
        let g = g * f.grad;
        let m = fused(weight, g - m, if near { m } else { g });
        let v = f.second(v, g);
        (p * f.decay + step * m / (v.sqrt() / root + eps), m, v)
    });
}

/// One step as bitsandbytes takes it for tensors too small for 8 bits.
pub fn adamw_small<P: Stored>(p: &mut [P], g: &[f32], moments: Moments, h: &Hyper) {
    let f = Factors::of(h);
    let (step, eps) = (single(-h.lr * f.c2 / f.c1), single(h.eps * f.c2));
    each(p, g, moments, |p, g, m, v| {
        let g = g * f.grad;
        let m = fused(f.one_b1, g, f.b1 * m);
        let v = f.second(v, g);
        (fused(step, m / (v.sqrt() + eps), p * f.decay), m, v)
    });
}

fn each<P: Stored>(
    p: &mut [P],
    g: &[f32],
    moments: Moments,
    update: impl Fn(f32, f32, f32, f32) -> (f32, f32, f32) + Sync,
) {
    let Moments { m, v } = moments;
    p.par_chunks_mut(CHUNK)
        .zip(g.par_chunks(CHUNK))
        .zip(m.par_chunks_mut(CHUNK))
        .zip(v.par_chunks_mut(CHUNK))
        .for_each(|(((p, g), m), v)| {
            simd(|| {
                for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                    let new;
                    (new, *m, *v) = update(p.single(), *g, *m, *v);
                    *p = P::of(new);
                }
            });
        });
}

/// Moments in 8 bits: codes [n], scales [n / 256 rounded up].
pub struct Moments8<'a> {
    /// First, with the signed map.
    pub m: &'a mut [u8],
    /// Its scales.
    pub m_scale: &'a mut [f32],
    /// Second, with the unsigned map.
    pub v: &'a mut [u8],
    /// Its scales.
    pub v_scale: &'a mut [f32],
}

/// One step as bitsandbytes takes it on a CPU, block by block of 256. Where a gradient is not finite the moments
/// become zero and the parameter stays, as on its GPU.
pub fn adamw_8bit<P: Stored>(p: &mut [P], g: &[f32], moments: Moments8, h: &Hyper) {
    let f = Factors::of(h);
    let (step, root, eps) = (single(-h.lr / f.c1), single(f.c2), single(h.eps));
    let (signed, unsigned) = (Map::signed(), Map::unsigned());
    let Moments8 { m, m_scale, v, v_scale } = moments;
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
                    let new_p = p.single() * f.decay + step * new_m / (new_v.sqrt() / root + eps);
                    // Choosing after the fact, so that this is vector code.
                    let good = g.is_finite();
                    *m = if good { new_m } else { 0.0 };
                    *v = if good { new_v } else { 0.0 };
                    *p = if good { P::of(new_p) } else { *p };
                }
            });
            *m_scale = signed.quantize(&m[..n], m8);
            *v_scale = unsigned.quantize(&v[..n], v8);
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: Hyper = Hyper { lr: 0.1, betas: [0.9, 0.99], eps: 1e-8, weight_decay: 0.5, step: 1, grad_scale: 1.0 };

    #[test]
    fn the_first_step_is_the_learning_rate_against_the_sign() {
        // m / c1 = g and v / c2^2 = g^2, so the step is lr whatever the gradient.
        for kind in [adamw::<f32>, adamw_small::<f32>] {
            let (mut p, mut m, mut v) = ([1.0, 1.0, -2.0], [0.0; 3], [0.0; 3]);
            kind(&mut p, &[4.0, -0.01, 300.0], Moments { m: &mut m, v: &mut v }, &H);
            for (p, expected) in p.iter().zip([0.95 - 0.1, 0.95 + 0.1, -1.9 - 0.1]) {
                assert!((p - expected).abs() < 1e-6, "{p} {expected}");
            }
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_leaves_its_element_alone() {
        let (mut p, g) = ([1.0_f32; 300], [f32::NAN, 1.0, f32::INFINITY].repeat(100));
        let ([mut m, mut v], mut scales) = ([[0; 300]; 2], [[0.0; 2]; 2]);
        let [m_scale, v_scale] = &mut scales;
        adamw_8bit(&mut p, &g, Moments8 { m: &mut m, m_scale, v: &mut v, v_scale }, &H);
        for (i, p) in p.iter().enumerate() {
            let expected = if i % 3 == 1 { 0.85 } else { 1.0 };
            assert!((p - expected).abs() < 1e-6, "{i}: {p}");
        }
        assert_eq!((m[0], m[1], v[0], v[1]), (131, 255, 7, 255));
        assert!((scales[0][1] - 0.1).abs() < 1e-7 && (scales[1][1] - 0.01).abs() < 1e-8);
    }
}
