//! Chat templates and token counts: what a trainer would see of a row.

use std::{ops::Range, path::Path, sync::Arc};

use minijinja::{Environment, Value, context, syntax::SyntaxConfig, value::Serde};
use setaccio_base::row::{Content, Message};
use tokenizers::Tokenizer;

/// A template or a tokenizer that cannot be used, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Renders rows, counts tokens, or does neither.
#[derive(Default)]
pub struct Renderer {
    template: Option<Environment<'static>>,
    tokenizer: Option<Arc<Tokenizer>>,
    tokens: (String, String),
    /// Whether the template says itself, by `{% generation %}`, what an assistant writes.
    marks: bool,
}

/// A conversation as a template writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendering {
    /// The text.
    pub text: String,
    /// Bytes of it that came out of `{% generation %}` blocks, in order.
    pub generated: Vec<Range<usize>>,
}

const NAME: &str = "template";

/// What stands around the output of a `{% generation %}` block until the end of rendering. Unicode keeps
/// these two code points free for such use: no text holds them.
const MARKS: [char; 2] = ['\u{FDD0}', '\u{FDD1}'];

impl Renderer {
    /// From a template's source and a tokenizer, either of which may be absent. `bos` and `eos` are
    /// what the template sees as `bos_token` and `eos_token`.
    ///
    /// # Errors
    /// The template does not parse.
    pub fn new(template: Option<String>, tokenizer: Option<Arc<Tokenizer>>, bos: &str, eos: &str) -> Result<Self> {
        let mut marks = false;
        let template = template
            .map(|source| {
                let mut env = Environment::new();
                // As transformers sets jinja2 up for chat templates.
                let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
                env.set_syntax(syntax.map_err(|e| Error(format!("template: {e:#}")))?);
                // Published templates call methods of Python's strings and lists.
                env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
                env.add_function(
                    "raise_exception",
                    |message: String| -> std::result::Result<String, minijinja::Error> {
                        Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, message))
                    },
                );
                env.add_filter("generated", |text: String| format!("{}{text}{}", MARKS[0], MARKS[1]));
                let marked = mark(&source);
                marks = marked.is_some();
                env.add_template_owned(NAME, marked.unwrap_or(source))
                    .map_err(|e| Error(format!("template: {e:#}")))?;
                Ok::<_, Error>(env)
            })
            .transpose()?;
        Ok(Self { template, tokenizer, tokens: (bos.into(), eos.into()), marks })
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
        let Some(env) = &self.template else {
            return Ok(content.texts().collect::<Vec<_>>().join("\n"));
        };
        match content {
            Content::Text(text) => {
                let (bos_token, eos_token) = (&self.tokens.0, &self.tokens.1);
                let template = env.get_template(NAME).map_err(|e| e.to_string())?;
                template
                    .render(context! { text, bos_token, eos_token })
                    .map_err(|e| format!("the template fails: {e:#}"))
            }
            Content::Chat { messages, .. } => self.chat(messages, false).map(|r| r.text),
            Content::Preference { .. } => Err("a preference row has two answers and no one text".into()),
        }
    }

    /// Whether the template has `{% generation %}` blocks.
    pub fn marks(&self) -> bool {
        self.marks
    }

    /// Whether the template reads the variable called `name`, as `messages` or `text`.
    pub fn reads(&self, name: &str) -> bool {
        let template = self.template.as_ref().and_then(|env| env.get_template(NAME).ok());
        template.is_some_and(|t| t.undeclared_variables(false).contains(name))
    }

    /// A conversation through the template, with the opening of the next answer if `prompt`. The template
    /// sees what transformers shows it.
    ///
    /// # Errors
    /// There is no template, or it refuses the conversation.
    pub fn chat(&self, messages: &[Message], prompt: bool) -> std::result::Result<Rendering, String> {
        let env = self.template.as_ref().ok_or("there is no chat template")?;
        let template = env.get_template(NAME).map_err(|e| e.to_string())?;
        if self.marks && messages.iter().any(|m| m.content.contains(MARKS)) {
            return Err("the row holds U+FDD0 or U+FDD1, which no text should".into());
        }
        let (bos_token, eos_token) = (&self.tokens.0, &self.tokens.1);
        let messages = Value::from(Serde(messages));
        let given = context! {
            messages, bos_token, eos_token, add_generation_prompt => prompt, tools => (), documents => (),
        };
        let text = template.render(given).map_err(|e| format!("the template fails: {e:#}"))?;
        Ok(if self.marks { unmark(&text) } else { Rendering { text, generated: Vec::new() } })
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

/// `{% generation %}` blocks, which are transformers' own, as blocks of a filter that marks its input;
/// `None` if there are none. Block stays block, so that the white space around it is trimmed alike.
fn mark(source: &str) -> Option<String> {
    let (mut out, mut rest) = (String::with_capacity(source.len()), source);
    let mut found = false;
    while let Some((start, length)) = rest.find("{%").and_then(|s| Some((s, rest[s..].find("%}")?))) {
        let (before, tag) = (&rest[..start], &rest[start..start + length]);
        let word = tag[2..].trim_matches(|c: char| matches!(c, '-' | '+') || c.is_whitespace());
        out.push_str(before);
        match word {
            "generation" => out.push_str(&tag.replacen(word, "filter generated", 1)),
            "endgeneration" => out.push_str(&tag.replacen(word, "endfilter", 1)),
            _ => out.push_str(tag),
        }
        found |= word == "generation";
        rest = &rest[start + length..];
    }
    out.push_str(rest);
    found.then_some(out)
}

/// Take the marks out, and say where they were.
fn unmark(marked: &str) -> Rendering {
    let mut rendered = Rendering { text: String::with_capacity(marked.len()), generated: Vec::new() };
    let mut open = 0;
    let mut depth = 0_usize;
    for piece in marked.split_inclusive(MARKS) {
        rendered.text.push_str(piece.trim_end_matches(MARKS));
        let end = rendered.text.len();
        if piece.ends_with(MARKS[0]) {
            open = if depth == 0 { end } else { open };
            depth += 1;
        } else if piece.ends_with(MARKS[1]) {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                rendered.generated.push(open..end);
            }
        }
    }
    rendered
}

