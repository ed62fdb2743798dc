//! Lines and white space as Python has them, which is what the rules of C4 and clean_mc4_it were written for.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Lines as `str.splitlines` cuts them; `\r\n` gives an empty line more, and empty lines are left out anyway.
pub fn split_lines(text: &str) -> impl Iterator<Item = &str> {
    // Almost no text has any separator but these two, and bytes are found faster than characters.
    let plain = !has_rare_separators(text);
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = if plain {
            memchr::memchr2(b'\n', b'\r', text.as_bytes()).map(|at| (at, 1))
        } else {
            text.char_indices().find(|(_, c)| separates(*c)).map(|(at, c)| (at, c.len_utf8()))
        };
        let (line, after) = end.map_or((text, None), |(at, width)| (&text[..at], Some(&text[at + width..])));
        rest = after;
        Some(line)
    })
}

fn separates(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

static LONG_SEPARATORS: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["\u{85}", "\u{2028}", "\u{2029}"].map(Finder::new));

/// Whether `text` may hold a separator that is neither `\n` nor `\r`.
fn has_rare_separators(text: &str) -> bool {
    let bytes = text.as_bytes();
    // Not one after the other but all of them, which the compiler turns into vector instructions; and first in one comparison those
    // between the first and the last separator, of which a text holds few.
    let near = |chunk: &[u8]| chunk.iter().fold(false, |any, b| any | (b.wrapping_sub(0x0b) <= 0x1e - 0x0b));
    let control = |chunk: &[u8]| near(chunk) && chunk.iter().any(|b| matches!(b, 0x0b | 0x0c | 0x1c..=0x1e));
    bytes.chunks(64).any(control) || LONG_SEPARATORS.iter().any(|separator| separator.find(bytes).is_some())
}

/// `text` as `str.strip` leaves it.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Words as `str.split` gives them.
pub fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// What `str.isspace` says: Unicode's white space and the four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_as_python_cuts_them() {
        // python3: "a\nb\r\nc\rd\x0be\x0cf\x1cg\x1dh\x1ei\x85j\u2028k\u2029l".splitlines() gives a to l
        let text = "a\nb\r\nc\rd\u{b}e\u{c}f\u{1c}g\u{1d}h\u{1e}i\u{85}j\u{2028}k\u{2029}l";
        for (text, lines) in [(text, "abcdefghijkl"), ("a\r\n\nb", "ab"), ("a…b\u{1f}c", "…"), ("", "")] {
            let found: Vec<&str> = split_lines(text).filter(|l| !l.is_empty()).collect();
            match lines {
                "…" => assert_eq!(found, [text]),
                _ => assert_eq!((found.concat().as_str(), found.len()), (lines, lines.len()), "{text:?}"),
            }
        }
    }

    #[test]
    fn white_space_is_what_python_takes_for_it() {
        // python3: [c for c in range(0x110000) if chr(c).isspace()]
        let space: Vec<u32> = (0..0x11_0000).filter(|c| char::from_u32(*c).is_some_and(is_space)).collect();
        let expected = [9..=13, 28..=32, 133..=133, 160..=160, 5760..=5760, 8192..=8202, 8232..=8233, 8239..=8239];
        let expected: Vec<u32> = expected.into_iter().flatten().chain([8287, 12288]).collect();
        assert_eq!(space, expected);
        assert_eq!(strip("\u{1f} a\u{a0}b \u{2028}"), "a\u{a0}b");
        assert_eq!(split(" a\u{1f}b  c\u{3000}").collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
