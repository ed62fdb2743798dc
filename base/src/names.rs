//! Names in messages, which are short whatever the data.

use crate::numbers::grouped;

/// Names to be shown: the first few, each cut where it is long.
#[derive(Clone, Debug)]
pub struct Names {
    first: Vec<String>,
    count: u64,
    most: usize,
}

/// So many names are shown.
const SHOWN: usize = 8;

/// So many columns are shown: people look for one among them.
const COLUMNS: usize = 20;

impl Default for Names {
    fn default() -> Self {
        Self::up_to(SHOWN)
    }
}

impl Names {
    /// None yet, of which this many are going to be shown.
    #[must_use]
    pub fn up_to(most: usize) -> Self {
        Self { first: Vec::new(), count: 0, most }
    }

    /// Names of columns.
    pub fn of_columns<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        let mut all = Self::up_to(COLUMNS);
        names.into_iter().for_each(|name| all.add(name));
        all
    }

    /// One more.
    pub fn add(&mut self, name: impl AsRef<str>) {
        self.count += 1;
        if self.first.len() < self.most {
            self.first.push(short(name.as_ref()));
        }
    }

    /// The same, each written so.
    #[must_use]
    pub fn written(self, write: impl Fn(&str) -> String) -> Self {
        Self { first: self.first.iter().map(|name| write(name)).collect(), ..self }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl<S: AsRef<str>> FromIterator<S> for Names {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        let mut all = Self::default();
        for name in names {
            all.add(name);
        }
        all
    }
}

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first = self.first.join(", ");
        match self.count - self.first.len() as u64 {
            0 if first.is_empty() => f.write_str("none"),
            0 => f.write_str(&first),
            more => write!(f, "{first} and {} more", grouped(more)),
        }
    }
}

/// A name, cut where it is long; one that is empty is seen all the same.
pub fn short(name: &str) -> String {
    const MOST: usize = 60;
    if name.is_empty() {
        return "\"\"".to_owned();
    }
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_names_are_shown_and_the_others_counted() {
        let columns = |n: usize| Names::of_columns((0..n).map(|i| format!("c{i}"))).to_string();
        assert_eq!(columns(0), "none");
        assert!(columns(20).ends_with(", c19"));
        assert!(columns(3432).ends_with(", c19 and 3,412 more"));
        assert_eq!(["a", "", "b"].iter().collect::<Names>().to_string(), "a, \"\", b");
        assert_eq!(["x".repeat(99)].iter().collect::<Names>().to_string().len(), 63);
        let few = ["a"; 9].iter().collect::<Names>().written(|name| format!("`{name}`")).to_string();
        assert!(few.ends_with("`a`, `a` and 1 more"), "{few}");
    }
}
