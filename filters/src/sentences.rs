//! Where sentences end.
//!
//! A sentence ends with a terminator, what closes with it (quotes, brackets), white space, and what can begin a sentence; not
//! after an abbreviation, an initial or an ordinal. A line's end ends a sentence.

/// Words that end in a full stop without ending a sentence: Italian, then English.
const ABBREVIATIONS: &[&str] = &[
    "art", "artt", "avv", "ca", "cap", "capp", "cfr", "cit", "co", "col", "comm", "dott", "dr", "ecc", "ed", "es",
    "fig", "geom", "gen", "gent", "ill", "ing", "lett", "mons", "n", "nn", "num", "on", "op", "p", "pag", "pagg",
    "par", "pp", "prof", "prot", "rag", "s", "sec", "seg", "sen", "sig", "sigg", "sigra", "spett", "ss", "st", "str",
    "tab", "tel", "v", "vol", "voll", "vs", //
    "approx", "dept", "e.g", "etc", "i.e", "inc", "jr", "ltd", "mr", "mrs", "ms", "no", "sr",
];

/// Sentences of one line, or `enough` if there are that many.
pub fn count(line: &str, enough: usize) -> usize {
    let last = usize::from(!line.trim().is_empty());
    (ends(line).take(enough).count() + last).min(enough)
}

/// Where the sentences of one line end that another one follows, behind all that closes with their terminators.
pub fn ends(line: &str) -> impl Iterator<Item = usize> {
    // Terminators but `.?!` begin with none of the bytes that Latin letters and the signs between them begin with.
    let other_scripts = line.bytes().any(|b| b >= 0xd6 && b != 0xe2);
    let bytes = line.as_bytes();
    let mut from = 0;
    std::iter::from_fn(move || {
        while let Some(end) = if other_scripts { any_end(line, from) } else { plain_end(bytes, from) } {
            let at = end.start();
            // All that closes with the terminator: more of them, quotes, brackets.
            let rest = line[at..].trim_start_matches(closes);
            let behind = line.len() - rest.len();
            let next = rest.trim_start();
            from = behind;
            if next.is_empty() {
                return None;
            }
            let ends = match end {
                End::Mark(_) => {
                    next.len() < rest.len() && begins(next) && !(bytes[at] == b'.' && abbreviates(&line[..at]))
                }
                End::FullStop(_) => true,
                End::Space(_) => {
                    from += rest.len() - next.len();
                    true
                }
            };
            if ends {
                return Some(behind);
            }
        }
        None
    })
}

/// What may end a sentence, and where it stands.
enum End {
    /// A terminator that also has other uses, and needs white space and a beginning after it.
    Mark(usize),
    /// A terminator that has no other use.
    FullStop(usize),
    /// White space between letters of Thai or Lao.
    Space(usize),
}

impl End {
    fn start(&self) -> usize {
        match self {
            Self::Mark(at) | Self::FullStop(at) | Self::Space(at) => *at,
        }
    }
}

fn plain_end(bytes: &[u8], from: usize) -> Option<End> {
    memchr::memchr3(b'.', b'?', b'!', &bytes[from..]).map(|n| End::Mark(from + n))
}

fn any_end(line: &str, from: usize) -> Option<End> {
    let mut before = None;
    let mut rest = line[from..].char_indices().peekable();
    while let Some((n, c)) = rest.next() {
        let at = from + n;
        if matches!(c, '.' | '?' | '!') || is_mark_with_space(c) {
            return Some(End::Mark(at));
        }
        if is_full_stop(c) {
            return Some(End::FullStop(at));
        }
        let after = rest.peek().map(|(_, c)| *c);
        if c.is_whitespace() && before.is_some_and(is_thai_or_lao) && after.is_some_and(is_thai_or_lao) {
            return Some(End::Space(at));
        }
        before = Some(c);
    }
    None
}

/// Whether this sign ends sentences of another script than those that end theirs with `.?!`.
pub fn ends_sentences(c: char) -> bool {
    is_full_stop(c) || is_mark_with_space(c)
}

/// Terminators of scripts that write spaces: Arabic, Armenian, Devanagari and its neighbours, Ethiopic.
fn is_mark_with_space(c: char) -> bool {
    matches!(c, '\u{589}' | '\u{61f}' | '\u{6d4}' | '\u{964}' | '\u{965}' | '\u{1362}' | '\u{1367}')
}

/// Terminators of scripts that write none: Chinese and Japanese, also of full and half width, Burmese, Khmer.
fn is_full_stop(c: char) -> bool {
    matches!(
        c,
        '\u{3002}' | '\u{ff01}' | '\u{ff0e}' | '\u{ff1f}' | '\u{ff61}' | '\u{104a}'..='\u{104b}' | '\u{17d4}'..='\u{17d5}'
    )
}

fn is_thai_or_lao(c: char) -> bool {
    matches!(c, '\u{e01}'..='\u{eff}')
}

/// What may stand between a sentence's end and the next one's beginning, and belongs to the end.
fn closes(c: char) -> bool {
    matches!(c, '.' | '?' | '!' | '"' | '\'' | ')' | ']' | '\u{bb}' | '\u{201d}' | '\u{2019}')
        || matches!(c, '\u{300d}' | '\u{300f}' | '\u{3011}' | '\u{ff09}')
        || is_full_stop(c)
        || is_mark_with_space(c)
}

/// Whether a text can begin a sentence.
fn begins(text: &str) -> bool {
    let opening =
        |c: char| matches!(c, '"' | '\'' | '(' | '[' | '\u{ab}' | '\u{201c}' | '\u{2018}' | '-' | '\u{2013}' | ' ');
    let first = text.trim_start_matches(opening).chars().next();
    // A letter of a script without case is neither.
    first.is_some_and(|c| c.is_numeric() || (c.is_alphabetic() && !c.is_lowercase()))
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
            ("วันนี้อากาศดี เราไปสวนกัน", 2),
            ("ราคา 30 บาท", 1),
        ] {
            assert_eq!(count(line, 99), sentences, "{line}");
        }
        assert_eq!(count("Uno. Due. Tre. Quattro.", 2), 2, "stops when there are enough");
    }

    #[test]
    fn sentences_of_other_scripts_are_counted_as_icu_counts_them() {
        let oracle: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/oracles/segments.json")).unwrap_or_else(|e| panic!("{e}"));
        let cases = oracle["sentences"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(cases.len() > 7);
        for case in cases {
            assert_eq!(
                Some(count(case["text"].as_str().unwrap_or_default(), 99) as u64),
                case["sentences"].as_u64(),
                "{case}"
            );
        }
    }
}
