//! Values of columns: JSON's, and beside them the numbers that serde_json's own type cannot hold. Such a number is a
//! marked object with its text, so that it passes unchanged through everything that hands values on.

use std::{borrow::Cow, fmt::Write as _};

use serde_json::{Map, Number, Value};

/// The one key of a marked object. No JSON of anybody's has it: it begins with a character that is no text.
const WIDE: &str = "\u{FDD0}number";

/// Longest text of a value in a message, in characters.
const SHORT: usize = 60;

/// The number that a JSON text spells: the nearest double, an integer of any size as it is written, and Python's `NaN`,
/// `Infinity` and `-Infinity`. The text must be such a number.
pub fn number(text: &str) -> Value {
    let held = if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') && text != "-0" {
        text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from)).ok()
    } else {
        text.parse::<f64>().ok().and_then(Number::from_f64)
    };
    held.map_or_else(|| wide(text), Value::Number)
}

/// A double as a value; JSON has no infinities and nothing that is no number, so Python's names stand for them.
pub fn float(number: f64) -> Value {
    Number::from_f64(number).map_or_else(
        || {
            wide(if number.is_nan() {
                "NaN"
            } else if number > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            })
        },
        Value::Number,
    )
}

fn wide(text: &str) -> Value {
    Value::Object(Map::from_iter([(WIDE.to_owned(), text.into())]))
}

/// The text of a number that is outside of what serde_json holds.
pub fn wide_number(value: &Value) -> Option<&str> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object.get(WIDE)?.as_str()
}

/// Whether such a number is anywhere in a value.
pub fn holds_wide_number(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(holds_wide_number),
        Value::Object(fields) => wide_number(value).is_some() || fields.values().any(holds_wide_number),
        _ => false,
    }
}

/// The nearest double of a number, which may be an infinity or no number.
pub fn as_f64(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| wide_number(value)?.parse().ok())
}

/// A value as text: a text as it is, anything else as JSON.
pub fn printed(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(to_json(other)),
    }
}

/// A value as JSON, numbers as they were written.
pub fn to_json(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

/// Named values as one JSON object.
pub fn object_to_json<'a>(fields: impl IntoIterator<Item = (&'a str, &'a Value)>) -> String {
    let mut out = String::new();
    write_object(fields, &mut out);
    out
}

/// The beginning of a value as JSON, for messages, which are short whatever the data.
pub fn short(value: &Value) -> String {
    let text = to_json(value);
    match text.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => match wide_number(value) {
            Some(number) => out.push_str(number),
            None => write_object(fields.iter().map(|(name, value)| (name.as_str(), value)), out),
        },
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

fn write_object<'a>(fields: impl IntoIterator<Item = (&'a str, &'a Value)>, out: &mut String) {
    out.push('{');
    for (i, (name, value)) in fields.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        let _ = write!(out, "{}:", serde_json::to_string(name).unwrap_or_default());
        write(value, out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_print_as_they_are() {
        // The middle column is Python's repr(json.loads(text)), but for exponents, which serde_json spells its own way.
        for (text, printed, float) in [
            ("0.9999999999999999", "0.9999999999999999", 0.999_999_999_999_999_9),
            ("0.9215686321258545", "0.9215686321258545", 0.921_568_632_125_854_5),
            ("117.63331139400017", "117.63331139400017", 117.633_311_394_000_17),
            ("1.5777777777770001", "1.5777777777770001", 1.577_777_777_777_000_1),
            ("18446744073709551615", "18446744073709551615", 18_446_744_073_709_551_615.0),
            ("18446744073709551616", "18446744073709551616", 18_446_744_073_709_551_616.0),
            ("-123456789012345678901234567890", "-123456789012345678901234567890", -1.234_567_890_123_456_8e29),
            ("-9223372036854775808", "-9223372036854775808", -9_223_372_036_854_775_808.0),
            ("1e5", "100000.0", 100_000.0),
            ("1e400", "1e400", f64::INFINITY),
            ("-Infinity", "-Infinity", f64::NEG_INFINITY),
        ] {
            let value = number(text);
            assert_eq!((to_json(&value).as_str(), as_f64(&value)), (printed, Some(float)), "{text}");
        }
        assert!(as_f64(&number("NaN")).is_some_and(f64::is_nan));
        assert_eq!(["NaN", "Infinity", "2.5"].map(number), [f64::NAN, f64::INFINITY, 2.5].map(super::float));
    }

    #[test]
    fn values_print_as_json_whatever_is_in_them() {
        let value = json!({"z": [1, number("18446744073709551616")], "a": {"b": "\"\u{e8}\n"}});
        assert_eq!(to_json(&value), r#"{"z":[1,18446744073709551616],"a":{"b":"\"è\n"}}"#);
        assert!(holds_wide_number(&value) && !holds_wide_number(&json!({"z": [1, {}]})));
        assert_eq!((printed(&json!("uno")), printed(&json!(["uno"]))), ("uno".into(), r#"["uno"]"#.into()));
        assert_eq!(short(&json!("x".repeat(99))).len(), 63);
    }
}
