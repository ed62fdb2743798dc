//! Attention on the CPU, in blocks of queries.

use std::ops::Range;

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{
    error::Result,
    kernels::{
        float::{Float, with_float},
        gemm::cpu::{Threads, gemm},
        matrix::Mat,
        simd::{dot, simd},
        storage::{Elements, same_size, tensor},
    },
};

/// Queries at a time.
const BLOCK: usize = 64;

/// A run of queries and the keys that it may see: query i of the span sees keys up to `k_len - q_len + i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First query, as a row of Q.
    pub q: usize,
    /// Queries.
    pub q_len: usize,
    /// First key, as a row of K and V.
    pub k: usize,
    /// Keys.
    pub k_len: usize,
}

/// Sizes of the heads, and what is done to their scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heads {
    /// Query heads.
    pub q: usize,
    /// Key and value heads; each serves `q / kv` query heads.
    pub kv: usize,
    /// Width of a head.
    pub dim: usize,
    /// Scores on their way to the softmax.
    pub scores: Scores,
}

/// What is done to the product of a query and a key before the softmax.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// What it is multiplied by; 1 / sqrt(dim) if it is not said.
    pub scale: Option<f64>,
    /// c of the soft cap `c tanh(s / c)` that a score s goes through, after that.
    pub cap: Option<f64>,
    /// Keys that a query sees, its own and those right before; all of them if it is not said. At least 1.
    pub window: Option<usize>,
}

impl Heads {
    /// What scores are multiplied by.
    pub fn scale(self) -> f64 {
        let usual = || 1.0 / f64::from(u32::try_from(self.dim).unwrap_or(u32::MAX)).sqrt();
        self.scores.scale.unwrap_or_else(usual)
    }

    /// The first key that is seen by a query with so many keys before it.
    pub fn first_seen(self, before: usize) -> usize {
        self.scores.window.map_or(0, |window| (before + 1).saturating_sub(window))
    }
}

/// What `attention` of the folder read and wrote, for the backward pass.
#[derive(Clone, Debug)]
pub struct AttentionForward {
    /// [T, Hq D]
    pub q: Tensor,
    /// [S, Hkv D]
    pub k: Tensor,
    /// [S, Hkv D]
    pub v: Tensor,
    /// [T, Hq D]
    pub out: Tensor,
    /// [T, Hq]
    pub lse: Tensor,
}

pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, spans: &[Span], heads: Heads) -> Result<(Tensor, Tensor)> {
    same_size("attention", &[k, v])?;
    let (qs, ks, vs) = (Elements::of(q), Elements::of(k), Elements::of(v));
    with_float!(q, T => {
        let (out, lse) = forward::<T>(qs.slice()?, ks.slice()?, vs.slice()?, spans, heads);
        Ok((tensor(out, q.shape())?, tensor(lse, (q.dim(0)?, heads.q))?))
    })
}

pub fn attention_grad(
    f: &AttentionForward,
    dout: &Tensor,
    spans: &[Span],
    heads: Heads,
) -> Result<(Tensor, Tensor, Tensor)> {
    same_size("attention_grad", &[&f.q, &f.out, dout])?;
    let [q, k, v, out, lse] = [&f.q, &f.k, &f.v, &f.out, &f.lse].map(Elements::of);
    let d = Elements::of(dout);
    with_float!(dout, T => {
        let forward = Forward::<T> {
            q: q.slice()?, k: k.slice()?, v: v.slice()?, out: out.slice()?, lse: lse.slice()?,
        };
        let (dq, dk, dv) = backward(&forward, d.slice()?, spans, heads);
        Ok((tensor(dq, f.q.shape())?, tensor(dk, f.k.shape())?, tensor(dv, f.v.shape())?))
    })
}

/// Scores of a block of queries in place: what comes behind the soft cap.
#[inline(always)]
fn soften<T: Float>(scores: &mut [T], cap: T) {
    for x in scores.iter_mut() {
        *x = cap * (*x / cap).tanh();
    }
}

/// Softmax numerators in place: row i of `scores` [rows, keys] keeps the columns that `seen` names for it, the rest
/// become 0. Returns the logarithm of each row's sum.
fn softmax<T: Float>(scores: &mut [T], keys: usize, seen: impl Fn(usize) -> Range<usize>, cap: Option<T>) -> Vec<T> {
    simd(
        #[inline(always)]
        || {
            if let Some(cap) = cap {
                soften(scores, cap);
            }
            let mut sums = Vec::with_capacity(scores.len() / keys);
            for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
                let Range { start, end } = seen(i);
                let (seen, hidden) = row.split_at_mut(end);
                let (passed, seen) = seen.split_at_mut(start);
                let top = seen.iter().fold(T::NEG_INFINITY, |m, x| m.maximum(*x));
                let mut sum = T::ZERO;
                for x in seen.iter_mut() {
                    *x = (*x - top).exp();
                }
                for x in seen.iter() {
                    sum += *x;
                }
                let inverse = T::ONE / sum;
                for x in seen.iter_mut() {
                    *x *= inverse;
                }
                hidden.fill(T::ZERO);
                passed.fill(T::ZERO);
                sums.push(top + sum.ln());
            }
            sums
        },
    )
}

