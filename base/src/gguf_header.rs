//! What a GGUF file says of itself, checked against its length before anything is made of it. The format:
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use crate::error::{Error, Result};

/// What a file begins with.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// Where tensors start if the file does not say.
const ALIGNMENT: u64 = 32;
const ALIGNMENT_KEY: &str = "general.alignment";
/// Longest name of a key or tensor, in bytes.
const MAX_NAME: u64 = 1 << 16;
/// Values in all lists together: a reader keeps 32 bytes of each, and vocabularies have less than a million.
const MAX_VALUES: u64 = 1 << 24;
/// Longest value that [`texts`] gives, in bytes: a chat template has some thousands.
const MAX_TEXT: u64 = 1 << 24;
/// Lists within lists.
const MAX_DEPTH: u32 = 8;
const MAX_DIMENSIONS: u32 = 4;

/// Types of tensors, by number: values in a block, and bytes of one. Of types that are not here nothing is known of the size.
const TYPES: [(u32, u64, u64); 20] = [
    (0, 1, 4),
    (1, 1, 2),
    (2, 32, 18),
    (3, 32, 20),
    (6, 32, 22),
    (7, 32, 24),
    (8, 32, 34),
    (9, 32, 36),
    (10, 256, 84),
    (11, 256, 110),
    (12, 256, 144),
    (13, 256, 176),
    (14, 256, 210),
    (15, 256, 292),
    (24, 1, 1),
    (25, 1, 2),
    (26, 1, 4),
    (27, 1, 8),
    (28, 1, 8),
    (30, 1, 2),
];

/// Values in a block of a tensor's type and bytes of one, if they are known.
pub fn block(kind: u32) -> Option<(u64, u64)> {
    TYPES.iter().find(|(known, ..)| *known == kind).map(|(_, values, bytes)| (*values, *bytes))
}

/// Check that the header of `file`, which is called `path` in messages, is whole, that no key and no tensor is there twice,
/// and that every tensor lies within the file, where tensors may start, and right behind the one before.
///
/// # Errors
/// It is not so; the message names file and tensor.
pub fn check(file: &File, path: &Path) -> Result<()> {
    let mut header = Header::new(file, path)?;
    let (tensors, alignment) = header.read()?;
    let length = header.length;
    // Where there is none, nothing has to start anywhere.
    let start = header.at.div_ceil(alignment).saturating_mul(alignment);
    let mut order = Vec::new();
    for tensor in &tensors {
        let (offset, bytes) = (tensor.offset, tensor.bytes(path)?);
        let wrong = |why: String| Err(wrong(path, &tensor.name, &why));
        if !offset.is_multiple_of(alignment) {
            return wrong(format!("starts at byte {offset} of the data, which is no multiple of {alignment}"));
        }
        let from = start.checked_add(offset);
        if from.and_then(|from| from.checked_add(bytes)).is_none_or(|end| end > length) {
            let from = from.map_or_else(|| "a byte that no file has".to_owned(), |from| format!("byte {from}"));
            return wrong(format!(
                "{bytes} bytes from {from} on, but the file has {length}: it is cut short; fetch it again"
            ));
        }
        order.push((offset, bytes, &tensor.name));
    }
    let sizes_known = tensors.iter().all(|tensor| block(tensor.kind).is_some());
    order.sort_unstable();
    for pair in order.windows(2) {
        let [(first, bytes, before), (second, _, name)] = [pair[0], pair[1]];
        let next = (first + bytes).div_ceil(alignment).saturating_mul(alignment);
        if first + bytes > second {
            return Err(wrong(path, name, &format!("starts at byte {second} of the data, upon tensor `{before}`")));
        }
        // As llama.cpp has it: a tensor of another size than its type and shape say is of another type.
        if next < second && sizes_known {
            let why =
                format!("starts at byte {second} of the data, and tensor `{before}` before it ends at byte {next}");
            return Err(wrong(path, name, &why));
        }
    }
    Ok(())
}

