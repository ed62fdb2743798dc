//! Gradients beside candle's own autograd, in f64, over a model written with nothing but candle's differentiable
//! operations: every head, mask and norm spelled out.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use setaccio_train::{
    data::{Batch, IGNORE},
    model::{
        context::Pass,
        layer::{Branch, Layer},
        linear::Linear,
        llama::{Llama, Training},
        lora::dora::Dora,
        maybe_trained::MaybeTrained,
        rope::Places,
        weight::Weight,
    },
};

use crate::{
    formula::{TRAINED, attach, batch, close, documents, elements, model, recipe, train_sum, whole},
    quantized::in_nf4,
};

fn norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
    let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()?;
    x.broadcast_mul(&scale)?.broadcast_mul(w)
}

type Vars = Vec<(String, Var)>;

/// A tensor of the model in f64, as a variable if it is trained: the same one each time.
fn var(values: &MaybeTrained, vars: &mut Vars) -> Result<Tensor> {
    let Some(param) = values.param() else { return values.tensor().to_dtype(DType::F64) };
    if let Some((_, known)) = vars.iter().find(|(name, _)| *name == param.name) {
        return Ok(known.as_tensor().clone());
    }
    let var = Var::from_tensor(&param.value.copy()?)?;
    vars.push((param.name.clone(), var.clone()));
    Ok(var.as_tensor().clone())
}

fn linear(x: &Tensor, linear: &Linear, vars: &mut Vars) -> Result<Tensor> {
    let weight = match &linear.weight {
        Weight::Dense(values) => var(values, vars)?,
        packed @ Weight::Nf4(_) => packed.dense(DType::F64).unwrap(),
    };
    let y = x.matmul(&weight.t()?)?;
    let biased = |y: Tensor, vars: &mut Vars| match &linear.bias {
        Some(bias) => y.broadcast_add(&var(bias, vars)?),
        None => Ok(y),
    };
    let Some(lora) = &linear.lora else { return biased(y, vars) };
    let (a, b) = (Var::from_tensor(&lora.a.value.copy()?)?, Var::from_tensor(&lora.b.value.copy()?)?);
    let update = x.matmul(&a.t()?)?.matmul(&b.t()?)?.affine(lora.scale, 0.0)?;
    let z = (y + update)?;
    let z = match &lora.dora {
        None => z,
        Some(dora) => {
            let m = Var::from_tensor(&dora.magnitude.value.copy()?)?;
            // A constant to the gradient.
            let adapted = (&weight + b.matmul(&a)?.affine(lora.scale, 0.0)?)?.detach();
            let norm = adapted.sqr()?.sum(1)?.sqrt()?;
            vars.push((dora.magnitude.name.clone(), m.clone()));
            z.broadcast_mul(&(m.as_tensor() / norm)?)?
        }
    };
    vars.push((lora.a.name.clone(), a));
    vars.push((lora.b.name.clone(), b));
    biased(z, vars)
}

/// Turn each head of `x` [T, n, D].
fn turn(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let half = x.dim(2)? / 2;
    let (a, b) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
    let (cos, sin) = (cos.unsqueeze(1)?, sin.unsqueeze(1)?);
    let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    Tensor::cat(&[first, second], 2)
}

/// 0 where a token may look, minus infinity where not, [T, T].
fn mask(batch: &Batch) -> Result<Tensor> {
    let n = batch.tokens();
    let document = |t: usize| batch.starts.iter().filter(|s| **s as usize <= t).count();
    let cell = |i: usize, j: usize| if j <= i && document(i) == document(j) { 0.0 } else { f64::NEG_INFINITY };
    let cells: Vec<f64> = (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| cell(i, j)).collect();
    Tensor::from_vec(cells, (n, n), &Device::Cpu)
}

fn entered(x: &Tensor, branch: &Branch, vars: &mut Vars) -> Result<Tensor> {
    let before = branch.before.as_ref().unwrap();
    norm(x, &var(&before.weight, vars)?, before.eps)
}

fn layer(x: &Tensor, layer: &Layer, turns: (&Tensor, &Tensor), mask: &Tensor, vars: &mut Vars) -> Result<Tensor> {
    let (heads, t) = (layer.attention.heads, x.dim(0)?);
    let normed = entered(x, &layer.attention_branch, vars)?;
    let linears: Vec<&Linear> = layer.linears().collect();
    let [q, k, v] = [0, 1, 2].map(|i| linear(&normed, linears[i], vars));
    let q = turn(&q?.reshape((t, heads.q, heads.dim))?, turns.0, turns.1)?.transpose(0, 1)?.contiguous()?;
    let spread = |x: Tensor| -> Result<Tensor> {
        let group = heads.q / heads.kv;
        let x = x.unsqueeze(2)?.broadcast_as((t, heads.kv, group, heads.dim))?;
        x.reshape((t, heads.q, heads.dim))?.transpose(0, 1)?.contiguous()
    };
    let k = spread(turn(&k?.reshape((t, heads.kv, heads.dim))?, turns.0, turns.1)?)?;
    let v = spread(v?.reshape((t, heads.kv, heads.dim))?)?;
    #[allow(clippy::cast_precision_loss, reason = "small")]
    let scores = q.matmul(&k.transpose(1, 2)?)?.affine(1.0 / (heads.dim as f64).sqrt(), 0.0)?.broadcast_add(mask)?;
    let out =
        candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v)?.transpose(0, 1)?.reshape((t, heads.q * heads.dim))?;
    let middle = (linear(&out, linears[3], vars)? + x)?;
    let normed = entered(&middle, &layer.mlp_branch, vars)?;
    let gate = linear(&normed, linears[4], vars)?;
    let up = linear(&normed, linears[5], vars)?;
    linear(&(gate.silu()? * up)?, linears[6], vars)? + middle
}

