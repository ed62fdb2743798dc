//! Methods of Python's dicts, lists, tuples and numbers, but those that change them.

use std::rc::Rc;

use super::{
    arguments::{Arguments, int, required},
    failure::{Failure, Result},
    slices::limits,
    value::{Class, Dict, Value, View, equal, hashable, whole},
};

/// Call a method of a value that has it.
pub fn call(of: &Value, name: &str, arguments: Arguments) -> Result<Value> {
    match of {
        Value::Dict(dict) => dict_method(dict, name, arguments),
        Value::Function(_) => from_keys(arguments),
        Value::List(_) if name == "copy" => arguments.none(name).map(|()| of.clone()),
        Value::List(_) | Value::Tuple(_) | Value::Range(_) => sequence(&of.items()?, name, arguments),
        _ => {
            arguments.none(name)?;
            let size = of.as_int().unwrap_or(0).unsigned_abs();
            Ok(match (name, of) {
                ("bit_length", _) => Value::Int(i128::from(128 - size.leading_zeros())),
                ("bit_count", _) => Value::Int(i128::from(size.count_ones())),
                ("is_integer", Value::Float(f)) => {
                    Value::Bool(f.is_finite() && (whole(*f).is_some() || f.fract() == 0.0))
                }
                ("is_integer", _) => Value::Bool(true),
                (_, Value::Bool(b)) => Value::Int(i128::from(*b)),
                _ => of.clone(),
            })
        }
    }
}

fn dict_method(dict: &Rc<Dict>, name: &str, arguments: Arguments) -> Result<Value> {
    let view = |view, arguments: Arguments| arguments.none(name).map(|()| Value::View(view, dict.clone()));
    match name {
        "get" => {
            // The parameters of `get` have no names.
            let [key, default] = arguments.bind(name, ["", ""])?;
            let key = required(key, name)?;
            hashable(&key)?;
            Ok(dict.get(&key).cloned().or(default).unwrap_or(Value::None))
        }
        "items" => view(View::Items, arguments),
        "keys" => view(View::Keys, arguments),
        "values" => view(View::Values, arguments),
        "copy" => arguments.none(name).map(|()| Value::Dict(dict.clone())),
        _ => from_keys(arguments),
    }
}

fn from_keys(arguments: Arguments) -> Result<Value> {
    let [keys, value] = arguments.bind("fromkeys", ["", ""])?;
    let mut dict = Dict::default();
    for key in required(keys, "fromkeys")?.items()? {
        dict.insert(key, value.clone().unwrap_or(Value::None))?;
    }
    Ok(Value::dict(dict))
}

fn sequence(items: &[Value], name: &str, arguments: Arguments) -> Result<Value> {
    let [item, start, stop] = arguments.bind(name, ["", "", ""])?;
    let item = required(item, name)?;
    if name == "count" {
        if start.is_some() {
            return Err(Failure::new("`count` takes one argument"));
        }
        return Ok(Value::from(items.iter().filter(|i| equal(i, &item)).count()));
    }
    let bound = |value: Option<Value>| int(value.as_ref(), name);
    let (from, to) = limits(items.len(), bound(start)?, bound(stop)?);
    let place = items.iter().enumerate().skip(from).take(to.saturating_sub(from)).find(|(_, i)| equal(i, &item));
    place
        .map(|(at, _)| Value::from(at))
        .ok_or_else(|| Failure::new(format!("`index`: that {:?} is not in the list", Class(&item))))
}
