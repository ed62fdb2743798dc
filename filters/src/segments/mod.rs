//! The words of a text, as the rules of quality count them: cut once, shared by all rules that look at the same text.

mod between_spaces;
mod class;
pub mod ngrams;
mod runs;
mod signs_apart;
mod token;

use std::{
    cell::{OnceCell, RefCell},
    mem::take,
    ops::Range,
    sync::LazyLock,
};

use memchr::memmem::Finder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::token::{Token, Totals, hash};
use self::{ngrams::Ngrams, runs::Runs, token::Tokens};
use crate::{
    fold::{Folding, Invisible, WhiteSpace, caseless_into},
    lines::{split_lines, strip},
    spaceless::count_words,
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

/// The words of a text, and what is counted from them when it is asked for.
pub struct Segments {
    as_in: AsIn,
    /// The form that words are compared in, where it is not the text itself.
    form: Option<String>,
    tokens: Tokens,
    symbols: OnceCell<(usize, usize)>,
    characters: OnceCell<usize>,
    lines: OnceCell<Vec<Part>>,
    stripped: OnceCell<Vec<Range<usize>>>,
    parts: [OnceCell<Parts>; 2],
    ngrams: OnceCell<Ngrams>,
}

/// A part of a text, which is compared with others by its hash.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    start: usize,
    end: usize,
    hash: u64,
}

impl Part {
    fn of(text: &str, Range { start, end }: Range<usize>) -> Self {
        Self { start, end, hash: token::hash_of(text.as_bytes(), start, end) }
    }

    /// What a part of `text` itself says.
    pub fn within(text: &str, part: &str) -> Self {
        Self::of(text, within(text, part))
    }

    /// What it says.
    pub fn said<'a>(&self, text: &'a str) -> &'a str {
        &text[self.start..self.end]
    }

    /// By what it is compared.
    pub fn hash(&self) -> u64 {
        self.hash
    }
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

thread_local! {
    /// Room for the next texts of a thread, kept because making it anew for each takes as long as filling it.
    static ROOM: RefCell<(Runs, Vec<Tokens>)> = RefCell::default();
}

/// Tokens of so many bytes are kept as room, and not those of a text that is longer than most.
const MOST_KEPT: usize = 1 << 18;

impl Drop for Segments {
    fn drop(&mut self) {
        let mut tokens = take(&mut self.tokens);
        if tokens.all.capacity() <= MOST_KEPT {
            tokens.clear();
            // A thread that ends has no use for it.
            let _ = ROOM.try_with(|room| {
                if let Ok(mut room) = room.try_borrow_mut()
                    && room.1.len() < 2
                {
                    room.1.push(tokens);
                }
            });
        }
    }
}

static THREE_FULL_STOPS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("..."));
static ELLIPSIS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("…"));

impl Segments {
    /// Cut a text.
    pub fn new(text: &str, as_in: AsIn) -> Self {
        let form = (as_in == AsIn::Paper).then(|| form(text));
        let shown = form.as_deref().unwrap_or(text);
        let tokens = ROOM.with_borrow_mut(|(runs, kept)| {
            let mut tokens = kept.pop().unwrap_or_default();
            runs.find(shown.as_bytes());
            match as_in {
                AsIn::Paper => between_spaces::cut(shown, runs, &mut tokens),
                AsIn::Datatrove => signs_apart::cut(shown, runs, &mut tokens),
            }
            tokens
        });
        Self {
            as_in,
            form,
            tokens,
            symbols: OnceCell::new(),
            characters: OnceCell::new(),
            lines: OnceCell::new(),
            stripped: OnceCell::new(),
            parts: Default::default(),
            ngrams: OnceCell::new(),
        }
    }

    /// The form of `text`, from which these words are.
    pub fn form<'a>(&'a self, text: &'a str) -> &'a str {
        self.form.as_deref().unwrap_or(text)
    }

