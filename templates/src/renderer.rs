//! Rows through a chat template.

use std::{ops::Range, sync::Arc};

use serde_json::Value as Json;
use setaccio_base::row::{Content, Message};
use tokenizers::Tokenizer;

use crate::{
    Error, Result,
    jinja::{Clock, Dict, MARKS, Marks, Template, Value, from_json, unmark},
};

/// Renders rows, counts tokens, or does neither.
#[derive(Default)]
pub struct Renderer {
    template: Option<Template>,
    tokenizer: Option<Arc<Tokenizer>>,
    /// Special tokens by the names that templates know them by; one that is not there is undefined, as in transformers.
    tokens: Vec<(&'static str, String)>,
    clock: Option<Clock>,
}

/// A conversation as a template writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendering {
    /// The text.
    pub text: String,
    /// Bytes of it that came out of `{% generation %}` blocks, in order.
    pub generated: Vec<Range<usize>>,
}

/// Where a rendered conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With its last turn.
    Whole,
    /// With the opening of the next answer, which is transformers' `add_generation_prompt`.
    Prompt,
}

impl Renderer {
    /// From a template's source and a tokenizer, either of which may be absent. `bos` and `eos` are what the template sees
    /// as `bos_token` and `eos_token`; an empty one is undefined.
    ///
    /// # Errors
    /// The template does not parse.
    pub fn new(template: Option<&str>, tokenizer: Option<Arc<Tokenizer>>, bos: &str, eos: &str) -> Result<Self> {
        let template = template.map(Template::new).transpose().map_err(|e| Error(format!("template: {e}")))?;
        let tokens = [("bos_token", bos), ("eos_token", eos)].into_iter().filter(|(_, token)| !token.is_empty());
        Ok(Self { template, tokenizer, tokens: tokens.map(|(n, t)| (n, t.to_owned())).collect(), clock: None })
    }

    /// The same, at this moment: what `strftime_now` of a template sees. Without one, a template that asks fails.
    #[must_use]
    pub fn at(mut self, clock: Option<Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Whether rows get a rendered column.
    pub fn renders(&self) -> bool {
        self.template.is_some()
    }

    /// Whether rows get a `tokens` column.
    pub fn counts(&self) -> bool {
        self.tokenizer.is_some()
    }

    /// The row through the template; without one, its texts joined by newlines.
    ///
    /// # Errors
    /// The template refuses the row.
    pub fn render(&self, content: &Content) -> std::result::Result<String, String> {
        let Some(template) = &self.template else {
            return Ok(content.texts().collect::<Vec<_>>().join("\n"));
        };
        match content {
            Content::Text(text) => {
                let mut variables = vec![("text", Value::from(text.as_str()))];
                variables.extend(self.tokens());
                template
                    .render(variables, self.clock.as_ref(), Marks::Off)
                    .map_err(|e| format!("the template fails: {e}"))
            }
            Content::Chat { messages, tools } => self.chat(messages, tools.as_ref(), End::Whole).map(|r| r.text),
            Content::Preference { .. } => Err("a preference row has two answers and no one text".into()),
        }
    }

    /// Whether the template says itself, by `{% generation %}`, what an assistant writes.
    pub fn marks(&self) -> bool {
        self.template.as_ref().is_some_and(Template::generates)
    }

    /// Whether the template reads the variable or function called `name`, as `messages`, `text` or `strftime_now`.
    pub fn reads(&self, name: &str) -> bool {
        self.template.as_ref().is_some_and(|template| template.reads(name))
    }

    /// A conversation through the template, which sees what transformers shows it.
    ///
    /// # Errors
    /// There is no template, or it refuses the conversation.
    pub fn chat(&self, messages: &[Message], tools: Option<&Json>, end: End) -> std::result::Result<Rendering, String> {
        let template = self.template.as_ref().ok_or("there is no chat template")?;
        let marks = if template.generates() { Marks::On } else { Marks::Off };
        if marks == Marks::On && messages.iter().any(|m| m.content.contains(MARKS)) {
            return Err("the row holds U+FDD0 or U+FDD1, which no text should".into());
        }
        let mut variables = vec![
            ("messages", Value::list(messages.iter().map(message).collect())),
            ("tools", tools.map_or(Value::None, from_json)),
            ("documents", Value::None),
            ("add_generation_prompt", Value::Bool(end == End::Prompt)),
        ];
        variables.extend(self.tokens());
        let text =
            template.render(variables, self.clock.as_ref(), marks).map_err(|e| format!("the template fails: {e}"))?;
        Ok(match marks {
            Marks::On => {
                let (text, generated) = unmark(&text);
                Rendering { text, generated }
            }
            Marks::Off => Rendering { text, generated: Vec::new() },
        })
    }

    fn tokens(&self) -> impl Iterator<Item = (&'static str, Value)> {
        self.tokens.iter().map(|(name, token)| (*name, Value::from(token.as_str())))
    }

    /// Tokens of a rendered text; special tokens are those the text spells out.
    ///
    /// # Errors
    /// The tokenizer refuses the text.
    pub fn count(&self, text: &str) -> std::result::Result<i32, String> {
        let Some(tokenizer) = &self.tokenizer else { return Ok(0) };
        let encoding = tokenizer.encode_fast(text, false).map_err(|e| format!("the tokenizer fails: {e}"))?;
        Ok(i32::try_from(encoding.len()).unwrap_or(i32::MAX))
    }
}

/// The names that reasoning goes by; transformers shows a template the first one that is there by two of them.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A turn as a template sees it.
fn message(message: &Message) -> Value {
    let mut dict = Dict::default();
    let reasoning = REASONING.iter().find_map(|name| message.field(name).filter(|v| !v.is_null()));
    if let Some(reasoning) = reasoning {
        dict.set("thinking", from_json(reasoning));
    }
    dict.set("role", Value::from(message.role.as_str()));
    let content = if message.has_no_text() { Value::None } else { Value::from(message.content.as_str()) };
    dict.set("content", content);
    for (name, value) in message.others() {
        dict.set(name, from_json(value));
    }
    if let Some(reasoning) = reasoning {
        dict.set("reasoning_content", from_json(reasoning));
    }
    Value::dict(dict)
}
