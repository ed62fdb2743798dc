//! Rows that train and hold what rows of the same build validate, as they were found.

use serde::{Deserialize, Serialize};
use setaccio_base::sha256::hex;
use setaccio_dataset::ledger::EvaluationCount;

/// The name of the set that the rows which validate are.
pub const VALIDATION: &str = "validation";

/// A row that goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leak {
    /// Its name, which its copies share.
    pub row: u64,
    /// The id of the row that validates, of which it holds the most.
    pub id: [u8; 16],
    /// The words of that row which are in this one.
    pub covered: u32,
    /// All of its words.
    pub words: u32,
    /// The longest span, in characters, and the number of the text that it is in.
    pub part: u32,
    /// Its first character.
    pub start: u32,
    /// The one after its last.
    pub end: u32,
}

impl Leak {
    /// What is said of it.
    fn detail(&self) -> String {
        let Self { covered, words, part, start, end, .. } = self;
        let id = hex(&self.id);
        let of = if *part == 0 { String::new() } else { format!(" of text {part}") };
        format!("{VALIDATION} {id}: {covered} of {words} words, characters {start} to {end}{of}")
    }

    /// Whether another is the one to be told of.
    fn is_less(&self, other: &Self) -> bool {
        let [mine, others] = [(self.covered, other.words), (other.covered, self.words)];
        let share = |(a, b): (u32, u32)| u64::from(a) * u64::from(b);
        (share(mine), self.words) < (share(others), other.words)
    }
}

/// The rows that go.
pub struct Leaks {
    /// By name, ascending.
    pub rows: Vec<Leak>,
    /// What is counted of the rows that validate.
    pub count: EvaluationCount,
}

impl Leaks {
    /// Put them in order, each row once: of what it holds the one with the larger share, of equal ones that which was found first.
    pub fn settle(&mut self) {
        self.rows.sort_by_key(|leak| leak.row);
        self.rows.dedup_by(|later, first| {
            let same = later.row == first.row;
            if same && first.is_less(later) {
                std::mem::swap(later, first);
            }
            same
        });
    }

    /// What is said of the row of this name, if it goes.
    pub fn of(&self, row: u64) -> Option<String> {
        let place = self.rows.binary_search_by_key(&row, |leak| leak.row).ok()?;
        Some(self.rows[place].detail())
    }
}
