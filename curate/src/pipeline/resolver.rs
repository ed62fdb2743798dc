//! Deduplicate, sample and split the rows of one partition: a range of the output's order.
//!
//! A row's place is a seeded hash of its normalised content, so rows that are the same lie side by
//! side, a shuffle is a sort, and a sample of N is the first N rows: whatever the order of the inputs.

use std::collections::BTreeMap;

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{Int32Type, UInt16Type, UInt32Type, UInt64Type},
};
use serde::{Deserialize, Serialize};
use setaccio_base::{filter_report::Tally, row::Kind, unit::Unit};
use setaccio_dataset::{
    ledger::Flow,
    recipe::{Conflicts, DedupOn, Recipe, Repeats},
    shard::Position,
};

use super::{
    filter::DECONTAMINATION,
    leaks::Leaks,
    near::NearDuplicates,
    rejects::{CONFLICT, DropRow, NEAR, REPEATS, SEMANTIC},
    repeats::Change,
    semantic::Twins,
    spill::{self, BYTES, FILE, ID, LABEL, ORDER, REST, ROW, ROW_GROUP, SAME, SOURCE, TIE},
};
use crate::{
    error::{Error, Result},
    key::Key,
};

/// The columns of [`super::spill::DECIDING`] of one row.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    key: Key,
    /// Place of its source in the order of preference.
    rank: u16,
    id: &'a str,
    row: u32,
    source: u16,
    bytes: u64,
    /// Hash of its label, if it has one.
    label: Option<u64>,
    /// What decides between equal ids: [`spill::TIE`], then [`spill::REST`].
    tie: [u64; 2],
}

/// What becomes of a partition's rows.
#[derive(Default)]
pub struct Resolution {
    /// Rows that stay, in the order of the output, with the split they fall in.
    pub keep: Vec<KeepRow>,
    /// Rows that do not.
    pub drop: Vec<DropRow>,
    /// Rows into and out of deduplication, per source.
    pub dedup: Vec<Flow>,
    /// Of those that deduplication drops, the ones that are no ordinary copies.
    pub named: Named,
    /// What rows lose because others hold it, per source.
    pub repeats: Vec<Removed>,
    /// Rows into and out of sampling, per source.
    pub sample: Vec<Flow>,
}

/// What rows of a source lose because others hold it, and which of them go because too little is left.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Removed {
    /// As of any rule.
    pub tally: Tally,
    /// Units that rows which stay lose.
    pub units: u64,
    /// Their characters.
    pub characters: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Removed {
    /// Count a row of so many bytes that loses text, or goes.
    fn count(&mut self, change: &Change, settings: &Repeats, bytes: u64, dropped: bool) {
        if dropped {
            self.tally.dropped += 1;
            self.tally.dropped_bytes += bytes;
            return;
        }
        let units = u64::from(change.gone);
        self.tally.rows_edited += 1;
        self.tally.lines_dropped += if settings.unit == Unit::Lines { units } else { 0 };
        self.units += units;
        self.characters += u64::from(change.characters);
        self.bytes += bytes - change.bytes;
    }

    /// Add another's counts to this one.
    pub fn add(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        self.units += other.units;
        self.characters += other.characters;
        self.bytes += other.bytes;
    }
}

