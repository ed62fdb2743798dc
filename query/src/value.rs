//! Values of an answer, as JSON and as texts.

use polars::prelude::AnyValue;
use serde_json::{Map, Number, Value};

/// A value as JSON. What is not finite is null, as JSON has no number for it.
pub fn json(value: &AnyValue<'_>) -> Value {
    match value {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(yes) => Value::Bool(*yes),
        AnyValue::String(text) => Value::String((*text).to_owned()),
        AnyValue::StringOwned(text) => Value::String(text.to_string()),
        AnyValue::UInt8(n) => (*n).into(),
        AnyValue::UInt16(n) => (*n).into(),
        AnyValue::UInt32(n) => (*n).into(),
        AnyValue::UInt64(n) => (*n).into(),
        AnyValue::Int8(n) => (*n).into(),
        AnyValue::Int16(n) => (*n).into(),
        AnyValue::Int32(n) => (*n).into(),
        AnyValue::Int64(n) => (*n).into(),
        AnyValue::Float32(n) => Number::from_f64(f64::from(*n)).map_or(Value::Null, Value::Number),
        AnyValue::Float64(n) => Number::from_f64(*n).map_or(Value::Null, Value::Number),
        AnyValue::List(items) => items.iter().map(|item| json(&item)).collect(),
        AnyValue::Struct(_, _, fields) => {
            let values = value._iter_struct_av().map(|value| json(&value));
            Value::Object(fields.iter().map(|field| field.name().to_string()).zip(values).collect())
        }
        AnyValue::StructOwned(owned) => {
            let (values, fields) = &**owned;
            let pairs = fields.iter().zip(values).map(|(field, value)| (field.name().to_string(), json(value)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        other => Value::String(other.to_string()),
    }
}

/// A value as a text, if it is not null: text as it is, what is nested as JSON. `number` writes what has a fraction.
pub fn text(value: &AnyValue<'_>, number: fn(f64) -> String) -> Option<String> {
    match value {
        AnyValue::Null => None,
        AnyValue::Float32(n) => Some(number(f64::from(*n))),
        AnyValue::Float64(n) => Some(number(*n)),
        value => Some(match json(value) {
            Value::String(text) => text,
            other => other.to_string(),
        }),
    }
}

/// A number with all its digits.
pub fn exact(number: f64) -> String {
    if number.is_finite() {
        Number::from_f64(number).map_or_else(String::new, |n| n.to_string())
    } else {
        number.to_string()
    }
}

/// A number for a person: six digits that count, and none of a whole number left out.
pub fn short(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() || number == 0.0 {
        return number.to_string();
    }
    if !(1e-4..1e15).contains(&size) {
        let text = format!("{number:.5e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{power}", trimmed(digits));
    }
    // Digits before the point; of 0.05 there is one less than none.
    let mut before = 1;
    let mut rest = size;
    while rest >= 10.0 {
        rest /= 10.0;
        before += 1;
    }
    while rest < 1.0 {
        rest *= 10.0;
        before -= 1;
    }
    trimmed(&format!("{number:.*}", usize::try_from(6 - before).unwrap_or(0))).to_owned()
}

/// Without zeros at the end of a fraction.
fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{DataType, Field};
    use serde_json::json as expected;

    use super::*;

    #[test]
    fn numbers_are_short_and_whole() {
        let cases = [
            (0.0, "0"),
            (0.5, "0.5"),
            (6.250_408_085, "6.25041"),
            (-0.000_123_456_789, "-0.000123457"),
            (0.000_012_345_678, "1.23457e-5"),
            (123_456.789, "123457"),
            (1_234_567.0, "1234567"),
            (1e21, "1e21"),
            (100.0, "100"),
            (0.1 + 0.2, "0.3"),
            (9.999_999_9, "10"),
            (f64::INFINITY, "inf"),
        ];
        for (number, text) in cases {
            assert_eq!(short(number), text, "{number}");
        }
        assert_eq!([0.1 + 0.2, 1.0].map(exact), ["0.30000000000000004", "1.0"]);
    }

    #[test]
    fn nested_values_are_json() {
        let fields = vec![Field::new("role".into(), DataType::String), Field::new("n".into(), DataType::Int64)];
        let turn =
            AnyValue::StructOwned(Box::new((vec![AnyValue::StringOwned("user".into()), AnyValue::Null], fields)));
        assert_eq!(json(&turn), expected!({"role": "user", "n": null}));
        assert_eq!(text(&turn, exact).as_deref(), Some("{\"role\":\"user\",\"n\":null}"));
        assert_eq!(json(&AnyValue::Float64(f64::NAN)), Value::Null);
        assert_eq!(json(&AnyValue::UInt64(u64::MAX)), expected!(u64::MAX));
        assert_eq!((text(&AnyValue::Null, exact), text(&AnyValue::String("a"), exact)), (None, Some("a".into())));
    }
}
