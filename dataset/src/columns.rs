//! Rows as Arrow columns: content in the conversational columns that `datasets` and TRL read.

use std::{collections::BTreeSet, sync::Arc};

use arrow_array::{
    Array, ArrayRef, ListArray, RecordBatch, StringArray, StructArray,
    builder::{ArrayBuilder, ListBuilder, StringBuilder, StructBuilder},
    cast::AsArray,
};
use arrow_schema::{DataType, Field, Fields};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use setaccio_base::row::{Content, Kind, Message, TOOL_CALLS};

pub use setaccio_base::row::content_names;

/// The column of the tools that a conversation's assistant may call: a list, as JSON text.
pub const TOOLS: &str = "tools";

/// What a turn may hold beside role and content, in the order of the columns. All but the calls are texts.
pub const TURN_FIELDS: [&str; 6] = [TOOL_CALLS, "tool_call_id", "name", "reasoning_content", "reasoning", "thinking"];

/// Which of [`TOOLS`] and [`TURN_FIELDS`] rows have: a data set has columns for those that occur.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extras(BTreeSet<String>);

impl Extras {
    /// Add those of a row.
    pub fn add(&mut self, content: &Content) {
        let fields = content.messages().flat_map(Message::others).map(|(name, _)| name.as_str());
        for name in fields.chain(content.tools().map(|_| TOOLS)) {
            if !self.0.contains(name) {
                self.0.insert(name.to_owned());
            }
        }
    }

    /// Whether no row has any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether rows name tools that may be called.
    pub fn tools(&self) -> bool {
        self.has(TOOLS)
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Names of the fields that messages have, in the order of their columns.
    pub fn fields(&self) -> impl Iterator<Item = &'static str> {
        TURN_FIELDS.into_iter().filter(|name| self.has(name))
    }
}

impl<'a> FromIterator<&'a Extras> for Extras {
    /// Those of any.
    fn from_iter<T: IntoIterator<Item = &'a Extras>>(all: T) -> Self {
        Self(all.into_iter().flat_map(|extras| extras.0.iter().cloned()).collect())
    }
}

impl<'a> FromIterator<&'a str> for Extras {
    /// Those of these names.
    fn from_iter<T: IntoIterator<Item = &'a str>>(names: T) -> Self {
        Self(names.into_iter().map(str::to_owned).collect())
    }
}

/// The columns of [`content_names`], and [`TOOLS`] if rows have any.
pub fn content_fields(kind: Kind, extras: &Extras) -> Vec<Field> {
    let of = || if kind == Kind::Text { DataType::Utf8 } else { DataType::List(turn_item(extras)) };
    let sides = content_names(kind).iter().map(|name| Field::new(*name, of(), true));
    sides.chain(extras.has(TOOLS).then(|| Field::new(TOOLS, DataType::Utf8, true))).collect()
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn function_fields() -> Fields {
    Fields::from(vec![text("name"), text("arguments")])
}

/// A call as OpenAI has it: its arguments are JSON text, because each function has others.
fn call_fields() -> Fields {
    let function = Field::new("function", DataType::Struct(function_fields()), true);
    Fields::from(vec![text("id"), text("type"), function])
}

fn list_item(fields: Fields) -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(fields), true))
}

fn turn_fields(extras: &Extras) -> Fields {
    let field = |name| match name {
        TOOL_CALLS => Field::new(name, DataType::List(list_item(call_fields())), true),
        name => text(name),
    };
    ["role", "content"].into_iter().chain(extras.fields()).map(field).collect()
}

fn turn_item(extras: &Extras) -> Arc<Field> {
    list_item(turn_fields(extras))
}

/// Collects contents of one kind into columns.
pub struct ContentBuilder {
    sides: Sides,
    tools: Option<StringBuilder>,
}

