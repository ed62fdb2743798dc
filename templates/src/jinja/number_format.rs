//! Numbers and texts laid out as Python's format specifications say.
//! Source: <https://docs.python.org/3/library/string.html#format-specification-mini-language>

use std::iter::Peekable;

use super::{
    failure::{Failure, Result},
    limits::{digits, fits},
    value::{Class, Value},
};

/// `[[fill]align][sign][#][0][width][grouping][.precision][type]`.
#[derive(Clone, Default)]
pub struct Spec {
    pub fill: Option<char>,
    pub align: Option<char>,
    pub sign: Option<char>,
    pub alternate: bool,
    pub zero: bool,
    pub width: usize,
    pub grouping: Option<char>,
    pub precision: Option<usize>,
    pub kind: Option<char>,
}

impl Spec {
    /// Read what stands after the colon of a place.
    pub fn read(text: &str) -> Result<Self> {
        let mut chars = text.chars().peekable();
        let mut spec = Self::default();
        let is_align = |c: Option<char>| c.filter(|c| matches!(c, '<' | '>' | '=' | '^'));
        let second = is_align(text.chars().nth(1));
        if second.is_some() {
            (spec.fill, spec.align) = (chars.next(), chars.next());
        } else {
            spec.align = chars.next_if(|c| is_align(Some(*c)).is_some());
        }
        spec.sign = chars.next_if(|c| matches!(c, '+' | '-' | ' '));
        spec.alternate = chars.next_if_eq(&'#').is_some();
        spec.zero = chars.next_if_eq(&'0').is_some();
        spec.width = count(&mut chars)?.unwrap_or(0);
        spec.grouping = chars.next_if(|c| matches!(c, ',' | '_'));
        if chars.next_if_eq(&'.').is_some() {
            let precision = count(&mut chars)?;
            spec.precision = Some(precision.ok_or_else(|| Failure::new("a format has a dot without a precision"))?);
        }
        spec.kind = chars.next();
        if chars.next().is_some() {
            return Err(Failure::new("a format is not one that Python knows"));
        }
        Ok(spec)
    }

    /// A value of a place.
    pub fn apply(&self, value: &Value) -> Result<String> {
        match value {
            Value::Int(_) | Value::Bool(_) if matches!(value, Value::Int(_)) || self.kind.is_some() => self.int(value),
            Value::Float(_) => self.float(value),
            Value::Str(text) if matches!(self.kind, None | Some('s')) => self.text(text),
            _ => Err(self.unknown(value)),
        }
    }

    fn unknown(&self, value: &Value) -> Failure {
        let kind = self.kind.unwrap_or(' ');
        Failure::new(format!("format {kind:?} is not defined for {:?}", Class(value)))
    }

    /// A text, cut to the precision.
    pub fn text(&self, text: &str) -> Result<String> {
        if self.sign.is_some() || self.alternate || self.grouping.is_some() || self.align == Some('=') {
            return Err(Failure::new("a format of numbers for a string"));
        }
        let cut: String = text.chars().take(self.precision.unwrap_or(usize::MAX)).collect();
        self.pad("", &cut, if self.zero && self.align.is_none() { '<' } else { self.align.unwrap_or('<') })
    }

    /// An integer.
    pub fn int(&self, value: &Value) -> Result<String> {
        if matches!(self.kind, Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%')) {
            return self.float(value);
        }
        let int = value.as_int().ok_or_else(|| self.unknown(value))?;
        if self.precision.is_some() {
            return Err(Failure::new("an integer has no precision"));
        }
        let size = int.unsigned_abs();
        let (prefix, digits, group) = match self.kind {
            None | Some('d' | 'n') => ("", size.to_string(), 3),
            Some('x') => ("0x", format!("{size:x}"), 4),
            Some('X') => ("0X", format!("{size:X}"), 4),
            Some('o') => ("0o", format!("{size:o}"), 4),
            Some('b') => ("0b", format!("{size:b}"), 4),
            Some('c') => {
                let c = u32::try_from(int).ok().and_then(char::from_u32);
                let c = c.ok_or_else(|| Failure::new("an integer is no character"))?;
                return self.pad("", &c.to_string(), self.align.unwrap_or('<'));
            }
            Some(_) => return Err(self.unknown(value)),
        };
        let sign = self.sign(int < 0);
        let prefix = if self.alternate { prefix } else { "" };
        self.number(&format!("{sign}{prefix}"), &digits, "", group)
    }