/// Load a `tokenizer.json`.
///
/// # Errors
/// It is missing or not one.
pub fn tokenizer(path: &Path) -> Result<Arc<Tokenizer>> {
    let tokenizer = Tokenizer::from_file(path)
        .map_err(|e| Error(format!("{}: not a tokenizer.json: {e}; see output.tokenizer", path.display())))?;
    Ok(Arc::new(tokenizer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_blocks_say_what_an_assistant_writes() {
        let template = "{%- for m in messages %}\n<{{ m.role }}>\n  {% generation %}\n{{ m.content }}</s>\n  \
                        {%- endgeneration %}\n{% endfor %}";
        let plain =
            template.replace("{% generation %}", "{% if true %}").replace("{%- endgeneration %}", "{%- endif %}");
        let turns = [Message::new("user", "Ciao"), Message::new("assistant", "Perché \u{1F642}")];
        let [marked, plain] = [template, &plain]
            .map(|t| Renderer::new(Some(t.to_owned()), None, "", "").unwrap_or_else(|e| panic!("{e}")));
        assert!(marked.marks() && !plain.marks());
        let rendered = marked.chat(&turns, false).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(Ok(rendered.text.clone()), plain.chat(&turns, false).map(|r| r.text));
        let generated: Vec<&str> = rendered.generated.iter().map(|r| &rendered.text[r.clone()]).collect();
        assert_eq!(generated, ["Ciao</s>", "Perché \u{1F642}</s>"]);
        assert!(marked.chat(&[Message::new("user", "\u{FDD0}")], false).is_err());
        assert!(marked.reads("messages") && !marked.reads("text"));
    }

    #[test]
    fn loops_can_be_left_early() {
        // jinja2.ext.loopcontrols, which transformers switches on: `break` ends the loop, `continue` this turn of it.
        let template = "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.content }};\
                        {% if m.role == 'assistant' %}{% break %}{% endif %}{% endfor %}";
        let turns =
            [("system", "a"), ("user", "b"), ("assistant", "c"), ("user", "d")].map(|(r, t)| Message::new(r, t));
        let renderer = Renderer::new(Some(template.into()), None, "", "").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(renderer.chat(&turns, false).map(|r| r.text), Ok("b;c;".into()));
    }
}
