//! The rule `classifier`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use setaccio_base::{bundle::Place, filter_report::FileUse, row::Kind, sha256::hex_digest};

use crate::{
    context::Context,
    filter::{Document, DocumentFilter, Filter, Signal, Verdict},
    language::fasttext::FastText,
    rule::{Rule, RuleError},
};

/// Keep rows that a classifier of fastText gives a label with a probability of `min` or more.
///
/// # Why
/// What a good text is can be shown by examples where it cannot be said by rules: a classifier that was trained on pages that
/// people link to or learn from, beside pages of all the web, ranks a corpus for the price of reading it.
///
/// The model is a file of yours, as `fasttext supervised` writes it (`.bin`, or quantised `.ftz`), with any labels; nothing is
/// fetched. All texts of a row are one line to it, with a space where a line ends. The lock and the card name its hash.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "classifier"
/// model = "../tests/oracles/language/tiny.ftz"
/// label = "it"
/// ```
/// ```json
/// {"text": "The train to Bari leaves every morning at seven, and whoever comes late has to wait."}
/// ```
/// ```text
/// dropped by classifier: it 0.000, at least 0.5
/// ```
///
/// # Source
/// [fastText](https://fasttext.cc/docs/en/supervised-tutorial.html);
/// [DataComp-LM](https://arxiv.org/abs/2406.11794), section 4.4, compares such classifiers with other ways to choose pages.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Classifier {
    /// The model, for instance `quality.bin`; a path is seen from the recipe.
    pub model: String,
    /// The label that rows are to have, without `__label__`.
    pub label: String,
    /// Least probability of the label.
    pub min: f64,
    /// Most, for rows that are to lack it.
    pub max: f64,
    /// Drop nothing, and write the probability to the column that `column` names.
    pub signals: bool,
    /// That column; a second classifier needs another one.
    pub column: String,
}

impl Default for Classifier {
    fn default() -> Self {
        Self {
            model: String::new(),
            label: String::new(),
            min: 0.5,
            max: 1.0,
            signals: false,
            column: "classifier".into(),
        }
    }
}

impl Rule for Classifier {
    const NAME: &'static str = "classifier";
    const KINDS: &'static [Kind] = Kind::ALL;

    fn compile(&self, context: &Context) -> Result<Vec<Filter>, RuleError> {
        if self.model.is_empty() || self.label.is_empty() || self.column.is_empty() {
            return Err(RuleError::setting(
                "it needs a model and a label: model = \"quality.bin\" names the file, seen from the recipe, label = \"good\" \
                 what its rows are to be; `column` is never empty",
            ));
        }
        if !(0.0..=1.0).contains(&self.min) || !(self.min..=1.0).contains(&self.max) {
            return Err(RuleError::setting("`min` and `max` are probabilities from 0 to 1, `min` the lesser"));
        }
        let place = context.recipe.as_ref().map_or_else(|| Place::disk(&self.model), |r| r.beside(&self.model));
        let failed = |e: &dyn std::fmt::Display| RuleError::setting(format!("model {}: {e}", place.path().display()));
        let bytes = place.read().map_err(|e| failed(&e))?;
        if let Some(plain) = self.label.strip_prefix("__label__") {
            let message = format!("label = {:?}: leave out `__label__`: label = {plain:?}", self.label);
            return Err(RuleError::setting(message));
        }
        let labels = std::slice::from_ref(&self.label);
        let model = FastText::knowing(&bytes, labels, "label").map_err(|e| failed(&e))?;
        if let Ok(mut files) = context.files.lock() {
            let name = place.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push(FileUse { key: "classifier.model".into(), name, sha256: hex_digest(&bytes) });
        }
        let signals = self.signals.then(|| Signal { column: self.column.clone(), whole: false });
        let filter = ClassifierFilter { spec: self.clone(), model, signals: signals.into_iter().collect() };
        Ok(vec![Filter::document(Self::NAME, filter)])
    }
}

struct ClassifierFilter {
    spec: Classifier,
    model: FastText,
    signals: Vec<Signal>,
}

impl DocumentFilter for ClassifierFilter {
    fn signals(&self) -> &[Signal] {
        &self.signals
    }

    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        let texts: Vec<&str> = document.content().texts().flat_map(str::lines).collect();
        let probability = self.model.likely(&texts.join(" "));
        if let [signal] = self.signals.as_slice() {
            document.write(&signal.column, Value::from(probability));
            return Verdict::Keep;
        }
        let Classifier { label, min, max, .. } = &self.spec;
        if probability < *min {
            Verdict::Drop(format!("{label} {probability:.3}, at least {min}").into())
        } else if probability > *max {
            Verdict::Drop(format!("{label} {probability:.3}, at most {max}").into())
        } else {
            Verdict::Keep
        }
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;
    use crate::language::oracle;

    fn spec(label: &str) -> Classifier {
        Classifier { model: "tiny.ftz".into(), label: label.into(), ..Classifier::default() }
    }

    fn context() -> Context {
        Context { recipe: Some(Place::disk(oracle::path("recipe.toml"))), ..Context::default() }
    }

    /// The probabilities are fastText's own (`tests/oracles/language`): a label is kept from its own on, and no further.
    #[test]
    fn a_label_is_as_likely_as_fasttext_says_and_the_bounds_are_held() {
        for sentence in oracle::sentences() {
            let (label, probability) = &sentence.tiny[0];
            let kept = |min: f64, max: f64| {
                let spec = Classifier { min: min.clamp(0.0, 1.0), max: max.clamp(0.0, 1.0), ..spec(label) };
                let filters = spec.compile(&context()).unwrap_or_else(|e| panic!("{e}"));
                filters[0].on_row(&mut Row::text(sentence.text.replace(' ', "\n"))) == Verdict::Keep
            };
            assert!(kept(probability - 2e-3, probability + 2e-3), "{label} {probability}");
            assert!(*probability > 0.99 || !kept(probability + 2e-3, 1.0), "{label} {probability}");
            assert!(!kept(0.0, probability - 2e-3), "{label} {probability}");
        }
    }

    #[test]
    fn the_probability_is_a_column_and_the_file_is_noted() {
        let context = context();
        let spec = Classifier { signals: true, column: "italian".into(), ..spec("it") };
        let filters = spec.compile(&context).unwrap_or_else(|e| panic!("{e}"));
        let mut row = Row::chat(&[("user", "Il treno per Bari parte"), ("assistant", "ogni mattina alle sette.")]);
        assert_eq!(filters[0].on_row(&mut row), Verdict::Keep);
        assert!(row.columns["italian"].as_f64().is_some_and(|p| p > 0.5), "{row:?}");
        let files = context.files.into_inner().unwrap_or_default();
        assert_eq!((files[0].key.as_str(), &files[0].sha256), ("classifier.model", &hex_digest(&oracle::tiny())));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |spec: Classifier| spec.compile(&context()).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error(spec("ita")).contains("knows no label `ita` (did you mean `it`?)"));
        assert!(error(spec("__label__it")).contains("label = \"it\""));
        assert!(error(Classifier::default()).contains("needs a model and a label"));
        assert!(error(Classifier { min: 0.8, max: 0.5, ..spec("it") }).contains("from 0 to 1"));
        assert!(error(Classifier { model: "absent.bin".into(), ..spec("it") }).contains("absent.bin"));
    }
}
