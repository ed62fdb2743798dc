//! Single rows of published files, and what their columns hold.

use std::path::Path;

use arrow_array::{
    Array, RecordBatch, StringArray,
    cast::AsArray,
    types::{Int32Type, UInt64Type},
};
use parquet::arrow::{ProjectionMask, arrow_reader::RowSelection};
use setaccio_base::progress::Progress;
use setaccio_dataset::{parquet_file, shard::Position};

use crate::error::{Error, Result};

/// Rows that are read at a time of short columns.
pub const SHORT: usize = 8192;
/// Rows that are read at a time where their texts are among the columns.
pub const LONG: usize = 1024;

/// Read a file with the columns of these names, so many rows at a time, of all its row groups or of some. `each` is given a batch, and how many
/// rows were read before it.
///
/// # Errors
/// The file is missing or damaged, somebody stops it, or what `each` gives.
pub fn each_batch<'n>(
    path: &Path,
    names: impl IntoIterator<Item = &'n str>,
    (rows, groups): (usize, Option<Vec<usize>>),
    progress: &dyn Progress,
    mut each: impl FnMut(&RecordBatch, u64) -> Result<()>,
) -> Result<()> {
    let (_, batches) = parquet_file::own(path, |builder| {
        let mask = ProjectionMask::columns(builder.parquet_schema(), names);
        let builder = builder.with_projection(mask).with_batch_size(rows);
        match groups {
            Some(groups) => builder.with_row_groups(groups),
            None => builder,
        }
    })?;
    let mut first = 0;
    for batch in batches {
        if progress.cancelled() {
            return Err(Error::Interrupted);
        }
        let batch = batch.map_err(|flaw| parquet_file::own_flaw(path, &flaw))?;
        each(&batch, first)?;
        first += batch.num_rows() as u64;
    }
    Ok(())
}

/// Give these rows, ascending, of a file that has `all`, with the columns of these names, to `each`, one by one.
///
/// # Errors
/// The file is missing or damaged, or what `each` gives.
pub fn each_row<'n>(
    path: &Path,
    all: u64,
    rows: &[u64],
    names: impl IntoIterator<Item = &'n str>,
    mut each: impl FnMut(u64, RecordBatch) -> Result<()>,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let place = |row: u64| usize::try_from(row).unwrap_or(usize::MAX);
    let ranges = rows.iter().map(|row| place(*row)..place(*row) + 1);
    let selection = RowSelection::from_consecutive_ranges(ranges, place(all));
    let (_, batches) = parquet_file::own(path, |builder| {
        let mask = ProjectionMask::columns(builder.parquet_schema(), names);
        builder.with_projection(mask).with_row_selection(selection).with_batch_size(1)
    })?;
    for (row, batch) in rows.iter().zip(batches) {
        each(*row, batch.map_err(|flaw| parquet_file::own_flaw(path, &flaw))?)?;
    }
    Ok(())
}

/// The same rows, a batch each.
///
/// # Errors
/// The file is missing or damaged.
pub fn fetch<'n>(
    path: &Path,
    all: u64,
    rows: &[u64],
    names: impl IntoIterator<Item = &'n str>,
) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    each_row(path, all, rows, names, |_, batch| {
        batches.push(batch);
        Ok(())
    })?;
    Ok(batches)
}

/// The texts of a column, if it has any.
pub fn texts<'b>(batch: &'b RecordBatch, name: &str) -> Option<&'b StringArray> {
    batch.column_by_name(name)?.as_string_opt::<i32>()
}

/// A text of a row.
pub fn text(batch: &RecordBatch, name: &str, i: usize) -> Option<String> {
    texts(batch, name).filter(|column| column.is_valid(i)).map(|column| column.value(i).to_owned())
}

/// A number of a row.
pub fn number(batch: &RecordBatch, name: &str, i: usize) -> Option<u64> {
    let column = batch.column_by_name(name)?.as_primitive_opt::<UInt64Type>()?;
    column.is_valid(i).then(|| column.value(i))
}

/// Where a dropped row was read.
pub fn position(batch: &RecordBatch, i: usize) -> Position {
    let column = batch.column_by_name("row_group").and_then(|column| column.as_primitive_opt::<Int32Type>());
    let group = column.filter(|column| column.is_valid(i)).and_then(|column| u32::try_from(column.value(i)).ok());
    Position { row_group: group, row: number(batch, "row", i).unwrap_or(0) }
}

/// The id of the row that a detail says a row repeats.
pub fn repeated_id(detail: &str) -> Option<&str> {
    let is_id = |word: &&str| word.len() == 32 && word.chars().all(|c| c.is_ascii_hexdigit());
    detail.split(|c: char| !c.is_ascii_alphanumeric()).find(is_id)
}