fn loss(model: &Llama, batch: &Batch) -> Result<(Tensor, Vars)> {
    let places = Places::new(&batch.positions, &[], None);
    let (cos, sin) = model.rotary[0].angles(&places, DType::F64, &Device::Cpu).unwrap();
    let mask = mask(batch)?;
    let mut vars = Vec::new();
    let mut x =
        var(&model.embedding.weight, &mut vars)?.index_select(&Tensor::new(&batch.ids[..], &Device::Cpu)?, 0)?;
    for one in &model.layers {
        x = layer(&x, one, (&cos, &sin), &mask, &mut vars)?;
    }
    let normed = norm(&x, &var(&model.head.norm.weight, &mut vars)?, model.head.norm.eps)?;
    let logits = normed.matmul(&var(&model.head.weight, &mut vars)?.t()?)?;
    let kept = batch.labels.iter().enumerate().filter(|(_, l)| **l != IGNORE);
    let (rows, labels): (Vec<u32>, Vec<u32>) = kept.map(|(t, l)| (u32::try_from(t).unwrap(), *l)).unzip();
    let logits = logits.index_select(&Tensor::new(&rows[..], &Device::Cpu)?, 0)?;
    Ok((candle_nn::loss::cross_entropy(&logits, &Tensor::new(&labels[..], &Device::Cpu)?)?, vars))
}

#[test]
fn every_gradient_equals_candles() {
    for variant in ["plain", "tied", "qwen2", "llama31"] {
        compare(variant, &with_adapter(model(variant, DType::F64)), 28);
    }
}

#[test]
fn every_gradient_of_every_weight_equals_candles() {
    // Two layers of nine tensors, embedding, norm and head; biases of q, k and v with qwen2.
    for (variant, params) in [("plain", 21), ("tied", 20), ("qwen2", 27), ("llama31", 21)] {
        compare(variant, &whole(variant, DType::F64), params);
    }
}

#[test]
fn weights_and_adapter_learn_side_by_side() {
    compare("plain", &with_adapter(whole("plain", DType::F64)), 21 + 28);
}

#[test]
fn every_gradient_equals_candles_upon_nf4() {
    for (variant, double_quant) in [("plain", true), ("qwen2", false)] {
        compare(variant, &with_adapter(in_nf4(variant, DType::F64, double_quant)), 28);
    }
}

#[test]
fn dora_learns_upon_nf4_too() {
    for (variant, double_quant) in [("plain", true), ("qwen2", false)] {
        let mut model = with_adapter(in_nf4(variant, DType::F64, double_quant));
        for linear in model.layers.iter_mut().flat_map(Layer::linears_mut) {
            let weight = linear.weight.dense(DType::F64).unwrap();
            let Some(lora) = &mut linear.lora else { continue };
            let lengths = (weight.sqr().unwrap().sum(1).unwrap().sqrt().unwrap() * 1.1).unwrap();
            lora.dora = Some(Dora::new(&linear.name, &weight, lora, Some(&lengths)).unwrap());
        }
        compare(variant, &model, 28 + 14);
    }
}

fn with_adapter(mut model: Llama) -> Llama {
    attach(&mut model, &recipe(), TRAINED);
    model
}

fn compare(variant: &str, model: &Llama, trained: usize) {
    let batch = batch(&documents(), 3);
    let (want, vars) = loss(model, &batch).unwrap();
    let gradients = want.backward().unwrap();
    let scale = 1.0 / f64::from(u32::try_from(batch.targets()).unwrap());
    let pass = Pass { seed: 1, step: 0, micro: 0 };
    let losses = train_sum(model, &batch, &Training { pass, recompute: 0, neftune_alpha: 0.0 }, scale);
    close(variant, losses.nll * scale, want.to_scalar::<f64>().unwrap(), 1e-12, 0.0);
    let params = model.params();
    assert_eq!((params.len(), vars.len()), (trained, trained));
    for param in params {
        let (name, var) = vars.iter().find(|(name, _)| *name == param.name).unwrap();
        let (got, want) = (elements(&param.grad), elements(gradients.get(var.as_tensor()).unwrap()));
        let norm = want.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!(norm > 1e-4, "{variant} {name}: a gradient that is alive");
        for (got, want) in got.iter().zip(&want) {
            close(&format!("{variant} {name}"), *got, *want, 1e-10, 1e-10 * norm);
        }
    }
}
