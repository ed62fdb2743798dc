//! Safetensors files, read by range, one tensor at a time, so that a file is never in memory as a whole.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use ::safetensors::tensor::{Dtype, TensorInfo, serialize};
use candle_core::{DType, Device, Tensor, WithDType};
use half::{bf16, f16};
use serde::{
    Deserialize,
    de::{IntoDeserializer, value::Error as ValueError},
};
use setaccio_base::safetensors_header::{self, Header};

use crate::error::{Error, Result};

/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;

/// A file, its header read and checked.
#[derive(Debug)]
pub struct Safetensors {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Where the values start.
    start: u64,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Safetensors {
    /// Open a file and check that its header describes it to the last byte.
    ///
    /// # Errors
    /// It is missing, torn or not a safetensors file; the message names file and tensor.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let Header { bytes, start, tensors, .. } = safetensors_header::read(&file, path)?;
        let tensors = tensors.into_iter().map(|(name, tensor)| {
            let dtype = Dtype::deserialize(tensor.dtype.into_deserializer());
            let dtype = dtype.map_err(|e: ValueError| Error::tensor(path, &name, e.to_string()))?;
            Ok((name, TensorInfo { dtype, shape: tensor.shape, data_offsets: tensor.data_offsets }))
        });
        Ok(Self { path: path.to_owned(), file, bytes, start, tensors: tensors.collect::<Result<_>>()? })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Names of its tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Type and shape of a tensor.
    pub fn info(&self, name: &str) -> Option<(Dtype, &[usize])> {
        self.tensors.get(name).map(|info| (info.dtype, &info.shape[..]))
    }

    /// Whether a tensor has the shape and the values of one of another file, or of this one. Of the same type they are
    /// compared a piece at a time.
    ///
    /// # Errors
    /// One is not in its file, or reading fails.
    pub fn holds_the_same(&self, name: &str, (other, named): (&Self, &str)) -> Result<bool> {
        let (one, two) = (self.entry(name)?, other.entry(named)?);
        if one.shape != two.shape {
            return Ok(false);
        }
        if one.dtype != two.dtype {
            let single = |tensor: Tensor| tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
            return Ok(single(self.load(name)?)? == single(other.load(named)?)?);
        }
        let (begin, end) = one.data_offsets;
        let mut pieces = [vec![0; PIECE], vec![0; PIECE]];
        for at in (0..end - begin).step_by(PIECE) {
            let length = (end - begin - at).min(PIECE);
            for (piece, (file, info)) in pieces.iter_mut().zip([(self, one), (other, two)]) {
                let from = file.start + (info.data_offsets.0 + at) as u64;
                file.file.read_exact_at(&mut piece[..length], from).map_err(Error::io("read", &file.path))?;
            }
            if pieces[0][..length] != pieces[1][..length] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn entry(&self, name: &str) -> Result<&TensorInfo> {
        self.tensors.get(name).ok_or_else(|| Error::tensor(&self.path, name, "is not in this file"))
    }

    /// A tensor as it is stored, on the CPU.
    ///
    /// # Errors
    /// It is not in the file, is of a type that candle lacks, or reading fails.
    pub fn load(&self, name: &str) -> Result<Tensor> {
        let info = self.entry(name)?;
        match info.dtype {
            Dtype::U8 => self.values(info, u8::from_le_bytes),
            Dtype::U32 => self.values(info, u32::from_le_bytes),
            Dtype::I32 => self.values(info, i32::from_le_bytes),
            Dtype::I64 => self.values(info, i64::from_le_bytes),
            Dtype::F16 => self.values(info, f16::from_le_bytes),
            Dtype::BF16 => self.values(info, bf16::from_le_bytes),
            Dtype::F32 => self.values(info, f32::from_le_bytes),
            Dtype::F64 => self.values(info, f64::from_le_bytes),
            other => Err(Error::tensor(&self.path, name, format!("type {other} is not supported"))),
        }
    }

    /// Decoded piece by piece: beside the result there is never more than a buffer.
    fn values<T: WithDType, const N: usize>(&self, info: &TensorInfo, decode: impl Fn([u8; N]) -> T) -> Result<Tensor> {
        let (begin, end) = info.data_offsets;
        let mut values = Vec::with_capacity((end - begin) / N);
        let mut buffer = vec![0; PIECE];
        let mut at = begin;
        while at < end {
            let piece = &mut buffer[..(end - at).min(PIECE)];
            self.file.read_exact_at(piece, self.start + at as u64).map_err(Error::io("read", &self.path))?;
            values.extend(piece.as_chunks().0.iter().map(|bytes| decode(*bytes)));
            at += piece.len();
        }
        Ok(Tensor::from_vec(values, &info.shape[..], &Device::Cpu)?)
    }
}

/// A safetensors file with these tensors, as bytes: the same tensors, the same bytes.
pub fn to_bytes(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>> {
    let cpu = tensors
        .iter()
        .map(|(name, tensor)| Ok((name, tensor.to_device(&Device::Cpu)?.contiguous()?)))
        .collect::<candle_core::Result<Vec<_>>>()?;
    // What PEFT and transformers write, and what older versions of them ask for.
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize(cpu, Some(format)).map_err(|e| Error::Other(format!("cannot write safetensors: {e}")))
}

#[cfg(test)]
mod tests;
