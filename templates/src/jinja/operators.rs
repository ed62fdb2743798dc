//! Python's operators.

use std::cmp::Ordering;

use super::{
    failure::{Failure, Result},
    limits::{self, fits, spend},
    percent,
    syntax::Operator,
    text::write_str,
    value::{Class, DEPTH, Html, Text, Value, View, equal, float, hashable},
};

fn unsupported(operator: &str, a: &Value, b: &Value) -> Failure {
    Failure::new(format!("`{operator}` is not defined for {:?} and {:?}", Class(a), Class(b)))
}

fn too_large() -> Failure {
    Failure::new("an integer is too large")
}

fn by_zero() -> Failure {
    Failure::new("division by zero")
}

/// Two numbers, as integers if both are.
enum Numbers {
    Ints(i128, i128),
    Floats(f64, f64),
}

fn numbers(a: &Value, b: &Value) -> Option<Numbers> {
    if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
        return Some(Numbers::Ints(a, b));
    }
    Some(Numbers::Floats(a.as_float()?, b.as_float()?))
}

/// The value of `a operator b`.
pub fn binary(operator: Operator, a: &Value, b: &Value) -> Result<Value> {
    // Of a string, `%` formats, and takes an undefined argument as any other.
    if let (Operator::Modulo, Value::Str(text)) = (operator, a) {
        return percent::format(text, b).map(Value::from);
    }
    if let Some(failure) = a.missing().or_else(|| b.missing()) {
        return Err(failure);
    }
    match operator {
        Operator::Add => add(a, b),
        Operator::Subtract => subtract(a, b),
        Operator::Multiply => multiply(a, b),
        Operator::Divide => match numbers(a, b).ok_or_else(|| unsupported("/", a, b))? {
            Numbers::Ints(_, 0) | Numbers::Floats(_, 0.0) => Err(by_zero()),
            Numbers::Ints(a, b) => Ok(Value::Float(float(a) / float(b))),
            Numbers::Floats(a, b) => Ok(Value::Float(a / b)),
        },
        Operator::FloorDivide => match numbers(a, b).ok_or_else(|| unsupported("//", a, b))? {
            Numbers::Ints(_, 0) | Numbers::Floats(_, 0.0) => Err(by_zero()),
            Numbers::Ints(a, b) => {
                let truncated = a.checked_div(b).ok_or_else(too_large)?;
                Ok(Value::Int(truncated - i128::from(a % b != 0 && (a < 0) != (b < 0))))
            }
            Numbers::Floats(a, b) => Ok(Value::Float(((a - modulo(a, b)) / b).round())),
        },
        Operator::Modulo => match numbers(a, b).ok_or_else(|| unsupported("%", a, b))? {
            Numbers::Ints(_, 0) | Numbers::Floats(_, 0.0) => Err(by_zero()),
            Numbers::Ints(a, b) => {
                let rest = a.checked_rem(b).ok_or_else(too_large)?;
                Ok(Value::Int(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }))
            }
            Numbers::Floats(a, b) => Ok(Value::Float(modulo(a, b))),
        },
        Operator::Power => match numbers(a, b).ok_or_else(|| unsupported("**", a, b))? {
            Numbers::Ints(a, b) if b >= 0 => {
                let exponent = u32::try_from(b).map_err(|_| too_large());
                let small = matches!(a, -1..=1);
                match exponent {
                    Ok(b) => a.checked_pow(b).map(Value::Int).ok_or_else(too_large),
                    Err(_) if small => Ok(Value::Int(if a == -1 && b % 2 == 0 { 1 } else { a })),
                    Err(failure) => Err(failure),
                }
            }
            Numbers::Ints(0, _) => Err(by_zero()),
            Numbers::Ints(a, b) => Ok(Value::Float(float(a).powf(float(b)))),
            Numbers::Floats(a, b) if a == 0.0 && b < 0.0 => Err(by_zero()),
            Numbers::Floats(a, b) if a < 0.0 && b.fract() != 0.0 => Err(Failure::new("a complex number")),
            Numbers::Floats(a, b) => Ok(Value::Float(a.powf(b))),
        },
    }
}

/// The rest, with the sign of the divisor.
fn modulo(a: f64, b: f64) -> f64 {
    let rest = a % b;
    if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
}

fn add(a: &Value, b: &Value) -> Result<Value> {
    match (a, b) {
        (Value::Str(left), Value::Str(right)) => {
            fits(left.len() + right.len())?;
            Ok(join([left, right]))
        }
        (Value::List(left), Value::List(right)) => {
            limits::items(left.len() + right.len())?;
            Ok(Value::list(left.iter().chain(right.iter()).cloned().collect()))
        }
        (Value::Tuple(left), Value::Tuple(right)) => {
            limits::items(left.len() + right.len())?;
            Ok(Value::tuple(left.iter().chain(right.iter()).cloned().collect()))
        }
        _ => match numbers(a, b).ok_or_else(|| unsupported("+", a, b))? {
            Numbers::Ints(a, b) => a.checked_add(b).map(Value::Int).ok_or_else(too_large),
            Numbers::Floats(a, b) => Ok(Value::Float(a + b)),
        },
    }
}

