//! What a footer says, held against the file before anything is made of it: how deep and how wide its schema is, and
//! where its columns lie.

use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use setaccio_base::names::short;

use super::thrift::{Compact, Read, Stop, Taken};

/// Groups inside of each other, at most: the library and what makes rows of columns call themselves once for each.
const MAX_DEPTH: usize = 100;

/// Bytes before the first column: the mark `PAR1`.
const START: u64 = 4;

/// Walk the bytes of a footer.
///
/// # Errors
/// What is wrong with it. A schema that is too deep is a limit, and says so.
pub fn walk(bytes: &[u8]) -> Result<(), String> {
    let mut footer = Compact::new(bytes);
    let (mut schema, mut leaves) = (Ok(()), None);
    let walked = footer.fields(|this, id, kind| match id {
        2 => {
            let (count, _) = this.list(kind)?;
            let mut children = Vec::new();
            for _ in 0..count {
                children.push(element(this)?);
            }
            (schema, leaves) = match tree(&children) {
                Ok(leaves) => (Ok(()), Some(leaves)),
                Err(what) => (Err(what), None),
            };
            Ok(Taken::Yes)
        }
        4 => {
            let (count, _) = this.list(kind)?;
            for _ in 0..count {
                row_group(this, leaves)?;
            }
            Ok(Taken::Yes)
        }
        _ => Ok(Taken::No),
    });
    schema?;
    walked.map_err(|_| "its footer is damaged".into())
}

/// How many children a schema's element has.
fn element(this: &mut Compact<'_>) -> Read<i64> {
    let mut children = 0;
    this.fields(|this, id, kind| {
        if id != 5 {
            return Ok(Taken::No);
        }
        children = this.number(kind)?;
        Ok(Taken::Yes)
    })?;
    Ok(children)
}

/// A row group has a column for each leaf of the schema.
fn row_group(this: &mut Compact<'_>, leaves: Option<u64>) -> Read<()> {
    this.fields(|this, id, kind| {
        if id != 1 {
            return Ok(Taken::No);
        }
        let (count, kind) = this.list(kind)?;
        if leaves.is_some_and(|leaves| leaves != count) {
            return Err(Stop::Bad);
        }
        (0..count).try_for_each(|_| this.skip(kind))?;
        Ok(Taken::Yes)
    })
}

/// How many leaves a schema has whose elements, depth first, have so many children each.
fn tree(children: &[i64]) -> Result<u64, String> {
    let (mut open, mut leaves): (Vec<i64>, u64) = (Vec::new(), 0);
    for (i, count) in children.iter().enumerate() {
        if let Some(left) = open.last_mut() {
            *left -= 1;
        } else if i > 0 {
            return Err("its schema has elements that belong nowhere".into());
        }
        if *count < 0 || *count > i64::try_from(children.len()).unwrap_or(i64::MAX) {
            return Err(format!("its schema has a group of {count} fields"));
        }
        if *count == 0 && i > 0 {
            leaves += 1;
        } else if *count > 0 {
            open.push(*count);
        }
        if open.len() > MAX_DEPTH {
            return Err(format!("unsupported: its schema is nested more than {MAX_DEPTH} levels deep"));
        }
        while open.pop_if(|left| *left == 0).is_some() {}
    }
    if open.is_empty() { Ok(leaves) } else { Err("its schema ends early".into()) }
}

/// Hold what a footer says against the file, whose footer begins at byte `end`.
///
/// # Errors
/// What is wrong with it.
pub fn check(metadata: &ParquetMetaData, end: u64) -> Result<(), String> {
    let mut rows = 0_i64;
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let wrong = |what: String| format!("row group {number}: {what}");
        let (there, bytes) = (group.num_rows(), group.total_byte_size());
        if there < 0 || bytes < 0 {
            return Err(wrong(format!("it is said to have {there} rows and {bytes} bytes")));
        }
        rows = rows.checked_add(there).ok_or_else(|| wrong("it is said to have too many rows".into()))?;
        for column in group.columns() {
            column_chunk(column, there, end)
                .map_err(|what| wrong(format!("column `{}` {what}", short(&column.column_path().string()))))?;
        }
    }
    let said = metadata.file_metadata().num_rows();
    if said == rows { Ok(()) } else { Err(format!("its row groups have {rows} rows, and it says {said}")) }
}

fn column_chunk(column: &ColumnChunkMetaData, rows: i64, end: u64) -> Result<(), String> {
    let (packed, unpacked) = (column.compressed_size(), column.uncompressed_size());
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let [first, data, length] = [start, column.data_page_offset(), packed].map(u64::try_from);
    let inside = match (first, data, length) {
        (Ok(first), Ok(data), Ok(length)) => {
            let last = first.checked_add(length);
            length == 0 || (first >= START && data >= first && last.is_some_and(|last| data <= last && last <= end))
        }
        _ => false,
    };
    if !inside || unpacked < 0 {
        return Err(format!(
            "is said to lie at byte {start}, to be {packed} bytes long and {unpacked} unpacked, which is not in the file"
        ));
    }
    let values = column.num_values();
    let repeated = column.column_descr().max_rep_level() > 0;
    if values < rows || (values > rows && !repeated) {
        return Err(format!("is said to have {values} values in {rows} rows"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_a_tree_of_bounded_depth() {
        let deep = |n: usize| [vec![1; n], vec![0]].concat();
        for (what, children, expected) in [
            ("a root alone", vec![0], Ok(0)),
            ("two columns, one a list", vec![2, 0, 1, 1, 0], Ok(2)),
            ("as deep as may be", deep(MAX_DEPTH), Ok(1)),
            ("one deeper", deep(MAX_DEPTH + 1), Err("nested more than 100 levels")),
            ("a child that is missing", vec![2, 0], Err("ends early")),
            ("one too many", vec![1, 0, 0], Err("belong nowhere")),
            ("fewer than none", vec![1, -1], Err("a group of -1 fields")),
            ("more than there are elements", vec![i64::from(i32::MAX), 0], Err("a group of 2147483647 fields")),
        ] {
            match (tree(&children), expected) {
                (Ok(leaves), Ok(expected)) => assert_eq!(leaves, expected, "{what}"),
                (Err(said), Err(expected)) => assert!(said.contains(expected), "{what}: {said}"),
                (found, expected) => panic!("{what}: {found:?}, not {expected:?}"),
            }
        }
    }
}
