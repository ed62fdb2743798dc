//! A finished build as a person walks through it: lists of rows by rule and source, the lines of a list, and one row whole.
//!
//! How many rows a list has is the ledger's word. Which they are is found out row group by row group when somebody looks: held is how many
//! rows of the list each row group has, and of the last one which; rows are read when they are looked at. So a build of any size is opened
//! at once, and memory does not grow with its rows.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{
    Array, StringArray,
    cast::AsArray,
    types::{Float64Type, Int32Type, Int64Type, UInt64Type},
};
use arrow_schema::DataType;
use parquet::{
    arrow::arrow_reader::ArrowReaderOptions,
    file::metadata::{ParquetMetaData, RowGroupMetaData},
};
use setaccio_base::{page::PageRow, progress::Progress};
use setaccio_dataset::{columns::content_names, folder::LEDGER, parquet_file, recipe::LeftOut};

use super::{
    card::{self, edits},
    page::{Place, Row},
    rows::{LONG, SHORT, each_batch, each_row, text, texts},
    settings,
    why::{self, Build, Fate, TOLD, folded},
};
use crate::{
    error::{Error, Result},
    folder::is_publishing,
    plan::identity::Identity,
};

/// Bytes of a row's texts in a list, about.
const LINE_BYTES: usize = 600;

/// Which rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those of the data set.
    Kept,
    /// All that were dropped.
    Dropped,
    /// Those that a rule dropped.
    By {
        /// The stage.
        stage: String,
        /// The rule.
        rule: String,
    },
}

/// A list of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Which they are.
    pub which: Which,
    /// The source that all are of; `None`: of any.
    pub source: Option<String>,
    /// How many there are, as the ledger says.
    pub rows: u64,
    /// How many of them files hold; others are only counted.
    pub held: u64,
    /// What the rule edits, and what it is told to do.
    pub about: String,
}

/// What became of a source's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRows {
    /// Its name.
    pub source: String,
    /// Rows that were read.
    pub read: u64,
    /// Rows that were kept.
    pub kept: u64,
}

/// Which way to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To rows behind.
    On,
    /// To rows before.
    Back,
}

/// What was found so far of the rows of a list.
pub struct Found {
    list: List,
    /// Row groups that hold some, in order.
    chunks: Vec<Chunk>,
    /// Rows in these.
    rows: u64,
    /// Row groups of the current file that were not looked at.
    ahead: VecDeque<Group>,
    /// The number in the ledger of the file after it.
    next_file: usize,
    /// Which rows of one chunk the list has.
    which: Option<(usize, Vec<u64>)>,
    /// Which rows of one chunk say some words.
    saying: Option<(usize, String, Vec<u64>)>,
}

/// A row group that holds rows of a list.
struct Chunk {
    group: Group,
    /// Rows of the list before it, and in it.
    before: u64,
    rows: u64,
}

/// A row group of a file.
#[derive(Clone, Copy)]
struct Group {
    /// The file's number in the ledger, and its own there.
    file: usize,
    number: usize,
    /// Its first row's number in the file, and how many it has.
    first: u64,
    rows: u64,
    /// Whether all its rows are of the list, or none is, where its statistics tell.
    all: Option<bool>,
}

/// A row, whole.
pub struct Opened {
    /// What it says, and what is marked in it.
    pub row: Row,
    /// What became of it; where the row is that it repeats is not looked for.
    pub fate: Fate,
    /// What else the file holds of it: names and values.
    pub columns: Vec<(String, String)>,
}

/// A finished build.
pub struct Browser<'a> {
    build: Build<'a>,
    /// The ledger's file as it was before it was read.
    ledger: Option<Identity>,
}

impl<'a> Browser<'a> {
    /// The build in `out`.
    ///
    /// # Errors
    /// There is none, or it is not as it was written.
    pub fn open(out: &'a Path) -> Result<Self> {
        let ledger = Identity::of(&out.join(LEDGER)).ok();
        card::sound(out)?;
        Ok(Self { build: Build::open(out)?, ledger })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.build.out
    }

