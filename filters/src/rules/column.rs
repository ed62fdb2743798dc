//! The rule `column`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::{nfc::nfc, row::Kind, value};

use crate::{
    context::Context,
    filter::{Document, DocumentFilter, Filter, Verdict},
    rule::{Rule, RuleError},
};

/// Drop rows whose column has (or lacks) one of the given values.
///
/// # Why
/// Sets that are mixtures often say in a column where a row comes from, and not every part is wanted.
///
/// Values are compared in Unicode's form NFC, so that it makes no difference how accents are typed.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "column"
/// column = "source"
/// drop = ["toxic-dpo-v0.2"]
/// ```
/// ```json
/// {"prompt": [{"role": "user", "content": "Chi?"}], "chosen": [{"role": "assistant", "content": "Io."}],
///  "rejected": [{"role": "assistant", "content": "Boh."}], "source": "toxic-dpo-v0.2"}
/// ```
/// ```text
/// dropped by column: source = toxic-dpo-v0.2
/// ```
///
/// # Source
/// [orpo-dpo-mix-40k](https://huggingface.co/datasets/mlabonne/orpo-dpo-mix-40k) names its toxic part so, and its card
/// shows how to remove it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Column {
    /// The column to look at; numbers and booleans are compared as they print, lists and objects
    /// as JSON.
    pub column: String,
    /// Drop rows whose value is one of these.
    pub drop: Vec<String>,
    /// Drop rows whose value is none of these (empty: any value will do).
    pub keep: Vec<String>,
    /// What becomes of a row that has no such column at all: were it kept, a misspelt name would drop nothing.
    pub absent: Absent,
}

/// What becomes of a row without the column that a rule looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Absent {
    /// It is dropped.
    #[default]
    Drop,
    /// It is kept.
    Keep,
}

impl Absent {
    /// The verdict on a row that has no column of this name.
    pub fn verdict(self, column: &str) -> Verdict {
        match self {
            Self::Drop => Verdict::Drop(format!("there is no column `{column}`").into()),
            Self::Keep => Verdict::Keep,
        }
    }
}

impl Rule for Column {
    const NAME: &'static str = "column";
    const KINDS: &'static [Kind] = Kind::ALL;

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        if self.column.is_empty() {
            return Err(RuleError::setting("`column` is missing: name the column to look at"));
        }
        if self.drop.is_empty() && self.keep.is_empty() {
            return Err(RuleError::setting("give `drop` or `keep` at least one value"));
        }
        Ok(vec![Filter::document(Self::NAME, self.clone())])
    }
}

impl DocumentFilter for Column {
    fn columns(&self) -> &[String] {
        std::slice::from_ref(&self.column)
    }

    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        let Some(held) = document.column(&self.column) else { return self.absent.verdict(&self.column) };
        let text = value::printed(held);
        let text_nfc = nfc(&text);
        let listed = |list: &[String]| !held.is_null() && list.iter().any(|value| nfc(value) == text_nfc);
        if listed(&self.drop) || (!self.keep.is_empty() && !listed(&self.keep)) {
            return Verdict::Drop(format!("{} = {text}", self.column).into());
        }
        Verdict::Keep
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use setaccio_base::row::Row;

    use super::*;

    fn judge(rule: &Column, source: Value) -> Verdict {
        let mut row = Row::text("x");
        row.columns.insert("source".into(), source);
        rule.apply(&mut row)
    }

    #[test]
    fn drops_listed_values_exactly() {
        let rule = Column { column: "source".into(), drop: vec!["toxic-dpo-v0.2".into()], ..Column::default() };
        assert_eq!(judge(&rule, "toxic-dpo-v0.2".into()), Verdict::Drop("source = toxic-dpo-v0.2".into()));
        assert_eq!(judge(&rule, "Toxic-DPO-v0.2".into()), Verdict::Keep);
        let accents = Column { drop: vec!["città".into()], ..rule.clone() };
        assert_eq!(judge(&accents, "citta\u{300}".into()), Verdict::Drop("source = citta\u{300}".into()));
        assert_eq!(judge(&rule, Value::Null), Verdict::Keep);
    }

    #[test]
    fn a_row_without_the_column_does_not_slip_through() {
        let rule = Column { column: "sorce".into(), drop: vec!["x".into()], ..Column::default() };
        assert_eq!(judge(&rule, "x".into()), Verdict::Drop("there is no column `sorce`".into()));
        assert_eq!(judge(&Column { absent: Absent::Keep, ..rule }, "x".into()), Verdict::Keep);
    }

    #[test]
    fn lists_objects_and_large_numbers_are_compared_as_json() {
        let rule = |drop: &str| Column { column: "source".into(), drop: vec![drop.into()], ..Column::default() };
        for (held, drop) in [
            (json!(["qa", "summary"]), r#"["qa","summary"]"#),
            (json!({"a": 1}), r#"{"a":1}"#),
            (value::number("123456789012345678901234567890"), "123456789012345678901234567890"),
            (value::number("NaN"), "NaN"),
        ] {
            assert_eq!(judge(&rule("zz"), held.clone()), Verdict::Keep, "{held}");
            assert_eq!(judge(&rule(drop), held), Verdict::Drop(format!("source = {drop}").into()));
        }
    }

    #[test]
    fn keeps_only_listed_values() {
        let rule = Column { column: "source".into(), keep: vec!["a".into(), "true".into()], ..Column::default() };
        assert_eq!(judge(&rule, true.into()), Verdict::Keep);
        assert_eq!(judge(&rule, "b".into()), Verdict::Drop("source = b".into()));
        assert_eq!(judge(&rule, Value::Null), Verdict::Drop("source = null".into()));
    }
}
