//! Pairs of answers: orpo-dpo-mix (both versions), ultrafeedback_binarized, and their simpler cousins.

use serde_json::Value;
use setaccio_base::row::{Content, Kind, Message};

use super::kto::side;
use crate::source::{
    record,
    record::Record,
    schema::{ColumnSpec, Schema, optional, required},
};

/// `chosen` and `rejected`: whole conversations, single messages or texts; the prompt is what they share,
/// or `conversations`, or `prompt`. Scores and `source` stay columns.
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
                optional("prompt", "What is asked, where the sides do not begin with it."),
                optional("conversations", "The turns before the answers, where the sides are answers alone."),
            ]
        }
    }
    fn example(&self) -> &'static str {
        r#"{"prompt": "Chi scrisse la Commedia?", "chosen": "Dante Alighieri.", "rejected": "Boh.", "score_chosen": 9.0}"#
    }
    fn content(&self, record: &mut Record) -> Result<Content, String> {
        let mut chosen = side(record, "chosen", "assistant")?;
        let mut rejected = side(record, "rejected", "assistant")?;
        if matches!(record.get("conversations"), Some(Value::Array(_))) {
            let prompt = record::messages(record, "conversations")?;
            return Ok(Content::preference(prompt, chosen, rejected));
        }
        let stated = match record.get("prompt") {
            None | Some(Value::Null) => record.shift_remove("prompt").map(|_| Vec::new()).unwrap_or_default(),
            Some(_) => side(record, "prompt", "user")?,
        };
        let mut shared = shared(&chosen, &rejected);
        if stated.len() > 1 && chosen.starts_with(&stated) && rejected.starts_with(&stated) {
            shared = stated.len();
        }
        if shared == 0 {
            // Sides that are answers alone, or that do not share their beginning: the rules will see.
            return Ok(Content::preference(stated, chosen, rejected));
        }
        let prompt = chosen.drain(..shared).collect();
        rejected.drain(..shared);
        Ok(Content::preference(prompt, chosen, rejected))
    }
}

/// How many turns two conversations share before their answers, which are the last turn of each at least.
fn shared(chosen: &[Message], rejected: &[Message]) -> usize {
    let most = chosen.len().min(rejected.len()).saturating_sub(1);
    let same = chosen.iter().zip(rejected).take(most).take_while(|(a, b)| a == b).count();
    // A prompt ends with what is asked: an answer that both share belongs to the sides.
    chosen[..same].iter().rposition(|m| m.role != "assistant").map_or(0, |last| last + 1)
}
