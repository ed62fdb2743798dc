//! NF4 byte for byte beside bitsandbytes (tests/oracles/train/nf4.py).

use std::{collections::BTreeMap, path::Path};

use candle_core::{DType, Device, Tensor, safetensors};
use half::{bf16, f16};
use serde_json::{Value, json};
use setaccio_base::sha256::hex_digest;
use setaccio_train::{
    Error,
    formats::bitsandbytes,
    kernels::{dynamic_quant::QuantMap, nf4 as kernel},
    nf4::{DoubleQuant, Nf4, Scales},
    random::{bits, child, key, mask_bits, normal_vec, permutation, uniform_vec},
};

use crate::formula::{close, numbers, oracle};

/// The elements of a tensor as bytes, little end first.
fn bytes(tensor: &Tensor) -> Vec<u8> {
    let flat = tensor.flatten_all().unwrap();
    match flat.dtype() {
        DType::U8 => flat.to_vec1().unwrap(),
        DType::F32 => flat.to_vec1::<f32>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect(),
        DType::BF16 => flat.to_vec1::<bf16>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect(),
        DType::F16 => flat.to_vec1::<f16>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn same(what: &str, got: &[u8], want: &Value) {
    let first = got.iter().take(16).fold(String::new(), |hex, b| hex + &format!("{b:02x}"));
    assert_eq!(
        (first.as_str(), hex_digest(got).as_str()),
        (want["first"].as_str().unwrap(), want["sha256"].as_str().unwrap()),
        "{what}"
    );
}

#[test]
fn the_generator_is_the_same_in_both_languages() {
    let known = oracle("common.json");
    let k = key(7, "a");
    assert_eq!((k.to_string(), child(k, 3).to_string()), (text(&known["key"]), text(&known["child"])));
    assert_eq!((0..4).map(|i| bits(k, i).to_string()).collect::<Vec<_>>(), strings(&known["bits"]));
    assert_eq!(json!((0..4).map(|i| mask_bits(k, i)).collect::<Vec<_>>()), known["mask_bits"]);
    assert_eq!(json!(permutation(k, 16)), known["permutation"]);
    for (got, want) in uniform_vec(k, 4, 0.5).into_iter().zip(numbers(&known["uniform_vec"])) {
        close("uniform", got.into(), want, 1e-15, 0.0);
    }
    for (got, want) in normal_vec(k, 4, 2.0).into_iter().zip(numbers(&known["normal_vec"])) {
        close("normal", got.into(), want, 1e-7, 0.0);
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().into()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(text).collect()
}

fn dims(value: &Value) -> (usize, usize) {
    let dim = |i: usize| usize::try_from(value[i].as_u64().unwrap()).unwrap();
    (dim(0), dim(1))
}

/// The twin of `weight` in the script.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "an exponent below 20")]
fn weight(name: &str, shape: (usize, usize), kind: &str) -> Tensor {
    let (n, k) = (shape.0 * shape.1, key(4, &format!("nf4/{name}")));
    let parts = [0, 1, 2].map(|i| uniform_vec(child(k, i), n, 0.04));
    let mut w: Vec<f32> = (0..n).map(|i| (parts[0][i] + parts[1][i]) + parts[2][i]).collect();
    for (i, w) in w.iter_mut().enumerate() {
        match kind {
            "zero blocks" if (i / 64) % 3 == 1 => *w = 0.0,
            "all zero" => *w = 0.0,
            "huge" => *w *= 1e35,
            "tiny" => *w *= 1e-37,
            "uneven" => *w *= 2.0_f32.powi(-((i / 64 % 20) as i32)),
            _ => {}
        }
    }
    let w = Tensor::from_vec(w, shape, &Device::Cpu).unwrap();
    match kind {
        "bfloat16" => w.to_dtype(DType::BF16).unwrap(),
        "float16" => w.to_dtype(DType::F16).unwrap(),
        _ => w,
    }
}

#[test]
fn maps_and_code_book_are_bitsandbytes() {
    let oracle = oracle("nf4.json");
    let digest = |values: &[f32]| hex_digest(&values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    assert_eq!(digest(&kernel::CODE), oracle["code_book"]);
    assert_eq!(digest(&QuantMap::signed().values), oracle["maps"]["signed"]);
    assert_eq!(digest(&QuantMap::unsigned().values), oracle["maps"]["unsigned"]);
}

#[test]
fn twenty_weights_have_the_same_bytes() {
    let oracle = oracle("nf4.json");
    let cases = oracle["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 20);
    for case in cases {
        let (name, shape, kind) =
            (case["name"].as_str().unwrap(), dims(&case["shape"]), case["kind"].as_str().unwrap());
        let w = weight(name, shape, kind);
        same(&format!("{name}: input"), &bytes(&w), &case["input"]);
        let (plain, double) =
            (Nf4::quantize(&w, DoubleQuant::Off).unwrap(), Nf4::quantize(&w, DoubleQuant::On).unwrap());
        same(&format!("{name}: packed"), &bytes(&plain.packed), &case["packed"]);
        same(&format!("{name}: packed, double"), &bytes(&double.packed), &case["packed"]);
        let Scales::Plain(scales) = &plain.scales else { panic!("{name}") };
        same(&format!("{name}: absmax"), &bytes(scales), &case["absmax"]);
        let Scales::Double { codes, nested, offset, .. } = &double.scales else { panic!("{name}") };
        assert_eq!(i64::from(offset.to_bits()), case["offset_bits"].as_i64().unwrap(), "{name}: {offset}");
        same(&format!("{name}: nested"), &bytes(nested), &case["nested"]);
        same(&format!("{name}: codes"), &bytes(codes), &case["codes"]);
        for (weight, dtype, expected) in [
            (&plain, DType::F32, "plain_f32"),
            (&double, DType::F32, "double_f32"),
            (&double, DType::BF16, "double_bf16"),
        ] {
            if case[expected].is_null() {
                assert_eq!((name, dtype), ("tiny", DType::BF16));
                continue;
            }
            same(&format!("{name}: {expected}"), &bytes(&weight.dequantize(dtype).unwrap()), &case[expected]);
        }
        let (wide, narrow) = (double.dequantize(DType::F64).unwrap(), double.dequantize(DType::F32).unwrap());
        assert_eq!(bytes(&wide.to_dtype(DType::F32).unwrap()), bytes(&narrow), "{name}");
        let n = shape.0 * shape.1;
        let blocks = n.div_ceil(64);
        assert_eq!(double.bytes(), n.div_ceil(2) + blocks + 4 * blocks.div_ceil(256) + 1024, "{name}");
    }
}

#[test]
fn threads_do_not_change_a_byte() {
    let w = weight("threads", (300, 257), "bell");
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let q = Nf4::quantize(&w, DoubleQuant::On).unwrap();
            (bytes(&q.packed), bytes(&q.dequantize(DType::F32).unwrap()))
        })
    };
    assert_eq!(run(1), run(7));
}

fn theirs() -> BTreeMap<String, Tensor> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracles/train/nf4_linear.safetensors");
    safetensors::load(path, &Device::Cpu).unwrap().into_iter().collect()
}

fn read(tensors: &BTreeMap<String, Tensor>, name: &str) -> setaccio_train::Result<Nf4> {
    bitsandbytes::read(Path::new("model.safetensors"), name, |key| Ok(tensors.get(key).cloned()))
}

#[test]
fn a_layer_of_bitsandbytes_loads_and_is_written_again() {
    let (oracle, theirs) = (oracle("nf4.json"), theirs());
    let mut again = BTreeMap::new();
    for name in ["double.weight", "plain.weight"] {
        assert!(bitsandbytes::is_quantized(name, |key| theirs.contains_key(key)));
        let loaded = read(&theirs, name).unwrap();
        assert_eq!((loaded.shape(), loaded.dtype.as_str()), ((96, 64), "bfloat16"));
        let ours = Nf4::quantize(&weight("linear", (96, 64), "bfloat16"), (name == "double.weight").into()).unwrap();
        for dtype in [DType::BF16, DType::F32] {
            let [loaded, ours] = [&loaded, &ours].map(|w| bytes(&w.dequantize(dtype).unwrap()));
            assert_eq!(loaded, ours);
            if dtype == DType::BF16 && name == "double.weight" {
                same(name, &loaded, &oracle["linear_bf16"]);
            }
        }
        again.extend(bitsandbytes::tensors(&ours, name).unwrap());
    }
    assert_eq!(again.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, tensor) in &theirs {
        assert_eq!((tensor.dims(), bytes(tensor)), (again[name].dims(), bytes(&again[name])), "{name}");
    }
    // The very file that the script loaded in bitsandbytes, through Params4bit.from_prequantized.
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::var_os("SETACCIO_NF4_FILE").map_or_else(|| folder.path().join("ours.safetensors"), Into::into);
    safetensors::save(&again.into_iter().collect(), &path).unwrap();
    assert_eq!(hex_digest(&std::fs::read(&path).unwrap()), oracle["ours_sha256"]);
}

#[test]
fn what_cannot_be_read_says_which_tensor_and_what_to_do() {
    let whole = theirs();
    let state = "double.weight.quant_state.bitsandbytes__nf4";
    let refuses = |change: &dyn Fn(&mut BTreeMap<String, Tensor>), tensor: &str, words: &str| {
        let mut tensors = whole.clone();
        change(&mut tensors);
        let error = read(&tensors, "double.weight").unwrap_err();
        assert!(matches!(&error, Error::Tensor { tensor: t, .. } if t == tensor), "{error}");
        assert!(error.to_string().contains(words), "{error} does not say {words}");
    };
    let edit = |from: &'static str, to: &'static str| {
        move |t: &mut BTreeMap<String, Tensor>| {
            let text = String::from_utf8(bytes(&t[state])).unwrap();
            assert!(text.contains(from), "{text}");
            t.insert(state.into(), Tensor::new(text.replace(from, to).as_bytes(), &Device::Cpu).unwrap());
        }
    };
    refuses(&edit("\"blocksize\": 64", "\"blocksize\": 128"), state, "blocksize is 128, and this reads 64");
    refuses(&edit("\"nf4\"", "\"fp4\""), state, "quantise the original weights again as nf4");
    refuses(&edit("bfloat16", "float8"), state, "dtype is float8");
    refuses(&edit("[96, 64]", "[96, 64, 1]"), state, "a linear layer has [out, in]");
    refuses(&edit("[96, 64]", "[96, 65]"), "double.weight", "asks for 3120 of U8");
    refuses(&edit("\"nested_blocksize\": 256", "\"nested_blocksize\": 128"), state, "nested_blocksize Some(128)");
    refuses(&edit("{", "("), state, "is not the JSON");
    for tensor in ["double.weight", "double.weight.absmax", "double.weight.nested_quant_map"] {
        refuses(&|t| drop(t.remove(tensor)), tensor, "is missing");
        refuses(&|t| drop(t.insert(tensor.into(), Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap())), tensor, "[3]");
    }
    let map = "double.weight.quant_map";
    refuses(
        &|t| drop(t.insert(map.into(), Tensor::zeros(16, DType::F32, &Device::Cpu).unwrap())),
        map,
        "another code book",
    );
    let fp4 = "double.weight.quant_state.bitsandbytes__fp4";
    refuses(
        &|t| {
            let s = t.remove(state).unwrap();
            t.insert(fp4.into(), s);
        },
        fp4,
        "FP4",
    );
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let mut w = vec![0.5_f32; 130];
    w[67] = f32::NAN;
    let w = Tensor::from_vec(w, (2, 65), &Device::Cpu).unwrap();
    let error = Nf4::quantize(&w, DoubleQuant::On).unwrap_err().to_string();
    assert!(error.contains("row 1, column 2"), "{error}");
}
