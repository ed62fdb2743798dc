//! What became of a row: which shard it is in, or what dropped it. Asked of a finished build by id, by place or by words.

use std::{collections::BTreeSet, fmt, path::Path};

use arrow_array::RecordBatch;
use serde::Serialize;
use setaccio_base::{
    numbers::counted,
    progress::Progress,
    row::{Content, Kind},
    sha256::hex,
};
use setaccio_dataset::{
    columns::{ContentColumns, content_names},
    folder,
    ledger::{FileEntry, Ledger},
    lock::RecipeLock,
    shard::Position,
};

use super::{
    rows::{LONG, each_batch, fetch, number, position, repeated_id, text},
    settings,
};
use crate::{error::Result, key, pipeline::rejects::MESSAGE};

/// How a row is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The first digits of its `id`, or all.
    Id(String),
    /// Its input file, whole or the last parts of its name, and its number there, from 0.
    Place(String, u64),
    /// Words that it says, whatever their case and the white space between them.
    Words(String),
}

/// A row that was found, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fate {
    /// Hash of its content; of a row that could not be read there is none.
    pub id: Option<String>,
    /// The source's name.
    pub source: String,
    /// The input file and the place in it, where they are known: shards do not say.
    pub input: Option<Input>,
    /// What became of it.
    pub outcome: Outcome,
    /// Characters that it lost because other rows hold them, where it was read again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// What it says, or the bytes of a row that could not be read.
    pub texts: Vec<String>,
}

impl Fate {
    /// What a person is told of it beside its texts: labels, and words behind them.
    pub fn told(&self) -> Vec<(&'static str, String)> {
        let mut told = Vec::new();
        match &self.outcome {
            Outcome::Kept(place) => {
                told.push(("in", place.to_string()));
                let lost =
                    self.lost.map(|lost| format!("{} that other rows hold, or it before", counted(lost, "character")));
                told.extend(lost.map(|lost| ("without", lost)));
            }
            Outcome::Dropped { stage, rule, detail, message, settings, repeats, place } => {
                told.push(("by", if stage == rule { rule.clone() } else { format!("{rule}, in the stage {stage}") }));
                told.push(("because", detail.clone()));
                told.extend(message.iter().map(|message| ("of", message.clone())));
                told.extend(settings.iter().map(|settings| ("setting", settings.clone())));
                told.extend(repeats.iter().map(|repeats| ("it repeats", repeats.to_string())));
                told.push(("whole in", place.to_string()));
            }
        }
        told.extend(self.input.iter().map(|input| ("read from", format!("{}, {}", input.file, input.at))));
        told
    }
}

/// Where a row was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    /// The file, as lock and ledger call it.
    pub file: String,
    /// Where in it.
    #[serde(flatten)]
    pub at: Position,
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "became", rename_all = "lowercase")]
pub enum Outcome {
    /// It is in the data set.
    Kept(Place),
    /// It is among the rejects.
    Dropped {
        /// The stage.
        stage: String,
        /// The rule.
        rule: String,
        /// The matched word, or the measured value and the threshold.
        detail: String,
        /// The message of a conversation that the rule means: `messages[1] (assistant)`.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// The rule's table in the recipe, on one line.
        settings: Option<String>,
        /// Where the row is that it repeats.
        repeats: Option<Place>,
        /// Where it lies whole.
        place: Place,
    },
}

/// A row of a published file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file, below the build's folder.
    pub file: String,
    /// Its number in the file, from 0.
    pub row: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, row {} (from 0)", self.file, self.row)
    }
}

/// A finished build that is asked.
pub struct Build<'a> {
    /// Its folder.
    pub out: &'a Path,
    /// What it did.
    pub ledger: Ledger,
    /// The build's lock.
    pub lock: RecipeLock,
    kind: Kind,
}

/// Columns of the rejects that tell of a row.
pub const TOLD: [&str; 10] = ["stage", "rule", "detail", MESSAGE, "source", "file", "row_group", "row", "id", "raw"];