/// Rows that deduplication drops under a name of their own, per rule of [`NAMED`] and source.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Vec<Tally>>", into = "Vec<Vec<Tally>>")]
pub struct Named(BTreeMap<&'static str, Vec<Tally>>);

impl From<Vec<Vec<Tally>>> for Named {
    fn from(tallies: Vec<Vec<Tally>>) -> Self {
        let mut names = NAMED;
        names.sort_unstable();
        Self(names.into_iter().zip(tallies).collect())
    }
}

impl From<Named> for Vec<Vec<Tally>> {
    fn from(Named(tallies): Named) -> Self {
        tallies.into_values().collect()
    }
}

/// These rules, in order: rows that contradict others, near-duplicates, rows that mean nearly what another means, and rows that hold
/// what others validate.
pub const NAMED: [&str; 4] = [CONFLICT, NEAR, SEMANTIC, DECONTAMINATION];

impl Named {
    /// Zeros, for so many sources.
    pub fn new(sources: usize) -> Self {
        Self(NAMED.map(|rule| (rule, vec![Tally::default(); sources])).into())
    }

    /// Count a row of so many bytes, if its rule is one of these.
    fn count(&mut self, rule: &str, source: usize, bytes: u64) {
        if let Some(tally) = self.0.get_mut(rule).and_then(|tallies| tallies.get_mut(source)) {
            tally.dropped += 1;
            tally.dropped_bytes += bytes;
        }
    }

    /// Add another's counts to these.
    pub fn add(&mut self, other: &Self) {
        for (sum, tallies) in self.0.values_mut().zip(other.0.values()) {
            sum.iter_mut().zip(tallies).for_each(|(sum, tally)| sum.add(tally));
        }
    }

    /// What a rule dropped, per source.
    pub fn of(&self, rule: &str) -> &[Tally] {
        self.0.get(rule).map_or(&[], Vec::as_slice)
    }
}

/// A row that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepRow {
    /// Row of the batch.
    pub row: u32,
    /// Number of its source.
    pub source: u16,
    /// Bytes of its content.
    pub bytes: u64,
    /// Whether it validates.
    pub validation: bool,
}

/// Decides by a recipe which rows stay.
pub struct Resolver<'a> {
    recipe: &'a Recipe,
    ranks: Vec<u16>,
    files: Vec<&'a str>,
    near: Option<NearDuplicates>,
    semantic: Option<Twins>,
    leaks: Option<Leaks>,
    /// Names of earlier data sets, whose numbers follow those of the sources.
    earlier: Vec<&'a str>,
}

/// What is done with the rows that deduplication leaves.
#[derive(Clone, Copy)]
enum Then<'a> {
    Nothing,
    /// So many rows of each class stay; all, if nothing is said.
    Sample(Option<&'a [u64]>),
}

/// Two rows that are the same but for their labels.
#[derive(Clone, Copy)]
struct Dispute<'a> {
    one: Candidate<'a>,
    another: Candidate<'a>,
}

impl<'a> Dispute<'a> {
    /// The one of the two that has not this label.
    fn other(self, label: u64) -> Candidate<'a> {
        if self.one.label == Some(label) { self.another } else { self.one }
    }
}

/// What follows the row that contradicts, before the name of the label.
const CONTRADICTS: &str = ", with another ";

/// The rows at the front of a sorted list that are the same.
fn copies<'r, 'c>(rows: &'r [Candidate<'c>]) -> &'r [Candidate<'c>] {
    rows.chunk_by(|a, b| a.key.same == b.key.same).next().unwrap_or_default()
}

impl<'a> Resolver<'a> {
    /// For the rows of `recipe`, of the input `files` with these names.
    pub fn new(recipe: &'a Recipe, files: Vec<&'a str>) -> Self {
        let prefer = recipe.dedup.as_ref().map_or(&[][..], |d| &d.prefer);
        let place = |name: &str| prefer.iter().position(|p| p == name).unwrap_or(prefer.len());
        let mut order: Vec<usize> = (0..recipe.source.len()).collect();
        order.sort_by_key(|i| (place(&recipe.source[*i].name), *i));
        let mut ranks = vec![0; order.len()];
        for (rank, source) in (0..).zip(order) {
            ranks[source] = rank;
        }
        Self { recipe, ranks, files, near: None, semantic: None, leaks: None, earlier: Vec::new() }
    }

    /// With rows that were found to hold what others validate.
    #[must_use]
    pub fn with_leaks(self, leaks: Option<Leaks>) -> Self {
        Self { leaks, ..self }
    }

    /// With near-duplicates that were found, of rows of the sources and of the `earlier` data sets with these names.
    #[must_use]
    pub fn with_near(self, near: Option<NearDuplicates>, earlier: Vec<&'a str>) -> Self {
        Self { near, earlier, ..self }
    }

