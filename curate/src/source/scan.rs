//! JSON as a stream: keys and the ends of values are found without keeping what lies between.

use std::io::{self, BufRead};

use setaccio_base::names::Names;

use super::encoding::BOM;

/// More of a key than this is not kept.
const MAX_KEY: usize = 64 << 10;

/// Why a stream stops making sense.
#[derive(Debug)]
pub enum ScanError {
    /// Reading failed.
    Io(io::Error),
    /// What was read is not what has to stand there.
    Broken(String),
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A result of scanning.
pub type Result<T> = std::result::Result<T, ScanError>;

/// What was read is not what has to stand there.
pub fn broken<T>(what: impl Into<String>) -> Result<T> {
    Err(ScanError::Broken(what.into()))
}

/// What is said where an element has no end.
pub const NO_END: &str = "the file ends in the middle of this element: it was cut short";

/// How a value ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By its closing bracket, or before what follows a bare value.
    Own,
    /// With the stream, inside this many brackets.
    Stream(usize),
}

/// Reads on in a stream of JSON, and knows where it is.
pub struct Scanner<R> {
    input: R,
    /// Bytes consumed of the stream.
    pub offset: u64,
    /// Whether a line has ended in what was consumed; looked for only where a torn text stops the scan.
    pub lines: bool,
    /// What becomes of a line break inside a text.
    pub torn: Torn,
}

/// What becomes of a line break inside a text, which JSON does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// It is passed over: whoever parses the row finds it.
    Pass,
    /// It is an error.
    Stop,
}

impl<R: BufRead> Scanner<R> {
    /// At the start of a stream.
    pub fn new(input: R, torn: Torn) -> Self {
        Self { input, offset: 0, lines: false, torn }
    }

    /// What lies ready; empty at the end.
    pub fn chunk(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    /// Leave bytes behind.
    pub fn consume(&mut self, n: usize) {
        self.input.consume(n);
        self.offset += n as u64;
    }

    /// Leave a byte order mark behind, if there is one.
    pub fn skip_bom(&mut self) -> Result<()> {
        if self.chunk()?.starts_with(BOM) {
            self.consume(BOM.len());
        }
        Ok(())
    }

    /// The next byte that is no white space, left unread; `None` at the end.
    pub fn skip_space(&mut self) -> Result<Option<u8>> {
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let solid = chunk.iter().position(|b| !b.is_ascii_whitespace());
            let n = solid.unwrap_or(chunk.len());
            let next = solid.map(|n| chunk[n]);
            self.lines = self.lines || (self.torn == Torn::Stop && memchr::memchr(b'\n', &chunk[..n]).is_some());
            self.consume(n);
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    /// Leave this byte behind, and white space before it.
    pub fn expect(&mut self, byte: u8) -> Result<()> {
        match self.skip_space()? {
            Some(next) if next == byte => {
                self.consume(1);
                Ok(())
            }
            Some(next) => broken(format!("{:?} stands where {:?} has to", char::from(next), char::from(byte))),
            None => broken(NO_END),
        }
    }

    /// Leave a value behind; its first `most` bytes go into `kept`.
    pub fn value(&mut self, kept: &mut Vec<u8>, most: u64) -> Result<Ending> {
        let mut state = State::default();
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(Ending::Stream(state.depth));
            }
            let end = state.scan(chunk);
            let part = end.unwrap_or(chunk.len());
            keep(kept, &chunk[..part], most);
            self.lines = self.lines || (self.torn == Torn::Stop && memchr::memchr(b'\n', &chunk[..part]).is_some());
            self.consume(part);
            if state.torn && self.torn == Torn::Stop {
                return broken("a line ends inside of a text");
            }
            if end.is_some() {
                return Ok(Ending::Own);
            }
        }
    }

    /// Leave a value behind that must end before the stream does.
    pub fn skip_value(&mut self) -> Result<()> {
        match self.value(&mut Vec::new(), 0)? {
            Ending::Own => Ok(()),
            Ending::Stream(_) => broken(NO_END),
        }
    }

    /// The next key of an object, its `:` left behind; `None` after the last, with the `}`. `follows` says whether one
    /// came before.
    pub fn key(&mut self, follows: &mut bool) -> Result<Option<String>> {
        let mut next = self.skip_space()?;
        if next == Some(b'}') {
            self.consume(1);
            return Ok(None);
        }
        if std::mem::replace(follows, true) {
            self.expect(b',')?;
            next = self.skip_space()?;
        }
        match next {
            Some(b'"') => {}
            Some(other) => return broken(format!("{:?} stands where a key has to", char::from(other))),
            None => return broken(NO_END),
        }
        let key = self.string()?;
        self.expect(b':')?;
        self.skip_space()?;
        Ok(Some(key))
    }

    /// A text in quotes, whose first quote comes next.
    fn string(&mut self) -> Result<String> {
        let (mut raw, mut state) = (Vec::new(), State::default());
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return broken(NO_END);
            }
            let end = state.string_end(chunk);
            let part = end.unwrap_or(chunk.len());
            keep(&mut raw, &chunk[..part], MAX_KEY as u64);
            self.consume(part);
            if state.torn && self.torn == Torn::Stop {
                return broken("a line ends inside of a text");
            }
            if end.is_some() {
                let bare = || String::from_utf8_lossy(&raw).trim_matches('"').to_owned();
                return Ok(serde_json::from_slice(&raw).unwrap_or_else(|_| bare()));
            }
        }
    }

    /// Go into the outer object of a file, up to the value of this field.
    pub fn enter(&mut self, field: &str) -> Result<()> {
        self.skip_bom()?;
        self.expect(b'{')?;
        let (mut names, mut follows) = (Names::default(), false);
        while let Some(key) = self.key(&mut follows)? {
            if key == field {
                return Ok(());
            }
            names.add(key);
            self.skip_value()?;
        }
        broken(format!("the object has no field `{field}`; it has {names}"))
    }
}

/// Put the start of what passes into `kept`, up to `most` bytes in all.
pub fn keep(kept: &mut Vec<u8>, part: &[u8], most: u64) {
    let room = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(kept.len());
    kept.extend_from_slice(&part[..part.len().min(room)]);
}

/// How deep inside a value a scan is.
#[derive(Default)]
struct State {
    depth: usize,
    string: bool,
    escaped: bool,
    /// Whether a line has ended inside a text.
    torn: bool,
}

impl State {
    /// Where the value ends in `chunk`, if it does: after its closing bracket, or before the `,`, `]` or `}` that
    /// follows a bare value.
    fn scan(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut i = 0;
        while i < chunk.len() {
            if self.string {
                i += self.string_end(&chunk[i..])?;
                continue;
            }
            match chunk[i] {
                b'"' => {
                    i += self.string_end(&chunk[i..])?;
                    continue;
                }
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(i + 1);
                    }
                }
                b',' | b']' | b'}' if self.depth == 0 => return Some(i),
                _ => {}
            }
            i += 1;
        }
        None
    }

    /// Where the text ends in `chunk`, which begins with its first quote or inside it.
    fn string_end(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut i = usize::from(!std::mem::replace(&mut self.string, true));
        while i < chunk.len() {
            if std::mem::take(&mut self.escaped) {
                i += 1;
                continue;
            }
            i += memchr::memchr3(b'"', b'\\', b'\n', &chunk[i..])? + 1;
            match chunk[i - 1] {
                b'"' => {
                    self.string = false;
                    return Some(i);
                }
                b'\\' => self.escaped = true,
                _ => self.torn = true,
            }
        }
        None
    }
}
