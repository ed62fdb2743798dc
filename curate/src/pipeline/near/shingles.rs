//! Shingles: what near-duplicates have in common. The normal form of a text is cut into all its runs of n words or characters;
//! each run is a hash of 32 bits. Whoever changes the hash raises `SKETCH_FORMAT` of the plan.

use setaccio_base::{
    nfc::nfc,
    row::{Content, Kind},
};
use setaccio_dataset::recipe::{DedupOn, Near, ShingleUnit};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::{
    key::compared,
    words::{HASH, Words},
};

/// Cuts texts into shingles; keeps its room from one to the next.
#[derive(Default)]
pub struct Shingler {
    words: Words,
    shingles: Vec<u32>,
}

impl Shingler {
    /// The hashes of all shingles of a row, with repeats, in the order of the text. A turn of a conversation has shingles of its
    /// own, which those of other roles and sides are not; one of fewer words (or characters) than `near.ngram` is one shingle,
    /// and so is a row that holds neither letters nor digits, as it is.
    pub fn shingles(&mut self, content: &Content, on: DedupOn, near: &Near) -> &[u32] {
        self.shingles.clear();
        self.words.numbers = near.numbers.unwrap_or(content.kind() != Kind::Text);
        if let Content::Text(text) = content {
            self.add(text, 0, near);
        }
        for (side, turns) in (1_u64..).zip(compared(content, on)) {
            for turn in turns {
                self.add(&turn.content, xxh3_64_with_seed(turn.role.as_bytes(), side), near);
            }
        }
        if self.shingles.is_empty() {
            let texts: Vec<&str> = content.texts().collect();
            if texts.iter().any(|text| !text.trim().is_empty()) {
                self.shingles.push(high(xxh3_64(nfc(&texts.join("\u{1e}")).as_bytes())));
            }
        }
        &self.shingles
    }

    /// Add the shingles of a text, hashed under `seed`.
    fn add(&mut self, text: &str, seed: u64, near: &Near) {
        self.words.clear(near.unit);
        self.words.add(text);
        let n = usize::try_from(near.ngram).unwrap_or(usize::MAX);
        let (bytes, ends) = match near.unit {
            ShingleUnit::Words => (&self.words.hashes, None),
            ShingleUnit::Characters => (&self.words.text, Some(self.words.ends())),
        };
        let hash = |run: &[u8]| high(xxh3_64_with_seed(run, seed));
        match ends {
            None if bytes.len() > n * HASH => {
                self.shingles.extend(bytes.windows(n * HASH).step_by(HASH).map(hash));
            }
            Some(ends) if ends.len() > n + 1 => {
                self.shingles.extend(ends.windows(n + 1).map(|run| hash(&bytes[run[0]..run[n]])));
            }
            _ if bytes.is_empty() => {}
            _ => self.shingles.push(hash(bytes)),
        }
    }

    /// The same as a set: sorted, without repeats.
    pub fn set(&mut self, content: &Content, on: DedupOn, near: &Near) -> &[u32] {
        self.shingles(content, on, near);
        self.shingles.sort_unstable();
        self.shingles.dedup();
        &self.shingles
    }
}

/// The share of two sorted sets that is in both: how many are in both, and how many in either.
pub fn overlap(a: &[u32], b: &[u32]) -> (u32, u32) {
    let (mut i, mut j, mut both) = (0, 0, 0_u32);
    while i < a.len() && j < b.len() {
        both += u32::from(a[i] == b[j]);
        let (a, b) = (a[i], b[j]);
        i += usize::from(a <= b);
        j += usize::from(b <= a);
    }
    let either = u32::try_from(a.len() + b.len()).unwrap_or(u32::MAX) - both;
    (both, either)
}

/// The upper half of a hash.
fn high(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Message;

    use super::*;

    #[test]
    fn shingles_are_runs_and_short_texts_are_one() {
        let mut shingler = Shingler::default();
        let mut count =
            |text: &str, near: &Near| shingler.shingles(&Content::Text(text.into()), DedupOn::Row, near).to_vec();
        let words = Near::default();
        assert_eq!(count("uno due tre quattro cinque sei", &words).len(), 2);
        assert_eq!(count("uno due tre quattro cinque", &words).len(), 1);
        assert_eq!(count("uno due", &words).len(), 1);
        assert!(count(" \n", &words).is_empty());
        assert!(count("?!", &words).len() == 1 && count("?!", &words) != count("!?", &words));
        let valued = Near { numbers: Some(true), ..Near::default() };
        assert!(
            count("fa 1.250", &words) == count("fa 7", &words) && count("fa 1.250", &valued) != count("fa 7", &valued)
        );
        assert_eq!(count("Uno, due!", &words), count("uno DUE", &words));
        assert_ne!(count("uno due", &words), count("unodue", &words));
        let characters = Near { unit: ShingleUnit::Characters, ngram: 3, ..Near::default() };
        assert_eq!(count("ciao à tè", &characters).len(), 7);
        assert_eq!(count("ab", &characters).len(), 1);
        assert_eq!(count("Già così", &characters), count("GIA COSI", &characters));
    }

    #[test]
    fn what_is_compared_is_what_dedup_says() {
        let mut shingler = Shingler::default();
        let mut set = |content: &Content, on| shingler.set(content, on, &Near::default()).to_vec();
        let turn = |role: &str, text: &str| Message::new(role, text);
        let chat = |answer: &str| Content::chat(vec![turn("user", "Dimmi di Bari"), turn("assistant", answer)]);
        assert_eq!(set(&chat("Una città."), DedupOn::Prompt), set(&chat("Un porto."), DedupOn::Prompt));
        assert_ne!(set(&chat("Una città."), DedupOn::Row), set(&chat("Un porto."), DedupOn::Row));
        let pair = |chosen: &str| {
            let side = |text: &str| vec![turn("assistant", text)];
            Content::preference(vec![turn("user", "Dimmi di Bari")], side(chosen), side("No"))
        };
        assert_ne!(
            set(&chat("Fa 7."), DedupOn::Row),
            set(&chat("Fa 8."), DedupOn::Row),
            "numbers count in conversations"
        );
        let turned = Content::chat(vec![turn("assistant", "Dimmi di Bari"), turn("user", "Una città.")]);
        assert_ne!(set(&chat("Una città."), DedupOn::Row), set(&turned, DedupOn::Row), "so do roles");
        let sides =
            |a: &str, b: &str| Content::preference(Vec::new(), vec![turn("assistant", a)], vec![turn("assistant", b)]);
        assert_ne!(set(&sides("Una", "Altra"), DedupOn::Row), set(&sides("Altra", "Una"), DedupOn::Row), "and sides");
        assert_eq!(set(&pair("Una"), DedupOn::Prompt), set(&pair("Altra"), DedupOn::Prompt));
        assert_ne!(set(&pair("Una"), DedupOn::Row), set(&pair("Altra"), DedupOn::Row));
    }

    #[test]
    fn the_overlap_of_sets_is_counted() {
        assert_eq!(overlap(&[1, 3, 5, 7], &[3, 4, 5]), (2, 5));
        assert_eq!(overlap(&[1], &[2]), (0, 2));
        assert_eq!(overlap(&[], &[]), (0, 0));
        assert_eq!(overlap(&[9, 10], &[9, 10]), (2, 2));
    }
}
