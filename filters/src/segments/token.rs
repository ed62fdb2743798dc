//! Words and signs that a text is cut into: what is counted of them, and hashes by which they are compared.

/// A word, or a sign that stands where words do.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// Hash of its bytes.
    pub hash: u64,
    /// Characters.
    pub chars: u32,
    /// Whether it is a word, not signs alone.
    pub word: bool,
}

/// What is counted of all tokens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Words.
    pub words: usize,
    /// Their characters.
    pub chars: u64,
    /// Tokens with a letter.
    pub alphabetic: usize,
    /// Whether there are letters of scripts without spaces.
    pub spaceless: bool,
}

/// The tokens of a text, in order.
#[derive(Default)]
pub struct Tokens {
    /// All of them.
    pub all: Vec<Token>,
    /// Hashes of the parts of words before and behind an apostrophe, where these are counted as one.
    pub elided: Vec<u64>,
    /// What is counted of them.
    pub totals: Totals,
    /// Whether there is any character of scripts without spaces, a letter or not.
    pub unspaced: bool,
}

impl Tokens {
    /// Add one.
    #[inline]
    pub fn add(&mut self, hash: u64, chars: u32, word: bool, alphabetic: bool) {
        self.totals.words += usize::from(word);
        self.totals.chars += if word { u64::from(chars) } else { 0 };
        self.totals.alphabetic += usize::from(alphabetic);
        self.all.push(Token { hash, chars, word });
    }

    /// Leave nothing but room.
    pub fn clear(&mut self) {
        self.all.clear();
        self.elided.clear();
        (self.totals, self.unspaced) = (Totals::default(), false);
    }
}

/// A hash of 64 bits that is not 0, of the bytes from `start` to `end`.
#[inline]
pub fn hash_of(bytes: &[u8], start: usize, end: usize) -> u64 {
    let length = end - start;
    let eight = |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    if length > 16 {
        return long_hash(&bytes[start..end]);
    }
    // A word of up to sixteen bytes are its first eight and its last eight; what stands behind a shorter one is cleared.
    let first = match eight(start) {
        Some(first) => first & u64::MAX.unbounded_shr(64 - 8 * u32::try_from(length).unwrap_or(8).min(8)),
        None => bytes[start..end].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    let last = if length > 8 { eight(end - 8).unwrap_or(0) } else { 0 };
    mix(first ^ (length as u64).wrapping_mul(0xa076_1d64_78bd_642f), last) | 1
}

fn long_hash(bytes: &[u8]) -> u64 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let hash = eights.iter().fold(bytes.len() as u64, |hash, eight| mix(hash, u64::from_le_bytes(*eight)));
    let rest = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    mix(hash, rest) | 1
}

/// The same of all bytes.
pub fn hash(bytes: &[u8]) -> u64 {
    hash_of(bytes, 0, bytes.len())
}

/// Two numbers as one: both halves of a product, in which every bit of either takes part.
#[inline]
pub fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd1b5_4a32_d192_ed03);
    #[allow(clippy::cast_possible_truncation, reason = "the halves of it")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_word_has_one_hash_wherever_it_stands_and_others_have_others() {
        let mut seen: HashMap<u64, &str> = HashMap::new();
        let text = "abcdefghijklmnopqrstuvwxyz0123456789";
        for length in 0..=text.len() {
            let word = &text[..length];
            for (before, behind) in [("", ""), (" ", ""), ("", "."), ("x", "yyyyyyyyyyyyyyyy")] {
                let whole = [before, word, behind].concat();
                assert_eq!(
                    hash_of(whole.as_bytes(), before.len(), before.len() + length),
                    hash(word.as_bytes()),
                    "{word}"
                );
            }
            assert_ne!(hash(word.as_bytes()), 0);
            assert_eq!(seen.insert(hash(word.as_bytes()), word), None, "{word}");
        }
        for (one, other) in
            [("ab", "ba"), ("a", "a\0"), ("abcdefgh", "abcdefgi"), ("abcdefghi", "abcdefgha"), ("", "\0")]
        {
            assert_ne!(hash(one.as_bytes()), hash(other.as_bytes()), "{one:?} {other:?}");
        }
    }
}
