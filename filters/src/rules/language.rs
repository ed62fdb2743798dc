//! The rule `language`.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::{
    row::{Content, Kind},
    suggest,
};
use whatlang::{Detector, Info, Lang};

use crate::{
    codes::CODES,
    context::Context,
    filter::{Document, DocumentFilter, Filter, Verdict},
    rule::{Rule, RuleError},
};

/// Languages considered unless a recipe says otherwise: those of Europe's web, which are the ones
/// that Italian is taken for. Fewer are faster and surer.
const CANDIDATES: &[&str] = &["ca", "cs", "de", "en", "es", "fr", "hu", "it", "nl", "pl", "pt", "ro", "ru", "sv", "tr"];

/// How much of a text is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// All of it.
    Whole,
    /// `windows` stretches of `window_chars` characters, spread evenly; all of a shorter text.
    #[default]
    Windows,
}

/// What becomes of a text too short to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Short {
    /// It is kept.
    #[default]
    Keep,
    /// It is dropped.
    Drop,
}

/// Which messages of a conversation must be of a kept language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Every one that is long enough to tell.
    #[default]
    Message,
    /// All of them taken as one text.
    Row,
}

/// Keep rows whose language is one of `keep`, and write it to the column `language`.
///
/// # Why
/// A web corpus of one language holds pages of others, and a translated set answers that were left in English.
///
/// To tell the language is by far the dearest of the rules, and its cost grows with the text: with mode `windows` only a
/// few stretches of a long text are read. How often the two modes agree is in BENCHMARKS.md.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "language"
/// keep = ["it"]
/// ```
/// ```json
/// {"text": "The train to Bari leaves every morning at seven, and whoever comes late has to wait."}
/// ```
/// ```text
/// dropped by language: en 1.00
/// ```
///
/// # Source
/// [whatlang](https://github.com/greyblake/whatlang-rs) tells the language.
/// [C4](https://jmlr.org/papers/volume21/20-074/20-074.pdf), section 2.2, keeps pages of one language, as does rule 11 of
/// [clean_mc4_it](https://huggingface.co/datasets/gsarti/clean_mc4_it).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Language {
    /// ISO 639-1 codes of the languages to keep.
    pub keep: Vec<String>,
    /// ISO 639-1 codes of the languages considered; those of `keep` always are.
    pub candidates: Vec<String>,
    /// Least confidence, from 0 to 1, of a kept row.
    pub threshold: f64,
    /// A text told with less confidence is taken for one too short to tell.
    pub doubt: f64,
    /// A text with fewer letters is too short to tell.
    pub min_letters: usize,
    /// What becomes of such texts.
    pub short: Short,
    /// How much of a text is looked at.
    pub mode: Mode,
    /// Stretches looked at, with mode `windows`.
    pub windows: usize,
    /// Length of each, in characters.
    pub window_chars: usize,
    /// With mode `windows`, so many characters of each are looked at first; if they leave no doubt, the rest
    /// is not. 0: never.
    pub glance_chars: usize,
    /// Which messages of a conversation must be of a kept language.
    pub per: Per,
}

impl Default for Language {
    fn default() -> Self {
        Self {
            keep: vec!["it".into()],
            candidates: CANDIDATES.iter().map(|c| (*c).to_owned()).collect(),
            threshold: 0.0,
            doubt: 0.0,
            min_letters: 20,
            short: Short::Keep,
            mode: Mode::Windows,
            windows: 3,
            window_chars: 200,
            glance_chars: 60,
            per: Per::Message,
        }
    }
}

