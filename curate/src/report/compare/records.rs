//! What is compared of a row: a record of one size, in buckets by id.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    path::Path,
};

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{Float64Type, Int32Type, Int64Type, UInt64Type},
};
use arrow_schema::DataType;
use setaccio_base::progress::Progress;
use setaccio_dataset::{columns::content_names, ledger::Ledger, recipe::Recipe};
use xxhash_rust::xxh3::Xxh3;

use super::{
    super::rows::{each_batch, texts},
    Build, Fate,
};
use crate::{
    error::{Error, Result},
    pipeline::scratch::Buckets,
};

/// Rows that are read at a time.
const BATCH: usize = 4096;
/// Records of a bucket, about.
const BUCKET: u64 = 100_000;
/// The rule of a row that a build did not have.
pub const ABSENT: u16 = u16::MAX;
/// Names of the splits, by their numbers.
const SPLITS: [&str; 2] = ["train", "validation"];

/// Which build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

/// What became of a row from the first build to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Became {
    /// Nothing.
    Same,
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// A column holds something else.
    Changed,
}

/// Names of sources and rules of both builds, as numbers.
pub struct Names {
    sources: Vec<String>,
    rules: Vec<(String, String)>,
}

impl Names {
    /// Those of two ledgers. Rules are numbered in the order of the stages.
    pub fn of(ledgers: [&Ledger; 2]) -> Self {
        let (mut sources, mut rules) = (Vec::new(), Vec::new());
        for ledger in ledgers {
            for stage in &ledger.stages {
                for of in &stage.sources {
                    if !sources.contains(&of.source) {
                        sources.push(of.source.clone());
                    }
                }
            }
        }
        for stage in setaccio_dataset::ledger::STAGES {
            for rule in ledgers.iter().filter_map(|ledger| ledger.stage(stage)).flat_map(|stage| &stage.rules) {
                let name = (stage.to_owned(), rule.rule.clone());
                if !rules.contains(&name) {
                    rules.push(name);
                }
            }
        }
        Self { sources, rules }
    }

    /// The name of a source.
    pub fn source(&self, number: u16) -> &str {
        self.sources.get(usize::from(number)).map_or("", String::as_str)
    }

    /// Stage and rule.
    pub fn rule(&self, number: u16) -> (&str, &str) {
        self.rules.get(usize::from(number)).map_or(("", ""), |(stage, rule)| (stage, rule))
    }

    /// What is told of a rule.
    pub fn fate(&self, number: u16, added: u64, removed: u64) -> Fate {
        let (stage, rule) = self.rule(number);
        Fate { stage: stage.to_owned(), rule: rule.to_owned(), added, removed }
    }
}

/// Bytes of a record.
const SIZE: usize = 47;

/// A row of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Hash of what it says.
    pub id: [u8; 16],
    /// Whose it is.
    pub side: Side,
    /// The rule that dropped it; [`ABSENT`]: none did.
    pub rule: u16,
    /// Its source.
    pub source: u16,
    /// Its split.
    pub split: u8,
    /// Hash of its other columns but those of its content.
    columns: u64,
    /// Hash of what may differ where ids are the same.
    text: u64,
    /// Its number among the rows of its build's shards.
    pub row: u64,
}

impl Record {
    fn to_bytes(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..16].copy_from_slice(&self.id);
        bytes[16] = u8::from(self.rule != ABSENT);
        bytes[17] = u8::from(self.side == Side::B);
        bytes[18..20].copy_from_slice(&self.rule.to_be_bytes());
        bytes[20..22].copy_from_slice(&self.source.to_be_bytes());
        bytes[22] = self.split;
        bytes[23..31].copy_from_slice(&self.columns.to_be_bytes());
        bytes[31..39].copy_from_slice(&self.text.to_be_bytes());
        bytes[39..].copy_from_slice(&self.row.to_be_bytes());
        bytes
    }

    fn of_bytes(bytes: &[u8; SIZE]) -> Self {
        let two = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let eight = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_be_bytes(number)
        };
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[..16]);
        let side = if bytes[17] == 1 { Side::B } else { Side::A };
        let (columns, text, row) = (eight(23), eight(31), eight(39));
        Self { id, side, rule: two(18), source: two(20), split: bytes[22], columns, text, row }
    }

    /// What both builds say of it.
    fn told(&self) -> (u16, u8, u64, u64) {
        (self.source, self.split, self.columns, self.text)
    }

    /// What differs between a row and itself in the other build.
    pub fn differing(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        let differ = [
            ("source", self.source != other.source),
            ("split", self.split != other.split),
            ("columns", self.columns != other.columns),
            ("text", self.text != other.text),
        ];
        differ.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what)
    }
}

