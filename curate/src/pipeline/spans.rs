//! The spans of a text: runs of units, each with a hash that is made of the one before.

use setaccio_dataset::{recipe::Dedup, repeats::Repeats};
use setaccio_filters::{spaceless::count_words, units};

use super::repeats::to_u32;
use crate::{error::Result, key};

/// What a hash is multiplied with for each unit that follows: odd, the digits of the golden ratio.
const TIMES: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

/// Finds them; what it needs on the way is used again from text to text.
pub struct Spans<'a> {
    dedup: &'a Dedup,
    settings: &'a Repeats,
    /// Of each unit the hash and, if they are asked for, its words.
    units: Vec<(u64, u32)>,
    buffer: Vec<u8>,
}

impl<'a> Spans<'a> {
    /// By these settings.
    pub fn new(dedup: &'a Dedup, settings: &'a Repeats) -> Self {
        Self { dedup, settings, units: Vec::new(), buffer: Vec::new() }
    }

    /// Give the hash of each span of `text` to `each`, with the number of its first unit. A span of any length takes as long as one
    /// of a unit: the hash of units a, b, c is the upper half of `a t^3 + b t^2 + c t`, modulo 2^128.
    pub fn each(&mut self, text: &str, mut each: impl FnMut(u32, u64) -> Result<()>) -> Result<()> {
        let Self { dedup, settings, units, buffer } = self;
        units.clear();
        units.extend(units::cut(text, settings.unit).into_iter().map(|unit| {
            let unit = &text[unit];
            // Counting takes time, and mostly nobody asks.
            let words = if settings.min_span_words > 0 { to_u32(count_words(unit)) } else { 0 };
            (key::part(unit, dedup, buffer), words)
        }));
        let length = settings.span() as usize;
        let leaves = TIMES.wrapping_pow(settings.span() + 1);
        let (mut hash, mut words) = (0_u128, 0_u64);
        for (at, unit) in units.iter().enumerate() {
            hash = hash.wrapping_add(unit.0.into()).wrapping_mul(TIMES);
            words += u64::from(unit.1);
            if let Some(before) = at.checked_sub(length) {
                hash = hash.wrapping_sub(leaves.wrapping_mul(units[before].0.into()));
                words -= u64::from(units[before].1);
            }
            if at + 1 >= length && words >= u64::from(settings.min_span_words) {
                each(to_u32(at + 1 - length), u64::try_from(hash >> 64).unwrap_or_default())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use setaccio_base::unit::Unit;

    use super::*;

    #[test]
    fn spans_have_one_hash_if_their_units_are_the_same_in_the_same_order() -> Result<()> {
        // Numbers of a few lines, drawn by a formula, so that spans of every length return, some of them turned round.
        let lines: Vec<u32> = (0..400_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) % (2 + i / 80)).collect();
        let text: Vec<String> = lines.iter().map(|line| format!("riga {line}")).collect();
        let dedup = Dedup::default();
        for span in [1, 2, 3, 7, 64] {
            let settings =
                Repeats { unit: Unit::Lines, span: Some(span), min_span_words: 2 * span, ..Repeats::default() };
            let mut spans = Spans::new(&dedup, &settings);
            let mut hashes = HashMap::new();
            let mut expected = lines.windows(span as usize).enumerate();
            spans.each(&text.join("\n"), |place, hash| {
                let (number, lines) = expected.next().expect("no more spans than there are");
                assert_eq!(place as usize, number);
                assert_eq!(hashes.entry(hash).or_insert(lines), &lines, "two spans, one hash");
                Ok(())
            })?;
            assert!(expected.next().is_none());
            let mut different: Vec<_> = lines.windows(span as usize).collect();
            different.sort_unstable();
            different.dedup();
            assert_eq!(hashes.len(), different.len(), "one span, one hash");
        }
        let few = Repeats { unit: Unit::Lines, min_span_words: 3, ..Repeats::default() };
        let mut places = Vec::new();
        Spans::new(&dedup, &few).each("a b\na b c\nd\ne f g h", |place, _| {
            places.push(place);
            Ok(())
        })?;
        assert_eq!(places, [1, 3]);
        Ok(())
    }
}
