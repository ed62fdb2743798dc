//! What there is to ask in a folder, by name.

use std::path::Path;

use polars::prelude::DataFrame;
use serde_json::json;
use setaccio_base::{names::Names, run_lock, suggest::nearest};
use setaccio_dataset::folder::LEDGER;

use crate::{
    builds,
    error::{Error, Result},
    frame::{
        self,
        Holds::{Integer, Text},
        fields,
    },
    runs,
    table::{Table, type_name},
};

/// The tables of a folder.
pub struct Tables(pub(crate) Vec<Table>);

impl Tables {
    /// Those of the build, run or chain in `folder`.
    ///
    /// # Errors
    /// There is none, or a file is not what was written.
    pub fn open(folder: &Path) -> Result<Self> {
        let there = |name: &str| folder.join(name).is_file();
        if there(LEDGER) || !(there(runs::CHAIN) || there(run_lock::NAME)) {
            builds::tables(folder).map(Self)
        } else if there(runs::CHAIN) {
            runs::of_chain(folder).map(Self)
        } else {
            runs::of_run(folder).map(Self)
        }
    }

    /// Each column of each table: `table`, `rows`, `column`, `type`.
    ///
    /// # Errors
    /// None that is expected.
    pub fn list(&self) -> Result<DataFrame> {
        let column = |table: &Table, name: &str, kind: String| {
            fields(&json!({"table": table.name, "rows": table.rows, "column": name, "type": kind}))
        };
        let rows: Vec<_> = self
            .0
            .iter()
            .flat_map(|table| {
                table
                    .columns
                    .iter()
                    .map(|(name, kind)| column(table, name.as_str(), type_name(kind)))
                    .collect::<Vec<_>>()
            })
            .collect();
        let columns = [("table", Text), ("rows", Integer), ("column", Text), ("type", Text)];
        Ok(frame::table("tables", &columns, &rows)?.frame.collect()?)
    }

    /// What is said of a name that is no table's.
    pub(crate) fn no_table(&self, name: &str) -> Error {
        let names: Vec<&str> = self.0.iter().map(|table| table.name).collect();
        let near = nearest(name, names.iter().copied());
        Error::Query(format!("there is no table `{name}`{near}; there are {}", names.join(", ")))
    }

    /// What is said of a name that is no column's of the tables that are asked.
    pub(crate) fn no_column(&self, name: &str, asked: &[String]) -> Error {
        let asked: Vec<&Table> = self.0.iter().filter(|table| asked.iter().any(|name| name == table.name)).collect();
        if asked.iter().any(|table| table.names().any(|column| column == name)) {
            return Error::Query(format!(
                "`{name}` is no column any more at that point of the query: name it in SELECT, or in the subquery that it comes from"
            ));
        }
        let near = nearest(name, asked.iter().flat_map(|table| table.names()));
        let has = |table: &&Table| format!("{} has {}", table.name, Names::of_columns(table.names()));
        let all: Vec<String> = asked.iter().map(has).collect();
        let all = if all.is_empty() { "no table is asked".to_owned() } else { all.join("; ") };
        Error::Query(format!("there is no column `{name}`{near}; {all}"))
    }
}