enum Sides {
    /// One column of texts.
    Text(StringBuilder),
    /// One column of message lists a side, and the names of their further fields.
    Turns(Vec<ListBuilder<StructBuilder>>, Vec<&'static str>),
}

impl ContentBuilder {
    /// Empty columns for rows of `kind`. What is not of `extras` is left out.
    pub fn new(kind: Kind, extras: &Extras) -> Self {
        let side = || {
            let columns = ["role", "content"].into_iter().chain(extras.fields()).map(|name| match name {
                TOOL_CALLS => Box::new(ListBuilder::new(call_builder()).with_field(list_item(call_fields()))) as _,
                _ => Box::new(StringBuilder::new()) as Box<dyn ArrayBuilder>,
            });
            let turn = StructBuilder::new(turn_fields(extras), columns.collect());
            ListBuilder::new(turn).with_field(turn_item(extras))
        };
        let sides = match kind {
            Kind::Text => Sides::Text(StringBuilder::new()),
            Kind::Chat => Sides::Turns(vec![side()], extras.fields().collect()),
            Kind::Preference => Sides::Turns(vec![side(), side(), side()], extras.fields().collect()),
        };
        Self { sides, tools: extras.has(TOOLS).then(StringBuilder::new) }
    }

    /// Add one row; `None` for a row that could not be read. The content must be of the builder's kind.
    pub fn push(&mut self, content: Option<&Content>) {
        match (&mut self.sides, content) {
            (Sides::Text(texts), Some(Content::Text(text))) => texts.append_value(text),
            (Sides::Text(texts), _) => texts.append_null(),
            (Sides::Turns(sides, fields), Some(content)) if content.kind() != Kind::Text => {
                for (side, messages) in sides.iter_mut().zip(content.sides()) {
                    turns(side, messages, fields);
                }
            }
            (Sides::Turns(sides, _), _) => sides.iter_mut().for_each(|s| s.append(false)),
        }
        if let Some(column) = &mut self.tools {
            column.append_option(content.and_then(Content::tools).map(Value::to_string));
        }
    }

    /// The columns, in the order of [`content_fields`].
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = match &mut self.sides {
            Sides::Text(texts) => vec![Arc::new(texts.finish())],
            Sides::Turns(sides, _) => sides.iter_mut().map(|s| Arc::new(s.finish()) as ArrayRef).collect(),
        };
        columns.extend(self.tools.as_mut().map(|tools| Arc::new(tools.finish()) as ArrayRef));
        columns
    }
}

fn call_builder() -> StructBuilder {
    let texts = || Box::new(StringBuilder::new());
    let function = StructBuilder::new(function_fields(), vec![texts(), texts()]);
    StructBuilder::new(call_fields(), vec![texts(), texts(), Box::new(function)])
}

fn turns(side: &mut ListBuilder<StructBuilder>, messages: &[Message], fields: &[&str]) {
    let item = side.values();
    for message in messages {
        append(item, 0, Some(&message.role));
        append(item, 1, (!message.has_no_text()).then_some(message.content.as_str()));
        for (i, name) in (2..).zip(fields) {
            let value = message.field(name);
            match *name {
                TOOL_CALLS => {
                    if let Some(list) = item.field_builder::<ListBuilder<StructBuilder>>(i) {
                        calls(list, value);
                    }
                }
                _ => append(item, i, value.and_then(Value::as_str)),
            }
        }
        item.append(true);
    }
    side.append(true);
}

fn append(item: &mut StructBuilder, i: usize, text: Option<&str>) {
    if let Some(column) = item.field_builder::<StringBuilder>(i) {
        column.append_option(text);
    }
}

fn calls(list: &mut ListBuilder<StructBuilder>, value: Option<&Value>) {
    let item = list.values();
    for call in value.and_then(Value::as_array).into_iter().flatten() {
        for (i, name) in ["id", "type"].into_iter().enumerate() {
            append(item, i, call[name].as_str());
        }
        let called = &call["function"];
        if let Some(function) = item.field_builder::<StructBuilder>(2) {
            append(function, 0, called["name"].as_str());
            append(function, 1, called.get("arguments").map(Value::to_string).as_deref());
            function.append(true);
        }
        item.append(true);
    }
    list.append(value.is_some());
}

