//! Weights as transformers saves them: safetensors files of a size that can be handled, and an index where there are
//! several. The headers are known before the values, so tensors are made, written and dropped one by one.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use ::safetensors::View;
use candle_core::{DType, Tensor};
use serde_json::json;
use setaccio_base::atomic;

use super::model_files::{INDEX, WHOLE};
use crate::error::{Error, Result};

/// Values that are brought to their type at a time.
const PIECE: usize = 1 << 22;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardCounts {
    /// Files of weights.
    pub shards: usize,
    /// Bytes of values, without headers.
    pub bytes: u64,
}

/// Write all tensors of `shapes` into `folder`, in that order, as `dtype`, at most `limit` bytes of values a file
/// unless one tensor alone is larger. `tensor` makes each, of the shape that it is given, in any float type.
///
/// # Errors
/// What `tensor` says; a value that is not finite, or not any more in `dtype`; the file system refuses.
pub fn write(
    folder: &Path,
    dtype: DType,
    shapes: &[(String, Vec<usize>)],
    limit: u64,
    tensor: &mut dyn FnMut(&str, &[usize]) -> Result<Tensor>,
) -> Result<ShardCounts> {
    let size = |shape: &[usize]| (shape.iter().product::<usize>() * dtype.size_in_bytes()) as u64;
    let mut shards: Vec<&[(String, Vec<usize>)]> = Vec::new();
    let (mut first, mut held, mut bytes) = (0, 0, 0);
    for (i, (_, shape)) in shapes.iter().enumerate() {
        if i > first && held + size(shape) > limit {
            shards.push(&shapes[first..i]);
            (first, held) = (i, 0);
        }
        held += size(shape);
        bytes += size(shape);
    }
    shards.push(&shapes[first..]);
    let mut map = BTreeMap::new();
    for (number, shard) in (1..).zip(&shards) {
        let name = match shards.len() {
            1 => WHOLE.to_owned(),
            of => format!("model-{number:05}-of-{of:05}.safetensors"),
        };
        one(&folder.join(&name), dtype, shard, tensor)?;
        map.extend(shard.iter().map(|(tensor, _)| (tensor.as_str(), name.clone())));
    }
    if shards.len() > 1 {
        let mut index = json!({ "metadata": { "total_size": bytes }, "weight_map": map });
        index.sort_all_objects();
        atomic::write(&folder.join(INDEX), format!("{index:#}\n").as_bytes())?;
    }
    Ok(ShardCounts { shards: shards.len(), bytes })
}

/// One file.
fn one(
    path: &Path,
    dtype: DType,
    shapes: &[(String, Vec<usize>)],
    tensor: &mut dyn FnMut(&str, &[usize]) -> Result<Tensor>,
) -> Result<()> {
    let kind = match dtype {
        DType::F32 => "F32",
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        other => return Err(Error::Other(format!("models are written in f32, f16 or bf16, not {}", other.as_str()))),
    };
    let (mut header, mut at) = (BTreeMap::from([("__metadata__", json!({ "format": "pt" }))]), 0);
    for (name, shape) in shapes {
        let end = at + shape.iter().product::<usize>() * dtype.size_in_bytes();
        header.insert(name, json!({ "data_offsets": [at, end], "dtype": kind, "shape": shape }));
        at = end;
    }
    let mut header = serde_json::to_vec(&header).map_err(|e| Error::Other(e.to_string()))?;
    // The format asks for values that start at a multiple of eight.
    header.resize(header.len().next_multiple_of(8), b' ');
    let fault = |e| Error::io("write", path)(e);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).map_err(Error::io("create", path))?);
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(fault)?;
    out.write_all(&header).map_err(fault)?;
    for (name, shape) in shapes {
        values(&tensor(name, shape)?, dtype, &mut |bytes| out.write_all(bytes).map_err(fault))
            .map_err(|e| named(e, path, name))?;
    }
    let file = out.into_inner().map_err(|e| fault(e.into_error()))?;
    file.sync_all().map_err(Error::io("flush", path))
}

