//! `value.name` and `value[key]`, as jinja2's sandbox reads them: an attribute of Python comes before a key of the same
//! name (`message.items` is a method), and methods that change their value are undefined.

use std::rc::Rc;

use super::{
    failure::Result,
    limits::read,
    names::{DICT, DICT_CHANGES, FLOAT, INT, LIST, LIST_CHANGES, STR, TUPLE},
    value::{Text, Value, hashable},
};

/// `value.name`.
pub fn attribute(value: &Value, name: &str) -> Result<Value> {
    if let Some(failure) = value.missing() {
        return Err(failure);
    }
    if let Some(found) = of_python(value, name) {
        return Ok(found);
    }
    let keyed = match value {
        Value::Dict(dict) => dict.named(name).cloned(),
        _ => None,
    };
    Ok(keyed.unwrap_or_else(|| no_attribute(value, name)))
}

/// `value[key]`.
pub fn item(value: &Value, key: &Value) -> Result<Value> {
    if let Some(failure) = value.missing() {
        return Err(failure);
    }
    if let Value::Str(text) = value {
        read(text)?;
    }
    let found = match value {
        Value::Dict(dict) if hashable(key).is_ok() => dict.get(key).cloned(),
        Value::List(items) | Value::Tuple(items) => key.as_int().and_then(|i| at(items, i)),
        Value::Str(text) => key.as_int().and_then(|i| character(text, i)),
        Value::Range(range) => key.as_int().and_then(|i| {
            let index = if i < 0 { i + range.len() } else { i };
            (0..range.len()).contains(&index).then(|| Value::Int(range.start + index * range.step))
        }),
        _ => None,
    };
    if let Some(found) = found {
        return Ok(found);
    }
    Ok(match key {
        Value::Str(name) => of_python(value, name).unwrap_or_else(|| no_attribute(value, name)),
        Value::Int(index) => Value::undefined(format!("a {} has no element {index}", value.class())),
        _ => Value::undefined(format!("a {} has no element of that {}", value.class(), key.class())),
    })
}

fn no_attribute(value: &Value, name: &str) -> Value {
    Value::undefined(format!("a {} has no attribute `{}`", value.class(), short(name)))
}

/// A name for a message.
fn short(name: &str) -> String {
    if name.chars().count() <= 60 { name.to_owned() } else { name.chars().take(59).chain(['…']).collect() }
}

fn at(items: &[Value], index: i128) -> Option<Value> {
    let index = if index < 0 { index + i128::try_from(items.len()).ok()? } else { index };
    items.get(usize::try_from(index).ok()?).cloned()
}

fn character(text: &Text, index: i128) -> Option<Value> {
    let found = if index >= 0 {
        text.chars().nth(usize::try_from(index).ok()?)
    } else {
        text.chars().rev().nth(usize::try_from(-1 - index).ok()?)
    };
    found.map(|c| Value::Str(Text { text: (&*c.encode_utf8(&mut [0; 4])).into(), html: text.html }))
}

/// An attribute that the type has in Python.
fn of_python(value: &Value, name: &str) -> Option<Value> {
    if name.len() > 4 && name.starts_with("__") && name.ends_with("__") {
        return Some(Value::undefined(format!("`{}` is out of reach in a template", short(name))));
    }
    let method = |names: &[&'static str]| {
        let name = names.iter().find(|n| **n == name)?;
        Some(Value::Method(Rc::new(value.clone()), name))
    };
    let changes = |names: &[&str]| {
        let why = || format!("`{name}` would change a {}, which a template may not", value.class());
        names.contains(&name).then(|| Value::undefined(why()))
    };
    match value {
        Value::Str(_) => method(STR),
        Value::Dict(_) => method(DICT).or_else(|| changes(DICT_CHANGES)),
        Value::List(_) => method(LIST).or_else(|| changes(LIST_CHANGES)),
        Value::Tuple(items) => {
            let named = items.names.iter().position(|n| *n == name).map(|at| items[at].clone());
            named.or_else(|| method(TUPLE))
        }
        Value::Range(range) => match name {
            "start" => Some(Value::Int(range.start)),
            "stop" => Some(Value::Int(range.stop)),
            "step" => Some(Value::Int(range.step)),
            _ => method(TUPLE),
        },
        Value::Int(_) | Value::Bool(_) => {
            let int = value.as_int().unwrap_or(0);
            match name {
                "real" | "numerator" => Some(Value::Int(int)),
                "imag" => Some(Value::Int(0)),
                "denominator" => Some(Value::Int(1)),
                _ => method(INT),
            }
        }
        Value::Float(f) => match name {
            "real" => Some(Value::Float(*f)),
            "imag" => Some(Value::Float(0.0)),
            _ => method(FLOAT),
        },
        Value::Object(object) => object.attribute(name, value),
        Value::Function("dict") => method(&["fromkeys"]),
        _ => None,
    }
}
