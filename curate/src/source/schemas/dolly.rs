//! databricks-dolly-15k.

use setaccio_base::row::{Content, Kind};

use super::orca::instruction;
use crate::source::{
    record::Reading,
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
        const {
            &[
                required("instruction", "What is asked."),
                optional("context", "What it is asked of; it follows the instruction after a blank line."),
                required("response", "The answer."),
            ]
        }
    }
    fn example(&self) -> &'static str {
        r#"{"instruction": "Chi scrisse la Commedia?", "context": "", "response": "Dante Alighieri.", "category": "open_qa"}"#
    }
    fn content(&self, record: &mut Reading) -> Result<Content, String> {
        instruction(record, Vec::new(), "context", "response")
    }
}
