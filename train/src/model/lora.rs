//! LoRA (Hu et al. 2021, arXiv 2106.09685): a linear layer y = x W^T + b gets s (drop(x) A^T) B^T more, with A [r, in] and
//! B [out, r]. Backward: dB += s dy^T (drop(x) A^T), u = s dy B, dA += u^T drop(x), dx += drop'(u A).

pub mod dora;
pub mod pissa;

use candle_core::{DType, Device, Tensor};

use self::dora::Dora;
use super::context::{Mode, Pass};
use crate::{
    error::{Error, Result},
    kernels::{self, Mask, Output},
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
    /// Lengths of rows that are trained, if they are.
    pub dora: Option<Dora>,
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
        Ok(Self { a: param("lora_A", a)?, b: param("lora_B", b)?, scale, dropout, dora: None })
    }

    /// What is trained of it.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        [&self.a, &self.b].into_iter().chain(self.dora.iter().map(|dora| &dora.magnitude))
    }

    /// The same in tensors of its own, which training does not change; the gradients are shared.
    pub fn copy(&self) -> Result<Self> {
        let copy = |param: &Param| Ok::<_, Error>(Param { value: param.value.copy()?, ..param.clone() });
        let dora = self.dora.as_ref().map(Dora::copy).transpose()?;
        Ok(Self { a: copy(&self.a)?, b: copy(&self.b)?, dora, ..*self })
    }

    /// Put s (drop(x) A^T) B^T into `y` [T, out]. Gives drop(x) A^T [T, r], which the backward pass needs.
    pub fn forward_(&self, y: &Tensor, x: &Tensor, name: &str, mode: Mode, output: Output) -> Result<Tensor> {
        let xa = self.project(x, name, mode)?;
        if mode == Mode::Tokens {
            kernels::rows_(y, &xa, &self.b.value, self.scale, output.beta())?;
        } else {
            kernels::gemm_(y, &xa, &self.b_for(x)?.t()?, self.scale, output.beta())?;
        }
        Ok(xa)
    }

    /// B as it is multiplied with `x`.
    pub fn b_for(&self, x: &Tensor) -> Result<Tensor> {
        kernels::cast(&self.b.value, x.dtype())
    }

    /// drop(x) A^T [T, r].
    pub fn project(&self, x: &Tensor, name: &str, mode: Mode) -> Result<Tensor> {
        let a = &self.a.value;
        if mode == Mode::Tokens {
            let xa = kernels::empty((x.dim(0)?, a.dim(0)?), x.dtype(), x.device())?;
            kernels::rows_(&xa, x, a, 1.0, 0.0)?;
            return Ok(xa);
        }
        let a = kernels::cast(a, x.dtype())?;
        match self.mask(name, mode.pass()) {
            None => kernels::linear(x, &a),
            Some(mask) => kernels::masked_linear(x, &a, mask),
        }
    }

    /// Given `dy` [T, out] and what the forward pass gave, add to the gradient of B; gives u [T, r].
    pub fn backward_b(&self, xa: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let u = kernels::empty(xa.shape(), xa.dtype(), xa.device())?;
        kernels::gemm_(&u, dy, &kernels::cast(&self.b.value, dy.dtype())?, self.scale, 0.0)?;
        kernels::gemm_(&self.b.grad, &dy.t()?, xa, self.scale, 1.0)?;
        Ok(u)
    }

    /// Put the adapter's share of the input's gradient into `dx` [T, in].
    pub fn input_grad(&self, dx: &Tensor, u: &Tensor, name: &str, pass: Option<Pass>, output: Output) -> Result<()> {
        let a = kernels::cast(&self.a.value, u.dtype())?;
        match self.mask(name, pass) {
            None => kernels::gemm_(dx, u, &a, 1.0, output.beta()),
            Some(mask) => kernels::masked_product_(dx, u, &a, mask, output),
        }
    }

    /// What is added up to the adapter's share of the input's gradient, u A, where nothing was dropped.
    pub fn undropped_a(&self, u: &Tensor, pass: Option<Pass>) -> Result<Option<Tensor>> {
        Ok(if self.mask("", pass).is_none() { Some(kernels::cast(&self.a.value, u.dtype())?) } else { None })
    }

    /// Add to the gradient of A, given the forward pass's input `x` [T, in].
    pub fn backward_a(&self, x: &Tensor, u: &Tensor, name: &str, pass: Option<Pass>) -> Result<()> {
        match self.mask(name, pass) {
            None => kernels::gemm_(&self.a.grad, &u.t()?, x, 1.0, 1.0),
            Some(mask) => kernels::masked_grad_(&self.a.grad, u, x, mask),
        }
    }

    /// What drop is, in a training pass.
    fn mask(&self, name: &str, pass: Option<Pass>) -> Option<Mask> {
        let pass = pass.filter(|_| self.dropout > 0.0)?;
        Some(Mask { key: pass.key(&format!("dropout/{name}")), p: self.dropout })
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

/// What a new A is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Uniform in plus or minus 1 / sqrt(in), which is Kaiming's with a = sqrt 5.
    Uniform,
    /// The normal distribution, as PEFT begins the adapter of an embedding.
    Normal,
}

/// The initial adapter on `weight` [out, in]: A as `start` says and B zero; or PiSSA's.
///
/// # Errors
/// For PiSSA, a layer narrower than the rank.
pub fn init(module: &str, weight: &Tensor, (recipe, start): (&Lora, Start), seed: u64) -> Result<LoraInit> {
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
    let values = match start {
        Start::Uniform => random::uniform_vec(key, recipe.r * input, bound),
        Start::Normal => random::normal_vec(key, recipe.r * input, 1.0),
    };
    let a = Tensor::from_vec(values, (recipe.r, input), &Device::Cpu)?;
    Ok(LoraInit { a, b: Tensor::zeros((out, recipe.r), DType::F32, &Device::Cpu)?, residual: None })
}
