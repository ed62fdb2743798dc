//! What a safetensors file says of itself, checked against its length before a value is read. The format: eight bytes of
//! length, a header of JSON, then the values, end to end: <https://huggingface.co/docs/safetensors>.

use std::{collections::BTreeMap, fmt, fs::File, os::unix::fs::FileExt, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use serde_json::Value;

use crate::error::{Error, Result};

/// Longest header that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;
/// What is no tensor's name.
const METADATA: &str = "__metadata__";

/// Types of values, and their bits.
const TYPES: [(&str, usize); 22] = [
    ("F4", 4),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("BOOL", 8),
    ("U8", 8),
    ("I8", 8),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("I16", 16),
    ("U16", 16),
    ("F16", 16),
    ("BF16", 16),
    ("I32", 32),
    ("U32", 32),
    ("F32", 32),
    ("I64", 64),
    ("U64", 64),
    ("F64", 64),
    ("C64", 64),
];

/// A checked header.
#[derive(Clone, Debug)]
pub struct Header {
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Where the values start.
    pub start: u64,
    /// Every tensor by its name.
    pub tensors: BTreeMap<String, Tensor>,
    /// What whoever wrote it says of it.
    pub metadata: BTreeMap<String, String>,
}

/// What a header says of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Tensor {
    /// Type of its values, as the format names it: `F32`.
    pub dtype: String,
    /// Its sizes, slowest first.
    pub shape: Vec<usize>,
    /// Where its bytes begin and end, from the start of the values.
    pub data_offsets: (usize, usize),
}

/// Read the header of `file`, which is called `path` in messages, and check that it describes the file to the last byte.
///
/// # Errors
/// The file is torn or not safetensors, tensors overlap or leave a hole, a name is there twice; the message names file and
/// tensor.
pub fn read(file: &File, path: &Path) -> Result<Header> {
    let bytes = file.metadata().map_err(Error::io("read", path))?.len();
    let torn = |why: String| Error::damaged(path, format!("{why}: it is cut short or not safetensors; fetch it again"));
    if bytes < 8 {
        return Err(torn(format!("has only {bytes} bytes")));
    }
    let mut length = [0; 8];
    file.read_exact_at(&mut length, 0).map_err(Error::io("read", path))?;
    if &length == b"version " {
        return Err(Error::damaged(path, "is the pointer that Git LFS leaves; fetch the file itself: `git lfs pull`"));
    }
    let header = u64::from_le_bytes(length);
    if header > MAX_HEADER || header > bytes - 8 {
        return Err(torn(format!("has {bytes} bytes, and a header that claims {header}")));
    }
    let mut json = vec![0; usize::try_from(header).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut json, 8).map_err(Error::io("read", path))?;
    let Entries(entries, metadata) =
        serde_json::from_slice(&json).map_err(|e| torn(format!("the header is not JSON of its kind ({e})")))?;
    drop(json);
    let mut tensors = BTreeMap::new();
    for (name, value) in entries {
        let tensor = Tensor::deserialize(value).map_err(|e| e.to_string()).and_then(|tensor| {
            let known = TYPES.iter().any(|(known, _)| *known == tensor.dtype);
            if known { Ok(tensor) } else { Err(format!("there is no type `{}`", tensor.dtype)) }
        });
        let tensor = tensor.map_err(|e| wrong(path, &name, format!("the header's entry is wrong: {e}")))?;
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(wrong(path, &name, "is in the header twice"));
        }
    }
    let header = Header { bytes, start: 8 + header, tensors, metadata };
    header.check(path)?;
    Ok(header)
}

impl Header {
    /// Check that the tensors fill the values without gap or overlap, each with the bytes that its shape asks for.
    fn check(&self, path: &Path) -> Result<()> {
        let length = self.bytes - self.start;
        let mut order: Vec<_> = self.tensors.iter().collect();
        order.sort_by_key(|(_, tensor)| tensor.data_offsets);
        let mut next = 0;
        for (name, tensor) in order {
            let (begin, end) = tensor.data_offsets;
            let wrong = |why: String| Err(wrong(path, name, why));
            if end as u64 > length {
                return wrong(format!(
                    "ends at byte {end} of the data, which has {length}: the file is cut short; fetch it again"
                ));
            }
            if begin != next || end < begin {
                return wrong(format!("lies at bytes {begin} to {end} of the data, where {next} should come next"));
            }
            let bits = TYPES.iter().find(|(name, _)| *name == tensor.dtype).map(|(_, bits)| *bits);
            let bits = bits.and_then(|bits| tensor.shape.iter().try_fold(bits, |n, size| n.checked_mul(*size)));
            if bits.is_none() || bits != (end - begin).checked_mul(8) {
                let (shape, dtype) = (&tensor.shape, &tensor.dtype);
                return wrong(format!("has {} bytes, which is not {shape:?} of {dtype}", end - begin));
            }
            next = end;
        }
        if next as u64 == length {
            return Ok(());
        }
        Err(Error::damaged(path, format!("has {} bytes after the last tensor; fetch it again", length - next as u64)))
    }
}