    /// A float, or an integer as one.
    pub fn float(&self, value: &Value) -> Result<String> {
        let float = value.as_float().ok_or_else(|| self.unknown(value))?;
        let size = float.abs();
        let precision = self.precision.unwrap_or(6);
        digits(precision)?;
        let (body, tail) = match self.kind {
            Some('f' | 'F') => (fixed(size, precision), ""),
            Some('e') => (scientific(size, precision), ""),
            Some('E') => (scientific(size, precision).to_uppercase(), ""),
            Some('g' | 'n') => (general(size, precision, self.alternate), ""),
            Some('G') => (general(size, precision, self.alternate).to_uppercase(), ""),
            Some('%') => (fixed(size * 100.0, precision), "%"),
            None => match self.precision {
                None => (super::text::float(size), ""),
                // As `g`, but never without a digit after the point.
                Some(precision) => {
                    let body = general(size, precision, false);
                    let bare = size.is_finite() && !body.contains(['.', 'e']);
                    (if bare { body + ".0" } else { body }, "")
                }
            },
            Some(_) => return Err(self.unknown(value)),
        };
        let (whole, rest) = body.split_at(body.find(|c: char| !c.is_ascii_digit()).unwrap_or(body.len()));
        self.number(self.sign(float.is_sign_negative() && !float.is_nan()), whole, &format!("{rest}{tail}"), 3)
    }

    fn sign(&self, negative: bool) -> &'static str {
        match self.sign {
            _ if negative => "-",
            Some('+') => "+",
            Some(' ') => " ",
            _ => "",
        }
    }

    /// A number of its parts, with separators between groups of digits.
    fn number(&self, sign: &str, digits: &str, rest: &str, group: usize) -> Result<String> {
        let align = self.align.unwrap_or(if self.zero { '=' } else { '>' });
        let mut digits = digits.to_owned();
        if let Some(separator) = self.grouping {
            let fills = self.zero && align == '=' && self.fill.is_none_or(|f| f == '0');
            let width = fits(if fills { self.width } else { 0 })?;
            let length = |n: usize| n + n.saturating_sub(1) / group + sign.len() + rest.len();
            let mut wanted = digits.len();
            while length(wanted) < width {
                wanted += 1;
            }
            digits.insert_str(0, &"0".repeat(wanted - digits.len()));
            let count = digits.len();
            let grouped = digits.char_indices().flat_map(|(i, c)| {
                let before = (i > 0 && (count - i).is_multiple_of(group)).then_some(separator);
                before.into_iter().chain([c])
            });
            digits = grouped.collect();
        }
        self.pad(sign, &format!("{digits}{rest}"), align)
    }

    fn pad(&self, sign: &str, body: &str, align: char) -> Result<String> {
        let length = sign.chars().count() + body.chars().count();
        let missing = fits(self.width)?.saturating_sub(length);
        let fill = self.fill.unwrap_or(if self.zero { '0' } else { ' ' });
        let fill = |n: usize| fill.to_string().repeat(n);
        Ok(match align {
            '<' => format!("{sign}{body}{}", fill(missing)),
            '^' => format!("{}{sign}{body}{}", fill(missing / 2), fill(missing - missing / 2)),
            '=' => format!("{sign}{}{body}", fill(missing)),
            _ => format!("{}{sign}{body}", fill(missing)),
        })
    }
}

/// A run of digits.
pub fn count(chars: &mut Peekable<impl Iterator<Item = char>>) -> Result<Option<usize>> {
    let mut digits = String::new();
    while let Some(c) = chars.next_if(char::is_ascii_digit) {
        digits.push(c);
    }
    if digits.is_empty() {
        return Ok(None);
    }
    digits.parse().map(Some).map_err(|_| Failure::new("a width is too large"))
}

fn special(f: f64) -> Option<String> {
    (!f.is_finite()).then(|| super::text::float(f))
}

/// `%.2f`.
pub fn fixed(f: f64, precision: usize) -> String {
    special(f).unwrap_or_else(|| format!("{f:.precision$}"))
}

/// `%.2e`: an exponent has two digits or more.
pub fn scientific(f: f64, precision: usize) -> String {
    special(f).unwrap_or_else(|| {
        let text = format!("{f:.precision$e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let power: i32 = exponent.parse().unwrap_or(0);
        format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
    })
}

/// `%.2g`: so many digits, in the shorter of the two ways.
pub fn general(f: f64, precision: usize, keeps_zeros: bool) -> String {
    if let Some(text) = special(f) {
        return text;
    }
    let precision = precision.max(1);
    let rounded = format!("{f:.*e}", precision - 1);
    let power: i64 = rounded.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let digits = i64::try_from(precision).unwrap_or(i64::MAX);
    let plain = (-4..digits).contains(&power);
    let text =
        if plain { fixed(f, usize::try_from(digits - 1 - power).unwrap_or(0)) } else { scientific(f, precision - 1) };
    if keeps_zeros || !text.contains('.') {
        return text;
    }
    let (digits, exponent) = text.split_at(text.find('e').unwrap_or(text.len()));
    format!("{}{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
}
