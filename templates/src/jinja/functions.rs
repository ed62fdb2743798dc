//! The functions that every template has.

use std::cell::Cell;

use super::{
    arguments::{Arguments, int, required, text},
    clock::Clock,
    failure::{Failure, Result},
    objects::{Cycler, Joiner, Namespace},
    text::string,
    value::{Class, Dict, Range, Value},
};

const NAMES: &[&str] = &["cycler", "dict", "joiner", "lipsum", "namespace", "raise_exception", "range", "strftime_now"];

/// The sandbox makes no longer range.
const LONGEST_RANGE: i128 = 100_000;

/// The function of this name.
pub fn find(name: &str) -> Option<Value> {
    NAMES.iter().find(|n| **n == name).map(|n| Value::Function(n))
}

/// Call a function.
pub fn call(name: &str, arguments: Arguments, clock: Option<&Clock>) -> Result<Value> {
    match name {
        "range" => range(arguments),
        "dict" => dict(arguments).map(Value::dict),
        "namespace" => Ok(Value::object(Namespace::new(dict(arguments)?)?)),
        "cycler" => {
            if !arguments.named.is_empty() {
                return Err(Failure::new("`cycler` takes no names"));
            }
            Ok(Value::object(Cycler::new(arguments.positional)?))
        }
        "joiner" => {
            let [separator] = arguments.bind(name, ["sep"])?;
            let separator = separator.unwrap_or_else(|| Value::from(", "));
            Ok(Value::object(Joiner { separator, used: Cell::new(false) }))
        }
        "raise_exception" => {
            let [message] = arguments.bind(name, ["message"])?;
            Err(Failure::new(string(&required(message, name)?)?))
        }
        "strftime_now" => {
            let [format] = arguments.bind(name, ["format"])?;
            let format = required(format, name)?;
            let clock = clock.ok_or_else(|| Failure::new("the template asks for the date, and none is fixed"))?;
            clock.strftime(text(&format, name)?).map(Value::from)
        }
        _ => Err(Failure::new(format!("`{name}` gives another text each time"))),
    }
}

fn range(arguments: Arguments) -> Result<Value> {
    let [first, second, step] = arguments.bind("range", ["", "", ""])?;
    let (first, second) = (int(first.as_ref(), "range")?, int(second.as_ref(), "range")?);
    let first = first.ok_or_else(|| Failure::new("`range` needs an argument"))?;
    let (start, stop) = second.map_or((0, first), |stop| (first, stop));
    let step = int(step.as_ref(), "range")?.unwrap_or(1);
    if step == 0 {
        return Err(Failure::new("the step of a range is 0"));
    }
    if [start, stop, step].iter().any(|n| n.unsigned_abs() > u128::from(u64::MAX)) {
        return Err(Failure::new("a bound of a range is too large"));
    }
    let range = Range { start, stop, step };
    if range.len() > LONGEST_RANGE {
        return Err(Failure::new(format!("a range has more than {LONGEST_RANGE} items")));
    }
    Ok(Value::Range(range))
}

/// Python's `dict(mapping or pairs, **names)`.
fn dict(arguments: Arguments) -> Result<Dict> {
    let mut dict = Dict::default();
    let mut positional = arguments.positional.into_iter();
    match positional.next() {
        None => {}
        Some(Value::Dict(entries)) => {
            for (key, value) in entries.entries() {
                dict.insert(key.clone(), value.clone())?;
            }
        }
        Some(pairs) => {
            for pair in pairs.items()? {
                let items = pair.items()?;
                let [key, value] = &items[..] else {
                    return Err(Failure::new(format!("`dict` needs pairs, not {:?}", Class(&pair))));
                };
                dict.insert(key.clone(), value.clone())?;
            }
        }
    }
    if positional.next().is_some() {
        return Err(Failure::new("`dict` takes one argument without a name"));
    }
    for (name, value) in arguments.named {
        dict.set(&name, value);
    }
    Ok(dict)
}
