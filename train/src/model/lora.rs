//! LoRA (Hu et al. 2021, arXiv 2106.09685): a linear layer y = x W^T + b gets s (drop(x) A^T) B^T more, with A [r, in] and
//! B [out, r]. Backward: dB += s dy^T (drop(x) A^T), u = s dy B, dA += u^T drop(x), dx += drop'(u A).

pub mod pissa;

use candle_core::{DType, Device, Tensor};

use super::context::{Mode, Pass};
use crate::{
    error::{Error, Result},
    kernels::{self, Output},
    optim::Param,
    random,
    recipe::{AdapterType, Init, Lora},
};

/// The adapter of one linear layer.
#[derive(Clone, Debug)]
pub struct LoraLayer {
    /// [r, in]
    pub a: Param,
    /// [out, r]
    pub b: Param,
    /// s: alpha / r, or alpha / sqrt(r).
    pub scale: f64,
    /// Share of inputs set to zero in training.
    pub dropout: f64,
    /// A and B that training began with, where the reference model is not the one without an adapter.
    pub reference: Option<(Tensor, Tensor)>,
}

impl LoraLayer {
    /// An adapter of the layer called `name` with these values of A [r, in] and B [out, r], as the recipe wants it
    /// trained; A and B are copied.
    pub fn new(name: &str, a: &Tensor, b: &Tensor, recipe: &Lora, compute: DType) -> Result<Self> {
        let dtype = match (recipe.dtype, compute) {
            // Gradients are checked in f64.
            (_, DType::F64) => DType::F64,
            (AdapterType::F32, _) => DType::F32,
            (AdapterType::Bf16, _) => DType::BF16,
        };
        let param = |half: &str, value: &Tensor| -> Result<Param> {
            let grad = if compute == DType::F64 { DType::F64 } else { DType::F32 };
            Ok(Param {
                name: format!("{name}.{half}"),
                value: kernels::cast(value, dtype)?.force_contiguous()?,
                grad: Tensor::zeros(value.shape(), grad, value.device())?,
                lr_scale: 1.0,
                decays: true,
            })
        };
        let (scale, dropout) = (recipe.scale(), recipe.dropout);
        Ok(Self { a: param("lora_A", a)?, b: param("lora_B", b)?, scale, dropout, reference: None })
    }

    /// Add s (drop(x) A^T) B^T to `y` [T, out]. Gives drop(x) A^T [T, r], which the backward pass needs; nothing if the
    /// mode has no adapter.
    pub fn forward_(&self, y: &Tensor, x: &Tensor, name: &str, mode: Mode) -> Result<Option<Tensor>> {
        let (a, b) = match mode {
            Mode::Reference => match &self.reference {
                Some((a, b)) => (a, b),
                None => return Ok(None),
            },
            Mode::Eval | Mode::Train(_) => (&self.a.value, &self.b.value),
        };
        let xa = kernels::linear(&self.dropped(x, name, mode.pass())?, &kernels::cast(a, x.dtype())?)?;
        kernels::gemm_(y, &xa, &kernels::cast(b, x.dtype())?.t()?, self.scale, 1.0)?;
        Ok(Some(xa))
    }

    /// Given `dy` [T, out], add to the gradients of A and B and, if it is given, to `dx` [T, in].
    pub fn backward(
        &self,
        x: &Tensor,
        xa: &Tensor,
        dy: &Tensor,
        dx: Option<&Tensor>,
        name: &str,
        pass: Option<Pass>,
    ) -> Result<()> {
        let u = kernels::empty(xa.shape(), xa.dtype(), xa.device())?;
        kernels::gemm_(&u, dy, &kernels::cast(&self.b.value, dy.dtype())?, self.scale, 0.0)?;
        kernels::gemm_(&self.b.grad, &dy.t()?, xa, self.scale, 1.0)?;
        kernels::gemm_(&self.a.grad, &u.t()?, &self.dropped(x, name, pass)?, 1.0, 1.0)?;
        let Some(dx) = dx else { return Ok(()) };
        let a = kernels::cast(&self.a.value, dy.dtype())?;
        match self.dropout_key(name, pass) {
            None => kernels::gemm_(dx, &u, &a, 1.0, 1.0),
            Some(key) => {
                let ua = kernels::empty(dx.shape(), dx.dtype(), dx.device())?;
                kernels::gemm_(&ua, &u, &a, 1.0, 0.0)?;
                kernels::dropout_(dx, &ua, key, self.dropout, Output::Accumulate)
            }
        }
    }

    /// drop(x): with its mask in a training pass, `x` itself otherwise.
    fn dropped(&self, x: &Tensor, name: &str, pass: Option<Pass>) -> Result<Tensor> {
        match self.dropout_key(name, pass) {
            None => Ok(x.clone()),
            Some(key) => {
                let dropped = kernels::empty(x.shape(), x.dtype(), x.device())?;
                kernels::dropout_(&dropped, x, key, self.dropout, Output::Overwrite)?;
                Ok(dropped)
            }
        }
    }

    fn dropout_key(&self, name: &str, pass: Option<Pass>) -> Option<u64> {
        pass.filter(|_| self.dropout > 0.0).map(|p| p.key(&format!("dropout/{name}")))
    }
}

/// How the adapter of one layer is initialised.
pub struct LoraInit {
    /// [r, in]
    pub a: Tensor,
    /// [out, r]
    pub b: Tensor,
    /// What the frozen weight [out, in] becomes, if it does not stay as it is.
    pub residual: Option<Tensor>,
}

/// The initial adapter on `weight` [out, in]: A uniform in plus or minus 1 / sqrt(in), which is Kaiming's with a = sqrt 5,
/// and B zero; or PiSSA's.
///
/// # Errors
/// For PiSSA, a layer narrower than the rank.
pub fn init(module: &str, weight: &Tensor, recipe: &Lora, seed: u64) -> Result<LoraInit> {
    let (out, input) = weight.dims2()?;
    let key = random::key(seed, &format!("lora/{module}"));
    if recipe.init == Init::Pissa {
        if recipe.r > out.min(input) {
            let message = format!("{module} is {out} by {input}: PiSSA has no {} components to start from", recipe.r);
            return Err(Error::Other(message));
        }
        let pissa::Split { a, b, residual } = pissa::split(weight, recipe.r, recipe.scale(), key)?;
        return Ok(LoraInit { a, b, residual: Some(residual) });
    }
    #[allow(clippy::cast_precision_loss, reason = "widths are small")]
    let bound = 1.0 / (input as f32).sqrt();
    let a = Tensor::from_vec(random::uniform_vec(key, recipe.r * input, bound), (recipe.r, input), &Device::Cpu)?;
    Ok(LoraInit { a, b: Tensor::zeros((out, recipe.r), DType::F32, &Device::Cpu)?, residual: None })
}
