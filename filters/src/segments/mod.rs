//! The words of a text, as the rules of quality count them: cut once, shared by all rules that look at the same text.

pub mod ngrams;

use std::cell::OnceCell;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::ngrams::Ngrams;
use crate::{
    fold::{Folding, Invisible, WhiteSpace, caseless_into},
    spaceless::{count_words, is_spaceless},
};

/// Whose way of counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AsIn {
    /// As the paper says it. Words stand between white space, without the signs around them, in one Unicode form and case.
    #[default]
    Paper,
    /// As datatrove's code does it, from which the constants of FineWeb-2 are: signs and elided articles (`l'`) are words by
    /// themselves, and case counts.
    Datatrove,
}

/// A word, or a sign that stands where words do.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    start: usize,
    end: usize,
    /// Characters.
    pub chars: u32,
    /// Hash of its bytes.
    pub hash: u64,
    /// Whether it has a letter.
    pub alphabetic: bool,
    /// Whether it is a word, not signs alone.
    pub word: bool,
    /// Whether it is a character of a script without spaces.
    pub spaceless: bool,
    /// Bytes to the end of its first apostrophe, 0 if there is none within it.
    elision: usize,
}

/// The words of a text, and what is counted from them when it is asked for.
pub struct Segments {
    as_in: AsIn,
    /// The form that words are compared in, where it is not the text itself.
    form: Option<String>,
    tokens: Vec<Token>,
    totals: Totals,
    symbols: OnceCell<(usize, usize)>,
    parts: [OnceCell<Parts>; 2],
    ngrams: OnceCell<Ngrams>,
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
    /// Whether there are characters of scripts without spaces.
    pub spaceless: bool,
}

/// Lines or paragraphs of a text: how many, how many are duplicates, and how many characters these have, all have.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// All of them.
    pub all: usize,
    /// Those that are duplicates.
    pub twice: usize,
    /// Characters of these.
    pub twice_chars: usize,
    /// Characters of all, which are needed where there are duplicates.
    pub chars: usize,
}

/// The words of one text, in either way of counting, as far as they were asked for.
#[derive(Default)]
pub struct SegmentCache {
    paper: OnceCell<Segments>,
    datatrove: OnceCell<Segments>,
}

impl SegmentCache {
    /// The words of `text`, which is the same at every call.
    pub fn of(&self, text: &str, as_in: AsIn) -> &Segments {
        match as_in {
            AsIn::Paper => &self.paper,
            AsIn::Datatrove => &self.datatrove,
        }
        .get_or_init(|| Segments::new(text, as_in))
    }
}

/// The form in which words are compared: NFC, case folded, white space as it is.
const FORM: Folding = Folding { white_space: WhiteSpace::Exact, invisible: Invisible::Read };

