//! "Did you mean": the nearest known name for one that is not known.

/// ` (did you mean `x`?)` for the nearest of `known`, or nothing if none is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(name, k), k))
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

/// What is wrong with a table, in words, with the nearest key where one is not known. `error` holds `message`, serde's own
/// words, and says where.
pub fn explain(error: &str, message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let near = match quoted.split_first() {
        Some((unknown, known)) if message.starts_with("unknown ") => nearest(unknown, known.iter().copied()),
        _ => String::new(),
    };
    let words = |text: String, (rust, words): &(&str, &str)| text.replace(rust, words);
    NUMBERS.iter().fold(error.trim_end().to_owned(), words) + &near
}

#[cfg(test)]
mod tests {
    use super::*;

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
