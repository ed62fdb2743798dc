//! Pairs of answers: orpo-dpo-mix (both versions), ultrafeedback_binarized, and their simpler cousins.

use serde_json::Value;
use setaccio_base::row::{Content, Kind, Message};

use crate::source::{
    conversation::{self, side},
    record,
    record::Reading,
    schema::{ColumnSpec, Schema, optional, required},
};

/// `chosen` and `rejected`: whole conversations, single messages or texts, Anthropic's transcripts among them. The prompt
/// is `conversations`, or `prompt`; where no prompt is stated, it is what both sides begin with. Scores and `source` stay
/// columns.
pub struct Preference;

impl Schema for Preference {
    fn name(&self) -> &'static str {
        "preference"
    }
    fn kind(&self) -> Kind {
        Kind::Preference
    }
    fn about(&self) -> &'static str {
        "orpo-dpo-mix-40k v1.0 and v1.2, ultrafeedback_binarized, {conversations, chosen, rejected}"
    }
    fn columns(&self) -> &'static [ColumnSpec] {
        const {
            &[
                required("chosen", "The preferred answer: a whole conversation, a message or a text."),
                required("rejected", "The other answer, likewise."),
                optional("prompt", "What is asked: turns or a text, alone or where the sides begin with it."),
                optional("question", "The same, where there is no `prompt`."),
                optional("system", "The system prompt, where the turns begin with none."),
                optional("conversations", "The turns before the answers, where the sides are answers alone."),
                optional("tools", "The tools that may be called: a list, or JSON text of one."),
            ]
        }
    }
    fn example(&self) -> &'static str {
        r#"{"prompt": "Chi scrisse la Commedia?", "chosen": "Dante Alighieri.", "rejected": "Boh.", "score_chosen": 9.0}"#
    }
    fn content(&self, record: &mut Reading) -> Result<Content, String> {
        let mut chosen = side(record, "chosen", "assistant")?;
        let mut rejected = side(record, "rejected", "assistant")?;
        let explicit = record.get("conversations").is_some_and(conversation::is_conversation);
        let mut prompt = if explicit { conversation::messages(record, "conversations")? } else { stated(record)? };
        let most = chosen.len().min(rejected.len()).saturating_sub(1);
        let shared = if explicit { 0 } else { shared(&prompt, &chosen[..most], &rejected[..most]) };
        if shared > 0 {
            prompt = chosen.drain(..shared).collect();
            rejected.drain(..shared);
        }
        let begins = prompt.first().or(chosen.first()).is_some_and(|turn| turn.role == "system");
        if !begins {
            prompt.splice(0..0, record::system_turn(record::optional_text(record, "system")?));
        }
        let tools = conversation::tools(record)?;
        Ok(Content::Preference { prompt, chosen, rejected, tools })
    }
}

/// The prompt that a row states: `prompt`, or where there is none `question`.
fn stated(record: &mut Reading) -> Result<Vec<Message>, String> {
    for column in ["prompt", "question"] {
        match record.get(column) {
            None | Some(Value::Null) => drop(record.shift_remove(column)),
            Some(_) => return side(record, column, "user"),
        }
    }
    Ok(Vec::new())
}

/// How many turns both sides begin with that are the prompt: none if a prompt is stated and they do not hold it. Each side
/// is without its last turn, which is an answer.
fn shared(stated: &[Message], chosen: &[Message], rejected: &[Message]) -> usize {
    let same = chosen.iter().zip(rejected).take_while(|(a, b)| a == b).count();
    let both = &chosen[..same];
    // Sets write a prompt once more with other white space around it.
    let equal = |a: &Message, b: &Message| a.role == b.role && a.content.trim() == b.content.trim();
    let holds = |turns: &[Message]| turns.iter().zip(stated).all(|(a, b)| equal(a, b));
    if stated.len() > 1 && both.len() >= stated.len() && holds(both) {
        return stated.len();
    }
    // A prompt ends with what is asked: an answer that both share belongs to the sides.
    let asked = both.iter().rposition(|m| m.role != "assistant").map_or(0, |last| last + 1);
    let found = stated.is_empty() || both[..asked].windows(stated.len()).any(holds);
    if found { asked } else { 0 }
}
