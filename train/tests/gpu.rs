//! Every CUDA kernel beside the CPU's function of the same name, on inputs that are formulas. On a machine without a
//! GPU each test says so and passes.
//!
//! In bf16 the CPU gets the same rounded inputs and computes in f32, so what is left is the rounding of results to
//! 8 bits, 2^-9 of each, and of what the backward pass reads again.
//! Longer than a file should be: one test a kernel, side by side over the same inputs and the same two comparisons.
#![cfg(feature = "cuda")]
#![allow(clippy::many_single_char_names, reason = "the letters of the formulas")]

use candle_core::{DType, Device, Tensor};
use half::bf16;
use setaccio_train::{
    kernels::{self, Attended, Heads, RowLoss, Span, cpu, cuda},
    random::{key, uniform_vec},
};

const TYPES: [DType; 2] = [DType::F32, DType::BF16];

/// The same tensor in main memory (f32) and on the GPU.
struct Pair(Tensor, Tensor);

struct Gpu(Device);

impl Gpu {
    fn open() -> Option<Self> {
        match Device::new_cuda(0) {
            Ok(device) => Some(Self(device)),
            Err(error) => {
                println!("skipped: no GPU ({error})");
                None
            }
        }
    }

    fn tensor(&self, values: Vec<f32>, shape: &[usize], dtype: DType) -> Pair {
        let host = Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        let there = host.to_device(&self.0).unwrap();
        Pair(host.to_dtype(DType::F32).unwrap(), there)
    }

    /// Uniform in plus or minus `scale`.
    fn random(&self, name: &str, shape: &[usize], scale: f32, dtype: DType) -> Pair {
        self.tensor(uniform_vec(key(5, name), shape.iter().product(), scale), shape, dtype)
    }

    fn zeros(&self, shape: &[usize], dtype: DType) -> Pair {
        self.tensor(vec![0.0; shape.iter().product()], shape, dtype)
    }
}

fn values(t: &Tensor) -> Vec<f32> {
    let host = t.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
    host.flatten_all().unwrap().to_vec1().unwrap()
}

/// Largest difference, as a share of the largest value, and root mean square of differences as a share of that of
/// values. Where values are 0 but for rounding, such as dq of a lone token, they are shares of 0.1.
fn apart(got: &Tensor, want: &Tensor) -> (f64, f64) {
    let (got, want) = (values(got), values(want));
    assert_eq!(got.len(), want.len());
    let (mut worst, mut largest, mut squares, mut all) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    for (g, w) in got.iter().zip(&want) {
        let (g, w) = (f64::from(*g), f64::from(*w));
        assert!(g.is_finite() && w.is_finite(), "{g} {w}");
        (worst, largest) = (worst.max((g - w).abs()), largest.max(w.abs()));
        (squares, all) = (squares + (g - w).powi(2), all + w * w);
    }
    #[allow(clippy::cast_precision_loss, reason = "small")]
    let n = got.len() as f64;
    (worst / largest.max(0.1), (squares / n).sqrt() / (all / n).sqrt().max(0.1))
}

/// `got` is of type `dtype` and rounds as such; `f32` is what may be lost in f32, for sums of that length.
fn close(what: &str, got: &Tensor, want: &Tensor, dtype: DType, f32: f64) {
    let (worst, mean) = apart(got, want);
    // Half a unit in the last of 8 bits is 2^-9; twice that where a sum is rounded again.
    let limits = if dtype == DType::F32 { (f32, f32) } else { (f32 + 1.0 / 256.0, f32 + 1.0 / 256.0) };
    assert!(worst <= limits.0 && mean <= limits.1, "{what} {dtype:?}: {worst:e} at worst, {mean:e} on average");
}

fn bits(t: &Tensor) -> Vec<u32> {
    values(t).iter().map(|v| v.to_bits()).collect()
}

