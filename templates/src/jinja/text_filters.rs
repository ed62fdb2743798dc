//! Filters that make a string of a string, or of what is printed as one.

use std::fmt::Write;

use super::{
    arguments::{Arguments, int, int_or_none, required, text},
    failure::{Failure, Result},
    lexer::space,
    limits::{self, fits},
    operators::escape,
    percent, str_methods,
    text::string,
    value::{Class, Dict, Html, Text, Value, View},
};

/// What such a filter makes of a value.
pub fn apply(name: &str, value: &Value, arguments: Arguments) -> Result<Value> {
    if let (
        Value::Str(text),
        "capitalize" | "title" | "escape" | "e" | "forceescape" | "urlencode" | "indent" | "truncate" | "wordcount",
    ) = (value, name)
    {
        limits::spell(text)?;
    }
    match name {
        "trim" => {
            let [chars] = arguments.bind(name, ["chars"])?;
            str_methods::trim(&soft(value)?, chars.as_ref())
        }
        "string" => arguments.none(name).and_then(|()| soft(value)).map(Value::Str),
        "safe" => arguments.none(name).and_then(|()| string(value)).map(Value::markup),
        "escape" | "e" => arguments.none(name).and_then(|()| soft(value)).map(|text| Value::markup(escape(&text))),
        "forceescape" => {
            arguments.none(name)?;
            Ok(Value::markup(escape(&Text { text: string(value)?.into(), html: Html::Plain })))
        }
        "upper" | "lower" => {
            arguments.none(name)?;
            str_methods::call(&soft(value)?, name, Arguments::default())
        }
        "capitalize" => {
            arguments.none(name).and_then(|()| soft(value)).map(|text| made(&text, str_methods::capitalize(&text)))
        }
        "title" => arguments.none(name).and_then(|()| soft(value)).map(|text| made(&text, title(&text))),
        "replace" => {
            let [old, new, count] = arguments.bind(name, ["old", "new", "count"])?;
            let (old, new) = (string(&required(old, name)?)?, string(&required(new, name)?)?);
            str_methods::replace(&string(value)?, &old, &new, int_or_none(count.as_ref(), name)?)
        }
        "indent" => indent(value, arguments),
        "format" => {
            let format = soft(value)?;
            if !arguments.positional.is_empty() && !arguments.named.is_empty() {
                return Err(Failure::new("`format` takes arguments with names or without, not both"));
            }
            let values = if arguments.named.is_empty() {
                Value::tuple(arguments.positional)
            } else {
                let mut named = Dict::default();
                for (name, value) in arguments.named {
                    named.set(&name, value);
                }
                Value::dict(named)
            };
            percent::format(&format, &values).map(Value::from)
        }
        "center" => {
            let [width] = arguments.bind(name, ["width"])?;
            let width = int(width.as_ref(), name)?.unwrap_or(80);
            let width = fits(usize::try_from(width.max(0)).unwrap_or(usize::MAX))?;
            str_methods::justify(&soft(value)?, name, width, " ")
        }
        "wordcount" => {
            arguments.none(name)?;
            let words = |c: char| c != '_' && !c.is_alphanumeric();
            Ok(Value::from(soft(value)?.split(words).filter(|w| !w.is_empty()).count()))
        }
        "truncate" => truncate(value, arguments),
        _ => url_encode(value, arguments),
    }
}

/// A value as a string; a string stays what it is.
fn soft(value: &Value) -> Result<Text> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        _ => Ok(Text { text: string(value)?.into(), html: Html::Plain }),
    }
}

/// A string made of another.
fn made(of: &Text, text: String) -> Value {
    Value::Str(Text { text: text.into(), html: of.html })
}

/// Each word begins with a capital, and words begin behind white space, hyphens and opening brackets.
fn title(text: &str) -> String {
    let begins = |c: char| space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let gap = rest.find(|c| !begins(c)).unwrap_or(rest.len());
        out.push_str(&rest[..gap]);
        rest = &rest[gap..];
        let end = rest.find(begins).unwrap_or(rest.len());
        let mut word = rest[..end].chars();
        if let Some(first) = word.next() {
            out.extend(first.to_uppercase());
            out.push_str(&word.as_str().to_lowercase());
        }
        rest = &rest[end..];
    }
    out
}

