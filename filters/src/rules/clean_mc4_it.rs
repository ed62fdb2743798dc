//! The rule `clean_mc4_it`: the rules of gsarti/clean_mc4_it as one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::Kind;

use super::{
    bad_words::BadWords,
    citations::Citations,
    language::Language,
    length::Length,
    line_end::LineEnd,
    long_tokens::LongTokens,
    min_words_per_line::MinWordsPerLine,
    phrases::{Drops, Phrases},
    sentences::Sentences,
};
use crate::{
    context::Context,
    filter::Filter,
    fold::WhiteSpace,
    rule::{Rule, RuleError},
    spaceless::Spaceless,
};

/// Clean web pages by the eleven rules of clean_mc4_it, in their order; every constant can be set.
///
/// # Why
/// Pages of Common Crawl are mostly menus, notices and code. What is left is text that reads as written by a person;
/// IT5, LLaMAntino-2 and ANITA were trained on it.
///
/// Lines go through the line filters one by one, so `lorem ipsum` and `{` drop a document only where they stand in a line
/// that the filters before have left. Line by line the rules 2 to 5 do what the original's code does, to the character:
/// a line whose mark of a note stands after its full stop ends in a space then, and is dropped (`citations.trim = true`
/// saves it).
///
/// Four things differ from the original: sentences are counted by rule instead of by NLTK's Punkt; whatlang tells the
/// language instead of LangDetect; words and phrases are found in any Unicode form, where the original compared lower case
/// only; and a listed word that begins or ends with a sign, as `@$$`, is found beside letters too. The original's Italian
/// policy phrases are not published; the list `policy-it` is ours.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "clean_mc4_it"
/// bad_words = { words = ["accidenti"] }
/// length = { min_chars = 0 }
/// sentences = { min = 1 }
/// ```
/// ```json
/// {"text": "Home\nIl mercato si tiene ogni sabato[1] nella piazza del paese.\nLeggi tutto..."}
/// ```
/// ```json
/// {"text": "Il mercato si tiene ogni sabato nella piazza del paese."}
/// ```
///
/// # Source
/// [clean_mc4_it](https://huggingface.co/datasets/gsarti/clean_mc4_it); the paper of
/// [IT5](https://arxiv.org/abs/2203.03759).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CleanMc4It {
    /// 1, `bad_words`: documents with a listed word are dropped.
    pub bad_words: BadWords,
    /// 2, `long_tokens`: lines with a longer token are dropped.
    pub long_tokens: LongTokens,
    /// 3, `citations`: citation marks are deleted.
    pub citations: Citations,
    /// 4, `line_end`: lines that do not end as a sentence are dropped.
    pub line_end: LineEnd,
    /// 5, `min_words_per_line`: lines of fewer words, counted after rule 3, are dropped.
    pub min_words_per_line: MinWordsPerLine,
    /// 6, `phrases`: documents with such a line are dropped.
    pub lorem_ipsum: Phrases,
    /// 7, `phrases`: such lines are dropped.
    pub javascript: Phrases,
    /// 8, `phrases`: documents with such a line are dropped.
    pub curly: Phrases,
    /// 9, `phrases`: such lines are dropped.
    pub policy: Phrases,
    /// 10, `sentences`: documents of fewer sentences are dropped.
    pub sentences: Sentences,
    /// 10, `length`: documents whose kept lines are shorter or longer than this are dropped.
    pub length: Length,
    /// 11, `language`: documents that are not Italian are dropped.
    pub language: Language,
}

impl Default for CleanMc4It {
    fn default() -> Self {
        let phrases = |list: &[&str], drops| Phrases {
            phrases: list.iter().map(|p| (*p).to_owned()).collect(),
            drops,
            white_space: WhiteSpace::Exact,
            ..Phrases::default()
        };
        let policy =
            ["terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"];
        Self {
            bad_words: BadWords { white_space: WhiteSpace::Exact, ..BadWords::default() },
            long_tokens: LongTokens::default(),
            citations: Citations::default(),
            line_end: LineEnd::default(),
            min_words_per_line: MinWordsPerLine { spaceless: Spaceless::Run, ..MinWordsPerLine::default() },
            lorem_ipsum: phrases(&["lorem ipsum"], Drops::Document),
            javascript: phrases(&["javascript"], Drops::Line),
            curly: phrases(&["{"], Drops::Document),
            policy: phrases(&policy, Drops::Line),
            sentences: Sentences::default(),
            length: Length { min_chars: Some(500), max_chars: Some(50_000), ..Length::default() },
            language: Language::default(),
        }
    }
}