#[test]
fn products() {
    let Some(gpu) = Gpu::open() else { return };
    for (m, k, n) in [(1, 64, 96), (7, 4096, 64), (300, 576, 192), (1024, 64, 7), (3, 64, 128_256), (5, 1, 1)] {
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            for (factors, product) in [(DType::F32, DType::F32), (DType::BF16, DType::BF16), (DType::BF16, DType::F32)]
            {
                let a = gpu.random("a", &if ta { [k, m] } else { [m, k] }, 1.0, factors);
                let b = gpu.random("b", &if tb { [n, k] } else { [k, n] }, 1.0, factors);
                let c = gpu.random("c", &[m, n], 1.0, product);
                let turned = |t: &Tensor, turn: bool| if turn { t.t().unwrap() } else { t.clone() };
                for beta in [0.5, 0.0] {
                    kernels::gemm(&c.0, &turned(&a.0, ta), &turned(&b.0, tb), 2.0, beta).unwrap();
                    kernels::gemm(&c.1, &turned(&a.1, ta), &turned(&b.1, tb), 2.0, beta).unwrap();
                    close(&format!("{m}x{k}x{n} {ta} {tb}"), &c.1, &c.0, product, 2e-6);
                }
            }
        }
    }
    // Rows of a larger matrix, as the head and the adapters have them.
    let (x, w) = (gpu.random("x", &[20, 48], 1.0, DType::BF16), gpu.random("w", &[33, 48], 1.0, DType::BF16));
    let y = gpu.zeros(&[9, 33], DType::F32);
    let run = |y: &Tensor, x: &Tensor, w: &Tensor| {
        kernels::gemm(y, &x.narrow(0, 4, 9).unwrap(), &w.t().unwrap(), 1.0, 1.0).unwrap();
    };
    run(&y.0, &x.0, &w.0);
    run(&y.1, &x.1, &w.1);
    close("rows", &y.1, &y.0, DType::F32, 2e-6);
    // Columns, which are no rows end to end but still a matrix.
    let run = |y: &Tensor, x: &Tensor, w: &Tensor| {
        let (x, w) = (x.narrow(0, 4, 9).unwrap().narrow(1, 8, 16).unwrap(), w.narrow(1, 8, 16).unwrap());
        kernels::gemm(y, &x, &w.t().unwrap(), 1.0, 1.0).unwrap();
    };
    run(&y.0, &x.0, &w.0);
    run(&y.1, &x.1, &w.1);
    close("columns", &y.1, &y.0, DType::F32, 2e-6);
}

#[test]
fn norms() {
    let Some(gpu) = Gpu::open() else { return };
    for dtype in TYPES {
        for (t, h) in [(1, 64), (7, 576), (300, 4096), (1024, 96)] {
            let [x, dy, dx] = ["x", "dy", "dx"].map(|name| gpu.random(name, &[t, h], 2.0, dtype));
            let w = gpu.random("w", &[h], 1.0, dtype);
            let [want, got] = [(&x.0, &w.0), (&x.1, &w.1)].map(|(x, w)| kernels::rms_norm(x, w, 1e-5).unwrap());
            close("rms_norm", &got, &want, dtype, 1e-6);
            kernels::rms_norm_grad(&dx.0, &x.0, &w.0, &dy.0, 1e-5).unwrap();
            kernels::rms_norm_grad(&dx.1, &x.1, &w.1, &dy.1, 1e-5).unwrap();
            close("rms_norm_grad", &dx.1, &dx.0, dtype, 1e-6);
        }
    }
}

#[test]
fn rotation() {
    let Some(gpu) = Gpu::open() else { return };
    for dtype in TYPES {
        for (t, heads, dim) in [(1, 1, 64), (7, 9, 64), (300, 4, 128), (1024, 2, 6)] {
            for tables in [dtype, DType::F32] {
                let [cos, sin] = ["cos", "sin"].map(|name| gpu.random(name, &[t, dim / 2], 1.0, tables));
                for back in [false, true] {
                    let x = gpu.random("x", &[t, heads * dim], 1.0, dtype);
                    kernels::rope(&x.0, &cos.0, &sin.0, heads, dim, back).unwrap();
                    kernels::rope(&x.1, &cos.1, &sin.1, heads, dim, back).unwrap();
                    close("rope", &x.1, &x.0, dtype, 1e-6);
                }
            }
        }
    }
}

