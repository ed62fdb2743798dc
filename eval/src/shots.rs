//! Which rows are the examples of which question.

use crate::{
    python_random::PythonRandom,
    recipe::{Pick, Shots},
    rows::DataRow,
};

/// The seed that lm-evaluation-harness draws examples with, if nobody says another.
pub const SEED: u32 = 1234;

/// Draws examples, for one question after the other.
pub struct Sampler<'a> {
    shots: &'a Shots,
    count: usize,
    pool: &'a [DataRow],
    /// Whether the pool is the rows that are asked about.
    own: bool,
    random: PythonRandom,
}

impl<'a> Sampler<'a> {
    /// `count` of `pool`, which are the rows that are asked about if `own` says so.
    pub fn new(shots: &'a Shots, count: usize, (pool, own): (&'a [DataRow], bool)) -> Self {
        Self { shots, count, pool, own, random: PythonRandom::new(SEED) }
    }

    /// The examples of the next question, which is of this row.
    ///
    /// # Errors
    /// There are not as many.
    pub fn next(&mut self, row: &DataRow) -> Result<Vec<&'a DataRow>, String> {
        let like = |other: &&DataRow| {
            self.shots.like.as_ref().is_none_or(|column| other.columns.get(column) == row.columns.get(column))
        };
        let fit: Vec<&DataRow> = self.pool.iter().filter(like).collect();
        let same = |other: &&&DataRow| other.columns == row.columns;
        let (chosen, leave_out) = match self.shots.pick {
            Pick::First if self.own => {
                (fit.iter().filter(|other| !same(other)).take(self.count).copied().collect(), false)
            }
            Pick::First => (fit.iter().take(self.count).copied().collect::<Vec<_>>(), false),
            Pick::Sample => {
                let leave_out = self.shots.without_own || self.own;
                let count = self.count + usize::from(leave_out);
                if fit.len() < count {
                    return Err(self.lacking(fit.len(), count));
                }
                (self.random.sample(fit.len(), count).into_iter().map(|i| fit[i]).collect(), leave_out)
            }
        };
        let mut chosen: Vec<&DataRow> = if leave_out {
            chosen.iter().filter(|other| !same(other)).take(self.count).copied().collect()
        } else {
            chosen
        };
        // Rows that are there several times may all have been drawn.
        if leave_out && chosen.len() < self.count {
            let others: Vec<&DataRow> = fit.iter().filter(|other| !same(other)).copied().collect();
            if others.len() >= self.count {
                chosen = self.random.sample(others.len(), self.count).into_iter().map(|i| others[i]).collect();
            }
        }
        if chosen.len() < self.count { Err(self.lacking(chosen.len(), self.count)) } else { Ok(chosen) }
    }

    fn lacking(&self, there: usize, count: usize) -> String {
        let like = self.shots.like.as_ref().map_or_else(String::new, |column| format!(" with the same `{column}`"));
        format!("there are {there} rows{like} to take {count} examples from: ask for fewer with --shots")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(n: u64) -> Vec<DataRow> {
        let row = |i| DataRow {
            file: 0,
            row: i,
            columns: json!({"n": i, "odd": i % 2}).as_object().cloned().unwrap_or_default(),
        };
        (0..n).map(row).collect()
    }

    fn shots(pick: Pick) -> Shots {
        Shots { count: 3, pick, data: None, like: None, without_own: false }
    }

    fn drawn(shots: &Shots, count: usize, pool: (&[DataRow], bool), asked: &[DataRow]) -> Vec<Vec<u64>> {
        let mut sampler = Sampler::new(shots, count, pool);
        asked.iter().map(|row| sampler.next(row).unwrap_or_default().iter().map(|row| row.row).collect()).collect()
    }

    #[test]
    fn examples_are_drawn_as_the_harness_draws_them() {
        // r = random.Random(1234); [r.sample(range(30), 3) for _ in range(2)]
        let pool = rows(30);
        assert_eq!(drawn(&shots(Pick::Sample), 3, (&pool, false), &pool[..2]), SAMPLED);
        // Of the rows themselves one more is drawn:
        // r = random.Random(1234); [[x for x in r.sample(range(30), 4) if x != own][:3] for own in range(4)]
        assert_eq!(drawn(&shots(Pick::Sample), 3, (&pool, true), &pool[..4]), SAMPLED_WITHOUT);
        let outside = Shots { without_own: true, ..shots(Pick::Sample) };
        assert_eq!(drawn(&outside, 3, (&pool, false), &pool[..4]), SAMPLED_WITHOUT);
    }

    #[test]
    fn the_first_are_the_same_for_all() {
        let pool = rows(10);
        assert_eq!(drawn(&shots(Pick::First), 2, (&pool, false), &pool[..2]), [[0, 1], [0, 1]]);
        assert_eq!(drawn(&shots(Pick::First), 2, (&pool, true), &pool[..2]), [[1, 2], [0, 2]]);
        let like = Shots { like: Some("odd".into()), ..shots(Pick::First) };
        assert_eq!(drawn(&like, 2, (&pool, false), &pool[4..6]), [[0, 2], [1, 3]]);
        let error = Sampler::new(&like, 6, (&pool, false)).next(&pool[0]).unwrap_err();
        assert_eq!(error, "there are 5 rows with the same `odd` to take 6 examples from: ask for fewer with --shots");
    }

    const SAMPLED: [[u64; 3]; 2] = [[24, 14, 3], [0, 2, 29]];
    const SAMPLED_WITHOUT: [[u64; 3]; 4] = [[24, 14, 3], [2, 29, 25], [1, 21, 22], [24, 11, 7]];
}
