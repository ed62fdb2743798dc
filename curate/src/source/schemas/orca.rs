//! Instructions under a system prompt: WizardLM_Orca, alpaca_orca, dolly-v2_orca and their merge.

use setaccio_base::row::{Content, Kind, Message};

use crate::source::{
    conversation, record,
    record::Reading,
    schema::{ColumnSpec, Schema, optional, required},
};

/// `system`, `instruction`, optional `input`, `output`.
pub struct Orca;

impl Schema for Orca {
    fn name(&self) -> &'static str {
        "orca"
    }
    fn kind(&self) -> Kind {
        Kind::Chat
    }
    fn about(&self) -> &'static str {
        "WizardLM_Orca, alpaca_orca, dolly-v2_orca, wizard_alpaca_dolly_orca"
    }
    fn columns(&self) -> &'static [ColumnSpec] {
        const {
            &[
                required("system", "The system prompt; it may be empty."),
                required("instruction", "What is asked."),
                optional("input", "What it is asked of; it follows the instruction after a blank line."),
                required("output", "The answer."),
                optional("history", "The turns before, `[question, answer]` each."),
            ]
        }
    }
    fn example(&self) -> &'static str {
        r#"{"system": "Rispondi in breve.", "instruction": "Chi scrisse la Commedia?", "output": "Dante Alighieri."}"#
    }
    fn content(&self, record: &mut Reading) -> Result<Content, String> {
        let before = before(record)?;
        instruction(record, before, "input", "output")
    }
}

/// `system` and `history`, which stand before a question.
pub fn before(record: &mut Reading) -> Result<Vec<Message>, String> {
    let system = record::system_turn(record::optional_text(record, "system")?);
    let history = conversation::history(record, "history")?;
    Ok(system.into_iter().chain(history).collect())
}

/// A chat: the system prompt and the turns before it if there are any, then `instruction`, a blank line and the input
/// (if there is any), then the answer.
pub fn instruction(record: &mut Reading, before: Vec<Message>, input: &str, output: &str) -> Result<Content, String> {
    let mut question = record::text(record, "instruction")?;
    if let Some(input) = record::optional_text(record, input)?.filter(|i| !i.trim().is_empty()) {
        question.push_str("\n\n");
        question.push_str(&input);
    }
    let answer = record::text(record, output)?;
    let turns = [Message::new("user", question), Message::new("assistant", answer)];
    Ok(Content::chat(before.into_iter().chain(turns).collect()))
}
