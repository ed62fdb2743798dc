//! What Python takes for white space, which is a little more than Unicode's property.

/// `str.isspace` of a character.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str.strip`
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// How many pieces `re.split(r"\s+", text)` gives.
pub fn pieces(text: &str) -> usize {
    let mut before = false;
    let gap = |c: char| {
        let begins = is_space(c) && !before;
        before = is_space(c);
        begins
    };
    1 + text.chars().map(gap).filter(|begins| *begins).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_as_python_splits_them() {
        // len(re.split(r"\s+", text))
        for (text, count) in [("", 1), ("a", 1), ("a b", 2), (" a  b\n", 4), ("\u{1f}a\u{a0}\u{2003}b", 3)] {
            assert_eq!(pieces(text), count, "{text:?}");
        }
        assert_eq!(strip("\u{1c} a \n"), "a");
    }
}
