//! The rule `citations`.

use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::{
    nfc::{Normal, nfc},
    row::Kind,
};

use crate::{
    context::Context,
    filter::{Filter, LineFilter, LineVerdict},
    rule::{Rule, RuleError},
};

/// Delete `[12]`, `[]` and the marks of `marks` from lines.
///
/// # Why
/// The marks point to notes that are not in the text, and a model would learn to write them.
///
/// As in the original, the white space beside a mark stays: of `Fu console. [3]` a space is left at the end, where
/// `line_end` looks for a full stop. `trim` takes it away.
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
    /// What is deleted between square brackets besides numbers and nothing.
    pub marks: Vec<String>,
    /// Take upper and lower case for the same, as in `[Edit]`, which the original leaves.
    pub ignore_case: bool,
    /// Delete the white space too that a mark leaves at the beginning or the end of a line.
    pub trim: bool,
}

impl Default for Citations {
    fn default() -> Self {
        Self { marks: vec!["edit".into(), "citation needed".into()], ignore_case: false, trim: false }
    }
}

impl Rule for Citations {
    const NAME: &'static str = "citations";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        let marks = self.marks.iter().map(|m| regex::escape(&nfc(m)));
        let inner = std::iter::once(r"\d*".to_owned()).chain(marks).collect::<Vec<_>>().join("|");
        let pattern = RegexBuilder::new(&format!(r"\[(?:{inner})\]")).case_insensitive(self.ignore_case).build();
        let pattern = pattern.map_err(|e| RuleError::setting(e.to_string()))?;
        let ends = if self.trim { Ends::Trim } else { Ends::Leave };
        Ok(vec![Filter::line(Self::NAME, Delete { pattern, ends })])
    }
}

/// What becomes of white space at the ends of a line that has lost a mark.
enum Ends {
    Leave,
    Trim,
}

struct Delete {
    pattern: Regex,
    ends: Ends,
}

impl LineFilter for Delete {
    fn filter(&self, line: &str) -> LineVerdict {
        if memchr::memchr(b'[', line.as_bytes()).is_none() {
            return LineVerdict::Keep;
        }
        let normal = Normal::new(line);
        let mut edited = String::new();
        let mut from = 0;
        for mark in self.pattern.find_iter(normal.text()).map(|m| normal.typed(m.range())) {
            edited.push_str(&line[from..mark.start]);
            from = mark.end;
        }
        // A mark has its brackets: there was none if nothing ends after the beginning.
        if from == 0 {
            return LineVerdict::Keep;
        }
        edited.push_str(&line[from..]);
        LineVerdict::Edit(match self.ends {
            Ends::Leave => edited,
            Ends::Trim => edited.trim().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `original` is what Python's `re.sub(r"\[\d*\]|\[edit\]|\[citation needed\]", "", line)` gives.
    #[test]
    fn marks_go_as_in_the_original_or_with_their_space() {
        let rule = |spec: &Citations| spec.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}")).remove(0);
        let original = rule(&Citations::default());
        let marks = vec!["edit".into(), "citation needed".into(), "perché".into()];
        let all = rule(&Citations { marks, ignore_case: true, trim: true });
        for (line, left, left_of_all) in [
            ("Roma[12] è antica.[3]", Some("Roma è antica."), Some("Roma è antica.")),
            ("La città[] fu fondata.", Some("La città fu fondata."), Some("La città fu fondata.")),
            ("Fu fondata dai Romani. [12]", Some("Fu fondata dai Romani. "), Some("Fu fondata dai Romani.")),
            ("[1] Vedi anche.", Some(" Vedi anche."), Some("Vedi anche.")),
            ("Storia [Edit]", None, Some("Storia")),
            ("È nato a Bari.[citation needed]", Some("È nato a Bari."), Some("È nato a Bari.")),
            ("Anno [١٢] a.C.", Some("Anno  a.C."), Some("Anno  a.C.")),
            ("Chissà [perche\u{301}] così\u{300}.", None, Some("Chissà  così\u{300}.")),
            ("[[12]]", Some("[]"), Some("[]")),
            ("[3]", Some(""), Some("")),
            ("Disse [sic] così.", None, None),
            ("vettore[i] = 3", None, None),
            ("spazio [ 1] e [1 ]", None, None),
        ] {
            let verdict = |left: Option<&str>| left.map_or(LineVerdict::Keep, |l| LineVerdict::Edit(l.into()));
            assert_eq!(original.on_line(line), verdict(left), "{line}");
            assert_eq!(all.on_line(line), verdict(left_of_all), "{line}");
        }
    }
}
