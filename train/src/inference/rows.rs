//! Which rows of the KV cache are whose. Every text has a run of rows; a prompt that was read keeps its run until the room is
//! needed, so that texts that begin alike take what is there.

use super::request::Scored;

/// The rows of all layers' caches: those of every layer are used alike.
pub struct Rows {
    /// The first ones are nobody's.
    first: usize,
    all: usize,
    /// In the order of their rows.
    runs: Vec<Run>,
    clock: u64,
}

struct Run {
    start: usize,
    len: usize,
    /// The prompt that it holds; none while a text has it.
    prompt: Option<Prompt>,
    /// When it was used last.
    used: u64,
}

/// A prompt whose keys and values are there.
pub struct Prompt {
    /// The model that read it.
    pub model: usize,
    /// Its tokens.
    pub ids: Vec<u32>,
    /// Those from the second on with their log-probabilities, each with so many of the most probable ones, if they were asked for.
    pub scores: Option<(usize, Vec<Scored>)>,
}

/// What is there of a prompt.
pub struct Found {
    /// The first row.
    pub start: usize,
    /// Tokens that both have.
    pub len: usize,
    /// Log-probabilities of tokens from the second of these on, if they are there.
    pub scores: Vec<Scored>,
}

impl Rows {
    /// Of so many rows, behind so many of nobody's.
    pub fn new(first: usize, rows: usize) -> Self {
        Self { first, all: first + rows, runs: Vec::new(), clock: 0 }
    }

    /// The longest run that there could be.
    pub fn most(&self) -> usize {
        self.all - self.first
    }

    /// Rows that texts have, and that prompts have which were read.
    pub fn used(&self) -> (usize, usize) {
        let sum = |kept: bool| self.runs.iter().filter(|run| run.prompt.is_some() == kept).map(|run| run.len).sum();
        (sum(false), sum(true))
    }

    /// A run of so many rows for a text: gives the first. Prompts go for it that were not used for longest, `but` that at this row
    /// last; none goes if there is no room without any of them.
    pub fn take(&mut self, len: usize, but: Option<usize>) -> Option<usize> {
        self.gap(len, |run| run.prompt.is_none())?;
        loop {
            if let Some((place, start)) = self.gap(len, |_| true) {
                self.clock += 1;
                self.runs.insert(place, Run { start, len, prompt: None, used: self.clock });
                return Some(start);
            }
            let kept = self.runs.iter().enumerate().filter(|(_, run)| run.prompt.is_some());
            let (oldest, _) = kept.min_by_key(|(_, run)| (but == Some(run.start), run.used))?;
            self.runs.remove(oldest);
        }
    }

    /// Where a gap of so many rows begins between the runs that are `there`, and the place of its run among these.
    fn gap(&self, len: usize, there: impl Fn(&Run) -> bool) -> Option<(usize, usize)> {
        let runs = || self.runs.iter().filter(|run| there(run));
        let ends = std::iter::once(self.first).chain(runs().map(|run| run.start + run.len));
        let starts = runs().map(|run| run.start).chain([self.all]);
        let gaps = ends.zip(starts).enumerate();
        gaps.filter(|(_, (end, start))| end + len <= *start).map(|(place, (end, _))| (place, end)).next()
    }

    /// Let the run at this row have so many rows, if there are that many behind it.
    pub fn stretch(&mut self, start: usize, len: usize) -> bool {
        let Some(place) = self.runs.iter().position(|run| run.start == start) else { return false };
        let next = self.runs.get(place + 1).map_or(self.all, |run| run.start);
        let fits = start + len <= next;
        if fits {
            self.runs[place].len = len;
        }
        fits
    }

    /// Let the run at this row, the only one of a text, begin with the first row; gives that. Prompts go.
    pub fn move_to_front(&mut self, start: usize) -> usize {
        self.runs.retain(|run| run.start == start);
        self.runs.iter_mut().for_each(|run| run.start = self.first);
        self.first
    }

    /// The run at this row is nobody's any more.
    pub fn free(&mut self, start: usize) {
        self.runs.retain(|run| run.start != start);
    }

    /// The run at this row holds a prompt that others may begin with. Of prompts that begin each other the longest is kept.
    pub fn keep(&mut self, start: usize, prompt: Prompt) {
        let begins = |short: &Prompt, long: &Prompt| {
            let scores = |prompt: &Prompt| prompt.scores.as_ref().map(|(n, _)| *n);
            short.model == long.model && long.ids.starts_with(&short.ids) && scores(short) <= scores(long)
        };
        if self.runs.iter().any(|run| run.prompt.as_ref().is_some_and(|kept| begins(&prompt, kept))) {
            return self.free(start);
        }
        self.runs.retain(|run| run.prompt.as_ref().is_none_or(|kept| !begins(kept, &prompt)));
        self.clock += 1;
        if let Some(run) = self.runs.iter_mut().find(|run| run.start == start) {
            *run = Run { start, len: prompt.ids.len(), prompt: Some(prompt), used: self.clock };
        }
    }