    /// Whether the files in the folder may be another build's by now: one is being put in place, which puts the ledger there last, or was.
    pub fn is_replaced(&self) -> bool {
        let out = self.build.out;
        is_publishing(out) || Identity::of(&out.join(LEDGER)).ok() != self.ledger
    }

    /// What the data set is called.
    pub fn title(&self) -> &str {
        &self.build.lock.recipe.title
    }

    /// The sources, in the recipe's order.
    pub fn sources(&self) -> Vec<SourceRows> {
        let stages = &self.build.ledger.stages;
        let [read, kept] = [stages.first(), stages.last()].map(|stage| stage.map_or(&[][..], |stage| &stage.sources));
        let kept: BTreeMap<&str, u64> = kept.iter().map(|of| (of.source.as_str(), of.flow.rows_out)).collect();
        let rows = |source: &str| kept.get(source).copied().unwrap_or(0);
        read.iter()
            .map(|of| SourceRows { source: of.source.clone(), read: of.flow.rows_in, kept: rows(&of.source) })
            .collect()
    }

    /// The lists of all rows, or of those of a source: what was kept, what was dropped, and what each rule dropped, in their order.
    pub fn lists(&self, source: Option<&str>) -> Vec<List> {
        let Build { ledger, lock, .. } = &self.build;
        let of_source = source.map(|source| ledger.of_source(source));
        let stages = &of_source.as_ref().unwrap_or(ledger).stages;
        let counted = lock.recipe.sample.as_ref().is_some_and(|sample| sample.left_out == LeftOut::Count);
        let kept = stages.last().map_or(0, |stage| stage.flow.rows_out);
        let list = |which, [rows, held]: [u64; 2], about: String| List {
            which,
            source: source.map(str::to_owned),
            rows,
            held,
            about,
        };
        let mut by = Vec::new();
        for stage in stages {
            for rule in &stage.rules {
                let rows = rule.tally.dropped;
                let held = if counted && stage.stage == "sample" { 0 } else { rows };
                let told = settings::told(&lock.recipe, &stage.stage, &rule.rule);
                let about: Vec<String> =
                    [edits(&rule.tally)].into_iter().filter(|edits| !edits.is_empty()).chain(told).collect();
                let which = Which::By { stage: stage.stage.clone(), rule: rule.rule.clone() };
                by.push(list(which, [rows, held], about.join("; ")));
            }
        }
        let dropped = by.iter().fold([0, 0], |[rows, held], list| [rows + list.rows, held + list.held]);
        let mut lists = vec![list(Which::Kept, [kept; 2], String::new()), list(Which::Dropped, dropped, String::new())];
        lists.extend(by);
        lists
    }

    /// The place of row `n` of a list, from 0.
    ///
    /// # Errors
    /// A file is missing or damaged, or somebody stops it.
    pub fn place(&self, found: &mut Found, n: u64, progress: &dyn Progress) -> Result<Option<Place>> {
        while found.rows <= n {
            if !self.look_on(found, progress)? {
                return Ok(None);
            }
        }
        let at = found.chunks.partition_point(|chunk| chunk.before <= n) - 1;
        let Chunk { group, before, .. } = found.chunks[at];
        let rows = self.rows_of(found, at, progress)?;
        Ok(usize::try_from(n - before).ok().and_then(|n| rows.get(n)).map(|row| (group.file, *row)))
    }

