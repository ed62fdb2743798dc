//! Codes with check characters.

use std::sync::LazyLock;

use regex::Regex;

use super::{GAP, SPACE, is_gap};

/// `_` stands for a space of any width, `~` for that or a dash.
fn pattern(text: &str) -> Regex {
    let text = text.replace('_', SPACE).replace('~', GAP);
    Regex::new(&text).unwrap_or_else(|e| unreachable!("{e}"))
}

/// Two letters, two digits, then groups of four, whole or with a space between them.
pub static IBAN: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i-u)[a-z]{2}[0-9]{2}(?:[a-z0-9]{11,30}|(?:_[a-z0-9]{4}){2,7}(?:_[a-z0-9]{1,3})?)"));
/// 13 to 19 digits, a space or a dash between any two.
pub static CARD: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?-u)[0-9](?:~?[0-9]){12,18}"));
/// Where letters may stand for digits they may here; a space may stand after name and date.
pub static CODICE_FISCALE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i-u)[a-z]{6}_?[0-9lmnp-v]{2}[abcdehlmprst][0-9lmnp-v]{2}_?[a-z][0-9lmnp-v]{3}[a-z]"));
/// 11 digits, after `IT` or not.
pub static PARTITA_IVA: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i-u)(?:it_?)?[0-9]{11}"));
/// Two letters, three digits, two letters, without those that look like digits.
pub static PLATE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i-u)[a-hj-npr-tv-z]{2}~?[0-9]{3}~?[a-hj-npr-tv-z]{2}"));

/// Letters and digits, letters in upper case.
fn bare(text: &str) -> Vec<u8> {
    text.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_uppercase()).collect()
}

fn digits(text: &str) -> Vec<u32> {
    text.bytes().filter(u8::is_ascii_digit).map(|b| u32::from(b - b'0')).collect()
}

/// Luhn's check (ISO/IEC 7812-1, annex B): every second digit from the right doubled, all digits added.
fn luhn(digits: &[u32]) -> bool {
    let sum: u32 =
        digits.iter().rev().enumerate().map(|(i, d)| if i % 2 == 0 { *d } else { d * 2 / 10 + d * 2 % 10 }).sum();
    sum.is_multiple_of(10)
}

/// Whether it is the number of a card: of an issuer's range and length, with its check digit.
pub fn is_card(text: &str) -> bool {
    // Whole, or in the groups that are printed on cards.
    let groups: Vec<usize> = text.split(is_gap).map(str::len).collect();
    let printed = matches!(groups[..], [_] | [4, 4, 4, 1..=4] | [4, 4, 4, 4, 1..=3] | [4, 6, 4 | 5]);
    let digits = digits(text);
    let first = |n: usize| digits.iter().take(n).fold(0, |number, digit| number * 10 + digit);
    let length = digits.len();
    let issued = match (first(1), first(2), first(3), first(4)) {
        // Visa.
        (4, ..) => matches!(length, 13 | 16 | 19),
        // American Express.
        (_, 34 | 37, ..) => length == 15,
        // Mastercard.
        (_, 51..=55, ..) | (.., 2221..=2720) => length == 16,
        // Diners Club.
        (_, 36 | 38 | 39, ..) | (_, _, 300..=305, _) => (14..=19).contains(&length),
        // Discover, JCB, UnionPay, Maestro.
        (_, 62 | 65, ..) | (_, _, 644..=649, _) | (.., 6011 | 3528..=3589) => (16..=19).contains(&length),
        (.., 5018 | 5020 | 5038 | 6304 | 6759 | 6761..=6763) => (13..=19).contains(&length),
        _ => false,
    };
    printed && issued && luhn(&digits)
}

/// Whether it is a partita IVA: the check digit is Luhn's, digits 8 to 10 are an office that gives them out, and the first
/// seven are not all zero.
pub fn is_partita_iva(text: &str) -> bool {
    let digits = digits(text);
    let number = |part: &[u32]| part.iter().fold(0, |number, digit| number * 10 + digit);
    let office = digits.get(7..10).map_or(0, number);
    digits.len() == 11 && number(&digits[..7]) > 0 && matches!(office, 1..=100 | 120 | 121 | 888 | 999) && luhn(&digits)
}

/// What a character counts at the odd places of a codice fiscale, first to tenth digit or letter, then K to Z
/// (D.M. 23 December 1976).
const ODD: [u32; 26] = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];

/// The place of a letter or digit in its alphabet.
fn place(character: u8) -> u32 {
    if character.is_ascii_digit() { u32::from(character - b'0') } else { u32::from(character - b'A') }
}

/// The letter that checks a codice fiscale or the account in an Italian IBAN.
fn check_letter(code: &[u8]) -> u8 {
    let value = |(i, character): (usize, &u8)| {
        let place = place(*character);
        if i % 2 == 0 { ODD.get(place as usize).copied().unwrap_or(0) } else { place }
    };
    let sum: u32 = code.iter().enumerate().map(value).sum();
    b'A' + u8::try_from(sum % 26).unwrap_or(0)
}

/// Whether it is a codice fiscale: the day is one, of a man or (with 40 more) of a woman, and the check letter is right.
pub fn is_codice_fiscale(text: &str) -> bool {
    let code = bare(text);
    // Words have its shape where letters stand for all digits.
    let numbers = code.iter().filter(|c| c.is_ascii_digit()).count();
    let lower = text.bytes().any(|b| b.is_ascii_lowercase());
    if code.len() != 16 || numbers < if text.contains(is_gap) { 3 } else { usize::from(lower) } {
        return false;
    }
    // L to V, without O, stand for 0 to 9.
    let digit = |c: u8| {
        let letter = || (0..).zip(b"LMNPQRSTUV").find(|(_, letter)| **letter == c).map_or(99, |(digit, _)| digit);
        if c.is_ascii_digit() { u32::from(c - b'0') } else { letter() }
    };
    let day = digit(code[9]) * 10 + digit(code[10]);
    matches!(day, 1..=31 | 41..=71) && check_letter(&code[..15]) == code[15]
}

/// Lengths by country (ISO 13616, registry of SWIFT).
const LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NL", 18),
    (b"NO", 15),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"SA", 24),
    (b"SC", 31),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
];

/// Whether it is an IBAN: as long as its country's are, the remainder by 97 is 1, and in Italy and San Marino the check letter
/// of the account is right.
pub fn is_iban(text: &str) -> bool {
    let code = bare(text);
    let length = LENGTHS.iter().find(|(country, _)| code.starts_with(*country)).map(|(_, length)| *length);
    if length != Some(code.len()) {
        return false;
    }
    let remainder = code[4..].iter().chain(&code[..4]).fold(0, |rest, c| {
        let value = if c.is_ascii_digit() { place(*c) } else { place(*c) + 10 };
        (rest * if value < 10 { 10 } else { 100 } + value) % 97
    });
    let italian = code.starts_with(b"IT") || code.starts_with(b"SM");
    remainder == 1 && (!italian || (code[4].is_ascii_uppercase() && check_letter(&code[5..]) == code[4]))
}
