//! Optimisers, schedules and gradient clipping.

pub mod clip;
mod moments;
pub mod schedule;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use crate::{
    error::{Error, Result},
    kernels::{self, adamw::Hyper},
    recipe,
};
use moments::{Moments, QuantMaps};

/// Something that is trained.
#[derive(Clone, Debug)]
pub struct Param {
    /// Unique, e.g. `model.layers.0.self_attn.q_proj.lora_A`.
    pub name: String,
    /// f32 or bf16, contiguous; changed in place.
    pub value: Tensor,
    /// f32, of the same shape.
    pub grad: Tensor,
    /// Its learning rate over that of the run: LoRA+'s ratio for B, 1 for A.
    pub lr_scale: f64,
    /// Whether weight decay is for it: not for norms and biases.
    pub decays: bool,
}

impl Param {
    /// Let it be `value`, of the same shape.
    pub fn put(&self, value: &Tensor) -> Result<()> {
        if value.shape() != self.value.shape() {
            let (found, own) = (value.dims(), self.value.dims());
            return Err(Error::Other(format!("{}: {found:?} where {own:?} is trained", self.name)));
        }
        // Rounded where it is: files hold types that a GPU has no kernels for.
        let value = kernels::cast(value, self.value.dtype())?.to_device(self.value.device())?;
        kernels::copy_(&self.value, &value.contiguous()?)
    }
}

/// AdamW and its moments, which are made at a parameter's first step.
///
/// With values in bf16 the moments stay in f32 and a step is rounded once, to the nearest bf16. PyTorch keeps
/// the moments of bf16 parameters in bf16 too and rounds after every operation, which loses small updates.
#[derive(Debug)]
pub struct Optimizer {
    kind: recipe::Optimizer,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    steps: u64,
    moments: BTreeMap<String, Moments>,
    maps: QuantMaps,
}

/// The name that the count of steps has among the moments.
const STEPS: &str = "steps";

impl Optimizer {
    /// As the recipe says, before its first step.
    pub fn new(train: &recipe::Train) -> Self {
        Self {
            kind: train.optimizer,
            betas: train.betas,
            eps: train.eps,
            weight_decay: train.weight_decay,
            steps: 0,
            moments: BTreeMap::new(),
            maps: QuantMaps::default(),
        }
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Change every value by its gradient times `grad_scale` (what clipping says, see [`clip`]).
    ///
    /// # Errors
    /// A parameter comes or changes its size after the first step; a type or view that cannot be updated.
    pub fn step<'a>(&mut self, params: impl IntoIterator<Item = &'a Param>, lr: f64, grad_scale: f64) -> Result<()> {
        let hyper = Hyper {
            lr,
            betas: self.betas,
            eps: self.eps,
            weight_decay: self.weight_decay,
            step: self.steps + 1,
            grad_scale,
        };
        for param in params {
            if self.steps == 0 && !self.moments.contains_key(&param.name) {
                let moments = Moments::zeros(self.kind, param.value.elem_count(), param.value.device())?;
                self.moments.insert(param.name.clone(), moments);
            }
            let moments = self.moments.get(&param.name).filter(|moments| moments.len() == param.value.elem_count());
            let Some(moments) = moments else {
                return Err(Error::Other(format!(
                    "the optimiser has no moments for `{}` of {:?}: what is trained is not what was trained until step {}",
                    param.name,
                    param.value.dims(),
                    self.steps
                )));
            };
            let weight_decay = if param.decays { self.weight_decay } else { 0.0 };
            let hyper = Hyper { lr: lr * param.lr_scale, weight_decay, ..hyper };
            moments
                .step(self.kind, param, &hyper, &self.maps)
                .map_err(|e| Error::Other(format!("optimiser step of `{}`: {e}", param.name)))?;
        }
        self.steps += 1;
        Ok(())
    }

    /// All that the next step depends on, in the order of names. The tensors share memory with the optimiser:
    /// write them before the next step.
    ///
    /// # Errors
    /// Out of memory.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let steps = i64::try_from(self.steps).map_err(|e| Error::Other(e.to_string()))?;
        let mut state = vec![(STEPS.to_owned(), Tensor::new(&[steps], &Device::Cpu)?)];
        for (name, moments) in &self.moments {
            state.extend(moments.parts().into_iter().map(|(part, tensor)| (format!("{name}.{part}"), tensor.clone())));
        }
        Ok(state)
    }

    /// Take over what [`Optimizer::state`] gave, in any order, onto `device`. The tensors are the optimiser's from here on.
    ///
    /// # Errors
    /// A part is missing, of another optimiser, or cannot be read.
    pub fn load_state(
        &mut self,
        state: impl IntoIterator<Item = Result<(String, Tensor)>>,
        device: &Device,
    ) -> Result<()> {
        let mut parts_of: BTreeMap<String, BTreeMap<String, Tensor>> = BTreeMap::new();
        let mut steps = None;
        for part in state {
            let (name, tensor) = part?;
            if name == STEPS {
                steps = Some(tensor);
            } else if let Some((param, part)) = name.rsplit_once('.') {
                parts_of.entry(param.to_owned()).or_default().insert(part.to_owned(), tensor.to_device(device)?);
            } else {
                return Err(Error::Other(format!("`{name}` is not part of an optimiser's state")));
            }
        }
        let steps = steps.filter(|t| t.dtype() == DType::I64 && t.elem_count() == 1);
        let steps =
            steps.map(|t| t.flatten_all()?.to_vec1::<i64>()).transpose()?.and_then(|v| u64::try_from(v[0]).ok());
        let Some(steps) = steps else {
            return Err(Error::Other("the optimiser's state has no count of steps: take an earlier checkpoint".into()));
        };
        let mut all = BTreeMap::new();
        for (name, parts) in parts_of {
            let moments = Moments::of(self.kind, parts).map_err(|e| {
                Error::Other(format!(
                    "the optimiser's state of `{name}` {e}: resume with the recipe it was trained with"
                ))
            })?;
            all.insert(name, moments);
        }
        (self.steps, self.moments) = (steps, all);
        Ok(())
    }

    /// Memory that the moments of parameters of these sizes take, in bytes.
    pub fn bytes(kind: recipe::Optimizer, sizes: impl IntoIterator<Item = usize>) -> usize {
        sizes.into_iter().map(|n| Moments::bytes(kind, n)).sum()
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "exact on purpose")]
mod tests {
    use half::bf16;

