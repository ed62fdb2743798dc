//! Finds spans of text that several rows hold, and decides which rows lose them.
//!
//! ```text
//! rows that deduplication leaves ──> hash of each span, with its row and place ──> by hash: the first stays, the others go
//!                                                                                                     │
//!              rows, bucket after bucket of the output's order: what is left of each <────────────────┘
//! ```
//!
//! All copies of a span are in one order: preference of their sources, place of their rows in the output, place in the row. So
//! every unit stays somewhere, even where spans overlap: a unit goes for the sake of one before it, and of these one is the
//! first. Nothing depends on threads, slices or the order of files. In memory is the index of a bucket of hashes a thread; the
//! rest lies in files of the work folder, 22 bytes a span and 12 a span that goes, and it is worked through once or a few times,
//! however long spans are and however much they overlap. Each of the three steps is cut into pieces that several processes share.
//! 64 bits name a span: among 10^9 different ones two share a name with a probability of 3%.

use std::{
    collections::HashMap,
    fs,
    hash::{BuildHasherDefault, Hasher},
    ops::Range,
    path::Path,
};

use setaccio_base::{atomic, row::Content};
use setaccio_dataset::recipe::{Dedup, Repeats as Settings};

use super::{
    kept_rows::{Kept, KeptRows},
    ranges::Ranges,
    repeats::{Change, Places, Repeats, gone},
    resolver::Resolver,
    shuffle::{Shuffle, ShuffleWriter},
    spans::Spans,
    spill_file::SpillIndex,
    team::{Hands, Json, each},
};
use crate::{
    error::{Error, Result},
    key,
};

/// What is decided on.
pub struct Rows<'a> {
    /// What counts as the same.
    pub dedup: &'a Dedup,
    /// What is looked for.
    pub settings: &'a Settings,
    /// The rows of all tasks.
    pub index: &'a SpillIndex,
    /// Their partitions.
    pub partitions: &'a [Range<u32>],
    /// Which of them a row is of.
    pub ranges: &'a Ranges,
    /// Tells which rows stay.
    pub resolver: &'a Resolver<'a>,
    /// Who decides.
    pub hands: Hands<'a>,
}

/// A span: its hash, then what its copies are ordered by (rank of the source, name of the row), then its place in the row.
type Span = [u8; 22];

/// Text whose spans are in one bucket, in bytes, about.
const BUCKET_BYTES: u64 = 32 << 20;

/// Different spans of a bucket that a thread counts at once: what fills a table of 2^19 places.
const AT_ONCE: usize = 7 << 16;

/// Bytes that a thread holds of a bucket of so many spans, at the most.
pub fn held(spans: u64) -> u64 {
    (spans.min(AT_ONCE as u64) * 8 / 7).next_power_of_two() * (1 + size_of::<(u64, Copies)>() as u64)
}

/// The copies of a span that were seen.
struct Copies {
    count: u32,
    /// The first of them, without the hash.
    first: [u8; 14],
}

/// Spans by their hash, which need not be hashed again.
type Seen = HashMap<u64, Copies, BuildHasherDefault<AsItIs>>;

#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("numbers of 64 bits only");
    }

    fn write_u64(&mut self, hash: u64) {
        // Those of a bucket have their upper bits in common.
        self.0 = hash.rotate_left(32);
    }
}

