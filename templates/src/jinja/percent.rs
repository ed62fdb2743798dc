//! Python's `%` on strings.
//! Source: <https://docs.python.org/3/library/stdtypes.html#printf-style-string-formatting>

use std::{cell::Cell, iter::Peekable};

use super::{
    failure::{Failure, Result},
    limits::{fits, spend},
    number_format::{Spec, count},
    text::{printable, repr, string},
    value::{Class, Value, whole},
};

/// `text % values`.
pub fn format(text: &str, values: &Value) -> Result<String> {
    let mut out = String::new();
    let mut arguments = Arguments { values, taken: 0 };
    let mut by_name = false;
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut named = None;
        if let Some(after) = rest.strip_prefix('(') {
            let end = closing(after).ok_or_else(|| Failure::new("a format has a key that is not closed"))?;
            named = Some(arguments.named(&after[..end])?);
            by_name = true;
            rest = &after[end + 1..];
        }
        spend(1)?;
        let read = Cell::new(0);
        let mut chars = rest.chars().inspect(|c| read.set(read.get() + c.len_utf8())).peekable();
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | ' ' | '0' | '#')) {
            match flag {
                '-' => spec.align = Some('<'),
                '+' => spec.sign = Some('+'),
                ' ' => spec.sign = spec.sign.or(Some(' ')),
                '0' => spec.zero = true,
                _ => spec.alternate = true,
            }
        }
        if let Some(width) = width(&mut chars, &mut arguments)? {
            spec.align = if width < 0 { Some('<') } else { spec.align };
            spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
        }
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(usize::try_from(width(&mut chars, &mut arguments)?.unwrap_or(0)).unwrap_or(0));
        }
        while chars.next_if(|c| matches!(c, 'h' | 'l' | 'L')).is_some() {}
        let Some(kind) = chars.next() else { return Err(Failure::new("a format is incomplete")) };
        let ahead = chars.peek().map_or(0, |c| c.len_utf8());
        rest = &rest[read.get() - ahead..];
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = match named {
            Some(value) => value,
            None => arguments.next()?,
        };
        out.push_str(&place(spec, kind, &value)?);
        fits(out.len())?;
    }
    out.push_str(rest);
    let mapping = matches!(values, Value::Dict(_) | Value::List(_) | Value::Range(_) | Value::Undefined(_));
    let wanted = match values {
        Value::Tuple(items) => items.len(),
        _ => 1,
    };
    if arguments.taken < wanted && !mapping && !by_name {
        return Err(Failure::new("a format has fewer places than arguments"));
    }
    Ok(out)
}

/// A width or a precision, which `*` takes from the arguments.
fn width(chars: &mut Peekable<impl Iterator<Item = char>>, arguments: &mut Arguments<'_>) -> Result<Option<i128>> {
    if chars.next_if_eq(&'*').is_none() {
        return Ok(count(chars)?.map(|n| i128::try_from(n).unwrap_or(i128::MAX)));
    }
    arguments.next()?.as_int().map(Some).ok_or_else(|| Failure::new("* wants an integer"))
}

/// Where the parenthesis that was opened before is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

struct Arguments<'a> {
    values: &'a Value,
    taken: usize,
}

impl Arguments<'_> {
    fn next(&mut self) -> Result<Value> {
        let found = match self.values {
            Value::Tuple(items) => items.get(self.taken).cloned(),
            other => (self.taken == 0).then(|| other.clone()),
        };
        self.taken += 1;
        found.ok_or_else(|| Failure::new("a format has more places than arguments"))
    }

    fn named(&self, key: &str) -> Result<Value> {
        let Value::Dict(dict) = self.values else {
            return Err(self.values.missing().unwrap_or_else(|| Failure::new("a format with names needs a dict")));
        };
        dict.named(key).cloned().ok_or_else(|| Failure::new(format!("a format names `{key}`, which is not there")))
    }
}

fn place(mut spec: Spec, kind: char, value: &Value) -> Result<String> {
    let right =
        |spec: Spec| Spec { align: spec.align.or(Some('>')), sign: None, alternate: false, zero: false, ..spec };
    let left = spec.align == Some('<');
    match kind {
        's' => right(spec).text(&string(value)?),
        'r' => right(spec).text(&repr(value)?),
        'a' => right(spec).text(&ascii(&repr(value)?)),
        'c' => match value {
            Value::Str(text) if text.chars().count() == 1 => Spec { precision: None, ..right(spec) }.text(text),
            Value::Int(_) => Spec { kind: Some('c'), precision: None, ..right(spec) }.int(value),
            _ => Err(Failure::new("%c wants an integer or one character")),
        },
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' => {
            let decimal = matches!(kind, 'd' | 'i' | 'u');
            let int = match value {
                Value::Float(f) if decimal => whole(f.trunc()),
                _ => value.as_int(),
            };
            let int = int.ok_or_else(|| {
                value
                    .missing()
                    .unwrap_or_else(|| Failure::new(format!("%{kind} wants a number, not {:?}", Class(value))))
            })?;
            // A precision is the least number of digits.
            let digits = spec.precision.take();
            spec.kind = Some(if decimal { 'd' } else { kind });
            spec.zero &= !left;
            let Some(digits) = digits else { return spec.int(&Value::Int(int)) };
            let sign = spec.sign.filter(|_| int >= 0).map_or(String::new(), String::from);
            let plain = Spec { width: digits, zero: true, kind: spec.kind, ..Spec::default() };
            let body = plain.int(&Value::Int(int.checked_abs().unwrap_or(i128::MAX)))?;
            let sign = if int < 0 { "-".into() } else { sign };
            right(spec).text(&format!("{sign}{body}"))
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            if !matches!(value, Value::Float(_) | Value::Int(_) | Value::Bool(_)) {
                return Err(value
                    .missing()
                    .unwrap_or_else(|| Failure::new(format!("%{kind} wants a number, not {:?}", Class(value)))));
            }
            spec.zero &= !left;
            Spec { kind: Some(kind), ..spec }.float(value)
        }
        _ => Err(Failure::new(format!("%{kind} is no format that Python knows"))),
    }
}

/// With escapes for what is not ASCII.
fn ascii(text: &str) -> String {
    let escape = |c: char| match u32::from(c) {
        _ if c.is_ascii() && (printable(c) || c == '\n') => c.to_string(),
        code @ 0..=0xFF => format!("\\x{code:02x}"),
        code @ 0x100..=0xFFFF => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    };
    text.chars().map(escape).collect()
}
