//! The rule `personal_data`.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::{row, sha256::hex_digest};

use crate::{
    context::Context,
    filter::{Document, DocumentFilter, Filter, Reason, Verdict},
    personal::Kind,
    rule::{Rule, RuleError},
};

/// What becomes of what is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A mark takes its place: `<EMAIL>`, `<PHONE>`.
    #[default]
    Mask,
    /// A made-up value takes its place, the same for the same value everywhere. It belongs to nobody: domains and addresses are those
    /// that are reserved for documentation, numbers and codes are such as nobody is given. Who has a value can find out whether it
    /// was there, and many IP addresses share few made-up ones.
    Replace,
    /// The row is dropped.
    Drop,
}

/// Mask personal data: e-mail and IP addresses, telephone numbers, codice fiscale, partita IVA, IBAN, cards, number plates.
///
/// # Why
/// Web pages and chats name people who did not ask to be in a model, and a model repeats what it has read.
///
/// A code counts if its check characters are right, so that order numbers, dates and prices stay. What has no check, or one that one
/// number in ten passes (telephone numbers without a country code, partita IVA, IP addresses, number plates), counts after a word
/// that names it: `tel.`, `P.IVA`, `IP`, `targa`. Each kind is a filter by itself, so that the ledger counts it.
///
/// The texts of rows are searched, in chats those of all turns; other columns, and what a tool was called with, are not. `rejects/` hold
/// dropped rows as they were read.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "personal_data"
/// ```
/// ```json
/// {"text": "Scrivi ad anna@posta.example o chiama il 333 1234567. Ordine 4111111111111112."}
/// ```
/// ```json
/// {"text": "Scrivi ad <EMAIL> o chiama il <PHONE>. Ordine 4111111111111112."}
/// ```
///
/// # Source
/// D.M. 23 December 1976 (codice fiscale), [ISO 13616](https://www.swift.com/standards/data-standards/iban-international-bank-account-number)
/// (IBAN), ISO/IEC 7812-1 (cards), [ITU-T E.164](https://www.itu.int/rec/T-REC-E.164) and Italy's numbering plan (telephone numbers).
/// [FineWeb](https://arxiv.org/abs/2406.17557), section 3.7, masks e-mail and IP addresses.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PersonalData {
    /// Kinds that are looked for.
    pub kinds: Vec<Kind>,
    /// What becomes of what is found.
    pub action: Action,
    /// Kinds whose shape says little count only after a word that names them.
    pub named: bool,
}

impl Default for PersonalData {
    fn default() -> Self {
        Self { kinds: Kind::ALL.to_vec(), action: Action::Mask, named: true }
    }
}

impl Rule for PersonalData {
    const NAME: &'static str = "personal_data";
    const KINDS: &'static [row::Kind] = row::Kind::ALL;

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        if self.kinds.is_empty() {
            return Err(RuleError::setting("`kinds` is empty: name what is looked for"));
        }
        let kinds = Kind::ALL.into_iter().filter(|kind| self.kinds.contains(kind));
        let filter = |kind: Kind| {
            let name = format!("{}.{}", Self::NAME, kind.name());
            Filter::document(name, Find { kind, action: self.action, named: self.named })
        };
        Ok(kinds.map(filter).collect())
    }
}

struct Find {
    kind: Kind,
    action: Action,
    named: bool,
}

impl DocumentFilter for Find {
    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        let regions = document.regions();
        let mut found: Vec<(usize, Vec<Range<usize>>)> = Vec::new();
        for (number, (text, regions)) in document.content().texts().zip(regions).enumerate() {
            let ranges = self.kind.find(text, regions, self.named);
            match ranges.first() {
                None => {}
                Some(first) if self.action == Action::Drop => {
                    return Verdict::Drop(Reason::of_text(document.content(), number, &text[first.clone()]));
                }
                Some(_) => found.push((number, ranges)),
            }
        }
        if found.is_empty() {
            return Verdict::Keep;
        }
        let mut texts = document.change().texts_mut();
        for (number, ranges) in &found {
            let text = &mut *texts[*number];
            let (mut whole, mut from) = (String::with_capacity(text.len()), 0);
            for range in ranges {
                whole.push_str(&text[from..range.start]);
                whole.push_str(&self.instead_of(&text[range.clone()]));
                from = range.end;
            }
            whole.push_str(&text[from..]);
            *text = whole;
        }
        Verdict::Edited(found.len() as u64)
    }
}

impl Find {
    /// A value as it is whatever way it is written.
    fn bare(&self, found: &str) -> String {
        let lower = found.to_ascii_lowercase();
        let only = |wanted: fn(&char) -> bool| lower.chars().filter(wanted).collect::<String>();
        match self.kind {
            Kind::Email | Kind::Ip => lower,
            Kind::Phone => {
                let digits = only(char::is_ascii_digit);
                match (found.starts_with('+'), digits.strip_prefix("00")) {
                    (true, _) => digits,
                    (false, Some(abroad)) => abroad.to_owned(),
                    (false, None) => format!("39{digits}"),
                }
            }
            Kind::PartitaIva => only(char::is_ascii_digit),
            Kind::Iban | Kind::Card | Kind::CodiceFiscale | Kind::Plate => only(char::is_ascii_alphanumeric),
        }
    }

