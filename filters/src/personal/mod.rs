//! Personal data in running text: what has its shape, and whether its check characters are right.

mod codes;
mod network;
mod phone;
mod regions;

use std::{ops::Range, sync::LazyLock};

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::regions::Regions;

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

    /// The mark that takes the place of what is found, where a rule masks it.
    pub fn mark(self) -> String {
        format!("<{}>", self.name().to_uppercase())
    }

    /// Where a text holds it, in order, none over another. `regions` are those of the text. `named`: where the shape says little,
    /// only after a word that names it.
    pub fn find(self, text: &str, regions: &Regions, named: bool) -> Vec<Range<usize>> {
        match self {
            Self::Email => network::emails(text),
            Self::Ip => network::addresses(text, regions, named),
            Self::Phone => phone::numbers(text, regions, named),
            // Account numbers of some countries have letters.
            Self::Iban => {
                let may = regions.with(|holds| holds.digits >= 6 && holds.before_two);
                each(&codes::IBAN, text, may, |found| codes::is_iban(found.text()))
            }
            Self::Card => each(&codes::CARD, text, regions.with(|holds| holds.in_a_number >= 13), |found| {
                !found.goes_on_digits() && codes::is_card(found.text())
            }),
            // A digit in it has a letter beside it, or a digit that has; without any it is all capitals.
            Self::CodiceFiscale => {
                let may = regions.with(|holds| holds.beside || holds.capitals);
                each(&codes::CODICE_FISCALE, text, may, |found| codes::is_codice_fiscale(found.text()))
            }
            Self::PartitaIva => each(&codes::PARTITA_IVA, text, regions.with(|holds| holds.in_a_row >= 11), |found| {
                let prefixed = found.text().starts_with(['I', 'i']);
                codes::is_partita_iva(found.text()) && (prefixed || !named || found.follows(&PARTITA_IVA_WORDS))
            }),
            Self::Plate => each(&codes::PLATE, text, regions.with(|holds| holds.three), |found| {
                !named || found.follows(&PLATE_WORDS)
            }),
        }
    }
}

/// A space of any width, as a pattern of bytes.
const SPACE: &str = r"(?u:[ \u{a0}\u{2007}\u{2009}\u{202f}])";
/// That or a dash.
const GAP: &str = r"(?u:[ \u{a0}\u{2007}\u{2009}\u{202f}\u{2010}-\u{2013}-])";