/// The content columns of a batch, as rows.
pub enum ContentColumns<'a> {
    /// One column of texts.
    Text(&'a StringArray),
    /// Conversations.
    Turns {
        /// One column of message lists a side, with its name.
        sides: Vec<(&'static str, &'a ListArray)>,
        /// The column of tools, if there is one.
        tools: Option<&'a StringArray>,
    },
}

impl<'a> ContentColumns<'a> {
    /// Find the columns of `kind` in a batch.
    ///
    /// # Errors
    /// One is missing, or of another type.
    pub fn new(batch: &'a RecordBatch, kind: Kind) -> Result<Self, String> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| format!("column `{name}` is missing"));
        if kind == Kind::Text {
            let texts = column("text")?.as_string_opt().ok_or("column `text` holds no text")?;
            return Ok(Self::Text(texts));
        }
        let side = |name: &&'static str| {
            let list = column(name)?.as_list_opt().ok_or_else(|| format!("column `{name}` holds no lists"))?;
            Ok((*name, list))
        };
        let sides = content_names(kind).iter().map(side).collect::<Result<_, String>>()?;
        let tools = batch.column_by_name(TOOLS).and_then(|column| column.as_string_opt());
        Ok(Self::Turns { sides, tools })
    }

    /// The content of row `i`. Arguments of calls are values again, as templates expect them.
    ///
    /// # Errors
    /// A part of it is missing, or is no JSON where it should be.
    pub fn get(&self, i: usize) -> Result<Content, String> {
        match self {
            Self::Text(texts) if texts.is_null(i) => Err("column `text` holds null".into()),
            Self::Text(texts) => Ok(Content::Text(texts.value(i).to_owned())),
            Self::Turns { sides, tools } => {
                let mut read =
                    sides.iter().map(|(name, list)| messages(list, i).map_err(|e| format!("column `{name}` {e}")));
                let mut next = || read.next().unwrap_or_else(|| Ok(Vec::new()));
                let tools = tools.filter(|column| column.is_valid(i)).map(|column| json_text(column.value(i)));
                let tools = tools.transpose().map_err(|e| format!("column `{TOOLS}` {e}"))?;
                Ok(match sides.len() {
                    1 => Content::Chat { messages: next()?, tools },
                    _ => Content::Preference { prompt: next()?, chosen: next()?, rejected: next()?, tools },
                })
            }
        }
    }
}

fn json_text(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| format!("is no JSON: {e}"))
}

/// The messages in row `i` of a side.
fn messages(side: &ListArray, i: usize) -> Result<Vec<Message>, String> {
    let none = "holds no list of messages";
    if side.is_null(i) {
        return Err(none.into());
    }
    let turns = side.value(i);
    let turns = turns.as_struct_opt().ok_or(none)?;
    let column = |name| texts(turns, name);
    let (roles, contents) = (column("role").ok_or(none)?, column("content").ok_or(none)?);
    let there = |name: &&str| turns.column_by_name(name).is_some();
    let fields: Vec<&str> = TURN_FIELDS.into_iter().filter(there).collect();
    let turn = |(i, (role, content)): (usize, (Option<&str>, Option<&str>))| {
        let role = role.ok_or(none)?;
        let mut message = content.map_or_else(|| Message::without_text(role), |content| Message::new(role, content));
        for name in &fields {
            let value = match *name {
                TOOL_CALLS => read_calls(turns, i)?,
                name => column(name).filter(|c| c.is_valid(i)).map(|c| c.value(i).into()),
            };
            if let Some(value) = value {
                message = message.with(name, value);
            }
        }
        Ok(message)
    };
    roles.iter().zip(contents).enumerate().map(turn).collect()
}

fn texts<'a>(fields: &'a StructArray, name: &str) -> Option<&'a StringArray> {
    fields.column_by_name(name)?.as_string_opt()
}