#[test]
fn elements() {
    let Some(gpu) = Gpu::open() else { return };
    for dtype in TYPES {
        for (t, h) in [(1, 64), (7, 577), (300, 1536)] {
            let gate = gpu.random("gate", &[t, h], 12.0, dtype);
            let [up, d] = ["up", "d"].map(|name| gpu.random(name, &[t, h], 2.0, dtype));
            let [want, got] = [(&gate.0, &up.0), (&gate.1, &up.1)].map(|(g, u)| kernels::swiglu(g, u).unwrap());
            close("swiglu", &got, &want, dtype, 1e-6);
            let want = kernels::swiglu_grad(&gate.0, &up.0, &d.0).unwrap();
            let got = kernels::swiglu_grad(&gate.1, &up.1, &d.1).unwrap();
            close("dgate", &got.0, &want.0, dtype, 1e-6);
            close("dup", &got.1, &want.1, dtype, 1e-6);
            for source in TYPES {
                let (d, src) = (gpu.random("d", &[t, h], 2.0, dtype), gpu.random("src", &[t, h], 3.0, source));
                kernels::add(&d.0, &src.0, -0.3).unwrap();
                kernels::add(&d.1, &src.1, -0.3).unwrap();
                close("add", &d.1, &d.0, dtype, 1e-6);
            }
            let bias = gpu.random("bias", &[h], 1.0, dtype);
            kernels::add_bias(&up.0, &bias.0).unwrap();
            kernels::add_bias(&up.1, &bias.1).unwrap();
            close("add_bias", &up.1, &up.0, dtype, 1e-6);
        }
    }
}

/// In f32 bit for bit; in bf16 the same elements and nothing but one rounding.
#[test]
fn masks_and_noise_are_the_same_numbers() {
    let Some(gpu) = Gpu::open() else { return };
    for (t, h) in [(1, 64), (7, 577), (1024, 576)] {
        for (p, add) in [(0.0, false), (0.1, false), (0.1, true), (0.5, true)] {
            for dtype in TYPES {
                let (x, y) = (gpu.random("x", &[t, h], 1.0, dtype), gpu.random("y", &[t, h], 1.0, dtype));
                kernels::dropout(&y.0, &x.0, key(9, "mask"), p, add).unwrap();
                kernels::dropout(&y.1, &x.1, key(9, "mask"), p, add).unwrap();
                assert_eq!(bits(&y.1), bits(&y.0.to_dtype(dtype).unwrap()), "dropout {dtype:?}");
            }
        }
        for dtype in TYPES {
            let (x, m) = (gpu.random("x", &[t, h], 1.0, dtype), uniform_vec(key(9, "m"), t, 0.3));
            kernels::noise(&x.0, &m, key(9, "noise")).unwrap();
            kernels::noise(&x.1, &m, key(9, "noise")).unwrap();
            assert_eq!(bits(&x.1), bits(&x.0.to_dtype(dtype).unwrap()), "noise {dtype:?}");
        }
    }
}

fn documents(lengths: &[usize]) -> Vec<Span> {
    let mut start = 0;
    let span = |len: &usize| {
        start += len;
        Span { q: start - len, q_len: *len, k: start - len, k_len: *len }
    };
    lengths.iter().map(span).collect()
}

/// Forward and backward of both, over as many queries and keys as the spans have.
fn attend(gpu: &Gpu, spans: &[Span], heads: Heads, dtype: DType) {
    let (t, s) = spans.iter().fold((0, 0), |(t, s), span| (t + span.q_len, s.max(span.k + span.k_len)));
    let (qw, kw) = (heads.q * heads.dim, heads.kv * heads.dim);
    // Scores up to about 8 / 3 sqrt(dim) apart, so that the softmax has something to choose.
    let [q, dout] = [("q", 2.0), ("dout", 1.0)].map(|(n, scale)| gpu.random(n, &[t, qw], scale, dtype));
    let [k, v] = [("k", 2.0), ("v", 1.0)].map(|(n, scale)| gpu.random(n, &[s, kw], scale, dtype));
    let want = kernels::attention(&q.0, &k.0, &v.0, spans, heads).unwrap();
    let got = kernels::attention(&q.1, &k.1, &v.1, spans, heads).unwrap();
    let what = format!("attention {spans:?} {heads:?}");
    close(&what, &got.0, &want.0, dtype, 2e-6);
    close(&what, &got.1, &want.1, DType::F32, 2e-6);
    let attended = |q: &Tensor, k: &Tensor, v: &Tensor, (out, lse): (Tensor, Tensor)| {
        let [q, k, v] = [q, k, v].map(Tensor::clone);
        Attended { q, k, v, out, lse }
    };
    let want = attended(&q.0, &k.0, &v.0, want);
    let want = kernels::attention_grad(&want, &dout.0, spans, heads).unwrap();
    let f = attended(&q.1, &k.1, &v.1, got);
    let got = kernels::attention_grad(&f, &dout.1, spans, heads).unwrap();
    for (name, got, want) in [("dq", &got.0, &want.0), ("dk", &got.1, &want.1), ("dv", &got.2, &want.2)] {
        close(&format!("{what} {name}"), got, want, dtype, 1e-5);
    }
    let again = kernels::attention_grad(&f, &dout.1, spans, heads).unwrap();
    for (a, b) in [(&got.0, &again.0), (&got.1, &again.1), (&got.2, &again.2)] {
        assert_eq!(bits(a), bits(b), "{what}: not the same twice");
    }
}