/// The output and the logarithm of each softmax sum.
fn forward<T: Float>(q: &[T], k: &[T], v: &[T], spans: &[Span], heads: Heads) -> (Vec<T>, Vec<T>) {
    let (qw, kw, d, group) = (heads.q * heads.dim, heads.kv * heads.dim, heads.dim, heads.q / heads.kv);
    let (mut out, mut lse) = (vec![T::ZERO; q.len()], vec![T::ZERO; q.len() / d]);
    let (mut blocks, mut single) = (Vec::new(), Vec::new());
    let (mut out_rest, mut lse_rest) = (&mut out[..], &mut lse[..]);
    for span in spans {
        for start in (0..span.q_len).step_by(BLOCK) {
            let rows = BLOCK.min(span.q_len - start);
            let (o, o_rest) = out_rest.split_at_mut(rows * qw);
            let (l, l_rest) = lse_rest.split_at_mut(rows * heads.q);
            (out_rest, lse_rest) = (o_rest, l_rest);
            if span.q_len == 1 {
                let heads = o.chunks_exact_mut(group * d).zip(l.chunks_exact_mut(group));
                single.extend(heads.enumerate().map(|(head, (o, l))| (span, head, o, l)));
            } else {
                blocks.push((span, start, rows, o, l));
            }
        }
    }
    let one = |(span, head, out, lse): (&Span, usize, &mut [T], &mut [T])| {
        one_query((out, lse), &q[span.q * qw + head * group * d..][..group * d], (k, v), (span, head, heads));
    };
    // Waking a thread for a few keys takes longer than they do.
    if single.iter().map(|(span, ..)| span.k_len).sum::<usize>() * group * d > 1 << 16 {
        single.into_par_iter().for_each(one);
    } else {
        single.into_iter().for_each(one);
    }
    blocks.into_par_iter().for_each(|(span, start, rows, out, lse)| {
        let first = span.k_len - span.q_len + start;
        // No query of the block sees a key before `low`.
        let low = heads.first_seen(first);
        let keys = first + rows - low;
        let seen = |i: usize| heads.first_seen(first + i) - low..first + i + 1 - low;
        let mut scores = vec![T::ZERO; rows * keys];
        for head in 0..heads.q {
            let (qo, ko) = ((span.q + start) * qw + head * d, (span.k + low) * kw + head / group * d);
            let (qb, kb, vb) =
                (Mat::rows(&q[qo..], rows, d, qw), Mat::rows(&k[ko..], keys, d, kw), Mat::rows(&v[ko..], keys, d, kw));
            gemm(&mut scores, keys, qb, kb.t(), (heads.scale(), 0.0), Threads::One);
            for (row, sum) in
                softmax(&mut scores, keys, seen, heads.scores.cap.map(T::from_f64)).into_iter().enumerate()
            {
                lse[row * heads.q + head] = sum;
            }
            gemm(&mut out[head * d..], qw, Mat::rows(&scores, rows, keys, keys), vb, (1.0, 0.0), Threads::One);
        }
    });
    (out, lse)
}

/// The same for the only query of a span, as where texts are written token by token, and the heads that share the keys' head `head`:
/// `q`, `out` [group, D] and `lse` [group]. Keys and values are read once for all of them.
fn one_query<T: Float>(
    (out, lse): (&mut [T], &mut [T]),
    q: &[T],
    (k, v): (&[T], &[T]),
    (span, head, heads): (&Span, usize, Heads),
) {
    let (kw, d, scale) = (heads.kv * heads.dim, heads.dim, T::from_f64(heads.scale()));
    let low = heads.first_seen(span.k_len - 1);
    let keys = span.k_len - low;
    let at = (span.k + low) * kw + head * d;
    let mut scores = vec![T::ZERO; lse.len() * keys];
    simd(
        #[inline(always)]
        || {
            for (key, k) in k[at..].chunks(kw).take(keys).enumerate() {
                for (i, q) in q.chunks_exact(d).enumerate() {
                    scores[i * keys + key] = scale * dot(q, &k[..d]);
                }
            }
        },
    );
    let sums = softmax(&mut scores, keys, |_| 0..keys, heads.scores.cap.map(T::from_f64));
    lse.copy_from_slice(&sums);
    simd(
        #[inline(always)]
        || {
            for (key, v) in v[at..].chunks(kw).take(keys).enumerate() {
                for (i, out) in out.chunks_exact_mut(d).enumerate() {
                    let p = scores[i * keys + key];
                    for (out, v) in out.iter_mut().zip(&v[..d]) {
                        *out += p * *v;
                    }
                }
            }
        },
    );
}

/// [`AttentionForward`] as slices.
struct Forward<'a, T> {
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    out: &'a [T],
    lse: &'a [T],
}