    use super::*;

    fn params(dtype: DType) -> Vec<Param> {
        [("b", 5000), ("a", 300)]
            .map(|(name, n)| {
                let key = crate::random::key(1, name);
                let tensor = |k| Tensor::from_vec(crate::random::uniform_vec(k, n, 1.0), n, &Device::Cpu).unwrap();
                Param {
                    name: name.into(),
                    value: tensor(key).to_dtype(dtype).unwrap(),
                    grad: tensor(key + 1),
                    lr_scale: if name == "b" { 4.0 } else { 1.0 },
                    decays: true,
                }
            })
            .into()
    }

    fn values(params: &[Param]) -> Vec<Vec<f32>> {
        params.iter().map(|p| p.value.to_dtype(DType::F32).unwrap().to_vec1().unwrap()).collect()
    }

    #[test]
    fn a_state_taken_and_loaded_goes_on_bit_for_bit() {
        for optimizer in [recipe::Optimizer::Adamw, recipe::Optimizer::Adamw8bit] {
            for dtype in [DType::F32, DType::BF16] {
                let train = recipe::Train { optimizer, weight_decay: 0.01, ..Default::default() };
                let (mut one, whole) = (Optimizer::new(&train), params(dtype));
                (0..3).for_each(|_| one.step(&whole, 1e-2, 0.5).unwrap());
                let mut half = whole.clone();
                for p in &mut half {
                    p.value = p.value.copy().unwrap();
                }
                let mut other = Optimizer::new(&train);
                let copies = one.state().unwrap().into_iter().rev().map(|(n, t)| Ok((n, t.copy()?)));
                other.load_state(copies, &Device::Cpu).unwrap();
                (0..3).for_each(|_| one.step(&whole, 1e-2, 0.5).unwrap());
                let before = values(&whole);
                (0..3).for_each(|_| other.step(&half, 1e-2, 0.5).unwrap());
                assert_eq!(before, values(&half));
                let names = |o: &Optimizer| o.state().unwrap().into_iter().map(|(n, _)| n).collect::<Vec<_>>();
                assert_eq!((names(&one), one.steps()), (names(&other), 6));
                assert_ne!(before, values(&params(dtype)));
            }
        }
    }

    #[test]
    fn memory_is_what_is_predicted() {
        for kind in [recipe::Optimizer::Adamw, recipe::Optimizer::Adamw8bit] {
            let mut optimizer = Optimizer::new(&recipe::Train { optimizer: kind, ..Default::default() });
            optimizer.step(&params(DType::F32), 1e-3, 1.0).unwrap();
            let held: usize =
                optimizer.state().unwrap()[1..].iter().map(|(_, t)| t.elem_count() * t.dtype().size_in_bytes()).sum();
            assert_eq!(held, Optimizer::bytes(kind, [5000, 300]));
        }
    }

    #[test]
    fn what_does_not_belong_is_refused() {
        let train = recipe::Train::default();
        let mut one = Optimizer::new(&train);
        one.step(&params(DType::F32), 1e-3, 1.0).unwrap();
        let mut renamed = params(DType::F32);
        renamed[0].name = "c".into();
        assert!(one.step(&renamed, 1e-3, 1.0).unwrap_err().to_string().contains("no moments for `c`"));
        let eight = recipe::Train { optimizer: recipe::Optimizer::Adamw8bit, ..Default::default() };
        let error = Optimizer::new(&eight).load_state(one.state().unwrap().into_iter().map(Ok), &Device::Cpu);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("`b`") && error.contains("resume with the recipe"), "{error}");
    }

    #[test]
    fn bf16_values_are_rounded_once() {
        let (mut a, mut b) = (Optimizer::new(&recipe::Train::default()), Optimizer::new(&recipe::Train::default()));
        let (full, half) = (params(DType::BF16), params(DType::BF16));
        let full: Vec<Param> =
            full.into_iter().map(|p| Param { value: p.value.to_dtype(DType::F32).unwrap(), ..p }).collect();
        a.step(&full, 1e-3, 1.0).unwrap();
        b.step(&half, 1e-3, 1.0).unwrap();
        for (full, half) in values(&full).concat().iter().zip(values(&half).concat()) {
            assert_eq!(bf16::from_f32(*full).to_f32(), half);
        }
    }
}
