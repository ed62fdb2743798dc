//! N products of one input, each a linear layer of its own, or all of them the rows of one (Phi-3).

use candle_core::Tensor;

use super::{
    context::{Mode, Pass},
    linear::Linear,
};
use crate::{
    error::{Error, Result},
    kernels::{self, Output},
};

/// N products of one input.
#[derive(Clone, Debug)]
pub enum Projections<const N: usize> {
    /// A layer each.
    Apart([Linear; N]),
    /// One layer, whose outputs are the N end to end, of these widths.
    Fused(Box<[Linear; 1]>, [usize; N]),
}

impl<const N: usize> Projections<N> {
    /// `x` [T, in] -> [T, out] each, and what every layer's adapter saves.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<([Tensor; N], Vec<Option<Tensor>>)> {
        let made = self.linears().iter().map(|linear| linear.forward(x, mode)).collect::<Result<Vec<_>>>()?;
        let (mut out, saved): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        if let (Self::Fused(_, widths), [whole]) = (self, &out[..]) {
            let mut start = 0;
            let mut part = |width: &usize| -> Result<Tensor> {
                start += width;
                kernels::take_columns(whole, start - width, *width)
            };
            out = widths.iter().map(&mut part).collect::<Result<Vec<_>>>()?;
        }
        let found = out.len();
        let out = out.try_into().map_err(|_| Error::Other(format!("{found} projections instead of {N}")))?;
        Ok((out, saved))
    }

    /// Given the gradient of each output, add to the gradients of what is trained and, if it is given, put into `dx` [T, in] that of
    /// the input. `x` is
    /// the forward pass's input, `saved` what it saved.
    pub fn backward(
        &self,
        x: &Tensor,
        saved: &[Option<Tensor>],
        dy: [Tensor; N],
        dx: Option<&Tensor>,
        pass: Option<Pass>,
    ) -> Result<()> {
        let whole: Vec<Tensor> = match self {
            Self::Apart(_) => dy.into(),
            Self::Fused(_, widths) => vec![beside(&dy, widths)?],
        };
        let mut output = Output::Overwrite;
        for ((linear, xa), dy) in self.linears().iter().zip(saved).zip(&whole) {
            linear.backward(|| Ok(x.clone()), xa.as_ref(), dy, dx.map(|dx| (dx, output)), pass)?;
            output = Output::Accumulate;
        }
        Ok(())
    }

    /// The layers.
    pub fn linears(&self) -> &[Linear] {
        match self {
            Self::Apart(linears) => linears,
            Self::Fused(linear, _) => &linear[..],
        }
    }

    /// The same, to be changed.
    pub fn linears_mut(&mut self) -> &mut [Linear] {
        match self {
            Self::Apart(linears) => linears,
            Self::Fused(linear, _) => &mut linear[..],
        }
    }
}

/// `parts` [T, width] of these `widths` as columns of one matrix, [T, sum of them].
fn beside(parts: &[Tensor], widths: &[usize]) -> Result<Tensor> {
    let whole = kernels::empty((parts[0].dim(0)?, widths.iter().sum()), parts[0].dtype(), parts[0].device())?;
    let mut start = 0;
    for (part, width) in parts.iter().zip(widths) {
        kernels::put_columns_(&whole, start, part)?;
        start += width;
    }
    Ok(whole)
}