#[test]
fn attention() {
    let Some(gpu) = Gpu::open() else { return };
    let cases: [(&[usize], Heads); 7] = [
        (&[1], Heads { q: 4, kv: 2, dim: 64 }),
        (&[7, 1, 64, 65], Heads { q: 9, kv: 3, dim: 64 }),
        (&[300, 33], Heads { q: 8, kv: 2, dim: 128 }),
        (&[5, 129, 31, 32], Heads { q: 2, kv: 2, dim: 80 }),
        (&[17, 50], Heads { q: 3, kv: 1, dim: 256 }),
        (&[40, 3], Heads { q: 2, kv: 1, dim: 20 }),
        (&[1024], Heads { q: 2, kv: 1, dim: 128 }),
    ];
    for (lengths, heads) in cases {
        for dtype in TYPES {
            attend(&gpu, &documents(lengths), heads, dtype);
        }
    }
}

/// As in generation and after a shared question: new queries after keys of others.
#[test]
fn attention_after_other_keys() {
    let Some(gpu) = Gpu::open() else { return };
    let span = |q, q_len, k, k_len| Span { q, q_len, k, k_len };
    let cases = [
        (vec![span(0, 1, 0, 130), span(1, 70, 130, 200)], Heads { q: 4, kv: 2, dim: 64 }),
        (vec![span(0, 90, 0, 90), span(90, 33, 90, 110), span(123, 5, 200, 69)], Heads { q: 3, kv: 1, dim: 128 }),
        (vec![span(0, 20, 0, 150), span(20, 1, 150, 17)], Heads { q: 2, kv: 2, dim: 256 }),
    ];
    for (spans, heads) in &cases {
        for dtype in TYPES {
            attend(&gpu, spans, *heads, dtype);
        }
    }
    let q = gpu.random("q", &[10, 256], 2.0, DType::F32);
    assert!(kernels::attention(&q.1, &q.1, &q.1, &cases[0].0, cases[0].1).is_err(), "spans outside of the tensors");
}

#[test]
fn cross_entropy() {
    let Some(gpu) = Gpu::open() else { return };
    for (rows, vocab) in [(1, 96), (7, 96), (300, 97), (5, 49_152), (3, 128_256)] {
        for dtype in TYPES {
            for scale in [0.25, 0.0] {
                let logits = gpu.random("logits", &[rows, vocab], 15.0, dtype);
                // Every second target is the most probable token, the last of them among equals.
                let mut targets = Vec::new();
                for (i, row) in values(&logits.0).chunks(vocab).enumerate() {
                    let top = row.iter().copied().fold(f32::MIN, f32::max);
                    #[allow(clippy::float_cmp, reason = "one of them")]
                    let best = row.iter().rposition(|v| *v == top).unwrap();
                    targets.push(u32::try_from(if i % 2 == 0 { best } else { i * 31 % vocab }).unwrap());
                }
                let want = kernels::cross_entropy(&logits.0, &targets, scale).unwrap();
                let got = kernels::cross_entropy(&logits.1, &targets, scale).unwrap();
                let what = format!("{rows} of {vocab} {dtype:?}");
                close(&what, &logits.1, &logits.0, dtype, 3e-6);
                let near = |a: f64, b: f64| (a - b).abs() <= 3e-6 * (1.0 + b.abs());
                for (g, w) in got.iter().zip(&want) {
                    let RowLoss { nll, entropy, logit, correct } = *w;
                    let all = near(g.nll, nll) && near(g.entropy, entropy) && near(g.logit, logit);
                    assert!(all, "{what}: {g:?} {w:?}");
                    assert_eq!(g.correct, correct, "{what}");
                }
                assert_eq!(got.len(), rows);
            }
        }
    }
    let logits = gpu.random("logits", &[2, 10], 1.0, DType::F32);
    assert!(kernels::cross_entropy(&logits.1, &[3, 10], 1.0).is_err());
}

