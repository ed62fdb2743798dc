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
//! rest lies in files of the work folder, 22 bytes a span and 12 a unit that goes. 64 bits name a span: among 10^9 different
//! ones two share a name with a probability of 3%.

use std::{collections::HashMap, fs, ops::Range, path::Path};

use rayon::ThreadPool;
use setaccio_base::{atomic, progress::Progress, row::Content};
use setaccio_dataset::recipe::{Dedup, Repeats as Settings};
use setaccio_filters::{spaceless::count_words, units};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    kept_rows::{Kept, KeptRows},
    repeats::{Change, Places, Repeats, gone, to_u32},
    resolver::Resolver,
    scratch::Buckets,
    spill_file::SpillIndex,
    stage::each,
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
    /// Ranges of the output's order, which partitions are made of.
    pub buckets: u32,
    /// Tells which rows stay.
    pub resolver: &'a Resolver<'a>,
    /// Who follows it.
    pub progress: &'a dyn Progress,
    /// Threads.
    pub pool: &'a ThreadPool,
}

/// A span: its hash, then what its copies are ordered by (rank of the source, name of the row), then its place in the row.
type Span = [u8; 22];

/// Spans of one bucket, in bytes, about.
const BUCKET_BYTES: u64 = 32 << 20;

/// The copies of a span that were seen.
struct Copies {
    count: u32,
    /// The first of them, without the hash.
    first: [u8; 14],
}

impl Rows<'_> {
    /// Decide what goes, in the folder `scratch`, which is emptied first.
    ///
    /// # Errors
    /// A damaged work file, a full disk, Ctrl-C.
    pub fn decide(&self, scratch: &Path) -> Result<Repeats> {
        atomic::remove(scratch)?;
        fs::create_dir_all(scratch).map_err(Error::io("create", scratch))?;
        // Lines take about as many bytes as their spans do here, and a bucket too many costs nothing.
        let text: u64 = self.index.content().iter().sum();
        let buckets = u32::try_from((text / BUCKET_BYTES).next_power_of_two().clamp(1, 4096)).unwrap_or(4096);
        let spans = Buckets::create(scratch.join("spans"), buckets)?;
        let put = |i: usize| self.spans(&self.partitions[i], &spans, buckets);
        each("spans", self.partitions.len(), self.pool, self.progress, put, Ok)?;

        let repeats = Repeats {
            gone: Buckets::create(scratch.join("gone"), self.buckets)?,
            changes: Buckets::create(scratch.join("changes"), self.buckets)?,
        };
        let decide = |bucket: usize| self.copies(&spans, to_u32(bucket), &repeats);
        each("repeats", buckets as usize, self.pool, self.progress, decide, Ok)?;
        spans.remove()?;

        let change = |i: usize| self.changes(&self.partitions[i], &repeats);
        each("edits", self.partitions.len(), self.pool, self.progress, change, Ok)?;
        Ok(repeats)
    }

    fn rows(&self) -> KeptRows<'_> {
        let Self { index, resolver, progress, .. } = *self;
        KeptRows { index, resolver, progress }
    }

    /// Put the spans of the rows of a partition where those of their hashes are.
    fn spans(&self, partition: &Range<u32>, spans: &Buckets<22>, buckets: u32) -> Result<()> {
        let length = self.settings.span() as usize;
        let (mut hashes, mut words, mut buffer) = (Vec::new(), Vec::new(), Vec::new());
        self.rows().each(
            partition,
            |_, _| true,
            |Kept { row, order, content, .. }| {
                let Content::Text(text) = &content else { return Ok(()) };
                hashes.clear();
                words.clear();
                for unit in units::cut(text, self.settings.unit) {
                    let unit = &text[unit];
                    hashes.extend_from_slice(&key::part(unit, self.dedup, &mut buffer).to_le_bytes());
                    // Counting takes time, and mostly nobody asks.
                    words.push(if self.settings.min_span_words > 0 { to_u32(count_words(unit)) } else { 0 });
                }
                let (units, _) = hashes.as_chunks::<8>();
                for (place, (units, words)) in units.windows(length).zip(words.windows(length)).enumerate() {
                    if words.iter().sum::<u32>() < self.settings.min_span_words {
                        continue;
                    }
                    let hash = match units {
                        [one] => u64::from_le_bytes(*one),
                        several => xxh3_64(several.as_flattened()),
                    };
                    let mut span: Span = [0; 22];
                    span[..8].copy_from_slice(&hash.to_be_bytes());
                    span[8..10].copy_from_slice(&self.resolver.rank(row.source).to_be_bytes());
                    span[10..18].copy_from_slice(&order.to_be_bytes());
                    span[18..].copy_from_slice(&to_u32(place).to_be_bytes());
                    spans.put(key::bucket(hash, buckets), &span)?;
                }
                Ok(())
            },
        )
    }

    /// Let the first copy of each span of a bucket stay. What is in memory is as many entries as there are different spans, however
    /// often one of them is there.
    fn copies(&self, spans: &Buckets<22>, bucket: u32, repeats: &Repeats) -> Result<()> {
        let mut seen: HashMap<u64, Copies> = HashMap::new();
        let parts = |span: &Span| {
            let hash = span.first_chunk().map_or(0, |b| u64::from_be_bytes(*b));
            (hash, span.last_chunk().copied().unwrap_or([0; 14]))
        };
        spans.each(bucket, |span| {
            let (hash, place) = parts(span);
            let copies = seen.entry(hash).or_insert(Copies { count: 0, first: place });
            copies.count = copies.count.saturating_add(1);
            copies.first = copies.first.min(place);
            Ok(())
        })?;
        seen.retain(|_, copies| copies.count >= self.settings.min_copies);
        spans.each(bucket, |span| {
            let (hash, place) = parts(span);
            if seen.get(&hash).is_none_or(|copies| copies.first == place) {
                return Ok(());
            }
            let order = place[2..].first_chunk().map_or(0, |b| u64::from_be_bytes(*b));
            let first = place.last_chunk().map_or(0, |b| u32::from_be_bytes(*b));
            let bucket = key::bucket(order, self.buckets);
            (first..first + self.settings.span()).try_for_each(|unit| repeats.gone.put(bucket, &gone(order, unit)))
        })
    }

    /// What is left of the rows of a partition that lose something.
    fn changes(&self, partition: &Range<u32>, repeats: &Repeats) -> Result<()> {
        let places = Places::read(&repeats.gone, partition)?;
        if places.is_empty() {
            return Ok(());
        }
        let loses = |_: &_, order| !places.of(order).is_empty();
        self.rows().each(partition, loses, |Kept { order, content, .. }| {
            let Content::Text(text) = &content else { return Ok(()) };
            let (change, _) = Change::new(order, text, self.settings, &places.of(order));
            repeats.changes.put(key::bucket(order, self.buckets), &change.to_bytes())
        })
    }
}