/// A fault of the values knows no tensor.
fn named(error: Error, path: &Path, name: &str) -> Error {
    match error {
        Error::Other(message) => Error::tensor(path, name, message),
        other => other,
    }
}

/// The values of a tensor as they lie in a file, a piece at a time.
fn values(tensor: &Tensor, dtype: DType, write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let flat = tensor.flatten_all()?;
    for start in (0..flat.elem_count()).step_by(PIECE) {
        let piece = flat.narrow(0, start, PIECE.min(flat.elem_count() - start))?;
        let cast = piece.to_dtype(dtype)?.contiguous()?;
        let single = |t: &Tensor| -> Result<Vec<f32>> { Ok(t.to_dtype(DType::F32)?.to_vec1()?) };
        if let Some(i) = single(&cast)?.iter().position(|x| !x.is_finite()) {
            let value = single(&piece)?[i];
            let columns = tensor.dims().last().copied().unwrap_or(1).max(1);
            let place = format!("the value at row {}, column {}", (start + i) / columns, (start + i) % columns);
            return Err(Error::Other(if value.is_finite() {
                format!("{place} is {value}, which {} cannot hold: write bf16 or f32", dtype.as_str())
            } else {
                format!("{place} is {value}: the base is damaged or the training diverged; take an earlier adapter")
            }));
        }
        write(&cast.data())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use candle_core::Device;

    use super::*;
    use crate::{
        formats::safetensors::Safetensors,
        random::{key, normal_vec},
    };

    fn make(name: &str, shape: &[usize]) -> Tensor {
        Tensor::from_vec(normal_vec(key(1, name), shape.iter().product(), 1.0), shape, &Device::Cpu).unwrap()
    }

    fn shapes() -> Vec<(String, Vec<usize>)> {
        [("b", vec![4, 6]), ("a", vec![3]), ("c", vec![5, 5]), ("d", vec![2, 2])].map(|(n, s)| (n.into(), s)).to_vec()
    }

    #[test]
    fn shards_hold_as_much_as_they_may() {
        // In bf16: b has 48 bytes, a 6, c 50, d 8.
        for (limit, names) in [
            (112, vec!["model.safetensors"]),
            (111, vec!["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]),
            (54, vec!["1", "2", "3"]),
            (1, vec!["1", "2", "3", "4"]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let done = write(dir.path(), DType::BF16, &shapes(), limit, &mut |n, s| Ok(make(n, s))).unwrap();
            assert_eq!(done, ShardCounts { shards: names.len(), bytes: 112 }, "{limit}");
            let index = fs::read(dir.path().join(INDEX)).ok();
            assert_eq!(index.is_some(), names.len() > 1);
            let index: serde_json::Value = serde_json::from_slice(&index.unwrap_or(b"{}".to_vec())).unwrap();
            if names.len() > 1 {
                assert_eq!(index["metadata"]["total_size"], 112);
            }
            for (name, shape) in shapes() {
                let file = index["weight_map"][&name].as_str().unwrap_or(WHOLE);
                let read = Safetensors::open(&dir.path().join(file)).unwrap().load(&name).unwrap();
                let want = make(&name, &shape).to_dtype(DType::BF16).unwrap();
                assert_eq!((read.dims(), read.dtype()), (&shape[..], DType::BF16));
                assert_eq!(read.data(), want.data(), "{name}");
            }
        }
    }

    #[test]
    fn values_that_a_type_cannot_hold_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let said = |bad: f32, dtype| {
            write(dir.path(), dtype, &shapes(), 1 << 20, &mut |name, shape| {
                let mut values = vec![1.0; shape.iter().product()];
                if name == "c" {
                    values[13] = bad;
                }
                Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
            })
        };
        let error = said(70000.0, DType::F16).unwrap_err().to_string();
        assert!(error.contains("`c`: the value at row 2, column 3 is 70000") && error.contains("bf16"), "{error}");
        let error = said(f32::NAN, DType::BF16).unwrap_err().to_string();
        assert!(error.contains("row 2, column 3 is NaN"), "{error}");
        assert!(said(70000.0, DType::BF16).is_ok());
    }
}
