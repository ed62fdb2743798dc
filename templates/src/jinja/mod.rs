//! Jinja as transformers' `apply_chat_template` sets it up: jinja2's immutable sandbox with `trim_blocks`, `lstrip_blocks`,
//! loopcontrols, `{% generation %}` and `tojson` as `json.dumps`. Values are Python's, since templates print them, compare
//! them and call their methods.
//!
//! From the bottom up: `value` and its text; operators, attributes and methods; filters, tests and functions; source to
//! tokens to a tree; and the interpreter.

mod arguments;
mod attributes;
mod callables;
mod clock;
mod failure;
mod filters;
mod format;
mod free;
mod functions;
mod generation;
mod interpreter;
mod json;
mod lexer;
mod limits;
mod list_filters;
mod methods;
mod names;
mod number_filters;
mod number_format;
mod objects;
mod operators;
mod order;
mod parser;
mod path;
mod percent;
mod scope;
mod slices;
mod str_methods;
mod syntax;
mod template;
mod tests;
mod text;
mod text_filters;
mod value;

pub use clock::Clock;
pub use generation::{MARKS, unmark};
pub use interpreter::Marks;
pub use json::value as from_json;
pub use template::Template;
pub use value::{Dict, Value};
