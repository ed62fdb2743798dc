//! stand-in
use candle_core::Tensor;
#[derive(Clone, Debug)]
pub struct Param {
    pub name: String,
    pub value: Tensor,
    pub grad: Tensor,
    pub lr_scale: f64,
}