/// Whether a character may stand between the groups of a number: a space that does not end a line, or a dash.
fn is_gap(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{2007}' | '\u{2009}' | '\u{202f}' | '-' | '\u{2010}'..='\u{2013}')
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
        between.is_some_and(|text| match text {
            "," | "/" | "-" | "–" | "e" | "o" | "and" | "or" | ", o" | ", e" | "oppure" => true,
            // With nothing between, a short one is something else.
            "" => self.text().bytes().filter(u8::is_ascii_digit).count() >= 9,
            _ => false,
        })
    }

    /// Whether a group of digits stands before it, which makes it the rest of a longer number.
    fn goes_on_digits(&self) -> bool {
        let mut before = self.whole[..self.range.start].chars().rev();
        before.next().is_some_and(is_gap) && before.next().is_some_and(|c| c.is_ascii_digit())
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
fn each<'r>(
    pattern: &Regex,
    text: &str,
    regions: impl Iterator<Item = &'r Range<usize>>,
    accept: impl Fn(&Found<'_>) -> bool,
) -> Vec<Range<usize>> {
    each_beside(pattern, text, (&[], regions), accept)
}

/// The same, where what follows may go on behind one of these signs.
fn each_beside<'r>(
    pattern: &Regex,
    text: &str,
    (behind, regions): (&[char], impl Iterator<Item = &'r Range<usize>>),
    accept: impl Fn(&Found<'_>) -> bool,
) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for region in regions {
        let (mut at, seen) = (region.start, &text[..region.end]);
        while let Some(matched) = pattern.find_at(seen, at) {
            let last = ranges.last().map(|range| range.end);
            let mut found = Found { whole: text, range: matched.range(), last };
            let good = loop {
                if found.stands_alone(behind) && accept(&found) {
                    break true;
                }
                match found.text().rfind(|c| is_gap(c) || matches!(c, '.' | '/')).filter(|at| *at > 0) {
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
            if at >= seen.len() {
                break;
            }
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(kind: Kind, text: &str, named: bool) -> Vec<Range<usize>> {
        kind.find(text, &Regions::of(text), named)
    }

    fn found(kind: Kind, text: &str) -> Vec<&str> {
        find(kind, text, true).into_iter().map(|range| &text[range]).collect()
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
            // Spaces that do not break, and dashes of print.
            (
                Kind::Phone,
                "tel. 02\u{a0}1234\u{2009}567, +39 347\u{2011}1234567",
                &["02\u{a0}1234\u{2009}567", "+39 347\u{2011}1234567"],
            ),
            (
                Kind::Card,
                "4111\u{a0}1111\u{a0}1111\u{a0}1111, 4111–1111–1111–1111",
                &["4111\u{a0}1111\u{a0}1111\u{a0}1111", "4111–1111–1111–1111"],
            ),
            (
                Kind::Iban,
                "IT60\u{202f}X054\u{202f}2811\u{202f}1010\u{202f}0000\u{202f}0123\u{202f}456",
                &["IT60\u{202f}X054\u{202f}2811\u{202f}1010\u{202f}0000\u{202f}0123\u{202f}456"],
            ),
            (Kind::CodiceFiscale, "RSSMRA\u{a0}85T10\u{a0}A562S", &["RSSMRA\u{a0}85T10\u{a0}A562S"]),
            (Kind::Plate, "targa AB\u{a0}123\u{a0}CD o targa EF–456–GH", &["AB\u{a0}123\u{a0}CD", "EF–456–GH"]),
            (Kind::PartitaIva, "P.IVA IT\u{a0}00743110157", &["IT\u{a0}00743110157"]),
            // What stands right behind a number is none of it.
            (Kind::Phone, "tel. 02 1234567 20 persone, fax 06 123456 12/05/2020", &["02 1234567", "06 123456"]),
            (Kind::Phone, "tel. 333 1234567 2024, cell. 3331234567 8 ore", &["333 1234567", "3331234567"]),
            (Kind::Phone, "tel. 06 1234 5678 3 camere, tel. 06 1234 567 12/05/2020", &["06 1234 5678", "06 1234 567"]),
            (
                Kind::Phone,
                "+44 20 7946 0958 30 people, +33 1 23 45 67 89 10 h",
                &["+44 20 7946 0958", "+33 1 23 45 67 89"],
            ),
            (Kind::Phone, "tel. 333 1234567 334 7654321", &["333 1234567", "334 7654321"]),
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
            assert!(find(kind, text, true).is_empty() && find(kind, text, false).len() == 1, "{text}");
        }
    }

    #[test]
    fn nothing_is_missed_wherever_it_stands() {
        let pieces = [
            "RSSMRA85T10A562S",
            "RSSMRAURTMLARSNL",
            "IT60X0542811101000000123456",
            "GB29 NWBK 6016 1331 9268 19",
            "tel. 02 1234567",
            " ",
            "4111 1111 1111 1111",
            "P.IVA 00743110157",
            "IP 2a00:1450:4002:403::200e",
            "server 8.8.8.8",
            "targa AB 123 CD",
            "\n",
            "è",
            "una riga di parole senza numeri che va avanti per un po'",
            "NATO",
            "LA PRIMA FERROVIA D'ITALIA",
            "1839",
            "3,50 euro",
            "+39 347 1234567",
        ];
        let mut random = 1_u64;
        for _ in 0..400 {
            let mut text = String::new();
            for _ in 0..12 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(pieces[usize::try_from(random >> 33).unwrap_or(0) % pieces.len()]);
                text.push_str(&" parola"[..usize::try_from(random >> 60).unwrap_or(0).min(7)]);
            }
            for kind in Kind::ALL {
                assert_eq!(
                    find(kind, &text, true),
                    kind.find(&text, &Regions::everywhere(&text), true),
                    "{kind:?}: {text}"
                );
            }
        }
    }

    #[test]
    fn long_runs_take_no_time_to_speak_of() {
        for unit in ["1", "1 ", "1.", "a", "a@", "a.", "A1", "f:", "+3", "IT60"] {
            let text = unit.repeat(200_000);
            for kind in Kind::ALL {
                find(kind, &text, true);
                find(kind, &text, false);
            }
        }
    }
}