fn indent(value: &Value, arguments: Arguments) -> Result<Value> {
    let [width, first, blank] = arguments.bind("indent", ["width", "first", "blank"])?;
    let Value::Str(text) = value else {
        return Err(value
            .missing()
            .unwrap_or_else(|| Failure::new(format!("`indent` wants a string, not {:?}", Class(value)))));
    };
    let indentation = match width {
        Some(Value::Str(text)) => text.to_string(),
        width => {
            let width = int(width.as_ref(), "indent")?.unwrap_or(4).max(0);
            " ".repeat(fits(usize::try_from(width).unwrap_or(usize::MAX))?)
        }
    };
    let truth = |value: Option<Value>| value.is_some_and(|v| v.truth());
    let (first, blank) = (truth(first), truth(blank));
    let ended = format!("{}\n", &**text);
    let lines = str_methods::lines(&ended)?;
    fits(ended.len().saturating_add(lines.len().saturating_mul(indentation.len())))?;
    let mut out = String::new();
    for (i, (line, _)) in lines.iter().enumerate() {
        out.push_str(if i > 0 { "\n" } else { "" });
        if if i == 0 { first } else { blank || !line.is_empty() } {
            out.push_str(&indentation);
        }
        out.push_str(line);
    }
    Ok(made(text, out))
}

fn truncate(value: &Value, arguments: Arguments) -> Result<Value> {
    let [length, kill, end, leeway] = arguments.bind("truncate", ["length", "killwords", "end", "leeway"])?;
    let Value::Str(whole) = value else {
        return Err(Failure::new(format!("`truncate` wants a string, not {:?}", Class(value))));
    };
    let end = end.unwrap_or_else(|| Value::from("..."));
    let end = text(&end, "truncate")?;
    let (length, leeway) = (int(length.as_ref(), "truncate")?, int_or_none(leeway.as_ref(), "truncate")?);
    let size = |n: i128| usize::try_from(n).map_err(|_| Failure::new("`truncate` wants no negative number"));
    let (length, leeway) = (size(length.unwrap_or(255))?, size(leeway.unwrap_or(5))?);
    let Some(kept) = length.checked_sub(end.chars().count()) else {
        return Err(Failure::new("`truncate`: the end is longer than the length"));
    };
    if whole.chars().count() <= length.saturating_add(leeway) {
        return Ok(value.clone());
    }
    let cut: String = whole.chars().take(kept).collect();
    let cut =
        if kill.is_some_and(|k| k.truth()) { &*cut } else { cut.rsplit_once(' ').map_or(&*cut, |(before, _)| before) };
    Ok(made(whole, format!("{cut}{end}")))
}

fn url_encode(value: &Value, arguments: Arguments) -> Result<Value> {
    arguments.none("urlencode")?;
    let quote = |value: &Value, query: bool| -> Result<String> {
        let mut out = String::new();
        for byte in string(value)?.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(char::from(byte)),
                b'/' if !query => out.push('/'),
                b' ' if query => out.push('+'),
                _ => {
                    let _ = write!(out, "%{byte:02X}");
                }
            }
        }
        Ok(out)
    };
    if matches!(value, Value::Str(_)) || !value.iterable() {
        return quote(value, false).map(Value::from);
    }
    let pairs = match value {
        Value::Dict(dict) => Value::View(View::Items, dict.clone()).items()?,
        _ => value.items()?,
    };
    let parts = pairs.iter().map(|pair| {
        let items = pair.items()?;
        let [key, value] = &items[..] else { return Err(Failure::new("`urlencode` needs pairs")) };
        Ok(format!("{}={}", quote(key, true)?, quote(value, true)?))
    });
    Ok(Value::from(parts.collect::<Result<Vec<_>>>()?.join("&")))
}