impl Rule for Language {
    const NAME: &'static str = "language";
    const KINDS: &'static [Kind] = Kind::ALL;

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        let lang = |code: &String| {
            CODES.iter().find(|(c, _)| c == code).map(|(_, lang)| *lang).ok_or_else(|| {
                let near = suggest::nearest(code, CODES.iter().map(|(c, _)| *c));
                RuleError::setting(format!("unknown language `{code}`{near}; use ISO 639-1 codes such as `it`"))
            })
        };
        if self.keep.is_empty() {
            return Err(RuleError::setting("`keep` is empty, which drops every row; name the languages to keep"));
        }
        for (name, value) in [("threshold", self.threshold), ("doubt", self.doubt)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(RuleError::setting(format!("{name} = {value} must be from 0 to 1")));
            }
        }
        if !(1..=1000).contains(&self.windows) || !(1..=1_000_000).contains(&self.window_chars) {
            return Err(RuleError::setting("`windows` must be from 1 to 1,000, `window_chars` from 1 to 1,000,000"));
        }
        let mut candidates = self.candidates.iter().chain(&self.keep).map(lang).collect::<Result<Vec<_>, _>>()?;
        candidates.sort_by_key(Lang::code);
        candidates.dedup();
        let detector = Detector::with_allowlist(candidates);
        Ok(vec![Filter::document(Self::NAME, LanguageFilter { spec: self.clone(), detector })])
    }
}

struct LanguageFilter {
    spec: Language,
    detector: Detector,
}

impl LanguageFilter {
    /// The language of a text and the confidence in it, or `None` if it cannot be told.
    fn detect(&self, text: &str) -> Option<(&'static str, f64)> {
        let enough = text.chars().filter(|c| c.is_alphabetic()).nth(self.spec.min_letters.saturating_sub(1)).is_some();
        if !enough {
            return None;
        }
        let info = self.look(text).filter(|i| i.confidence() >= self.spec.doubt)?;
        let code = CODES.iter().find(|(_, lang)| *lang == info.lang()).map_or("und", |(code, _)| code);
        Some((code, info.confidence()))
    }

    fn look(&self, text: &str) -> Option<Info> {
        let Language { mode, windows: n, window_chars, glance_chars, .. } = self.spec;
        if mode == Mode::Whole {
            return self.detector.detect(text);
        }
        if glance_chars > 0
            && let Cow::Owned(glance) = windows(text, n, glance_chars)
            && let Some(info) = self.detector.detect(&glance)
            && info.confidence() >= 1.0
        {
            return Some(info);
        }
        self.detector.detect(&windows(text, n, window_chars))
    }

    fn untold(&self) -> String {
        let doubt = if self.spec.doubt > 0.0 { ", or in doubt" } else { "" };
        format!("too short to tell: fewer than {} letters{doubt}", self.spec.min_letters)
    }

    /// Why this text speaks against its row, if it does; and its language.
    fn object(&self, text: &str) -> (Option<String>, Option<&'static str>) {
        let Some((code, confidence)) = self.detect(text) else {
            return ((self.spec.short == Short::Drop).then(|| self.untold()), None);
        };
        let kept = self.spec.keep.iter().any(|k| k == code) && confidence >= self.spec.threshold;
        ((!kept).then(|| format!("{code} {confidence:.2}")), Some(code))
    }
}

impl DocumentFilter for LanguageFilter {
    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        let joined;
        let texts: Vec<&str> = match (&*document.content, self.spec.per) {
            (Content::Text(text), _) => vec![text],
            (content, Per::Row) => {
                joined = content.texts().collect::<Vec<_>>().join("\n");
                vec![&joined]
            }
            // A system prompt is often of another language than the conversation.
            (content, Per::Message) => {
                content.messages().filter(|m| m.role != "system").map(|m| m.content.as_str()).collect()
            }
        };
        // The longest text is the one to name the row's language by.
        let mut spoken: Option<(usize, &'static str)> = None;
        for text in texts {
            let (objection, code) = self.object(text);
            if let Some(objection) = objection {
                return Verdict::Drop(objection);
            }
            if let Some(code) = code
                && spoken.is_none_or(|(length, _)| text.len() > length)
            {
                spoken = Some((text.len(), code));
            }
        }
        if let Some((_, code)) = spoken {
            *document.language = Some(code.to_owned());
        }
        Verdict::Keep
    }
}

