//! The document as every rule sees it: one of three kinds of content, and the columns around it.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeMap};
use serde_json::{Map, Value};

/// What a recipe produces; every source of a recipe yields the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One text a row (`text`).
    Text,
    /// One conversation a row (`messages`).
    Chat,
    /// One prompt and two answers a row (`prompt`, `chosen`, `rejected`).
    Preference,
}

impl Kind {
    /// Every kind, for rules that take any.
    pub const ALL: &'static [Kind] = &[Kind::Text, Kind::Chat, Kind::Preference];

    /// The name recipes use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Chat => "chat",
            Kind::Preference => "preference",
        }
    }
}

/// Names of the columns that hold the content of rows of `kind`; beside them a row may have tools.
#[must_use]
pub fn content_names(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Text => &["text"],
        Kind::Chat => &["messages"],
        Kind::Preference => &["prompt", "chosen", "rejected"],
    }
}

/// The field that holds a turn's text, and is null where a turn is nothing but calls.
const CONTENT: &str = "content";
/// The field that holds the tools that an assistant's turn calls.
pub const TOOL_CALLS: &str = "tool_calls";

/// One turn of a conversation, in the shape that `datasets` and TRL read. As JSON it is one object: `role`, `content`,
/// then the other fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// The turn's text.
    pub content: String,
    /// What else the turn holds, in the source's order: `tool_calls`, `tool_call_id`, `name`, `reasoning_content`.
    /// A `content` among them is null and says that the turn has no text, which templates tell from an empty one.
    pub fields: Option<Box<Map<String, Value>>>,
}

impl Message {
    /// A turn of `role` saying `content`, and nothing else.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), fields: None }
    }

    /// The same turn with one more field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.get_or_insert_default().insert(name.to_owned(), value.into());
        self
    }

    /// A turn of `role` without a text: its `content` is null.
    pub fn without_text(role: impl Into<String>) -> Self {
        Self::new(role, "").with(CONTENT, Value::Null)
    }

    /// Whether its text is null rather than empty.
    pub fn has_no_text(&self) -> bool {
        self.fields.as_ref().is_some_and(|fields| fields.contains_key(CONTENT))
    }

    /// The fields beside role and content, in the source's order.
    pub fn others(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.fields.iter().flat_map(|fields| fields.iter()).filter(|(name, _)| *name != CONTENT)
    }

    /// One of these fields.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.as_ref().filter(|_| name != CONTENT)?.get(name)
    }

    /// Whether the turn calls tools.
    pub fn calls_tools(&self) -> bool {
        self.field(TOOL_CALLS).is_some()
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", &self.role)?;
        map.serialize_entry(CONTENT, &(!self.has_no_text()).then_some(&self.content))?;
        self.others().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::<String, Value>::deserialize(deserializer)?;
        let Some(Value::String(role)) = fields.shift_remove("role") else {
            return Err(D::Error::custom("a message has a `role`, which is text"));
        };
        let mut message = match fields.shift_remove(CONTENT) {
            Some(Value::String(content)) => Self::new(role, content),
            Some(Value::Null) => Self::without_text(role),
            _ => return Err(D::Error::custom("a message has a `content`, which is text or null")),
        };
        if !fields.is_empty() {
            message.fields.get_or_insert_default().extend(fields);
        }
        Ok(message)
    }
}

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A plain document.
    Text(String),
    /// A conversation.
    Chat {
        /// Its turns.
        messages: Vec<Message>,
        /// The list of tools that its assistant may call, each as JSON Schema describes functions.
        tools: Option<Value>,
    },
    /// A prompt with a preferred and a dispreferred answer.
    Preference {
        /// The turns before the answers.
        prompt: Vec<Message>,
        /// The preferred answer's turns.
        chosen: Vec<Message>,
        /// The other answer's turns.
        rejected: Vec<Message>,
        /// The list of tools that either answer may call.
        tools: Option<Value>,
    },
}

impl Content {
    /// A conversation without tools.
    #[must_use]
    pub fn chat(messages: Vec<Message>) -> Self {
        Self::Chat { messages, tools: None }
    }

    /// A preference without tools.
    #[must_use]
    pub fn preference(prompt: Vec<Message>, chosen: Vec<Message>, rejected: Vec<Message>) -> Self {
        Self::Preference { prompt, chosen, rejected, tools: None }
    }