/// The names and texts of the metadata of `file`, a line each: what a person, or a tool, wrote into it.
///
/// # Errors
/// It has no whole header.
pub fn texts(file: &File, path: &Path) -> Result<String> {
    let mut header = Header::new(file, path)?;
    header.texts = Some(String::new());
    header.read()?;
    Ok(header.texts.unwrap_or_default())
}

struct Header<'a> {
    file: BufReader<&'a File>,
    path: &'a Path,
    /// Bytes read so far.
    at: u64,
    length: u64,
    /// Whether lengths have 64 bits, as since version 2.
    wide: bool,
    /// Values of lists that were seen so far.
    values: u64,
    /// The texts that were seen so far, where they are asked for.
    texts: Option<String>,
}

struct Tensor {
    name: String,
    /// Fastest first.
    shape: Vec<u64>,
    kind: u32,
    offset: u64,
}

impl Tensor {
    /// Bytes of its values; none where nothing is known of its type.
    fn bytes(&self, path: &Path) -> Result<u64> {
        let Some((values, bytes)) = block(self.kind) else { return Ok(0) };
        let (shape, row) = (&self.shape, self.shape.first().copied().unwrap_or(1));
        if !row.is_multiple_of(values) {
            let why = format!("{shape:?}: rows of {row} values are no whole number of blocks of {values}");
            return Err(wrong(path, &self.name, &why));
        }
        let all = shape.iter().try_fold(1_u64, |n, size| n.checked_mul(*size));
        let size = all.and_then(|n| (n / values).checked_mul(bytes));
        size.ok_or_else(|| wrong(path, &self.name, &format!("{shape:?} is larger than any file")))
    }
}

