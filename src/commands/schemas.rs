//! `setaccio schemas`: the layouts that a recipe's `[[source]]` can name.

use setaccio_curate::source::SCHEMAS;

use crate::style::{FAINT, NAME};

/// List the layouts of sources that can be read
#[derive(clap::Args)]
pub struct Args {}

pub fn run() {
    for schema in SCHEMAS {
        let columns: Vec<String> = schema
            .columns()
            .iter()
            .map(|c| if c.required { c.name.to_owned() } else { format!("[{}]", c.name) })
            .collect();
        anstream::println!("{NAME}{:<12}{NAME:#} {}", schema.name(), schema.about());
        anstream::println!("{:<12} {FAINT}{} rows; columns {}{FAINT:#}", "", schema.kind().name(), columns.join(", "));
    }
}
