//! Personal data in running text: what has its shape, and whether its check characters are right.

mod codes;
mod network;
mod phone;

use std::{ops::Range, sync::LazyLock};

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// International bank account numbers: the length of their country and two check digits (ISO 13616), those of Italy and San Marino
    /// with the check letter (CIN) too.
    Iban,
    /// Numbers of payment cards: 13 to 19 digits of a known issuer, with Luhn's check digit.
    Card,
    /// Italian tax codes (codice fiscale) with their check letter, also where letters stand for digits (omocodia).
    CodiceFiscale,
    /// Italian VAT numbers (partita IVA): 11 digits with check digit and a known office, after `IT` or a word that names them.
    PartitaIva,
    /// E-mail addresses.
    Email,
    /// IP addresses, version 4 and 6, that are public, after a word that names them.
    Ip,
    /// Telephone numbers: with `+` and a country code, or in Italian form after a word that names them.
    Phone,
    /// Italian number plates of today's form, after a word that names them.
    Plate,
}

impl Kind {
    /// Every kind, in the order in which they are looked for: what is longer comes first.
    pub const ALL: [Self; 8] = [
        Self::Iban,
        Self::Card,
        Self::CodiceFiscale,
        Self::PartitaIva,
        Self::Email,
        Self::Ip,
        Self::Phone,
        Self::Plate,
    ];

    /// As a recipe writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Iban => "iban",
            Self::Card => "card",
            Self::CodiceFiscale => "codice_fiscale",
            Self::PartitaIva => "partita_iva",
            Self::Email => "email",
            Self::Ip => "ip",
            Self::Phone => "phone",
            Self::Plate => "plate",
        }
    }

    /// Where a text holds it, in order, none over another. `named`: where the shape says little, only after a word that names it.
    pub fn find(self, text: &str, named: bool) -> Vec<Range<usize>> {
        let bytes = text.as_bytes();
        // Most texts hold nothing that any kind begins with.
        let worth = if self == Self::Email {
            memchr::memchr(b'@', bytes).is_some()
        } else {
            bytes.iter().any(u8::is_ascii_digit) || self == Self::Ip
        };
        if !worth {
            return Vec::new();
        }
        match self {
            Self::Email => network::emails(text),
            Self::Ip => network::addresses(text, named),
            Self::Phone => phone::numbers(text, named),
            Self::Iban => each(&codes::IBAN, text, |found| codes::is_iban(found.text())),
            Self::Card => each(&codes::CARD, text, |found| !found.goes_on_digits() && codes::is_card(found.text())),
            Self::CodiceFiscale => each(&codes::CODICE_FISCALE, text, |found| codes::is_codice_fiscale(found.text())),
            Self::PartitaIva => each(&codes::PARTITA_IVA, text, |found| {
                let prefixed = found.text().starts_with(['I', 'i']);
                codes::is_partita_iva(found.text()) && (prefixed || !named || found.follows(&PARTITA_IVA_WORDS))
            }),
            Self::Plate => each(&codes::PLATE, text, |found| !named || found.follows(&PLATE_WORDS)),
        }
    }
}

/// Characters before something in which a word may name it.
const NEAR: usize = 40;

fn words(pattern: &str) -> Regex {
    // Between the word, which is a whole one, and what it names: no end of a sentence and no number.
    let whole = format!(r"(?i)(?:^|[^\pL\pN])(?:{pattern})(?:$|[^\pL\pN\n!?;][^\pN\n!?;]*$)");
    Regex::new(&whole).unwrap_or_else(|e| unreachable!("{e}"))
}

static PARTITA_IVA_WORDS: LazyLock<Regex> =
    LazyLock::new(|| words(r"p\.? ?iva|p\.? ?i\.|partita +i\.?v\.?a\.?|part\. ?iva|c\.f\. ?e ?p\.? ?iva|vat"));
static PLATE_WORDS: LazyLock<Regex> = LazyLock::new(|| words(r"targ(?:a|he|at[oaie])|plate|registration"));

/// Something with the shape of a kind, in its text.
struct Found<'a> {
    whole: &'a str,
    range: Range<usize>,
    /// Where the one before it ends.
    last: Option<usize>,
}