    /// With rows that were found to mean nearly what others mean.
    #[must_use]
    pub fn with_semantic(self, semantic: Option<Twins>) -> Self {
        Self { semantic, ..self }
    }

    /// What every row is.
    pub fn kind(&self) -> Kind {
        self.recipe.kind
    }

    /// Number of sources.
    pub fn sources(&self) -> usize {
        self.ranks.len()
    }

    /// Place of a source in the order of preference.
    pub fn rank(&self, source: u16) -> u16 {
        self.ranks.get(usize::from(source)).copied().unwrap_or(u16::MAX)
    }

    /// Number of classes that a sample counts apart: one, or one a source if they are weighted.
    pub fn classes(&self) -> usize {
        if self.weighted() { self.ranks.len() } else { 1 }
    }

    /// Whether sources have weights.
    pub fn weighted(&self) -> bool {
        self.recipe.source.iter().any(|s| s.weight.is_some())
    }

    /// The class that a source counts in.
    pub fn class(&self, source: u16) -> usize {
        if self.weighted() { usize::from(source) } else { 0 }
    }

    /// Whether a sample must be counted out before it is taken.
    pub fn counts_first(&self) -> bool {
        self.weighted() || self.recipe.sample.as_ref().is_some_and(|s| s.rows.is_some())
    }

    /// Decide on a batch, by its columns [`super::spill::DECIDING`].
    /// `changes` says what is left of rows that lose text, `allowed` how many rows of each class may stay; without it, all.
    pub fn resolve(&self, batch: &RecordBatch, changes: &[Change], allowed: Option<&[u64]>) -> Result<Resolution> {
        self.decide(batch, changes, Then::Sample(allowed))
    }

    /// Tell apart the rows of a batch by these columns, and no more: all that are not the same stay.
    pub fn deduplicate(&self, batch: &RecordBatch) -> Result<Resolution> {
        self.decide(batch, &[], Then::Nothing)
    }

