//! What the first object of a JSON file is: a row, or a container of rows.

use std::{collections::HashSet, io::BufRead};

use setaccio_base::{
    names::{Names, short},
    numbers::grouped,
};

use super::{
    hint::Hint,
    record::has_two,
    scan::{NO_END, Result, Scanner, broken},
};

/// More columns than this are no table.
const MAX_COLUMNS: usize = 1024;

/// A list that is the value of a field.
#[derive(Clone, Debug)]
pub struct List {
    /// The field's name.
    pub name: String,
    /// Where its `[` is in the file's text.
    pub start: u64,
    /// How many elements it has.
    pub length: u64,
    /// The first byte of its first element.
    first: Option<u8>,
}

/// What an object's fields hold.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    names: Names,
    /// The first of its lists.
    lists: Vec<List>,
    list_count: u64,
    objects: u64,
    /// The first key of the first field's object.
    inner: Option<String>,
}

impl Fields {
    /// Read an object whose `{` comes next.
    pub fn scan<R: BufRead>(scanner: &mut Scanner<R>) -> Result<Self> {
        let mut fields = Self::default();
        scanner.expect(b'{')?;
        let mut follows = false;
        while let Some(name) = scanner.key(&mut follows)? {
            match scanner.skip_space()? {
                Some(b'[') => {
                    let list = List::scan(scanner, &name)?;
                    fields.list_count += 1;
                    if fields.lists.len() < MAX_COLUMNS {
                        fields.lists.push(list);
                    }
                }
                Some(b'{') if fields.names.count() == 0 => {
                    scanner.consume(1);
                    fields.objects += 1;
                    let mut follows = false;
                    while let Some(key) = scanner.key(&mut follows)? {
                        fields.inner.get_or_insert(key);
                        scanner.skip_value()?;
                    }
                }
                next => {
                    fields.objects += u64::from(next == Some(b'{'));
                    scanner.skip_value()?;
                }
            }
            fields.names.add(name);
        }
        Ok(fields)
    }

    /// Whether every field is a list, and not every one of objects: `{"question": ["a", "b"], "answer": ["c", "d"]}`.
    /// A row of conversations alone is a row.
    pub fn columns(&self) -> Option<&[List]> {
        let all = self.list_count > 0 && self.list_count == self.names.count();
        // A list without elements may be of anything.
        let plain = self.lists.iter().any(|list| !matches!(list.first, None | Some(b'{')));
        let empty = self.lists.iter().all(|list| list.first.is_none());
        (all && (plain || empty)).then_some(self.lists.as_slice())
    }

    /// How many rows the columns hold.
    ///
    /// # Errors
    /// They are not of one length, or too many, or two have one name.
    pub fn rows(&self) -> std::result::Result<u64, String> {
        let Some(first) = self.lists.first() else { return Ok(0) };
        let mut seen = HashSet::new();
        if let Some(second) = self.lists.iter().find(|list| !seen.insert(&list.name)) {
            return Err(has_two("columns", &second.name));
        }
        if self.list_count > MAX_COLUMNS as u64 {
            return Err(format!("is one object of {} lists, which are too many columns", grouped(self.list_count)));
        }
        match self.lists.iter().find(|list| list.length != first.length) {
            None => Ok(first.length),
            Some(other) => Err(format!(
                "is one object of columns, and they are not of one length: `{}` has {} values, and `{}` has {}",
                short(&first.name),
                grouped(first.length),
                short(&other.name),
                grouped(other.length)
            )),
        }
    }

    /// What is said of an object whose every value is an object, which is no row of anything.
    pub fn keyed(&self) -> Option<String> {
        if self.objects < 2 || self.objects != self.names.count() {
            return None;
        }
        let (count, names) = (grouped(self.objects), &self.names);
        // A prompt and its completion may be a message each.
        if self.inner.as_deref().is_some_and(|key| ["role", "content", "from", "value"].contains(&key)) {
            return None;
        }
        Some(if self.inner.as_deref() == Some("0") {
            format!(
                "is one object of {count} columns ({names}), each an object by row number, as pandas' `to_json` writes \
                 them: write it with `orient=\"records\", lines=True`"
            )
        } else {
            format!(
                "is one object that holds {count} others by key ({names}), and no list of rows: write its values as JSON \
                 lines, for instance with `jq -c '.[]' FILE > FILE.jsonl`"
            )
        })
    }

    /// Where the rows may be if the object is none: in its lists of objects.
    pub fn hint(&self) -> Option<Hint> {
        let tables = self.lists.iter().filter(|list| list.first == Some(b'{'));
        let tables: Vec<(String, u64)> = tables.map(|list| (list.name.clone(), list.length)).collect();
        (!tables.is_empty()).then_some(Hint::new(tables))
    }
}

impl List {
    /// Read a list whose `[` comes next.
    fn scan<R: BufRead>(scanner: &mut Scanner<R>, name: &str) -> Result<Self> {
        let start = scanner.offset;
        scanner.consume(1);
        let (mut length, mut first) = (0, None);
        let mut next = scanner.skip_space()?;
        while next != Some(b']') {
            match next {
                Some(b',' | b'}') => return broken("a value is missing"),
                Some(byte) => first = first.or(Some(byte)),
                None => return broken(NO_END),
            }
            scanner.skip_value()?;
            length += 1;
            next = scanner.skip_space()?;
            match next {
                Some(b',') => {
                    scanner.consume(1);
                    next = scanner.skip_space()?;
                    if next == Some(b']') {
                        return broken("a value is missing");
                    }
                }
                Some(b']') => {}
                _ => return broken("a `,` is missing"),
            }
        }
        scanner.consume(1);
        Ok(Self { name: name.to_owned(), start, length, first })
    }
}
