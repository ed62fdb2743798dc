//! Framing: where each JSON object of a stream begins and ends, without parsing it or holding more than one.

use std::io::BufRead;

use super::scan::{Ending, NO_END, Result, Scanner, Torn, broken, keep};

/// One framed element.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// It is in the buffer.
    Whole,
    /// It was this long, and only its start is in the buffer.
    TooLong(u64),
}

/// How a stream holds its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One JSON array of objects.
    Array,
    /// Such an array as the value of this field of one outer object.
    Field(String),
    /// One JSON object a line.
    Lines,
    /// JSON objects one after another, each over as many lines as it likes.
    Values,
    /// The elements of a JSON array, whatever follows it.
    Column,
}

/// Elements of a JSON array, lines, or values one after another.
pub struct Framer<R> {
    scanner: Scanner<R>,
    layout: Layout,
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
        let scanner = Scanner::new(input, Torn::Pass);
        Self { scanner, layout, start: 0, max, begun: false, ended: false, inside: false, follows: false }
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
        self.scanner.offset
    }

    /// Put the next element into `buffer`, or `None` after the last.
    ///
    /// # Errors
    /// The stream cannot be read, ends early, or goes on where it should end.
    pub fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Frame>> {
        buffer.clear();
        if !self.begun {
            self.begin()?;
        }
        if self.ended {
            return Ok(None);
        }
        match self.layout {
            Layout::Array | Layout::Field(_) | Layout::Column => self.element(buffer),
            Layout::Lines => self.line(buffer),
            Layout::Values => self.object(buffer),
        }
    }

    fn begin(&mut self) -> Result<()> {
        self.begun = true;
        self.scanner.skip_bom()?;
        match &self.layout {
            Layout::Array | Layout::Column => self.scanner.expect(b'['),
            Layout::Field(field) => {
                self.scanner.enter(field)?;
                self.scanner.expect(b'[')
            }
            Layout::Lines | Layout::Values => Ok(()),
        }
    }

    fn line(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Frame>> {
        if self.scanner.skip_space()?.is_none() {
            self.ended = true;
            return Ok(None);
        }
        self.start = self.offset();
        loop {
            let chunk = self.scanner.chunk()?;
            let newline = memchr::memchr(b'\n', chunk);
            let part = newline.map_or(chunk.len(), |n| n + 1);
            keep(buffer, &chunk[..part], self.max);
            let last = newline.is_some() || chunk.is_empty();
            self.scanner.consume(part);
            if last {
                return Ok(Some(self.frame()));
            }
        }
    }

    fn frame(&self) -> Frame {
        let length = self.offset() - self.start;
        if length > self.max { Frame::TooLong(length) } else { Frame::Whole }
    }

    /// One object of many that follow each other.
    fn object(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Frame>> {
        match self.scanner.skip_space()? {
            Some(b'{') => {}
            Some(byte) => return broken(format!("{:?} stands where the next object should begin", char::from(byte))),
            None => {
                self.ended = true;
                return Ok(None);
            }
        }
        self.start = self.offset();
        match self.scanner.value(buffer, self.max)? {
            Ending::Own => Ok(Some(self.frame())),
            Ending::Stream(_) => broken(NO_END),
        }
    }

    fn element(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Frame>> {
        let mut next = self.scanner.skip_space()?;
        let comma = next == Some(b',');
        if comma {
            self.scanner.consume(1);
            next = self.scanner.skip_space()?;
        }
        match next {
            Some(byte) if matches!(byte, b',' | b'}') || comma != (self.follows && byte != b']') => {
                return broken("a `,` is missing or one too many before this element");
            }
            None if self.inside => {
                self.ended = true;
                return Ok(None);
            }
            None => return broken("the array ends without its `]`: the file was cut short"),
            Some(b']') => {
                self.scanner.consume(1);
                self.ended = true;
                self.end()?;
                return Ok(None);
            }
            Some(_) => {}
        }
        self.start = self.offset();
        self.follows = true;
        match self.scanner.value(buffer, self.max)? {
            Ending::Own => Ok(Some(self.frame())),
            Ending::Stream(0) if self.inside => Ok(Some(self.frame())),
            Ending::Stream(_) => broken(NO_END),
        }
    }

    /// What may follow the array.
    fn end(&mut self) -> Result<()> {
        let outer = match &self.layout {
            Layout::Column => return Ok(()),
            Layout::Field(field) => {
                let mut follows = true;
                while let Some(key) = self.scanner.key(&mut follows)? {
                    if key == *field {
                        return broken(format!("the object has the field `{field}` twice"));
                    }
                    self.scanner.skip_value()?;
                }
                "object"
            }
            _ => "array",
        };
        match self.scanner.skip_space()? {
            None => Ok(()),
            Some(byte) => broken(format!("{:?} follows the {outer}'s end", char::from(byte))),
        }
    }
}
