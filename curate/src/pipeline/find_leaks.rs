//! Finds rows that train and hold what rows of the same build validate: these are items, as those of evaluation sets are.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use setaccio_dataset::{decontamination::Decontamination, ledger::EvaluationCount};

use super::{
    kept_rows::{Kept, KeptRows},
    leaks::{Leak, Leaks, VALIDATION},
    resolver::{KeepRow, Resolver},
    spill,
    spill_file::SpillIndex,
    team::{Hands, Json, each},
};
use crate::{
    contamination::{Builder, Finder, Index},
    error::Result,
    plan,
};

/// What is decided on.
pub struct Rows<'a> {
    /// The rows of all tasks.
    pub index: &'a SpillIndex,
    /// Their partitions.
    pub partitions: &'a [Range<u32>],
    /// Tells which rows stay, and which of them validate.
    pub resolver: &'a Resolver<'a>,
    /// Bytes of items that are held at once, about.
    pub held: u64,
    /// Who decides.
    pub hands: Hands<'a>,
}

/// Items of some partitions, put together, and their ids.
type Part = (Index, Vec<[u8; 16]>);

impl Rows<'_> {
    /// Decide which rows go; numbers keep their values or not. Those of a team share it by part of the items and partition.
    ///
    /// # Errors
    /// A damaged work file, Ctrl-C.
    pub fn decide(self, settings: &Decontamination, numbers: bool) -> Result<Leaks> {
        let Self { partitions, hands, .. } = self;
        let mut count = EvaluationCount { set: VALIDATION.into(), ..Default::default() };
        let mut parts: Vec<(Range<usize>, u64)> = vec![(0..0, 0)];
        let weigh = |i: usize| {
            let mut builder = fresh(settings, numbers);
            let empty = builder.bytes();
            self.add(&mut builder, &mut Vec::new(), i)?;
            let bytes = builder.bytes() - empty;
            let sets = builder.finish().sets;
            Ok(Json([bytes, sets.iter().map(|set| set.items).sum(), sets.iter().map(|set| set.short).sum()]))
        };
        each(hands.team, "validation", partitions.len(), hands.by(), weigh, |Json(weighed): Json<[u64; 3]>| {
            let [bytes, items, short] = weighed;
            count.items += items;
            count.short += short;
            let (last, held) = parts.last().cloned().unwrap_or_default();
            if held > 0 && held + bytes > self.held {
                parts.push((last.end..last.end + 1, bytes));
            } else if let Some(part) = parts.last_mut() {
                *part = (last.start..last.end + 1, held + bytes);
            }
            Ok(())
        })?;
        // Pieces come part by part, so that threads mostly look for the same.
        let held: Mutex<Option<(usize, Arc<Part>)>> = Mutex::default();
        let items = |number: usize| -> Result<Arc<Part>> {
            let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, part)) = held.as_ref().filter(|(of, _)| *of == number) {
                return Ok(part.clone());
            }
            *held = None;
            let (mut builder, mut ids) = (fresh(settings, numbers), Vec::new());
            parts[number].0.clone().try_for_each(|i| self.add(&mut builder, &mut ids, i))?;
            let part = Arc::new((builder.finish(), ids));
            *held = Some((number, part.clone()));
            Ok(part)
        };
        let look = |piece: usize| {
            let part = items(piece / partitions.len())?;
            self.hold(&partitions[piece % partitions.len()], &part.0, &part.1).map(Json)
        };
        let (mut leaks, mut found) = (Leaks { rows: Vec::new(), count: EvaluationCount::default() }, Vec::new());
        let (mut piece, pieces) = (0, parts.len() * partitions.len());
        each(hands.team, "leaks", pieces, hands.by(), look, |Json((rows, items)): Json<(Vec<Leak>, Vec<u32>)>| {
            leaks.rows.extend(rows);
            found.extend(items);
            piece += 1;
            // All of a part were looked for.
            if piece % partitions.len() == 0 {
                found.sort_unstable();
                found.dedup();
                count.found += found.len() as u64;
                found.clear();
                leaks.settle();
            }
            Ok(())
        })?;
        count.rows = leaks.rows.len() as u64;
        Ok(Leaks { count, ..leaks })
    }

    /// Add the items of a partition to others, and their ids.
    fn add(&self, builder: &mut Builder, ids: &mut Vec<[u8; 16]>, partition: usize) -> Result<()> {
        self.each_row(&self.partitions[partition], Split::Validation, |Kept { content, batch, at, .. }| {
            let texts = plan::texts(&content);
            builder.item("", texts.iter().map(String::as_str));
            ids.push(spill::id(batch, at)?);
            Ok(())
        })
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
        let Self { index, resolver, hands, .. } = *self;
        let wanted = |row: &KeepRow, _| row.validation == (split == Split::Validation);
        KeptRows { index, resolver, progress: hands.progress }.each(partition, wanted, each)
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
