//! The tensors of a safetensors file, as they lie there.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use setaccio_base::{Error, Result, safetensors_header};

use crate::folder::Folder;

/// How the values of a table are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    F64,
    F32,
    F16,
    Bf16,
    I8,
    U8,
}

impl Type {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "F64" => Self::F64,
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "I8" => Self::I8,
            "U8" => Self::U8,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::I8 | Self::U8 => 1,
        }
    }
}

/// A file of tensors, in memory.
pub struct Tensors {
    path: PathBuf,
    header: safetensors_header::Header,
    bytes: Vec<u8>,
}

/// Where the rows of a table lie in a file.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// How its values are written.
    kind: Type,
    start: usize,
    /// Its rows.
    pub rows: usize,
    /// Values of a row.
    pub width: usize,
}

impl Tensors {
    /// Read the weights of a model.
    ///
    /// # Errors
    /// The file is torn or not safetensors.
    pub fn read(folder: &mut Folder) -> Result<Self> {
        let path = folder.weights.clone();
        Self::read_file(folder, &path)
    }

    /// Read another file of a model.
    ///
    /// # Errors
    /// It is torn or not safetensors.
    pub fn read_file(folder: &mut Folder, path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let header = safetensors_header::read(&file, path)?;
        let bytes = folder.read(path)?;
        if bytes.len() as u64 != header.bytes {
            return Err(Error::damaged(path, "was changed while it was read"));
        }
        Ok(Self { path: path.to_owned(), header, bytes })
    }

    /// Let go of all but a table.
    pub fn keep(&mut self, table: &mut Table) {
        let bytes = table.rows * table.width * table.kind.bytes();
        self.bytes = self.bytes[table.start..table.start + bytes].to_vec();
        self.header.tensors.clear();
        table.start = 0;
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.header.tensors.contains_key(name)
    }

    /// The error that says what is wrong with a tensor.
    pub fn wrong(&self, name: &str, why: impl std::fmt::Display) -> Error {
        Error::damaged(&self.path, format!("tensor `{name}`: {why}"))
    }

    /// A tensor of two sizes.
    pub fn table(&self, name: &str) -> Result<Table> {
        let Some(tensor) = self.header.tensors.get(name) else { return Err(self.wrong(name, "is not there")) };
        let [rows, width] = tensor.shape[..] else {
            return Err(self.wrong(name, format!("has {} sizes, not 2", tensor.shape.len())));
        };
        let kind = Type::parse(&tensor.dtype);
        let kind = kind.ok_or_else(|| self.wrong(name, format!("is of type {}, which is not read", tensor.dtype)))?;
        let start = usize::try_from(self.header.start).unwrap_or(usize::MAX).saturating_add(tensor.data_offsets.0);
        Ok(Table { kind, start, rows, width })
    }

    /// All values of a tensor, which has these sizes; a 0 stands for any.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let Some(tensor) = self.header.tensors.get(name) else { return Err(self.wrong(name, "is not there")) };
        let fits = tensor.shape.len() == shape.len() && tensor.shape.iter().zip(shape).all(|(a, b)| *b == 0 || a == b);
        if !fits {
            return Err(self.wrong(name, format!("has the sizes {:?}, not {shape:?}", tensor.shape)));
        }
        let kind = Type::parse(&tensor.dtype);
        let kind = kind.ok_or_else(|| self.wrong(name, format!("is of type {}, which is not read", tensor.dtype)))?;
        let start = usize::try_from(self.header.start).unwrap_or(usize::MAX).saturating_add(tensor.data_offsets.0);
        let table = Table { kind, start, rows: 1, width: tensor.shape.iter().product() };
        let mut values = Vec::new();
        self.row(&table, 0, &mut values);
        Ok(values)
    }

    /// The whole numbers of a tensor of one size.
    pub fn numbers(&self, name: &str) -> Result<Vec<usize>> {
        let Some(tensor) = self.header.tensors.get(name) else { return Err(self.wrong(name, "is not there")) };
        let width = match tensor.dtype.as_str() {
            "I64" | "U64" => 8,
            "I32" | "U32" => 4,
            other => return Err(self.wrong(name, format!("is of type {other}, not of whole numbers"))),
        };
        let start = usize::try_from(self.header.start).unwrap_or(usize::MAX).saturating_add(tensor.data_offsets.0);
        let bytes = &self.bytes[start..start + tensor.shape.iter().product::<usize>() * width];
        let number = |bytes: &[u8]| {
            let mut wide = [0; 8];
            wide[..width].copy_from_slice(bytes);
            usize::try_from(u64::from_le_bytes(wide)).unwrap_or(usize::MAX)
        };
        Ok(bytes.chunks_exact(width).map(number).collect())
    }

    /// The values of a row of a table, in place of what `out` held.
    pub fn row(&self, table: &Table, row: usize, out: &mut Vec<f32>) {
        out.clear();
        let bytes = table.width * table.kind.bytes();
        let start = table.start + row * bytes;
        let bytes = &self.bytes[start..start + bytes];
        match table.kind {
            #[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
            Type::F64 => out.extend(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32)),
            Type::F32 => out.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
            Type::F16 => out.extend(bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32())),
            Type::Bf16 => out.extend(bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32())),
            Type::I8 => out.extend(bytes.iter().map(|b| f32::from(b.cast_signed()))),
            Type::U8 => out.extend(bytes.iter().map(|b| f32::from(*b))),
        }
    }
}
