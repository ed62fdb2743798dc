//! Chat templates and token counts: what a trainer would see of a row.

use std::{path::Path, sync::Arc};

use minijinja::{Environment, Value, context, syntax::SyntaxConfig, value::Serde};
use setaccio_filters::row::Content;
use tokenizers::Tokenizer;

use crate::error::{Error, Result};

/// Renders rows, counts tokens, or does neither.
#[derive(Default)]
pub struct Renderer {
    template: Option<Environment<'static>>,
    tokenizer: Option<Arc<Tokenizer>>,
    tokens: (String, String),
}

const NAME: &str = "template";

impl Renderer {
    /// From a template's source and a tokenizer, either of which may be absent. `bos` and `eos` are
    /// what the template sees as `bos_token` and `eos_token`.
    ///
    /// # Errors
    /// The template does not parse.
    pub fn new(template: Option<String>, tokenizer: Option<Arc<Tokenizer>>, bos: &str, eos: &str) -> Result<Self> {
        let template = template
            .map(|source| {
                let mut env = Environment::new();
                // As transformers sets jinja2 up for chat templates.
                let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
                env.set_syntax(syntax.map_err(|e| Error::Render(format!("template: {e:#}")))?);
                // Published templates call methods of Python's strings and lists.
                env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
                env.add_function(
                    "raise_exception",
                    |message: String| -> std::result::Result<String, minijinja::Error> {
                        Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, message))
                    },
                );
                env.add_template_owned(NAME, source).map_err(|e| Error::Render(format!("template: {e:#}")))?;
                Ok::<_, Error>(env)
            })
            .transpose()?;
        Ok(Self { template, tokenizer, tokens: (bos.into(), eos.into()) })
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
        let (bos_token, eos_token) = (&self.tokens.0, &self.tokens.1);
        let template = env.get_template(NAME).map_err(|e| e.to_string())?;
        match content {
            Content::Text(text) => template.render(context! { text, bos_token, eos_token }),
            Content::Chat(messages) => {
                let messages = Value::from(Serde(messages));
                template.render(context! { messages, bos_token, eos_token, add_generation_prompt => false })
            }
            Content::Preference { .. } => return Err("a preference row has two answers and no one text".into()),
        }
        .map_err(|e| format!("the template fails: {e:#}"))
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

/// Load a `tokenizer.json`.
///
/// # Errors
/// It is missing or not one.
pub fn tokenizer(path: &Path) -> Result<Arc<Tokenizer>> {
    let tokenizer = Tokenizer::from_file(path)
        .map_err(|e| Error::Render(format!("{}: not a tokenizer.json: {e}; see output.tokenizer", path.display())))?;
    Ok(Arc::new(tokenizer))
}
