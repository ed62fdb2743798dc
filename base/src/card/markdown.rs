//! Text of others within Markdown as the Hub shows it: a title, a file's name or a citation says what it says, and adds no
//! heading, style, image, HTML or cell. Source: <https://spec.commonmark.org/0.31.2/>, <https://github.github.com/gfm/>.

use crate::shown::{one_line, shown};

/// A line of plain text. What is not seen, or turns text around, is an escape as on a terminal.
pub fn plain(text: &str) -> String {
    let text = one_line(&text.split(['\n', '\r', '\t']).collect::<Vec<_>>().join(" "));
    let text = text.trim();
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        let next = text[at + c.len_utf8()..].chars().next().unwrap_or(' ');
        if acts(c, before, next) || begins(&text[..at], c, next) {
            out.push('\\');
        }
        out.push(c);
        before = c;
    }
    out
}

/// Whether a character marks code, a style, a link, HTML, mathematics or an entity.
fn acts(c: char, before: char, next: char) -> bool {
    match c {
        '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '$' => true,
        // Between letters it is one: `clean_mc4_it`.
        '_' => !(before.is_alphanumeric() && next.is_alphanumeric()),
        '~' => before == '~' || next == '~',
        '&' => next == '#' || next.is_ascii_alphabetic(),
        _ => false,
    }
}

/// Whether a character behind `before` begins a block where that is the beginning of a line: a heading, a list, a table, a
/// rule, or what makes a heading of the line above.
fn begins(before: &str, c: char, next: char) -> bool {
    match c {
        '#' | '|' => before.is_empty(),
        '-' | '=' => before.is_empty() && (next == ' ' || next == c || next == '|'),
        '+' => before.is_empty() && next == ' ',
        ':' => before.is_empty() && next == '-',
        '.' | ')' => next == ' ' && !before.is_empty() && before.bytes().all(|b| b.is_ascii_digit()),
        _ => false,
    }
}

/// [`plain`] text in a table.
pub fn cell(text: &str) -> String {
    plain(text).replace('|', "\\|")
}

/// [`plain`] lines: paragraphs stay apart, and nothing else is made of them.
pub fn paragraphs(text: &str) -> String {
    let lines: Vec<String> = text.trim().lines().map(|line| plain(line.trim())).collect();
    lines.join("\n")
}

/// A name in the type of code.
pub fn code(text: &str) -> String {
    let text = one_line(text);
    let fence = "`".repeat(longest_run(&text) + 1);
    // A space next to a fence is taken away with it.
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    if text.is_empty() { text } else { format!("{fence}{pad}{text}{pad}{fence}") }
}

/// The same in a table.
pub fn code_cell(text: &str) -> String {
    code(text).replace('|', "\\|")
}

/// Lines of code in `language`, which may be empty.
pub fn block(language: &str, text: &str) -> String {
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", shown(text.trim_end()))
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// A repository of the Hub is `owner/name`; a path is not.
pub fn repository(name: &str) -> Option<&str> {
    let good = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(plain)
    };
    name.split_once('/').filter(|(owner, name)| good(owner) && good(name)).map(|_| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let cases = [
            ("Orca instruction mix (WizardLM, Alpaca), 2023. arXiv:2304.12244", None),
            ("clean_mc4_it, 100k rows & more: 5 < 6", Some("clean_mc4_it, 100k rows & more: 5 \\< 6")),
            ("# A heading", Some("\\# A heading")),
            ("C# and #1", None),
            ("- a list", Some("\\- a list")),
            ("-5 and +5", None),
            ("1. a list", Some("1\\. a list")),
            ("1.5 times", None),
            ("---", Some("\\---")),
            ("==", Some("\\==")),
            ("|a|b|", Some("\\|a|b|")),
            (":-|-:", Some("\\:-|-:")),
            ("**bold** _it_ ~~no~~ `x`", Some("\\*\\*bold\\*\\* \\_it\\_ \\~\\~no\\~\\~ \\`x\\`")),
            ("![x](http://x.example/y.png)", Some("!\\[x\\](http://x.example/y.png)")),
            ("<img src=x onerror=y>", Some("\\<img src=x onerror=y\\>")),
            ("&lt; &#60; R&D", Some("\\&lt; \\&#60; R\\&D")),
            ("$x$ \\a", Some("\\$x\\$ \\\\a")),
            ("    one\n# two\t|", Some("one # two |")),
            ("a\u{202e}b\u{1b}[2J", Some("a\\\\u{202e}b\\\\u{1b}\\[2J")),
        ];
        for (text, expected) in cases {
            assert_eq!(plain(text), expected.unwrap_or(text), "{text}");
        }
        assert_eq!(cell("a|b"), "a\\|b");
        assert_eq!(paragraphs("One\nline.\n\n# Two\n===\n```\n"), "One\nline.\n\n\\# Two\n\\===\n\\`\\`\\`");
    }

    #[test]
    fn code_stays_code() {
        let cases = [
            ("a.jsonl", "`a.jsonl`"),
            ("a`b", "``a`b``"),
            ("`", "`` ` ``"),
            ("a\n# b", "`a\\n# b`"),
            (" a", "`  a `"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(code(text), expected);
        }
        assert_eq!(code_cell("a|b"), "`a\\|b`");
        assert_eq!(block("", "setaccio build x\n"), "```\nsetaccio build x\n```\n");
        assert_eq!(block("sh", "a '\n```\n# b'"), "````sh\na '\n```\n# b'\n````\n");
    }

    #[test]
    fn repositories_are_told_from_paths() {
        let names = ["lab/web", "lab/clean_mc4_it.v2", "../web", "a/b/c", "a/b](x", "a"];
        assert_eq!(names.map(|n| repository(n).is_some()), [true, true, false, false, false, false]);
    }
}
