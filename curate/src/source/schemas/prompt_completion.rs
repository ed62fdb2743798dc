//! Questions with their answers, in TRL's prompt-completion format.

use setaccio_base::row::{Content, Kind};

use crate::source::{
    conversation::{self, side},
    record::Reading,
    schema::{ColumnSpec, Schema, optional, required},
};

/// `prompt` and `completion`: texts, messages or lists of messages.
pub struct PromptCompletion;

impl Schema for PromptCompletion {
    fn name(&self) -> &'static str {
        "prompt_completion"
    }
    fn kind(&self) -> Kind {
        Kind::Chat
    }
    fn about(&self) -> &'static str {
        "TRL's prompt-completion format: what is asked and the answer, as texts or as messages"
    }
    fn columns(&self) -> &'static [ColumnSpec] {
        const {
            &[
                required("prompt", "What is asked: a text, a message or messages."),
                required("completion", "The answer: a text, a message or messages."),
                optional("system", "The system prompt, where the turns begin with none."),
                optional("tools", "The tools that may be called: a list, or JSON text of one."),
            ]
        }
    }
    fn example(&self) -> &'static str {
        r#"{"prompt": "Chi scrisse la Commedia?", "completion": "Dante Alighieri."}"#
    }
    fn content(&self, record: &mut Reading) -> Result<Content, String> {
        turns(record)
    }
}

/// A chat of the turns of `prompt`, then those of `completion`.
pub fn turns(record: &mut Reading) -> Result<Content, String> {
    let mut turns = side(record, "prompt", "user")?;
    turns.extend(side(record, "completion", "assistant")?);
    conversation::chat(record, turns)
}
