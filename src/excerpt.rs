//! The words around what a rule matched.

use std::ops::Range;

use setaccio_curate::report::page;

/// Characters that are shown before and after it.
const AROUND: usize = 40;

/// The longest match that is looked for, in characters: rules say what they matched, not where, and cut long matches.
const LONGEST: usize = 80;

/// The first of `texts` that says `matched`, whatever case and accents, cut to the words around it.
pub fn around<'a>(texts: impl IntoIterator<Item = &'a str>, matched: &str) -> Option<String> {
    if matched.trim().chars().count() > LONGEST {
        return None;
    }
    texts.into_iter().find_map(|text| Some(within(text, page::find(text, matched).first()?)))
}

fn within(text: &str, found: &Range<usize>) -> String {
    let begin = text[..found.start].char_indices().rev().nth(AROUND - 1).map_or(0, |(at, _)| at);
    let end = text[found.end..].char_indices().nth(AROUND).map_or(text.len(), |(at, _)| found.end + at);
    let [before, after] =
        [(begin > 0, "\u{2026}"), (end < text.len(), "\u{2026}")].map(|(cut, dots)| if cut { dots } else { "" });
    let words = text[begin..end].split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{before}{words}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_around_a_match_are_found_whatever_its_case() {
        let text =
            "Nel mezzo del cammin di nostra vita mi ritrovai per una selva oscura, che la diritta via era smarrita.";
        assert_eq!(
            around(["Ahi quanto", text], "SELVA").as_deref(),
            Some(
                "\u{2026}mmin di nostra vita mi ritrovai per una selva oscura, che la diritta via era smarrita\u{2026}"
            )
        );
        assert_eq!(around(["\u{130}stanbul \u{130}S"], "\u{130}s").as_deref(), Some("\u{130}stanbul \u{130}S"));
        assert_eq!(around([text], "275 characters, at least 500"), None);
        assert_eq!(around([text], " "), None);
    }
}
