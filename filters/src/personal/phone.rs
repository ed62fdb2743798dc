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
        r"t[eè]l(?:efon(?:o|i|ico|ici|are|ate|ando|a|ami|arci|arle))?|cell?(?:ulare|ulari)?|fax|ph(?:one)?|mobile|mob|whats ?app|numero verde|chiam(?:a|are|ate|ami|aci)|call",
    )
});

/// Numbers with `+` and a country code, and Italian ones.
pub fn numbers(text: &str, named: bool) -> Vec<Range<usize>> {
    super::each(&NUMBER, text, |found: &Found<'_>| {
        let international = found.text().starts_with('+') || found.text().starts_with("00");
        let mut before = found.whole[..found.range.start].chars().rev();
        let apart = match before.next() {
            // `Tel.333` and `tel:+39` are one word.
            Some('.' | ':') => before.next().is_some_and(char::is_alphabetic),
            Some(',' | '-' | '/' | '+' | '€' | '$') => false,
            _ => true,
        };
        apart
            && !is_date(found.text())
            && if international {
                is_international(found.text())
            } else {
                is_italian(&digits(found.text())) && (!named || found.goes_on() || found.follows(&WORDS))
            }
    })
}

/// Whether it is a day: two numbers up to 31, and a year.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['.', '/', '-']).collect();
    let day = |part: &str| part.len() <= 2 && part.parse().is_ok_and(|n: u32| (1..=31).contains(&n));
    let year = |part: &str| matches!(part.len(), 2 | 4) && part.parse::<u32>().is_ok();
    matches!(parts[..], [a, b, c] if day(a) && day(b) && year(c))
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// A country code and a number, 8 to 15 digits in all (ITU-T E.164), Italian ones by Italy's plan. `00` stands for `+` before Italy's.
fn is_international(text: &str) -> bool {
    let all = digits(text);
    let number = if text.starts_with('+') { all.as_str() } else { &all[2..] };
    if let Some(rest) = number.strip_prefix("39") {
        return is_italian(rest);
    }
    // Whole numbers with a sign are shorter, or in groups behind full stops; +999 is given to nobody.
    let least = if text.contains([' ', '-', '(', '/']) { 8 } else { 11 };
    let given = !number.starts_with('0') && !number.starts_with("999");
    text.starts_with('+') && (least..=15).contains(&number.len()) && given
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
