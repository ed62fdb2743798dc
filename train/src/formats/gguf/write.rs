//! A GGUF file, version 3: header, metadata and the list of tensors first, then the values, each at a multiple of 32
//! bytes. Sizes follow from shapes and types, so tensors are made, quantised, written and dropped one by one.
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::{io::Write, path::Path};

use candle_core::{
    DType, Device, Tensor,
    quantized::{GgmlDType, QTensor, ggml_file::qtensor_from_ggml, gguf_file::Value},
};
use rayon::prelude::*;
use setaccio_base::gguf_header::MAGIC;

use crate::error::{Error, Result};

const VERSION: u32 = 3;
/// Where values may start.
const ALIGNMENT: u64 = 32;
/// Values that a thread quantises at a time, and pieces that are in memory together.
const PIECE: usize = 1 << 20;
const TOGETHER: usize = 32;
/// The largest number that f16 holds, which is what the scales of blocks are kept in.
const F16_MAX: f32 = 65504.0;

/// One tensor of the file.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// GGUF's name.
    pub name: String,
    /// Hugging Face's order: rows, then columns.
    pub shape: Vec<usize>,
    /// What its values are packed in.
    pub kind: GgmlDType,
}

impl Entry {
    /// Bytes of its values.
    fn bytes(&self) -> u64 {
        (self.shape.iter().product::<usize>() / self.kind.block_size() * self.kind.type_size()) as u64
    }
}

/// Name and number of a type in a file.
pub(crate) fn kind(kind: GgmlDType) -> (&'static str, u32) {
    match kind {
        GgmlDType::F32 => ("F32", 0),
        GgmlDType::F16 => ("F16", 1),
        GgmlDType::Q4_0 => ("Q4_0", 2),
        GgmlDType::Q4_1 => ("Q4_1", 3),
        GgmlDType::Q5_0 => ("Q5_0", 6),
        GgmlDType::Q5_1 => ("Q5_1", 7),
        GgmlDType::Q8_0 => ("Q8_0", 8),
        GgmlDType::Q8_1 => ("Q8_1", 9),
        GgmlDType::Q2K => ("Q2_K", 10),
        GgmlDType::Q3K => ("Q3_K", 11),
        GgmlDType::Q4K => ("Q4_K", 12),
        GgmlDType::Q5K => ("Q5_K", 13),
        GgmlDType::Q6K => ("Q6_K", 14),
        GgmlDType::Q8K => ("Q8_K", 15),
        GgmlDType::BF16 => ("BF16", 30),
    }
}

/// Write a whole file to `out`, which is called `path` in messages. `tensor` makes the values of an entry, in its
/// shape, in any float type. Returns the file's length.
///
/// # Errors
/// What `tensor` says; a value that is not finite or that the type cannot hold; writing fails.
pub(crate) fn write(
    (out, path): (&mut dyn Write, &Path),
    metadata: &[(String, Value)],
    entries: &[Entry],
    tensor: &mut dyn FnMut(&Entry) -> Result<Tensor>,
) -> Result<u64> {
    let mut head = Vec::new();
    head.extend(MAGIC);
    head.extend(VERSION.to_le_bytes());
    head.extend((entries.len() as u64).to_le_bytes());
    head.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        put_text(&mut head, key);
        head.extend(number(value).to_le_bytes());
        put(&mut head, key, value)?;
    }
    let mut offset = 0_u64;
    for entry in entries {
        put_text(&mut head, &entry.name);
        head.extend(u32::try_from(entry.shape.len()).unwrap_or(u32::MAX).to_le_bytes());
        entry.shape.iter().rev().for_each(|size| head.extend((*size as u64).to_le_bytes()));
        head.extend(kind(entry.kind).1.to_le_bytes());
        head.extend(offset.to_le_bytes());
        offset = (offset + entry.bytes()).next_multiple_of(ALIGNMENT);
    }
    let fault = |e| Error::io("write", path)(e);
    let start = (head.len() as u64).next_multiple_of(ALIGNMENT);
    pad(&mut head, start);
    out.write_all(&head).map_err(fault)?;
    for entry in entries {
        let made = tensor(entry)?;
        if made.dims() != entry.shape {
            let why = format!("is {:?} and was announced as {:?}", made.dims(), entry.shape);
            return Err(Error::tensor(path, &entry.name, why));
        }
        values(&made, entry.kind, &mut |bytes| out.write_all(bytes).map_err(fault)).map_err(|e| match e {
            Error::Other(message) => Error::tensor(path, &entry.name, message),
            other => other,
        })?;
        let gap = entry.bytes().next_multiple_of(ALIGNMENT) - entry.bytes();
        out.write_all(&[0; 32][..usize::try_from(gap).unwrap_or(0)]).map_err(fault)?;
    }
    Ok(start + offset)
}

