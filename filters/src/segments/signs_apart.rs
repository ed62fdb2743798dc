//! Words and signs as spaCy's rules for Italian cut them, but for its lists of exceptions: signs before and behind a word are
//! tokens, one each (three full stops one), and a word is cut behind an apostrophe, at a dash before a small letter, at a comma
//! or a colon between letters, and where a small letter, a full stop and a capital follow each other.

use super::{
    class::{apostrophe, has_letter, is_space},
    runs::Runs,
    token::{Tokens, hash_of},
};

/// Cut a text, of which the runs are known.
pub fn cut(text: &str, runs: &Runs, tokens: &mut Tokens) {
    let bytes = text.as_bytes();
    let mut behind = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let run = runs.from(at);
        if run == 0 && is_space(bytes, at) {
            at += 1;
        } else if run == 0 && opens(bytes[at]) {
            // What is left of the piece is cut as if it were one by itself.
            tokens.add(hash_of(bytes, at, at + 1), 1, bytes[at] == b'&', false);
            at += 1;
        } else if let Some(next) = plain(bytes, at, run, runs, tokens) {
            at = next;
        } else {
            let length = text[at..].find(char::is_whitespace).unwrap_or(text.len() - at);
            piece(tokens, text, at, at + length, &mut behind);
            at += length;
            at += text[at..].chars().next().map_or(0, char::len_utf8);
        }
    }
}

/// Add the words of a piece, if nothing but letters, digits and one apostrophe between them stand there, and at most one common sign
/// behind them: most pieces are so. Says where what follows stands.
#[inline]
fn plain(bytes: &[u8], at: usize, run: usize, runs: &Runs, tokens: &mut Tokens) -> Option<usize> {
    if run == 0 {
        return None;
    }
    let word = |tokens: &mut Tokens, start: usize, end: usize, more: usize| {
        let chars = u32::try_from(end - start - more - runs.long(start, end)).unwrap_or(u32::MAX);
        tokens.add(hash_of(bytes, start, end), chars, true, has_letter(&bytes[start..end]));
    };
    let end = at + run;
    if let Some(signs) = signs_behind(bytes, at, end) {
        word(tokens, at, end, 0);
        return Some(add_signs(bytes, end, signs, tokens));
    }
    let width = apostrophe(bytes, end);
    let second = end + width;
    let run = if width == 0 || bytes[end - 1].is_ascii_digit() { 0 } else { runs.from(second) };
    if run == 0 {
        return None;
    }
    let signs = signs_behind(bytes, at, second + run)?;
    word(tokens, at, second, width - 1);
    word(tokens, second, second + run, 0);
    Some(add_signs(bytes, second + run, signs, tokens))
}

/// Add so many signs. Says where what is behind the white space after them stands.
#[inline]
fn add_signs(bytes: &[u8], mut at: usize, signs: usize, tokens: &mut Tokens) -> usize {
    for _ in 0..signs {
        tokens.add(hash_of(bytes, at, at + 1), 1, false, false);
        at += 1;
    }
    at + 1
}

/// How many signs end the word from `start` to `end`, if white space is behind none, one or two common ones.
#[inline]
fn signs_behind(bytes: &[u8], start: usize, end: usize) -> Option<usize> {
    if is_space(bytes, end) {
        return Some(0);
    }
    let closes = |byte: u8| matches!(byte, b')' | b'"' | b']');
    let sign = match bytes[end] {
        b',' | b';' | b':' | b'?' | b'!' => true,
        // After a capital it may belong to the word, and does after a letter alone.
        b'.' => match bytes[end - 1] {
            b'0'..=b'9' => true,
            b'a'..=b'z' => end - start > 1,
            last => last >= 0x9f,
        },
        byte => closes(byte),
    };
    if sign && is_space(bytes, end + 1) {
        return Some(1);
    }
    let two = closes(bytes[end]) && matches!(bytes.get(end + 1), Some(b',' | b'.' | b';' | b':' | b'?' | b'!'));
    (two && is_space(bytes, end + 2)).then_some(2)
}

/// Whether it is a sign of its own wherever a piece begins with it.
#[inline]
fn opens(byte: u8) -> bool {
    byte != b'\'' && byte.is_ascii() && is_bracket_or_quote(char::from(byte))
}

/// What datatrove does not take for a word where it stands alone, beside the signs of ASCII but `&`.
const SIGNS: &str = "—”：％〈、━【「」，】；“《„’∶´．（–？！～«〉》）。…►»";

/// Add the tokens of what stands between white space.
fn piece(tokens: &mut Tokens, text: &str, base: usize, end: usize, behind: &mut Vec<(usize, usize)>) {
    let piece = &text[base..end];
    let (mut start, mut end) = (0, piece.len());
    while let Some(width) = sign_before(&piece[start..end]) {
        push(tokens, text, base + start, base + start + width);
        start += width;
    }
    while let Some(width) = sign_behind(&piece[start..end]) {
        behind.push((end - width, end));
        end -= width;
    }
    within(tokens, text, base + start, base + end);
    for (start, end) in behind.drain(..).rev() {
        push(tokens, text, base + start, base + end);
    }
}