    fn instead_of(&self, found: &str) -> String {
        if self.action == Action::Mask {
            return self.kind.mark();
        }
        let hash = hex_digest(self.bare(found).as_bytes());
        let number = |digits: usize| {
            let digits = hash.bytes().take(digits);
            digits
                .map(|b| char::from(b'0' + (if b.is_ascii_digit() { b - b'0' } else { b - b'a' })))
                .collect::<String>()
        };
        let letters = |n: usize| {
            let pairs = hash.as_bytes()[20..].chunks(2).take(n);
            let letter = |pair: &[u8]| b'A' + pair.iter().fold(0, |sum, b| (sum * 5 + b % 16) % 26);
            pairs.map(|pair| char::from(letter(pair))).collect::<String>()
        };
        match self.kind {
            Kind::Email => format!("persona-{}@example.org", &hash[..8]),
            // RFC 5737 and RFC 3849.
            Kind::Ip if found.contains(':') => format!("2001:db8::{}:{}", &hash[..4], &hash[4..8]),
            Kind::Ip => format!("203.0.113.{}", u8::from_str_radix(&hash[..2], 16).unwrap_or(0)),
            // The country code is given to nobody (ITU-T E.164, list of assigned codes).
            Kind::Phone => format!("+999 {}", number(8)),
            // No month has a day 0.
            Kind::CodiceFiscale => format!("{}00A00A{}A", letters(6), number(3)),
            // The first seven digits are never all zero.
            Kind::PartitaIva => format!("0000000{}", number(4)),
            Kind::Iban => format!("IT00X0000000000{}", number(12)),
            Kind::Card => format!("0000 0000 {} {}", number(4), &number(8)[4..]),
            // No plate has an I.
            Kind::Plate => format!("I{}{}{}", letters(1), number(3), letters(2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;

    fn run(settings: &PersonalData, mut row: Row) -> (Vec<Verdict>, Row) {
        let filters = settings.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"));
        let verdicts = filters.iter().map(|filter| filter.on_row(&mut row)).collect();
        (verdicts, row)
    }

    const TEXT: &str = "Anna (anna@posta.example, C.F. RSSMRA85T10A562S) ha la targa AB123CD e paga con 4111-1111-1111-1111 \
                        o IT60X0542811101000000123456; tel. 02 1234567, P.IVA 00743110157, IP 93.184.216.34. Ordine 20231.";

    #[test]
    fn each_kind_is_masked_and_counted_by_itself() {
        let (verdicts, row) = run(&PersonalData::default(), Row::text(TEXT));
        assert_eq!(verdicts, vec![Verdict::Edited(1); 8]);
        let masked = "Anna (<EMAIL>, C.F. <CODICE_FISCALE>) ha la targa <PLATE> e paga con <CARD> o <IBAN>; tel. <PHONE>, \
                      P.IVA <PARTITA_IVA>, IP <IP>. Ordine 20231.";
        assert_eq!(row, Row::text(masked));
        let chat = Row::chat(&[("user", "Sono anna@posta.example"), ("assistant", "Ciao Anna"), ("user", "o b@c.it")]);
        let email = PersonalData { kinds: vec![Kind::Email], ..PersonalData::default() };
        let (verdicts, row) = run(&email, chat);
        assert_eq!(verdicts, [Verdict::Edited(2)]);
        assert_eq!(row, Row::chat(&[("user", "Sono <EMAIL>"), ("assistant", "Ciao Anna"), ("user", "o <EMAIL>")]));
        let (verdicts, _) = run(&PersonalData::default(), Row::text("Il 12/05/1998 spese 1.250,00 euro: ordine 7781."));
        assert_eq!(verdicts, vec![Verdict::Keep; 8]);
    }

    #[test]
    fn made_up_values_are_the_same_for_the_same_value_and_nobody_s() {
        let replace = PersonalData { action: Action::Replace, ..PersonalData::default() };
        let (_, row) = run(&replace, Row::text(TEXT));
        let (_, again) = run(&replace, Row::text(TEXT));
        assert_eq!(row, again);
        // None is found again by its check.
        let (verdicts, _) = run(
            &PersonalData {
                kinds: vec![
                    Kind::Iban,
                    Kind::Card,
                    Kind::CodiceFiscale,
                    Kind::PartitaIva,
                    Kind::Ip,
                    Kind::Phone,
                    Kind::Plate,
                ],
                ..replace.clone()
            },
            row.clone(),
        );
        assert_eq!(verdicts, vec![Verdict::Keep; 7], "{row:?}");
        let text = |text: &str| run(&replace, Row::text(text)).1;
        let card = |row: Row| row.content.texts().next().map(|text| text["carta ".len()..].to_owned());
        assert_eq!(card(text("carta 4111 1111 1111 1111")), card(text("carta 4111111111111111")));
        assert_ne!(text("anna@posta.example"), text("bruno@posta.example"));
        assert_ne!(text("a-b@posta.example"), text("ab@posta.example"));
        let phone = |row: Row| row.content.texts().next().map(|text| text[text.find('+').unwrap_or(0)..].to_owned());
        assert_eq!(phone(text("tel. 333 1234567")), phone(text("+39 333 1234567")));
    }

    #[test]
    fn a_row_can_be_dropped_for_it() {
        let drop = PersonalData { action: Action::Drop, ..PersonalData::default() };
        let (verdicts, row) = run(&drop, Row::text(TEXT));
        assert_eq!(verdicts[0], Verdict::Drop("IT60X0542811101000000123456".into()));
        assert_eq!(row, Row::text(TEXT));
        let none = PersonalData { kinds: Vec::new(), ..PersonalData::default() };
        assert!(none.compile(&Context::default()).is_err());
    }
}
