//! Source to tokens, with jinja2's rules for white space: `trim_blocks` and `lstrip_blocks` are on, as in transformers.
//! Source: <https://jinja.palletsprojects.com/en/stable/templates/#whitespace-control>

use std::{fmt::Write, sync::Arc};

use super::failure::{Failure, Result};

/// A token, and the line it starts in.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub kind: Kind,
    pub line: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Text between tags.
    Data(Arc<str>),
    BlockBegin,
    BlockEnd,
    VariableBegin,
    VariableEnd,
    Name(Arc<str>),
    Str(Arc<str>),
    Int(i128),
    Float(f64),
    Operator(&'static str),
    End,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::Data(_) => f.write_str("text"),
            Kind::BlockBegin => f.write_str("{%"),
            Kind::BlockEnd => f.write_str("%}"),
            Kind::VariableBegin => f.write_str("{{"),
            Kind::VariableEnd => f.write_str("}}"),
            Kind::Name(name) => f.write_str(name),
            Kind::Str(_) => f.write_str("a string"),
            Kind::Int(_) | Kind::Float(_) => f.write_str("a number"),
            Kind::Operator(operator) => f.write_str(operator),
            Kind::End => f.write_str("the end of the template"),
        }
    }
}

/// Longer ones first.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",", ";",
];

