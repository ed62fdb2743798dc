//! Instructions: Stanford Alpaca, its translations, and what LLaMA-Factory adds to them.

use setaccio_base::row::{Content, Kind};

use super::orca::{before, instruction};
use crate::source::{
    record::Reading,
    schema::{ColumnSpec, Schema, optional, required},
};

/// `instruction`, optional `input`, `output`, `system` and `history`.
pub struct Alpaca;

impl Schema for Alpaca {
    fn name(&self) -> &'static str {
        "alpaca"
    }
    fn kind(&self) -> Kind {
        Kind::Chat
    }
    fn about(&self) -> &'static str {
        "Stanford Alpaca, Camoscio, Stambecco"
    }
    fn columns(&self) -> &'static [ColumnSpec] {
        const {
            &[
                required("instruction", "What is asked."),
                optional("input", "What it is asked of; it follows the instruction after a blank line."),
                required("output", "The answer."),
                optional("system", "The system prompt."),
                optional("history", "The turns before, `[question, answer]` each."),
            ]
        }
    }
    fn example(&self) -> &'static str {
        r#"{"instruction": "Traduci in inglese.", "input": "Il gatto dorme.", "output": "The cat sleeps."}"#
    }
    fn content(&self, record: &mut Reading) -> Result<Content, String> {
        let before = before(record)?;
        instruction(record, before, "input", "output")
    }
}