impl Rule for CleanMc4It {
    const NAME: &'static str = "clean_mc4_it";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, context: &Context) -> Result<Vec<Filter>, RuleError> {
        let within = |part: &str, e: RuleError| RuleError::setting(format!("{part}: {e}"));
        let mut filters = Vec::new();
        // Without a list the first rule would be silently absent: say so, unless it is meant.
        filters.push(self.bad_words.filter("clean_mc4_it.bad_words", context).map_err(|e| within("bad_words", e))?);
        let mut add = |name: &'static str, compiled: Result<Vec<Filter>, RuleError>| {
            for mut filter in compiled.map_err(|e| within(name, e))? {
                filter.name = name.into();
                filters.push(filter);
            }
            Ok::<_, RuleError>(())
        };
        add("clean_mc4_it.long_tokens", self.long_tokens.compile(context))?;
        add("clean_mc4_it.citations", self.citations.compile(context))?;
        add("clean_mc4_it.line_end", self.line_end.compile(context))?;
        add("clean_mc4_it.min_words_per_line", self.min_words_per_line.compile(context))?;
        add("clean_mc4_it.lorem_ipsum", self.lorem_ipsum.compile(context))?;
        add("clean_mc4_it.javascript", self.javascript.compile(context))?;
        add("clean_mc4_it.curly", self.curly.compile(context))?;
        add("clean_mc4_it.policy", self.policy.compile(context))?;
        add("clean_mc4_it.sentences", self.sentences.compile(context))?;
        add("clean_mc4_it.length", self.length.compile(context))?;
        add("clean_mc4_it.language", self.language.compile(context))?;
        Ok(filters)
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;
    use setaccio_base::filter_report::Tally;

    use crate::{filter::Scope, pipeline::Pipeline};

    /// Five sentences, more than 500 characters, one a line.
    const BODY: [&str; 5] = [
        "Il mercato del paese si tiene ogni sabato mattina nella piazza davanti alla chiesa, e comincia prima dell'alba.",
        "I contadini arrivano dalle campagne vicine con le cassette di verdura, il formaggio fresco e le uova del giorno.",
        "Chi vuole trovare la merce migliore deve alzarsi presto, perché verso le dieci i banchi sono già mezzi vuoti.",
        "Gli anziani si fermano a parlare del tempo e dei prezzi, e non hanno nessuna fretta di tornare a casa per pranzo.",
        "Quando le campane suonano mezzogiorno i venditori smontano le tende, e la piazza torna silenziosa fino a sera.",
    ];

    fn pipeline() -> Pipeline {
        let spec = CleanMc4It {
            bad_words: BadWords { words: vec!["accidenti".into()], ..BadWords::default() },
            ..CleanMc4It::default()
        };
        let filters = spec.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"));
        Pipeline::new(filters, Kind::Text).unwrap_or_else(|e| panic!("{e}"))
    }

    /// What becomes of the body with `line` in its middle: the rule that drops the document, or the rules
    /// that touched a line and whether the line is still there.
    fn with(line: &str) -> Result<(Vec<String>, bool), String> {
        let pipeline = pipeline();
        let mut tallies = pipeline.tallies();
        let mut lines: Vec<&str> = BODY.to_vec();
        lines.insert(2, line);
        let mut row = Row::text(lines.join("\n"));
        let names: Vec<String> = pipeline.names().map(|n| n.trim_start_matches("clean_mc4_it.").to_owned()).collect();
        if let Some(dropped) = pipeline.apply(&mut row, &mut tallies) {
            return Err(names[dropped.filter].clone());
        }
        let touched =
            names.into_iter().zip(&tallies).filter(|(_, t)| **t != Tally::default()).map(|(n, _)| n).collect();
        let kept = row.content.texts().flat_map(str::lines).count() > BODY.len();
        Ok((touched, kept))
    }

    #[test]
    fn each_rule_keeps_and_drops() {
        let token = format!("Ecco il codice {} da copiare.", "x".repeat(1001));
        for (line, expected) in [
            ("Una riga come le altre, con tutte le sue parole.", Ok((vec![], true))),
            // 1
            ("Ma accidenti, che prezzi hanno messo oggi!", Err("bad_words")),
            ("Gli accidentiosi non sono una parola vera, eppure passano.", Ok((vec![], true))),
            // 2
            (&token, Ok((vec!["long_tokens"], false))),
            // 3
            ("Il mercato nacque nel Trecento[12] per volere del vescovo.[edit]", Ok((vec!["citations"], true))),
            ("La piazza[] fu lastricata più tardi.", Ok((vec!["citations"], true))),
            // 4
            ("Orari e contatti", Ok((vec!["line_end"], false))),
            ("E il resto lo leggerete domani...", Ok((vec!["line_end"], false))),
            ("E il resto lo leggerete domani…", Ok((vec!["line_end"], false))),
            ("Il sindaco disse «torneremo presto»", Ok((vec!["line_end"], false))),
            // 4 after 3: what the mark leaves is a space, and the original knew marks in lower case only
            ("Il mercato nacque nel Trecento. [12]", Ok((vec!["citations", "line_end"], false))),
            ("Storia del mercato. [Edit]", Ok((vec!["line_end"], false))),
            // 5, and 5 after 3
            ("Leggi tutto.", Ok((vec!["min_words_per_line"], false))),
            ("Fonti [12] varie.", Ok((vec!["citations", "min_words_per_line"], false))),
            // 6, and 6 after 4: a line that is gone drops nothing
            ("Lorem ipsum dolor sit amet.", Err("lorem_ipsum")),
            ("Lorem ipsum dolor sit amet", Ok((vec!["line_end"], false))),
            // 7
            ("Per vedere la pagina attiva JavaScript nel browser.", Ok((vec!["javascript"], false))),
            // 8; after 4; and after 7, for the line is gone before the bracket is looked at
            ("La funzione si scrive f(x) { return x; } e basta.", Err("curly")),
            ("if (x) { y }", Ok((vec!["line_end"], false))),
            ("Con javascript si scrive { x } e basta.", Ok((vec!["javascript"], false))),
            // 9
            ("Leggi la nostra privacy policy per saperne di più.", Ok((vec!["policy"], false))),
        ] {
            let expected =
                expected.map(|(t, k)| (t.into_iter().map(str::to_owned).collect(), k)).map_err(str::to_owned);
            assert_eq!(with(line), expected, "{line}");
        }
    }

    /// `tests/oracles/c4_lines.py` makes the file: the same rules in Python.
    #[test]
    fn lines_are_cleaned_as_the_original_cleans_them() {
        let pages: Vec<serde_json::Value> = serde_json::from_str(include_str!("../../../tests/oracles/c4_lines.json"))
            .unwrap_or_else(|e| panic!("{e}"));
        let spec = CleanMc4It {
            bad_words: BadWords { words: vec!["accidenti".into()], ..BadWords::default() },
            ..CleanMc4It::default()
        };
        let mut filters = spec.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"));
        filters.retain(|f| matches!(f.scope, Scope::Line(_)));
        let pipeline = Pipeline::new(filters, Kind::Text).unwrap_or_else(|e| panic!("{e}"));
        let mut wrong = Vec::new();
        for page in &pages {
            let mut row = Row::text(page["text"].as_str().unwrap_or_default());
            let dropped = pipeline.apply(&mut row, &mut pipeline.tallies()).is_some();
            let left = if dropped { None } else { row.content.texts().next() };
            if left != page["left"].as_str() {
                wrong.push(format!("{}: {left:?}", page["text"]));
            }
        }
        assert!(pages.len() > 600 && wrong.is_empty(), "{} of {} differ: {wrong:#?}", wrong.len(), pages.len());
    }

    #[test]
    fn documents_are_judged_by_the_lines_that_are_left() {
        let drop = |text: String| {
            let pipeline = pipeline();
            let mut tallies = pipeline.tallies();
            let filter = pipeline.apply(&mut Row::text(text), &mut tallies)?.filter;
            pipeline.names().nth(filter).map(str::to_owned)
        };
        let menu = "Home\nChi siamo\nContatti";
        assert_eq!(drop(format!("{menu}\n{}", BODY.join("\n"))), None);
        // 10: four sentences; five that are too short; too long by one paragraph.
        assert_eq!(drop(BODY[..4].join("\n")).as_deref(), Some("clean_mc4_it.sentences"));
        assert_eq!(drop(["Piove sempre qui."; 6].join("\n")).as_deref(), Some("clean_mc4_it.length"));
        let long = vec![BODY.join("\n"); 50_000 / BODY.join("\n").chars().count() + 1].join("\n");
        assert_eq!(drop(long).as_deref(), Some("clean_mc4_it.length"));
        // 11
        let english = "The market is held every Saturday morning in the square in front of the old church of the town.";
        assert_eq!(drop([english; 6].join("\n")).as_deref(), Some("clean_mc4_it.language"));
    }

    #[test]
    fn without_a_list_it_says_so() {
        let error = CleanMc4It::default().compile(&Context::default()).err().map(|e| e.to_string());
        assert!(error.as_deref().unwrap_or_default().starts_with("bad_words: there are no words"), "{error:?}");
    }
}
