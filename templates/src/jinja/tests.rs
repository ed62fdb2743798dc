//! The tests of jinja2, which stand after `is`.
//! Source: <https://jinja.palletsprojects.com/en/stable/templates/#list-of-builtin-tests>

use std::rc::Rc;

use super::{
    arguments::{Arguments, required},
    failure::{Failure, Result},
    limits::spell,
    names::{is_filter, is_test},
    operators,
    str_methods::{is_lower, is_upper},
    syntax::Operator,
    text::string,
    value::{Html, Value, equal},
};

/// What a test says of a value.
pub fn holds(name: &str, value: &Value, arguments: Arguments) -> Result<bool> {
    let two = matches!(
        name,
        "divisibleby"
            | "sameas"
            | "in"
            | "=="
            | "eq"
            | "equalto"
            | "!="
            | "ne"
            | ">"
            | "gt"
            | "greaterthan"
            | "ge"
            | ">="
            | "<"
            | "lt"
            | "lessthan"
            | "<="
            | "le"
    );
    if two {
        let [other] = arguments.bind(name, [if name == "divisibleby" { "num" } else { "" }])?;
        return compared(name, value, &required(other, name)?);
    }
    arguments.none(name)?;
    Ok(match name {
        "defined" => !value.is_undefined(),
        "undefined" => value.is_undefined(),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_)),
        "string" => matches!(value, Value::Str(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        // What has a length and takes an index, which a dict and an undefined value do too.
        "sequence" => matches!(
            value,
            Value::Undefined(_) | Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_) | Value::Range(_)
        ),
        "iterable" => value.iterable() || value.class() == "LoopContext",
        "callable" => match value {
            // jinja2's own have `__call__`; an undefined value too, which then fails.
            Value::Object(object) => matches!(object.class(), "Macro" | "Joiner" | "LoopContext"),
            _ => matches!(value, Value::Function(_) | Value::Method(..) | Value::Undefined(_)),
        },
        "lower" | "upper" => {
            let text = string(value)?;
            spell(&text)?;
            if name == "lower" { is_lower(&text) } else { is_upper(&text) }
        }
        "escaped" => matches!(value, Value::Str(text) if text.html == Html::Markup),
        "odd" | "even" => {
            let rest = operators::binary(Operator::Modulo, value, &Value::Int(2))?;
            equal(&rest, &Value::Int(i128::from(name == "odd")))
        }
        "filter" => value.as_str().is_some_and(is_filter),
        "test" => value.as_str().is_some_and(is_test),
        _ => return Err(Failure::new(format!("no test is called `{name}`"))),
    })
}

fn compared(name: &str, value: &Value, other: &Value) -> Result<bool> {
    let order = || operators::compare(value, other);
    Ok(match name {
        "divisibleby" => equal(&operators::binary(Operator::Modulo, value, other)?, &Value::Int(0)),
        "sameas" => same(value, other),
        "in" => operators::contains(other, value)?,
        "==" | "eq" | "equalto" => equal(value, other),
        "!=" | "ne" => !equal(value, other),
        ">" | "gt" | "greaterthan" => order()?.is_some_and(std::cmp::Ordering::is_gt),
        ">=" | "ge" => order()?.is_some_and(std::cmp::Ordering::is_ge),
        "<" | "lt" | "lessthan" => order()?.is_some_and(std::cmp::Ordering::is_lt),
        _ => order()?.is_some_and(std::cmp::Ordering::is_le),
    })
}

/// Whether two values are one object, as far as that can be told: small values are.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => Rc::ptr_eq(a, b),
        (Value::Dict(a), Value::Dict(b)) => Rc::ptr_eq(a, b),
        (Value::Undefined(_), Value::Undefined(_)) => false,
        _ => a.class() == b.class() && equal(a, b),
    }
}
