//! The document as every rule sees it: one of three kinds of content, and the columns around it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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

/// One turn of a conversation, in the shape that `datasets` and TRL read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// The turn's text.
    pub content: String,
}

impl Message {
    /// A turn of `role` saying `content`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A plain document.
    Text(String),
    /// A conversation.
    Chat(Vec<Message>),
    /// A prompt with a preferred and a dispreferred answer.
    Preference {
        /// The turns before the answers.
        prompt: Vec<Message>,
        /// The preferred answer's turns.
        chosen: Vec<Message>,
        /// The other answer's turns.
        rejected: Vec<Message>,
    },
}

impl Content {
    /// Which kind this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Content::Text(_) => Kind::Text,
            Content::Chat(_) => Kind::Chat,
            Content::Preference { .. } => Kind::Preference,
        }
    }

    /// Every message in reading order: prompt, chosen, rejected. Empty for a text.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        let parts: [&[Message]; 3] = match self {
            Content::Text(_) => [&[], &[], &[]],
            Content::Chat(messages) => [messages, &[], &[]],
            Content::Preference { prompt, chosen, rejected } => [prompt, chosen, rejected],
        };
        parts.into_iter().flatten()
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
            Content::Chat(messages) => messages.iter_mut().map(|m| &mut m.content).collect(),
            Content::Preference { prompt, chosen, rejected } => {
                prompt.iter_mut().chain(chosen.iter_mut()).chain(rejected.iter_mut()).map(|m| &mut m.content).collect()
            }
        }
    }

    /// Bytes of UTF-8 in all texts: the unit of every `bytes` figure in a ledger.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.texts().map(|t| t.len() as u64).sum()
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
}

impl Row {
    /// A row with no language and no further columns.
    #[must_use]
    pub fn new(content: Content) -> Self {
        Self { content, language: None, columns: Map::new() }
    }

    /// A plain document.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Content::Text(text.into()))
    }

    /// A conversation from `(role, content)` pairs.
    #[must_use]
    pub fn chat(turns: &[(&str, &str)]) -> Self {
        Self::new(Content::Chat(turns.iter().map(|(r, c)| Message::new(*r, *c)).collect()))
    }
}
