//! One framed JSON object as a record, exactly: numbers are the nearest doubles or integers as they are written, and
//! Python's `NaN` and `Infinity` are read. A text that is none (a lone surrogate, bytes that are no UTF-8, a control
//! character) or a value that is nested too deep spoils the column that it is in, and no other.

use std::{collections::HashSet, ops::Range};

use serde_json::{Map, Value};
use setaccio_base::value as values;

use super::record::{Record, has_two, shown};

/// Deepest nesting of a value. serde_json and other readers of what is written stop at 128.
const MAX_DEPTH: usize = 120;

/// The record in `bytes`. A column that is not `needed` and cannot be read is its own JSON as text.
///
/// # Errors
/// The bytes are no JSON object, or a column that is `needed` cannot be read.
pub fn record(bytes: &[u8], needed: &HashSet<String>) -> Result<Record, String> {
    let mut parser = Parser::new(bytes);
    let broken = |e: Broken| match std::str::from_utf8(bytes) {
        Ok(_) => format!("is not JSON: {} at byte {} of the row", e.what, e.at),
        // What is no text is most likely no JSON either.
        Err(e) => format!("is not valid UTF-8 from its byte {} on", e.valid_up_to()),
    };
    let first = parser.peek();
    if first != Some(b'{') && first.is_some() {
        let value = parser.value(0).and_then(|value| parser.end().map(|()| value)).map_err(broken)?;
        return Err(format!("is {}, where an object is required", shown(&value)));
    }
    let mut record = Map::new();
    let mut bad = None;
    parser
        .members(|parser, name| {
            let start = parser.at;
            let value = parser.value(1)?;
            let value = match parser.fault.take() {
                Some(fault) if needed.contains(&name) => {
                    bad.get_or_insert_with(|| format!("column `{name}` {fault}"));
                    Value::Null
                }
                Some(_) => String::from_utf8_lossy(&bytes[start..parser.at]).into(),
                None => value,
            };
            if record.contains_key(&name) {
                bad.get_or_insert_with(|| has_two("keys", &name));
            }
            record.insert(name, value);
            Ok(())
        })
        .and_then(|()| parser.end())
        .map_err(broken)?;
    bad.map_or(Ok(record), Err)
}

/// The value that a text spells, if it is JSON and nothing is wrong with its texts.
pub fn value(text: &str) -> Option<Value> {
    let mut parser = Parser::new(text.as_bytes());
    let value = parser.value(1).and_then(|value| parser.end().map(|()| value)).ok();
    value.filter(|_| parser.fault.is_none())
}

/// Where and why the bytes are no JSON.
struct Broken {
    what: &'static str,
    at: usize,
}

type Parse<T> = Result<T, Broken>;

struct Parser<'a> {
    bytes: &'a [u8],
    /// The same as text, if it is one.
    whole: Option<&'a str>,
    /// Whether there are control characters, which texts may not hold.
    controls: bool,
    at: usize,
    /// A text as far as it is read.
    text: String,
    /// What is wrong with the value that is read, where its end can be found all the same.
    fault: Option<String>,
}

