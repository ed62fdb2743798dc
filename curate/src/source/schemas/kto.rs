//! Single answers with a thumb up or down, for KTO.

use serde_json::Value;
use setaccio_base::row::{Content, Kind, Message};

use crate::source::{
    record,
    record::Record,
    schema::{ColumnSpec, Schema, optional, required},
};

/// `messages`, or `prompt` and `completion`; `label` stays a column (`output.keep` with type bool).
pub struct Kto;

impl Schema for Kto {
    fn name(&self) -> &'static str {
        "kto"
    }
    fn kind(&self) -> Kind {
        Kind::Chat
    }
    fn about(&self) -> &'static str {
        "KTO rows: messages (or prompt and completion) and a label"
    }
    fn columns(&self) -> &'static [ColumnSpec] {
        const {
            &[
                optional("messages", "The turns with the answer, instead of `prompt` and `completion`."),
                optional("prompt", "What is asked: a text, a message or messages."),
                optional("completion", "The answer: a text, a message or messages."),
                required("label", "Whether the answer is desirable, true or false; it stays a column."),
            ]
        }
    }
    fn example(&self) -> &'static str {
        r#"{"prompt": "Chi scrisse la Commedia?", "completion": "Dante Alighieri.", "label": true}"#
    }
    fn content(&self, record: &mut Record) -> Result<Content, String> {
        match record.get("label") {
            Some(Value::Bool(_)) => {}
            Some(other) => {
                return Err(format!("column `label` holds {}, where true or false is required", record::shown(other)));
            }
            None => return Err(record::missing(record, "label")),
        }
        if record.contains_key("messages") {
            return record::messages(record, "messages").map(Content::chat);
        }
        let mut turns = side(record, "prompt", "user")?;
        turns.extend(side(record, "completion", "assistant")?);
        Ok(Content::chat(turns))
    }
}

/// One side of a row: a text in the role it has, one message, or a list of them.
pub fn side(record: &mut Record, column: &str, role: &str) -> Result<Vec<Message>, String> {
    match record.get(column) {
        Some(Value::String(_)) => Ok(vec![Message::new(role, record::text(record, column)?)]),
        Some(Value::Object(_)) => {
            let turn = record.shift_remove(column).unwrap_or_default();
            Ok(vec![record::message(turn).map_err(|e| format!("column `{column}`: {e}"))?])
        }
        _ => record::messages(record, column),
    }
}