    /// The rows at these places of one list as its lines: cut, with what is marked.
    ///
    /// # Errors
    /// A file is missing or damaged.
    pub fn lines(&self, places: &[Place]) -> Result<Vec<PageRow>> {
        let mut lines = Vec::new();
        for of_file in places.chunk_by(|a, b| a.0 == b.0) {
            let file = of_file[0].0;
            let numbers: Vec<u64> = of_file.iter().map(|(_, row)| *row).collect();
            let entry = &self.build.ledger.files[file];
            let kind = self.build.lock.recipe.kind;
            let names = TOLD.iter().copied().chain(["language"]).chain(content_names(kind).iter().copied());
            each_row(&self.path(file), entry.rows, &numbers, names, |row, batch| {
                lines.push(Row::of(&batch, kind, (&entry.path, row)).shown(None, LINE_BYTES));
                Ok(())
            })?;
        }
        Ok(lines)
    }

    /// The row at a place, whole.
    ///
    /// # Errors
    /// A file is missing or damaged, or has no such row.
    pub fn row(&self, (file, number): Place) -> Result<Opened> {
        let (entry, path, kind) = (&self.build.ledger.files[file], self.path(file), self.build.lock.recipe.kind);
        let (_, schema) = footer(&path)?;
        let names = schema.iter().map(String::as_str);
        let mut opened = None;
        each_row(&path, entry.rows, &[number], names, |_, batch| {
            let row = Row::of(&batch, kind, (&entry.path, number));
            let fate = self.build.fate(entry, number, &batch);
            let shown = |name: &String| !TOLD.contains(&name.as_str()) && !content_names(kind).contains(&name.as_str());
            let beside = schema.iter().filter(|name| shown(name)).filter_map(|name| {
                let value = value(batch.column_by_name(name)?.as_ref())?;
                Some((name.clone(), value))
            });
            let mut columns: Vec<(String, String)> = beside.collect();
            columns.extend(row.further());
            opened = Some(Opened { row, fate, columns });
            Ok(())
        })?;
        opened.ok_or_else(|| Error::damaged(&path, format!("has no row {number}; build the data set again")))
    }

    /// Where the row is that a dropped one repeats, as `why` tells.
    ///
    /// # Errors
    /// A file is missing or damaged, or somebody stops it.
    pub fn repeated(&self, detail: &str, progress: &dyn Progress) -> Result<Option<why::Place>> {
        self.build.repeated(detail, progress)
    }

    /// A place by the number of its file.
    pub fn number(&self, place: &why::Place) -> Option<Place> {
        let file = self.build.ledger.files.iter().position(|entry| entry.path == place.file)?;
        Some((file, place.row))
    }

    /// The number in a list of the next row from `from` on, or of the last one before it, that says `words`, whatever their case and white
    /// space, as `why` finds them; or whose id begins so, or that was dropped for them.
    ///
    /// # Errors
    /// A file is missing or damaged, or somebody stops it.
    pub fn search(
        &self,
        found: &mut Found,
        (from, way): (u64, Way),
        words: &str,
        progress: &dyn Progress,
    ) -> Result<Option<u64>> {
        let words = folded(words);
        match way {
            Way::On => {
                let mut at = found.chunks.partition_point(|chunk| chunk.before + chunk.rows <= from);
                loop {
                    while found.chunks.len() <= at {
                        if !self.look_on(found, progress)? {
                            return Ok(None);
                        }
                    }
                    let saying = self.saying(found, at, &words, progress)?;
                    if let Some(n) = saying.iter().find(|n| **n >= from) {
                        return Ok(Some(*n));
                    }
                    at += 1;
                }
            }
            Way::Back => {
                for at in (0..found.chunks.partition_point(|chunk| chunk.before < from)).rev() {
                    let saying = self.saying(found, at, &words, progress)?;
                    if let Some(n) = saying.iter().rfind(|n| **n < from) {
                        return Ok(Some(*n));
                    }
                }
                Ok(None)
            }
        }
    }

