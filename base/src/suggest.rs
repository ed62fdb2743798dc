//! "Did you mean": the nearest known name for one that is not known.

/// ` (did you mean `x`?)` for the nearest of `known`, or nothing if none is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|k| (if k.eq_ignore_ascii_case(name) { 0 } else { strsim::damerau_levenshtein(name, k) }, k))
        .min()
        .filter(|(distance, k)| *distance <= 1 + k.len().min(name.len()) / 3)
        .map_or_else(String::new, |(_, k)| format!(" (did you mean `{k}`?)"))
}

/// Rust's numbers, which serde names, in words.
const NUMBERS: [(&str, &str); 6] = [
    ("expected usize", "expected a whole number, 0 or more"),
    ("expected u64", "expected a whole number, 0 or more"),
    ("expected u32", "expected a whole number, 0 or more"),
    ("expected i64", "expected a whole number"),
    ("expected f64", "expected a number"),
    ("expected f32", "expected a number"),
];

/// What serde says of a value that is no text where one of a few words is expected.
const NO_WORD: &str = "invalid type: unit variant, expected string only";

/// `table` again with that value as a text, if this `error`, which says where, is about one: reading it again then names the words.
pub fn as_word(table: &toml::Table, error: &str) -> Option<toml::Table> {
    let at = error.strip_prefix(NO_WORD)?.split('`').nth(1)?;
    let mut table = table.clone();
    let (parents, key) = at.rsplit_once('.').map_or((None, at), |(parents, key)| (Some(parents), key));
    let inner = parents.into_iter().flat_map(|parents| parents.split('.'));
    let inner = inner.into_iter().try_fold(&mut table, |table, name| table.get_mut(name)?.as_table_mut())?;
    let value = inner.get_mut(key)?;
    *value = toml::Value::String(value.to_string());
    Some(table)
}

/// What is wrong with a table, in words, with the nearest key where one is not known. `error` holds `message`, serde's own
/// words, and says where.
pub fn explain(error: &str, message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let near = match quoted.split_first() {
        Some((unknown, known)) if message.starts_with("unknown ") => nearest(unknown, known.iter().copied()),
        _ => String::new(),
    };
    let error = error.replace(NO_WORD, "invalid type: expected a text in quotes, one of those that the setting knows");
    let words = |text: String, (rust, words): &(&str, &str)| text.replace(rust, words);
    NUMBERS.iter().fold(error.trim_end().to_owned(), words) + &near
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_no_word_is_tried_as_one() {
        let table: toml::Table = "[a.b]\nc = 1\nd = true".parse().unwrap();
        let found = |at: &str| as_word(&table, &format!("{NO_WORD} in `{at}`"));
        assert_eq!(found("a.b.c").unwrap()["a"]["b"]["c"].as_str(), Some("1"));
        assert_eq!(found("a.b.d").unwrap()["a"]["b"]["d"].as_str(), Some("true"));
        assert!(found("a.x.c").is_none() && as_word(&table, "missing field `c` in `a.b`").is_none());
        assert!(explain(NO_WORD, NO_WORD).contains("a text in quotes"));
    }

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        assert_eq!(nearest("treshold", ["keep", "threshold"]), " (did you mean `threshold`?)");
        assert_eq!(nearest("xyz", ["keep", "threshold"]), "");
        for (message, said) in [
            ("unknown field `kep`, expected one of `keep`, `threshold`", " in `length` (did you mean `keep`?)"),
            ("unknown variant `hole`, expected `whole` or `windows`", " in `length` (did you mean `whole`?)"),
            ("missing field `name`", " in `length`"),
        ] {
            assert_eq!(explain(&format!("{message} in `length`\n"), message), format!("{message}{said}"));
        }
        let message = "invalid value: integer `-1`, expected usize";
        assert_eq!(explain(message, message), "invalid value: integer `-1`, expected a whole number, 0 or more");
    }
}