/// Carriage returns become line feeds, and one line feed at the end is not part of the template.
pub fn normalize(source: &str) -> String {
    let mut text = source.replace("\r\n", "\n").replace('\r', "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// The tokens of a normalised source.
pub fn tokens(source: &str) -> Result<Vec<Token>> {
    let mut lexer = Lexer { source, at: 0, line: 1, tokens: Vec::new(), starting: true };
    while lexer.at < source.len() {
        lexer.root()?;
    }
    lexer.push(Kind::End);
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: u32,
    tokens: Vec<Token>,
    /// The last thing read ended with a line feed.
    starting: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Tag {
    Block,
    Variable,
    Comment,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn push(&mut self, kind: Kind) {
        self.tokens.push(Token { kind, line: self.line });
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.rest()[..bytes];
        self.line += u32::try_from(passed.matches('\n').count()).unwrap_or(u32::MAX);
        self.at += bytes;
        self.starting = passed.ends_with('\n');
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(Failure::new(message).at(self.line))
    }

    /// Text up to the next tag, and the tag.
    fn root(&mut self) -> Result<()> {
        let rest = self.rest();
        let opens = |at: &usize| ["{%", "{{", "{#"].contains(&&rest[*at..*at + 2]);
        let found = rest.match_indices('{').map(|(at, _)| at).filter(|at| rest.is_char_boundary(at + 2));
        let Some(start) = found.filter(|at| at + 2 <= rest.len()).find(opens) else {
            self.data(rest, rest.len());
            return Ok(());
        };
        let tag = match rest.as_bytes()[start + 1] {
            b'%' => Tag::Block,
            b'{' => Tag::Variable,
            _ => Tag::Comment,
        };
        let sign = rest[start + 2..].chars().next().filter(|c| matches!(c, '-' | '+'));
        let text = &rest[..start];
        self.data(self.stripped(text, sign, tag), start);
        self.advance(2 + sign.map_or(0, char::len_utf8));
        match tag {
            Tag::Comment => self.comment(),
            Tag::Variable => {
                self.push(Kind::VariableBegin);
                self.expression(tag)
            }
            Tag::Block => {
                if let Some(length) = self.raw_begin() {
                    self.advance(length);
                    return self.raw();
                }
                self.push(Kind::BlockBegin);
                self.expression(tag)
            }
        }
    }

    /// What of `text` stays before a tag.
    fn stripped(&self, text: &'a str, sign: Option<char>, tag: Tag) -> &'a str {
        if sign == Some('-') {
            return text.trim_end_matches(space);
        }
        let line = text.rfind('\n').map_or(0, |at| at + 1);
        let starts = line > 0 || self.starting;
        if sign.is_none() && tag != Tag::Variable && starts && text[line..].chars().all(space) {
            return &text[..line];
        }
        text
    }

    /// Emit text, and go past the `length` bytes that it came from.
    fn data(&mut self, text: &str, length: usize) {
        if !text.is_empty() {
            self.push(Kind::Data(text.into()));
        }
        if length > 0 {
            self.advance(length);
        }
    }

    /// Length of the end of a tag here, with the white space that it takes along.
    fn tag_end(&self, end: &str, trims: bool) -> Option<usize> {
        let rest = self.rest();
        if let Some(after) = rest.strip_prefix('-').and_then(|r| r.strip_prefix(end)) {
            return Some(rest.len() - after.trim_start_matches(space).len());
        }
        if trims && rest.strip_prefix('+').is_some_and(|r| r.starts_with(end)) {
            return Some(1 + end.len());
        }
        let after = rest.strip_prefix(end)?;
        Some(end.len() + usize::from(trims && after.starts_with('\n')))
    }

    fn comment(&mut self) -> Result<()> {
        let rest = self.rest();
        if let Some(at) = rest.find("#}") {
            // A sign before the end belongs to it.
            let signed = at > 0 && matches!(rest.as_bytes()[at - 1], b'-' | b'+');
            self.advance(at - usize::from(signed));
            let length = self.tag_end("#}", true).unwrap_or(2);
            self.advance(length);
            return Ok(());
        }
        // jinja2 misses the end only where something is left to look at.
        if rest.is_empty() { Ok(()) } else { self.fail("a comment is not closed") }
    }

    /// Length of what follows `{%` and its sign, if it begins a raw block.
    fn raw_begin(&self) -> Option<usize> {
        let rest = self.rest();
        let word = rest.trim_start_matches(space).strip_prefix("raw")?.trim_start_matches(space);
        if let Some(after) = word.strip_prefix("-%}") {
            return Some(rest.len() - after.trim_start_matches(space).len());
        }
        word.strip_prefix("%}").map(|after| rest.len() - after.len())
    }

    fn raw(&mut self) -> Result<()> {
        let rest = self.rest();
        for (at, _) in rest.match_indices("{%") {
            let tag = &rest[at + 2..];
            let sign = tag.chars().next().filter(|c| matches!(c, '-' | '+'));
            let inner = &tag[sign.map_or(0, char::len_utf8)..];
            let Some(after) = inner.trim_start_matches(space).strip_prefix("endraw") else { continue };
            let after = after.trim_start_matches(space);
            if !["%}", "-%}", "+%}"].iter().any(|end| after.starts_with(end)) {
                continue;
            }
            self.data(self.stripped(&rest[..at], sign, Tag::Block), at);
            self.advance(rest.len() - at - after.len());
            let length = self.tag_end("%}", true).unwrap_or(2);
            self.advance(length);
            return Ok(());
        }
        if rest.is_empty() { Ok(()) } else { self.fail("a raw block is not closed") }
    }

    /// The tokens of a tag, and its end.
    fn expression(&mut self, tag: Tag) -> Result<()> {
        let (end, trims) = if tag == Tag::Block { ("%}", true) } else { ("}}", false) };
        let mut open: Vec<&str> = Vec::new();
        loop {
            if open.is_empty()
                && let Some(length) = self.tag_end(end, trims)
            {
                self.push(if tag == Tag::Block { Kind::BlockEnd } else { Kind::VariableEnd });
                self.advance(length);
                return Ok(());
            }
            let rest = self.rest();
            let Some(c) = rest.chars().next() else {
                return self.fail(format!("a tag is not closed: {end} is missing"));
            };
            if space(c) {
                self.advance(rest.len() - rest.trim_start_matches(space).len());
            } else if c.is_ascii_digit() {
                self.number()?;
            } else if c == '_' || c.is_alphanumeric() {
                let length = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
                self.push(Kind::Name(rest[..length].into()));
                self.advance(length);
            } else if matches!(c, '\'' | '"') {
                self.string(c)?;
            } else {
                let Some(operator) = OPERATORS.into_iter().find(|o| rest.starts_with(o)) else {
                    return self.fail(format!("unexpected character {c:?}"));
                };
                match operator {
                    "(" => open.push(")"),
                    "[" => open.push("]"),
                    "{" => open.push("}"),
                    ")" | "]" | "}" if open.pop() != Some(operator) => {
                        return self.fail(format!("unexpected '{operator}'"));
                    }
                    _ => {}
                }
                self.push(Kind::Operator(operator));
                self.advance(operator.len());
            }
        }
    }

    fn number(&mut self) -> Result<()> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let digits = |from: usize, base: u32| {
            let run = bytes[from..].iter().take_while(|b| **b == b'_' || char::from(**b).is_digit(base)).count();
            let underscores = bytes[from..from + run].iter().rev().take_while(|b| **b == b'_').count();
            from + run - underscores
        };
        for (letter, base) in [(b'x', 16), (b'o', 8), (b'b', 2)] {
            if bytes[0] == b'0' && bytes.get(1).is_some_and(|b| b.eq_ignore_ascii_case(&letter)) {
                let end = digits(2, base);
                let written = rest[2..end].replace('_', "");
                let Ok(value) = i128::from_str_radix(&written, base) else {
                    return self.fail("a number is not one");
                };
                self.push(Kind::Int(value));
                self.advance(end);
                return Ok(());
            }
        }
        let mut end = digits(0, 10);
        let mut float = false;
        // `1.5`, but not `x.1.5` and not the dots of `1..2` or `1.name`.
        let follows_dot = self.source[..self.at].ends_with('.');
        if !follows_dot && bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            (end, float) = (digits(end + 1, 10), true);
        }
        if !follows_dot && bytes.get(end).is_some_and(|b| b.eq_ignore_ascii_case(&b'e')) {
            let signed = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if bytes.get(signed).is_some_and(u8::is_ascii_digit) {
                (end, float) = (digits(signed, 10), true);
            }
        }
        let written = rest[..end].replace('_', "");
        let kind = if float { written.parse().ok().map(Kind::Float) } else { written.parse().ok().map(Kind::Int) };
        let Some(kind) = kind else { return self.fail("a number is too large") };
        // Python knows no number with a zero before it, and jinja2 reads two numbers, which is an error.
        if !float && written.len() > 1 && written.starts_with('0') && written.bytes().any(|b| b != b'0') {
            return self.fail("a number begins with a zero");
        }
        self.push(kind);
        self.advance(end);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Result<()> {
        let rest = self.rest();
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == quote {
                let Some(text) = unescape(&rest[1..at]) else {
                    return self.fail("a string has an escape that is none");
                };
                self.push(Kind::Str(text.into()));
                self.advance(at + 1);
                return Ok(());
            }
        }
        self.fail("a string is not closed")
    }
}

/// White space as Python's regular expressions see it.
pub fn space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

/// A string as Python reads its escapes. `\N{...}` and halves of surrogate pairs are errors.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let c = rest.chars().next()?;
        let code = |from: usize, digits: usize| {
            let hex = rest.get(from..from + digits)?;
            let known = hex.bytes().all(|b| b.is_ascii_hexdigit());
            Some((char::from_u32(u32::from_str_radix(hex, 16).ok().filter(|_| known)?)?, from + digits))
        };
        let (read, length) = match c {
            '\n' => (None, 1),
            '\\' | '\'' | '"' => (Some(c), 1),
            'a' => (Some('\x07'), 1),
            'b' => (Some('\x08'), 1),
            'f' => (Some('\x0c'), 1),
            'n' => (Some('\n'), 1),
            'r' => (Some('\r'), 1),
            't' => (Some('\t'), 1),
            'v' => (Some('\x0b'), 1),
            '0'..='7' => {
                let length = rest.bytes().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count();
                (Some(char::from_u32(u32::from_str_radix(&rest[..length], 8).ok()?)?), length)
            }
            'x' => code(1, 2).map(|(c, n)| (Some(c), n))?,
            'u' => code(1, 4).map(|(c, n)| (Some(c), n))?,
            'U' => code(1, 8).map(|(c, n)| (Some(c), n))?,
            'N' => return None,
            // jinja2 escapes what is not ASCII before it reads escapes, and so the backslash escapes that one.
            c if !c.is_ascii() => {
                let code = u32::from(c);
                let _ = match code {
                    0..=0xFF => write!(out, "\\x{code:02x}"),
                    0x100..=0xFFFF => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
                (None, c.len_utf8())
            }
            // Python keeps the backslash of what is no escape.
            c => {
                out.push('\\');
                (Some(c), c.len_utf8())
            }
        };
        out.extend(read);
        rest = &rest[length..];
    }
    out.push_str(rest);
    Some(out)
}
