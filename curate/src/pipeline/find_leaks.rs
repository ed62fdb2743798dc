//! Finds rows that train and hold what rows of the same build validate: these are items, as those of evaluation sets are.

use std::ops::Range;

use rayon::ThreadPool;
use setaccio_base::{parallel::ordered_map, progress::Progress};
use setaccio_dataset::{decontamination::Decontamination, ledger::EvaluationCount};

use super::{
    kept_rows::{Kept, KeptRows},
    leaks::{Leak, Leaks, VALIDATION},
    resolver::{KeepRow, Resolver},
    spill,
    spill_file::SpillIndex,
    stage::each,
};
use crate::{
    contamination::{Builder, Finder, Index},
    error::{Error, Result},
    plan,
};

/// Bytes of items that are held at once: where rows that validate are more, the others are looked through once for each such part.
const INDEX_BYTES: u64 = 256 << 20;

/// What is decided on.
pub struct Rows<'a> {
    /// The rows of all tasks.
    pub index: &'a SpillIndex,
    /// Their partitions.
    pub partitions: &'a [Range<u32>],
    /// Tells which rows stay, and which of them validate.
    pub resolver: &'a Resolver<'a>,
    /// Who follows it.
    pub progress: &'a dyn Progress,
    /// Threads.
    pub pool: &'a ThreadPool,
}

impl Rows<'_> {
    /// Decide which rows go; numbers keep their values or not.
    ///
    /// # Errors
    /// A damaged work file, Ctrl-C.
    pub fn decide(self, settings: &Decontamination, numbers: bool) -> Result<Leaks> {
        let mut leaks =
            Leaks { rows: Vec::new(), count: EvaluationCount { set: VALIDATION.into(), ..Default::default() } };
        let (mut builder, mut ids) = (fresh(settings, numbers), Vec::new());
        self.progress.stage("validation", self.partitions.len() as u64);
        // Looking through the others takes the same threads, so that these have to be done with what they gather.
        for group in self.partitions.chunks(2 * self.pool.current_num_threads()) {
            let mut gathered = Vec::new();
            ordered_map(
                self.pool,
                group.len(),
                |i| self.items(&group[i]),
                |items| {
                    self.progress.advance(1, "");
                    gathered.extend(items);
                    Ok::<_, Error>(())
                },
            )?;
            for (id, texts) in gathered {
                builder.item("", texts.iter().map(String::as_str));
                ids.push(id);
                if builder.bytes() >= INDEX_BYTES {
                    let whole = std::mem::replace(&mut builder, fresh(settings, numbers));
                    self.look(whole, &std::mem::take(&mut ids), &mut leaks)?;
                }
            }
        }
        self.look(builder, &ids, &mut leaks)?;
        leaks.count.rows = leaks.rows.len() as u64;
        Ok(leaks)
    }

    /// The rows of a partition that validate: their ids, and what they say.
    fn items(&self, partition: &Range<u32>) -> Result<Vec<([u8; 16], Vec<String>)>> {
        let mut items = Vec::new();
        self.each_row(partition, Split::Validation, |Kept { content, batch, at, .. }| {
            items.push((spill::id(batch, at)?, plan::texts(&content)));
            Ok(())
        })?;
        Ok(items)
    }

    /// Look through the rows that train for the items that were put together, which have these ids.
    fn look(&self, builder: Builder, ids: &[[u8; 16]], leaks: &mut Leaks) -> Result<()> {
        let index = builder.finish();
        let (mut found, mut held) = (Vec::new(), Vec::new());
        let look = |i: usize| self.hold(&self.partitions[i], &index, ids);
        each("leaks", self.partitions.len(), self.pool, self.progress, look, |(rows, items)| {
            found.extend(rows);
            held.extend(items);
            Ok(())
        })?;
        held.sort_unstable();
        held.dedup();
        leaks.count.found += held.len() as u64;
        for set in &index.sets {
            leaks.count.items += set.items;
            leaks.count.short += set.short;
        }
        // Of equal ones the one that was found first stays: items come in the order of the output.
        leaks.rows.extend(found);
        leaks.rows.sort_by_key(|leak| leak.row);
        leaks.rows.dedup_by(|later, first| {
            let same = later.row == first.row;
            if same && first.is_less(later) {
                std::mem::swap(later, first);
            }
            same
        });
        Ok(())
    }

    /// The rows of a partition that train and hold items, and the items that they hold.
    fn hold(&self, partition: &Range<u32>, index: &Index, ids: &[[u8; 16]]) -> Result<(Vec<Leak>, Vec<u32>)> {
        let (mut finder, mut leaks) = (Finder::new(index), Vec::new());
        self.each_row(partition, Split::Train, |Kept { order, content, .. }| {
            if let Some(found) = finder.find(&content) {
                let text = content.texts().nth(found.part).unwrap_or_default();
                let characters = |bytes: usize| to_u32(text.get(..bytes).map_or(0, |before| before.chars().count()));
                leaks.push(Leak {
                    row: order,
                    id: ids[found.item as usize],
                    covered: found.covered,
                    words: found.words,
                    part: to_u32(found.part),
                    start: characters(found.span.start),
                    end: characters(found.span.end),
                });
            }
            Ok(())
        })?;
        Ok((leaks, finder.items.into_iter().collect()))
    }

    /// Give the rows of a split that deduplication leaves of a partition to `each`, in the order of the output.
    fn each_row(&self, partition: &Range<u32>, split: Split, each: impl FnMut(Kept<'_>) -> Result<()>) -> Result<()> {
        let Self { index, resolver, progress, .. } = *self;
        let wanted = |row: &KeepRow, _| row.validation == (split == Split::Validation);
        KeptRows { index, resolver, progress }.each(partition, wanted, each)
    }
}

/// Which rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Split {
    Train,
    Validation,
}

fn fresh(settings: &Decontamination, numbers: bool) -> Builder {
    let mut builder = Builder::new(settings, numbers);
    builder.set(VALIDATION);
    builder
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
