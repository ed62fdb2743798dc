//! Framing: where each JSON object of a stream begins and ends, without parsing it or holding more than one.

use std::io::{self, BufRead};

use super::compress::BOM;

/// One framed element.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// It is in the buffer.
    Whole,
    /// It was this long, and only its start is in the buffer.
    TooLong(u64),
}

/// Why a stream stops making sense.
#[derive(Debug)]
pub enum FrameError {
    /// Reading failed.
    Io(io::Error),
    /// What was read is no list of elements.
    Broken(String),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// How a stream holds its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One JSON array of objects.
    Array,
    /// One JSON object a line.
    Lines,
}

/// Elements of a JSON array, or lines.
pub struct Framer<R> {
    input: R,
    layout: Layout,
    /// Bytes consumed of the stream.
    offset: u64,
    /// Where the latest element began.
    pub start: u64,
    max: u64,
    begun: bool,
    ended: bool,
    /// Whether the stream is a cut from the middle of a file.
    inside: bool,
    /// Whether an array's element has been read, so that a comma must come before the next.
    follows: bool,
}

impl<R: BufRead> Framer<R> {
    /// Frame a whole file.
    pub fn file(input: R, layout: Layout, max: u64) -> Self {
        Self { input, layout, offset: 0, start: 0, max, begun: false, ended: false, inside: false, follows: false }
    }

    /// Frame whole elements cut out of a file.
    pub fn cut(input: R, layout: Layout, max: u64) -> Self {
        Self { begun: true, inside: true, ..Self::file(input, layout, max) }
    }

    /// A longer element is too long, in bytes.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Bytes consumed so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Put the next element into `buffer`, or `None` after the last.
    ///
    /// # Errors
    /// The stream cannot be read, ends early, or goes on where it should end.
    pub fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Frame>, FrameError> {
        buffer.clear();
        if !self.begun {
            self.begin()?;
        }
        if self.ended {
            return Ok(None);
        }
        match self.layout {
            Layout::Array => self.element(buffer),
            Layout::Lines => self.line(buffer),
        }
    }

    fn begin(&mut self) -> Result<(), FrameError> {
        self.begun = true;
        if self.input.fill_buf()?.starts_with(BOM) {
            self.consume(BOM.len());
        }
        if self.layout == Layout::Array {
            self.skip_space()?;
            self.consume(1);
        }
        Ok(())
    }

    fn consume(&mut self, n: usize) {
        self.input.consume(n);
        self.offset += n as u64;
    }

    /// The next byte that is no white space, left unread; `None` at the end.
    fn skip_space(&mut self) -> Result<Option<u8>, FrameError> {
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(None);
            }
            if let Some(n) = chunk.iter().position(|b| !b.is_ascii_whitespace()) {
                let byte = chunk[n];
                self.consume(n);
                return Ok(Some(byte));
            }
            let n = chunk.len();
            self.consume(n);
        }
    }

    fn line(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Frame>, FrameError> {
        if self.skip_space()?.is_none() {
            self.ended = true;
            return Ok(None);
        }
        self.start = self.offset;
        loop {
            let chunk = self.input.fill_buf()?;
            let newline = memchr::memchr(b'\n', chunk);
            let part = newline.map_or(chunk.len(), |n| n + 1);
            keep(buffer, chunk, part, self.max);
            let last = newline.is_some() || chunk.is_empty();
            self.consume(part);
            if last {
                return Ok(Some(self.frame()));
            }
        }
    }

    fn frame(&self) -> Frame {
        let length = self.offset - self.start;
        if length > self.max { Frame::TooLong(length) } else { Frame::Whole }
    }

    fn element(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Frame>, FrameError> {
        let mut next = self.skip_space()?;
        let comma = next == Some(b',');
        if comma {
            self.consume(1);
            next = self.skip_space()?;
        }
        match next {
            Some(byte) if byte == b',' || comma != (self.follows && byte != b']') => {
                return Err(FrameError::Broken("a `,` is missing or one too many before this element".into()));
            }
            None if self.inside => {
                self.ended = true;
                return Ok(None);
            }
            None => return Err(FrameError::Broken("the array ends without its `]`: the file was cut short".into())),
            Some(b']') => {
                self.consume(1);
                self.ended = true;
                return match self.skip_space()? {
                    None => Ok(None),
                    Some(byte) => Err(FrameError::Broken(format!("{:?} follows the array's end", char::from(byte)))),
                };
            }
            Some(_) => {}
        }
        self.start = self.offset;
        self.follows = true;
        let mut state = State::default();
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                if self.inside && state.depth == 0 {
                    return Ok(Some(self.frame()));
                }
                return Err(FrameError::Broken("the file ends in the middle of this element: it was cut short".into()));
            }
            let end = state.scan(chunk);
            let part = end.unwrap_or(chunk.len());
            keep(buffer, chunk, part, self.max);
            self.consume(part);
            if end.is_some() {
                return Ok(Some(self.frame()));
            }
        }
    }
}

fn keep(buffer: &mut Vec<u8>, chunk: &[u8], part: usize, max: u64) {
    let room = usize::try_from(max).unwrap_or(usize::MAX).saturating_sub(buffer.len());
    buffer.extend_from_slice(&chunk[..part.min(room)]);
}

/// How deep inside an element a scan is.
#[derive(Default)]
struct State {
    depth: usize,
    string: bool,
    escaped: bool,
}

impl State {
    /// Where the element ends in `chunk`, if it does: after its closing bracket, or before the `,` or
    /// `]` that follows a bare value.
    fn scan(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut i = 0;
        while i < chunk.len() {
            if self.string {
                if std::mem::take(&mut self.escaped) {
                    i += 1;
                    continue;
                }
                let n = memchr::memchr2(b'"', b'\\', &chunk[i..])?;
                i += n + 1;
                if chunk[i - 1] == b'"' {
                    self.string = false;
                } else {
                    self.escaped = true;
                }
                continue;
            }
            match chunk[i] {
                b'"' => self.string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(i + 1);
                    }
                }
                b',' | b']' if self.depth == 0 => return Some(i),
                _ => {}
            }
            i += 1;
        }
        None
    }
}
