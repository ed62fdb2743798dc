//! bitsandbytes' 4-bit checkpoints: beside `NAME.weight` (u8) lie `.absmax`, `.quant_map`, with double
//! quantisation `.nested_absmax` and `.nested_quant_map`, and `.quant_state.bitsandbytes__nf4`, which is JSON as
//! bytes. config.json says so in `quantization_config`.

use std::path::Path;

use candle_core::{DType, Tensor};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    error::{Error, Result},
    kernels::nf4::{BLOCK, CODE, NESTED},
    nf4::{DoubleQuant, Nf4, Scales},
};

const STATE: &str = "quant_state.bitsandbytes__";

/// The bytes of `quant_state`.
#[derive(Deserialize)]
struct State {
    quant_type: String,
    blocksize: usize,
    dtype: String,
    shape: Vec<usize>,
    nested_blocksize: Option<usize>,
    nested_dtype: Option<String>,
    nested_offset: Option<f64>,
}

/// Whether the weight called `name` (with `.weight`) is a 4-bit one, given whether there is a tensor of a name.
pub fn is_quantized(name: &str, has: impl Fn(&str) -> bool) -> bool {
    ["nf4", "fp4"].iter().any(|kind| has(&format!("{name}.{STATE}{kind}")))
}

/// Every tensor of the weight called `name` (with `.weight`), by its name in the file.
pub fn tensors(weight: &Nf4, name: &str) -> Result<Vec<(String, Tensor)>> {
    let (device, (out, input)) = (weight.packed.device(), weight.shape());
    let mut state = format!(
        r#"{{"quant_type": "nf4", "blocksize": {BLOCK}, "dtype": "{}", "shape": [{out}, {input}]"#,
        weight.dtype
    );
    let mut all = vec![(name.to_owned(), weight.packed.clone())];
    let mut add = |key: &str, tensor: Tensor| all.push((format!("{name}.{key}"), tensor));
    match &weight.scales {
        Scales::Plain(scales) => add("absmax", scales.clone()),
        Scales::Double { codes, map, nested, offset } => {
            add("absmax", codes.clone());
            add("nested_absmax", nested.clone());
            add("nested_quant_map", map.clone());
            let offset = python(f64::from(*offset));
            let nested =
                format!(r#", "nested_blocksize": {NESTED}, "nested_dtype": "float32", "nested_offset": {offset}"#);
            state.push_str(&nested);
        }
    }
    state.push('}');
    add("quant_map", Tensor::new(&CODE, device)?);
    add(&format!("{STATE}nf4"), Tensor::new(state.as_bytes(), device)?);
    Ok(all)
}

/// A float as Python writes it, so that the bytes are those of bitsandbytes.
fn python(x: f64) -> String {
    if x == 0.0 || (1e-4..1e16).contains(&x.abs()) {
        return format!("{x:?}");
    }
    let text = format!("{x:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// Read the weight called `name` (with `.weight`) of `file`, given a way to get a tensor by its name.
///
/// # Errors
/// A tensor is missing or not what the state says; fp4, or blocks other than 64 and 256; what `get` says.
pub fn read(file: &Path, name: &str, mut get: impl FnMut(&str) -> Result<Option<Tensor>>) -> Result<Nf4> {
    let mut part = |key: &str| -> Result<(String, Option<Tensor>)> {
        let key = if key.is_empty() { name.to_owned() } else { format!("{name}.{key}") };
        let tensor = get(&key)?;
        Ok((key, tensor))
    };
    let (key, state) = part(&format!("{STATE}nf4"))?;
    let Some(state) = state else {
        let (fp4, found) = part(&format!("{STATE}fp4"))?;
        return Err(match found {
            Some(_) => Error::tensor(file, &fp4, "is FP4, and this reads NF4: quantise the original weights as nf4"),
            None => Error::tensor(file, &key, "is missing: the weight is not NF4, or only part of it was saved"),
        });
    };
    let bytes = state.flatten_all()?.to_vec1::<u8>().map_err(|e| Error::tensor(file, &key, e.to_string()))?;
    let state: State = serde_json::from_slice(&bytes)
        .map_err(|e| Error::tensor(file, &key, format!("is not the JSON that bitsandbytes writes: {e}")))?;
    let shape = check(&state).map_err(|e| Error::tensor(file, &key, e))?;

    let mut typed = |key: &str, dtype: DType, len: usize| -> Result<Tensor> {
        let (key, tensor) = part(key)?;
        let Some(tensor) = tensor else {
            return Err(Error::tensor(file, &key, "is missing: save the checkpoint again"));
        };
        if tensor.dtype() != dtype || tensor.elem_count() != len {
            let found = format!("{:?} {:?}", tensor.dtype(), tensor.dims());
            let hint = if key == name { " (bnb_4bit_quant_storage must be uint8)" } else { "" };
            return Err(Error::tensor(file, &key, format!("is {found}; its state asks for {len} of {dtype:?}{hint}")));
        }
        Ok(tensor.flatten_all()?.contiguous()?)
    };
    let count = shape.0 * shape.1;
    let (bytes, blocks) = (count.div_ceil(2), count.div_ceil(BLOCK));
    let packed = typed("", DType::U8, bytes)?.reshape((bytes, 1))?;
    let map = typed("quant_map", DType::F32, CODE.len())?.to_vec1::<f32>()?;
    if map.iter().zip(CODE).any(|(a, b)| (a - b).abs() > 1e-6) {
        let message = "is another code book than NF4's: quantise the original weights again";
        return Err(Error::tensor(file, &format!("{name}.quant_map"), message));
    }
    let scales = match state.nested_offset {
        None => Scales::Plain(typed("absmax", DType::F32, blocks)?),
        #[allow(clippy::cast_possible_truncation, reason = "an f32 written in decimal")]
        Some(offset) => Scales::Double {
            codes: typed("absmax", DType::U8, blocks)?,
            map: typed("nested_quant_map", DType::F32, 256)?,
            nested: typed("nested_absmax", DType::F32, blocks.div_ceil(NESTED))?,
            offset: offset as f32,
        },
    };
    Nf4::of(packed, scales, &state.dtype, shape)
}

/// (out, in), if this reads such a state.
fn check(state: &State) -> std::result::Result<(usize, usize), String> {
    let again = "quantise the original weights again";
    if state.quant_type != "nf4" {
        return Err(format!("quant_type is {}; {again} as nf4", state.quant_type));
    }
    if state.blocksize != BLOCK {
        return Err(format!("blocksize is {}, and this reads {BLOCK}; {again}", state.blocksize));
    }
    if !["float32", "bfloat16", "float16"].contains(&state.dtype.as_str()) {
        return Err(format!("dtype is {}; it can be float32, bfloat16 or float16; {again}", state.dtype));
    }
    match (state.nested_offset, state.nested_blocksize, state.nested_dtype.as_deref()) {
        (None, None, None) => {}
        (Some(offset), Some(NESTED), Some("float32")) if offset.is_finite() => {}
        (offset, block, dtype) => {
            let found = format!("nested_offset {offset:?}, nested_blocksize {block:?}, nested_dtype {dtype:?}");
            return Err(format!("has {found}; this reads a number, {NESTED} and float32; {again}"));
        }
    }
    match state.shape[..] {
        [out, input] if out > 0 && input > 0 => Ok((out, input)),
        _ => Err(format!("shape is {:?}; a linear layer has [out, in]; {again}", state.shape)),
    }
}

/// The `quantization_config` of config.json, as transformers writes it. `dtype` is what is computed in, e.g.
/// `bfloat16`; `skip` names the modules that stay as they were.
pub fn config(double: DoubleQuant, dtype: &str, skip: &[&str]) -> Value {
    json!({
        "_load_in_4bit": true,
        "_load_in_8bit": false,
        "bnb_4bit_compute_dtype": dtype,
        "bnb_4bit_quant_storage": "uint8",
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": double == DoubleQuant::On,
        "llm_int8_enable_fp32_cpu_offload": false,
        "llm_int8_has_fp16_weight": false,
        "llm_int8_skip_modules": if skip.is_empty() { Value::Null } else { json!(skip) },
        "llm_int8_threshold": 6.0,
        "load_in_4bit": true,
        "load_in_8bit": false,
        "quant_method": "bitsandbytes",
    })
}

#[cfg(test)]
mod tests {
    use super::python;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        // The right side is Python's repr.
        for (x, text) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (0.08, "0.08"),
            (-0.25, "-0.25"),
            (f64::from(0.1_f32), "0.10000000149011612"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (-1.5e-7, "-1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (2.5e-120, "2.5e-120"),
        ] {
            assert_eq!(python(x), text);
        }
    }
}
