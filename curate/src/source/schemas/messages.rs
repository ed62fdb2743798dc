//! Conversations as a list of messages: UltraChat and most chat sets on the Hub.

use setaccio_base::row::{Content, Kind};

use crate::source::{
    conversation,
    record::Reading,
    schema::{ColumnSpec, Schema, optional, required},
};

/// `messages`; `prompt`, `prompt_id` and the like stay columns.
pub struct Messages;

impl Schema for Messages {
    fn name(&self) -> &'static str {
        "messages"
    }
    fn kind(&self) -> Kind {
        Kind::Chat
    }
    fn about(&self) -> &'static str {
        "ultrachat_200k and other lists of {role, content}"
    }
    fn columns(&self) -> &'static [ColumnSpec] {
        const {
            &[
                required(
                    "messages",
                    "The turns, each `{role, content}` or `{from, value}`, with calls of tools if any.",
                ),
                optional("system", "The system prompt, where the turns begin with none."),
                optional("tools", "The tools that may be called: a list, or JSON text of one."),
            ]
        }
    }
    fn example(&self) -> &'static str {
        r#"{"messages": [{"role": "user", "content": "Ciao!"}, {"role": "assistant", "content": "Salve."}]}"#
    }
    fn content(&self, record: &mut Reading) -> Result<Content, String> {
        let messages = conversation::messages(record, "messages")?;
        conversation::chat(record, messages)
    }
}