    /// Look at the next row group that holds rows of the list; false if there is none.
    fn look_on(&self, found: &mut Found, progress: &dyn Progress) -> Result<bool> {
        loop {
            let Some(group) = found.ahead.front().copied() else {
                let folder = if found.list.which == Which::Kept { "data/" } else { "rejects/" };
                let mut files = self.build.ledger.files.iter().enumerate().skip(found.next_file);
                let Some((file, _)) = files.find(|(_, entry)| entry.path.starts_with(folder)) else {
                    return Ok(false);
                };
                found.ahead = self.groups(file, &found.list)?;
                found.next_file = file + 1;
                continue;
            };
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            let chunk = found.chunks.len();
            let rows = match group.all {
                Some(true) => group.rows,
                Some(false) => 0,
                None => {
                    let rows = self.matching(&found.list, group, progress)?;
                    let count = rows.len() as u64;
                    found.which = Some((chunk, rows)).filter(|_| count > 0).or(found.which.take());
                    count
                }
            };
            found.ahead.pop_front();
            if rows > 0 {
                found.chunks.push(Chunk { group, before: found.rows, rows });
                found.rows += rows;
                return Ok(true);
            }
        }
    }

    /// The row groups of a file.
    fn groups(&self, file: usize, list: &List) -> Result<VecDeque<Group>> {
        let (metadata, _) = footer(&self.path(file))?;
        let (mut groups, mut first) = (VecDeque::new(), 0);
        for (number, group) in metadata.row_groups().iter().enumerate() {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            let told: Vec<Option<bool>> = list.wanted().iter().map(|(name, value)| all(group, name, value)).collect();
            let all = if told.contains(&Some(false)) {
                Some(false)
            } else {
                told.iter().all(|told| *told == Some(true)).then_some(true)
            };
            groups.push_back(Group { file, number, first, rows, all });
            first += rows;
        }
        Ok(groups)
    }

    /// Which rows of a chunk the list has, by their numbers in the file.
    fn rows_of<'f>(&self, found: &'f mut Found, at: usize, progress: &dyn Progress) -> Result<&'f [u64]> {
        if found.which.as_ref().is_none_or(|(chunk, _)| *chunk != at) {
            let group = found.chunks[at].group;
            let rows = match group.all {
                Some(true) => (group.first..group.first + group.rows).collect(),
                _ => self.matching(&found.list, group, progress)?,
            };
            found.which = Some((at, rows));
        }
        Ok(found.which.as_ref().map_or(&[][..], |(_, rows)| rows))
    }

    /// The rows of a row group that are of the list.
    fn matching(&self, list: &List, group: Group, progress: &dyn Progress) -> Result<Vec<u64>> {
        let (path, wanted) = (self.path(group.file), list.wanted());
        let mut rows = Vec::new();
        let names = wanted.iter().map(|(name, _)| *name);
        each_batch(&path, names, (SHORT, Some(vec![group.number])), progress, |batch, first| {
            let columns: Option<Vec<(&StringArray, &str)>> =
                wanted.iter().map(|(name, value)| Some((texts(batch, name)?, *value))).collect();
            let columns = columns
                .ok_or_else(|| Error::damaged(&path, "lacks a column of rules or sources; build the data set again"))?;
            let is =
                |i: &usize| columns.iter().all(|(column, value)| column.is_valid(*i) && column.value(*i) == *value);
            rows.extend((0..batch.num_rows()).filter(is).map(|i| group.first + first + i as u64));
            Ok(())
        })?;
        Ok(rows)
    }

    /// The numbers in the list of the rows of a chunk that say these words.
    fn saying<'f>(&self, found: &'f mut Found, at: usize, words: &str, progress: &dyn Progress) -> Result<&'f [u64]> {
        if found.saying.as_ref().is_none_or(|(chunk, said, _)| (*chunk, said.as_str()) != (at, words)) {
            let Chunk { group, before, .. } = found.chunks[at];
            let mut left = self.rows_of(found, at, progress)?.iter().zip(before..).peekable();
            let content = content_names(self.build.lock.recipe.kind).iter().copied();
            let names = ["id", "detail", "raw"].into_iter().chain(content);
            let mut saying = Vec::new();
            each_batch(&self.path(group.file), names, (LONG, Some(vec![group.number])), progress, |batch, first| {
                for i in 0..batch.num_rows() {
                    let row = group.first + first + i as u64;
                    let Some((_, n)) = left.next_if(|(of, _)| **of == row) else { continue };
                    let told = text(batch, "detail", i).is_some_and(|detail| folded(&detail).contains(words));
                    let is = told
                        || text(batch, "id", i).is_some_and(|id| id.starts_with(words))
                        || self.build.texts(batch, i).iter().any(|text| folded(text).contains(words));
                    saying.extend(is.then_some(n));
                }
                Ok(())
            })?;
            found.saying = Some((at, words.to_owned(), saying));
        }
        Ok(found.saying.as_ref().map_or(&[][..], |(.., saying)| saying))
    }

    fn path(&self, file: usize) -> PathBuf {
        self.build.out.join(&self.build.ledger.files[file].path)
    }
}

