//! How to merge, and how a person says it.

use candle_core::DType;
use setaccio_base::suggest;

use super::weights::Precision;
use crate::error::{Error, Result};

/// Types that weights are merged in.
pub const DTYPES: [(&str, DType); 3] = [("bf16", DType::BF16), ("f16", DType::F16), ("f32", DType::F32)];
const UNITS: [(&str, u64); 6] =
    [("kib", 1 << 10), ("mib", 1 << 20), ("gib", 1 << 30), ("kb", 1_000), ("mb", 1_000_000), ("gb", 1_000_000_000)];

/// How to merge.
#[derive(Clone, Debug)]
pub struct Options {
    /// Type of the merged weights; none takes that of the base's embedding (f32 from GGUF).
    pub dtype: Option<DType>,
    /// Bytes of values in a file, at most.
    pub shard_bytes: u64,
    /// What of the base is added to.
    pub precision: Precision,
    /// Whether to compare with the adapter on.
    pub check: bool,
    /// Whether the caller knows that the base is the adapter's, whatever it is called.
    pub same_base: bool,
    /// Whether to replace a model that is there.
    pub force: bool,
    /// Whether to write a card.
    pub card: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dtype: None,
            shard_bytes: 5_000_000_000,
            precision: Precision::Stored,
            check: true,
            same_base: false,
            force: false,
            card: true,
        }
    }
}

/// The type that a person calls `bf16`, `f16` or `f32`.
pub fn dtype(name: &str) -> Result<DType> {
    DTYPES.iter().find(|(known, _)| *known == name).map(|(_, dtype)| *dtype).ok_or_else(|| {
        let near = suggest::nearest(name, DTYPES.map(|(known, _)| known));
        Error::Other(format!("weights are written in bf16, f16 or f32, not in `{name}`{near}"))
    })
}

/// What a person calls a type.
pub(super) fn name_of(dtype: DType) -> String {
    let known = DTYPES.iter().find(|(_, known)| *known == dtype);
    known.map_or_else(|| dtype.as_str().to_owned(), |(name, _)| (*name).to_owned())
}

/// Bytes that a person calls `5GB`, `500MB` or `2GiB`.
pub fn bytes(text: &str) -> Result<u64> {
    let lower = text.to_lowercase();
    let size = UNITS.iter().find_map(|(unit, size)| Some((lower.strip_suffix(unit)?, size)));
    let number = size.and_then(|(number, size)| number.trim().parse::<u64>().ok()?.checked_mul(*size));
    number.filter(|n| *n > 0).ok_or_else(|| Error::Other(format!("`{text}` is no size of a file: say 5GB or 500MB")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_types_are_read_as_people_write_them() {
        for (text, n) in [("5GB", 5_000_000_000), ("500mb", 500_000_000), ("2 GiB", 2 << 30), ("1kb", 1000)] {
            assert_eq!(bytes(text).unwrap(), n, "{text}");
        }
        for text in ["", "5", "0GB", "-1GB", "1.5GB", "99999999999999GB", "GB"] {
            assert!(bytes(text).unwrap_err().to_string().contains("say 5GB"), "{text}");
        }
        assert_eq!(dtype("bf16").unwrap(), DType::BF16);
        assert!(dtype("b16").unwrap_err().to_string().contains("did you mean `bf16`"));
    }
}