/// The calls of turn `i`; `None` if it makes none.
fn read_calls(turns: &StructArray, i: usize) -> Result<Option<Value>, String> {
    let column = turns.column_by_name(TOOL_CALLS).and_then(|c| c.as_list_opt::<i32>());
    let Some(column) = column.filter(|column| column.is_valid(i)) else { return Ok(None) };
    let list = column.value(i);
    let calls = list.as_struct_opt().ok_or("holds no calls of tools")?;
    let called =
        calls.column_by_name("function").and_then(|c| c.as_struct_opt()).ok_or("holds no calls of functions")?;
    let call = |i| {
        let text = |fields, name| texts(fields, name).filter(|c| c.is_valid(i)).map(|c| c.value(i));
        let mut call = Map::new();
        for name in ["id", "type"] {
            call.extend(text(calls, name).map(|value| (name.to_owned(), value.into())));
        }
        let mut function = Map::new();
        function.extend(text(called, "name").map(|name| ("name".to_owned(), name.into())));
        if let Some(arguments) = text(called, "arguments") {
            function.insert("arguments".into(), json_text(arguments)?);
        }
        call.insert("function".into(), function.into());
        Ok(call.into())
    };
    let read: Result<Vec<Value>, String> = (0..calls.len()).map(call).collect();
    read.map(|calls| Some(json!(calls)))
}

#[cfg(test)]
mod tests {
    use arrow_schema::Schema;

    use super::*;

    fn calls(arguments: &Value) -> Value {
        json!([{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": arguments}}])
    }

    #[test]
    fn what_is_written_is_read_again() {
        let turn = |role: &str| vec![Message::new(role, "Perch\u{e9} no?"), Message::new("assistant", "")];
        let with_calls = vec![
            Message::new("user", "Piove?"),
            Message::without_text("assistant").with(TOOL_CALLS, calls(&json!({"z": "Bari", "a": [1, null]}))),
            Message::new("tool", "no").with("tool_call_id", "c1").with("name", "weather"),
            Message::new("assistant", "").with(TOOL_CALLS, calls(&json!("no object"))),
            Message::new("assistant", "No.").with("reasoning_content", "Sole."),
        ];
        let tools = Some(json!([{"type": "function", "function": {"name": "weather", "parameters": {}}}]));
        let contents = [
            Content::Text("uno".into()),
            Content::chat(turn("user")),
            Content::preference(turn("system"), Vec::new(), turn("user")),
            Content::Chat { messages: with_calls.clone(), tools: tools.clone() },
            Content::Preference { prompt: turn("user"), chosen: with_calls, rejected: Vec::new(), tools },
        ];
        for content in contents {
            let kind = content.kind();
            let mut extras = Extras::default();
            extras.add(&content);
            let mut builder = ContentBuilder::new(kind, &extras);
            builder.push(Some(&content));
            builder.push(None);
            let schema = Arc::new(Schema::new(content_fields(kind, &extras)));
            let batch = RecordBatch::try_new(schema, builder.finish()).unwrap_or_else(|e| panic!("{e}"));
            let columns = ContentColumns::new(&batch, kind).unwrap_or_else(|e| panic!("{e}"));
            let read = columns.get(0);
            // Maps are equal in any order; their texts are not.
            let shown = |content: &Content| {
                let messages: Vec<&Message> = content.messages().collect();
                serde_json::to_string(&(messages, content.tools())).unwrap_or_default()
            };
            assert_eq!(read.as_ref().map(shown), Ok(shown(&content)));
            assert_eq!(read, Ok(content));
            assert!(columns.get(1).is_err());
        }
    }

    #[test]
    fn columns_are_those_that_occur() {
        let plain = content_fields(Kind::Chat, &Extras::default());
        let DataType::List(item) = plain[0].data_type() else { panic!("a list") };
        assert_eq!((plain.len(), item.data_type()), (1, &DataType::Struct(turn_fields(&Extras::default()))));
        let mut extras = Extras::default();
        extras.add(&Content::chat(vec![Message::new("tool", "no").with("tool_call_id", "c1")]));
        let DataType::Struct(fields) = turn_item(&extras).data_type().clone() else { panic!("a struct") };
        let names: Vec<&String> = fields.iter().map(|f| f.name()).collect();
        assert_eq!(names, ["role", "content", "tool_call_id"]);
    }
}