    /// Whether the run at this row is that of a prompt that was read.
    pub fn keeps(&self, start: usize) -> bool {
        self.runs.iter().any(|run| run.start == start && run.prompt.is_some())
    }

    /// The prompt that has most tokens in common with one at its beginning, with the scores that are asked for.
    pub fn find(&mut self, model: usize, ids: &[u32], scores: Option<usize>) -> Option<Found> {
        let common = |prompt: &Prompt| {
            let fits =
                prompt.model == model && scores.is_none_or(|n| prompt.scores.as_ref().is_some_and(|(of, _)| n <= *of));
            if fits { prompt.ids.iter().zip(ids).take_while(|(a, b)| a == b).count() } else { 0 }
        };
        let runs = self.runs.iter_mut().filter_map(|run| Some((common(run.prompt.as_ref()?), run)));
        let (len, run) = runs.max_by_key(|(len, run)| (*len, run.used)).filter(|(len, _)| *len > 0)?;
        self.clock += 1;
        run.used = self.clock;
        let asked = scores;
        let of = run.prompt.as_ref().and_then(|prompt| prompt.scores.as_ref()).filter(|_| scores.is_some());
        let mut scores = of.map_or_else(Vec::new, |(_, scores)| scores[..len - 1].to_vec());
        let n = asked.unwrap_or(0);
        for scored in &mut scores {
            scored.top.truncate(n);
        }
        Some(Found { start: run.start, len, scores })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: usize = 8;

    fn prompt(ids: &[u32]) -> Prompt {
        Prompt { model: 0, ids: ids.to_vec(), scores: None }
    }

    #[test]
    fn runs_are_taken_stretched_and_given_back() {
        let mut rows = Rows::new(FIRST, 30);
        assert_eq!([rows.take(10, None), rows.take(10, None)], [Some(FIRST), Some(FIRST + 10)]);
        assert!(!rows.stretch(FIRST, 11) && rows.stretch(FIRST + 10, 20) && rows.take(1, None).is_none());
        rows.free(FIRST);
        assert_eq!((rows.take(11, None), rows.take(4, None), rows.used()), (None, Some(FIRST), (24, 0)));
        assert_eq!(rows.most(), 30);
    }

    #[test]
    fn prompts_are_kept_until_room_is_needed_the_oldest_first() {
        let mut rows = Rows::new(FIRST, 9);
        for ids in [[1, 2, 3], [4, 5, 6], [7, 8, 9]] {
            let start = rows.take(3, None).unwrap();
            rows.keep(start, prompt(&ids));
        }
        assert_eq!(rows.find(0, &[1, 2, 9], None).map(|f| (f.start, f.len)), Some((FIRST, 2)));
        assert!(rows.find(1, &[1, 2], None).is_none() && rows.find(0, &[1, 2], Some(1)).is_none());
        // [4, 5, 6] was not asked for since.
        assert_eq!(rows.take(3, None), Some(FIRST + 3));
        assert!(rows.find(0, &[7], None).is_some() && rows.find(0, &[4], None).is_none());
        // What is to be copied from goes last.
        assert_eq!(rows.take(3, Some(FIRST)), Some(FIRST + 6));
        assert!(rows.keeps(FIRST) && rows.find(0, &[7], None).is_none());
        // Where there is no room whatever goes, nothing does.
        assert!(rows.take(4, None).is_none() && rows.keeps(FIRST));
    }

    #[test]
    fn of_prompts_that_begin_each_other_the_longest_stays() {
        let mut rows = Rows::new(0, 100);
        for ids in [&[1, 2][..], &[1, 2, 3], &[1]] {
            let start = rows.take(9, None).unwrap();
            rows.keep(start, prompt(ids));
        }
        assert_eq!(rows.used(), (0, 3));
        let start = rows.take(9, None).unwrap();
        rows.keep(start, Prompt { scores: Some((1, vec![Scored::default()])), ..prompt(&[1, 2]) });
        assert_eq!(rows.used(), (0, 5));
        assert_eq!(rows.find(0, &[1, 2, 3], Some(1)).map(|f| (f.len, f.scores.len())), Some((2, 1)));
    }
}
