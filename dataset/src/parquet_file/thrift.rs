//! Thrift's compact protocol, as far as Parquet's footer and page headers need it. It reads bytes that are at hand and
//! believes no length before the bytes are there, so that a damaged header costs no more than its own bytes.
//!
//! Source: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>

/// Structs, lists and maps inside of each other, at most. Parquet's own go eight deep.
const MAX_DEPTH: u32 = 24;

/// Why reading stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The bytes end here: there may be more in the file.
    More,
    /// No more bytes could make sense of it.
    Bad,
}

/// A result of reading.
pub type Read<T> = Result<T, Stop>;

/// What a field or an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A field that is true or false by its kind, and has no bytes.
    Truth,
    /// One byte; so is a truth in a list.
    Byte,
    /// A whole number of up to 64 bits.
    Number,
    /// Eight bytes.
    Double,
    /// Bytes after their length.
    Binary,
    /// A list or a set.
    List,
    /// Keys and values.
    Map,
    /// Fields up to a stop.
    Struct,
    /// Sixteen bytes.
    Uuid,
}

impl Kind {
    fn of(code: u8) -> Read<Self> {
        Ok(match code {
            1 | 2 => Self::Truth,
            3 => Self::Byte,
            4..=6 => Self::Number,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            11 => Self::Map,
            12 => Self::Struct,
            13 => Self::Uuid,
            _ => return Err(Stop::Bad),
        })
    }

    /// That of an element, of which a truth is a byte.
    fn of_element(code: u8) -> Read<Self> {
        Self::of(code).map(|kind| if kind == Self::Truth { Self::Byte } else { kind })
    }
}

/// Reads on in bytes.
pub struct Compact<'a> {
    bytes: &'a [u8],
    /// How many of them were read.
    pub at: usize,
    depth: u32,
}

impl<'a> Compact<'a> {
    /// From the first of `bytes` on.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    fn take(&mut self, n: u64) -> Read<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = usize::try_from(n).ok().and_then(|n| rest.get(..n)).ok_or(Stop::More)?;
        self.at += taken.len();
        Ok(taken)
    }

    fn byte(&mut self) -> Read<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn unsigned(&mut self) -> Read<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Stop::Bad)
    }

    /// A number, if the field is one.
    pub fn number(&mut self, kind: Kind) -> Read<i64> {
        if kind != Kind::Number {
            return Err(Stop::Bad);
        }
        let folded = self.unsigned()?;
        // Both halves fit: the sign was the lowest bit.
        Ok((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
    }

    fn inside<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.depth >= MAX_DEPTH {
            return Err(Stop::Bad);
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// The fields of a struct: `field` reads the value of the one with this number, or says that it does not.
    pub fn fields(&mut self, mut field: impl FnMut(&mut Self, i64, Kind) -> Read<Taken>) -> Read<()> {
        self.inside(|this| {
            let mut id = 0_i64;
            loop {
                let head = this.byte()?;
                let code = head & 15;
                if code == 0 {
                    return Ok(());
                }
                let kind = Kind::of(code)?;
                id = if head >> 4 == 0 { this.number(Kind::Number)? } else { id + i64::from(head >> 4) };
                if field(this, id, kind)? == Taken::No {
                    this.skip(kind)?;
                }
            }
        })
    }

    /// How many elements a list has, and of what kind. Each takes a byte at least.
    pub fn list(&mut self, kind: Kind) -> Read<(u64, Kind)> {
        if kind != Kind::List {
            return Err(Stop::Bad);
        }
        let head = self.byte()?;
        // Some writers name no kind where there is no element.
        if head == 0 {
            return Ok((0, Kind::Byte));
        }
        let count = if head >> 4 == 15 { self.unsigned()? } else { u64::from(head >> 4) };
        Ok((count, Kind::of_element(head & 15)?))
    }

    /// Past a value, whatever is in it.
    pub fn skip(&mut self, kind: Kind) -> Read<()> {
        match kind {
            Kind::Truth => Ok(()),
            Kind::Byte => self.byte().map(drop),
            Kind::Number => self.unsigned().map(drop),
            Kind::Double => self.take(8).map(drop),
            Kind::Uuid => self.take(16).map(drop),
            Kind::Binary => self.unsigned().and_then(|n| self.take(n)).map(drop),
            Kind::Struct => self.fields(|_, _, _| Ok(Taken::No)),
            Kind::List => {
                let (count, kind) = self.list(kind)?;
                self.inside(|this| (0..count).try_for_each(|_| this.skip(kind)))
            }
            Kind::Map => {
                let count = self.unsigned()?;
                if count == 0 {
                    return Ok(());
                }
                let kinds = self.byte()?;
                let (key, value) = (Kind::of_element(kinds >> 4)?, Kind::of_element(kinds & 15)?);
                self.inside(|this| (0..count).try_for_each(|_| this.skip(key).and_then(|()| this.skip(value))))
            }
        }
    }
}

/// Whether a field's value was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was.
    Yes,
    /// It is still to be passed over.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number in field 1 of a struct.
    fn first(bytes: &[u8]) -> Read<(i64, usize)> {
        let (mut compact, mut found) = (Compact::new(bytes), 0);
        compact.fields(|this, id, kind| {
            if id != 1 {
                return Ok(Taken::No);
            }
            found = this.number(kind)?;
            Ok(Taken::Yes)
        })?;
        Ok((found, compact.at))
    }

    #[test]
    fn numbers_are_folded_and_what_else_there_is_is_passed_over() {
        // Field 1, i32, -3 is 5 folded; field 3, a list of two truths; field 4, text; field 20 by its own number.
        let bytes = [0x15, 5, 0x29, 0x21, 1, 2, 0x18, 2, b'a', b'b', 0x05, 40, 0x7f, 0, 99];
        assert_eq!(first(&bytes), Ok((-3, 14)));
        for n in 0..14 {
            assert_eq!(first(&bytes[..n]), Err(Stop::More), "the first {n} bytes");
        }
        assert_eq!(first(&[0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0]), Ok((i64::MIN, 12)));
    }

    #[test]
    fn lengths_and_depths_beyond_reason_cost_nothing() {
        let long = [&[0x15][..], &[0xff; 11]].concat();
        for (what, bytes, stop) in [
            ("a text of 2 GiB", vec![0x18, 0xff, 0xff, 0xff, 0xff, 7, 0], Stop::More),
            ("a list of 2^63", [&[0x19, 0xf8][..], &[0xff; 8], &[0x7f, 0]].concat(), Stop::More),
            ("a number of eleven bytes", long, Stop::Bad),
            ("structs without end", vec![0x1c; 4000], Stop::Bad),
            ("lists of lists without end", [&[0x19][..], &[0x19; 4000]].concat(), Stop::Bad),
            ("a kind that there is not", vec![0x1f, 0], Stop::Bad),
        ] {
            assert_eq!(Compact::new(&bytes).skip(Kind::Struct), Err(stop), "{what}");
        }
    }
}
