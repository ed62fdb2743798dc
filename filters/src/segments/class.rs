//! What characters are to who looks for words.

/// Kinds of characters.
#[derive(Clone, Copy, PartialEq)]
pub enum Class {
    /// White space.
    Space,
    /// A letter, or a mark that combines with one.
    Letter,
    /// A digit or another number.
    Digit,
    /// Anything else.
    Sign,
    /// The first byte of a longer character.
    Long,
}

/// Of each byte.
pub const CLASSES: [Class; 256] = {
    let mut table = [Class::Long; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = match byte {
            b' ' | 0x09..=0x0d => Class::Space,
            b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
            b'0'..=b'9' => Class::Digit,
            _ => Class::Sign,
        };
        byte += 1;
    }
    table
};

/// Of a character.
pub fn class(c: char) -> Class {
    match c {
        _ if c.is_alphabetic() || unicode_normalization::char::is_combining_mark(c) => Class::Letter,
        _ if c.is_numeric() => Class::Digit,
        _ if c.is_whitespace() => Class::Space,
        _ => Class::Sign,
    }
}

/// Whether white space of ASCII, or nothing, is at a place.
#[inline]
pub fn is_space(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_none_or(|b| CLASSES[usize::from(*b)] == Class::Space)
}

/// Bytes of the apostrophe at a place, 0 if there is none.
#[inline]
pub fn apostrophe(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at..) {
        Some([b'\'', ..]) => 1,
        // U+2019.
        Some([0xe2, 0x80, 0x99, ..]) => 3,
        _ => 0,
    }
}

/// Whether letters and digits hold a letter.
#[inline]
pub fn has_letter(run: &[u8]) -> bool {
    run.iter().any(|b| !b.is_ascii_digit())
}
