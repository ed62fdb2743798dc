//! Rows for a person to judge: a sample of those that stayed and of those that each rule dropped, and how often a rule was wrong.
//!
//! What a person says of a row is a line of a file beside the build, added when it is said: nothing is lost where the terminal closes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use arrow_array::Array;
use serde::{Deserialize, Serialize};
use setaccio_base::{numbers::wilson, progress::Progress};
use setaccio_dataset::{ledger::Ledger, lock::RecipeLock};

use super::{
    card,
    page::{Place, Row, keep_smallest, pick, read},
    rows::{SHORT, each_batch, texts},
};
use crate::error::{Error, Result};

/// What stands for the rule of a row that stayed.
pub const KEPT: &str = "kept";

/// What a person thinks should become of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It should be in the data set.
    Keep,
    /// It should not.
    Drop,
}

/// What a person said of a row. The last line about a row counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Fingerprint of the build.
    pub build: String,
    /// Hash of what the row says.
    pub id: String,
    /// The rule that dropped it; [`KEPT`]: none did.
    pub rule: String,
    /// Its source.
    pub source: String,
    /// What should become of it.
    pub verdict: Verdict,
    /// What else was said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A row to be judged.
pub struct Sampled {
    /// The rule that dropped it, or [`KEPT`].
    pub rule: String,
    /// The row.
    pub row: Row,
}

/// How often a rule was wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// The rule; [`KEPT`]: rows that none dropped.
    pub rule: String,
    /// Rows that were judged.
    pub judged: usize,
    /// Of these, the ones of which the person thought otherwise.
    pub wrong: usize,
    /// Wilson's interval of their share, at 95%.
    pub interval: [f64; 2],
}

/// A build that is judged.
pub struct Review {
    out: PathBuf,
    ledger: Ledger,
    lock: RecipeLock,
    /// Where judgements are.
    pub file: PathBuf,
}

impl Review {
    /// Of the build in `out`.
    ///
    /// # Errors
    /// There is none, or it is not as it was written.
    pub fn open(out: &Path) -> Result<Self> {
        let (ledger, lock) = card::sound(out)?;
        // A folder given as `.` or with a slash at its end has a name, too.
        let whole = fs::canonicalize(out).map_err(Error::io("find", out))?;
        let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = whole.with_file_name(format!("{name}.review.jsonl"));
        Ok(Self { out: out.to_owned(), ledger, lock, file })
    }

    /// About `rows` rows: half of those that stayed, half of those that rules dropped, evenly of all rules. Those with the smallest ids,
    /// which are a sample, and the same for everybody. Rows that were left out of a sample, or that could not be read, show no mistake of a rule.
    ///
    /// # Errors
    /// A file is missing or damaged, or somebody stops it.
    pub fn sample(&self, rows: usize, progress: &dyn Progress) -> Result<Vec<Sampled>> {
        let files = self.ledger.files.as_slice();
        let judged = |stage: &str| !matches!(stage, "read" | "sample");
        let rules: usize = self
            .ledger
            .stages
            .iter()
            .filter(|stage| judged(&stage.stage))
            .map(|stage| stage.rules.iter().filter(|rule| rule.tally.dropped > 0).count())
            .sum();
        let dropped = if rules == 0 { 0 } else { (rows / 2).div_ceil(rules) };
        let mut wanted: Vec<(String, Place)> =
            self.kept(rows - rows / 2, progress)?.into_iter().map(|place| (KEPT.to_owned(), place)).collect();
        if dropped > 0 {
            for ((stage, rule), places) in pick(&self.out, files, dropped, progress)?.rules {
                let places = places.into_iter().filter(|_| judged(&stage));
                wanted.extend(places.map(|(_, place)| (rule.clone(), place)));
            }
        }
        let mut found = read((&self.out, files, self.lock.recipe.kind), wanted.iter().map(|(_, place)| *place))?;
        let mut sampled: Vec<Sampled> =
            wanted.into_iter().filter_map(|(rule, place)| Some(Sampled { rule, row: found.remove(&place)? })).collect();
        // Who sees a rule's rows one after another judges the rule, and not the row.
        sampled.sort_by(|a, b| a.row.id.cmp(&b.row.id));
        Ok(sampled)
    }

    /// The rows that stayed with the smallest ids.
    fn kept(&self, most: usize, progress: &dyn Progress) -> Result<Vec<Place>> {
        let mut smallest: BTreeSet<(String, Place)> = BTreeSet::new();
        for (number, entry) in self.ledger.files.iter().enumerate().filter(|(_, entry)| entry.path.starts_with("data/"))
        {
            let path = self.out.join(&entry.path);
            each_batch(&path, ["id"], (SHORT, None), progress, |batch, first| {
                let ids = texts(batch, "id").ok_or_else(|| Error::damaged(&path, "holds no column `id`"))?;
                for i in 0..ids.len() {
                    keep_smallest(&mut smallest, most, (ids.value(i), (number, first + i as u64)));
                }
                Ok(())
            })?;
        }
        Ok(smallest.into_iter().map(|(_, place)| place).collect())
    }