impl<'a> Header<'a> {
    fn new(file: &'a File, path: &'a Path) -> Result<Self> {
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(0)).map_err(Error::io("read", path))?;
        Ok(Self { file: reader, path, at: 0, length, wide: true, values: 0, texts: None })
    }

    /// The tensors, and what their places are multiples of.
    fn read(&mut self) -> Result<(Vec<Tensor>, u64)> {
        let magic = self.bytes::<4>()?;
        let version = u32::from_le_bytes(self.bytes()?);
        if magic != MAGIC {
            return Err(self.wrong("is not a GGUF file"));
        }
        if !(1..=3).contains(&version) {
            return Err(
                self.wrong(&format!("is of GGUF's version {version}; 1 to 3 are read, of little-endian machines"))
            );
        }
        self.wide = version > 1;
        let [tensors, keys] = [self.count()?, self.count()?];
        // What the smallest entries take: else a few bytes could ask for any number of them.
        let prefix = if self.wide { 8 } else { 4 };
        let least = tensors.saturating_mul(prefix + 16).saturating_add(keys.saturating_mul(prefix + 5));
        if least > self.length - self.at {
            return Err(self.wrong(&format!("claims {tensors} tensors and {keys} keys, and is too short for them")));
        }
        let (mut seen, mut alignment) = (BTreeSet::new(), ALIGNMENT);
        for _ in 0..keys {
            let key = self.name()?;
            self.note(&key);
            let kind = u32::from_le_bytes(self.bytes()?);
            if key == ALIGNMENT_KEY {
                alignment = self.alignment(kind)?;
            } else {
                self.value(&key, kind, 0)?;
            }
            if let Some(key) = seen.replace(key) {
                return Err(self.wrong(&format!("metadata `{key}` is there twice")));
            }
        }
        let (mut all, mut names) = (Vec::new(), BTreeSet::new());
        for _ in 0..tensors {
            let name = self.name()?;
            let dimensions = u32::from_le_bytes(self.bytes()?);
            if dimensions > MAX_DIMENSIONS {
                let why = format!("has {dimensions} dimensions; {MAX_DIMENSIONS} are the most");
                return Err(wrong(self.path, &name, &why));
            }
            let shape = (0..dimensions).map(|_| self.count()).collect::<Result<_>>()?;
            let kind = u32::from_le_bytes(self.bytes()?);
            let offset = u64::from_le_bytes(self.bytes()?);
            if !names.insert(name.clone()) {
                return Err(wrong(self.path, &name, "is there twice"));
            }
            all.push(Tensor { name, shape, kind, offset });
        }
        Ok((all, alignment))
    }

    /// What the places of tensors are multiples of, a value of this type.
    fn alignment(&mut self, kind: u32) -> Result<u64> {
        // The format says 32 bits; readers of it take the narrower types too.
        let alignment = match kind {
            0 => self.bytes::<1>()?[0].into(),
            2 => u16::from_le_bytes(self.bytes()?).into(),
            4 => u32::from_le_bytes(self.bytes()?).into(),
            5 => u64::try_from(i32::from_le_bytes(self.bytes()?)).unwrap_or(0),
            _ => return Err(self.wrong(&format!("metadata `{ALIGNMENT_KEY}` is not a whole number of 32 bits"))),
        };
        if alignment < 8 || !alignment.is_power_of_two() {
            let why = format!("metadata `{ALIGNMENT_KEY}` is {alignment}, and has to be a power of two from 8 on");
            return Err(self.wrong(&why));
        }
        Ok(alignment)
    }

    /// Pass over a value of this type.
    fn value(&mut self, key: &str, kind: u32, depth: u32) -> Result<()> {
        match kind {
            0 | 1 | 7 => self.skip(1),
            2 | 3 => self.skip(2),
            4..=6 => self.skip(4),
            10..=12 => self.skip(8),
            8 => {
                let length = self.count()?;
                if self.texts.is_none() || length > MAX_TEXT {
                    return self.skip(length);
                }
                let text = self.text(length)?;
                self.note(&text);
                Ok(())
            }
            9 if depth < MAX_DEPTH => {
                let (kind, count) = (u32::from_le_bytes(self.bytes()?), self.count()?);
                self.values = self.values.saturating_add(count);
                if self.values > MAX_VALUES {
                    return Err(self.wrong(&format!("metadata `{key}`: lists of more than {MAX_VALUES} values")));
                }
                (0..count).try_for_each(|_| self.value(key, kind, depth + 1))
            }
            9 => Err(self.wrong(&format!("metadata `{key}`: lists are nested more than {MAX_DEPTH} deep"))),
            other => Err(self.wrong(&format!("metadata `{key}`: there is no type of value {other}"))),
        }
    }

    fn name(&mut self) -> Result<String> {
        let length = self.count()?;
        if length > MAX_NAME {
            return Err(self.wrong(&format!("has a name of {length} bytes at byte {}", self.at)));
        }
        self.text(length)
    }

    fn text(&mut self, length: u64) -> Result<String> {
        self.room(length)?;
        let mut text = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.file.read_exact(&mut text).map_err(Error::io("read", self.path))?;
        self.at += length;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Keep a text, if texts are asked for.
    fn note(&mut self, text: &str) {
        if let Some(texts) = &mut self.texts {
            texts.extend([text, "\n"]);
        }
    }

    fn count(&mut self) -> Result<u64> {
        if self.wide { Ok(u64::from_le_bytes(self.bytes()?)) } else { Ok(u32::from_le_bytes(self.bytes()?).into()) }
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.room(N as u64)?;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(Error::io("read", self.path))?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        self.room(bytes)?;
        let by = i64::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof));
        by.and_then(|by| self.file.seek_relative(by)).map_err(Error::io("read", self.path))?;
        self.at += bytes;
        Ok(())
    }

    /// Check that so many bytes are left.
    fn room(&self, bytes: u64) -> Result<()> {
        if bytes <= self.length - self.at {
            return Ok(());
        }
        let (at, length) = (self.at, self.length);
        let why = format!(
            "is not a GGUF file, or cut short: {bytes} bytes from byte {at} on, but it has {length}; fetch it again"
        );
        Err(self.wrong(&why))
    }

    fn wrong(&self, why: &str) -> Error {
        Error::damaged(self.path, why)
    }
}

fn wrong(path: &Path, tensor: &str, why: &str) -> Error {
    Error::damaged(path, format!("tensor `{tensor}`: {why}"))
}

#[cfg(test)]
mod tests;
