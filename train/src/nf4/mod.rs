//! stand-in
use candle_core::{DType, Tensor};
#[derive(Clone, Debug)]
pub struct Nf4;
impl Nf4 {
    pub fn dequantize(&self, _d: DType) -> crate::Result<Tensor> {
        unimplemented!()
    }
    pub fn quantize(_t: &candle_core::Tensor, _d: bool) -> crate::Result<Self> {
        unimplemented!()
    }
    pub fn shape(&self) -> (usize, usize) {
        (0, 0)
    }
    pub fn bytes(&self) -> usize {
        0
    }
}