    /// Words, and signs that stand where words do.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens.all
    }

    /// Words.
    pub fn words(&self) -> impl Iterator<Item = &Token> {
        self.tokens.all.iter().filter(|token| token.word)
    }

    /// How many words a person would count: those of scripts without spaces are estimated.
    pub fn word_count(&self, text: &str) -> usize {
        match self.as_in {
            AsIn::Paper if self.tokens.unspaced => count_words(self.form(text)),
            // What stands between white space is one token.
            AsIn::Paper => self.tokens.all.len(),
            AsIn::Datatrove => self.tokens.totals.words,
        }
    }

    /// Runs of words that are there twice: in a paper words, in datatrove signs too.
    pub fn ngrams(&self) -> &Ngrams {
        self.ngrams.get_or_init(|| Ngrams::new(&self.tokens.all, self.as_in))
    }

    /// What is counted of all tokens.
    pub fn totals(&self) -> &Totals {
        &self.tokens.totals
    }

    /// `#` and ellipses of the text.
    pub fn symbols(&self, text: &str) -> (usize, usize) {
        *self.symbols.get_or_init(|| {
            let bytes = text.as_bytes();
            let found = |what: &Finder<'_>| what.find_iter(bytes).count();
            (memchr::memchr_iter(b'#', bytes).count(), found(&THREE_FULL_STOPS) + found(&ELLIPSIS))
        })
    }

    /// Characters of the text.
    pub fn characters(&self, text: &str) -> usize {
        *self.characters.get_or_init(|| text.chars().count())
    }

    /// Lines that are not empty: in a paper those of its form, as Python has them, without white space around them; in datatrove what is
    /// between `\n`.
    pub fn lines<'a>(&'a self, text: &'a str) -> (&'a str, &'a [Part]) {
        let text = self.form(text);
        let all = self.lines.get_or_init(|| match self.as_in {
            AsIn::Paper => {
                let lines = split_lines(text).map(strip).filter(|line| !line.is_empty());
                lines.map(|line| Part::within(text, line)).collect()
            }
            AsIn::Datatrove => {
                let ends = memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
                let lines = ends.scan(0, |next, end| Some(std::mem::replace(next, end + 1)..end));
                lines.filter(|line| !line.is_empty()).map(|line| Part::of(text, line)).collect()
            }
        });
        (text, all)
    }

    /// All lines of the text as it is, as Python has them, without white space around them.
    pub fn stripped_lines<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let all = self.stripped.get_or_init(|| split_lines(text).map(|line| within(text, strip(line))).collect());
        all.iter().map(|line| &text[line.clone()])
    }

    /// What is counted of its paragraphs by `make`, once.
    pub fn count_paragraphs(&self, make: impl FnOnce() -> Parts) -> Parts {
        *self.parts[0].get_or_init(make)
    }

    /// Of its lines, likewise.
    pub fn count_lines(&self, make: impl FnOnce() -> Parts) -> Parts {
        *self.parts[1].get_or_init(make)
    }

    /// How many of the listed words are there, or `enough` if there are so many.
    pub fn listed(&self, list: &Listed, enough: usize) -> usize {
        let (mut found, mut number) = (vec![false; list.words], 0);
        for hash in self.tokens.all.iter().map(|token| token.hash).chain(self.tokens.elided.iter().copied()) {
            if number >= enough {
                break;
            }
            number += list.look(hash, &mut found);
        }
        number.min(enough)
    }

    /// How many words are listed ones.
    pub fn listed_words(&self, list: &Listed) -> usize {
        self.words().filter(|token| list.number(token.hash).is_some()).count()
    }
}

/// Where a part of `text` stands.
fn within(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// That these and no others are the tokens of a text, by their hashes, which other texts have others of.
    fn assert_cut(text: &str, as_in: AsIn, words: &[&str]) {
        let segments = Segments::new(text, as_in);
        let found: Vec<u64> = segments.tokens().iter().map(|token| token.hash).collect();
        let expected: Vec<u64> = words.iter().map(|word| hash(word.as_bytes())).collect();
        assert_eq!(found, expected, "{text}: {words:?}");
        for (token, word) in segments.tokens().iter().zip(words).filter(|(token, _)| token.word) {
            assert_eq!(token.chars as usize, word.chars().count(), "{text}: {word}");
        }
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
            assert_cut(text, AsIn::Paper, words);
        }
    }

    #[test]
    fn signs_and_elided_articles_are_apart_in_datatrove() {
        for (text, words) in [
            ("«L'acqua», disse...", &["«", "L'", "acqua", "»", ",", "disse", "..."][..]),
            ("caffè-bar e/o 3,50€,", &["caffè", "-", "bar", "e/o", "3,50", "€", ","]),
            ("L'opera di G. Verdi.", &["L'", "opera", "di", "G.", "Verdi", "."]),
        ] {
            assert_cut(text, AsIn::Datatrove, words);
        }
    }

    #[test]
    fn listed_words_are_found_in_any_case_and_behind_an_elision() {
        let list: Vec<String> = ["l'", "di", "che"].map(str::to_owned).into();
        let found = |text: &str, as_in| Segments::new(text, as_in).listed(&Listed::new(&list, as_in), usize::MAX);
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
