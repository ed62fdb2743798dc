//! The rule `sentences`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::Kind;

use crate::{
    context::Context,
    filter::{Document, DocumentFilter, Filter, Verdict},
    rule::{Rule, RuleError},
};

/// Words that end in a full stop without ending a sentence: Italian, then English.
const ABBREVIATIONS: &[&str] = &[
    "art", "artt", "avv", "ca", "cap", "capp", "cfr", "cit", "co", "col", "comm", "dott", "dr", "ecc", "ed", "es",
    "fig", "geom", "gen", "gent", "ill", "ing", "lett", "mons", "n", "nn", "num", "on", "op", "p", "pag", "pagg",
    "par", "pp", "prof", "prot", "rag", "s", "sec", "seg", "sen", "sig", "sigg", "sigra", "spett", "ss", "st", "str",
    "tab", "tel", "v", "vol", "voll", "vs", //
    "approx", "dept", "e.g", "etc", "i.e", "inc", "jr", "ltd", "mr", "mrs", "ms", "no", "sr",
];

/// Drop documents of fewer than `min` sentences.
///
/// # Why
/// A page of one or two sentences is rarely a text.
///
/// A sentence ends with a terminator, what closes with it (quotes, brackets), white space, and what can begin a sentence;
/// not after an abbreviation, an initial or an ordinal.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "sentences"
/// min = 2
/// ```
/// ```json
/// {"text": "L'opera è di G. Verdi."}
/// ```
/// ```text
/// dropped by sentences: 1 sentences, at least 2
/// ```
///
/// # Source
/// [C4](https://jmlr.org/papers/volume21/20-074/20-074.pdf), section 2.2; rule 10 of
/// [clean_mc4_it](https://huggingface.co/datasets/gsarti/clean_mc4_it) counts by NLTK's Punkt.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sentences {
    /// Least number of sentences.
    pub min: usize,
}

impl Default for Sentences {
    fn default() -> Self {
        Self { min: 5 }
    }
}

impl Rule for Sentences {
    const NAME: &'static str = "sentences";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        Ok(vec![Filter::document(Self::NAME, self.clone())])
    }
}

impl DocumentFilter for Sentences {
    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        let mut found = 0;
        for line in document.content.texts().flat_map(str::lines) {
            found += count(line, self.min - found.min(self.min));
            if found >= self.min {
                return Verdict::Keep;
            }
        }
        Verdict::Drop(format!("{found} sentences, at least {}", self.min))
    }
}

/// Sentences of one line, or `enough` if there are that many; a line's end ends a sentence.
pub fn count(line: &str, enough: usize) -> usize {
    let bytes = line.as_bytes();
    let (mut found, mut from, mut open) = (0, 0, !line.trim().is_empty());
    while found < enough
        && let Some(n) = memchr::memchr3(b'.', b'?', b'!', &bytes[from..])
    {
        let at = from + n;
        // All that closes with the terminator: more of them, quotes, brackets.
        let closing =
            |c: char| matches!(c, '.' | '?' | '!' | '"' | '\'' | ')' | ']' | '\u{bb}' | '\u{201d}' | '\u{2019}');
        let rest = line[at..].trim_start_matches(closing);
        from = line.len() - rest.len();
        let next = rest.trim_start();
        if next.is_empty() {
            break;
        }
        if next.len() == rest.len() || !begins(next) || (bytes[at] == b'.' && abbreviates(&line[..at])) {
            continue;
        }
        found += 1;
        open = true;
    }
    if found < enough && open { found + 1 } else { found }
}

/// Whether a text can begin a sentence.
fn begins(text: &str) -> bool {
    let opening =
        |c: char| matches!(c, '"' | '\'' | '(' | '[' | '\u{ab}' | '\u{201c}' | '\u{2018}' | '-' | '\u{2013}' | ' ');
    text.trim_start_matches(opening).chars().next().is_some_and(|c| c.is_uppercase() || c.is_numeric())
}

/// Whether the full stop after `text` belongs to its last word.
fn abbreviates(text: &str) -> bool {
    let start = text.rfind(|c: char| c.is_whitespace() || matches!(c, '(' | '[' | '"' | '\u{ab}' | '\u{201c}'));
    let word = start.map_or(text, |i| text[i..].trim_start_matches(|c: char| !c.is_alphanumeric()));
    let mut letters = word.chars();
    match (letters.next(), letters.next()) {
        // An initial: `G. Verdi`.
        (Some(initial), None) => initial.is_uppercase(),
        (Some(_), Some(_)) => ABBREVIATIONS.contains(&word.to_lowercase().as_str()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;

    #[test]
    fn sentences_are_counted_as_a_reader_would() {
        for (line, sentences) in [
            ("", 0),
            ("Il gatto dorme.", 1),
            ("Il gatto dorme. Il cane no.", 2),
            ("Davvero? Sì! Non ci credo...", 3),
            ("Il sig. Rossi e il dott. Bianchi arrivano alle 10.30 in punto.", 1),
            ("L'opera è di G. Verdi. Fu scritta nel 1853.", 2),
            ("Costa 3.50 euro. 2 euro se sei socio.", 2),
            ("Disse: «Vieni.» Poi tacque.", 2),
            ("Vedi art. 5 e pag. 12.", 1),
            ("Ho visto frutta, verdura, ecc. nel mercato.", 1),
            ("Senza punto finale", 1),
            ("«È tardi!» (Nessuno rispose.) Andò via.", 3),
            ("visita www.esempio.it per altro.", 1),
        ] {
            assert_eq!(count(line, 99), sentences, "{line}");
        }
        assert_eq!(count("Uno. Due. Tre. Quattro.", 2), 2, "stops when there are enough");
    }

    #[test]
    fn a_document_needs_five() {
        let rule = Sentences::default();
        let text = |n: usize| Row::text(vec!["Piove ancora. Fa freddo."; n].join("\n"));
        assert_eq!(rule.apply(&mut text(2)), Verdict::Drop("4 sentences, at least 5".into()));
        assert_eq!(rule.apply(&mut text(3)), Verdict::Keep);
    }
}