impl Rows<'_> {
    /// Decide what goes, in the folder `scratch`, which is emptied first.
    ///
    /// # Errors
    /// A damaged work file, a full disk, Ctrl-C.
    pub fn decide(&self, scratch: &Path) -> Result<Repeats> {
        atomic::remove(scratch)?;
        fs::create_dir_all(scratch).map_err(Error::io("create", scratch))?;
        let Self { ranges, hands, .. } = *self;
        let (at, partitions) = ((hands.team, scratch), self.partitions.len());
        // Lines take about as many bytes as their spans do here, and a bucket too many costs nothing.
        let text: u64 = self.index.content().iter().sum();
        let buckets = u32::try_from((text / BUCKET_BYTES).next_power_of_two().clamp(1, 4096)).unwrap_or(4096);
        let spans = Shuffle::new(at, ("spans", "spans"), partitions)?;
        let put = |i: usize| {
            let mut writer = spans.writer(i, buckets as usize)?;
            self.spans(&self.partitions[i], &mut writer, buckets)?;
            writer.finish().map(Json)
        };
        each(hands.team, "spans", partitions, hands.by(), put, |Json(())| Ok(()))?;

        let gone = Shuffle::new(at, ("repeats", "gone"), buckets as usize)?;
        let decide = |bucket: usize| {
            let mut writer = gone.writer(bucket, ranges.count())?;
            self.copies(&spans, bucket, &mut writer)?;
            writer.finish().map(Json)
        };
        each(hands.team, "repeats", buckets as usize, hands.by(), decide, |Json(())| Ok(()))?;
        spans.done()?;

        let changes = Shuffle::new(at, ("edits", "changes"), partitions)?;
        let repeats = Repeats { gone, changes, ranges: ranges.clone() };
        let change = |i: usize| {
            let found = self.changes(i, &repeats)?;
            repeats.changes.write(i, 1, found.into_iter().map(|change| (0, change)).collect()).map(Json)
        };
        each(hands.team, "edits", partitions, hands.by(), change, |Json(())| Ok(()))?;
        Ok(repeats)
    }

    fn rows(&self) -> KeptRows<'_> {
        let Self { index, resolver, hands, .. } = *self;
        KeptRows { index, resolver, progress: hands.progress }
    }

    /// Put the spans of the rows of a partition where those of their hashes are.
    fn spans(&self, partition: &Range<u32>, spans: &mut ShuffleWriter<22>, buckets: u32) -> Result<()> {
        let mut cut = Spans::new(self.dedup, self.settings);
        self.rows().each(
            partition,
            |_, _| true,
            |Kept { row, order, content, .. }| {
                let Content::Text(text) = &content else { return Ok(()) };
                cut.each(text, |place, hash| {
                    let mut span: Span = [0; 22];
                    span[..8].copy_from_slice(&hash.to_be_bytes());
                    span[8..10].copy_from_slice(&self.resolver.rank(row.source).to_be_bytes());
                    span[10..18].copy_from_slice(&order.to_be_bytes());
                    span[18..].copy_from_slice(&place.to_be_bytes());
                    spans.send(key::bucket(hash, buckets), span)
                })
            },
        )
    }

    /// Let the first copy of each span of a bucket stay, of some of its spans after others if they are very many.
    fn copies(&self, spans: &Shuffle<22>, bucket: usize, gone_to: &mut ShuffleWriter<12>) -> Result<()> {
        let mut from = Some(0);
        while let Some(least) = from {
            if self.hands.progress.cancelled() {
                return Err(Error::Interrupted);
            }
            let (mut seen, most) = count(spans, bucket, least)?;
            seen.retain(|_, copies| copies.count >= self.settings.min_copies);
            if !seen.is_empty() {
                each_span(spans, bucket, |span| {
                    let (hash, place) = parts(span);
                    if seen.get(&hash).is_none_or(|copies| copies.first == place) {
                        return Ok(());
                    }
                    let order = place[2..].first_chunk().map_or(0, |b| u64::from_be_bytes(*b));
                    let first = place.last_chunk().map_or(0, |b| u32::from_be_bytes(*b));
                    gone_to.send(self.ranges.of(order), gone(order, first))
                })?;
            }
            from = most.checked_add(1);
        }
        Ok(())
    }

    /// What is left of the rows of a partition that lose something.
    fn changes(&self, partition: usize, repeats: &Repeats) -> Result<Vec<[u8; Change::BYTES]>> {
        let places = Places::read(&repeats.gone, partition, self.settings.span())?;
        let mut found = Vec::new();
        if places.is_empty() {
            return Ok(found);
        }
        let loses = |_: &_, order| !places.of(order).is_empty();
        self.rows().each(&self.partitions[partition], loses, |Kept { order, content, .. }| {
            if let Content::Text(text) = &content {
                let (change, _) = Change::new(order, text, self.settings, &places.of(order));
                found.push(change.to_bytes());
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// Give each span of a bucket to `each`.
fn each_span(spans: &Shuffle<22>, bucket: usize, mut each: impl FnMut(&Span) -> Result<()>) -> Result<()> {
    spans.each(bucket, |run| run.iter().try_for_each(&mut each))
}

/// A span's hash, and what its copies are ordered by.
fn parts(span: &Span) -> (u64, [u8; 14]) {
    let hash = span.first_chunk().map_or(0, |b| u64::from_be_bytes(*b));
    (hash, span.last_chunk().copied().unwrap_or([0; 14]))
}

/// The copies of the spans of a bucket whose hash is `least` or more, up to one that is told: as many as are counted at once. How
/// often one of them is there takes no memory.
fn count(spans: &Shuffle<22>, bucket: usize, least: u64) -> Result<(Seen, u64)> {
    let (mut seen, mut most) = (Seen::default(), u64::MAX);
    each_span(spans, bucket, |span| {
        let (hash, place) = parts(span);
        if !(least..=most).contains(&hash) {
            return Ok(());
        }
        let copies = seen.entry(hash).or_insert(Copies { count: 0, first: place });
        copies.count = copies.count.saturating_add(1);
        copies.first = copies.first.min(place);
        if seen.len() == AT_ONCE {
            let mut hashes: Vec<u64> = seen.keys().copied().collect();
            most = *hashes.select_nth_unstable(AT_ONCE / 2).1;
            seen.retain(|hash, _| *hash <= most);
        }
        Ok(())
    })?;
    Ok((seen, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_spans_are_counted_a_part_at_a_time() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        let spans = Shuffle::<22>::new((None, dir.path()), ("spans", "spans"), 1)?;
        let mut writer = spans.writer(0, 1)?;
        let different = 2 * AT_ONCE as u64 + 3;
        let hash = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for copy in [2_u8, 1] {
            for i in (0..different).filter(|i| copy == 1 || i % 3 == 0) {
                let mut span: Span = [copy; 22];
                span[..8].copy_from_slice(&hash(i).to_be_bytes());
                writer.send(0, span)?;
            }
        }
        writer.finish()?;
        let (mut from, mut parts, mut total, mut twice) = (Some(0), 0, 0, 0);
        while let Some(least) = from {
            let (seen, most) = count(&spans, 0, least)?;
            assert!(seen.len() <= AT_ONCE && seen.keys().all(|hash| (least..=most).contains(hash)));
            assert!(seen.values().all(|copies| copies.first == [1; 14]));
            twice += seen.values().filter(|copies| copies.count == 2).count() as u64;
            total += seen.len() as u64;
            parts += 1;
            from = most.checked_add(1);
        }
        assert_eq!((total, twice), (different, different.div_ceil(3)));
        assert!((3..=6).contains(&parts), "{parts}");
        Ok(())
    }
}
