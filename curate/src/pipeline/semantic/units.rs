//! What has a vector in a row.

use std::borrow::Cow;

use setaccio_base::row::Content;
use setaccio_dataset::recipe::{DedupOn, SemanticUnit};

use crate::key::compared;

/// A text that is to have a vector.
#[derive(Debug, PartialEq, Eq)]
pub struct Unit<'a> {
    /// Its number in the row, in reading order.
    pub number: u32,
    /// Texts of other classes are not compared with it.
    pub class: u32,
    /// What it says.
    pub text: Cow<'a, str>,
}

/// The classes of a user's turns and of an assistant's.
const CLASSES: [&str; 2] = ["user", "assistant"];

/// What is compared of a row. Turns of the system and of tools are no messages: thousands of rows share them.
pub fn units(content: &Content, of: SemanticUnit, on: DedupOn) -> Vec<Unit<'_>> {
    let classes = match of {
        SemanticUnit::Row => {
            let turns = compared(content, on).flatten().map(|turn| turn.content.as_str());
            let text = match content {
                Content::Text(text) => Cow::Borrowed(text.as_str()),
                Content::Chat { .. } | Content::Preference { .. } => Cow::Owned(turns.collect::<Vec<_>>().join("\n")),
            };
            return vec![Unit { number: 0, class: 0, text }];
        }
        SemanticUnit::Message => &CLASSES[..],
        SemanticUnit::Answer => &CLASSES[1..],
    };
    // Answers are looked for in all of the row, whatever is compared besides. A refused answer says nothing for the row.
    let on = if of == SemanticUnit::Answer { DedupOn::Row } else { on };
    let turns = compared(content, on).take(2).flatten();
    let mut units = Vec::new();
    for (number, turn) in (0..).zip(turns) {
        if let Some(class) = classes.iter().position(|role| *role == turn.role) {
            let class = u32::try_from(class).unwrap_or(0);
            units.push(Unit { number, class, text: Cow::Borrowed(turn.content.as_str()) });
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Message;

    use super::*;

    fn turns(list: &[(&str, &str)]) -> Vec<Message> {
        list.iter().map(|(role, text)| Message::new(*role, *text)).collect()
    }

    #[test]
    fn rows_messages_and_answers_are_what_they_say() {
        let chat = Content::chat(turns(&[
            ("system", "S"),
            ("user", "U"),
            ("assistant", "A"),
            ("tool", "T"),
            ("user", "V"),
            ("assistant", "B"),
        ]));
        let pair = Content::preference(
            turns(&[("user", "U"), ("assistant", "A"), ("user", "V")]),
            turns(&[("assistant", "C")]),
            turns(&[("assistant", "R")]),
        );
        let text = Content::Text("T".into());
        let told = |content: &Content, of, on| {
            let units = units(content, of, on);
            units
                .iter()
                .map(|unit| format!("{}.{}.{}", unit.number, unit.class, unit.text))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let (row, prompt) = (DedupOn::Row, DedupOn::Prompt);
        for (content, of, on, expected) in [
            (&text, SemanticUnit::Row, row, "0.0.T"),
            (&chat, SemanticUnit::Row, row, "0.0.S\nU\nA\nT\nV\nB"),
            (&chat, SemanticUnit::Row, prompt, "0.0.S\nU\nA\nT\nV"),
            (&chat, SemanticUnit::Message, row, "1.0.U 2.1.A 4.0.V 5.1.B"),
            (&chat, SemanticUnit::Message, prompt, "1.0.U 2.1.A 4.0.V"),
            (&chat, SemanticUnit::Answer, prompt, "2.0.A 5.0.B"),
            (&pair, SemanticUnit::Row, row, "0.0.U\nA\nV\nC\nR"),
            (&pair, SemanticUnit::Message, row, "0.0.U 1.1.A 2.0.V 3.1.C"),
            (&pair, SemanticUnit::Answer, row, "1.0.A 3.0.C"),
        ] {
            assert_eq!(told(content, of, on), expected, "{of:?} {on:?}");
        }
    }
}