fn subtract(a: &Value, b: &Value) -> Result<Value> {
    match numbers(a, b).ok_or_else(|| unsupported("-", a, b))? {
        Numbers::Ints(a, b) => a.checked_sub(b).map(Value::Int).ok_or_else(too_large),
        Numbers::Floats(a, b) => Ok(Value::Float(a - b)),
    }
}

fn multiply(a: &Value, b: &Value) -> Result<Value> {
    let many = |times: &Value| times.as_int().map(|n| usize::try_from(n.max(0)).unwrap_or(usize::MAX));
    match (a, many(b), b, many(a)) {
        (Value::Str(text), Some(n), ..) | (.., Value::Str(text), Some(n)) => {
            limits::read(text)?;
            fits(text.len().saturating_mul(n))?;
            Ok(Value::Str(Text { text: text.repeat(n).into(), html: text.html }))
        }
        (Value::List(items), Some(n), ..) | (.., Value::List(items), Some(n)) => {
            limits::items(items.len().saturating_mul(n))?;
            Ok(Value::list(std::iter::repeat_n(items.iter(), n).flatten().cloned().collect()))
        }
        (Value::Tuple(items), Some(n), ..) | (.., Value::Tuple(items), Some(n)) => {
            limits::items(items.len().saturating_mul(n))?;
            Ok(Value::tuple(std::iter::repeat_n(items.iter(), n).flatten().cloned().collect()))
        }
        _ => match numbers(a, b).ok_or_else(|| unsupported("*", a, b))? {
            Numbers::Ints(a, b) => a.checked_mul(b).map(Value::Int).ok_or_else(too_large),
            Numbers::Floats(a, b) => Ok(Value::Float(a * b)),
        },
    }
}

/// What a sign before a value makes of it.
pub fn negative(value: &Value) -> Result<Value> {
    if let Value::Float(f) = value {
        return Ok(Value::Float(-f));
    }
    let int = value.as_int().ok_or_else(|| signless(value))?;
    int.checked_neg().map(Value::Int).ok_or_else(too_large)
}

pub fn positive(value: &Value) -> Result<Value> {
    match value {
        Value::Float(f) => Ok(Value::Float(*f)),
        _ => value.as_int().map(Value::Int).ok_or_else(|| signless(value)),
    }
}

fn signless(value: &Value) -> Failure {
    value.missing().unwrap_or_else(|| Failure::new(format!("a {:?} has no sign", Class(value))))
}

/// `a ~ b ~ c`: a plain text, even of HTML, as long as nothing is escaped by itself.
pub fn concat(parts: &[Value]) -> Result<Value> {
    let mut out = String::new();
    for part in parts {
        write_str(part, &mut out)?;
        fits(out.len())?;
    }
    Ok(Value::from(out))
}

/// A text after another. Where one is HTML, a plain one is escaped.
fn join(texts: [&Text; 2]) -> Value {
    if texts.iter().all(|t| t.html == Html::Plain) {
        return Value::from(texts.iter().map(|t| &***t).collect::<String>());
    }
    let escaped: String = texts.iter().map(|t| escape(t)).collect();
    Value::markup(escaped)
}

/// A text as HTML, unless it is that.
pub fn escape(text: &Text) -> String {
    if text.html == Html::Markup {
        return text.to_string();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            _ => out.push(c),
        }
    }
    out
}

/// Which of two values is the greater; `None` for those that have no order, as NaN.
///
/// # Errors
/// Python does not compare the two.
pub fn compare(a: &Value, b: &Value) -> Result<Option<Ordering>> {
    compare_below(a, b, DEPTH)
}

fn compare_below(a: &Value, b: &Value, depth: usize) -> Result<Option<Ordering>> {
    spend(1)?;
    if let Some(failure) = a.missing().or_else(|| b.missing()) {
        return Err(failure);
    }
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => Ok(Some(a.text.cmp(&b.text))),
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            let Some(below) = depth.checked_sub(1) else {
                return Err(Failure::new("values are nested too deeply to be compared"));
            };
            match left.iter().zip(right.iter()).find(|(a, b)| !equal(a, b)) {
                Some((a, b)) => compare_below(a, b, below),
                None => Ok(Some(left.len().cmp(&right.len()))),
            }
        }
        _ => match numbers(a, b).ok_or_else(|| unsupported("<", a, b))? {
            Numbers::Ints(a, b) => Ok(Some(a.cmp(&b))),
            Numbers::Floats(a, b) => Ok(a.partial_cmp(&b)),
        },
    }
}

/// `item in values`.
pub fn contains(values: &Value, item: &Value) -> Result<bool> {
    match values {
        Value::Str(text) => match item {
            Value::Str(part) => Ok(text.contains(&**part)),
            _ => Err(Failure::new(format!("`in` of a string needs a string, not {:?}", Class(item)))),
        },
        Value::Dict(dict) | Value::View(View::Keys, dict) => {
            hashable(item)?;
            Ok(dict.get(item).is_some())
        }
        Value::Generator(left) => {
            // As Python: what was passed on the way is gone.
            while let Some(next) = left.next() {
                if equal(&next, item) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::List(items) | Value::Tuple(items) => Ok(items.iter().any(|i| equal(i, item))),
        _ if values.iterable() => Ok(values.items()?.iter().any(|i| equal(i, item))),
        _ => Err(Failure::new(format!("a {:?} holds no items", Class(values)))),
    }
}