    fn decide(&self, batch: &RecordBatch, changes: &[Change], then: Then<'_>) -> Result<Resolution> {
        let sources = self.ranks.len();
        let mut resolution = Resolution {
            dedup: vec![Flow::default(); sources],
            named: Named::new(sources),
            repeats: vec![Removed::default(); sources],
            sample: vec![Flow::default(); sources],
            ..Resolution::default()
        };
        let mut rows = candidates(batch, &self.ranks)?;
        // Equal rows sit together; among them the preferred source's comes first, then the smallest id, then what the
        // columns hold, so that the one kept does not depend on the order of files. Equal ids are equal rows.
        rows.sort_unstable_by_key(|c| (c.key, c.rank, c.id, c.tie, c.row));
        let mut left = if let Then::Sample(allowed) = then { allowed.map(<[u64]>::to_vec) } else { None };
        let dedups = self.recipe.dedup.is_some();
        let repeats = self.recipe.repeats();
        let mut first: Option<Candidate<'_>> = None;
        // What is said of it, if it goes for the sake of another.
        let mut first_near: Option<String> = None;
        let mut disputes: BTreeMap<&str, Dispute<'_>> = BTreeMap::new();
        for (at, mut c) in rows.iter().copied().enumerate() {
            let source = usize::from(c.source);
            if dedups && (at == 0 || rows[at - 1].key.same != c.key.same) {
                (first, first_near) = (None, None);
                disputes = self.disputes(copies(&rows[at..]));
            }
            let dispute = c.label.and_then(|label| disputes.get(self.judged(&c)).map(|d| (label, *d)));
            let dropped = match (dispute, first.filter(|_| dedups)) {
                (Some((label, dispute)), _) if self.conflicts() == Conflicts::Drop => {
                    Some((CONFLICT, dispute.other(label), CONTRADICTS))
                }
                (Some(..), _) if self.conflicts() == Conflicts::Stop => return Err(self.stop(batch, &disputes)?),
                (Some((label, _)), Some(first)) if first.label.is_some_and(|kept| kept != label) => {
                    Some((CONFLICT, first, CONTRADICTS))
                }
                (_, Some(first)) => Some(("dedup", first, "")),
                (_, None) => None,
            };
            if let Some((rule, other, how)) = dropped {
                resolution.dedup[source].count(c.bytes, None);
                resolution.named.count(rule, source, c.bytes);
                let of = self.name(other.source);
                let how = if how.is_empty() { String::new() } else { format!("{how}`{}`", self.label()) };
                let mut detail = format!("same as {} of {of}{how}", other.id);
                if let Some(near) = &first_near {
                    detail.extend([", ", near]);
                }
                resolution.drop.push(DropRow { row: c.row, bytes: c.bytes, stage: "dedup", rule, detail });
                continue;
            }
            first = Some(c);
            let gone = self.gone(&c)?;
            first_near = gone.as_ref().map(|(_, detail)| detail.clone());
            if let Some((rule, detail)) = gone {
                resolution.dedup[source].count(c.bytes, None);
                resolution.named.count(rule, source, c.bytes);
                resolution.drop.push(DropRow { row: c.row, bytes: c.bytes, stage: "dedup", rule, detail });
                continue;
            }
            let read = c.bytes;
            let change = changes.binary_search_by_key(&c.key.order, |change| change.order).ok().map(|at| &changes[at]);
            if let (Some(change), Some(settings)) = (change, repeats) {
                let too_little = change.too_little(settings);
                resolution.repeats[source].count(change, settings, read, too_little.is_some());
                if let Some(detail) = too_little {
                    first_near = Some(detail.clone());
                    resolution.dedup[source].count(read, None);
                    let (row, bytes, stage, rule) = (c.row, read, "dedup", REPEATS);
                    resolution.drop.push(DropRow { row, bytes, stage, rule, detail });
                    continue;
                }
                c.bytes = change.bytes;
            }
            resolution.dedup[source].count(read, Some(c.bytes));
            let validation = c.key.in_validation(self.recipe.split.validation);
            if matches!(then, Then::Nothing) {
                resolution.keep.push(KeepRow { row: c.row, source: c.source, bytes: c.bytes, validation });
                continue;
            }
            if let Some(detail) = self.left_out(&c, left.as_deref_mut()) {
                resolution.sample[source].count(c.bytes, None);
                resolution.drop.push(DropRow { row: c.row, bytes: c.bytes, stage: "sample", rule: "sample", detail });
                continue;
            }
            resolution.sample[source].count(c.bytes, Some(c.bytes));
            resolution.keep.push(KeepRow { row: c.row, source: c.source, bytes: c.bytes, validation });
        }
        Ok(resolution)
    }

    /// The name of a source or of an earlier data set.
    fn name(&self, source: u16) -> &str {
        let number = usize::from(source);
        let earlier = || self.earlier.get(number - self.ranks.len()).copied();
        self.recipe.source.get(number).map(|s| s.name.as_str()).or_else(earlier).unwrap_or_default()
    }

    /// What a row that is no copy goes for, if it goes: the rule and the detail.
    fn gone(&self, c: &Candidate<'_>) -> Result<Option<(&'static str, String)>> {
        if let Some(detail) = self.near_another(c)? {
            return Ok(Some((NEAR, detail)));
        }
        let semantic = self.semantic.as_ref().and_then(|twins| twins.of(c.key.order, |source| self.name(source)));
        let leak = || self.leaks.as_ref().and_then(|leaks| leaks.of(c.key.order));
        let leak = || leak().map(|detail| (DECONTAMINATION, detail));
        Ok(semantic.map(|detail| (SEMANTIC, detail)).or_else(leak))
    }

    /// What a row is a near-duplicate of.
    fn near_another(&self, c: &Candidate<'_>) -> Result<Option<String>> {
        let found = self.near.as_ref().map(|near| near.of(c.key.order)).transpose()?.flatten();
        Ok(found.map(|near| {
            format!("near-duplicate of {} of {}, Jaccard {:.2}", near.id, self.name(near.source), near.similarity)
        }))
    }

    fn label(&self) -> &str {
        self.recipe.label().unwrap_or_default()
    }

    fn conflicts(&self) -> Conflicts {
        self.recipe.dedup.as_ref().map(|d| d.conflicts).unwrap_or_default()
    }

