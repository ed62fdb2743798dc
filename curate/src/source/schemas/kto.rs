//! Single answers with a thumb up or down, for KTO.

use serde_json::Value;
use setaccio_base::row::{Content, Kind};

use super::prompt_completion::turns;
use crate::source::{
    conversation, record,
    record::Reading,
    schema::{ColumnSpec, Schema, optional, required},
};

/// `messages`, or `prompt` and `completion`; `label` stays a column: a recipe that reads them keeps it, as true or false.
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
                optional("system", "The system prompt, where the turns begin with none."),
                optional("tools", "The tools that may be called: a list, or JSON text of one."),
                required("label", "Whether the answer is desirable, true or false; it stays a column."),
            ]
        }
    }
    fn flags(&self) -> &'static [&'static str] {
        &["label"]
    }
    fn example(&self) -> &'static str {
        r#"{"prompt": "Chi scrisse la Commedia?", "completion": "Dante Alighieri.", "label": true}"#
    }
    fn content(&self, record: &mut Reading) -> Result<Content, String> {
        match record.get("label") {
            Some(Value::Bool(_)) => {}
            Some(other) => {
                return Err(record::wrong("label", other, "true or false"));
            }
            None => return Err(record::missing(record, "label")),
        }
        if record.contains_key("messages") {
            let messages = conversation::messages(record, "messages")?;
            return conversation::chat(record, messages);
        }
        turns(record)
    }
}