/// The rows of two builds, by id.
pub struct Sides {
    buckets: Buckets<SIZE>,
}

impl Sides {
    /// Read what is compared of both into a file of `folder`.
    pub fn read(builds: &[Build<'_>; 2], names: &Names, folder: &Path, progress: &dyn Progress) -> Result<Self> {
        let rows: u64 = builds.iter().flat_map(|build| &build.ledger.files).map(|entry| entry.rows).sum();
        let buckets = u32::try_from(rows.div_ceil(BUCKET).max(1).next_power_of_two()).unwrap_or(1 << 20).min(1 << 20);
        let sides = Self { buckets: Buckets::create(folder.join("rows"), buckets)? };
        let compared = Compared::of(builds);
        for (build, side) in builds.iter().zip([Side::A, Side::B]) {
            sides.kept(build, side, names, &compared, progress)?;
            sides.dropped(build, side, names, progress)?;
        }
        Ok(sides)
    }

    fn put(&self, record: Record) -> Result<()> {
        let [a, b, c, d, ..] = record.id;
        let bits = self.buckets.buckets().trailing_zeros();
        let bucket = if bits == 0 { 0 } else { u32::from_be_bytes([a, b, c, d]) >> (32 - bits) };
        self.buckets.put(bucket, &record.to_bytes())
    }

    fn kept(
        &self,
        build: &Build<'_>,
        side: Side,
        names: &Names,
        compared: &Compared,
        progress: &dyn Progress,
    ) -> Result<()> {
        let sources: HashMap<&str, u16> = names.sources.iter().map(String::as_str).zip(0..).collect();
        let mut row = 0;
        for entry in build.files("data/") {
            let path = build.out.join(&entry.path);
            let split = SPLITS.iter().position(|split| entry.path.starts_with(&format!("data/{split}-")));
            let split = u8::try_from(split.unwrap_or(SPLITS.len())).unwrap_or(u8::MAX);
            let read = compared.read.iter().map(String::as_str);
            each_batch(&path, read, (BATCH, None), progress, |batch, _| {
                let (ids, named) = columns(&path, batch)?;
                for i in 0..batch.num_rows() {
                    let source = sources.get(named.value(i)).copied().unwrap_or(ABSENT);
                    let (columns, text) = (compared.columns(batch, i), compared.text(batch, i));
                    let id = id(&path, ids.value(i))?;
                    self.put(Record { id, side, rule: ABSENT, source, split, columns, text, row })?;
                    row += 1;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn dropped(&self, build: &Build<'_>, side: Side, names: &Names, progress: &dyn Progress) -> Result<()> {
        let rules: BTreeMap<(&str, &str), u16> =
            names.rules.iter().zip(0..).map(|((stage, rule), n)| ((stage.as_str(), rule.as_str()), n)).collect();
        for entry in build.files("rejects/") {
            let path = build.out.join(&entry.path);
            each_batch(&path, ["stage", "rule", "id", "source"], (BATCH, None), progress, |batch, _| {
                let (ids, _) = columns(&path, batch)?;
                let (Some(stages), Some(named)) = (texts(batch, "stage"), texts(batch, "rule")) else {
                    return Err(Error::damaged(&path, "holds no rejects; build the data set again"));
                };
                // What could not be read has no id.
                for i in (0..batch.num_rows()).filter(|i| ids.is_valid(*i)) {
                    let rule = rules.get(&(stages.value(i), named.value(i))).copied().unwrap_or(ABSENT - 1);
                    let id = id(&path, ids.value(i))?;
                    self.put(Record { id, side, rule, source: ABSENT, split: 0, columns: 0, text: 0, row: 0 })?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Give the rows of each id to `each`.
    pub fn each(&self, progress: &dyn Progress, mut each: impl FnMut(&SameId) -> Result<()>) -> Result<()> {
        for bucket in 0..self.buckets.buckets() {
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            let records: Vec<Record> = self.buckets.sorted(bucket..bucket + 1)?.iter().map(Record::of_bytes).collect();
            records.chunk_by(|a, b| a.id == b.id).try_for_each(|same| each(&SameId::of(same)))?;
        }
        Ok(())
    }
}

/// The rows of one id.
#[derive(Default)]
pub struct SameId {
    /// Those that each build has, in the order of what is told of them.
    kept: [Vec<Record>; 2],
    /// The first rule of each build that dropped one.
    dropped: [Option<u16>; 2],
}

impl SameId {
    fn of(records: &[Record]) -> Self {
        let mut same = Self::default();
        for record in records {
            let side = usize::from(record.side == Side::B);
            match record.rule {
                ABSENT => same.kept[side].push(*record),
                rule => same.dropped[side] = Some(same.dropped[side].map_or(rule, |first| first.min(rule))),
            }
        }
        same.kept.iter_mut().for_each(|kept| kept.sort_by_key(|record| (record.told(), record.row)));
        same
    }

    /// Each row once, with itself in the second build. Without deduplication a row may be there several times: those that are
    /// the same in all go together, then those that are left.
    pub fn compared(&self) -> Vec<(Became, &Record, Option<&Record>)> {
        let [a, b] = &self.kept;
        let (mut found, mut left): (Vec<_>, [Vec<&Record>; 2]) = (Vec::new(), [Vec::new(), Vec::new()]);
        let (mut i, mut j) = (0, 0);
        while let (Some(one), Some(other)) = (a.get(i), b.get(j)) {
            match one.told().cmp(&other.told()) {
                Ordering::Equal => found.push((Became::Same, one, Some(other))),
                Ordering::Less => left[0].push(one),
                Ordering::Greater => left[1].push(other),
            }
            i += usize::from(one.told() <= other.told());
            j += usize::from(one.told() >= other.told());
        }
        left[0].extend(&a[i..]);
        left[1].extend(&b[j..]);
        let pairs = left[0].len().min(left[1].len());
        let [a, b] = &left;
        found.extend(a.iter().zip(b).map(|(one, other)| (Became::Changed, *one, Some(*other))));
        found.extend(a[pairs..].iter().map(|one| (Became::Removed, *one, None)));
        found.extend(b[pairs..].iter().map(|other| (Became::Added, *other, None)));
        found
    }

    /// What the build that does not have it did with a row that was added or removed.
    pub fn fate(&self, became: Became) -> u16 {
        let without = match became {
            Became::Added => self.dropped[0],
            Became::Removed => self.dropped[1],
            Became::Same | Became::Changed => None,
        };
        without.unwrap_or(ABSENT)
    }
}

/// Which columns are compared.
struct Compared {
    /// Of the rows that stayed, what is read.
    read: Vec<String>,
    /// What is beside the content and in both builds.
    columns: Vec<String>,
    /// What can differ though the id is the same: texts that lost what others hold.
    text: Vec<String>,
}

impl Compared {
    fn of(builds: &[Build<'_>; 2]) -> Self {
        let recipes = builds.each_ref().map(|build| &build.lock.recipe);
        let content = content_names(recipes[0].kind);
        let rendered = |recipe: &Recipe| recipe.output.template.is_some().then(|| recipe.output.rendered.clone());
        let of = |build: &Build<'_>| {
            let recipe = &build.lock.recipe;
            let mut names = vec!["language".to_owned()];
            names.extend(recipe.kept().map(|(name, _)| name.clone()));
            names.extend(recipe.output.tokenizer.as_ref().map(|_| "tokens".to_owned()));
            names.extend(rendered(recipe));
            names
        };
        let [a, b] = builds.each_ref().map(of);
        let columns: Vec<String> = a.into_iter().filter(|name| b.contains(name)).collect();
        let edited = recipes.iter().any(|recipe| recipe.repeats().is_some());
        let text: Vec<String> =
            if edited { content.iter().map(|name| (*name).to_owned()).collect() } else { Vec::new() };
        let read =
            ["id", "source"].map(str::to_owned).into_iter().chain(columns.iter().cloned()).chain(text.iter().cloned());
        Self { read: read.collect(), columns, text }
    }

    fn columns(&self, batch: &RecordBatch, i: usize) -> u64 {
        hash(batch, &self.columns, i)
    }

    fn text(&self, batch: &RecordBatch, i: usize) -> u64 {
        hash(batch, &self.text, i)
    }
}

fn hash(batch: &RecordBatch, names: &[String], i: usize) -> u64 {
    let mut hash = Xxh3::new();
    for name in names {
        match batch.column_by_name(name) {
            Some(column) => feed(column.as_ref(), i, &mut hash),
            None => hash.update(&[2]),
        }
    }
    hash.digest()
}

/// A value of any type that shards have.
fn feed(array: &dyn Array, i: usize, hash: &mut Xxh3) {
    hash.update(&[u8::from(array.is_valid(i))]);
    if array.is_null(i) {
        return;
    }
    match array.data_type() {
        DataType::Utf8 => {
            let text = array.as_string::<i32>().value(i);
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        DataType::Int32 => hash.update(&array.as_primitive::<Int32Type>().value(i).to_le_bytes()),
        DataType::Int64 => hash.update(&array.as_primitive::<Int64Type>().value(i).to_le_bytes()),
        DataType::UInt64 => hash.update(&array.as_primitive::<UInt64Type>().value(i).to_le_bytes()),
        DataType::Float64 => hash.update(&array.as_primitive::<Float64Type>().value(i).to_bits().to_le_bytes()),
        DataType::Boolean => hash.update(&[u8::from(array.as_boolean().value(i))]),
        DataType::List(_) => {
            let values = array.as_list::<i32>().value(i);
            hash.update(&(values.len() as u64).to_le_bytes());
            (0..values.len()).for_each(|i| feed(values.as_ref(), i, hash));
        }
        DataType::Struct(_) => array.as_struct().columns().iter().for_each(|column| feed(column.as_ref(), i, hash)),
        // No build writes another.
        other => hash.update(other.to_string().as_bytes()),
    }
}

fn columns<'b>(
    path: &Path,
    batch: &'b RecordBatch,
) -> Result<(&'b arrow_array::StringArray, &'b arrow_array::StringArray)> {
    let column = |name| {
        texts(batch, name)
            .ok_or_else(|| Error::damaged(path, format!("holds no column `{name}`; build the data set again")))
    };
    Ok((column("id")?, column("source")?))
}

fn id(path: &Path, hex: &str) -> Result<[u8; 16]> {
    let id = u128::from_str_radix(hex, 16).map_err(|e| Error::damaged(path, format!("id {hex:?}: {e}")))?;
    Ok(id.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(side: Side, source: u16, columns: u64) -> Record {
        Record { id: [7; 16], side, rule: ABSENT, source, split: 0, columns, text: 3, row: 9 }
    }

    #[test]
    fn records_are_what_they_were() {
        for record in [record(Side::B, 513, u64::MAX - 1), Record { rule: 300, ..record(Side::A, ABSENT, 5) }] {
            assert_eq!(Record::of_bytes(&record.to_bytes()), record);
        }
    }

    #[test]
    fn rows_that_are_there_several_times_are_counted_as_often() {
        let [a, b] = [Side::A, Side::B];
        let became = |records: &[Record]| -> Vec<Became> {
            SameId::of(records).compared().into_iter().map(|(became, ..)| became).collect()
        };
        let both = [record(a, 0, 1), record(b, 0, 1)];
        assert_eq!(became(&both), [Became::Same]);
        assert_eq!(became(&[record(a, 0, 1), record(b, 0, 2)]), [Became::Changed]);
        assert_eq!(became(&[record(a, 0, 1), record(a, 0, 1), record(b, 0, 1)]), [Became::Same, Became::Removed]);
        // Those that are the same go together, wherever they stand.
        let mixed = [record(a, 0, 1), record(a, 0, 2), record(b, 0, 2), record(b, 0, 3), record(b, 0, 4)];
        assert_eq!(became(&mixed), [Became::Same, Became::Changed, Became::Added]);
        let differ: Vec<&str> = record(a, 0, 1).differing(&record(b, 1, 2)).collect();
        assert_eq!(differ, ["source", "columns"]);
    }

    #[test]
    fn the_first_rule_that_dropped_a_row_is_what_became_of_it() {
        let dropped = |rule| Record { rule, ..record(Side::B, ABSENT, 0) };
        let same = SameId::of(&[record(Side::A, 0, 1), dropped(4), dropped(2)]);
        assert_eq!(same.compared()[0].0, Became::Removed);
        assert_eq!([same.fate(Became::Removed), same.fate(Became::Added)], [2, ABSENT]);
    }
}