    /// What a label is about: the row, or where only prompts are compared this very answer to it.
    fn judged<'c>(&self, c: &Candidate<'c>) -> &'c str {
        match self.recipe.dedup.as_ref().map(|d| d.on) {
            Some(DedupOn::Prompt) => c.id,
            _ => "",
        }
    }

    /// What is judged in two ways among copies.
    fn disputes<'c>(&self, copies: &[Candidate<'c>]) -> BTreeMap<&'c str, Dispute<'c>> {
        let mut seen: BTreeMap<&str, Dispute<'c>> = BTreeMap::new();
        if copies.len() > 1 && self.recipe.label().is_some() {
            for c in copies.iter().filter(|c| c.label.is_some()) {
                let dispute = seen.entry(self.judged(c)).or_insert(Dispute { one: *c, another: *c });
                if dispute.one.label == dispute.another.label && dispute.one.label != c.label {
                    dispute.another = *c;
                }
            }
        }
        seen.retain(|_, dispute| dispute.one.label != dispute.another.label);
        seen
    }

    /// The error that names two rows in dispute.
    fn stop(&self, batch: &RecordBatch, disputes: &BTreeMap<&str, Dispute<'_>>) -> Result<Error> {
        let file = spill::column(batch, FILE)?.as_primitive::<UInt32Type>();
        let group = spill::column(batch, ROW_GROUP)?.as_primitive::<Int32Type>();
        let row = spill::column(batch, ROW)?.as_primitive::<UInt64Type>();
        let place = |c: Candidate<'_>| {
            let i = c.row as usize;
            let row_group = group.is_valid(i).then(|| u32::try_from(group.value(i)).unwrap_or(0));
            let at = Position { row_group, row: row.value(i) };
            format!("{}, {at}", self.files.get(file.value(i) as usize).copied().unwrap_or_default())
        };
        let dispute = disputes.values().next();
        let [first, second] = match dispute {
            Some(dispute) => [dispute.one, dispute.another].map(place),
            None => [String::new(), String::new()],
        };
        Ok(Error::Conflict { first, second, label: self.label().to_owned() })
    }

    fn left_out(&self, c: &Candidate<'_>, left: Option<&mut [u64]>) -> Option<String> {
        if let Some(fraction) = self.recipe.sample.as_ref().and_then(|s| s.fraction)
            && !c.key.in_sample(fraction)
        {
            return Some(format!("outside the fraction {fraction}"));
        }
        let left = &mut left?[self.class(c.source)];
        if *left == 0 {
            return Some("the sample is full".into());
        }
        *left -= 1;
        None
    }

    /// How many rows of each class the whole output may hold, given how many of each source there are,
    /// and a sentence if that is not what the recipe asks for.
    pub fn targets(&self, available: &[u64]) -> (Vec<u64>, Option<String>) {
        let wanted = self.recipe.sample.as_ref().and_then(|s| s.rows);
        let all: u64 = available.iter().sum();
        if !self.weighted() {
            let note = wanted.filter(|n| *n > all).map(|n| {
                format!("The recipe asks for {n} rows; only {all} are left after deduplication, and all are here.")
            });
            return (vec![wanted.unwrap_or(all).min(all)], note);
        }
        let weights: Vec<f64> = self.recipe.source.iter().map(|s| s.weight.unwrap_or(0.0)).collect();
        let sum: f64 = weights.iter().sum();
        // Above this total, some source has too few rows for its share.
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rows are far below 2^53"
        )]
        let most = available.iter().zip(&weights).map(|(n, w)| (*n as f64 * sum / w) as u64).min().unwrap_or(0);
        let total = wanted.map_or(most, |n| n.min(most));
        let note = match wanted {
            Some(n) if n > total => Some(format!(
                "The recipe asks for {n} rows; the sources have enough for {total} in the recipe's proportions."
            )),
            None if all > total => {
                Some(format!("{total} of {all} rows are here: with more, the recipe's proportions could not be kept."))
            }
            _ => None,
        };
        (shares(total, &weights, available), note)
    }
}