/// `n` stretches of about `chars` characters each, evenly spread and cut at white space, or all of a
/// text that is not much longer. Links and code between them are as likely as anywhere.
fn windows(text: &str, n: usize, chars: usize) -> Cow<'_, str> {
    // Two bytes a character cover Latin, Greek and Cyrillic scripts.
    let span = chars * 2;
    if text.len() <= n * span {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(n * (span + 1));
    for i in 0..n {
        let start = (text.len() - span) / n.max(2).saturating_sub(1) * i;
        let start = word_start(text, start.min(text.len() - span));
        let window: &str = &text[start..];
        let end = window.char_indices().nth(chars).map_or(window.len(), |(end, _)| end);
        out.push_str(&window[..end]);
        out.push(' ');
    }
    Cow::Owned(out)
}

/// The first place from `at` on where a word begins; `at` itself, on a character, if there is none near.
fn word_start(text: &str, at: usize) -> usize {
    let at = (at..text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len());
    if at == 0 {
        return 0;
    }
    text[at..].char_indices().take(40).find(|(_, c)| c.is_whitespace()).map_or(at, |(i, _)| at + i)
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;

    const ITALIAN: &str =
        "Il treno per Bari parte ogni mattina alle sette, e chi arriva tardi deve aspettare il prossimo.";
    const ENGLISH: &str =
        "The train to Bari leaves every morning at seven, and whoever comes late has to wait for the next.";

    fn judge(spec: &Language, row: &mut Row) -> Verdict {
        spec.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"))[0].on_row(row)
    }

    #[test]
    fn texts_and_messages_are_told_apart() {
        let spec = Language::default();
        let mut row = Row::text(ITALIAN);
        assert_eq!(judge(&spec, &mut row), Verdict::Keep);
        assert_eq!(row.language.as_deref(), Some("it"));
        assert!(matches!(judge(&spec, &mut Row::text(ENGLISH)), Verdict::Drop(d) if d.starts_with("en ")));
        let mixed = Row::chat(&[("system", ENGLISH), ("user", ITALIAN), ("assistant", ENGLISH)]);
        assert!(matches!(judge(&spec, &mut mixed.clone()), Verdict::Drop(d) if d.starts_with("en ")));
        let prompt = Row::chat(&[("system", ENGLISH), ("user", ITALIAN), ("assistant", "Sì.")]);
        assert_eq!(judge(&spec, &mut prompt.clone()), Verdict::Keep);
    }

    #[test]
    fn short_texts_go_as_the_recipe_says() {
        let keep = Language::default();
        let drop = Language { short: Short::Drop, ..Language::default() };
        assert_eq!(judge(&keep, &mut Row::text("Ciao!")), Verdict::Keep);
        assert_eq!(
            judge(&drop, &mut Row::text("Ciao!")),
            Verdict::Drop("too short to tell: fewer than 20 letters".into())
        );
        let sure = Language { threshold: 1.0, ..Language::default() };
        let between = || Row::text("una persona sola canta la rosa");
        assert!(matches!(judge(&sure, &mut between()), Verdict::Drop(_)));
        let doubting = Language { doubt: 1.0, keep: vec!["de".into()], ..Language::default() };
        assert_eq!(judge(&doubting, &mut between()), Verdict::Keep);
        let strict = Language { short: Short::Drop, ..doubting };
        assert!(matches!(judge(&strict, &mut between()), Verdict::Drop(d) if d.ends_with("or in doubt")));
    }

    #[test]
    fn windows_see_the_whole_length_and_never_split_a_character() {
        let long = format!("{} {}", ITALIAN.repeat(20), ENGLISH.repeat(200));
        assert!(matches!(judge(&Language::default(), &mut Row::text(&long)), Verdict::Drop(d) if d.starts_with("en")));
        for length in 0..50 {
            let accents = format!("{}{}", "a".repeat(length), "è".repeat(3000));
            assert!(windows(&accents, 3, 200).chars().count() <= 3 * 201);
        }
        assert_eq!(windows("breve", 3, 200), "breve");
    }

    #[test]
    fn mistakes_in_a_recipe_are_named() {
        let error = |spec: Language| spec.compile(&Context::default()).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error(Language { keep: vec!["ita".into()], ..Language::default() }).contains("did you mean `it`?"));
        assert!(error(Language { keep: vec![], ..Language::default() }).contains("drops every row"));
        assert!(error(Language { threshold: 2.0, ..Language::default() }).contains("from 0 to 1"));
    }
}
