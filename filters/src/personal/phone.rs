//! Telephone numbers.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

use super::{Found, words};

/// Digits in groups, with a space, a dot, a dash or a slash between them, after `+` or not.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    let text = r"(?-u)\+?(?:\([0-9]{1,4}\)[ .]?)?[0-9]{1,11}(?:[ ./-]?(?:\([0-9]{1,4}\) ?)?[0-9]{1,10}){0,6}";
    Regex::new(text).unwrap_or_else(|e| unreachable!("{e}"))
});
static WORDS: LazyLock<Regex> = LazyLock::new(|| {
    words(
        r"t[eè]l(?:efon(?:o|i|ico|ici|are|ate|ando|a|ami|arci|arle))?\.?|cell?(?:ulare|ulari)?\.?|cell\.|fax|ph(?:one)?\.?|mobile|mob\.?|whats ?app|numero verde|chiam(?:a|are|ate|ami|aci)|call",
    )
});

/// Numbers with `+` and a country code, and Italian ones.
pub fn numbers(text: &str, named: bool) -> Vec<Range<usize>> {
    super::each(&NUMBER, text, |found: &Found<'_>| {
        let international = found.text().starts_with('+') || found.text().starts_with("00");
        let before = found.whole[..found.range.start].chars().next_back();
        let apart = !matches!(before, Some('.' | ',' | '-' | '/' | ':' | '+' | '€' | '$'));
        apart
            && if international {
                is_international(found.text())
            } else {
                is_italian(&digits(found.text())) && (!named || found.follows(&WORDS))
            }
    })
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// A country code and a number, 8 to 15 digits in all (ITU-T E.164), Italian ones by Italy's plan. `00` stands for `+` before Italy's.
fn is_international(text: &str) -> bool {
    let all = digits(text);
    let number = if text.starts_with('+') { all.as_str() } else { &all[2..] };
    match number.strip_prefix("39") {
        Some(rest) => is_italian(rest),
        None => text.starts_with('+') && (8..=15).contains(&number.len()) && !number.starts_with('0'),
    }
}

/// A number of Italy's plan: mobile (3 and 8 or 9 more), fixed (0 and 5 to 10 more), free or shared charge (800, 803, 84, 89, 199).
fn is_italian(number: &str) -> bool {
    match number.as_bytes() {
        [b'3', ..] => (9..=10).contains(&number.len()),
        [b'0', b'1'..=b'9', ..] => (6..=11).contains(&number.len()),
        [b'8', b'0', b'0' | b'3', ..] | [b'8', b'4' | b'9', ..] | [b'1', b'9', b'9', ..] => {
            (6..=10).contains(&number.len())
        }
        _ => false,
    }
}
