//! What a page shows of the shards: the first rows of each source, rows that others repeat, and how long rows are.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

use arrow_array::{Array, RecordBatch, StringArray, cast::AsArray, types::Int32Type};
use setaccio_base::{progress::Progress, row::Kind};
use setaccio_dataset::{columns::content_names, ledger::FileEntry, parquet_file};

use super::{
    super::rows::{LONG, SHORT, each_batch, texts},
    bins::Lengths,
    dropped::Place,
};
use crate::error::{Error, Result};

/// Texts are long: so many of them are measured, about, and so many bytes.
const MEASURED_ROWS: u64 = 100_000;
const MEASURED_BYTES: u64 = 200_000_000;

/// What is told by the short columns of all rows.
#[derive(Default)]
pub struct Kept {
    /// The first rows of each source, in the order of the output.
    pub first: BTreeMap<String, Vec<Place>>,
    /// Where the rows are whose ids were asked for.
    pub by_id: HashMap<String, Place>,
    /// Tokens of every row, if there is a column of them.
    pub tokens: Lengths,
}

/// Read the short columns of the shards among `files`: `most` rows of each source are taken, and those of `ids`.
///
/// # Errors
/// A file is missing or damaged, or somebody stops it.
pub fn look(
    out: &Path,
    files: &[FileEntry],
    (most, ids): (usize, &HashSet<String>),
    progress: &dyn Progress,
) -> Result<Kept> {
    let mut kept = Kept::default();
    for (number, entry) in shards(files) {
        let names = ["source", "tokens"].into_iter().chain((!ids.is_empty()).then_some("id"));
        let path = out.join(&entry.path);
        each_batch(&path, names, (SHORT, None), progress, |batch, first| {
            let sources = sources(&path, batch)?;
            let tokens = batch.column_by_name("tokens").and_then(|column| column.as_primitive_opt::<Int32Type>());
            let named = texts(batch, "id");
            for i in 0..batch.num_rows() {
                let (source, place) = (sources.value(i), (number, first + i as u64));
                if let Some(tokens) = tokens {
                    kept.tokens.count(source, u64::try_from(tokens.value(i)).unwrap_or(0));
                }
                match kept.first.get_mut(source) {
                    Some(rows) if rows.len() < most => rows.push(place),
                    Some(_) => {}
                    None => drop(kept.first.insert(source.to_owned(), vec![place])),
                }
                if let Some(id) = named.map(|named| named.value(i)).filter(|id| ids.contains(*id)) {
                    kept.by_id.insert(id.to_owned(), place);
                }
            }
            Ok(())
        })?;
    }
    Ok(kept)
}

/// What is told by the texts of some row groups.
pub struct Measured {
    /// Characters of their rows.
    pub characters: Lengths,
    /// Every so many-th row group was read; 1: all.
    pub every: u64,
    /// Rows that hold each of the marks that were asked for, the first of them.
    pub marked: Vec<Vec<Place>>,
}

/// Read the texts of row groups that lie evenly over the shards among `files`, which hold so many `bytes` of text. Rows lie by a
/// hash, so that these stand for all. `most` rows that hold each of `marks` are taken.
///
/// # Errors
/// A file is missing or damaged, or somebody stops it.
pub fn measure(
    (out, files, kind): (&Path, &[FileEntry], Kind),
    bytes: u64,
    (marks, most): (&[String], usize),
    progress: &dyn Progress,
) -> Result<Measured> {
    let rows: u64 = shards(files).map(|(_, entry)| entry.rows).sum();
    let every = rows.div_ceil(MEASURED_ROWS).max(bytes.div_ceil(MEASURED_BYTES)).max(1);
    let mut measured = Measured { characters: Lengths::default(), every, marked: vec![Vec::new(); marks.len()] };
    let mut group_number = 0;
    for (number, entry) in shards(files) {
        let path = out.join(&entry.path);
        let sizes = group_sizes(&path)?;
        let (mut groups, mut starts, mut start) = (Vec::new(), Vec::new(), 0);
        for (i, size) in sizes.iter().enumerate() {
            if group_number % every == 0 {
                groups.push(i);
                starts.extend(start..start + size);
            }
            group_number += 1;
            start += size;
        }
        if groups.is_empty() {
            continue;
        }
        let names = ["source"].into_iter().chain(content_names(kind).iter().copied());
        each_batch(&path, names, (LONG, Some(groups)), progress, |batch, first| {
            let at = usize::try_from(first).unwrap_or(usize::MAX);
            let sources = sources(&path, batch)?;
            let texts = Texts::of(batch, kind).map_err(|message| Error::damaged(&path, message))?;
            for i in 0..batch.num_rows() {
                measured.characters.count(sources.value(i), texts.of_row(i).map(characters).sum());
                for (mark, found) in marks.iter().zip(&mut measured.marked) {
                    if found.len() < most && texts.of_row(i).any(|text| text.contains(mark.as_str())) {
                        found.push((number, starts.get(at + i).copied().unwrap_or(0)));
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(measured)
}

/// The shards among the files of a ledger, with their numbers.
fn shards(files: &[FileEntry]) -> impl Iterator<Item = (usize, &FileEntry)> {
    files.iter().enumerate().filter(|(_, entry)| entry.path.starts_with("data/"))
}

/// Rows of each row group of a file.
fn group_sizes(path: &Path) -> Result<Vec<u64>> {
    let mut sizes = Vec::new();
    parquet_file::own(path, |builder| {
        let groups = builder.metadata().row_groups();
        sizes.extend(groups.iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0)));
        builder.with_row_groups(Vec::new())
    })?;
    Ok(sizes)
}

fn sources<'b>(path: &Path, batch: &'b RecordBatch) -> Result<&'b StringArray> {
    texts(batch, "source").ok_or_else(|| Error::damaged(path, "holds no column `source`; build the data set again"))
}

/// The texts of rows, where they lie.
enum Texts<'b> {
    Text(&'b StringArray),
    /// Of each side, where a row's messages begin, and the contents of all.
    Turns(Vec<(&'b [i32], &'b StringArray)>),
}

impl<'b> Texts<'b> {
    fn of(batch: &'b RecordBatch, kind: Kind) -> std::result::Result<Self, String> {
        let missing = |name: &str| format!("holds no column `{name}`; build the data set again");
        if kind == Kind::Text {
            return texts(batch, "text").map(Self::Text).ok_or_else(|| missing("text"));
        }
        let side = |name: &&str| {
            let lists = batch.column_by_name(name)?.as_list_opt::<i32>()?;
            let contents = lists.values().as_struct_opt()?.column_by_name("content")?.as_string_opt::<i32>()?;
            Some((lists.value_offsets(), contents))
        };
        let sides = content_names(kind).iter().map(|name| side(name).ok_or_else(|| missing(name)));
        Ok(Self::Turns(sides.collect::<std::result::Result<_, _>>()?))
    }

    fn of_row(&self, i: usize) -> Box<dyn Iterator<Item = &'b str> + '_> {
        match self {
            Self::Text(texts) => Box::new(texts.is_valid(i).then(|| texts.value(i)).into_iter()),
            Self::Turns(sides) => Box::new(sides.iter().flat_map(move |(starts, contents)| {
                let place = |at: usize| usize::try_from(starts[at]).unwrap_or(0);
                (place(i)..place(i + 1)).filter(|at| contents.is_valid(*at)).map(|at| contents.value(at))
            })),
        }
    }
}

/// Characters of a text: bytes that begin one.
fn characters(text: &str) -> u64 {
    text.bytes().filter(|byte| byte & 0xc0 != 0x80).count() as u64
}
