//! How the columns of a known kind of source become a row.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;
use setaccio_base::{
    row::{Content, Kind, Row},
    suggest,
};
use setaccio_dataset::recipe::Source;
use setaccio_templates::ColumnTemplate;

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

/// How the columns of a source become those of its schema.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    /// A schema's column, and the name that it has in this source.
    pub rename: BTreeMap<String, String>,
    /// A schema's column, and the template that makes it of the columns of this source.
    pub templates: Arc<[(String, ColumnTemplate)]>,
    /// The schema's columns.
    columns: &'static [ColumnSpec],
}

impl Mapping {
    /// That of a source, whose schema is this one.
    ///
    /// # Errors
    /// A template that is none, of a column that the schema has not or that is renamed too, or all of which are the same for all rows.
    pub fn new(source: &Source, schema: &dyn Schema) -> Result<Self, String> {
        let mut templates = Vec::new();
        for (column, text) in &source.template {
            let names = || schema.columns().iter().map(|column| column.name);
            if names().all(|name| name != column) {
                let near = suggest::nearest(column, names());
                let columns = names().collect::<Vec<_>>().join(", ");
                return Err(format!("template.{column}: the schema {} takes {columns}{near}", schema.name()));
            }
            if source.rename.contains_key(column) {
                return Err(format!("template.{column}: `rename` names the same column; keep one of them"));
            }
            if text.trim().is_empty() {
                return Err(format!(
                    "template.{column}: it is empty: write what the column is made of, or take it out"
                ));
            }
            let template = ColumnTemplate::new(text).map_err(|e| format!("template.{column}: {e}"))?;
            templates.push((column.clone(), template));
        }
        if !templates.is_empty() && templates.iter().all(|(_, template)| template.columns().next().is_none()) {
            return Err("template: no column is read, so that every row would be the same: write `{{ COLUMN }}`".into());
        }
        Ok(Self { rename: source.rename.clone(), templates: templates.into(), columns: schema.columns() })
    }

    /// Columns that templates read, by their names in this source.
    pub fn read(&self) -> impl Iterator<Item = &str> {
        self.templates.iter().flat_map(|(_, template)| template.columns())
    }

    /// Whether a template makes this column of the schema.
    pub fn makes(&self, column: &str) -> bool {
        self.templates.iter().any(|(made, _)| made == column)
    }

    fn requires(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known.required && known.name == column)
    }

    /// Columns that templates ask for and that this record has not.
    fn absent(&self, record: &Record) -> Vec<String> {
        let asked: BTreeSet<&str> = self.templates.iter().flat_map(|(_, template)| template.optional()).collect();
        let absent = asked.into_iter().filter(|name| record.get(*name).is_none_or(Value::is_null));
        absent.map(str::to_owned).collect()
    }

    /// Give the columns of a record the schema's names, and make those that templates make; of the columns that they read the
    /// `kept` ones stay.
    ///
    /// # Errors
    /// A template refuses the record.
    pub fn apply(&self, record: &mut Record, kept: &[String]) -> Result<(), String> {
        let make = |(column, template): &(String, ColumnTemplate)| match template.render(record) {
            Ok(text) if text.trim().is_empty() && self.requires(column) => {
                Err(format!("template.{column} makes nothing of this row, and the schema needs it"))
            }
            Ok(text) => Ok((column.clone(), Value::String(text))),
            Err(e) => Err(format!("template.{column} {e}")),
        };
        let made: Vec<_> = self.templates.iter().map(make).collect::<Result<_, String>>()?;
        // What the schema takes as it is, by its own name or another, is still to be read.
        let taken = |name: &str| {
            self.rename.values().any(|here| here == name) || self.columns.iter().any(|column| column.name == name)
        };
        for name in self.read().filter(|name| !taken(name) && !kept.iter().any(|kept| kept == name)) {
            record.shift_remove(name);
        }
        rename(record, &self.rename);
        record.extend(made);
        Ok(())
    }
}

/// Give the columns of a record the schema's names.
pub fn rename(record: &mut Record, rename: &BTreeMap<String, String>) {
    // All are taken before one is put back, so that two columns can change names.
    let taken: Vec<_> = rename.iter().map(|(column, here)| (column, record.shift_remove(here))).collect();
    record.extend(taken.into_iter().filter_map(|(column, value)| Some((column.clone(), value?))));
}

/// Make a row of a record, in which the `kept` columns stay.
///
/// # Errors
/// What is wrong with the record.
pub fn row(schema: &dyn Schema, mut record: Record, mapping: &Mapping, kept: &[String]) -> Result<Row, String> {
    let absent = mapping.absent(&record);
    mapping.apply(&mut record, kept)?;
    if schema.kind() != Kind::Text {
        conversation::refuse_media(&record)?;
    }
    let mut reading = Reading::from(record);
    let content = schema.content(&mut reading)?;
    let Reading { columns, renamed } = reading;
    Ok(Row { content, language: None, columns, renamed, absent })
}
