//! The rule `fineweb2_it`: what FineWeb-2 does with Italian pages, as one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::Kind;

use super::{fineweb::FineWeb, gopher_quality::GopherQuality, gopher_repetition::GopherRepetition};
use crate::{
    context::Context,
    filter::Filter,
    lists::ListRef,
    rule::{Rule, RuleError},
    segments::AsIn,
};

/// Drop Italian web pages that repeat themselves or are no prose, by FineWeb-2's constants for Italian.
///
/// # Why
/// What is a long word, a usual repetition or a line without a mark differs between languages: FineWeb-2 took the constants of
/// Gopher's and FineWeb's rules anew for each, from how often its pages and those of its Wikipedia have them.
///
/// The parts run one after the other, `repetition` as the rule `gopher_repetition`, `fineweb`, and `quality` as `gopher_quality`,
/// each `as_in = "datatrove"`, by whose counting the constants were found. Paragraphs, characters of duplicate lines among the
/// repetitions, and short lines are off there, as in FineWeb-2. Which language a page is of is not among the parts: the rule
/// `language` tells it, or GlotLID by the rule `classifier` (FineWeb-2 keeps Italian from 0.817).
///
/// Short texts seldom pass, in FineWeb-2 too: in a few dozen words the most frequent pair of them is soon a fifth of the
/// characters. For titles, comments or answers, take `gopher_quality` alone.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "fineweb2_it"
/// quality = { lists = [], stop_words = ["di", "il", "la", "è"] }
/// ```
/// ```json
/// {"text": "Offerte. Offerte di oggi. Offerte di oggi. Offerte di ieri. Offerte di oggi."}
/// ```
/// ```text
/// dropped by fineweb2_it.repetition: top_2gram 0.4737, at most 0.198
/// ```
///
/// # Source
/// [FineWeb-2](https://arxiv.org/abs/2506.20920), whose constants for Italian are in
/// [ita_Latn.yml](https://github.com/huggingface/fineweb-2/blob/main/configs/ita_Latn.yml).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FineWeb2It {
    /// `gopher_repetition` with the constants for Italian.
    pub repetition: GopherRepetition,
    /// `fineweb` with these.
    pub fineweb: FineWeb,
    /// `gopher_quality` with these.
    pub quality: GopherQuality,
    /// Drop nothing, and write the measures to columns of the output: `fineweb2_it_top_2gram` and so on.
    pub signals: bool,
}

/// The list of Italian stop words, and its hash.
pub(crate) const STOP_WORDS: (&str, &str) =
    ("stop-words-it", "2d34c2a2e45f67e2f4b1f5764746b09a7d4d3dd10b4c543b97704a19be35c4de");

impl Default for FineWeb2It {
    fn default() -> Self {
        let (name, sha256) = STOP_WORDS;
        Self {
            repetition: GopherRepetition {
                max_duplicate_paragraphs: 1.0,
                max_duplicate_paragraph_chars: 1.0,
                max_duplicate_lines: 0.246,
                max_duplicate_line_chars: 1.0,
                max_top_ngrams: [0.198, 0.156, 0.133],
                max_duplicate_ngrams: [0.144, 0.136, 0.127, 0.118, 0.109, 0.1],
                as_in: AsIn::Datatrove,
                signals: false,
            },
            fineweb: FineWeb {
                min_ending_lines: 0.025,
                marks: ".?!".into(),
                max_short_lines: 999.0,
                max_duplicate_line_chars: 0.1,
                max_new_lines: Some(0.2),
                as_in: AsIn::Datatrove,
                ..FineWeb::default()
            },
            quality: GopherQuality {
                max_mean_word_length: 21.0,
                min_alphabetic_words: 0.807,
                stop_words: Vec::new(),
                lists: vec![ListRef { name: name.into(), sha256: sha256.into() }],
                bullets: ["•", "-"].map(str::to_owned).into(),
                as_in: AsIn::Datatrove,
                ..GopherQuality::default()
            },
            signals: false,
        }
    }
}

impl Rule for FineWeb2It {
    const NAME: &'static str = "fineweb2_it";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, context: &Context) -> Result<Vec<Filter>, RuleError> {
        let Self { mut repetition, mut fineweb, mut quality, signals } = self.clone();
        repetition.signals |= signals;
        fineweb.signals |= signals;
        quality.signals |= signals;
        Ok(vec![
            repetition.filter("fineweb2_it.repetition", "fineweb2_it_"),
            fineweb.filter("fineweb2_it.fineweb", "fineweb2_it_line_"),
            quality
                .filter("fineweb2_it.quality", "fineweb2_it_", context)
                .map_err(|e| RuleError::setting(format!("quality: {e}")))?,
        ])
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;
    use crate::filter::Verdict;

    // What each measure is of some 330 texts, and where each bound lies, is held against `tests/oracles/quality.py` in `quality.rs`.

    fn dropped(spec: &FineWeb2It, text: &str) -> Option<String> {
        let filters = spec.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"));
        filters.iter().find_map(|filter| match filter.on_row(&mut Row::text(text)) {
            Verdict::Drop(why) => Some(why.detail),
            _ => None,
        })
    }

    #[test]
    fn its_parts_run_in_the_order_of_fineweb_2() {
        let quality = GopherQuality {
            lists: Vec::new(),
            stop_words: vec!["di".into(), "il".into()],
            ..FineWeb2It::default().quality
        };
        let spec = FineWeb2It { quality, ..FineWeb2It::default() };
        let names: Vec<String> = spec
            .compile(&Context::default())
            .unwrap_or_else(|e| panic!("{e}"))
            .iter()
            .map(|filter| filter.name.to_string())
            .collect();
        assert_eq!(names, ["fineweb2_it.repetition", "fineweb2_it.fineweb", "fineweb2_it.quality"]);
        for (text, measure) in [
            ("uno\nuno\nuno", "duplicate_lines 0.6667"),
            (
                "Scarpe da uomo e borse\nsaldi su tutto il resto della merce di stagione\nspedizione gratuita in tutta la penisola con il corriere",
                "ending_lines 0",
            ),
            (
                "Il gatto di casa dorme volentieri sul divano, mentre fuori piove e le strade si riempiono lentamente di gente che torna dal lavoro.",
                "words 23",
            ),
        ] {
            assert!(dropped(&spec, text).is_some_and(|why| why.starts_with(measure)), "{:?}", dropped(&spec, text));
        }
        assert!(
            FineWeb2It::default().compile(&Context::default()).is_err_and(|e| e.to_string().contains("stop-words-it"))
        );
    }
}