impl List {
    /// Its name.
    pub fn name(&self) -> &str {
        match &self.which {
            Which::Kept => "kept",
            Which::Dropped => "dropped",
            Which::By { rule, .. } => rule,
        }
    }

    /// The stage of its rule.
    pub fn stage(&self) -> &str {
        if let Which::By { stage, .. } = &self.which { stage } else { "" }
    }

    /// Columns, and what they hold in its rows.
    fn wanted(&self) -> Vec<(&'static str, &str)> {
        let by = match &self.which {
            Which::By { stage, rule } => vec![("stage", stage.as_str()), ("rule", rule)],
            Which::Kept | Which::Dropped => Vec::new(),
        };
        by.into_iter().chain(self.source.iter().map(|source| ("source", source.as_str()))).collect()
    }
}

impl Found {
    /// Nothing yet.
    pub fn new(list: List) -> Self {
        Self { list, chunks: Vec::new(), rows: 0, ahead: VecDeque::new(), next_file: 0, which: None, saying: None }
    }

    /// Of what.
    pub fn list(&self) -> &List {
        &self.list
    }
}

/// What a file says of itself, and the names of its columns.
fn footer(path: &Path) -> Result<(Arc<ParquetMetaData>, Vec<String>)> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let metadata = parquet_file::load(&file, ArrowReaderOptions::new());
    let metadata = metadata.map_err(|flaw| parquet_file::own_flaw(path, &flaw))?;
    let names = metadata.schema().fields().iter().map(|field| field.name().clone()).collect();
    Ok((metadata.metadata().clone(), names))
}

/// Whether all rows of a row group hold this in a column, or none does; `None`: its statistics do not tell.
fn all(group: &RowGroupMetaData, name: &str, value: &str) -> Option<bool> {
    let column = group.columns().iter().find(|column| column.column_path().string() == name)?;
    let statistics = column.statistics()?;
    let (min, max, value) = (statistics.min_bytes_opt()?, statistics.max_bytes_opt()?, value.as_bytes());
    // A bound that was cut is still a bound.
    if value < min || max < value {
        return Some(false);
    }
    (min == value && max == value && statistics.null_count_opt() == Some(0)).then_some(true)
}

/// The first value of a column, of the types that builds write beside texts.
fn value(column: &dyn Array) -> Option<String> {
    if column.is_empty() || column.is_null(0) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(0).to_owned(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(0).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(0).to_string(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(0).to_string(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(0).to_string(),
        DataType::Boolean => column.as_boolean().value(0).to_string(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_by_their_types() {
        use arrow_array::{BooleanArray, Float64Array, Int32Array};
        let none: Option<i32> = None;
        for (column, expected) in [
            (&StringArray::from(vec!["a"]) as &dyn Array, Some("a")),
            (&Int32Array::from(vec![-3]), Some("-3")),
            (&Float64Array::from(vec![0.25]), Some("0.25")),
            (&BooleanArray::from(vec![true]), Some("true")),
            (&Int32Array::from(vec![none]), None),
        ] {
            assert_eq!(value(column).as_deref(), expected);
        }
    }
}
