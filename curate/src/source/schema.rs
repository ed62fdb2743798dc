//! How the columns of a known kind of source become a row.

use std::collections::BTreeMap;

use setaccio_base::row::{Content, Kind, Row};

use super::{
    conversation,
    record::{Reading, Record},
};

/// A column that a schema looks at.
#[derive(Clone, Copy, Debug)]
pub struct ColumnSpec {
    /// Its name.
    pub name: &'static str,
    /// Whether a source without it is refused.
    pub required: bool,
    /// What it holds.
    pub about: &'static str,
}

/// A required column.
pub const fn required(name: &'static str, about: &'static str) -> ColumnSpec {
    ColumnSpec { name, required: true, about }
}

/// An optional column.
pub const fn optional(name: &'static str, about: &'static str) -> ColumnSpec {
    ColumnSpec { name, required: false, about }
}

/// How columns become a row.
pub trait Schema: Sync {
    /// The value of `schema` in a recipe.
    fn name(&self) -> &'static str;
    /// What its rows are.
    fn kind(&self) -> Kind;
    /// Which public data sets look like this.
    fn about(&self) -> &'static str;
    /// The columns that it takes; those beside them stay columns.
    fn columns(&self) -> &'static [ColumnSpec];
    /// Columns that hold true or false, which are words in a format without types.
    fn flags(&self) -> &'static [&'static str] {
        &[]
    }
    /// A row of such a set, as JSON.
    fn example(&self) -> &'static str;
    /// Take the content out of a record.
    ///
    /// # Errors
    /// What is missing or of the wrong type.
    fn content(&self, record: &mut Reading) -> Result<Content, String>;
}

/// Give the columns of a record the schema's names.
pub fn rename(record: &mut Record, rename: &BTreeMap<String, String>) {
    // All are taken before one is put back, so that two columns can change names.
    let taken: Vec<_> = rename.iter().map(|(column, here)| (column, record.shift_remove(here))).collect();
    record.extend(taken.into_iter().filter_map(|(column, value)| Some((column.clone(), value?))));
}

/// Make a row of a record. `rename` maps a schema's column to the name it has here.
///
/// # Errors
/// What is wrong with the record.
pub fn row(schema: &dyn Schema, mut record: Record, rename: &BTreeMap<String, String>) -> Result<Row, String> {
    self::rename(&mut record, rename);
    if schema.kind() != Kind::Text {
        conversation::refuse_media(&record)?;
    }
    let mut reading = Reading::from(record);
    let content = schema.content(&mut reading)?;
    let Reading { columns, renamed } = reading;
    Ok(Row { content, language: None, columns, renamed })
}
