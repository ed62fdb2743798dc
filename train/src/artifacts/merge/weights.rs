//! The weights that a merge starts from, W, and those it ends with, W + s B A.

use candle_core::{DType, Device, Tensor};

use crate::{
    error::{Error, Result},
    formats::{model_files::ModelFiles, peft::AdapterFile},
    kernels::{
        gemm::cpu::{Threads, gemm},
        matrix::Mat,
    },
    model::{config::is_block_linear, load::Source},
    nf4::Nf4,
};

/// What of the base an adapter is added to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// The weights as they are stored; those of a 4-bit checkpoint dequantised.
    #[default]
    Stored,
    /// What training saw of them when it held them in NF4: quantised and dequantised again.
    Nf4 {
        /// With the block scales quantised too.
        double_quant: bool,
    },
}

/// The base: linear layers of the blocks as [`Precision`] says, every other tensor as it is stored.
pub struct Base<'a> {
    /// The model.
    pub files: &'a ModelFiles,
    /// Of its linear layers.
    pub precision: Precision,
}

impl Source for Base<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let [out, input] = *shape else { return self.files.load(name, shape) };
        if !is_block_linear(name) {
            return self.files.load(name, shape);
        }
        if let Some(packed) = self.files.packed(name, (out, input))? {
            return packed.dequantize(DType::F32);
        }
        let whole = self.files.load(name, shape)?;
        match self.precision {
            Precision::Stored => Ok(whole),
            Precision::Nf4 { double_quant } => Nf4::quantize(&whole, double_quant.into())
                .map_err(|e| Error::tensor(self.files.path(), name, e.to_string()))?
                .dequantize(DType::F32),
        }
    }
}

/// The base with the modules that an adapter saves whole, and nothing added.
pub struct Replaced<'a> {
    /// The base.
    pub base: &'a Base<'a>,
    /// What is saved.
    pub adapter: &'a AdapterFile,
}

impl Source for Replaced<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let module = self.adapter.module_of(name, self.base.files.config());
        match self.adapter.saved.get(module) {
            Some(saved) if saved.dims() == shape => Ok(saved.clone()),
            Some(saved) => {
                let why = format!("the adapter has {:?} of it, where {shape:?} is expected", saved.dims());
                Err(Error::tensor(self.base.files.path(), name, why))
            }
            None => self.base.tensor(name, shape),
        }
    }
}

/// The same with the adapter added to it, in f32 where there is something to add.
pub struct Sum<'a> {
    /// W, and A, B and s of the modules.
    pub upon: Replaced<'a>,
}

impl Source for Sum<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let Replaced { base, adapter } = &self.upon;
        let whole = self.upon.tensor(name, shape)?;
        let module = adapter.module_of(name, base.files.config());
        let Some((a, b)) = adapter.tensors.get(module) else { return Ok(whole) };
        let (out, input) = whole.dims2()?;
        let r = a.dim(0)?;
        let single = |t: &Tensor| -> Result<Vec<f32>> { Ok(t.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?) };
        let (mut sum, a, b) = (single(&whole)?, single(a)?, single(b)?);
        drop(whole);
        let scale = adapter.config.scale_of(module)?;
        let (a, b) = (Mat::rows(&a, r, input, input), Mat::rows(&b, out, r, r));
        gemm(&mut sum, input, b, a, (scale, 1.0), Threads::All);
        if let Some(magnitude) = adapter.magnitudes.get(module) {
            for (row, length) in sum.chunks_mut(input).zip(single(magnitude)?) {
                let own = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                for x in row {
                    #[allow(clippy::cast_possible_truncation, reason = "rounded once")]
                    let scaled = (f64::from(*x) * f64::from(length) / own) as f32;
                    *x = scaled;
                }
            }
        }
        Ok(Tensor::from_vec(sum, (out, input), &Device::Cpu)?)
    }
}