fn wrong(path: &Path, name: &str, why: impl fmt::Display) -> Error {
    Error::damaged(path, format!("tensor `{name}`: {why}"))
}

/// The entries of the header in their order, as a map would keep the last of two that share a name; and its metadata.
struct Entries(Vec<(String, Value)>, BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Entries, A::Error> {
                let (mut entries, mut metadata) = (Vec::new(), None::<BTreeMap<String, String>>);
                while let Some(name) = map.next_key::<String>()? {
                    if name != METADATA {
                        entries.push((name, map.next_value()?));
                        continue;
                    }
                    if metadata.replace(map.next_value()?).is_some() {
                        return Err(de::Error::custom(format!("{METADATA} is there twice")));
                    }
                }
                Ok(Entries(entries, metadata.unwrap_or_default()))
            }
        }
        from.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// What is said of a file with this header and so many bytes of values; nothing if it is good.
    fn said(header: &str, values: usize) -> String {
        let mut file = tempfile::tempfile().unwrap_or_else(|e| panic!("{e}"));
        let length = (header.len() as u64).to_le_bytes();
        for part in [&length[..], header.as_bytes(), &vec![0; values]] {
            file.write_all(part).unwrap_or_else(|e| panic!("{e}"));
        }
        read(&file, Path::new("m.safetensors")).map_or_else(|e| e.to_string(), |_| String::new())
    }

    #[test]
    fn headers_are_held_against_the_file() {
        let a = r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
        for good in [
            (format!("{{{a}}}"), 8),
            (format!(r#"{{"__metadata__":{{"format":"pt"}},{a}}}   "#), 8),
            (r#"{"s":{"dtype":"F64","shape":[],"data_offsets":[0,8]},"e":{"dtype":"F32","shape":[0,9],"data_offsets":[8,8]}}"#.into(), 8),
            ("{}".into(), 0),
        ] {
            assert_eq!(said(&good.0, good.1), "", "{}", good.0);
        }
        for (header, values, want) in [
            (format!("{{{a}}}"), 7, "tensor `a`: ends at byte 8 of the data, which has 7"),
            (format!("{{{a}}}"), 9, "has 1 bytes after the last tensor"),
            (format!("{{{a},{a}}}"), 8, "tensor `a`: is in the header twice"),
            (
                format!("{{{a},{}}}", a.replace("\"a\"", "\"b\"")),
                8,
                "tensor `b`: lies at bytes 0 to 8 of the data, where 8",
            ),
            (
                format!("{{{}}}", a.replace("[0,8]", "[1,9]")),
                9,
                "tensor `a`: lies at bytes 1 to 9 of the data, where 0",
            ),
            (format!("{{{}}}", a.replace("[0,8]", "[8,0]")), 8, "tensor `a`: lies at bytes 8 to 0"),
            (format!("{{{}}}", a.replace("[2]", "[3]")), 8, "tensor `a`: has 8 bytes, which is not [3] of F32"),
            (
                format!("{{{}}}", a.replace("[2]", "[4611686018427387904,4,2]")),
                8,
                "tensor `a`: has 8 bytes, which is not [46",
            ),
            (
                format!("{{{}}}", a.replace("[2]", "[-2]")),
                8,
                "tensor `a`: the header's entry is wrong: invalid value: integer `-2`",
            ),
            (
                format!("{{{}}}", a.replace("F32", "F33")),
                8,
                "tensor `a`: the header's entry is wrong: there is no type `F33`",
            ),
            (format!(r#"{{"__metadata__":{{}},"__metadata__":{{}},{a}}}"#), 8, "__metadata__ is there twice"),
            (format!(r#"{{"__metadata__":{{"n":1}},{a}}}"#), 8, "expected a string"),
            ("[1]".into(), 0, "expected an object of tensors"),
            ("[".repeat(100_000), 0, "expected an object of tensors"),
            (format!(r#"{{"a":{}"#, "[".repeat(100_000)), 0, "recursion limit"),
        ] {
            let said = said(&header, values);
            assert!(said.starts_with("m.safetensors: ") && said.contains(want), "{header:.80}: {said}");
        }
    }
}
