//! Filters that make numbers.

use std::cmp::Ordering;

use super::{
    arguments::{Arguments, int, text},
    failure::{Failure, Result},
    lexer::space,
    operators,
    value::{Class, Value, whole},
};

/// What such a filter makes of a value.
pub fn apply(name: &str, value: &Value, arguments: Arguments) -> Result<Value> {
    match name {
        "int" => to_int(value, arguments),
        "float" => {
            let [default] = arguments.bind(name, ["default"])?;
            Ok(to_float(value)?.map(Value::Float).unwrap_or(default.unwrap_or(Value::Float(0.0))))
        }
        "abs" => {
            arguments.none(name)?;
            match operators::positive(value)? {
                Value::Float(f) => Ok(Value::Float(f.abs())),
                Value::Int(i) if i < 0 => operators::negative(&Value::Int(i)),
                other => Ok(other),
            }
        }
        _ => round(value, arguments),
    }
}

/// A string as Python's `int` reads it.
fn parse_int(text: &str, base: u32) -> Option<i128> {
    let text = text.trim_matches(space);
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefix = match base {
        16 => "0x",
        8 => "0o",
        2 => "0b",
        _ => "",
    };
    let bare = lower.strip_prefix(prefix).unwrap_or(&lower);
    let misplaced = bare.starts_with('_') || bare.ends_with('_') || bare.contains("__") || bare.starts_with(['+', '-']);
    if misplaced {
        return None;
    }
    i128::from_str_radix(&bare.replace('_', ""), base).ok()?.checked_mul(sign)
}

/// A string as Python's `float` reads it.
fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(space).to_ascii_lowercase();
    let bare = text.trim_start_matches(['+', '-']);
    let named = ["inf", "infinity", "nan"].contains(&bare);
    let numeric = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !(named || numeric) || text.len() > bare.len() + 1 {
        return None;
    }
    text.replace('_', "").parse().ok()
}

fn to_float(value: &Value) -> Result<Option<f64>> {
    if let Some(failure) = value.missing() {
        return Err(failure);
    }
    Ok(match value {
        Value::Str(text) => parse_float(text),
        _ => value.as_float(),
    })
}

fn to_int(value: &Value, arguments: Arguments) -> Result<Value> {
    let [default, base] = arguments.bind("int", ["default", "base"])?;
    let base = int(base.as_ref(), "int")?.and_then(|b| u32::try_from(b).ok()).unwrap_or(10);
    let read = match value {
        Value::Str(text) if (2..=36).contains(&base) => parse_int(text, base),
        Value::Float(f) if !f.is_finite() => return Err(Failure::new("`int` of a number that has no end")),
        _ => value.as_int(),
    };
    let read = match read {
        Some(read) => Some(read),
        None => to_float(value)?.and_then(|f| whole(f.trunc())),
    };
    Ok(read.map(Value::Int).unwrap_or(default.unwrap_or(Value::Int(0))))
}

fn round(value: &Value, arguments: Arguments) -> Result<Value> {
    let [precision, method] = arguments.bind("round", ["precision", "method"])?;
    let precision = int(precision.as_ref(), "round")?.unwrap_or(0);
    let method = method.unwrap_or_else(|| Value::from("common"));
    let method = text(&method, "round")?;
    let float_value = value.as_float().ok_or_else(|| {
        value.missing().unwrap_or_else(|| Failure::new(format!("`round` wants a number, not {:?}", Class(value))))
    })?;
    let places = i32::try_from(precision).unwrap_or(i32::MAX).clamp(-400, 400);
    match method {
        "common" => match (value.as_int(), places) {
            (Some(i), 0..) => Ok(Value::Int(i)),
            (Some(i), places) => Ok(Value::Int(round_int(i, places.unsigned_abs()))),
            (None, places) => Ok(Value::Float(round_float(float_value, places))),
        },
        "ceil" | "floor" => {
            let scale = 10_f64.powi(places);
            let scaled = float_value * scale;
            let stepped = if method == "ceil" { scaled.ceil() } else { scaled.floor() };
            Ok(Value::Float(stepped / scale))
        }
        _ => Err(Failure::new("`round` knows common, ceil and floor")),
    }
}

/// To a multiple of a power of ten, and to the even one of two that are as near.
fn round_int(i: i128, zeros: u32) -> i128 {
    let Some(unit) = 10_i128.checked_pow(zeros) else { return 0 };
    let (below, rest) = (i.div_euclid(unit), i.rem_euclid(unit));
    let up = match (rest * 2).cmp(&unit) {
        Ordering::Less => false,
        Ordering::Equal => below % 2 != 0,
        Ordering::Greater => true,
    };
    (below + i128::from(up)) * unit
}

/// As Python: to the decimal number that is nearest to the float itself, and of two that are as near to the even one.
fn round_float(f: f64, places: i32) -> f64 {
    if !f.is_finite() {
        return f;
    }
    if let Ok(places) = usize::try_from(places) {
        // The standard library writes digits exactly, with halves to even.
        format!("{f:.places$}").parse().unwrap_or(f)
    } else {
        let scale = 10_f64.powi(-places);
        (f / scale).round_ties_even() * scale
    }
}
