//! What conversations hold beside roles and contents, on its way from the tasks to the shards. A shard has columns for
//! those fields that occur anywhere; a task knows of its own rows alone, so its spill file has them as JSON.

use arrow_array::{Array, RecordBatch, cast::AsArray};
use serde_json::{Map, Value, json};
use setaccio_base::row::{Content, Kind};
use setaccio_dataset::columns::{ContentBuilder, ContentColumns, Extras, TOOLS, content_names};

use crate::error::{Error, Result};

/// Their hidden column in a spill file: what [`to_json`] makes; null where there is nothing.
pub const EXTRAS: &str = "setaccio:extras";

/// The tools of a row and the further fields of its turns, side by side with its columns: a list a side, null for a
/// turn that has none. `None` if there are none at all.
pub fn to_json(content: &Content) -> Option<Value> {
    let mut extras = Map::new();
    for (name, messages) in content_names(content.kind()).iter().zip(content.sides()) {
        if messages.iter().any(|m| m.fields.is_some()) {
            extras.insert((*name).to_owned(), messages.iter().map(|m| json!(m.fields)).collect());
        }
    }
    extras.extend(content.tools().map(|tools| (TOOLS.to_owned(), tools.clone())));
    (!extras.is_empty()).then_some(Value::Object(extras))
}

/// Give a content back what [`to_json`] took from it.
fn restore(content: &mut Content, mut extras: Map<String, Value>) {
    let found = extras.shift_remove(TOOLS);
    match content {
        Content::Text(_) => {}
        Content::Chat { tools, .. } | Content::Preference { tools, .. } => *tools = found,
    }
    let names = content_names(content.kind());
    for (name, messages) in names.iter().zip(content.sides_mut()) {
        let Some(Value::Array(fields)) = extras.shift_remove(*name) else { continue };
        for (message, fields) in messages.iter_mut().zip(fields) {
            if let Value::Object(fields) = fields {
                message.fields = Some(Box::new(fields));
            }
        }
    }
}

/// The content columns of the shards, for rows of a spill batch: those of the batch, and what occurs beside them.
pub fn content_columns(kind: Kind, batch: &RecordBatch, extras: &Extras, rows: &[u32]) -> Result<ContentBuilder> {
    let contents = ContentColumns::new(batch, kind).map_err(Error::spoilt)?;
    let found = batch.column_by_name(EXTRAS).and_then(|column| column.as_string_opt::<i32>());
    let found = found.ok_or_else(|| Error::spoilt(format!("column `{EXTRAS}` is missing")))?;
    let mut builder = ContentBuilder::new(kind, extras);
    for row in rows {
        let i = *row as usize;
        let mut content = contents.get(i).map_err(Error::spoilt)?;
        if found.is_valid(i) {
            restore(&mut content, serde_json::from_str(found.value(i)).map_err(Error::encode("spill file"))?);
        }
        builder.push(Some(&content));
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Message;

    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let turns = vec![
            Message::new("user", "Piove?"),
            Message::without_text("assistant").with("tool_calls", json!([{"function": {"name": "f"}}])),
        ];
        let whole = Content::Preference {
            prompt: vec![Message::new("user", "Ciao")],
            chosen: turns.clone(),
            rejected: Vec::new(),
            tools: Some(json!([{"name": "f"}])),
        };
        let mut bare = whole.clone();
        bare.sides_mut().flatten().for_each(|m| m.fields = None);
        let Some(Value::Object(extras)) = to_json(&whole) else { panic!("there are some") };
        assert_eq!(extras["chosen"][0], Value::Null);
        restore(&mut bare, extras);
        assert_eq!(bare, whole);
        assert_eq!(to_json(&Content::chat(vec![Message::new("user", "Ciao")])), None);
    }
}
