//! YAML as the Hub reads it at the head of a card.

use crate::shown::is_hidden;

/// A YAML scalar: plain where that is safe, or else in JSON's quotes, which YAML reads. Words that YAML
/// takes for something else (`no` is Norwegian, and false) are always quoted, and what YAML refuses to see is escaped.
pub fn quoted(text: &str) -> String {
    let odd =
        ["no", "yes", "on", "off", "true", "false", "null", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./<".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if begins && !odd && text.chars().all(plain) {
        return text.to_owned();
    }
    let unseen = |c: char| is_hidden(c) || matches!(c, '\u{fffe}' | '\u{ffff}');
    // Not as JSON has those behind U+FFFF: YAML knows no pairs.
    let escaped = |c: char| match u32::from(c) {
        _ if !unseen(c) => c.to_string(),
        code @ 0..=0xffff => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    };
    serde_json::Value::from(text).to_string().chars().map(escaped).collect()
}

/// A key with a list of scalars below it, a line each; nothing at all for no values.
pub fn list<T: AsRef<str>>(key: &str, values: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = values.into_iter().map(|value| format!("- {}\n", quoted(value.as_ref()))).collect();
    if items.is_empty() { String::new() } else { format!("{key}:\n{}", items.concat()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_yaml_would_misread_is_quoted() {
        let scalars = [
            ("mit", "mit"),
            ("no", "\"no\""),
            ("a: b # c", "\"a: b # c\""),
            ("1.0", "\"1.0\""),
            ("perch\u{e9} \"s\u{ec}\"", "\"perch\u{e9} \\\"s\u{ec}\\\"\""),
            ("a\u{7f}b\u{85}c\u{2028}d", "\"a\\u007fb\\u0085c\\u2028d\""),
            ("a\u{202e}b\u{e0041}\n---\n", "\"a\\u202eb\\U000e0041\\n---\\n\""),
        ];
        for (text, expected) in scalars {
            assert_eq!(quoted(text), expected);
        }
        assert_eq!(list("language", ["it", "no"]), "language:\n- it\n- \"no\"\n");
        assert_eq!(list("tags", [""; 0]), "");
    }
}
