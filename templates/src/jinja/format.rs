//! Python's `str.format`, with attributes and items read as the sandbox reads them.
//! Source: <https://docs.python.org/3/library/string.html#format-string-syntax>

use super::{
    attributes::{attribute, item},
    failure::{Failure, Result},
    limits::{fits, spend},
    number_format::Spec,
    text::{repr, string, write_str},
    value::{Class, Dict, Value},
};

/// How deep a place may stand in the format of another.
const DEPTH: u32 = 3;

/// `text.format(*positional, **named)`.
pub fn format(text: &str, positional: &[Value], named: &Dict) -> Result<String> {
    let mut places = Places { positional, named, next: Next::Unknown };
    places.fill(text, DEPTH)
}

/// Whether places are numbered by their order or by themselves; not both.
#[derive(PartialEq)]
enum Next {
    Unknown,
    Automatic(usize),
    Manual,
}

struct Places<'a> {
    positional: &'a [Value],
    named: &'a Dict,
    next: Next,
}

impl Places<'_> {
    fn fill(&mut self, text: &str, depth: u32) -> Result<String> {
        if depth == 0 {
            return Err(Failure::new("a format is nested too deeply"));
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            out.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                out.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(Failure::new("a format has a single }"));
            }
            spend(1)?;
            fits(out.len())?;
            let end = closing(rest).ok_or_else(|| Failure::new("a format has a { that is not closed"))?;
            self.place(&rest[..end], depth, &mut out)?;
            rest = &rest[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn place(&mut self, place: &str, depth: u32, out: &mut String) -> Result<()> {
        // A colon or `!` within brackets belongs to a key.
        let mut brackets = 0;
        let end = place.find(|c| {
            brackets += i32::from(c == '[') - i32::from(c == ']');
            brackets == 0 && matches!(c, ':' | '!')
        });
        let (field, rest) = place.split_at(end.unwrap_or(place.len()));
        let value = self.field(field)?;
        let (conversion, spec) = match rest.strip_prefix('!') {
            Some(rest) => {
                let mut chars = rest.chars();
                let conversion = chars.next();
                match chars.as_str() {
                    "" => (conversion, ""),
                    rest => {
                        (conversion, rest.strip_prefix(':').ok_or_else(|| Failure::new("a format expects : after !"))?)
                    }
                }
            }
            None => (None, rest.strip_prefix(':').unwrap_or("")),
        };
        let value = match conversion {
            None if rest.starts_with('!') => return Err(Failure::new("a format has ! without a conversion")),
            None => value,
            Some('s') => Value::from(string(&value)?),
            Some('r') => Value::from(repr(&value)?),
            Some(c) => return Err(Failure::new(format!("a format has an unknown conversion {c:?}"))),
        };
        let spec = self.fill(spec, depth - 1)?;
        if spec.is_empty() {
            return write_str(&value, out);
        }
        let known = matches!(value, Value::Int(_) | Value::Bool(_) | Value::Float(_) | Value::Str(_));
        if !known {
            return Err(Failure::new(format!("a {:?} takes no format", Class(&value))));
        }
        out.push_str(&Spec::read(&spec)?.apply(&value)?);
        Ok(())
    }

    /// `name.attribute[key]`.
    fn field(&mut self, field: &str) -> Result<Value> {
        let (first, mut rest) = field.split_at(field.find(['.', '[']).unwrap_or(field.len()));
        let number = first.parse::<usize>().ok().filter(|_| first.bytes().all(|b| b.is_ascii_digit()));
        let mut value = match number {
            _ if first.is_empty() => {
                let index = match self.next {
                    Next::Unknown => 0,
                    Next::Automatic(index) => index,
                    Next::Manual => return Err(Failure::new("a format mixes {} and {0}")),
                };
                self.next = Next::Automatic(index + 1);
                self.at(index)?
            }
            Some(index) => {
                if matches!(self.next, Next::Automatic(_)) {
                    return Err(Failure::new("a format mixes {} and {0}"));
                }
                self.next = Next::Manual;
                self.at(index)?
            }
            None => {
                let found = self.named.named(first).cloned();
                found.ok_or_else(|| Failure::new(format!("a format names `{first}`, which is not there")))?
            }
        };
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                value = attribute(&value, &after[..end])?;
                rest = &after[end..];
            } else {
                let after = rest.strip_prefix('[').unwrap_or(rest);
                let end = after.find(']').ok_or_else(|| Failure::new("a format has a [ that is not closed"))?;
                let key = &after[..end];
                let index = key.parse::<i128>().ok().filter(|_| key.bytes().all(|b| b.is_ascii_digit()));
                value = item(&value, &index.map_or_else(|| Value::from(key), Value::Int))?;
                rest = &after[end + 1..];
            }
        }
        Ok(value)
    }

    fn at(&self, index: usize) -> Result<Value> {
        self.positional.get(index).cloned().ok_or_else(|| Failure::new("a format has more places than arguments"))
    }
}

/// Where the brace that was opened before is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}