impl Found<'_> {
    fn text(&self) -> &str {
        &self.whole[self.range.clone()]
    }

    /// Whether one of these words stands closely before it.
    fn follows(&self, words: &Regex) -> bool {
        let before = &self.whole[..self.range.start];
        let start = before.char_indices().rev().nth(NEAR - 1).map_or(0, |(at, _)| at);
        words.is_match(&before[start..])
    }

    /// Whether it goes on a list of such: `333 1234567, 334 7654321 o 335 1112223`.
    fn goes_on(&self) -> bool {
        let between = self.last.map(|end| self.whole[end..self.range.start].trim());
        between
            .is_some_and(|text| matches!(text, "," | "/" | "-" | "e" | "o" | "and" | "or" | ", o" | ", e" | "oppure"))
    }

    /// Whether a group of digits stands before it, which makes it the rest of a longer number.
    fn goes_on_digits(&self) -> bool {
        let mut before = self.whole[..self.range.start].chars().rev();
        matches!(before.next(), Some(' ' | '-')) && before.next().is_some_and(|c| c.is_ascii_digit())
    }

    /// Whether no letter or digit, and nothing that goes on the number, stands beside it.
    fn stands_alone(&self, behind: &[char]) -> bool {
        let (before, after) = (&self.whole[..self.range.start], &self.whole[self.range.end..]);
        let mut after = after.chars();
        let open = before.chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let closed = match after.next() {
            None => true,
            Some('_') => false,
            Some(c) if behind.contains(&c) => true,
            Some('.' | ',' | '-' | '/' | ':' | '@') => after.next().is_none_or(|c| !c.is_alphanumeric()),
            Some(c) => !c.is_alphanumeric(),
        };
        open && closed
    }
}

