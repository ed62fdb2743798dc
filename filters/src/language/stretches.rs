//! Stretches of a text that stand for all of it: to tell a language costs as much as the text is long, and a few hundred
//! characters are enough.

use std::borrow::Cow;

/// `n` stretches of about `chars` characters each, evenly spread and cut at white space, or all of a
/// text that is not much longer. Links and code between them are as likely as anywhere.
#[must_use]
pub fn spread(text: &str, n: usize, chars: usize) -> Cow<'_, str> {
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
    use super::*;

    #[test]
    fn a_stretch_never_splits_a_character_and_a_short_text_is_whole() {
        for length in 0..50 {
            let accents = format!("{}{}", "a".repeat(length), "è".repeat(3000));
            assert!(spread(&accents, 3, 200).chars().count() <= 3 * 201);
        }
        assert_eq!(spread("breve", 3, 200), "breve");
    }
}
