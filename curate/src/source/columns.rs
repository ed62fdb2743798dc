//! JSON that is one object of columns: `{"question": ["a", "b"], "answer": ["c", "d"]}`. Each column is read by a reader
//! of its own, all of them row by row, so that memory does not grow with the file.

use std::{
    collections::HashSet,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
};

use setaccio_base::{bundle::BundleReader, sha256::digest_reader};
use setaccio_dataset::shard::Position;

use super::{
    encoding::Packing,
    frame::{Frame, Framer, Layout},
    hint::Hint,
    json,
    reader::{
        Convert, InputFile, Inspection, Item, Items, Limits, Projection, Reader, Slice, cut_short, too_long, unreadable,
    },
    record,
    shape::List,
};
use crate::error::SourceError;

/// Read at a time, of each column.
const BUFFER: usize = 64 << 10;

/// One object of columns.
#[derive(Debug)]
pub struct ColumnsReader {
    /// Where each column begins.
    pub columns: Vec<List>,
    /// How many values each has.
    pub rows: u64,
    /// What has to be undone first.
    pub packing: Packing,
    /// Where the rows may be if these are none.
    pub hint: Option<Hint>,
}

impl Reader for ColumnsReader {
    fn hint(&self) -> Option<&Hint> {
        self.hint.as_ref()
    }

    fn inspect(
        &self,
        file: &mut BundleReader,
        name: &str,
        _: &Limits,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Inspection, SourceError> {
        let (bytes, sha256) = digest_reader(file, cancelled).map_err(|e| cut_short(name, 0, &e))?;
        Ok(Inspection {
            sha256,
            rows: Some(self.rows),
            slices: vec![Slice::Whole],
            text_bytes: self.packing.text_bytes(bytes),
        })
    }

    fn open(
        &self,
        file: &InputFile,
        _: &Slice,
        projection: &Projection<'_>,
        limits: &Limits,
    ) -> Result<Items, SourceError> {
        let open = |list: &List| -> io::Result<Column> {
            let mut raw = file.place.open()?;
            let text: Box<dyn Read + Send> = if self.packing.none() {
                raw.seek(SeekFrom::Start(list.start))?;
                Box::new(raw)
            } else {
                let mut text = self.packing.undo(raw, limits.window_log)?;
                io::copy(&mut text.by_ref().take(list.start), &mut io::sink())?;
                text
            };
            let input: Box<dyn BufRead + Send> = Box::new(BufReader::with_capacity(BUFFER, text));
            let key = serde_json::to_vec(&list.name)?;
            Ok(Column { key, framer: Framer::file(input, Layout::Column, limits.max_row_bytes), value: Vec::new() })
        };
        let columns = self.columns.iter().map(open).collect::<io::Result<Vec<_>>>().map_err(unreadable(&file.name))?;
        Ok(Box::new(Rows {
            name: file.name.clone(),
            columns,
            left: 0..self.rows,
            max: limits.max_row_bytes,
            advice: self.hint.as_ref().and_then(|hint| hint.advice(&projection.needed())),
            needed: projection.needed(),
            convert: projection.convert(),
        }))
    }
}

struct Column {
    /// Its name, as JSON.
    key: Vec<u8>,
    framer: Framer<Box<dyn BufRead + Send>>,
    value: Vec<u8>,
}

struct Rows {
    name: String,
    columns: Vec<Column>,
    left: std::ops::Range<u64>,
    max: u64,
    needed: HashSet<String>,
    convert: Convert,
    /// What is said of the first row if it is none.
    advice: Option<String>,
}

impl Iterator for Rows {
    type Item = Result<Item, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.left.next()?;
        let at = Position { row_group: None, row };
        let mut whole = vec![b'{'];
        let mut bytes = 0;
        for column in &mut self.columns {
            bytes += match column.framer.next(&mut column.value) {
                Ok(Some(Frame::Whole)) => column.value.len() as u64,
                Ok(Some(Frame::TooLong(bytes))) => bytes,
                Ok(None) => {
                    self.left = 0..0;
                    return Some(Err(SourceError::at(&self.name, at, "a column ends here: was the file changed?")));
                }
                Err(error) => {
                    self.left = 0..0;
                    return Some(Err(json::at(&self.name, row, error)));
                }
            };
            if bytes <= self.max {
                if whole.len() > 1 {
                    whole.extend(b", ");
                }
                whole.extend(&column.key);
                whole.extend(b": ");
                whole.extend(&column.value);
            }
        }
        whole.push(b'}');
        let read = if bytes > self.max {
            Err(too_long(bytes, self.max))
        } else {
            json::row(&whole, &self.needed, &self.convert)
        };
        let advice = self.advice.take().unwrap_or_default();
        let read = read.map_err(|reason| reason + &advice);
        Some(Ok(match read {
            Ok(row) => Item::Row { at, row },
            Err(reason) => Item::Bad { at, reason, raw: record::raw(&whole) },
        }))
    }
}
