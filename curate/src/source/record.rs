//! A record: one row of a source as JSON, whatever the container; and the questions schemas ask of it.

use serde_json::{Map, Value};
use setaccio_base::row::Message;

use super::scan::Names;

/// Column name to value.
pub type Record = Map<String, Value>;

/// How much of a bad row is kept.
pub const RAW_BYTES: usize = 64 << 10;

/// Take a text that must be there.
pub fn text(record: &mut Record, column: &str) -> Result<String, String> {
    match record.shift_remove(column) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("column `{column}` holds {}, where text is required", shown(&other))),
        None => Err(missing(record, column)),
    }
}

/// Take a text that may be absent or null.
pub fn optional_text(record: &mut Record, column: &str) -> Result<Option<String>, String> {
    match record.get(column) {
        None | Some(Value::Null) => Ok(record.shift_remove(column).and(None)),
        Some(_) => text(record, column).map(Some),
    }
}

/// Take a list of messages, spelled `{role, content}` or `{from, value}`.
pub fn messages(record: &mut Record, column: &str) -> Result<Vec<Message>, String> {
    match record.shift_remove(column) {
        Some(Value::Array(turns)) => turns
            .into_iter()
            .enumerate()
            .map(|(i, turn)| message(turn).map_err(|e| format!("column `{column}`, turn {i}: {e}")))
            .collect(),
        Some(other) => Err(format!("column `{column}` holds {}, where a list of messages is required", shown(&other))),
        None => Err(missing(record, column)),
    }
}

/// One message.
pub fn message(turn: Value) -> Result<Message, String> {
    let Value::Object(mut turn) = turn else {
        return Err(format!("{} is no message", shown(&turn)));
    };
    let keys = if turn.contains_key("from") { ["from", "value"] } else { ["role", "content"] };
    let role = text(&mut turn, keys[0])?;
    let content = text(&mut turn, keys[1])?;
    Ok(Message::new(canonical_role(role), content))
}

/// The names that TRL and chat templates know. Unknown ones stay, for the `roles` rule to see.
fn canonical_role(role: String) -> String {
    match role.to_ascii_lowercase().as_str() {
        "human" | "user" | "prompter" => "user".into(),
        "gpt" | "assistant" | "chatgpt" | "bot" | "model" | "bing" | "bard" => "assistant".into(),
        "system" => "system".into(),
        "tool" | "function" | "observation" => "tool".into(),
        _ => role,
    }
}

/// "column `x` is missing; there are a, b".
pub fn missing(record: &Record, column: &str) -> String {
    let mut keys: Vec<&String> = record.keys().collect();
    keys.sort_unstable();
    let there: Names = keys.into_iter().collect();
    let there = if there.count() == 0 { "there are no others".to_owned() } else { format!("there are {there}") };
    format!("column `{column}` is missing; {there} (map names with `rename` in the recipe's [[source]])")
}

/// A value's type, for messages.
pub fn shown(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What fits of a bad row's bytes, as text.
pub fn raw(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(RAW_BYTES)];
    let mut text = String::from_utf8_lossy(cut).into_owned();
    if cut.len() < bytes.len() {
        text.push_str(" [cut]");
    }
    text
}
