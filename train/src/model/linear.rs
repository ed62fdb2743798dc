//! A linear layer, frozen with a low-rank adapter or trained whole: y = x W^T + b, plus what the adapter adds ([`super::lora`]).
//! Backward: dx = dy W; W and b get their gradients dy^T x and the sum of dy only where they are trained.

use candle_core::{DType, Tensor};

use super::{
    context::{Mode, Pass},
    lora::{
        LoraLayer,
        dora::{Dora, Lengths},
    },
    maybe_trained::MaybeTrained,
    weight::Weight,
};
use crate::{
    error::Result,
    kernels::{self, Output, Products},
    optim::Param,
};

/// A linear layer.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Hugging Face name without `.weight`, e.g. `model.layers.0.self_attn.q_proj`.
    pub name: String,
    /// [out, in]
    pub weight: Weight,
    /// [out]
    pub bias: Option<MaybeTrained>,
    /// The adapter, if this layer has one.
    pub lora: Option<LoraLayer>,
    /// How products with the weight are computed; the adapter's are exact.
    pub products: Products,
}

impl Linear {
    /// What is trained of it: weight and bias, or A, B and lengths of rows.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        let whole = self.weight.param().into_iter().chain(self.bias.as_ref().and_then(MaybeTrained::param));
        whole.chain(self.lora.iter().flat_map(LoraLayer::params))
    }

    /// The same, which training does not change, with or without the adapter; see [`super::llama::Llama::frozen`].
    pub fn frozen(&self, dtype: DType, adapter: bool) -> Result<Self> {
        Ok(Self {
            name: self.name.clone(),
            weight: self.weight.frozen(dtype)?,
            bias: self.bias.as_ref().map(|bias| bias.frozen(dtype)).transpose()?,
            lora: self.lora.as_ref().filter(|_| adapter).map(LoraLayer::copy).transpose()?,
            products: self.products,
        })
    }

    /// `x` [T, in] -> y [T, out], and what an adapter saves for the backward pass, [T, r]. The input itself is the
    /// caller's to save or to make again.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<(Tensor, Option<Tensor>)> {
        let y = kernels::empty((x.dim(0)?, self.weight.shape().0), x.dtype(), x.device())?;
        let adapter =
            |output| self.lora.as_ref().map(|lora| lora.forward_(&y, x, &self.name, mode, output)).transpose();
        if let Some((lora, dora)) = self.lora.as_ref().and_then(|lora| Some((lora, lora.dora.as_ref()?))) {
            return self.forward_dora(x, (lora, dora), &y, mode);
        }
        if let Some(lora) = self.lora.as_ref().filter(|_| in_one_go(x, mode)) {
            let xa = lora.project(x, &self.name, mode)?;
            let w = self.weight.dense(x.dtype())?;
            self.products.gemm_two_(&y, (x, &w.t()?, 1.0), (&xa, &lora.b_for(x)?.t()?, lora.scale), 0.0)?;
            if let Some(bias) = &self.bias {
                kernels::add_bias_(&y, &bias.to_dtype(x.dtype())?)?;
            }
            return Ok((y, Some(xa)));
        }
        let first = if adapter_first(x) { adapter(Output::Overwrite)? } else { None };
        let output = if first.is_some() { Output::Accumulate } else { Output::Overwrite };
        self.product_(&y, x, mode, output)?;
        if let Some(bias) = &self.bias {
            kernels::add_bias_(&y, &bias.to_dtype(x.dtype())?)?;
        }
        let xa = if adapter_first(x) { first } else { adapter(Output::Accumulate)? };
        Ok((y, xa))
    }

    /// Put x W^T into `y` [T, out].
    fn product_(&self, y: &Tensor, x: &Tensor, mode: Mode, output: Output) -> Result<()> {
        match (mode, &self.weight) {
            (Mode::Tokens, Weight::Dense(weight)) => kernels::rows_(y, x, weight.tensor(), 1.0, output.beta()),
            (Mode::Tokens, Weight::Nf4(_)) => kernels::rows_(y, x, &self.weight.dense(x.dtype())?, 1.0, output.beta()),
            _ => self.products.gemm_(y, x, &self.weight.dense(x.dtype())?.t()?, 1.0, output.beta()),
        }
    }

    /// The same with lengths of rows that are trained.
    fn forward_dora(
        &self,
        x: &Tensor,
        (lora, dora): (&LoraLayer, &Dora),
        y: &Tensor,
        mode: Mode,
    ) -> Result<(Tensor, Option<Tensor>)> {
        self.product_(y, x, mode, Output::Overwrite)?;
        let w = self.weight.dense(x.dtype())?;
        let xa = lora.forward_(y, x, &self.name, mode, Output::Accumulate)?;
        let y = y.broadcast_mul(&dora.lengths(&w, lora)?.gain)?;
        if let Some(bias) = &self.bias {
            kernels::add_bias_(&y, &bias.to_dtype(x.dtype())?)?;
        }
        Ok((y, Some(xa)))
    }

    /// Add to the gradient of the lengths of rows, given the input again.
    fn backward_dora(
        &self,
        (lora, dora): (&LoraLayer, &Dora),
        (x, xa, dy): (&Tensor, &Tensor, &Tensor),
        norm: &Tensor,
    ) -> Result<()> {
        let z = kernels::empty(dy.shape(), dy.dtype(), dy.device())?;
        self.products.gemm_(&z, x, &self.weight.dense(x.dtype())?.t()?, 1.0, 0.0)?;
        kernels::gemm_(&z, xa, &kernels::cast(&lora.b.value, xa.dtype())?.t()?, lora.scale, 1.0)?;
        dora.backward(dy, &z, norm)
    }

    /// Given `dy` [T, out], add to the gradients of what is trained and, if it is given, put into `dx` [T, in] that of the
    /// input. `x` gives the forward pass's input; it is asked when `dx` is there, and only if something is trained. `xa` is
    /// what the forward pass saved.
    pub fn backward(
        &self,
        x: impl FnOnce() -> Result<Tensor>,
        xa: Option<&Tensor>,
        dy: &Tensor,
        dx: Option<(&Tensor, Output)>,
        pass: Option<Pass>,
    ) -> Result<()> {
        let adapter = self.lora.as_ref().zip(xa);
        let own = dy;
        let lengths = match adapter.and_then(|(lora, _)| Some((lora, lora.dora.as_ref()?))) {
            Some((lora, dora)) => Some(dora.lengths(&self.weight.dense(dy.dtype())?, lora)?),
            None => None,
        };
        // All but the bias is behind the lengths of rows.
        let dy = &match &lengths {
            Some(Lengths { gain, .. }) => dy.broadcast_mul(gain)?,
            None => dy.clone(),
        };
        let u = adapter.map(|(lora, xa)| lora.backward_b(xa, dy)).transpose()?;
        if let Some((dx, output)) = dx {
            let base =
                |output: Output| self.products.gemm_(dx, dy, &self.weight.dense(dy.dtype())?, 1.0, output.beta());
            let share = |output| match adapter.zip(u.as_ref()) {
                Some(((lora, _), u)) => lora.input_grad(dx, u, &self.name, pass, output),
                None => Ok(()),
            };
            let one_go = match adapter.zip(u.as_ref()).filter(|_| !adapter_first(dy)) {
                Some(((lora, _), u)) => lora.undropped_a(u, pass)?.map(|a| (u, a)),
                None => None,
            };
            if let Some((u, a)) = one_go {
                let w = self.weight.dense(dy.dtype())?;
                self.products.gemm_two_(dx, (dy, &w, 1.0), (u, &a, 1.0), output.beta())?;
            } else if u.is_some() && adapter_first(dy) {
                share(output)?;
                base(Output::Accumulate)?;
            } else {
                base(output)?;
                share(Output::Accumulate)?;
            }
        }
        if let Some(bias) = &self.bias {
            bias.add_row_sum_grad(own)?;
        }
        if self.weight.param().is_none() && u.is_none() {
            return Ok(());
        }
        let x = x()?;
        if let Some(param) = self.weight.param() {
            self.products.gemm_(&param.grad, &dy.t()?, &x, 1.0, 1.0)?;
        }
        if let (Some((lora, xa)), Some(Lengths { norm, .. })) = (adapter, &lengths)
            && let Some(dora) = &lora.dora
        {
            self.backward_dora((lora, dora), (&x, xa, own), norm)?;
        }
        match adapter.zip(u) {
            Some(((lora, _), u)) => lora.backward_a(&x, &u, &self.name, pass),
            None => Ok(()),
        }
    }
}

/// The fewest columns of a product with a weight or an adapter of these layers.
pub fn narrowest<'a>(linears: impl Iterator<Item = &'a Linear>) -> usize {
    let widths =
        linears.flat_map(|l| [Some(l.weight.shape().0), l.lora.as_ref().and_then(|lora| lora.a.value.dim(0).ok())]);
    widths.flatten().min().unwrap_or(usize::MAX)
}

/// Whether what an adapter adds is added to each part of the layer's own product as that is made.
fn in_one_go(x: &Tensor, mode: Mode) -> bool {
    x.device().is_cpu() && mode != Mode::Tokens
}

/// Whether what an adapter adds is written before the layer's own product. The last of two products that are added up reads
/// what the first one wrote. A product of width r is bound by what it reads and writes; the layer's own is bound by arithmetic,
/// so that on a GPU the reading costs nothing there. The CPU's caches make no difference of it: it keeps the order of PEFT.
fn adapter_first(x: &Tensor) -> bool {
    !x.device().is_cpu()
}