    /// What was said so far, of this build and of others.
    ///
    /// # Errors
    /// A line of the file is no judgement.
    pub fn judgements(&self) -> Result<Vec<Judgement>> {
        let text = match fs::read_to_string(&self.file) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.map_err(Error::io("read", &self.file))?,
        };
        let judgement = |(i, line): (usize, &str)| {
            let told =
                |e: serde_json::Error| Error::damaged(&self.file, format!("line {}: {e}; mend or remove it", i + 1));
            serde_json::from_str(line).map_err(told)
        };
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(judgement).collect()
    }

    /// Remember what was said of a row.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn judge(&self, sampled: &Sampled, verdict: Verdict, note: &str) -> Result<()> {
        let (build, rule) = (self.ledger.fingerprint.clone(), sampled.rule.clone());
        let Row { id, source, .. } = &sampled.row;
        let said = Judgement { build, id: id.clone(), rule, source: source.clone(), verdict, note: note.to_owned() };
        let line = serde_json::to_string(&said).map_err(|e| Error::damaged(&self.file, e.to_string()))? + "\n";
        // One call to the system a line: a crash tears the last line at most.
        let file = File::options().create(true).append(true).open(&self.file);
        let mut file = file.map_err(Error::io("open", &self.file))?;
        file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(Error::io("write", &self.file))
    }

    /// How often each rule was wrong, as far as rows were judged: a person would have kept what it dropped, or dropped what all kept.
    ///
    /// # Errors
    /// A line of the file is no judgement.
    pub fn rates(&self) -> Result<Vec<Rate>> {
        Ok(rates(&self.judgements()?, &self.ledger.fingerprint))
    }

    /// The rates as a section of a card.
    ///
    /// # Errors
    /// A line of the file is no judgement, or none is of this build.
    pub fn section(&self) -> Result<String> {
        let rates = self.rates()?;
        if rates.is_empty() {
            let message = "holds no judgement of a row of this build: `setaccio review` asks for them";
            return Err(Error::damaged(&self.file, message));
        }
        Ok(markdown(&rates))
    }

    /// Rows of this build that were judged, by rule and id.
    ///
    /// # Errors
    /// A line of the file is no judgement.
    pub fn judged(&self) -> Result<BTreeSet<(String, String)>> {
        let own = self.judgements()?.into_iter().filter(|said| said.build == self.ledger.fingerprint);
        Ok(own.map(|said| (said.rule, said.id)).collect())
    }
}

fn rates(said: &[Judgement], build: &str) -> Vec<Rate> {
    let last: BTreeMap<(&str, &str), Verdict> = said
        .iter()
        .filter(|said| said.build == build)
        .map(|said| ((said.rule.as_str(), said.id.as_str()), said.verdict))
        .collect();
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for ((rule, _), verdict) in last {
        let wrong = verdict == if rule == KEPT { Verdict::Drop } else { Verdict::Keep };
        let count = counts.entry(rule).or_default();
        *count = [count[0] + 1, count[1] + usize::from(wrong)];
    }
    let rate = |(rule, [judged, wrong]): (&str, [usize; 2])| Rate {
        rule: rule.to_owned(),
        judged,
        wrong,
        interval: wilson(wrong, judged),
    };
    counts.into_iter().map(rate).collect()
}

/// The rates as a section of a card.
pub fn markdown(rates: &[Rate]) -> String {
    use setaccio_base::card::markdown::code_cell;
    let mut out = String::from(
        "## What a person thought\n\n| rule | rows judged | wrong | share | 95% |\n|---|---:|---:|---:|---|\n",
    );
    for Rate { rule, judged, wrong, interval: [low, high] } in rates {
        #[allow(clippy::cast_precision_loss, reason = "shown to one decimal")]
        let share = *wrong as f64 / (*judged).max(1) as f64 * 100.0;
        let rule = if rule == KEPT { "kept".to_owned() } else { code_cell(rule) };
        let [low, high] = [low, high].map(|end| end * 100.0);
        let _ = writeln!(out, "| {rule} | {judged} | {wrong} | {share:.1}% | {low:.1}% to {high:.1}% |");
    }
    out.push_str("\nOf rows that a rule dropped, wrong are those that a person would have kept; of rows that were kept, those that a person would have dropped. Intervals are Wilson's.\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_a_row_counts_and_only_of_this_build() {
        let said = |build: &str, id: &str, rule: &str, verdict| Judgement {
            build: build.into(),
            id: id.into(),
            rule: rule.into(),
            source: "web".into(),
            verdict,
            note: String::new(),
        };
        let all = [
            said("b", "1", "length", Verdict::Drop),
            said("b", "2", "length", Verdict::Drop),
            said("b", "2", "length", Verdict::Keep),
            said("b", "2", KEPT, Verdict::Keep),
            said("b", "3", KEPT, Verdict::Drop),
            said("a", "4", "length", Verdict::Keep),
        ];
        let found: Vec<(String, usize, usize)> =
            rates(&all, "b").into_iter().map(|r| (r.rule, r.judged, r.wrong)).collect();
        assert_eq!(found, [("kept".into(), 2, 1), ("length".into(), 2, 1)]);
        let text = markdown(&rates(&all, "b"));
        // Wilson's interval of 1 of 2 at 95%, by statsmodels' proportion_confint(1, 2, method="wilson").
        assert!(text.contains("| `length` | 2 | 1 | 50.0% | 9.5% to 90.5% |"), "{text}");
    }
}
