//! Telephone numbers.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

use super::{Found, GAP, Regions, is_gap, words};

/// Digits in groups, with a space, a dot, a dash or a slash between them, after `+` or not.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    let text = r"(?-u)\+?(?:\([0-9]{1,4}\)(?:~|\.)?)?[0-9]{1,11}(?:(?:~|[./])?(?:\([0-9]{1,4}\)~?)?[0-9]{1,10}){0,6}";
    Regex::new(&text.replace('~', GAP)).unwrap_or_else(|e| unreachable!("{e}"))
});
static WORDS: LazyLock<Regex> = LazyLock::new(|| {
    words(
        r"t[eè]l(?:efon(?:o|i|ico|ici|are|ate|ando|a|ami|arci|arle))?|cell?(?:ulare|ulari)?|fax|ph(?:one)?|mobile|mob|whats ?app|numero verde|chiam(?:a|are|ate|ami|aci)|call",
    )
});

/// Numbers with `+` and a country code, and Italian ones.
pub fn numbers(text: &str, regions: &Regions, named: bool) -> Vec<Range<usize>> {
    super::each(&NUMBER, text, regions.with(|holds| holds.in_a_number >= 6), |found: &Found<'_>| {
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
            && ends_as_one(found.text())
            && if international {
                is_international(found.text())
            } else {
                is_italian(&digits(found.text())) && (!named || found.goes_on() || found.follows(&WORDS))
            }
    })
}

/// Whether it is a day: two numbers up to 31, and a year.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split(|c| matches!(c, '.' | '/') || is_gap(c)).collect();
    let day = |part: &str| part.len() <= 2 && part.parse().is_ok_and(|n: u32| (1..=31).contains(&n));
    let year = |part: &str| matches!(part.len(), 2 | 4) && part.parse::<u32>().is_ok();
    matches!(parts[..], [a, b, c] if day(a) && day(b) && year(c))
}

/// Whether its last group belongs to it: none of one digit does, and none behind a space after a group of five or more, which is
/// the end of a number (`02 1234567 20 persone`).
fn ends_as_one(text: &str) -> bool {
    let group = |text: &str| text.bytes().rev().take_while(u8::is_ascii_digit).count();
    let last = group(text);
    let before = &text[..text.len() - last];
    if last == 0 || before.is_empty() || before.ends_with('+') {
        return last > 0;
    }
    let spaced = before.ends_with(|c: char| is_gap(c) && !is_dash(c));
    let before = before.trim_end_matches(|c: char| !c.is_ascii_digit());
    let prefix = before.bytes().filter(u8::is_ascii_digit).count() == group(before) && before.len() < 6;
    last > 1 && (!spaced || prefix || group(before) < 5)
}

fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2013}')
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
    let least = if text.contains(|c| matches!(c, '(' | '/') || is_gap(c)) { 8 } else { 11 };
    let given = !number.starts_with('0') && !number.starts_with("999");
    let most = MOST.iter().find(|(code, _)| number.starts_with(code)).map_or(15, |(code, most)| code.len() + most);
    text.starts_with('+') && (least..=most).contains(&number.len()) && given
}

/// Country codes, and the most digits after them, where the national plan has one length: what follows is another number.
const MOST: &[(&str, usize)] = &[
    ("1", 10),
    ("7", 10),
    ("30", 10),
    ("31", 9),
    ("32", 9),
    ("33", 9),
    ("34", 9),
    ("351", 9),
    ("353", 9),
    ("356", 8),
    ("385", 9),
    ("386", 8),
    ("40", 9),
    ("41", 9),
    ("44", 10),
    ("45", 8),
    ("47", 8),
    ("48", 9),
];

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
