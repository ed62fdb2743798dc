//! Attention beside the CPU's, forward and backward, over spans of every kind.

use super::{AttentionForward, Heads, Scores, Span, attention, attention_grad};
use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, TYPES, apart, bits},
};
use candle_core::{DType, Tensor};

const FORWARD: f64 = 2e-6;
const BACKWARD: f64 = 1e-5;

fn laid_out(lengths: &[usize]) -> Vec<Span> {
    let mut start = 0;
    let span = |len: &usize| {
        start += len;
        Span { q: start - len, q_len: *len, k: start - len, k_len: *len }
    };
    lengths.iter().map(span).collect()
}

fn named(spans: &[Span], heads: Heads) -> String {
    let all: Vec<String> = spans
        .iter()
        .map(|s| if s.q_len == s.k_len { s.q_len.to_string() } else { format!("{}/{}", s.q_len, s.k_len) })
        .collect();
    let Scores { scale, cap, window } = heads.scores;
    let number = |name: &str, value: Option<f64>| value.map(|x| format!(", {name} {x}"));
    let window = window.map(|window| format!(", window {window}"));
    let scores = [number("scale", scale), number("cap", cap), window].into_iter().flatten();
    format!("{}:{}x{} over {}{}", heads.q, heads.kv, heads.dim, all.join(" "), scores.collect::<String>())
}

/// Forward and backward, over as many queries and keys as the spans reach to.
fn attend(gpu: &Gpu, spans: &[Span], heads: Heads, dtype: DType) -> Result<()> {
    let t = spans.iter().map(|s| s.q + s.q_len).max().unwrap_or(0);
    let s = spans.iter().map(|s| s.k + s.k_len).max().unwrap_or(0);
    let (qw, kw) = (heads.q * heads.dim, heads.kv * heads.dim);
    // Scores up to about 8 / 3 sqrt(dim) apart, so that the softmax has something to choose.
    let (q, dout) = (gpu.random("q", &[t, qw], 2.0, dtype)?, gpu.random("dout", &[t, qw], 1.0, dtype)?);
    let (k, v) = (gpu.random("k", &[s, kw], 2.0, dtype)?, gpu.random("v", &[s, kw], 1.0, dtype)?);
    let want = attention(&q.0, &k.0, &v.0, spans, heads)?;
    let got = attention(&q.1, &k.1, &v.1, spans, heads)?;
    let shape = named(spans, heads);
    // A weight is off by as much of itself as its score is off, and scores are larger with a larger scale.
    #[allow(clippy::cast_precision_loss, reason = "heads are narrow")]
    let spread = heads.scores.scale.map_or(1.0, |scale| (scale * (heads.dim as f64).sqrt()).max(1.0));
    // In bf16 probabilities are rounded before they weigh, and scores' gradients are before they are multiplied.
    let rounded = if dtype == DType::BF16 { 1.0 / 256.0 } else { 0.0 };
    gpu.close(("attention", &shape), &got.0, &want.0, dtype, FORWARD * spread + rounded)?;
    // The log-sum-exp is in f32 and nothing that it is made of was rounded.
    gpu.say(&format!("attention lse {}", dtype.as_str()), &shape, apart(&got.1, &want.1)?, FORWARD);
    let forward = |q: &Tensor, k: &Tensor, v: &Tensor, (out, lse): (Tensor, Tensor)| {
        let [q, k, v] = [q, k, v].map(Tensor::clone);
        AttentionForward { q, k, v, out, lse }
    };
    let want = attention_grad(&forward(&q.0, &k.0, &v.0, want), &dout.0, spans, heads)?;
    let f = forward(&q.1, &k.1, &v.1, got);
    let got = attention_grad(&f, &dout.1, spans, heads)?;
    let again = attention_grad(&f, &dout.1, spans, heads)?;
    let each =
        [("dq", &got.0, &want.0, &again.0), ("dk", &got.1, &want.1, &again.1), ("dv", &got.2, &want.2, &again.2)];
    for (name, got, want, again) in each {
        gpu.close((&format!("attention_grad {name}"), &shape), got, want, dtype, BACKWARD + rounded)?;
        gpu.same(&format!("attention_grad {name} twice {}", dtype.as_str()), &shape, &bits(got)?, &bits(again)?);
    }
    Ok(())
}

