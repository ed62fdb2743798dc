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

/// Add the nearest key to serde's "unknown field `x`, expected one of `a`, `b`".
#[must_use]
pub fn explain(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((unknown, known)) if message.starts_with("unknown ") => {
            format!("{message}{}", nearest(unknown, known.iter().copied()))
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        assert_eq!(nearest("treshold", ["keep", "threshold"]), " (did you mean `threshold`?)");
        assert_eq!(nearest("xyz", ["keep", "threshold"]), "");
        let field = explain("unknown field `kep`, expected one of `keep`, `threshold`");
        assert!(field.ends_with(" (did you mean `keep`?)"), "{field}");
        let variant = explain("unknown variant `hole`, expected `whole` or `windows`");
        assert!(variant.ends_with(" (did you mean `whole`?)"), "{variant}");
        assert_eq!(explain("missing field `name`"), "missing field `name`");
    }
}
