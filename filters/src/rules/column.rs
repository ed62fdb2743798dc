//! Drop rows by the value of a column that is not content, as ANITA dropped `toxic-dpo-v0.2` from orpo-dpo-mix.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    context::Context,
    row::{Kind, Row},
    rule::{DocumentRule, RuleError, Spec, Step, Verdict},
};

/// Drop rows whose column has (or lacks) one of the given values.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Column {
    /// The column to look at; numbers and booleans are compared as they print.
    pub column: String,
    /// Drop rows whose value is one of these.
    pub drop: Vec<String>,
    /// Drop rows whose value is none of these (empty: any value will do).
    pub keep: Vec<String>,
}

impl Spec for Column {
    const NAME: &'static str = "column";
    const KINDS: &'static [Kind] = Kind::ALL;

    fn compile(&self, _: &Context) -> Result<Vec<Step>, RuleError> {
        if self.column.is_empty() {
            return Err(RuleError::setting("`column` is missing: name the column to look at"));
        }
        if self.drop.is_empty() && self.keep.is_empty() {
            return Err(RuleError::setting("give `drop` or `keep` at least one value"));
        }
        Ok(vec![Step::document(Self::NAME, self.clone())])
    }
}

impl DocumentRule for Column {
    fn judge(&self, row: &mut Row) -> Verdict {
        let value = match row.columns.get(&self.column) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        let listed = |list: &[String]| value.as_ref().is_some_and(|v| list.contains(v));
        if listed(&self.drop) || (!self.keep.is_empty() && !listed(&self.keep)) {
            let shown = value.as_deref().unwrap_or("null");
            return Verdict::Drop(format!("{} = {shown}", self.column));
        }
        Verdict::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(rule: &Column, source: Value) -> Verdict {
        let mut row = Row::text("x");
        row.columns.insert("source".into(), source);
        rule.judge(&mut row)
    }

    #[test]
    fn drops_listed_values_exactly() {
        let rule = Column { column: "source".into(), drop: vec!["toxic-dpo-v0.2".into()], keep: vec![] };
        assert_eq!(judge(&rule, "toxic-dpo-v0.2".into()), Verdict::Drop("source = toxic-dpo-v0.2".into()));
        assert_eq!(judge(&rule, "Toxic-DPO-v0.2".into()), Verdict::Keep);
        assert_eq!(judge(&rule, Value::Null), Verdict::Keep);
    }

    #[test]
    fn keeps_only_listed_values() {
        let rule = Column { column: "source".into(), drop: vec![], keep: vec!["a".into(), "true".into()] };
        assert_eq!(judge(&rule, true.into()), Verdict::Keep);
        assert_eq!(judge(&rule, "b".into()), Verdict::Drop("source = b".into()));
        assert_eq!(judge(&rule, Value::Null), Verdict::Drop("source = null".into()));
    }
}
