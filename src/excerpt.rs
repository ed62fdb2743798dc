//! The words around what a rule matched.

/// Characters that are shown before and after it.
const AROUND: usize = 40;

/// The longest match that is looked for, in characters: rules say what they matched, not where, and cut long matches.
const LONGEST: usize = 80;

/// The first of `texts` that says `matched`, whatever its case, cut to the words around it.
pub fn around<'a>(texts: impl IntoIterator<Item = &'a str>, matched: &str) -> Option<String> {
    let wanted: Vec<char> = matched.trim().to_lowercase().chars().collect();
    if wanted.is_empty() || wanted.len() > LONGEST {
        return None;
    }
    texts.into_iter().find_map(|text| within(text, &wanted))
}

fn within(text: &str, wanted: &[char]) -> Option<String> {
    // One character may be several in lower case; each of these knows where it came from.
    let folded: Vec<(usize, char)> =
        text.char_indices().flat_map(|(at, c)| c.to_lowercase().map(move |lower| (at, lower))).collect();
    let start = folded.windows(wanted.len()).position(|w| w.iter().map(|(_, c)| c).eq(wanted))?;
    let begin = folded[start.saturating_sub(AROUND)].0;
    let end = folded.get(start + wanted.len() + AROUND).map_or(text.len(), |(at, _)| *at);
    let [before, after] =
        [(begin > 0, "\u{2026}"), (end < text.len(), "\u{2026}")].map(|(cut, dots)| if cut { dots } else { "" });
    let words = text[begin..end].split_whitespace().collect::<Vec<_>>().join(" ");
    Some(format!("{before}{words}{after}"))
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