fn pad(bytes: &mut Vec<u8>, length: u64) {
    bytes.resize(usize::try_from(length).unwrap_or(bytes.len()), 0);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// The number of a value's type.
fn number(value: &Value) -> u32 {
    match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

fn put(out: &mut Vec<u8>, key: &str, value: &Value) -> Result<()> {
    match value {
        Value::U8(v) => out.push(*v),
        Value::I8(v) => out.extend(v.to_le_bytes()),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::F32(v) => out.extend(v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::String(v) => put_text(out, v),
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
        Value::Array(list) => {
            // An empty list has no type of its own.
            let of = list.first().map_or(8, number);
            if list.iter().any(|v| number(v) != of) {
                return Err(Error::Other(format!("metadata `{key}`: a list has values of one type")));
            }
            out.extend(of.to_le_bytes());
            out.extend((list.len() as u64).to_le_bytes());
            list.iter().try_for_each(|v| put(out, key, v))?;
        }
    }
    Ok(())
}

/// The values of a tensor as they lie in a file, some rows at a time. Blocks do not reach across rows, so pieces of
/// whole rows give the same bytes as the whole.
fn values(tensor: &Tensor, kind: GgmlDType, write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let columns = tensor.dims().last().copied().unwrap_or(1);
    let whole = tensor.reshape(((), columns))?;
    let (rows, step) = (whole.dim(0)?, (PIECE / columns).max(1));
    let starts: Vec<usize> = (0..rows).step_by(step).collect();
    for some in starts.chunks(TOGETHER) {
        let pack = |start: &usize| packed(&whole.narrow(0, *start, step.min(rows - start))?, *start, kind);
        let packed = some.par_iter().map(pack).collect::<Result<Vec<_>>>()?;
        packed.iter().try_for_each(|bytes| write(bytes))?;
    }
    Ok(())
}

/// A tensor as a reader of the file will have it, in f32: packed and unpacked again.
///
/// # Errors
/// A value is not finite, or the type cannot hold it.
pub(crate) fn rounded(tensor: &Tensor, kind: GgmlDType) -> Result<Tensor> {
    let columns = tensor.dims().last().copied().unwrap_or(1);
    let whole = tensor.reshape(((), columns))?;
    let (rows, step) = (whole.dim(0)?, (PIECE / columns).max(1));
    let starts: Vec<usize> = (0..rows).step_by(step).collect();
    let read = |start: &usize| -> Result<Tensor> {
        let n = step.min(rows - start);
        let bytes = packed(&whole.narrow(0, *start, n)?, *start, kind)?;
        Ok(qtensor_from_ggml(kind, &bytes, vec![n, columns], &Device::Cpu)?.dequantize(&Device::Cpu)?)
    };
    let pieces = starts.par_iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&pieces, 0)?.reshape(tensor.shape())?)
}

/// Rows from `first` on in the bytes of their type.
fn packed(rows: &Tensor, first: usize, to: GgmlDType) -> Result<Vec<u8>> {
    let shape = rows.dims2()?;
    let narrow = !matches!(to, GgmlDType::F32 | GgmlDType::BF16);
    let values = rows.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    if let Some(i) = values.iter().position(|x| !x.is_finite() || (narrow && x.abs() > F16_MAX)) {
        let (value, name) = (values[i], kind(to).0);
        let why = if value.is_finite() { "is too large for" } else { "cannot be written as" };
        return Err(Error::Other(format!(
            "the value at row {}, column {} is {value}, which {why} {name}",
            first + i / shape.1,
            i % shape.1
        )));
    }
    // candle quantises all that a tensor's memory holds, whatever part of it the tensor is: so it gets memory of its own.
    Ok(QTensor::quantize(&Tensor::from_vec(values, shape, &Device::Cpu)?, to)?.data()?.into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use candle_core::quantized::gguf_file::Content;

    use super::*;
    use crate::random::{key, normal_vec};

    fn entries() -> Vec<Entry> {
        [
            ("one", vec![7], GgmlDType::F32),
            ("two", vec![3, 5], GgmlDType::F16),
            ("three", vec![4, 64], GgmlDType::Q8_0),
            ("four", vec![9000, 256], GgmlDType::Q4K),
            ("five", vec![2, 3], GgmlDType::BF16),
        ]
        .map(|(name, shape, kind)| Entry { name: name.into(), shape, kind })
        .to_vec()
    }

    fn make(entry: &Entry) -> Tensor {
        let n = entry.shape.iter().product();
        Tensor::from_vec(normal_vec(key(1, &entry.name), n, 1.0), &entry.shape[..], &Device::Cpu).unwrap()
    }

    fn metadata() -> Vec<(String, Value)> {
        let texts = ["a", "", "perché"].map(|t| Value::String(t.into())).to_vec();
        let pairs = [
            ("u8", Value::U8(200)),
            ("i8", Value::I8(-2)),
            ("u16", Value::U16(60000)),
            ("i16", Value::I16(-300)),
            ("u32", Value::U32(4_000_000_000)),
            ("i32", Value::I32(-70000)),
            ("f32", Value::F32(1e-5)),
            ("bool", Value::Bool(true)),
            ("text", Value::String("Ciao".into())),
            ("texts", Value::Array(texts)),
            ("none", Value::Array(Vec::new())),
            ("lists", Value::Array(vec![Value::Array(vec![Value::I64(-5)]), Value::Array(vec![Value::I64(6)])])),
            ("u64", Value::U64(1 << 40)),
            ("f64", Value::F64(0.1)),
        ];
        pairs.map(|(key, value)| (key.to_owned(), value)).to_vec()
    }

    #[test]
    fn candle_reads_what_is_written() {
        let mut bytes = Vec::new();
        let length = write((&mut bytes, Path::new("m.gguf")), &metadata(), &entries(), &mut |e| Ok(make(e))).unwrap();
        assert_eq!(length, bytes.len() as u64);
        let mut file = Cursor::new(&bytes);
        let content = Content::read(&mut file).unwrap();
        for (key, value) in metadata() {
            assert_eq!(format!("{:?}", content.metadata[&key]), format!("{value:?}"), "{key}");
        }
        for entry in entries() {
            let read = content.tensor(&mut file, &entry.name, &Device::Cpu).unwrap();
            assert_eq!((read.shape().dims(), read.dtype()), (&entry.shape[..], entry.kind));
            // Quantised whole, not in pieces.
            let want = QTensor::quantize(&make(&entry), entry.kind).unwrap();
            assert!(read.data().unwrap() == want.data().unwrap(), "{}", entry.name);
        }
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let said = |bad: f32, kind| {
            let entry = Entry { name: "w".into(), shape: vec![4, 32], kind };
            let mut values = vec![1.0; 128];
            values[70] = bad;
            let made = Tensor::from_vec(values, (4, 32), &Device::Cpu).unwrap();
            write((&mut Vec::new(), Path::new("m.gguf")), &[], &[entry], &mut |_| Ok(made.clone()))
                .map_or_else(|e| e.to_string(), |_| String::new())
        };
        let nan = said(f32::NAN, GgmlDType::F32);
        assert!(nan.contains("m.gguf: tensor `w`: the value at row 2, column 6 is NaN"), "{nan}");
        let large = said(70000.0, GgmlDType::Q8_0);
        assert!(large.contains("70000, which is too large for Q8_0"), "{large}");
        assert_eq!([said(70000.0, GgmlDType::F32), said(70000.0, GgmlDType::BF16)], [String::new(), String::new()]);
        let mixed = [("x".to_owned(), Value::Array(vec![Value::U8(1), Value::I8(1)]))];
        let error = write((&mut Vec::new(), Path::new("m")), &mixed, &[], &mut |e| Ok(make(e))).unwrap_err();
        assert!(error.to_string().contains("values of one type"));
    }
}