fn backward<T: Float>(f: &Forward<'_, T>, dout: &[T], spans: &[Span], heads: Heads) -> (Vec<T>, Vec<T>, Vec<T>) {
    let (qw, kw, d, group) = (heads.q * heads.dim, heads.kv * heads.dim, heads.dim, heads.q / heads.kv);
    let tasks: Vec<_> = spans.iter().flat_map(|s| (0..heads.q).map(move |h| (s, h))).collect();
    // A head of a document is one task with its own sums; they are put together in a fixed order.
    let parts: Vec<[Vec<T>; 3]> = tasks.par_iter().map(|(span, head)| one_head(f, dout, span, *head, heads)).collect();
    let (mut dq, mut dk, mut dv) = (vec![T::ZERO; f.q.len()], vec![T::ZERO; f.k.len()], vec![T::ZERO; f.v.len()]);
    for ((span, head), [q, k, v]) in tasks.iter().zip(&parts) {
        let (qo, ko) = (head * d, head / group * d);
        for (i, part) in q.chunks_exact(d).enumerate() {
            dq[(span.q + i) * qw + qo..][..d].copy_from_slice(part);
        }
        for (total, part) in [(&mut dk, k), (&mut dv, v)] {
            for (i, part) in part.chunks_exact(d).enumerate() {
                let place = &mut total[(span.k + i) * kw + ko..][..d];
                place.iter_mut().zip(part).for_each(|(t, p)| *t += *p);
            }
        }
    }
    (dq, dk, dv)
}

/// dq [queries, D], dk and dv [keys, D] of one head of one span.
fn one_head<T: Float>(f: &Forward<'_, T>, dout: &[T], span: &Span, head: usize, heads: Heads) -> [Vec<T>; 3] {
    let (qw, kw, d, group) = (heads.q * heads.dim, heads.kv * heads.dim, heads.dim, heads.q / heads.kv);
    let (len, before) = (span.q_len, span.k_len - span.q_len);
    let [mut dq, mut dk, mut dv] = [len, span.k_len, span.k_len].map(|rows| vec![T::ZERO; rows * d]);
    let (qo, ko) = (span.q * qw + head * d, span.k * kw + head / group * d);
    let most = BLOCK.min(len) * span.k_len;
    let (mut p, mut ds) = (vec![T::ZERO; most], vec![T::ZERO; most]);
    let cap = heads.scores.cap.map(T::from_f64);
    for start in (0..len).step_by(BLOCK) {
        let rows = BLOCK.min(len - start);
        let low = heads.first_seen(before + start);
        let keys = before + start + rows - low;
        let (at, ko) = (qo + start * qw, ko + low * kw);
        let (qb, db) = (Mat::rows(&f.q[at..], rows, d, qw), Mat::rows(&dout[at..], rows, d, qw));
        let (kb, vb) = (Mat::rows(&f.k[ko..], keys, d, kw), Mat::rows(&f.v[ko..], keys, d, kw));
        let (p, ds) = (&mut p[..rows * keys], &mut ds[..rows * keys]);
        gemm(p, keys, qb, kb.t(), (heads.scale(), 0.0), Threads::One);
        gemm(ds, keys, db, vb.t(), (1.0, 0.0), Threads::One);
        simd(
            #[inline(always)]
            || {
                if let Some(cap) = cap {
                    soften(p, cap);
                }
                for i in 0..rows {
                    let row = at + i * qw;
                    let delta = dot(&dout[row..row + d], &f.out[row..row + d]);
                    let lse = f.lse[(span.q + start + i) * heads.q + head];
                    let (p, ds) = (&mut p[i * keys..][..keys], &mut ds[i * keys..][..keys]);
                    let seen = heads.first_seen(before + start + i) - low..before + start + i + 1 - low;
                    for hidden in [0..seen.start, seen.end..keys] {
                        p[hidden.clone()].fill(T::ZERO);
                        ds[hidden].fill(T::ZERO);
                    }
                    let (p, ds) = (&mut p[seen.clone()], &mut ds[seen]);
                    if let Some(cap) = cap {
                        for (p, ds) in p.iter().zip(ds.iter_mut()) {
                            let t = *p / cap;
                            *ds = (*ds - delta) * (T::ONE - t * t) + delta;
                        }
                    }
                    for (p, ds) in p.iter_mut().zip(ds.iter_mut()) {
                        *p = (*p - lse).exp();
                        *ds = *p * (*ds - delta);
                    }
                }
            },
        );
        let (p, ds) = (Mat::rows(p, rows, keys, keys), Mat::rows(ds, rows, keys, keys));
        gemm(&mut dv[low * d..], d, p.t(), db, (1.0, 1.0), Threads::One);
        gemm(&mut dq[start * d..], d, ds, kb, (heads.scale(), 0.0), Threads::One);
        gemm(&mut dk[low * d..], d, ds.t(), qb, (heads.scale(), 1.0), Threads::One);
    }
    [dq, dk, dv]
}
