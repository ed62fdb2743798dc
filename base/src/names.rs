//! Names in messages, which are short whatever the data.

use crate::numbers::grouped;

/// Names to be shown: the first few, each cut where it is long.
#[derive(Clone, Debug, Default)]
pub struct Names {
    first: Vec<String>,
    count: u64,
}

/// So many names are shown.
const SHOWN: usize = 8;

impl Names {
    /// One more.
    pub fn add(&mut self, name: impl AsRef<str>) {
        self.count += 1;
        if self.first.len() < SHOWN {
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

/// A name, cut where it is long.
pub fn short(name: &str) -> String {
    const MOST: usize = 60;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}
