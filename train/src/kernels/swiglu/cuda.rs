//! swiglu.cu over tensors.

use candle_core::Tensor;

use super::cpu::Swiglu;
use crate::{
    error::Result,
    kernels::{
        gated::cuda,
        launch::{Module, module},
    },
};

const MODULE: Module = module!("swiglu");

pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    cuda::forward::<Swiglu>(&MODULE, gate, up)
}

pub fn swiglu_grad_(gate: &Tensor, up: &Tensor, d: &Tensor) -> Result<()> {
    cuda::backward_::<Swiglu>(&MODULE, gate, up, d)
}
