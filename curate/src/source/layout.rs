//! How a JSON file holds its rows, told from its first value.

use std::{collections::HashSet, io::BufRead};

use super::{
    frame::Layout,
    hint::Hint,
    scan::{NO_END, ScanError, Scanner, Torn},
    shape::{Fields, List},
};

/// What a JSON file is.
pub enum JsonFile {
    /// Nothing but white space.
    Empty,
    /// Begins like no JSON.
    Foreign,
    /// Row after row.
    Rows {
        /// Where each begins and ends.
        layout: Layout,
        /// Where they may be if its first object is none.
        hint: Option<Hint>,
    },
    /// One object of columns.
    Columns {
        /// A list for each.
        columns: Vec<List>,
        /// How many rows they hold.
        rows: u64,
        /// Where the rows may be if these are none.
        hint: Option<Hint>,
    },
}

/// Why a file is none of these.
pub enum LayoutError {
    /// What reading it or the recipe asks for and does not find.
    Scan(ScanError),
    /// It holds its rows in a way that nothing reads.
    Unknown(String),
}

impl From<ScanError> for LayoutError {
    fn from(error: ScanError) -> Self {
        Self::Scan(error)
    }
}

/// Look at a file, of whose text this is the start and `input` all; `field` is where the recipe says that the rows are.
///
/// # Errors
/// It cannot be read, has no such field, or is a container of another kind.
pub fn layout(head: &[u8], input: impl BufRead, field: Option<&str>) -> Result<JsonFile, LayoutError> {
    let unknown = |what: String| Err(LayoutError::Unknown(what));
    let mut scanner = Scanner::new(input, Torn::Stop);
    scanner.skip_bom()?;
    match (scanner.skip_space()?, field) {
        (None, _) => return Ok(JsonFile::Empty),
        (Some(b'{'), None) => {}
        (Some(b'{'), Some(field)) => return inside(&mut scanner, field),
        (Some(b'['), None) => return Ok(JsonFile::Rows { layout: Layout::Array, hint: None }),
        (Some(b'['), Some(field)) => {
            return unknown(format!("is a list of rows, and no object with a field: take `field = \"{field}\"` away"));
        }
        (Some(_), _) => return Ok(JsonFile::Foreign),
    }
    scanner.lines = false;
    let fields = match Fields::scan(&mut scanner) {
        Ok(fields) => fields,
        Err(error @ ScanError::Io(_)) => return Err(error.into()),
        // An object over several lines that was cut short; if one begins a line it is rather a first line that is broken.
        Err(ScanError::Broken(what))
            if what == NO_END && scanner.lines && memchr::memmem::find(head, b"\n{").is_none() =>
        {
            return Ok(JsonFile::Rows { layout: Layout::Values, hint: None });
        }
        Err(ScanError::Broken(_)) => return Ok(JsonFile::Rows { layout: Layout::Lines, hint: None }),
    };
    let over_lines = std::mem::replace(&mut scanner.lines, false);
    let next = scanner.skip_space()?;
    let line_ends = scanner.lines || next.is_none();
    let follows = next == Some(b'{') && !line_ends;
    let layout = if over_lines || follows { Layout::Values } else { Layout::Lines };
    if next.is_some() {
        return Ok(JsonFile::Rows { layout, hint: None });
    }
    if let Some(columns) = fields.columns() {
        let hint = fields.hint();
        let advice = || hint.as_ref().and_then(|hint| hint.advice(&HashSet::new())).unwrap_or_default();
        let rows = fields.rows().map_err(|what| LayoutError::Unknown(what + &advice()))?;
        return Ok(JsonFile::Columns { columns: columns.to_vec(), rows, hint });
    }
    match fields.keyed() {
        Some(what) => unknown(what),
        None => Ok(JsonFile::Rows { layout, hint: fields.hint() }),
    }
}

/// The rows inside of one outer object.
fn inside<R: BufRead>(scanner: &mut Scanner<R>, field: &str) -> Result<JsonFile, LayoutError> {
    scanner.torn = Torn::Pass;
    scanner.enter(field)?;
    match scanner.skip_space()? {
        Some(b'[') => Ok(JsonFile::Rows { layout: Layout::Field(field.to_owned()), hint: None }),
        Some(b'{') => {
            let fields = Fields::scan(scanner)?;
            if let Some(columns) = fields.columns() {
                let rows = fields.rows().map_err(|what| LayoutError::Unknown(format!("its `{field}` {what}")))?;
                return Ok(JsonFile::Columns { columns: columns.to_vec(), rows, hint: None });
            }
            let what = fields.keyed().unwrap_or_else(|| "is one object, and no list of rows".into());
            Err(LayoutError::Unknown(format!("its `{field}` {what}")))
        }
        _ => Err(LayoutError::Unknown(format!("its `{field}` is no list of rows"))),
    }
}
