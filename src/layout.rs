//! How somebody's own rows are laid out, as `init` and `train` are told.

use clap::builder::PossibleValuesParser;
use setaccio_curate::source::SCHEMAS;
use setaccio_dataset::recipe::OnBadRow;

use crate::inputs;

#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Layout {
    /// How rows of your own are laid out, see `setaccio schemas` [default: the one that fits]
    #[arg(long, value_parser = PossibleValuesParser::new(SCHEMAS.iter().map(|schema| schema.name())))]
    pub schema: Option<String>,
    /// Where a file of JSON is one object: the field that holds the rows [default: the only one that can]
    #[arg(long)]
    pub field: Option<String>,
    /// Encoding of the files' text, for instance windows-1252 [default: UTF-8, or what a byte order mark says]
    #[arg(long)]
    pub encoding: Option<String>,
    /// A column of the schema, and the name that it has in the files
    #[arg(long, value_name = "COLUMN=NAME", value_parser = renamed)]
    pub rename: Vec<(String, String)>,
    /// What a row that cannot be read does: stop, or skip to the rejects [default: stop]
    #[arg(long, value_name = "WHAT", value_parser = inputs::bad_row())]
    pub on_bad_row: Option<OnBadRow>,
}

fn renamed(text: &str) -> Result<(String, String), String> {
    let (column, name) = text.split_once('=').ok_or("write COLUMN=NAME, for instance instruction=question")?;
    Ok((column.to_owned(), name.to_owned()))
}

impl Layout {
    /// Whether anything is said of it.
    #[cfg(feature = "train")]
    pub fn is_told(&self) -> bool {
        let Self { schema, field, encoding, rename, on_bad_row } = self;
        schema.is_some() || field.is_some() || encoding.is_some() || !rename.is_empty() || on_bad_row.is_some()
    }
}