impl<'a> Parser<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        // Once for all texts: without an early end, compilers make vector instructions of it.
        let controls = bytes.trim_ascii_end().iter().fold(0, |any, b| any | u8::from(*b < b' ')) > 0;
        let whole = std::str::from_utf8(bytes).ok();
        Self { bytes, whole, controls, at: 0, text: String::new(), fault: None }
    }

    fn broken<T>(&self, what: &'static str) -> Parse<T> {
        let what = if self.at < self.bytes.len() { what } else { "it ends too early," };
        Err(Broken { what, at: self.at })
    }

    fn spoil(&mut self, fault: &str) {
        self.fault.get_or_insert_with(|| fault.to_owned());
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.bytes.get(self.at..)?;
        self.at += rest.iter().position(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r')).unwrap_or(rest.len());
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Nothing follows.
    fn end(&mut self) -> Parse<()> {
        if self.peek().is_none() { Ok(()) } else { self.broken("something follows the end") }
    }

    /// The members of an object, of which `member` reads the value.
    fn members(&mut self, mut member: impl FnMut(&mut Self, String) -> Parse<()>) -> Parse<()> {
        if !self.take(b'{') {
            return self.broken("an object is expected");
        }
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            if !self.take(b'"') {
                return self.broken("the name of a field is expected");
            }
            let name = self.text()?;
            if !self.take(b':') {
                return self.broken("a `:` is expected");
            }
            self.peek();
            member(self, name)?;
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.broken("a `,` or `}` is expected");
            }
        }
    }

    fn value(&mut self, depth: usize) -> Parse<Value> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.text().map(Value::String)
            }
            Some(b'{' | b'[') if depth > MAX_DEPTH => {
                self.spoil("is nested more than 120 levels deep");
                self.skip().map(|()| Value::Null)
            }
            Some(b'{') => {
                let mut fields = Map::new();
                self.members(|parser, name| {
                    let value = parser.value(depth + 1)?;
                    if fields.contains_key(&name) {
                        parser.spoil(&has_two("keys", &name));
                    }
                    fields.insert(name, value);
                    Ok(())
                })?;
                Ok(Value::Object(fields))
            }
            Some(b'[') => self.list(depth),
            Some(b't') => self.word("true", true.into()),
            Some(b'f') => self.word("false", false.into()),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'N') => self.word("NaN", values::number("NaN")),
            Some(b'I') => self.word("Infinity", values::number("Infinity")),
            Some(b'-') if self.bytes.get(self.at + 1) == Some(&b'I') => {
                self.word("-Infinity", values::number("-Infinity"))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.broken("a value is expected"),
        }
    }

    fn list(&mut self, depth: usize) -> Parse<Value> {
        self.at += 1;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return self.broken("a `,` or `]` is expected");
            }
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Parse<Value> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        self.broken("a value is expected")
    }

    fn digits(&mut self) -> usize {
        let rest = &self.bytes[self.at..];
        let n = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        self.at += n;
        n
    }

    fn number(&mut self) -> Parse<Value> {
        let start = self.at;
        self.at += usize::from(self.bytes[start] == b'-');
        let zero = self.bytes.get(self.at) == Some(&b'0');
        let whole = self.digits();
        if whole == 0 || (zero && whole > 1) {
            return self.broken("a number is expected");
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return self.broken("a digit is expected");
            }
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return self.broken("a digit is expected");
            }
        }
        let text = std::str::from_utf8(&self.bytes[start..self.at]);
        Ok(text.map_or(Value::Null, values::number))
    }

    /// The rest of a text, of which the opening quote was read.
    fn text(&mut self) -> Parse<String> {
        self.text.clear();
        loop {
            let Some(n) = memchr::memchr2(b'"', b'\\', &self.bytes[self.at..]) else {
                self.at = self.bytes.len();
                return self.broken("");
            };
            let end = self.at + n;
            self.plain(self.at..end);
            self.at = end + 1;
            if self.bytes[end] == b'"' {
                return Ok(self.text.clone());
            }
            self.escape()?;
        }
    }

    /// Bytes of a text between escapes.
    fn plain(&mut self, range: Range<usize>) {
        let bytes = &self.bytes[range.clone()];
        if self.controls && bytes.iter().any(|b| *b < b' ') {
            self.spoil("holds a control character that is not escaped");
        }
        match self.whole.map_or_else(|| std::str::from_utf8(bytes), |whole| Ok(&whole[range])) {
            Ok(part) => self.text.push_str(part),
            Err(e) => {
                self.spoil(&format!("is not valid UTF-8 from its byte {} on", self.text.len() + e.valid_up_to()));
                self.text.push_str(&String::from_utf8_lossy(bytes));
            }
        }
    }

    /// An escape, of which the backslash was read.
    fn escape(&mut self) -> Parse<()> {
        let Some(kind) = self.bytes.get(self.at) else { return self.broken("") };
        let character = match kind {
            b'"' | b'\\' | b'/' => char::from(*kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return self.broken("an escape is expected"),
        };
        self.at += 1;
        self.text.push(character);
        Ok(())
    }

    /// `uXXXX`, and the second half of a pair after it.
    fn unicode(&mut self) -> Parse<()> {
        let first = self.hex()?;
        let mut code = u32::from(first);
        if (0xD800..0xDC00).contains(&first) && self.bytes[self.at..].starts_with(b"\\u") {
            let before = self.at;
            self.at += 1;
            let second = self.hex()?;
            if (0xDC00..0xE000).contains(&second) {
                code = 0x1_0000 + ((code - 0xD800) << 10) + (u32::from(second) - 0xDC00);
            } else {
                // It is a character of its own.
                self.at = before;
            }
        }
        if let Some(character) = char::from_u32(code) {
            self.text.push(character);
        } else {
            self.spoil("holds half of a surrogate pair, which is no text");
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        Ok(())
    }

    /// The four digits after a `u`.
    fn hex(&mut self) -> Parse<u16> {
        self.at += 1;
        let digits = self.bytes.get(self.at..self.at + 4).and_then(|d| std::str::from_utf8(d).ok());
        let number = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        match number.and_then(|d| u16::from_str_radix(d, 16).ok()) {
            Some(number) => {
                self.at += 4;
                Ok(number)
            }
            None => self.broken("four hexadecimal digits are expected"),
        }
    }

    /// Past a list or an object, whatever is in it.
    fn skip(&mut self) -> Parse<()> {
        let mut depth = 0_usize;
        while let Some(byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'"' => drop(self.text()?),
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
        self.broken("")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: impl AsRef<[u8]>, needed: &[&str]) -> Result<Value, String> {
        let needed = needed.iter().map(|n| (*n).to_owned()).collect();
        record(text.as_ref(), &needed).map(Value::Object)
    }

    #[test]
    fn what_serde_json_reads_is_read_alike() {
        for text in [
            "{}",
            " {\t\"a\" : [ ] ,\r\n\"b\":{ }, \"\":null}\n",
            r#"{"a": "\"\\\/\b\f\n\r\t\u00e8\uD83D\ude42 è 🙂", "b": [true, false, null, -0, 0, -1.5e-3, 2E+2, 18446744073709551615]}"#,
            r#"{"a": 1, "z": {"b": {"c": [[[{}]]]}}}"#,
        ] {
            let expected: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
            let read = read(text, &["a", "b", "z"]).unwrap_or_else(|e| panic!("{e}: {text}"));
            assert_eq!(read.to_string(), expected.to_string(), "{text}");
        }
    }

    #[test]
    fn what_serde_json_refuses_is_refused_with_its_place() {
        for text in [
            "",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\" 1}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":1e}",
            "{\"a\":-}",
            "{\"a\":+1}",
            "{\"a\":tru}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"",
            "{\"a\":\"\\",
            "{\"a\":[1 2]}",
            "{\"a\":[1,]}",
            "{\"a\":1}}",
            "{\"a\":1} x",
            "[1",
            "nul",
            "{\"a\":\"\\u123",
        ] {
            assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
            let error = read(text, &[]).unwrap_err();
            assert!(error.starts_with("is not JSON: ") && error.ends_with(" of the row"), "{text}: {error}");
        }
        assert_eq!(
            read("{\"a\":1 \"b\"}", &[]),
            Err("is not JSON: a `,` or `}` is expected at byte 7 of the row".into())
        );
        for (text, kind) in
            [("[1]", "a list"), (" 3", "a number"), ("\"x\"", "text"), ("NaN", "a number"), ("null", "null")]
        {
            assert_eq!(read(text, &[]), Err(format!("is {kind}, where an object is required")));
        }
    }

    #[test]
    fn a_value_spoils_its_own_column_alone() {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        for (value, reason) in [
            (r#""a \ud83d b""#, "half of a surrogate pair"),
            (r#""\udc00\ud83d""#, "half of a surrogate pair"),
            ("\"a\tb\"", "control character"),
            (&deep, "120 levels"),
            (r#"{"in": ["\ud83d"]}"#, "half of a surrogate pair"),
        ] {
            let text = format!("{{\"text\": \"uno\", \"x\": {value}, \"y\": 1}}");
            assert_eq!(read(&text, &["text", "y"]), Ok(json!({"text": "uno", "x": value, "y": 1})), "{value}");
            let error = read(&text, &["text", "x"]).unwrap_err();
            assert!(error.starts_with("column `x` ") && error.contains(reason), "{error}");
        }
        let bytes = b"{\"text\": \"uno\", \"x\": \"caff\xe8\"}";
        assert_eq!(read(bytes, &["text"]), Ok(json!({"text": "uno", "x": "\"caff\u{fffd}\""})));
        assert_eq!(read(bytes, &["x"]), Err("column `x` is not valid UTF-8 from its byte 4 on".into()));
        assert_eq!(read(b"{\"x\": caff\xe8}", &[]), Err("is not valid UTF-8 from its byte 10 on".into()));
        // A surrogate before a whole pair or a character is one alone.
        assert_eq!(read(r#"{"x": "\ud83d\ud83d\ude42"}"#, &[]), Ok(json!({"x": r#""\ud83d\ud83d\ude42""#})));
    }

    #[test]
    fn a_key_that_stands_twice_is_said_and_hides_nothing() {
        let error = |text: &str, needed: &[&str]| read(text, needed).err().unwrap_or_default();
        for needed in [&["text"][..], &[]] {
            let said = error(r#"{"text": "uno", "text": "due"}"#, needed);
            assert!(said.starts_with("has two keys called `text`, of which"), "{said}");
        }
        let inside = r#"{"text": "uno", "m": [{"role": "user", "content": "a", "content": "b"}]}"#;
        let said = error(inside, &["m"]);
        assert!(said.starts_with("column `m` has two keys called `content`"), "{said}");
        // Where nobody reads it, it stays as it was written.
        let kept = r#"[{"role": "user", "content": "a", "content": "b"}]"#;
        assert_eq!(read(inside, &["text"]), Ok(json!({"text": "uno", "m": kept})));
        assert_eq!(value(kept), None);
    }

    #[test]
    fn numbers_are_those_that_are_written() {
        let text = r#"{"a":[0.1,1e400,NaN,-Infinity,123456789012345678901234567890,9007199254740993]}"#;
        let read = read(text, &["a"]).unwrap_or_default();
        assert_eq!(values::to_json(&read), text);
    }
}
