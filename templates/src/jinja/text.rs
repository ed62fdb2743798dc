//! Values as text: Python's `str` and `repr`.

use std::fmt::Write;

use super::{
    failure::{Failure, Result},
    limits::{self, fits, spend},
    value::{Class, DEPTH, Dict, Value},
};

/// What `str` makes of a value.
pub fn string(value: &Value) -> Result<String> {
    let mut out = String::new();
    write_str(value, &mut out)?;
    Ok(out)
}

/// Append what `str` makes of a value, at the cost of its text.
pub fn write_str(value: &Value, out: &mut String) -> Result<()> {
    match value {
        Value::Undefined(_) => Ok(()),
        Value::Str(text) => {
            limits::read(text)?;
            out.push_str(text);
            Ok(())
        }
        _ => write_repr(value, out, DEPTH),
    }
}

/// What `repr` makes of a value.
pub fn repr(value: &Value) -> Result<String> {
    repr_within(value, DEPTH)
}

/// The same, where no more than `depth` levels may lie below.
pub fn repr_within(value: &Value, depth: usize) -> Result<String> {
    let mut out = String::new();
    write_repr(value, &mut out, depth)?;
    Ok(out)
}

fn write_repr(value: &Value, out: &mut String, depth: usize) -> Result<()> {
    let Some(below) = depth.checked_sub(1) else {
        return Err(Failure::new(format!("a value is nested too deeply to be printed: more than {DEPTH} levels")));
    };
    spend(1)?;
    fits(out.len())?;
    match value {
        Value::Undefined(_) => out.push_str("Undefined"),
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(i) => out.push_str(&i.to_string()),
        Value::Float(f) => out.push_str(&float(*f)),
        Value::Str(text) => {
            limits::read(text)?;
            quote(text, out);
        }
        Value::List(items) => sequence("[", items, "]", out, below)?,
        Value::Tuple(items) => sequence("(", items, if items.len() == 1 { ",)" } else { ")" }, out, below)?,
        Value::Dict(dict) => mapping(dict, out, below)?,
        Value::View(view, dict) => {
            limits::items(dict.entries().len())?;
            let items: Vec<Value> = dict.entries().iter().map(|entry| view.item(entry)).collect();
            out.push_str(view.name());
            sequence("([", &items, "])", out, below)?;
        }
        Value::Range(range) => {
            let _ = write!(out, "range({}, {}", range.start, range.stop);
            if range.step != 1 {
                let _ = write!(out, ", {}", range.step);
            }
            out.push(')');
        }
        Value::Generator(_) | Value::Function(_) | Value::Method(..) => return Err(address(value)),
        Value::Object(object) => out.push_str(&object.printed(below)?.ok_or_else(|| address(value))?),
    }
    Ok(())
}

/// Python prints these with their address, which is another one in each run.
fn address(value: &Value) -> Failure {
    Failure::new(format!("the template prints a {:?}, not what is in it", Class(value)))
}

fn sequence(open: &str, items: &[Value], close: &str, out: &mut String, depth: usize) -> Result<()> {
    out.push_str(open);
    for (i, item) in items.iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        write_repr(item, out, depth)?;
    }
    out.push_str(close);
    Ok(())
}

fn mapping(dict: &Dict, out: &mut String, depth: usize) -> Result<()> {
    out.push('{');
    for (i, (key, value)) in dict.entries().iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        write_repr(key, out, depth)?;
        out.push_str(": ");
        write_repr(value, out, depth)?;
    }
    out.push('}');
    Ok(())
}

/// A string between quotes: single ones, unless it holds such and no double ones.
fn quote(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if printable(c) => out.push(c),
            c => {
                let code = u32::from(c);
                let _ = match code {
                    0..=0xFF => write!(out, "\\x{code:02x}"),
                    0x100..=0xFFFF => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
}

/// Whether Python prints it as it is: no control, format, private or unassigned character, no space but the usual one.
pub fn printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    // After a letter, the standard library escapes just those; at the beginning also what joins a letter.
    let mut joined = String::from("a");
    joined.push(c);
    joined.escape_debug().nth(1) == Some(c)
}

/// A float as Python writes it: the shortest digits that give it back, an exponent from 1e16 on and below 1e-4.
pub fn float(f: f64) -> String {
    if f.is_nan() {
        return "nan".into();
    }
    if f.is_infinite() {
        return if f > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{f:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = exponent.parse().unwrap_or(0);
    if f != 0.0 && !(-4..16).contains(&power) {
        let sign = if power < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", power.abs());
    }
    let plain = format!("{f}");
    if plain.contains('.') { plain } else { plain + ".0" }
}