/// Divide `total` by weight, largest remainders first, never more than is there.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rows are far below 2^53"
)]
fn shares(total: u64, weights: &[f64], available: &[u64]) -> Vec<u64> {
    let sum: f64 = weights.iter().sum();
    let exact: Vec<f64> = weights.iter().map(|w| total as f64 * w / sum).collect();
    let mut parts: Vec<u64> = exact.iter().zip(available).map(|(e, n)| (*e as u64).min(*n)).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|a, b| exact[*b].fract().total_cmp(&exact[*a].fract()).then(a.cmp(b)));
    let mut missing = total - parts.iter().sum::<u64>().min(total);
    for i in order.into_iter().cycle().take(weights.len() * 2) {
        if missing > 0 && parts[i] < available[i] {
            parts[i] += 1;
            missing -= 1;
        }
    }
    parts
}

fn candidates<'b>(batch: &'b RecordBatch, ranks: &[u16]) -> Result<Vec<Candidate<'b>>> {
    let column = |name| spill::column(batch, name);
    let order = column(ORDER)?.as_primitive::<UInt64Type>();
    let same = column(SAME)?.as_fixed_size_binary();
    let source = column(SOURCE)?.as_primitive::<UInt16Type>();
    let bytes = column(BYTES)?.as_primitive::<UInt64Type>();
    let id = column(ID)?.as_string::<i32>();
    let label = column(LABEL)?.as_primitive::<UInt64Type>();
    let [tie, rest] = [column(TIE)?, column(REST)?].map(AsArray::as_primitive::<UInt64Type>);
    let candidate = |i| {
        let mut wide = [0; 16];
        wide.copy_from_slice(same.value(i));
        Candidate {
            key: Key { order: order.value(i), same: u128::from_be_bytes(wide) },
            rank: ranks.get(usize::from(source.value(i))).copied().unwrap_or(u16::MAX),
            id: id.value(i),
            row: u32::try_from(i).unwrap_or(u32::MAX),
            source: source.value(i),
            bytes: bytes.value(i),
            label: label.is_valid(i).then(|| label.value(i)),
            tie: [tie.value(i), rest.value(i)],
        }
    };
    Ok((0..batch.num_rows()).map(candidate).collect())
}

/// Cut a list into pieces of about `target` bytes.
pub fn pieces<T>(list: Vec<T>, target: u64, bytes: impl Fn(&T) -> u64) -> Vec<Vec<T>> {
    let mut pieces: Vec<Vec<T>> = Vec::new();
    let mut held = 0;
    for item in list {
        let more = bytes(&item);
        match pieces.last_mut() {
            Some(piece) if held + more <= target => {
                piece.push(item);
                held += more;
            }
            _ => {
                pieces.push(vec![item]);
                held = more;
            }
        }
    }
    pieces
}

/// Give each partition, in order, its part of the targets: `counts[partition][class]` rows are there.
pub fn allot(counts: &[Vec<u64>], targets: &[u64]) -> Vec<Vec<u64>> {
    let mut left = targets.to_vec();
    counts
        .iter()
        .map(|there| {
            there
                .iter()
                .zip(&mut left)
                .map(|(n, left)| {
                    let taken = (*n).min(*left);
                    *left -= taken;
                    taken
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_taken_from_the_front() {
        let counts = vec![vec![3, 1], vec![0, 4], vec![5, 5]];
        assert_eq!(allot(&counts, &[4, 5]), [[3, 1], [0, 4], [1, 0]]);
    }

    #[test]
    fn shares_are_exact_and_never_more_than_there_is() {
        // 100 rows at 1:1:1 are 33.3 each: the first of equal remainders gets the odd row.
        assert_eq!(shares(100, &[1.0, 1.0, 1.0], &[90, 90, 90]), [34, 33, 33]);
        assert_eq!(shares(10, &[0.7, 0.2, 0.1], &[7, 2, 1]), [7, 2, 1]);
        assert_eq!(shares(0, &[1.0, 2.0], &[5, 5]), [0, 0]);
    }
}
