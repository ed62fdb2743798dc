//! Words as papers have them: what stands between white space, without the signs around it; signs that stand alone; characters of
//! scripts without spaces one by one.

use super::{
    class::{CLASSES, Class, apostrophe, class, has_letter, is_space},
    runs::Runs,
    token::{Tokens, hash_of},
};
use crate::spaceless::is_spaceless;

/// Cut a text, of which the runs are known.
pub fn cut(text: &str, runs: &Runs, tokens: &mut Tokens) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let run = runs.from(at);
        if run == 0 && is_space(bytes, at) {
            at += 1;
        } else if let Some(next) = plain(bytes, at, run, runs, tokens) {
            at = next;
        } else {
            at = piece(text, at, tokens);
        }
    }
}

/// Add the word at a place, if nothing but letters, digits and one apostrophe between them stand there, and at most one sign of ASCII
/// behind them. Says where what follows stands.
#[inline]
fn plain(bytes: &[u8], at: usize, run: usize, runs: &Runs, tokens: &mut Tokens) -> Option<usize> {
    if run == 0 {
        return None;
    }
    let mut end = at + run;
    let mut chars = run - runs.long(at, end);
    let mut stop = behind(bytes, end);
    if stop.is_none() {
        let width = apostrophe(bytes, end);
        let second = end + width;
        let run = if width == 0 { 0 } else { runs.from(second) };
        if run == 0 {
            return None;
        }
        end = second + run;
        stop = behind(bytes, end);
        stop?;
        chars += 1 + run - runs.long(second, end);
        tokens.elided.extend([hash_of(bytes, at, second), hash_of(bytes, second, end)]);
    }
    let chars = u32::try_from(chars).unwrap_or(u32::MAX);
    tokens.add(hash_of(bytes, at, end), chars, true, has_letter(&bytes[at..end]));
    stop
}

/// Behind the white space that ends a word, with a sign of ASCII before it or none.
#[inline]
fn behind(bytes: &[u8], end: usize) -> Option<usize> {
    if is_space(bytes, end) {
        return Some(end + 1);
    }
    (CLASSES[usize::from(bytes[end])] == Class::Sign && is_space(bytes, end + 1)).then_some(end + 2)
}

/// Add the word or the signs from a place to the next white space or the next character of a script without spaces, and this character.
fn piece(text: &str, from: usize, tokens: &mut Tokens) -> usize {
    let bytes = text.as_bytes();
    let mut at = from;
    // Where its first and behind its last letter or digit.
    let (mut start, mut end) = (None, 0);
    let (mut chars, mut until_end, mut alphabetic, mut elision) = (0_u32, 0, false, 0);
    let mut spaceless = 0;
    // The white space that ends it.
    let mut white = 0;
    while at < bytes.len() {
        let mut class = CLASSES[usize::from(bytes[at])];
        let mut width = 1;
        if class == Class::Long {
            let c = text[at..].chars().next().unwrap_or(' ');
            width = c.len_utf8();
            class = self::class(c);
            if is_spaceless(c) {
                tokens.unspaced = true;
                if class == Class::Letter {
                    tokens.totals.spaceless = true;
                    spaceless = width;
                    break;
                }
            }
        }
        if class == Class::Space {
            white = width;
            break;
        }
        let letter = class == Class::Letter;
        if letter || class == Class::Digit {
            start.get_or_insert(at);
            chars = chars.saturating_add(1);
            (end, until_end) = (at + width, chars);
            alphabetic |= letter;
        } else if start.is_some() {
            chars = chars.saturating_add(1);
            if elision == 0 && apostrophe(bytes, at) > 0 {
                elision = at + width;
            }
        }
        at += width;
    }
    if let Some(start) = start {
        tokens.add(hash_of(bytes, start, end), until_end, true, alphabetic);
        if elision > start && elision < end {
            tokens.elided.extend([hash_of(bytes, start, elision), hash_of(bytes, elision, end)]);
        }
    } else if at > from && spaceless == 0 {
        tokens.add(hash_of(bytes, from, at), 0, false, false);
    }
    if spaceless > 0 {
        tokens.add(hash_of(bytes, at, at + spaceless), 1, true, true);
    }
    at + spaceless + white
}