/// What matches and stands alone and is accepted; of what takes a number too many, the part before it.
fn each(pattern: &Regex, text: &str, accept: impl Fn(&Found<'_>) -> bool) -> Vec<Range<usize>> {
    each_beside(pattern, text, &[], accept)
}

/// The same, where what follows may go on behind one of these signs.
fn each_beside(pattern: &Regex, text: &str, behind: &[char], accept: impl Fn(&Found<'_>) -> bool) -> Vec<Range<usize>> {
    let (mut ranges, mut at): (Vec<Range<usize>>, usize) = (Vec::new(), 0);
    while let Some(matched) = pattern.find_at(text, at) {
        let last = ranges.last().map(|range| range.end);
        let mut found = Found { whole: text, range: matched.range(), last };
        let good = loop {
            if found.stands_alone(behind) && accept(&found) {
                break true;
            }
            match found.text().rfind([' ', '-', '.', '/']).filter(|at| *at > 0) {
                Some(shorter) => found.range.end = found.range.start + shorter,
                None => break false,
            }
        };
        at = if good {
            let end = found.range.end;
            ranges.push(found.range);
            end
        } else {
            // Patterns begin with a character of ASCII, and end after a few dozen.
            matched.start() + 1
        };
        if at >= text.len() {
            break;
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(kind: Kind, text: &str) -> Vec<&str> {
        kind.find(text, true).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn what_is_and_what_only_looks_like_it() {
        let none: &[&str] = &[];
        for (kind, text, expected) in [
            // Vectors of python-stdnum's documentation, ISO 13616's registry, and of the issuers.
            (Kind::CodiceFiscale, "C.F. RSSMRA85T10A562S.", &["RSSMRA85T10A562S"][..]),
            (
                Kind::CodiceFiscale,
                "omocodia: RSSMRA85T10A56NH, RSSMRAURTMLARSNL",
                &["RSSMRA85T10A56NH", "RSSMRAURTMLARSNL"],
            ),
            (Kind::CodiceFiscale, "rssmra85t10a562s o RSSMRA 85T10 A562S", &["rssmra85t10a562s", "RSSMRA 85T10 A562S"]),
            (Kind::CodiceFiscale, "lettera sbagliata RSSMRA85T10A562T, dentro XRSSMRA85T10A562S", none),
            (Kind::CodiceFiscale, "Verschluesselungen, proviennent aussi", none),
            (Kind::PartitaIva, "P.IVA 00743110157", &["00743110157"]),
            (Kind::PartitaIva, "Partita IVA: 00743110157 - IT00743110157", &["00743110157", "IT00743110157"]),
            (Kind::PartitaIva, "ordine 00743110157, P.IVA 00743110158", none),
            (Kind::Iban, "IBAN IT60X0542811101000000123456.", &["IT60X0542811101000000123456"]),
            (Kind::Iban, "it60 x054 2811 1010 0000 0123 456 grazie", &["it60 x054 2811 1010 0000 0123 456"]),
            (
                Kind::Iban,
                "DE89370400440532013000 e GB29 NWBK 6016 1331 9268 19",
                &["DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19"],
            ),
            (Kind::Iban, "ES91 2100 0418 4502 0005 1332 gracias", &["ES91 2100 0418 4502 0005 1332"]),
            (Kind::Iban, "IT60Y0542811101000000123456, IT61X0542811101000000123456", none),
            (Kind::Card, "4111 1111 1111 1111 e 378282246310005", &["4111 1111 1111 1111", "378282246310005"]),
            (
                Kind::Card,
                "4111 1111 1111 1111 12/27 e 4111111111111111 123 CVV",
                &["4111 1111 1111 1111", "4111111111111111"],
            ),
            (Kind::Card, "30 39-30 108 0 67 32 107 31", none),
            (Kind::Card, "4111111111111112, 1234567812345670, 41111111111111111111111", none),
            (
                Kind::Email,
                "Scrivi a anna.bianchi+lista@posta.example.it, grazie",
                &["anna.bianchi+lista@posta.example.it"],
            ),
            (Kind::Email, "<a@b.co> x@y @tutti a@@b.it a@b..it fine@.", &["a@b.co"]),
            (Kind::Email, "perché@esempio.it", none),
            (Kind::Email, "请联系zhang@qq.com获取", &["zhang@qq.com"]),
            (Kind::Email, "git@github.com:rust-lang/rust.git, icon@2x.png, getty@tty1.service", none),
            (Kind::Email, "https://anna:x@host.it/a", none),
            (Kind::Ip, "indirizzo IP 93.184.216.34, server: 8.8.8.8", &["93.184.216.34", "8.8.8.8"]),
            (Kind::Ip, "sezione 9.2.1.4; IP 192.168.1.1; IP 1.2.3.4.5; IP 300.1.1.1; IP 01.2.3.4", none),
            (Kind::Ip, "IP 93.184.216.34:8080, http://93.184.216.34/x", &["93.184.216.34", "93.184.216.34"]),
            (Kind::Ip, "ipotesi 8.8.4.4, hostile takeover 1.2.3.4", none),
            (Kind::Ip, "IP 2606:2800:220:1:248:1893:25c8:1946", &["2606:2800:220:1:248:1893:25c8:1946"]),
            (Kind::Ip, "IP: 2001:4860:4860::8888. ip fe80::1, IP ::1, ore 10:30:45", &["2001:4860:4860::8888"]),
            (Kind::Phone, "Tel. 02 1234567, cell. 333 1234567", &["02 1234567", "333 1234567"]),
            (
                Kind::Phone,
                "+39 347 123 4567; 0039.06.1234567; +44 20 7946 0958",
                &["+39 347 123 4567", "0039.06.1234567", "+44 20 7946 0958"],
            ),
            (Kind::Phone, "Tel.3331234567, 334 7654321 o 335 1112223", &["3331234567", "334 7654321", "335 1112223"]),
            (Kind::Phone, "tel:+390212345678 +39 347 123 4567 20 persone", &["+390212345678", "+39 347 123 4567"]),
            (Kind::Phone, "celebrato il 05/06/2014, il telescopio, 02.03.2011, called on 01/02/2013", none),
            (Kind::Phone, "+2147483647, +12.345.678 euro, +10000000", none),
            (Kind::Phone, "telefono: 800-123456 (numero verde)", &["800-123456"]),
            (Kind::Phone, "il 01/2013, 333 1234567 pezzi, prezzo 1.250,00, +39, dal 2013-2014", none),
            (Kind::Plate, "targata AB 123 CD, targa EF456GH, targa ab-123-cd", &["AB 123 CD", "EF456GH", "ab-123-cd"]),
            (Kind::Plate, "plateau AB123CD, modello AB123CD, targa AI123CD", none),
        ] {
            assert_eq!(found(kind, text), expected, "{kind:?}: {text}");
        }
    }

    /// Planted items and look-alikes, made with python-stdnum and phonenumbers (`tests/oracles/personal_data.py`).
    #[test]
    fn what_is_planted_is_found_whole_and_nothing_that_only_looks_like_it() {
        let cases: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../../../tests/oracles/personal_data.json"))
                .unwrap_or_else(|e| panic!("{e}"));
        let (mut wrong, mut planted) = (Vec::new(), 0);
        for case in &cases {
            let text = case["text"].as_str().unwrap_or_default();
            let found: Vec<(&str, &str)> = Kind::ALL
                .into_iter()
                .flat_map(|kind| found(kind, text).into_iter().map(move |f| (kind.name(), f)))
                .collect();
            let expected: Vec<(&str, &str)> = case["kind"].as_str().zip(case["found"].as_str()).into_iter().collect();
            planted += expected.len();
            if found != expected {
                wrong.push((text, found));
            }
        }
        assert!(planted == 1040 && cases.len() == 1950, "{planted} of {}", cases.len());
        assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), cases.len());
    }

    #[test]
    fn without_a_word_before_it_what_has_the_shape_is_taken_where_that_is_wanted() {
        for (kind, text) in [
            (Kind::PartitaIva, "00743110157"),
            (Kind::Ip, "93.184.216.34"),
            (Kind::Phone, "333 1234567"),
            (Kind::Plate, "AB123CD"),
        ] {
            assert!(kind.find(text, true).is_empty() && kind.find(text, false).len() == 1, "{text}");
        }
    }

    #[test]
    fn long_runs_take_no_time_to_speak_of() {
        for unit in ["1", "1 ", "1.", "a", "a@", "a.", "A1", "f:", "+3", "IT60"] {
            let text = unit.repeat(200_000);
            for kind in Kind::ALL {
                kind.find(&text, true);
                kind.find(&text, false);
            }
        }
    }
}
