//! databricks-dolly-15k.

use setaccio_base::row::{Content, Kind};

use super::orca::instruction;
use crate::source::{
    record::Record,
    schema::{ColumnSpec, Schema, optional, required},
};

/// `instruction`, optional `context`, `response`; `category` stays a column.
pub struct Dolly;

impl Schema for Dolly {
    fn name(&self) -> &'static str {
        "dolly"
    }
    fn kind(&self) -> Kind {
        Kind::Chat
    }
    fn about(&self) -> &'static str {
        "databricks-dolly-15k"
    }
    fn columns(&self) -> &'static [ColumnSpec] {
        const { &[required("instruction"), optional("context"), required("response")] }
    }
    fn content(&self, record: &mut Record) -> Result<Content, String> {
        instruction(record, None, "context", "response")
    }
}
