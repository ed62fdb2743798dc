//! Baize chats, as Fauno has them: one text with `[|Human|]` and `[|AI|]` before the turns.

use setaccio_base::row::{Content, Kind};

use crate::source::{
    conversation, record,
    record::Reading,
    schema::{ColumnSpec, Schema, required},
};

/// `input`: a sentence of introduction, then the turns, most often with an empty human turn at the end.
pub struct Baize;

const MARKS: [(&str, &str); 2] = [("[|Human|]", "user"), ("[|AI|]", "assistant")];

impl Schema for Baize {
    fn name(&self) -> &'static str {
        "baize"
    }
    fn kind(&self) -> Kind {
        Kind::Chat
    }
    fn about(&self) -> &'static str {
        "Baize and Fauno: one text with [|Human|] and [|AI|] turns"
    }
    fn columns(&self) -> &'static [ColumnSpec] {
        const { &[required("input", "A sentence of introduction, then the turns, each after its mark.")] }
    }
    fn example(&self) -> &'static str {
        r#"{"input": "Una conversazione.\n[|Human|] Ciao!\n[|AI|] Salve.\n[|Human|] "}"#
    }
    fn content(&self, record: &mut Reading) -> Result<Content, String> {
        let text = record::text(record, "input")?;
        let start = MARKS.iter().filter_map(|(mark, _)| text.find(mark)).min();
        let start = start.ok_or("column `input` has neither [|Human|] nor [|AI|]")?;
        let mut turns = conversation::split(&text[start..], &MARKS);
        conversation::note_marks(record, &turns, &MARKS);
        // The set's own way to say that it is the person's turn again.
        if turns.last().is_some_and(|t| t.role == "user" && t.content.is_empty()) {
            turns.pop();
        }
        Ok(Content::chat(turns))
    }
}