/// Packed documents.
pub fn documents(gpu: &Gpu) -> Result<()> {
    let cases: [(&[usize], Heads); 11] = [
        (&[1], plain(4, 2, 64)),
        (&[1], plain(2, 2, 128)),
        (&[7, 1, 64, 65], plain(9, 3, 64)),
        (&[300, 33], plain(8, 2, 128)),
        (&[127, 129, 2], plain(8, 1, 64)),
        (&[97, 128], plain(8, 1, 128)),
        (&[5, 129, 31, 32], plain(2, 2, 80)),
        (&[17, 50], plain(3, 1, 256)),
        (&[40, 3], plain(2, 1, 20)),
        (&[256], plain(2, 2, 64)),
        (&[1024], plain(2, 1, 128)),
    ];
    for (lengths, heads) in cases {
        for dtype in TYPES {
            attend(gpu, &laid_out(lengths), heads, dtype)?;
        }
    }
    Ok(())
}

const fn span(q: usize, q_len: usize, k: usize, k_len: usize) -> Span {
    Span { q, q_len, k, k_len }
}

const fn plain(q: usize, kv: usize, dim: usize) -> Heads {
    Heads { q, kv, dim, scores: Scores { scale: None, cap: None, window: None } }
}

/// As in generation and after a shared question: new queries after keys of others.
pub fn after_other_keys(gpu: &Gpu) -> Result<()> {
    let cases = [
        (vec![span(0, 1, 0, 130), span(1, 70, 130, 200)], plain(4, 2, 64)),
        (vec![span(0, 90, 0, 90), span(90, 33, 90, 110), span(123, 5, 200, 69)], plain(3, 1, 128)),
        (vec![span(0, 64, 0, 128), span(64, 65, 128, 193)], plain(4, 1, 64)),
        // The last key of a tile is one too many for the first query of a warp.
        (vec![span(0, 40, 0, 102), span(40, 70, 102, 84)], plain(2, 1, 64)),
        (vec![span(0, 40, 0, 102), span(40, 70, 102, 84)], plain(2, 1, 128)),
        (vec![span(0, 20, 0, 150), span(20, 1, 150, 17)], plain(2, 2, 256)),
    ];
    for (spans, heads) in &cases {
        for dtype in TYPES {
            attend(gpu, spans, *heads, dtype)?;
        }
    }
    let q = gpu.random("q", &[10, 256], 2.0, DType::F32)?;
    let outside = attention(&q.1, &q.1, &q.1, &cases[0].0, cases[0].1);
    gpu.same("refused", "spans outside of the tensors", &[outside.is_err()], &[true]);
    Ok(())
}

/// Keys of no span get no gradient, before, between and behind the spans.
pub fn around_gaps(gpu: &Gpu) -> Result<()> {
    for dim in [64, 128, 80] {
        for dtype in TYPES {
            attend(gpu, &[span(0, 66, 2, 67), span(66, 9, 90, 30)], plain(4, 2, dim), dtype)?;
        }
    }
    Ok(())
}

/// Scales of their own, soft caps and windows, of which some are wider than the documents.
pub fn of_scores(gpu: &Gpu) -> Result<()> {
    let packed = laid_out(&[1, 70, 300]);
    let after = vec![span(0, 1, 0, 130), span(1, 70, 130, 200)];
    for dim in [64, 128, 256, 20] {
        for (scale, cap, window) in [
            (Some(0.2), None, None),
            (None, Some(5.0), None),
            (None, None, Some(1)),
            (None, None, Some(64)),
            (None, None, Some(1000)),
            (Some(0.05), Some(3.0), Some(33)),
        ] {
            let heads = Heads { scores: Scores { scale, cap, window }, ..plain(4, 2, dim) };
            for dtype in TYPES {
                attend(gpu, &packed, heads, dtype)?;
                attend(gpu, &after, heads, dtype)?;
            }
        }
    }
    Ok(())
}
