//! Python's `json.dumps`, as the filter `tojson` calls it.
//! Source: <https://docs.python.org/3/library/json.html#json.dump>

use std::fmt::Write;

use super::{
    failure::{Failure, Result},
    limits::{self, fits, spend},
    operators::compare,
    order::sort,
    text,
    value::{Class, DEPTH, Dict, Value},
};

/// The keywords of `json.dumps` that transformers lets a template give.
pub struct Style {
    pub ascii: Ascii,
    /// What stands before an item, for each level; `None` for everything in one line.
    pub indent: Option<String>,
    pub item_separator: String,
    pub key_separator: String,
    pub keys: Keys,
}

/// Whether other characters than ASCII's are written as escapes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ascii {
    Any,
    Only,
}

/// The order of keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    AsTheyCame,
    Sorted,
}

/// A value as JSON.
pub fn dumps(value: &Value, style: &Style) -> Result<String> {
    let mut out = String::new();
    style.write(value, 0, &mut out)?;
    Ok(out)
}

impl Style {
    fn write(&self, value: &Value, level: usize, out: &mut String) -> Result<()> {
        if level > DEPTH {
            return Err(Failure::new(format!("a value is nested too deeply for JSON: more than {DEPTH} levels")));
        }
        spend(1)?;
        fits(out.len())?;
        match value {
            Value::None => out.push_str("null"),
            Value::Bool(true) => out.push_str("true"),
            Value::Bool(false) => out.push_str("false"),
            Value::Int(i) => out.push_str(&i.to_string()),
            Value::Float(f) => out.push_str(&float(*f)),
            Value::Str(text) => {
                limits::read(text)?;
                self.quote(text, out);
            }
            Value::List(items) | Value::Tuple(items) => {
                let write = |item: &Value, out: &mut String| self.write(item, level + 1, out);
                self.container(["[", "]"], items, level, write, out)?;
            }
            Value::Dict(dict) => {
                let mut entries: Vec<&(Value, Value)> = dict.entries().iter().collect();
                if self.keys == Keys::Sorted {
                    entries = sort(entries, &|a, b| compare(&a.0, &b.0))?;
                }
                let write = |(key, value): &&(Value, Value), out: &mut String| {
                    match key {
                        Value::Str(text) => self.quote(text, out),
                        Value::Int(i) => self.quote(&i.to_string(), out),
                        Value::Float(f) => self.quote(&float(*f), out),
                        Value::Bool(true) => out.push_str("\"true\""),
                        Value::Bool(false) => out.push_str("\"false\""),
                        Value::None => out.push_str("\"null\""),
                        _ => return Err(Failure::new(format!("a {:?} is no key of JSON", Class(key)))),
                    }
                    out.push_str(&self.key_separator);
                    self.write(value, level + 1, out)
                };
                self.container(["{", "}"], &entries, level, write, out)?;
            }
            _ => return Err(Failure::new(format!("a {:?} has no form in JSON", Class(value)))),
        }
        Ok(())
    }

    fn container<T>(
        &self,
        [open, close]: [&str; 2],
        items: &[T],
        level: usize,
        write: impl Fn(&T, &mut String) -> Result<()>,
        out: &mut String,
    ) -> Result<()> {
        out.push_str(open);
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                fits(out.len() + self.item_separator.len())?;
                out.push_str(&self.item_separator);
            }
            self.line(level + 1, out)?;
            write(item, out)?;
        }
        if !items.is_empty() {
            self.line(level, out)?;
        }
        out.push_str(close);
        Ok(())
    }

    fn line(&self, level: usize, out: &mut String) -> Result<()> {
        if let Some(indent) = &self.indent {
            fits(out.len() + indent.len().saturating_mul(level))?;
            out.push('\n');
            out.push_str(&indent.repeat(level));
        }
        Ok(())
    }

    fn quote(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\x08' => out.push_str("\\b"),
                '\x0c' => out.push_str("\\f"),
                c if u32::from(c) < 0x20 || (self.ascii == Ascii::Only && !matches!(c, ' '..='~')) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

fn float(f: f64) -> String {
    match f {
        _ if f.is_nan() => "NaN".into(),
        _ if f.is_infinite() && f > 0.0 => "Infinity".into(),
        _ if f.is_infinite() => "-Infinity".into(),
        _ => text::float(f),
    }
}

/// A value that JSON has, as a template sees it.
pub fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => {
            let written = n.to_string();
            match written.parse() {
                Ok(int) => Value::Int(int),
                Err(_) => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
            }
        }
        serde_json::Value::String(s) => Value::from(s.as_str()),
        serde_json::Value::Array(items) => Value::list(items.iter().map(value).collect()),
        serde_json::Value::Object(fields) => {
            let entries = fields.iter().map(|(k, v)| (Value::from(k.as_str()), value(v)));
            Value::dict(Dict::from_entries(entries.collect()))
        }
    }
}
