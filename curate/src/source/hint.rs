//! Where the rows of a JSON file may be that is one object.

use std::collections::HashSet;

use setaccio_base::{
    names::{Names, short},
    numbers::grouped,
    shell,
};

/// Where the rows of a file may be that is one object, and no row: its fields that are lists of objects, and their lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint(Vec<(String, u64)>);

impl Hint {
    /// These fields, with how many objects each holds.
    pub fn new(tables: Vec<(String, u64)>) -> Self {
        Self(tables)
    }

    /// The fields that hold a list of objects.
    pub fn tables(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// What is said beside what is wrong with the row. A list that is a column of it, one of those `needed`, holds no rows.
    pub fn advice(&self, needed: &HashSet<String>) -> Option<String> {
        let mut tables = self.0.iter().filter(|(name, _)| !needed.contains(name));
        let (first, length) = tables.next()?;
        let others: Names = tables.map(|(name, _)| name).collect();
        let name = short(first);
        Some(if others.count() == 0 {
            format!(
                "; the file is one object, and its `{name}` is a list of {} objects: if these are the rows, write \
                 `field = \"{name}\"` into the recipe's [[source]], or give `--field {}` to `setaccio init`",
                grouped(*length),
                shell::word(first)
            )
        } else {
            format!(
                "; the file is one object that holds lists of objects, {name} and {others}: name the one whose objects \
                 are the rows in the recipe's [[source]], for instance `field = \"{name}\"`, or give `--field {}` to \
                 `setaccio init`",
                shell::word(first)
            )
        })
    }
}
