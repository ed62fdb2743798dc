//! ShareGPT exports.

use setaccio_base::row::{Content, Kind, Message};

use crate::source::{
    record,
    record::Record,
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
            ]
        }
    }
    fn example(&self) -> &'static str {
        r#"{"conversations": [{"from": "human", "value": "Ciao!"}, {"from": "gpt", "value": "Salve."}]}"#
    }
    fn content(&self, record: &mut Record) -> Result<Content, String> {
        let mut turns = record::messages(record, "conversations")?;
        let system = record::optional_text(record, "system")?.filter(|s| !s.trim().is_empty());
        if let Some(system) = system
            && turns.first().is_none_or(|t| t.role != "system")
        {
            turns.insert(0, Message::new("system", system));
        }
        Ok(Content::chat(turns))
    }
}
