//! Where a Parquet file holds a text: what must not leave this machine is looked for in every column, in lists and structs too.

use std::{fs::File, path::Path};

use arrow_array::{Array, cast::AsArray};
use arrow_schema::DataType;
use parquet::arrow::{ProjectionMask, arrow_reader::ArrowReaderOptions};
use setaccio_base::{Error, Result};

use crate::{
    parquet_file::{self, PAGES, own_flaw},
    row_groups::{Position, RowGroups},
};

/// The first row of the file at `path` with a text in it that holds `wanted`, and the name of its column.
///
/// # Errors
/// The file is no whole Parquet file, or `cancelled` says stop.
pub fn find(path: &Path, wanted: &str, cancelled: &dyn Fn() -> bool) -> Result<Option<(Position, String)>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let metadata = parquet_file::load(&file, ArrowReaderOptions::new()).map_err(|flaw| own_flaw(path, &flaw))?;
    let groups = u32::try_from(metadata.metadata().num_row_groups()).unwrap_or(u32::MAX);
    let open = move || file.try_clone();
    for batch in RowGroups::new(open, metadata, ProjectionMask::all(), 0..groups, 0, PAGES) {
        if cancelled() {
            return Err(Error::Interrupted);
        }
        let batch = batch.map_err(|fault| own_flaw(path, &fault.flaw))?;
        for (column, field) in batch.rows.columns().iter().zip(batch.rows.schema().fields()) {
            if let Some(at) = holds(column, wanted) {
                return Ok(Some((batch.place(at), field.name().clone())));
            }
        }
    }
    Ok(None)
}

/// The first row of an array with a text that holds `wanted`.
fn holds(array: &dyn Array, wanted: &str) -> Option<usize> {
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().position(|text| text.is_some_and(|t| t.contains(wanted))),
        DataType::LargeUtf8 => {
            array.as_string::<i64>().iter().position(|text| text.is_some_and(|t| t.contains(wanted)))
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let at = holds(list.values(), wanted)?;
            list.value_offsets().iter().rposition(|start| usize::try_from(*start).is_ok_and(|start| start <= at))
        }
        DataType::Struct(_) => array.as_struct().columns().iter().filter_map(|column| holds(column, wanted)).min(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, RecordBatch, StringArray,
        builder::{ListBuilder, StringBuilder, StructBuilder},
    };
    use arrow_schema::{Field, Fields};
    use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};

    use super::*;

    #[test]
    fn a_text_is_found_in_any_column_by_its_row() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        let path = dir.path().join("a.parquet");
        let ids: StringArray = (0..10).map(|i| (i % 3 > 0).then(|| format!("id {i}"))).collect();
        let ids: ArrayRef = Arc::new(ids);
        let fields = Fields::from(vec![Field::new("content", DataType::Utf8, true)]);
        let turn = StructBuilder::new(fields, vec![Box::new(StringBuilder::new())]);
        let mut turns = ListBuilder::new(turn);
        for i in 0..10 {
            // Lists of none, one, two, three turns.
            for j in 0..i % 4 {
                let turn = turns.values();
                if let Some(content) = turn.field_builder::<StringBuilder>(0) {
                    content.append_value(format!("turn {j} of {i}, a secret"));
                }
                turn.append(true);
            }
            turns.append(true);
        }
        let turns: ArrayRef = Arc::new(turns.finish());
        let batch = RecordBatch::try_from_iter([("id", ids), ("messages", turns)]).unwrap_or_else(|e| panic!("{e}"));
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(4)).build();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap_or_else(|e| panic!("{e}"));
        writer.write(&batch).and_then(|()| writer.close()).unwrap_or_else(|e| panic!("{e}"));
        let found = |wanted: &str| {
            let found = find(&path, wanted, &|| false)?;
            Ok::<_, Error>(found.map(|(at, column)| (at.row_group.unwrap_or(9), at.row, column)))
        };
        assert_eq!(found("id 7")?, Some((1, 7, "id".into())));
        assert_eq!(found("turn 2 of 7, a secret")?, Some((1, 7, "messages".into())));
        assert_eq!(found("turn 0 of 9")?, Some((2, 9, "messages".into())));
        assert_eq!(found("secret")?, Some((0, 1, "messages".into())));
        assert_eq!(found("nobody says it")?, None);
        Ok(())
    }
}
