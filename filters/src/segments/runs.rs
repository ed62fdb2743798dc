//! Where letters and digits of Latin texts stand, as bits of which 64 are looked at at once: most words are found without looking at
//! their letters.

/// A byte in each of eight places.
const fn each(byte: u8) -> u64 {
    byte as u64 * 0x0101_0101_0101_0101
}

const HIGH: u64 = each(0x80);

/// The first bytes of the letters of U+00C0 to U+00FF.
const LATIN_1: u8 = 0xc3;

/// A bit a byte: letters and digits of ASCII, letters of U+00C0 to U+00FF, and the first bytes of these.
#[derive(Default)]
pub struct Runs {
    held: Vec<u64>,
    long: Vec<u64>,
}

impl Runs {
    /// Look at a text.
    pub fn find(&mut self, text: &[u8]) {
        self.held.clear();
        self.long.clear();
        // The letter before a block that ends in it.
        let mut carry = 0;
        let (blocks, rest) = text.as_chunks::<64>();
        let mut last = [0; 64];
        last[..rest.len()].copy_from_slice(rest);
        let end = [last];
        for (number, block) in blocks.iter().chain(end.iter().take(usize::from(!rest.is_empty()))).enumerate() {
            let (mut held, mut long) = (carry, 0);
            carry = 0;
            for (n, eight) in block.as_chunks::<8>().0.iter().enumerate() {
                let (ascii, first) = letters_and_digits(u64::from_le_bytes(*eight));
                held |= bits(ascii) << (n * 8);
                long |= bits(first) << (n * 8);
            }
            let mut firsts = long;
            while firsts != 0 {
                let bit = firsts.trailing_zeros();
                firsts &= firsts - 1;
                // But for the signs of multiplication and division.
                if matches!(text.get(number * 64 + bit as usize + 1), Some(0x97 | 0xb7) | None) {
                    long &= !(1 << bit);
                    continue;
                }
                held |= 1 << bit;
                if bit < 63 {
                    held |= 2 << bit;
                } else {
                    carry = 1;
                }
            }
            self.held.push(held);
            self.long.push(long);
        }
    }

    /// How many bytes of letters and digits begin at a place.
    #[inline]
    pub fn from(&self, at: usize) -> usize {
        let (mut block, bit) = (at / 64, at % 64);
        let Some(held) = self.held.get(block) else { return 0 };
        let mut end = at + (!(held >> bit)).trailing_zeros() as usize;
        while end == (block + 1) * 64 {
            block += 1;
            end += self.held.get(block).map_or(0, |held| (!held).trailing_zeros() as usize);
        }
        end - at
    }

    /// How many characters of two bytes are between two places.
    #[inline]
    pub fn long(&self, start: usize, end: usize) -> usize {
        let (first, last) = (start / 64, end / 64);
        let before = |place: usize| !(u64::MAX << (place % 64));
        let of = |block: usize| self.long.get(block).copied().unwrap_or(0);
        if first == last {
            return (of(first) & before(end) & !before(start)).count_ones() as usize;
        }
        let between: u32 = (first + 1..last).map(|block| of(block).count_ones()).sum();
        ((of(first) & !before(start)).count_ones() + between + (of(last) & before(end)).count_ones()) as usize
    }
}

/// Of eight bytes the high bits of those that are letters or digits of ASCII, and of those that begin a letter of U+00C0 to U+00FF.
fn letters_and_digits(eight: u64) -> (u64, u64) {
    // Of bytes below 0x80 the high bit, where they are this or more.
    let at_least = |bytes: u64, least: u8| bytes + each(0x80 - least);
    let low = eight & !HIGH;
    let small = low | each(0x20);
    let letter = at_least(small, b'a') & !at_least(small, b'z' + 1);
    let digit = at_least(low, b'0') & !at_least(low, b'9' + 1);
    let other = eight ^ each(LATIN_1);
    let first = !(((other & !HIGH) + !HIGH) | other);
    ((letter | digit) & !eight & HIGH, first & HIGH)
}

/// The high bits of eight bytes as eight bits.
fn bits(high: u64) -> u64 {
    ((high >> 7).wrapping_mul(0x0102_0408_1020_4080)) >> 56
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_those_that_one_finds_character_by_character() {
        let pieces = [
            "a",
            "Z",
            "9",
            "è",
            "À",
            "ÿ",
            "×",
            "÷",
            " ",
            "-",
            "\u{80}",
            "中",
            "[",
            "@",
            "`",
            "{",
            "/",
            ":",
            "lungaparola",
            "ñ",
        ];
        let mut random = 1_u64;
        let mut runs = Runs::default();
        for round in 0..2000 {
            let mut text = String::new();
            for _ in 0..round % 90 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(pieces[usize::try_from(random >> 33).unwrap_or(0) % pieces.len()]);
            }
            runs.find(text.as_bytes());
            let held = |c: char| c.is_ascii_alphanumeric() || (matches!(c, 'À'..='ÿ') && !matches!(c, '×' | '÷'));
            for (at, _) in text.char_indices() {
                let run = text[at..].find(|c| !held(c)).unwrap_or(text.len() - at);
                assert_eq!(runs.from(at), run, "{at} of {text:?}");
                assert_eq!(run - runs.long(at, at + run), text[at..at + run].chars().count(), "{at} of {text:?}");
            }
            assert_eq!(runs.from(text.len()), 0);
        }
    }
}
