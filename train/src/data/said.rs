//! How much of an answer a template writes. White space does not count, for templates trim and add it; nor do the tags
//! around reasoning, which each family has of its own.

use serde_json::Value;
use setaccio_base::row::{Message, TOOL_CALLS};

/// What of a row's answers and tools is not in its text, and what is learned otherwise than it stands there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Characters of learned answers that the template leaves out, or writes otherwise.
    pub lost: u64,
    /// The row offers tools, and the template shows none.
    pub tools_unseen: bool,
    /// Whether an answer's first token begins with a part of its header, and so is given.
    pub given: bool,
    /// Whether an answer's first token begins with white space before it, and is learned.
    pub learned: bool,
}

/// Where the reasoning of a text ends, if it has some: behind the tag and the white space after it.
pub fn reasoning(text: &str) -> Option<usize> {
    let end = text.rfind(END)? + END.len();
    Some(text.len() - text[end..].trim_start().len())
}

const START: &str = "<think>";
const END: &str = "</think>";

/// The fields that reasoning goes by, which templates see as one.
pub const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Whether a turn is without text, calls and reasoning.
pub fn nothing(turn: &Message) -> bool {
    turn.content.trim().is_empty() && turn.others().next().is_none()
}

/// How many characters of what a turn says and thinks, and of the names that it calls, a text does not hold, white space
/// aside. A part that is not there as a whole is looked for line by line.
pub fn lost(text: &str, turn: &Message) -> u64 {
    let text = bare(text);
    let content = match reasoning(&turn.content) {
        Some(end) => {
            let (thought, said) = turn.content.split_at(end);
            let thought = thought.trim_end().strip_suffix(END).unwrap_or(thought).trim_start();
            [thought.strip_prefix(START).unwrap_or(thought), said]
        }
        None => ["", turn.content.as_str()],
    };
    let thought = REASONING.into_iter().find_map(|name| turn.field(name)?.as_str());
    let calls = turn.field(TOOL_CALLS).and_then(Value::as_array).into_iter().flatten();
    let called = calls.filter_map(|call| call.pointer("/function/name")?.as_str());
    content.into_iter().chain(thought).chain(called).map(|part| missing(&text, part)).sum()
}

/// Characters of the lines of a part that a text, without its white space, does not hold.
fn missing(text: &str, part: &str) -> u64 {
    if text.contains(&bare(part)) {
        return 0;
    }
    let lines = part.lines().map(bare).filter(|line| !text.contains(line));
    lines.map(|line| line.chars().count() as u64).sum()
}

fn bare(text: &str) -> String {
    text.split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_in_a_text_is_counted() {
        let turn = |content: &str| Message::new("assistant", content);
        let thinks = turn("<think>\nDue e due,\nquattro.\n</think>\n\nFa 4.");
        let cases = [
            ("Fa 4.", turn(" Fa\n4. "), 0),
            ("x Fa4. y", turn("Fa 4."), 0),
            ("Fa 5.", turn("Fa 4."), 4),
            // "Dueedue," and "quattro."
            ("Fa 4.", thinks.clone(), 16),
            ("Due e due, / Fa 4.", thinks.clone(), 8),
            // In another family's tags.
            ("[THINK]Due e due, quattro.[/THINK]Fa 4.", thinks.clone(), 0),
            ("Due e due, quattro.", thinks, 4),
            ("Fa 4.", turn("Fa 4.").with("reasoning_content", "Sommo."), 6),
            ("Sommo. Fa 4.", turn("Fa 4.").with("thinking", "Sommo."), 0),
            ("<call>ora{}", turn("").with(TOOL_CALLS, json!([{"function": {"name": "ora"}}])), 0),
            ("", turn("").with(TOOL_CALLS, json!([{"function": {"name": "ora"}}])), 3),
        ];
        for (text, turn, characters) in cases {
            assert_eq!(lost(text, &turn), characters, "{turn:?} in {text:?}");
        }
    }

    #[test]
    fn reasoning_ends_behind_its_tag() {
        assert_eq!(reasoning("<think>a</think>\n\nb").map(|end| &"<think>a</think>\n\nb"[end..]), Some("b"));
        assert_eq!((reasoning("a"), reasoning("</think>")), (None, Some(8)));
    }
}
