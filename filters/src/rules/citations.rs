//! The rule `citations`.

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::Kind;

use crate::{
    context::Context,
    filter::{Filter, LineFilter, LineVerdict},
    rule::{Rule, RuleError},
};

/// Delete `[12]`, and the marks of `marks`, from lines.
///
/// # Why
/// The marks point to notes that are not in the text, and a model would learn to write them.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "citations"
/// ```
/// ```json
/// {"text": "Roma[12] è antica.[citation needed]"}
/// ```
/// ```json
/// {"text": "Roma è antica."}
/// ```
///
/// # Source
/// [C4's code](https://github.com/tensorflow/datasets/blob/master/tensorflow_datasets/text/c4_utils.py);
/// rule 3 of [clean_mc4_it](https://huggingface.co/datasets/gsarti/clean_mc4_it).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Citations {
    /// What is deleted between square brackets besides numbers, without regard to case.
    pub marks: Vec<String>,
}

impl Default for Citations {
    fn default() -> Self {
        Self { marks: vec!["edit".into(), "citation needed".into()] }
    }
}

impl Rule for Citations {
    const NAME: &'static str = "citations";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        let marks = self.marks.iter().map(|m| regex::escape(m));
        let inner = std::iter::once(r"\d+".to_owned()).chain(marks).collect::<Vec<_>>().join("|");
        let pattern = Regex::new(&format!(r"(?i)\[(?:{inner})\]")).map_err(|e| RuleError::setting(e.to_string()))?;
        Ok(vec![Filter::line(Self::NAME, Delete(pattern))])
    }
}

struct Delete(Regex);

impl LineFilter for Delete {
    fn filter(&self, line: &str) -> LineVerdict {
        if memchr::memchr(b'[', line.as_bytes()).is_none() {
            return LineVerdict::Keep;
        }
        match self.0.replace_all(line, "") {
            std::borrow::Cow::Borrowed(_) => LineVerdict::Keep,
            std::borrow::Cow::Owned(edited) => LineVerdict::Edit(edited.trim().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_and_other_brackets_stay() {
        let filters = Citations::default().compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"));
        for (line, edited) in [
            ("Roma[12] è antica.[3]", Some("Roma è antica.")),
            ("Storia [Edit]", Some("Storia")),
            ("È nato a Bari.[citation needed]", Some("È nato a Bari.")),
            ("Disse [sic] così.", None),
            ("vettore[i] = 3", None),
        ] {
            let expected = edited.map_or(LineVerdict::Keep, |e| LineVerdict::Edit(e.into()));
            assert_eq!(filters[0].on_line(line), expected, "{line}");
        }
    }
}
