//! The kernels of `cpu/` over candle tensors in main memory, in f32 or f64.

use candle_core::{DType, Device, Tensor, WithDType};

use super::{
    Attended,
    cpu::{
        attention::{self, Heads, Span},
        cross_entropy::{self, RowLoss},
        elementwise,
        gemm::Threads,
        norm,
        real::Real,
        rope as turning,
        stored::{Elements, update},
    },
};
use crate::error::Result;

/// Run `$body` with `$t` the type of the tensor's elements.
macro_rules! with_real {
    ($tensor:expr, $t:ident => $body:expr) => {
        match $tensor.dtype() {
            DType::F32 => {
                type $t = f32;
                $body
            }
            DType::F64 => {
                type $t = f64;
                $body
            }
            other => Err(candle_core::Error::Msg(format!("CPU kernels compute in f32 or f64, not {other:?}")).into()),
        }
    };
}

fn change<T: Real>(tensor: &Tensor, f: impl FnOnce(&mut [T]) -> candle_core::Result<()>) -> Result<()> {
    Ok(update(tensor, f)?)
}

fn tensor<T: WithDType>(elements: Vec<T>, shape: impl Into<candle_core::Shape>) -> Result<Tensor> {
    Ok(Tensor::from_vec(elements, shape.into(), &Device::Cpu)?)
}

fn same(name: &str, tensors: &[&Tensor]) -> Result<()> {
    match tensors.iter().find(|t| t.elem_count() != tensors[0].elem_count()) {
        Some(t) => {
            Err(candle_core::Error::Msg(format!("{name}: {:?} beside {:?}", t.shape(), tensors[0].shape())).into())
        }
        None => Ok(()),
    }
}

pub fn gemm(dst: &Tensor, a: &Tensor, b: &Tensor, alpha: f64, beta: f64) -> Result<()> {
    let ((m, n), (am, ak), (bk, bn)) = (dst.dims2()?, a.dims2()?, b.dims2()?);
    if (am, bk, bn) != (m, ak, n) {
        return Err(candle_core::Error::Msg(format!("gemm: {am}x{ak} by {bk}x{bn} into {m}x{n}")).into());
    }
    let (a, b) = (Elements::of(a), Elements::of(b));
    with_real!(dst, T => change::<T>(dst, |out| {
        super::cpu::gemm::gemm(out, n, a.mat()?, b.mat()?, (alpha, beta), Threads::All);
        Ok(())
    }))
}

pub fn add(dst: &Tensor, src: &Tensor, s: f64) -> Result<()> {
    same("add", &[dst, src])?;
    let src = Elements::of(src);
    with_real!(dst, T => change::<T>(dst, |out| {
        elementwise::add(out, src.slice()?, s);
        Ok(())
    }))
}

pub fn add_bias(dst: &Tensor, bias: &Tensor) -> Result<()> {
    same("bias", &[bias, &dst.narrow(0, 0, 1)?])?;
    let bias = Elements::of(bias);
    with_real!(dst, T => change::<T>(dst, |out| {
        elementwise::add_bias(out, bias.slice()?);
        Ok(())
    }))
}

pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
    let (xs, ws) = (Elements::of(x), Elements::of(w));
    with_real!(x, T => tensor(norm::rms_norm::<T>(xs.slice()?, ws.slice()?, eps), x.shape()))
}

pub fn rms_norm_grad(dx: &Tensor, x: &Tensor, w: &Tensor, dy: &Tensor, eps: f64) -> Result<()> {
    same("rms_norm_grad", &[dx, x, dy])?;
    let (x, w, dy) = (Elements::of(x), Elements::of(w), Elements::of(dy));
    with_real!(dx, T => change::<T>(dx, |dx| {
        norm::rms_norm_grad(dx, x.slice()?, w.slice()?, dy.slice()?, eps);
        Ok(())
    }))
}

pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, heads: usize, dim: usize, back: bool) -> Result<()> {
    same("rope", &[cos, sin])?;
    let (cos, sin) = (Elements::of(cos), Elements::of(sin));
    with_real!(x, T => change::<T>(x, |x| {
        turning::rope(x, cos.slice()?, sin.slice()?, heads, dim, back);
        Ok(())
    }))
}

pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    same("swiglu", &[gate, up])?;
    let (g, u) = (Elements::of(gate), Elements::of(up));
    with_real!(gate, T => tensor(elementwise::swiglu::<T>(g.slice()?, u.slice()?), gate.shape()))
}

pub fn swiglu_grad(gate: &Tensor, up: &Tensor, d: &Tensor) -> Result<(Tensor, Tensor)> {
    same("swiglu_grad", &[gate, up, d])?;
    let (g, u, d) = (Elements::of(gate), Elements::of(up), Elements::of(d));
    with_real!(gate, T => {
        let (dg, du) = elementwise::swiglu_grad::<T>(g.slice()?, u.slice()?, d.slice()?);
        Ok((tensor(dg, gate.shape())?, tensor(du, gate.shape())?))
    })
}

pub fn dropout(dst: &Tensor, x: &Tensor, key: u64, p: f64, add: bool) -> Result<()> {
    same("dropout", &[dst, x])?;
    let x = Elements::of(x);
    with_real!(dst, T => change::<T>(dst, |out| {
        elementwise::dropout(out, x.slice()?, key, p, add);
        Ok(())
    }))
}

pub fn noise(x: &Tensor, magnitude: &[f32], key: u64) -> Result<()> {
    with_real!(x, T => change::<T>(x, |x| {
        elementwise::noise(x, magnitude, key);
        Ok(())
    }))
}

pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, spans: &[Span], heads: Heads) -> Result<(Tensor, Tensor)> {
    same("attention", &[k, v])?;
    let (qs, ks, vs) = (Elements::of(q), Elements::of(k), Elements::of(v));
    with_real!(q, T => {
        let (out, lse) = attention::attention::<T>(qs.slice()?, ks.slice()?, vs.slice()?, spans, heads);
        Ok((tensor(out, q.shape())?, tensor(lse, (q.dim(0)?, heads.q))?))
    })
}

pub fn attention_grad(f: &Attended, dout: &Tensor, spans: &[Span], heads: Heads) -> Result<(Tensor, Tensor, Tensor)> {
    same("attention_grad", &[&f.q, &f.out, dout])?;
    let [q, k, v, out, lse] = [&f.q, &f.k, &f.v, &f.out, &f.lse].map(Elements::of);
    let d = Elements::of(dout);
    with_real!(dout, T => {
        let forward = attention::Forward::<T> {
            q: q.slice()?, k: k.slice()?, v: v.slice()?, out: out.slice()?, lse: lse.slice()?,
        };
        let (dq, dk, dv) = attention::attention_grad(&forward, d.slice()?, spans, heads);
        Ok((tensor(dq, f.q.shape())?, tensor(dk, f.k.shape())?, tensor(dv, f.v.shape())?))
    })
}

pub fn cross_entropy(logits: &Tensor, targets: &[u32], scale: f64) -> Result<Vec<RowLoss>> {
    let (rows, vocab) = logits.dims2()?;
    if rows != targets.len() {
        return Err(candle_core::Error::Msg(format!("{rows} rows of logits for {} targets", targets.len())).into());
    }
    if let Some(target) = targets.iter().find(|t| **t as usize >= vocab) {
        return Err(candle_core::Error::Msg(format!("target {target} is outside the vocabulary of {vocab}")).into());
    }
    let mut losses = Vec::new();
    with_real!(logits, T => change::<T>(logits, |logits| {
        losses = cross_entropy::cross_entropy(logits, targets, scale);
        Ok(())
    }))?;
    Ok(losses)
}