/// The form in which words and listed words are compared.
pub fn form(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    caseless_into(text, FORM, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

impl Segments {
    /// Cut a text.
    pub fn new(text: &str, as_in: AsIn) -> Self {
        let (form, tokens) = match as_in {
            AsIn::Paper => {
                let form = form(text);
                let tokens = between_spaces(&form);
                (Some(form), tokens)
            }
            AsIn::Datatrove => (None, signs_apart(text)),
        };
        let mut totals = Totals::default();
        for token in &tokens {
            totals.words += usize::from(token.word);
            totals.chars += if token.word { u64::from(token.chars) } else { 0 };
            totals.alphabetic += usize::from(token.alphabetic);
            totals.spaceless |= token.spaceless;
        }
        let (symbols, parts, ngrams) = (OnceCell::new(), Default::default(), OnceCell::new());
        Self { as_in, form, tokens, totals, symbols, parts, ngrams }
    }

    /// The form of `text`, from which these words are.
    pub fn form<'a>(&'a self, text: &'a str) -> &'a str {
        self.form.as_deref().unwrap_or(text)
    }

    /// Words, and signs that stand where words do.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Words.
    pub fn words(&self) -> impl Iterator<Item = &Token> {
        self.tokens.iter().filter(|token| token.word)
    }

    /// What runs of n words are made of: in a paper words, in datatrove signs too.
    fn units(&self) -> impl Iterator<Item = &Token> {
        self.tokens.iter().filter(|token| token.word || self.as_in == AsIn::Datatrove)
    }

    /// How many words a person would count: those of scripts without spaces are estimated.
    pub fn word_count(&self, text: &str) -> usize {
        match self.as_in {
            AsIn::Paper => count_words(self.form(text)),
            AsIn::Datatrove => self.totals.words,
        }
    }

    /// Runs of words that are there twice.
    pub fn ngrams(&self) -> &Ngrams {
        self.ngrams.get_or_init(|| {
            let units: Vec<(u64, u32)> = self.units().map(|token| (token.hash, token.chars)).collect();
            Ngrams::new(&units, self.as_in)
        })
    }

    /// What is counted of all tokens.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// `#` and ellipses of the text.
    pub fn symbols(&self, text: &str) -> (usize, usize) {
        *self.symbols.get_or_init(|| {
            let bytes = text.as_bytes();
            let found = |what: &[u8]| memchr::memmem::find_iter(bytes, what).count();
            (memchr::memchr_iter(b'#', bytes).count(), found(b"...") + found("…".as_bytes()))
        })
    }

    /// Its paragraphs, as `make` counts them, which does so once.
    pub fn paragraphs(&self, make: impl FnOnce() -> Parts) -> Parts {
        *self.parts[0].get_or_init(make)
    }

    /// Its lines, likewise.
    pub fn lines(&self, make: impl FnOnce() -> Parts) -> Parts {
        *self.parts[1].get_or_init(make)
    }

    /// How many of the listed words are there, or `enough` if there are so many.
    pub fn listed(&self, text: &str, list: &Listed, enough: usize) -> usize {
        let form = self.form(text).as_bytes();
        let (mut found, mut number) = (vec![false; list.words], 0);
        for token in &self.tokens {
            if number >= enough {
                break;
            }
            number += list.look(token.hash, &mut found);
            if token.elision > 0 {
                let whole = &form[token.start..token.end];
                number += list.look(hash(&whole[..token.elision]), &mut found);
                number += list.look(hash(&whole[token.elision..]), &mut found);
            }
        }
        number.min(enough)
    }

    /// How many words are listed ones.
    pub fn listed_words(&self, list: &Listed) -> usize {
        self.words().filter(|token| list.number(token.hash).is_some()).count()
    }
}

/// A short list of words, by their hashes.
pub struct Listed {
    slots: Vec<(u64, usize)>,
    words: usize,
}

impl Listed {
    /// Of these words.
    pub fn new(words: &[String], as_in: AsIn) -> Self {
        let words: Vec<String> = words.iter().map(|w| if as_in == AsIn::Paper { form(w) } else { w.clone() }).collect();
        let mut list = Self { slots: vec![(0, 0); (words.len() * 4).next_power_of_two()], words: words.len() };
        for (number, word) in words.iter().enumerate() {
            // In a paper an apostrophe is one, however it is typed.
            let spellings = match as_in {
                AsIn::Paper => [word.replace('\u{2019}', "'"), word.replace('\'', "\u{2019}")],
                AsIn::Datatrove => [word.clone(), word.clone()],
            };
            for word in spellings {
                let hash = hash(word.as_bytes());
                let mut at = list.slot(hash);
                while list.slots[at].0 != 0 && list.slots[at].0 != hash {
                    at = (at + 1) % list.slots.len();
                }
                list.slots[at] = (hash, number);
            }
        }
        list
    }

    /// How many words they are.
    pub fn words(&self) -> usize {
        self.words
    }

    fn slot(&self, hash: u64) -> usize {
        usize::try_from(hash >> 32).unwrap_or(0) & (self.slots.len() - 1)
    }

    fn number(&self, hash: u64) -> Option<usize> {
        let mut at = self.slot(hash);
        while self.slots[at].0 != 0 {
            if self.slots[at].0 == hash {
                return Some(self.slots[at].1);
            }
            at = (at + 1) % self.slots.len();
        }
        None
    }

    /// One, if it is a word that was not found before.
    fn look(&self, hash: u64, found: &mut [bool]) -> usize {
        self.number(hash).map_or(0, |number| usize::from(!std::mem::replace(&mut found[number], true)))
    }
}

/// A hash of 64 bits that is not 0.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    let (eights, rest) = bytes.as_chunks::<8>();
    for eight in eights {
        hash = mix(hash, u64::from_le_bytes(*eight));
    }
    if !rest.is_empty() {
        hash = mix(hash, rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    }
    hash | 1
}

/// Two numbers as one: both halves of a product, in which every bit of either takes part.
pub fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd1b5_4a32_d192_ed03);
    #[allow(clippy::cast_possible_truncation, reason = "the halves of it")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

/// What a byte of ASCII is to who looks for words.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    Space,
    Letter,
    Digit,
    Sign,
    /// The first byte of a longer character.
    Long,
}

