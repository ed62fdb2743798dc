//! A date in a recipe: text, or a date as TOML writes it, which needs no quotes.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use toml::value::Datetime;

/// Read a date, `"2026-01-31"` or `2026-01-31`, as its text. Whether the text is a date is for its reader to say.
///
/// # Errors
/// It is neither.
pub fn text<'de, D: Deserializer<'de>, T: From<String>>(deserializer: D) -> Result<T, D::Error> {
    struct Text;
    impl<'de> de::Visitor<'de> for Text {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a date, for instance 2026-01-31")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }
        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<String, A::Error> {
            let date = Datetime::deserialize(de::value::MapAccessDeserializer::new(map));
            date.map(|date| date.to_string())
        }
    }
    deserializer.deserialize_any(Text).map(T::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Table {
        #[serde(deserialize_with = "text")]
        date: Option<String>,
        #[serde(deserialize_with = "text")]
        day: String,
    }

    #[test]
    fn a_date_needs_no_quotes() {
        let (date, day) = (Some("2026-01-31".to_owned()), "2026-01-31".to_owned());
        let both = Table { date, day };
        for text in ["date = 2026-01-31\nday = 2026-01-31", "date = '2026-01-31'\nday = \"2026-01-31\""] {
            assert_eq!(toml::from_str::<Table>(text).ok().as_ref(), Some(&both), "{text}");
            let table: toml::Table = text.parse().unwrap_or_default();
            assert_eq!(table.try_into::<Table>().ok().as_ref(), Some(&both), "{text}");
        }
        assert_eq!(toml::from_str("").ok(), Some(Table::default()));
        for text in ["date = 20260131", "date = { year = 2026 }", "date = [2026]"] {
            let error = toml::from_str::<Table>(text).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains("date"), "{error}");
        }
    }
}
