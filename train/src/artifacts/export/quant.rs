//! What the matrices of a GGUF file are packed in, and which of them in something else.

use candle_core::quantized::GgmlDType;
use setaccio_base::suggest;

use crate::error::{Error, Result};

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quant {
    /// 32 bits a weight.
    F32,
    /// 16 bits.
    F16,
    /// 16 bits, with the range of f32.
    Bf16,
    /// 8.5 bits: blocks of 32 with a scale.
    Q8_0,
    /// 4.5 bits: blocks of 32 with a scale.
    Q4_0,
    /// 4.5 bits: blocks of 256 in eight parts with scale and offset each.
    Q4K,
    /// 6.6 bits: blocks of 256 in sixteen parts with a scale each.
    Q6K,
}

/// Every one with its name and what `general.file_type` calls it.
const KNOWN: [(&str, Quant, u32); 7] = [
    ("f32", Quant::F32, 0),
    ("f16", Quant::F16, 1),
    ("bf16", Quant::Bf16, 32),
    ("q8_0", Quant::Q8_0, 7),
    ("q4_0", Quant::Q4_0, 2),
    ("q4_k", Quant::Q4K, 14),
    ("q6_k", Quant::Q6K, 18),
];

impl Quant {
    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|(name, ..)| *name)
    }

    /// The one called `name`, in capitals or not.
    pub fn parse(name: &str) -> Result<Self> {
        let lower = name.to_lowercase();
        KNOWN.iter().find(|(known, ..)| *known == lower).map(|(_, quant, _)| *quant).ok_or_else(|| {
            let names = KNOWN.map(|(known, ..)| known);
            let near = suggest::nearest(&lower, names);
            Error::Other(format!("the exporter has no quant `{name}`{near}; it has {}", names.join(", ")))
        })
    }

    /// As [`Quant::parse`] reads it.
    pub fn name(self) -> &'static str {
        KNOWN.iter().find(|(_, quant, _)| *quant == self).map_or("", |(name, ..)| name)
    }

    /// `general.file_type`.
    pub(super) fn file_type(self) -> u32 {
        KNOWN.iter().find(|(_, quant, _)| *quant == self).map_or(0, |(.., number)| *number)
    }

    fn plain(self) -> GgmlDType {
        match self {
            Self::F32 => GgmlDType::F32,
            Self::F16 => GgmlDType::F16,
            Self::Bf16 => GgmlDType::BF16,
            Self::Q8_0 => GgmlDType::Q8_0,
            Self::Q4_0 => GgmlDType::Q4_0,
            Self::Q4K => GgmlDType::Q4K,
            Self::Q6K => GgmlDType::Q6K,
        }
    }

    /// What a tensor is packed in, and what it would be if its rows were of another length. As llama.cpp does it:
    /// norms and biases stay whole, for they are small and everything passes through them; where blocks of 256 do not
    /// fit the rows, a type of about the same size in blocks of 32 stands in.
    pub(super) fn of(self, shape: &[usize]) -> (GgmlDType, GgmlDType) {
        fitting(self.plain(), shape)
    }

    /// Likewise of what makes the logits: in six bits where the rest is in four, for its errors are not averaged by
    /// anything behind it.
    pub(super) fn of_head(self, shape: &[usize]) -> (GgmlDType, GgmlDType) {
        let wanted = match self.plain() {
            GgmlDType::Q4_0 | GgmlDType::Q4K => GgmlDType::Q6K,
            other => other,
        };
        fitting(wanted, shape)
    }
}

fn fitting(wanted: GgmlDType, shape: &[usize]) -> (GgmlDType, GgmlDType) {
    // A matrix, or several.
    let &[_, .., columns] = shape else { return (GgmlDType::F32, GgmlDType::F32) };
    let fits = |kind: GgmlDType| columns.is_multiple_of(kind.block_size());
    let stand_in = match wanted {
        GgmlDType::Q4K => GgmlDType::Q5_0,
        GgmlDType::Q6K => GgmlDType::Q8_0,
        other => other,
    };
    let found = [wanted, stand_in].into_iter().find(|kind| fits(*kind)).unwrap_or(GgmlDType::F16);
    (found, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_and_others_refused() {
        for (name, quant, _) in KNOWN {
            assert_eq!((Quant::parse(name).unwrap(), quant.name()), (quant, name));
            assert_eq!(Quant::parse(&name.to_uppercase()).unwrap(), quant);
        }
        let error = Quant::parse("q4_k_m").unwrap_err().to_string();
        assert!(error.contains("no quant `q4_k_m` (did you mean `q4_k`?)"), "{error}");
        assert!(error.contains("f32, f16, bf16, q8_0, q4_0, q4_k, q6_k"), "{error}");
    }

    #[test]
    fn rows_decide_where_a_block_fits() {
        use GgmlDType::{BF16, F16, F32, Q4_0, Q4K, Q5_0, Q6K, Q8_0};
        for (quant, columns, matrix, logits) in [
            (Quant::F32, 7, F32, F32),
            (Quant::F16, 7, F16, F16),
            (Quant::Bf16, 7, BF16, BF16),
            (Quant::Q8_0, 576, Q8_0, Q8_0),
            (Quant::Q8_0, 40, F16, F16),
            (Quant::Q4_0, 576, Q4_0, Q8_0),
            (Quant::Q4_0, 512, Q4_0, Q6K),
            (Quant::Q4K, 512, Q4K, Q6K),
            (Quant::Q4K, 576, Q5_0, Q8_0),
            (Quant::Q4K, 40, F16, F16),
            (Quant::Q6K, 512, Q6K, Q6K),
            (Quant::Q6K, 576, Q8_0, Q8_0),
        ] {
            assert_eq!(quant.of(&[3, columns]).0, matrix, "{quant:?} {columns}");
            assert_eq!(quant.of_head(&[3, columns]).0, logits, "{quant:?} {columns}");
            assert_eq!(quant.of(&[columns]), (F32, F32));
        }
    }
}
