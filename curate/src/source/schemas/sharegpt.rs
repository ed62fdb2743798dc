//! ShareGPT exports.

use setaccio_base::row::{Content, Kind};

use crate::source::{
    conversation,
    record::Reading,
    schema::{ColumnSpec, Schema, optional, required},
};

/// `conversations` of {from, value}, optional `system`.
pub struct ShareGpt;

impl Schema for ShareGpt {
    fn name(&self) -> &'static str {
        "sharegpt"
    }
    fn kind(&self) -> Kind {
        Kind::Chat
    }
    fn about(&self) -> &'static str {
        "ShareGPT exports: lists of {from, value}"
    }
    fn columns(&self) -> &'static [ColumnSpec] {
        const {
            &[
                required("conversations", "The turns, each `{from, value}` or `{role, content}`."),
                optional("system", "The system prompt, where the turns begin with none."),
                optional("tools", "The tools that may be called: a list, or JSON text of one."),
            ]
        }
    }
    fn example(&self) -> &'static str {
        r#"{"conversations": [{"from": "human", "value": "Ciao!"}, {"from": "gpt", "value": "Salve."}]}"#
    }
    fn content(&self, record: &mut Reading) -> Result<Content, String> {
        let turns = conversation::messages(record, "conversations")?;
        conversation::chat(record, turns)
    }
}