/// Add the parts of a word that has no signs around it.
fn within(tokens: &mut Tokens, text: &str, start: usize, end: usize) {
    let word = &text[start..end];
    let mut from = 0;
    let apart = !word.bytes().all(|b| b.is_ascii_alphanumeric());
    // Addresses and the commonest of spaCy's exceptions are whole.
    let whole = || word.contains("://") || word.starts_with("www.") || word.eq_ignore_ascii_case("e/o");
    if apart && !whole() {
        let mut before: Option<char> = None;
        let mut chars = word.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let after = chars.peek().map(|(_, c)| *c);
            let letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
            let small = |c: Option<char>| c.is_some_and(char::is_lowercase);
            let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
            let (apart, elided) = match c {
                '\'' | '\u{2019}' => (false, letter(before) && (letter(after) || digit(after) || after == Some('"'))),
                '-' if digit(before) && (digit(after) || after == Some('-')) => (true, false),
                '+' | '*' | '^' => (digit(before) && (digit(after) || after == Some('-')), false),
                '-' | '\u{2013}' | '\u{2014}' | '~' => (letter(before) && small(after), false),
                ',' => (letter(before) && letter(after), false),
                ':' | '<' | '>' | '=' | '/' => ((letter(before) || digit(before)) && letter(after), false),
                '.' => (small(before) && after.is_some_and(char::is_uppercase), false),
                '\u{2026}' => (true, false),
                _ => (false, false),
            };
            let mut width = c.len_utf8();
            let apart = apart || (c == '.' && after == Some('.'));
            if apart && c == '.' {
                width = word[at..].len() - word[at..].trim_start_matches('.').len();
                while chars.next_if(|(_, c)| *c == '.').is_some() {}
            }
            if apart {
                push(tokens, text, start + from, start + at);
                push(tokens, text, start + at, start + at + width);
            } else if elided {
                push(tokens, text, start + from, start + at + width);
            }
            if apart || elided {
                from = at + width;
            }
            before = Some(c);
        }
    }
    push(tokens, text, start + from, end);
}

/// Add a token, if there is anything of it.
fn push(tokens: &mut Tokens, text: &str, start: usize, end: usize) {
    let token = &text[start..end];
    if token.is_empty() {
        return;
    }
    let sign = |c: char| if c.is_ascii() { c.is_ascii_punctuation() && c != '&' } else { SIGNS.contains(c) };
    let (mut chars, mut alphabetic, mut word) = (0_u32, false, false);
    for c in token.chars() {
        chars = chars.saturating_add(1);
        alphabetic |= c.is_alphabetic();
        word |= alphabetic || !(sign(c) || c.is_control());
    }
    tokens.add(hash_of(text.as_bytes(), start, end), chars, word, alphabetic);
}

fn is_bracket_or_quote(c: char) -> bool {
    matches!(c, '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | '"' | '\'' | '`' | '*' | '&' | '#' | '|' | '~')
        || matches!(c, '«' | '»' | '“' | '”' | '‘' | '’' | '„' | '‚' | '‹' | '›' | '´')
        || matches!(c, ',' | ';' | ':' | '?' | '!' | '_' | '…' | '·' | '¿' | '¡' | '。' | '，' | '、' | '；' | '：')
}

/// Bytes of the sign that a piece begins with, if it does.
fn sign_before(piece: &str) -> Option<usize> {
    let c = piece.chars().next()?;
    if piece.starts_with("..") {
        return Some(piece.len() - piece.trim_start_matches('.').len());
    }
    let next = piece[c.len_utf8()..].chars().next();
    let sign = match c {
        '\'' => !next.is_some_and(|c| c.is_ascii_digit()),
        '+' => !next.is_some_and(|c| c.is_ascii_digit()),
        '§' | '%' | '=' | '—' | '–' | '$' | '€' | '£' | '•' | '°' | '©' | '®' | '™' | '/' => {
            c != '/' || next.is_none()
        }
        _ => is_bracket_or_quote(c) || is_icon(c),
    };
    sign.then_some(c.len_utf8())
}

/// Bytes of the sign that a piece ends with, if it does.
fn sign_behind(piece: &str) -> Option<usize> {
    let c = piece.chars().next_back()?;
    if piece.ends_with("..") {
        return Some(piece.len() - piece.trim_end_matches('.').len());
    }
    let rest = &piece[..piece.len() - c.len_utf8()];
    let before = rest.chars().next_back();
    let capitals = rest.chars().rev().take(2).filter(|c| c.is_uppercase()).count() == 2;
    let digit = before.is_some_and(|c| c.is_ascii_digit());
    let sign = match c {
        // Exceptions of spaCy: `po'`, and a letter alone.
        '\'' if rest.ends_with("po") => false,
        '.' if rest.len() == 1 && before.is_some_and(char::is_lowercase) => false,
        '.' => before.is_some_and(|b| {
            b.is_ascii_digit()
                || b.is_lowercase()
                || matches!(b, '%' | '²' | '-' | '+')
                || is_bracket_or_quote(b)
                || capitals
        }),
        '+' | '$' | '€' | '£' => digit,
        '%' | '—' | '–' | '•' | '°' | '©' | '®' | '™' => true,
        _ => is_bracket_or_quote(c) || is_icon(c),
    };
    sign.then_some(c.len_utf8())
}

/// A symbol that is neither a letter nor a sign of a keyboard: arrows, ornaments, emoji.
fn is_icon(c: char) -> bool {
    matches!(c, '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}')
}