const CLASSES: [Class; 256] = {
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

fn class(c: char) -> Class {
    match c {
        _ if c.is_alphabetic() || unicode_normalization::char::is_combining_mark(c) => Class::Letter,
        _ if c.is_numeric() => Class::Digit,
        _ if c.is_whitespace() => Class::Space,
        _ => Class::Sign,
    }
}

/// What stands between white space, without the signs around it; signs that stand alone; characters of scripts without spaces
/// one by one.
fn between_spaces(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::with_capacity(bytes.len() / 6);
    let mut at = 0;
    while at < bytes.len() {
        // Of the run from here to the next white space: where its first and behind its last letter or digit.
        let (mut start, mut end, from) = (None, 0, at);
        let (mut chars, mut until_end, mut alphabetic, mut elision) = (0, 0, false, 0);
        let mut cut = false;
        while at < bytes.len() {
            let mut class = CLASSES[usize::from(bytes[at])];
            let mut width = 1;
            if class == Class::Long {
                let c = text[at..].chars().next().unwrap_or(' ');
                width = c.len_utf8();
                class = self::class(c);
                if class == Class::Letter && is_spaceless(c) {
                    cut = true;
                    break;
                }
            }
            if class == Class::Space {
                break;
            }
            let letter = class == Class::Letter;
            if letter || class == Class::Digit {
                start.get_or_insert(at);
                chars += 1;
                (end, until_end) = (at + width, chars);
                alphabetic |= letter;
            } else if start.is_some() {
                chars += 1;
                if elision == 0 && (bytes[at] == b'\'' || (width == 3 && text[at..].starts_with('\u{2019}'))) {
                    elision = at + width;
                }
            }
            at += width;
        }
        let (word, start, end) = match start {
            Some(start) => (true, start, end),
            None => (false, from, at),
        };
        if end > start && (word || !cut) {
            let hash = hash(&bytes[start..end]);
            let elision = if elision < end { elision.saturating_sub(start) } else { 0 };
            tokens.push(Token { start, end, chars: until_end, hash, alphabetic, word, spaceless: false, elision });
        }
        if cut {
            let width = text[at..].chars().next().map_or(1, char::len_utf8);
            let hash = hash(&bytes[at..at + width]);
            let (start, end) = (at, at + width);
            tokens.push(Token {
                start,
                end,
                chars: 1,
                hash,
                alphabetic: true,
                word: true,
                spaceless: true,
                elision: 0,
            });
            at += width;
        } else {
            at += 1;
            while at < bytes.len() && !text.is_char_boundary(at) {
                at += 1;
            }
        }
    }
    tokens
}

/// What datatrove does not take for a word where it stands alone, beside the signs of ASCII but `&`.
const SIGNS: &str = "—”：％〈、━【「」，】；“《„’∶´．（–？！～«〉》）。…►»";

/// Words and signs as spaCy's rules for Italian cut them, but for its lists of exceptions: signs before and behind a word are
/// tokens, one each (three full stops one), and a word is cut behind an apostrophe, at a dash before a small letter, at a comma
/// or a colon between letters, and where a small letter, a full stop and a capital follow each other.
fn signs_apart(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::with_capacity(bytes.len() / 5);
    let space = |at: usize| bytes.get(at).is_none_or(|b| CLASSES[usize::from(*b)] == Class::Space);
    let mut at = 0;
    while at < bytes.len() {
        // Most pieces are letters of ASCII, with a sign behind them at most.
        let letters = bytes[at..].iter().take_while(|b| b.is_ascii_alphabetic()).count();
        let end = at + letters;
        let small = letters > 1 && bytes[end - 1].is_ascii_lowercase();
        let sign =
            small && space(end + 1) && matches!(bytes.get(end), Some(b',' | b'.' | b';' | b':' | b'?' | b'!' | b')'));
        if letters > 0 && (space(end) || sign) {
            tokens.push(plain(text, at, end, true));
            if sign {
                tokens.push(plain(text, end, end + 1, false));
            }
            at = end + 1 + usize::from(sign);
            continue;
        }
        let length = text[at..].find(char::is_whitespace).unwrap_or(text.len() - at);
        piece(&mut tokens, text, at, at + length);
        at += length;
        at += text[at..].chars().next().map_or(0, char::len_utf8);
    }
    tokens
}

/// A token of ASCII.
fn plain(text: &str, start: usize, end: usize, word: bool) -> Token {
    Token {
        start,
        end,
        chars: u32::try_from(end - start).unwrap_or(u32::MAX),
        hash: hash(&text.as_bytes()[start..end]),
        alphabetic: word,
        word,
        spaceless: false,
        elision: 0,
    }
}

/// Add the tokens of what stands between white space.
fn piece(tokens: &mut Vec<Token>, text: &str, base: usize, end: usize) {
    let piece = &text[base..end];
    let (mut start, mut end) = (0, piece.len());
    let mut behind = Vec::new();
    while let Some(width) = sign_before(&piece[start..end]) {
        push(tokens, text, base + start, base + start + width);
        start += width;
    }
    while let Some(width) = sign_behind(&piece[start..end]) {
        behind.push((end - width, end));
        end -= width;
    }
    within(tokens, text, base + start, base + end);
    for (start, end) in behind.into_iter().rev() {
        push(tokens, text, base + start, base + end);
    }
}

/// Add the parts of a word that has no signs around it.
fn within(tokens: &mut Vec<Token>, text: &str, start: usize, end: usize) {
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
fn push(tokens: &mut Vec<Token>, text: &str, start: usize, end: usize) {
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
    tokens.push(Token {
        start,
        end,
        chars,
        hash: hash(token.as_bytes()),
        alphabetic,
        word,
        spaceless: false,
        elision: 0,
    });
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, as_in: AsIn) -> Vec<String> {
        let segments = Segments::new(text, as_in);
        let form = segments.form(text);
        segments.tokens().iter().map(|token| form[token.start..token.end].to_owned()).collect()
    }

    #[test]
    fn words_stand_between_spaces_without_signs() {
        for (text, words) in [
            ("«È l’Italia», disse.", &["è", "l’italia", "disse"][..]),
            ("Uno - due | (tre)", &["uno", "-", "due", "|", "tre"]),
            ("3,50 € e a.C.", &["3,50", "€", "e", "a.c"]),
            ("e\u{300}\u{2003}PERCHE\u{301}\n\nB2B", &["è", "perché", "b2b"]),
            ("今日はiPhone。", &["今", "日", "は", "iphone"]),
            ("", &[]),
        ] {
            assert_eq!(cut(text, AsIn::Paper), words, "{text}");
        }
    }

    #[test]
    fn signs_and_elided_articles_are_apart_in_datatrove() {
        for (text, words) in [
            ("«L'acqua», disse...", &["«", "L'", "acqua", "»", ",", "disse", "..."][..]),
            ("caffè-bar e/o 3,50€,", &["caffè", "-", "bar", "e/o", "3,50", "€", ","]),
            ("L'opera di G. Verdi.", &["L'", "opera", "di", "G.", "Verdi", "."]),
        ] {
            assert_eq!(cut(text, AsIn::Datatrove), words, "{text}");
        }
    }

    #[test]
    fn listed_words_are_found_in_any_case_and_behind_an_elision() {
        let list: Vec<String> = ["l'", "di", "che"].map(str::to_owned).into();
        let found = |text: &str, as_in| Segments::new(text, as_in).listed(text, &Listed::new(&list, as_in), usize::MAX);
        for (text, paper, datatrove) in [
            ("L’acqua DI mare di ieri", 2, 1),
            ("l'acqua di mare, che è", 3, 3),
            ("l’acqua", 1, 0),
            ("lacqua dire", 0, 0),
        ] {
            assert_eq!((found(text, AsIn::Paper), found(text, AsIn::Datatrove)), (paper, datatrove), "{text}");
        }
    }
}
