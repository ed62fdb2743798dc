//! Words as a shell reads them, for commands that a person copies from a card or a lock.

/// One word: in quotes, unless it needs none.
pub fn word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { quote(word) }
}

/// One word in single quotes.
pub fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_each_word_as_it_was() {
        let words =
            ["", "a b", "città", "it's", "$HOME", "`id`", "~", "#1", "a;b", "a&b", "a|b", "<a>", "(a)", "{a,b}"];
        let more = ["*", "?", "[a]", "!x", r"a\b", "\"", "-", "a=b", "50%", "two\nlines", "'", "^a", "train.epochs=2"];
        for text in words.into_iter().chain(more) {
            for written in [word(text), quote(text)] {
                let out = Command::new("sh").args(["-c", &format!("printf %s {written}")]).output();
                let out = out.unwrap_or_else(|e| panic!("{e}"));
                assert_eq!(String::from_utf8_lossy(&out.stdout), text, "{written}");
            }
        }
        assert_eq!(word("pipelines/train/tiny.toml"), "pipelines/train/tiny.toml");
    }
}