    /// Which kind this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Content::Text(_) => Kind::Text,
            Content::Chat { .. } => Kind::Chat,
            Content::Preference { .. } => Kind::Preference,
        }
    }

    /// The tools that may be called, if the row names any.
    #[must_use]
    pub fn tools(&self) -> Option<&Value> {
        match self {
            Content::Text(_) => None,
            Content::Chat { tools, .. } | Content::Preference { tools, .. } => tools.as_ref(),
        }
    }

    /// The lists of messages: none of a text, one of a chat, of a preference prompt, chosen and rejected.
    pub fn sides(&self) -> impl Iterator<Item = &Vec<Message>> {
        let sides = match self {
            Content::Text(_) => [None, None, None],
            Content::Chat { messages, .. } => [Some(messages), None, None],
            Content::Preference { prompt, chosen, rejected, .. } => [Some(prompt), Some(chosen), Some(rejected)],
        };
        sides.into_iter().flatten()
    }

    /// The same lists, to be edited in place.
    pub fn sides_mut(&mut self) -> impl Iterator<Item = &mut Vec<Message>> {
        let sides = match self {
            Content::Text(_) => [None, None, None],
            Content::Chat { messages, .. } => [Some(messages), None, None],
            Content::Preference { prompt, chosen, rejected, .. } => [Some(prompt), Some(chosen), Some(rejected)],
        };
        sides.into_iter().flatten()
    }

    /// Every message in reading order: prompt, chosen, rejected. Empty for a text.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.sides().flatten()
    }

    /// What a message is called, by its number in reading order: `messages[1] (assistant)`, counted from 0 as rows are.
    #[must_use]
    pub fn message_name(&self, number: usize) -> Option<String> {
        let mut left = number;
        for (name, messages) in content_names(self.kind()).iter().zip(self.sides()) {
            if let Some(message) = messages.get(left) {
                return Some(format!("{name}[{left}] ({})", message.role));
            }
            left -= messages.len();
        }
        None
    }

    /// Every string that a person would read, in reading order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let text = match self {
            Content::Text(text) => Some(text.as_str()),
            _ => None,
        };
        text.into_iter().chain(self.messages().map(|m| m.content.as_str()))
    }

    /// The same strings, to be edited in place.
    pub fn texts_mut(&mut self) -> Vec<&mut String> {
        match self {
            Content::Text(text) => vec![text],
            other => other.sides_mut().flatten().map(|m| &mut m.content).collect(),
        }
    }

    /// Bytes of UTF-8 in all texts, tools and further fields: the unit of every `bytes` figure in a ledger.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let texts: u64 = self.texts().map(|t| t.len() as u64).sum();
        let others: u64 = self.messages().flat_map(Message::others).map(|(_, value)| size(value)).sum();
        texts + others + self.tools().map_or(0, size)
    }
}

/// Bytes of UTF-8 in the texts of a value; a number counts as eight.
pub fn size(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum(),
        _ => 8,
    }
}

/// What a name of a source stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameOf {
    /// Who says a turn.
    Role,
    /// A field of a turn, a call or a tool.
    Field,
}

impl std::fmt::Display for NameOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Role => "role",
            Self::Field => "field",
        })
    }
}

/// A name of a source that is another one in the row: sources have many spellings of a conversation, and rows have one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Renamed {
    /// What it stands for.
    pub what: NameOf,
    /// As the source has it.
    pub from: Cow<'static, str>,
    /// As the row has it.
    pub to: Cow<'static, str>,
}

impl Renamed {
    /// A role.
    pub fn role(from: impl Into<Cow<'static, str>>, to: &'static str) -> Self {
        Self { what: NameOf::Role, from: from.into(), to: to.into() }
    }

    /// A field.
    pub fn field(from: impl Into<Cow<'static, str>>, to: &'static str) -> Self {
        Self { what: NameOf::Field, from: from.into(), to: to.into() }
    }
}

/// One row on its way through a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it says.
    pub content: Content,
    /// ISO 639-1 code: declared by the source, replaced by the `language` rule when one runs.
    pub language: Option<String>,
    /// The source's other columns, as read.
    pub columns: Map<String, Value>,
    /// Names of roles and fields that were others in the source, each once.
    pub renamed: Vec<Renamed>,
    /// Columns that a template of the source asks for and that the source's row has not.
    pub absent: Vec<String>,
}

impl Row {
    /// A row with no language and no further columns.
    #[must_use]
    pub fn new(content: Content) -> Self {
        Self { content, language: None, columns: Map::new(), renamed: Vec::new(), absent: Vec::new() }
    }

    /// A plain document.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Content::Text(text.into()))
    }

    /// A conversation from `(role, content)` pairs.
    #[must_use]
    pub fn chat(turns: &[(&str, &str)]) -> Self {
        Self::new(Content::chat(turns.iter().map(|(r, c)| Message::new(*r, *c)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_object_that_it_was_read_from() {
        for json in [
            r#"{"role":"user","content":"Ciao"}"#,
            r#"{"role":"assistant","content":""}"#,
            r#"{"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"f","arguments":{"z":1,"a":2}}}]}"#,
            r#"{"role":"tool","content":"19 °C","tool_call_id":"1","name":"f"}"#,
        ] {
            let message: Message = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"));
            assert_eq!(serde_json::to_string(&message).unwrap_or_default(), json);
        }
        let calls: Message = Message::without_text("assistant").with(TOOL_CALLS, Vec::<Value>::new());
        assert!(calls.has_no_text() && calls.calls_tools() && calls.field("content").is_none());
        assert!(serde_json::from_str::<Message>(r#"{"role":"user","content":3}"#).is_err());
    }
}