impl<'a> Build<'a> {
    /// The build in `out`.
    ///
    /// # Errors
    /// There is none.
    pub fn open(out: &'a Path) -> Result<Self> {
        let (ledger, lock) = folder::read(out)?;
        let kind = lock.recipe.kind;
        Ok(Self { out, ledger, lock, kind })
    }

    /// What `text` may mean, the likeliest first.
    pub fn queries(&self, text: &str) -> Vec<Query> {
        let mut queries = Vec::new();
        if (6..=32).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit()) {
            queries.push(Query::Id(text.to_ascii_lowercase()));
        }
        if let Some((file, row)) = text.rsplit_once(':')
            && let Ok(row) = row.parse()
            && !self.inputs(file).is_empty()
        {
            queries.push(Query::Place(file.to_owned(), row));
        }
        let words = folded(text);
        queries.extend((!words.is_empty()).then_some(Query::Words(words)));
        queries
    }

    /// The input files that `name` can mean: the whole of a name, or its last parts; or a path that ends in what a file is
    /// called below its source, whatever folders of this machine come before.
    pub fn inputs(&self, name: &str) -> Vec<&str> {
        let parts = |path: &str| -> Vec<String> {
            path.split('/').filter(|part| !matches!(*part, "" | "." | "..")).map(str::to_owned).collect()
        };
        let asked = parts(name);
        let files = || self.lock.input.iter().map(|input| input.file.as_str());
        let found: Vec<&str> = files().filter(|file| !asked.is_empty() && parts(file).ends_with(&asked)).collect();
        if !found.is_empty() {
            return found;
        }
        let below = |file: &str| file.split_once('/').map_or_else(Vec::new, |(_, below)| parts(below));
        let fit = |file: &&str| Some(below(file)).filter(|below| !below.is_empty() && asked.ends_with(below));
        let longest = files().filter_map(|file| fit(&file)).map(|below| below.len()).max();
        files().filter(|file| fit(file).is_some_and(|below| Some(below.len()) == longest)).collect()
    }

    /// The rows that `query` names, those kept first.
    ///
    /// # Errors
    /// A file of the build is missing or damaged, or somebody stops it.
    pub fn find(&self, query: &Query, progress: &dyn Progress) -> Result<Vec<Fate>> {
        let mut found = Vec::new();
        for entry in &self.ledger.files {
            let dropped = entry.path.starts_with("rejects/");
            let columns: Vec<&str> = match query {
                Query::Id(_) => vec!["id"],
                Query::Place(..) if dropped => vec!["file", "row"],
                Query::Place(..) => continue,
                Query::Words(_) => content_names(self.kind).iter().copied().chain(dropped.then_some("raw")).collect(),
            };
            let rows = self.matching(entry, &columns, query, progress)?;
            let names = TOLD.iter().copied().chain(content_names(self.kind).iter().copied());
            for (row, batch) in rows.iter().zip(fetch(&self.out.join(&entry.path), entry.rows, &rows, names)?) {
                let mut fate = self.fate(entry, *row, &batch);
                if let Outcome::Dropped { detail, repeats, .. } = &mut fate.outcome {
                    *repeats = self.repeated(detail, progress)?;
                }
                found.push(fate);
            }
        }
        Ok(found)
    }

    /// Numbers of the rows of a file that a query names.
    fn matching(
        &self,
        entry: &FileEntry,
        columns: &[&str],
        query: &Query,
        progress: &dyn Progress,
    ) -> Result<Vec<u64>> {
        let mut rows = Vec::new();
        let inputs = if let Query::Place(file, _) = query { self.inputs(file) } else { Vec::new() };
        let path = self.out.join(&entry.path);
        each_batch(&path, columns.iter().copied(), (LONG, None), progress, |batch, first| {
            for i in 0..batch.num_rows() {
                let is = match query {
                    Query::Id(id) => text(batch, "id", i).is_some_and(|found| found.starts_with(id.as_str())),
                    Query::Place(_, row) => {
                        number(batch, "row", i) == Some(*row)
                            && text(batch, "file", i).is_some_and(|file| inputs.contains(&file.as_str()))
                    }
                    Query::Words(words) => {
                        self.texts(batch, i).iter().any(|text| folded(text).contains(words.as_str()))
                    }
                };
                rows.extend(is.then_some(first + i as u64));
            }
            Ok(())
        })?;
        Ok(rows)
    }

    /// What became of the row of a batch, which is row `row` of this file. Where the row is that it repeats is not looked for.
    pub fn fate(&self, entry: &FileEntry, row: u64, batch: &RecordBatch) -> Fate {
        let told = |name| text(batch, name, 0).unwrap_or_default();
        let place = Place { file: entry.path.clone(), row };
        let (outcome, input) = if entry.path.starts_with("rejects/") {
            let (rule, detail) = (told("rule"), told("detail"));
            let input = Input { file: told("file"), at: position(batch, 0) };
            let stage = told("stage");
            let settings = settings::told(&self.lock.recipe, &stage, &rule);
            let message = text(batch, MESSAGE, 0);
            (Outcome::Dropped { stage, rule, detail, message, settings, repeats: None, place }, Some(input))
        } else {
            (Outcome::Kept(place), None)
        };
        let texts = self.texts(batch, 0);
        Fate { id: text(batch, "id", 0), source: told("source"), input, outcome, lost: None, texts }
    }

    /// What a row of a batch says.
    pub fn texts(&self, batch: &RecordBatch, i: usize) -> Vec<String> {
        let content = ContentColumns::new(batch, self.kind).and_then(|columns| columns.get(i));
        match content {
            Ok(content) => content.texts().map(str::to_owned).collect(),
            Err(_) => text(batch, "raw", i).into_iter().collect(),
        }
    }

    /// Where the row lies whose id a detail names.
    ///
    /// # Errors
    /// A file of the build is missing or damaged, or somebody stops it.
    pub fn repeated(&self, detail: &str, progress: &dyn Progress) -> Result<Option<Place>> {
        let Some(id) = repeated_id(detail) else { return Ok(None) };
        let query = Query::Id(id.to_owned());
        for entry in self.ledger.files.iter().filter(|entry| entry.path.starts_with("data/")) {
            if let Some(row) = self.matching(entry, &["id"], &query, progress)?.first() {
                return Ok(Some(Place { file: entry.path.clone(), row: *row }));
            }
        }
        Ok(None)
    }

    /// The row with this content, read at this place, which no file of the rejects holds: it was kept, or only counted.
    ///
    /// # Errors
    /// A file of the build is missing or damaged.
    pub fn kept(&self, content: &Content, file: &str, at: Position, progress: &dyn Progress) -> Result<Vec<Fate>> {
        let input = Input { file: file.to_owned(), at };
        let mut found = self.find(&Query::Id(hex(&key::id(content))), progress)?;
        found.retain(|fate| matches!(fate.outcome, Outcome::Kept(_)));
        let characters = |text: &str| text.chars().count() as u64;
        let read: u64 = content.texts().map(characters).sum();
        for fate in &mut found {
            let left: u64 = fate.texts.iter().map(|text| characters(text)).sum();
            fate.lost = read.checked_sub(left).filter(|lost| *lost > 0);
            fate.input = Some(input.clone());
        }
        Ok(found)
    }

    /// What is said where nothing is found.
    pub fn not_found(&self, asked: &str) -> String {
        let (kept, all) = (self.ledger.rows_out(), self.ledger.files.iter().map(|f| f.rows).sum::<u64>());
        let files: BTreeSet<&str> = self.lock.input.iter().map(|input| input.file.as_str()).collect();
        let first: Vec<&str> = files.iter().take(5).copied().collect();
        let more = files.len().saturating_sub(first.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!(
            "{} holds no row {asked:?}: neither of its {kept} rows nor of the {} that it dropped is it an id, words or a \
             place. An id is what the column `id` holds, or its first 6 digits and more; a place is FILE:ROW, with rows \
             counted from 0, and the files are {}{more}",
            self.out.display(),
            all - kept,
            first.join(", ")
        )
    }
}

/// In lower case, every run of white space one space.
pub fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
