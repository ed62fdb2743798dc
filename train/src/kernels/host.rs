//! The kernels of `cpu/` over candle tensors in main memory, in f32 or f64.

use std::cell::Cell;

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Storage, StorageRef, Tensor, WithDType, bail};

use super::{
    Attended,
    cpu::{
        attention::{self, Heads, Span},
        cross_entropy::{self, RowLoss},
        elementwise,
        gemm::{Mat, Threads},
        norm,
        real::Real,
        rope as turning,
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

/// A tensor's elements, locked for reading.
pub struct Elements<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Elements<'a> {
    /// Of a tensor in main memory.
    pub fn of(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    fn all<T: WithDType>(&self) -> candle_core::Result<&[T]> {
        match &*self.storage {
            Storage::Cpu(storage) => storage.as_slice::<T>(),
            _ => bail!("a tensor of another device"),
        }
    }

    /// The elements in order.
    ///
    /// # Errors
    /// Another type, or a view that is not contiguous.
    pub fn slice<T: WithDType>(&self) -> candle_core::Result<&[T]> {
        match self.layout.contiguous_offsets() {
            Some((start, end)) => Ok(&self.all::<T>()?[start..end]),
            None => bail!("a kernel was given a view that is not contiguous"),
        }
    }

    fn mat<T: WithDType>(&self) -> candle_core::Result<Mat<'_, T>> {
        let ((rows, cols), stride) = (self.layout.shape().dims2()?, self.layout.stride());
        let data = &self.all::<T>()?[self.layout.start_offset()..];
        Ok(Mat { data, rows, cols, rs: stride[0], cs: stride[1] })
    }
}

struct Update<F>(&'static str, Cell<Option<F>>);

impl<F: FnOnce(&mut CpuStorage, (usize, usize)) -> candle_core::Result<()>> InplaceOp1 for Update<F> {
    fn name(&self) -> &'static str {
        self.0
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some(offsets) = layout.contiguous_offsets() else { bail!("{}: the target is not contiguous", self.0) };
        match self.1.take() {
            Some(f) => f(storage, offsets),
            None => bail!("{}: run twice", self.0),
        }
    }
}

/// Change a tensor's elements in place. What `f` reads must be other tensors.
///
/// # Errors
/// Another type or a view that is not contiguous; what `f` says.
pub fn update<T: Real>(
    tensor: &Tensor,
    name: &'static str,
    f: impl FnOnce(&mut [T]) -> candle_core::Result<()>,
) -> Result<()> {
    let change = |storage: &mut CpuStorage, (start, end): (usize, usize)| match T::elements(storage) {
        Some(elements) => f(&mut elements[start..end]),
        None => bail!("{name}: the tensors have different types"),
    };
    Ok(tensor.inplace_op1(&Update(name, Cell::new(Some(change))))?)
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
    with_real!(dst, T => update::<T>(dst, "gemm", |out| {
        super::cpu::gemm::gemm(out, n, a.mat()?, b.mat()?, (alpha, beta), Threads::All);
        Ok(())
    }))
}

pub fn add(dst: &Tensor, src: &Tensor, s: f64) -> Result<()> {
    same("add", &[dst, src])?;
    let src = Elements::of(src);
    with_real!(dst, T => update::<T>(dst, "add", |out| {
        elementwise::add(out, src.slice()?, s);
        Ok(())
    }))
}

pub fn add_bias(dst: &Tensor, bias: &Tensor) -> Result<()> {
    same("bias", &[bias, &dst.narrow(0, 0, 1)?])?;
    let bias = Elements::of(bias);
    with_real!(dst, T => update::<T>(dst, "bias", |out| {
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
    with_real!(dx, T => update::<T>(dx, "rms_norm_grad", |dx| {
        norm::rms_norm_grad(dx, x.slice()?, w.slice()?, dy.slice()?, eps);
        Ok(())
    }))
}

pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, heads: usize, dim: usize, back: bool) -> Result<()> {
    same("rope", &[cos, sin])?;
    let (cos, sin) = (Elements::of(cos), Elements::of(sin));
    with_real!(x, T => update::<T>(x, "rope", |x| {
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
    with_real!(dst, T => update::<T>(dst, "dropout", |out| {
        elementwise::dropout(out, x.slice()?, key, p, add);
        Ok(())
    }))
}

pub fn noise(x: &Tensor, magnitude: &[f32], key: u64) -> Result<()> {
    with_real!(x, T => update::<T>(x, "noise", |x| {
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
    with_real!(logits, T => update::<T>(logits, "cross_entropy", |logits| {
        losses = cross_entropy::cross_entropy(logits, targets, scale);
        Ok(())
    }))?;
    Ok(losses)
}
