//! `setaccio schemas`: the layouts that a recipe's `[[source]]` can name.

use anyhow::{Error, Result};
use setaccio_curate::source::{SCHEMAS, find_schema};

use crate::style::{FAINT, HEAD, NAME};

/// List the layouts of sources that can be read, or show one: its columns and an example
#[derive(clap::Args)]
pub struct Args {
    /// The schema to show
    schema: Option<String>,
}

pub fn run(args: &Args) -> Result<()> {
    if let Some(name) = &args.schema {
        let schema = find_schema(name).map_err(Error::msg)?;
        say!("{HEAD}{name}{HEAD:#}, rows of kind {}: {}\n", schema.kind().name(), schema.about());
        for column in schema.columns() {
            let need = if column.required { "required" } else { "optional" };
            say!("{NAME}{:<16}{NAME:#} {FAINT}{need}{FAINT:#}  {}", column.name, column.about);
        }
        say!("\n{HEAD}Example{HEAD:#}\n{}", schema.example());
        return Ok(());
    }
    for schema in SCHEMAS {
        let columns: Vec<String> = schema
            .columns()
            .iter()
            .map(|c| if c.required { c.name.to_owned() } else { format!("[{}]", c.name) })
            .collect();
        say!("{NAME}{:<18}{NAME:#} {}", schema.name(), schema.about());
        say!("{:<18} {FAINT}{} rows; columns {}{FAINT:#}", "", schema.kind().name(), columns.join(", "));
    }
    Ok(())
}
