//! geglu.cu over tensors.

use candle_core::Tensor;

use super::cpu::Geglu;
use crate::{
    error::Result,
    kernels::{
        gated::cuda,
        launch::{Module, module},
    },
};

const MODULE: Module = module!("geglu");

pub fn geglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    cuda::forward::<Geglu>(&MODULE, gate, up)
}

pub fn geglu_grad_(gate: &Tensor, up: &Tensor, d: &Tensor) -> Result<()> {
    cuda::backward_::<Geglu>(&MODULE, gate, up, d)
}