#[test]
fn nf4_is_the_same_bytes() {
    let Some(gpu) = Gpu::open() else { return };
    for n in [1, 2, 63, 64, 65, 150, 576 * 64, 300 * 4096 + 37] {
        let mut weights = uniform_vec(key(5, "w"), n, 0.05);
        weights.iter_mut().skip(128).take(64).for_each(|w| *w = 0.0);
        let f32 = gpu.tensor(weights.clone(), &[n], DType::F32);
        let b16 = gpu.tensor(weights.clone(), &[n], DType::BF16);
        let rounded: Vec<bf16> = weights.iter().map(|w| bf16::from_f32(*w)).collect();
        for (there, (packed, scales)) in
            [(&f32.1, cpu::nf4::quantize(&weights)), (&b16.1, cpu::nf4::quantize(&rounded))]
        {
            let (p, s) = cuda::nf4_quantize(there).unwrap();
            assert_eq!(p.flatten_all().unwrap().to_vec1::<u8>().unwrap(), packed, "{n} codes");
            assert_eq!(s.to_vec1::<f32>().unwrap(), scales, "{n} scales");
            let doubled = cpu::nf4::quantize_scales(&scales);
            let map = &cpu::dynamic::Map::signed().values;
            let (codes, nested) = (doubled.codes.len(), doubled.nested.len());
            let double = cuda::Scales::Double {
                codes: &Tensor::from_slice(&doubled.codes, codes, &gpu.0).unwrap(),
                map: &Tensor::new(map, &gpu.0).unwrap(),
                nested: &Tensor::from_slice(&doubled.nested, nested, &gpu.0).unwrap(),
                offset: doubled.offset,
            };
            let scale = |i| cpu::nf4::scale(&doubled.codes, map, &doubled.nested, doubled.offset, i);
            let (mut plain, mut twice) = (vec![0.0_f32; n], vec![0.0_f32; n]);
            cpu::nf4::dequantize(&packed, |i| scales[i], &mut plain);
            cpu::nf4::dequantize(&packed, scale, &mut twice);
            for dtype in TYPES {
                for (scales, want) in [(cuda::Scales::Plain(&s), &plain), (double, &twice)] {
                    // One element further on nothing is aligned, and the slow way has to do.
                    for skip in [0, 1] {
                        let room = gpu.zeros(&[n + skip], dtype).1;
                        let out = room.narrow(0, skip, n).unwrap();
                        cuda::nf4_dequantize(&out, &p, scales).unwrap();
                        let want = Tensor::from_slice(want, n, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                        assert_eq!(bits(&out), bits(&want), "{n} {dtype:?} {scales:?}");
                    }
                }
            }
        }
    }
}

fn hyper(step: u64, b1: f64) -> cpu::adamw::Hyper {
    let (betas, eps) = ([b1, 0.999], 1e-8);
    cpu::adamw::Hyper { lr: 3e-3, betas, eps, weight_decay: 0.1, step, grad_scale: 0.7 }
}

#[test]
fn adamw_is_the_same_numbers() {
    let Some(gpu) = Gpu::open() else { return };
    for (n, b1) in [(1, 0.9), (300, 0.4), (576 * 64 + 3, 0.9)] {
        for small in [false, true] {
            for dtype in TYPES {
                let p = gpu.random("p", &[n], 1.0, dtype);
                let [m, v] = ["m", "v"].map(|_| gpu.zeros(&[n], DType::F32));
                let mut host = values(&p.0);
                let mut rounded: Vec<bf16> = host.iter().map(|p| bf16::from_f32(*p)).collect();
                let (mut hm, mut hv) = (vec![0.0_f32; n], vec![0.0_f32; n]);
                for step in 1..4 {
                    let (h, g) = (hyper(step, b1), gpu.random(&format!("g{step}"), &[n], 0.1, DType::F32));
                    let moments = cpu::adamw::Moments { m: &mut hm, v: &mut hv };
                    let grad = values(&g.0);
                    match (dtype, small) {
                        (DType::F32, false) => cpu::adamw::adamw(&mut host, &grad, moments, &h),
                        (DType::F32, true) => cpu::adamw::adamw_small(&mut host, &grad, moments, &h),
                        (_, false) => cpu::adamw::adamw(&mut rounded, &grad, moments, &h),
                        (_, true) => cpu::adamw::adamw_small(&mut rounded, &grad, moments, &h),
                    }
                    let step = if small { cuda::adamw_small } else { cuda::adamw };
                    step(&p.1, &g.1, &m.1, &v.1, &h).unwrap();
                }
                if dtype == DType::BF16 {
                    host = rounded.iter().map(|p| p.to_f32()).collect();
                }
                for (name, got, want) in [("p", &p.1, &host), ("m", &m.1, &hm), ("v", &v.1, &hv)] {
                    let want: Vec<u32> = want.iter().map(|x| x.to_bits()).collect();
                    assert_eq!(bits(got), want, "{name} of {n} {dtype:?} {small}");
                }
            }
        }
    }
}

#[test]
fn adamw_in_8_bits_is_the_same_bytes() {
    let Some(gpu) = Gpu::open() else { return };
    let [signed, unsigned] = [cpu::dynamic::Map::signed(), cpu::dynamic::Map::unsigned()]
        .map(|map| Tensor::new(&map.values, &gpu.0).unwrap());
    for n in [1, 256, 300, 576 * 64 + 3] {
        let p = gpu.random("p", &[n], 1.0, DType::F32);
        let count = n.div_ceil(256);
        let [m, v] = ["m", "v"].map(|_| Tensor::zeros(n, DType::U8, &gpu.0).unwrap());
        let [m_scale, v_scale] = ["m", "v"].map(|_| Tensor::zeros(count, DType::F32, &gpu.0).unwrap());
        let mut host = values(&p.0);
        let ([mut hm, mut hv], [mut hms, mut hvs]) =
            ([vec![0_u8; n], vec![0; n]], [vec![0.0_f32; count], vec![0.0; count]]);
        for step in 1..5 {
            let mut grad = uniform_vec(key(5, &format!("g{step}")), n, 0.1);
            // One that is not a number, and in the last step a whole block of zeros.
            grad[n / 3] = if step == 2 { f32::NAN } else { 0.0 };
            if step == 4 {
                grad.iter_mut().take(256).for_each(|g| *g = 0.0);
            }
            let there = Tensor::from_slice(&grad, n, &gpu.0).unwrap();
            let h = hyper(step, 0.9);
            let moments = cpu::adamw::Moments8 { m: &mut hm, m_scale: &mut hms, v: &mut hv, v_scale: &mut hvs };
            cpu::adamw::adamw_8bit(&mut host, &grad, moments, &h);
            let (m, v, m_scale, v_scale) = (&m, &v, &m_scale, &v_scale);
            let moments = cuda::Moments8 { m, m_scale, v, v_scale, signed: &signed, unsigned: &unsigned };
            cuda::adamw_8bit(&p.1, &there, moments, &h).unwrap();
            assert_eq!(m.to_vec1::<u8>().unwrap(), hm, "m of {n}, step {step}");
            assert_eq!(v.to_vec1::<u8>().unwrap(), hv, "v of {n}, step {step}");
            assert_eq!(m_scale.to_vec1::<f32>().unwrap(), hms, "scales of m of {n}, step {step}");
            assert_eq!(v_scale.to_vec1::<f32>().unwrap(), hvs, "scales of v of {n}, step {step}");
            let want: Vec<u32> = host.iter().map(|x| x.to_bits()).collect();
            assert_eq!(bits(&p.1), want, "p of {n}, step {step}");
        }
    }
}

#[test]
fn sums_of_squares() {
    let Some(gpu) = Gpu::open() else { return };
    let tensors: Vec<Pair> = [1, 7, 300, 576 * 1024 + 1]
        .into_iter()
        .flat_map(|n| TYPES.map(|dtype| gpu.random("x", &[n], 3.0, dtype)))
        .collect();
    let there: Vec<&Tensor> = tensors.iter().map(|t| &t.1).collect();
    let got = cuda::sum_squares(&there).unwrap();
    for (got, pair) in got.iter().zip(&tensors) {
        let want: f64 = values(&pair.0).iter().map(|x| f64::from(*x).powi(2)).sum();
        assert!((got / want - 1.0).abs() < 1e-12, "{got} {want}");
    }
    assert_eq!(got, cuda::sum_squares(&there).unwrap(), "not the same twice");
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(gpu) = Gpu::open() else { return };
    let x = gpu.zeros(&[4, 8], DType::F32).1;
    let short = gpu.zeros(&[4, 7], DType::F32).1;
    let rounded = gpu.zeros(&[4, 8], DType::BF16).1;
    let turned = gpu.zeros(&[8, 4], DType::F32).1.t().unwrap();
    for other in [&short, &rounded, &turned, &Tensor::zeros((4, 8), DType::F32, &Device::Cpu).unwrap()] {
        assert!(kernels::swiglu(&x, other).is_err(), "{other:?}");
    }
    // A tensor cannot be locked for reading and writing at once.
    assert!(kernels::add(&x, &x, 1.0).is_err());
    assert!(kernels::swiglu(&x.to_dtype(DType::F64).unwrap_or(turned), &x).is_err());
}
