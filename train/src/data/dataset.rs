//! A split of some builds as tokens: made once, kept in a cache file, read row by row.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use setaccio_base::{atomic, bundle::Place, progress::Progress};
use setaccio_base::{
    row::{Content, Kind},
    sha256::hex_digest,
};
use setaccio_dataset::shard::Position;

use super::{
    batch::{Batch, Example},
    cache::{Cache, Writer},
    mask::Masker,
    micro::{MicroBatch, PairBatch, Question, UnpairedBatch, shared},
    outcome::RowOutcome,
    pair::{Answers, Needs, one_sided},
    shards::{Build, Row, Rows, Shard, Split, place},
};
use crate::{
    error::{Error, Result},
    recipe::{Data, Form, Task},
    tokenizer::Tokens,
};

/// Part of the cache's key: to be raised when a row would come out otherwise.
const VERSION: u32 = 4;
/// Rows that are tokenised together.
const CHUNK: usize = 512;
/// Rows of a file that are kept together until all are tokenised: what a run that is killed loses of its work at most.
const PIECE: usize = 8192;
/// Text that is tokenised together, about, in bytes.
const CHUNK_BYTES: u64 = 8 << 20;

/// What became of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows read.
    pub rows: u64,
    /// Rows cut to `max_length`.
    pub truncated: u64,
    /// Rows left out because they are longer than `max_length`.
    pub dropped: u64,
    /// Rows left out because cutting left nothing to learn.
    pub unanswered: u64,
    /// Rows left out because their template does not write their answers as they are, or not where they can be found.
    pub unsaid: u64,
    /// Rows left out because an answer is empty.
    pub empty: u64,
    /// Rows left out because their two answers become the same tokens.
    pub equal: u64,
    /// Rows of whose learned answers the template leaves out or rewrites a part.
    pub partly_said: u64,
    /// Characters of that part, white space aside.
    pub lost: u64,
    /// Rows that offer tools, of which the template shows none.
    pub tools_unseen: u64,
    /// Rows where an answer's first token begins with a part of its header, and is given.
    pub header_given: u64,
    /// Rows where an answer's first token begins with white space before it, and is learned.
    pub space_learned: u64,
    /// Tokens of the rows that were kept.
    pub tokens: u64,
    /// Tokens that are learned.
    pub trained: u64,
}

impl Counts {
    /// Add what became of other rows.
    fn add(&mut self, other: &Self) {
        let Self {
            rows,
            truncated,
            dropped,
            unanswered,
            unsaid,
            empty,
            equal,
            partly_said,
            lost,
            tools_unseen,
            header_given,
            space_learned,
            tokens,
            trained,
        } = other;
        self.rows += rows;
        self.truncated += truncated;
        self.dropped += dropped;
        self.unanswered += unanswered;
        self.unsaid += unsaid;
        self.empty += empty;
        self.equal += equal;
        self.partly_said += partly_said;
        self.lost += lost;
        self.tools_unseen += tools_unseen;
        self.header_given += header_given;
        self.space_learned += space_learned;
        self.tokens += tokens;
        self.trained += trained;
    }
}

/// What the cache file says beside its rows.
#[derive(Debug, Serialize, Deserialize)]
struct Notes {
    key: String,
    counts: Counts,
    files: Vec<Groups>,
    /// The first row that was left out for what its template or its answers are, and why.
    left_out: Option<String>,
}

/// A file's row groups.
#[derive(Debug, Serialize, Deserialize)]
struct Groups {
    /// As a person would name it.
    file: String,
    /// Rows of each.
    rows: Vec<u64>,
}

/// A split as tokens.
#[derive(Debug)]
pub struct Dataset {
    cache: Cache,
    notes: Notes,
    builds: Vec<Build>,
    form: Form,
    max_length: usize,
    reference: OnceLock<Vec<[f64; 2]>>,
}

impl Dataset {
    /// Open the folders of `data`, and tokenise their `split` for a `task` unless the cache has it. `recipe` is the
    /// file that names them, `vocab` is the model's, `limit` takes the first rows only (0 for all).
    ///
    /// # Errors
    /// A folder is not what `setaccio build` wrote, or a row cannot be learned from.
    pub fn open(
        (data, recipe): (&Data, &Place),
        (task, form): (Task, Form),
        (split, limit): (Split, usize),
        (tokens, vocab): (&Tokens, usize),
        cache: &Path,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let builds = data.train.iter().map(|f| Build::open(f)).collect::<Result<Vec<_>>>()?;
        builds.iter().try_for_each(|build| fits(build, (task, form)))?;
        let masker = Masker::new(data, recipe, tokens, vocab)?;
        let key = key(data, &builds, form, (split, limit), (tokens, vocab), &masker);
        let max_length = data.max_length;
        let path = cache.join(format!("{}-{}.tokens", split.name(), &key[..16]));
        let cancelled = || progress.cancelled();
        let ready = |(cache, notes): (Cache, Notes)| (notes.key == key).then_some((cache, notes));
        if let Some((cache, notes)) = Cache::open(&path, &cancelled)?.and_then(ready) {
            return Ok(Self { cache, notes, builds, form, max_length, reference: OnceLock::new() });
        }
        let notes = Notes { key: key.clone(), counts: Counts::default(), files: Vec::new(), left_out: None };
        let total: u64 = builds.iter().map(|b| b.rows(split)).sum();
        let total = if limit == 0 { total } else { total.min(limit as u64) };
        if total > 0 {
            progress.stage("tokenise", total);
        }
        let shards = builds.iter().flat_map(|build| build.shards(split).map(move |shard| (build, shard)));
        let shards: Vec<(&Build, &Shard)> = shards.filter(|(_, shard)| shard.rows > 0).collect();
        let mut builder = CacheBuilder { writer: Writer::new(&path)?, notes, masker: &masker, form, progress, total };
        if shards.len() == 1 && total <= PIECE as u64 {
            builder.shard(shards[0], &mut |builder, rows, file, _| builder.rows(rows, file))?;
            builder.writer.finish(&builder.notes)?;
        } else {
            // What was tokenised before a run was cut short is not tokenised again: a file of its own for each piece.
            let parts = Parts::open(cache, (split, &key))?;
            for (i, shard) in shards.into_iter().enumerate() {
                if builder.notes.counts.rows < total {
                    builder.shard(shard, &mut |builder, rows, file, piece| {
                        builder.part(rows, file, &parts.file(i, piece))
                    })?;
                }
            }
            builder.writer.finish(&builder.notes)?;
            parts.remove()?;
        }
        let made = Cache::open(&path, &cancelled)?.and_then(ready);
        let (cache, notes) =
            made.ok_or_else(|| Error::damaged(path, "is not what was just written: the disk is failing"))?;
        Ok(Self { cache, notes, builds, form, max_length, reference: OnceLock::new() })
    }

    /// Rows that were kept; of judged answers, answers.
    pub fn len(&self) -> usize {
        self.cache.len() / self.sides()
    }

    /// Whether its rows are answers that were compared or judged.
    pub fn compares(&self) -> bool {
        self.form != Form::Texts
    }

    /// Examples of a row.
    fn sides(&self) -> usize {
        if matches!(self.form, Form::Pairs { .. }) { 2 } else { 1 }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// Row `i`, with its first answer if it has two.
    ///
    /// # Panics
    /// There is no such row.
    pub fn example(&self, i: usize) -> Example {
        self.cache.example(i * self.sides())
    }

    /// The texts of row `i`, each with which of [`super::pair::SIDES`] it is.
    ///
    /// # Panics
    /// There is no such row.
    pub fn examples(&self, i: usize) -> Vec<(usize, Example)> {
        let n = self.sides();
        (i * n..(i + 1) * n).map(|i| (self.cache.side(i) as usize, self.cache.example(i))).collect()
    }

    /// Whether row `i` is an answer that was wanted; so is every row that nobody judged.
    ///
    /// # Panics
    /// There is no such row.
    pub fn desirable(&self, i: usize) -> bool {
        self.cache.side(i * self.sides()) == 0
    }

    /// Tokens that row `i` takes in a batch: a question that two answers share is laid down once.
    ///
    /// # Panics
    /// There is no such row.
    pub fn length(&self, i: usize) -> usize {
        let n = self.sides();
        let all: usize = (i * n..(i + 1) * n).map(|i| self.cache.length(i)).sum();
        if n == 1 { all } else { all - shared(&self.cache.example(i * n), &self.cache.example(i * n + 1)) }
    }

    /// These rows as a micro-batch.
    ///
    /// # Panics
    /// There is no such row.
    pub fn micro(&self, rows: impl IntoIterator<Item = u32>) -> MicroBatch {
        let rows = rows.into_iter();
        match self.form {
            Form::Texts => {
                let mut batch = Batch::default();
                rows.for_each(|row| batch.push(&self.example(row as usize), row));
                MicroBatch::Texts(batch)
            }
            Form::Pairs { whole, .. } => {
                let both = |row: u32| [0, 1].map(|side| self.cache.example(row as usize * 2 + side));
                let rows: Vec<_> = rows.map(|row| (row, both(row))).map(|(row, [a, b])| (row, a, b)).collect();
                let question = if whole { Question::Learned } else { Question::Given };
                let known = self.reference.get();
                let reference = known.map(|known| rows.iter().map(|row| known[row.0 as usize]).collect());
                MicroBatch::Pairs(PairBatch { reference, ..PairBatch::new(&rows, question) })
            }
            Form::Unpaired { .. } => {
                let one = |row: u32| (row, self.example(row as usize), self.desirable(row as usize));
                MicroBatch::Unpaired(UnpairedBatch::new(&rows.map(one).collect::<Vec<_>>(), self.max_length))
            }
        }
    }

    /// Log-probabilities of every row's two answers under the reference, in nats, which micro-batches bring along from
    /// here on.
    pub fn refer_to(&self, reference: Vec<[f64; 2]>) {
        // Whoever asks twice asks the same model.
        let _ = self.reference.set(reference);
    }

    /// Tokens of every row.
    pub fn lengths(&self) -> Vec<u32> {
        (0..self.len()).map(|i| u32::try_from(self.length(i)).unwrap_or(u32::MAX)).collect()
    }

    /// Where row `i` was read: file, row group and row.
    ///
    /// # Panics
    /// There is no such row.
    pub fn place(&self, i: usize) -> String {
        let mut row = u64::from(self.cache.row(i * self.sides()));
        for file in &self.notes.files {
            let rows: u64 = file.rows.iter().sum();
            if row < rows {
                let mut end = 0;
                let group = file.rows.iter().take_while(|n| (end += **n, end <= row).1).count();
                return place(&file.file, Position { row_group: u32::try_from(group).ok(), row });
            }
            row -= rows;
        }
        format!("row {row} beyond the files")
    }

    /// What became of the rows.
    pub fn counts(&self) -> Counts {
        self.notes.counts
    }

    /// The first row that was left out for what its template writes or its answers are, and why.
    pub fn left_out(&self) -> Option<&str> {
        self.notes.left_out.as_deref()
    }

    /// The builds it was read from, with the hashes of their locks.
    pub fn builds(&self) -> &[Build] {
        &self.builds
    }

    /// SHA-256 of all its tokens, masks and places, hex.
    pub fn sha256(&self) -> &str {
        &self.cache.sha256
    }
}

/// Whether a task learns from rows of this kind.
fn fits(build: &Build, (task, form): (Task, Form)) -> Result<()> {
    let judged = matches!(form, Form::Unpaired { .. });
    let message = match (task, build.kind) {
        // Rows that somebody judged one by one.
        (Task::Preference, Kind::Chat) if judged => return Ok(()),
        (Task::Sft, Kind::Chat | Kind::Text) | (Task::Text, Kind::Text) | (Task::Preference, Kind::Preference) => {
            return Ok(());
        }
        (Task::Sft, Kind::Preference) => {
            "holds pairs of answers; supervised fine-tuning takes a chat or a text data set, as `setaccio build sft-mix` \
             makes, and `task = \"preference\"` learns from pairs"
        }
        (Task::Text, _) => {
            "holds no documents; `task = \"text\"` takes a text data set, as `setaccio build adapt-it` makes, and \
             conversations are learned by `task = \"sft\"`"
        }
        (Task::Preference, _) => {
            "holds no pairs of answers; `task = \"preference\"` takes a preference data set, as `setaccio build dpo-mix` \
             makes"
        }
    };
    Err(Error::damaged(&build.folder, message))
}

/// All that decides the tokens, hashed.
fn key(
    data: &Data,
    builds: &[Build],
    form: Form,
    (split, limit): (Split, usize),
    (tokens, vocab): (&Tokens, usize),
    masker: &Masker<'_>,
) -> String {
    let builds: Vec<_> = builds.iter().map(|b| (&b.folder, &b.sha256, b.shards(split).collect::<Vec<_>>())).collect();
    let special = (&tokens.bos, &tokens.eos, &tokens.eos_ids, tokens.adds_bos);
    let form = (form, data.train_on, data.max_length, data.overlong, data.unsaid, data.empty_answers);
    let all =
        (VERSION, builds, (split, limit), (&tokens.sha256, special, vocab), &masker.templates, (form, &data.date));
    hex_digest(serde_json::to_string(&all).unwrap_or_default().as_bytes())
}

/// Tokenises rows into a cache file.
struct CacheBuilder<'a> {
    writer: Writer,
    notes: Notes,
    masker: &'a Masker<'a>,
    form: Form,
    progress: &'a dyn Progress,
    total: u64,
}

impl CacheBuilder<'_> {
    /// Add rows of a file by way of a file of their own, which may be there from a run that was cut short.
    fn part(&mut self, rows: &mut Piece<'_>, file: &str, path: &Path) -> Result<()> {
        let before = self.notes.counts.rows;
        // They are numbered from 0 there, and a limit may end them before their end.
        let key = format!("{} {before} {}", self.notes.key, rows.left);
        let cancelled = || self.progress.cancelled();
        let ready = |(cache, notes): (Cache, Notes)| (notes.key == key).then_some((cache, notes));
        let known = Cache::open(path, &cancelled)?.and_then(ready);
        let (cache, notes) = if let Some((cache, notes)) = known {
            self.progress.advance(notes.counts.rows, "");
            for row in rows {
                row?;
                if cancelled() {
                    return Err(Error::Interrupted);
                }
            }
            (cache, notes)
        } else {
            let notes = Notes { key: key.clone(), counts: Counts::default(), files: Vec::new(), left_out: None };
            let (writer, total) = (Writer::new(path)?, self.total - before);
            let mut part =
                CacheBuilder { writer, notes, masker: self.masker, form: self.form, progress: self.progress, total };
            part.rows(rows, file)?;
            part.writer.finish(&part.notes)?;
            let made = Cache::open(path, &cancelled)?.and_then(ready);
            made.ok_or_else(|| Error::damaged(path, "is not what was just written: the disk is failing"))?
        };
        for i in 0..cache.len() {
            if i.is_multiple_of(CHUNK) && self.progress.cancelled() {
                return Err(Error::Interrupted);
            }
            let row = numbered(before + u64::from(cache.row(i)))?;
            self.writer.push(&cache.example(i), row, cache.side(i))?;
        }
        self.notes.counts.add(&notes.counts);
        self.notes.left_out = self.notes.left_out.take().or(notes.left_out);
        Ok(())
    }

    /// Read a file, as far as the limit goes, and hand it to `each` in numbered pieces.
    fn shard(
        &mut self,
        (build, shard): (&Build, &Shard),
        each: &mut dyn FnMut(&mut Self, &mut Piece<'_>, &str, usize) -> Result<()>,
    ) -> Result<()> {
        let (groups, mut rows) = build.read(shard, &|| self.progress.cancelled())?;
        let file = build.folder.join(&shard.path).display().to_string();
        let mut left = usize::try_from((self.total - self.notes.counts.rows).min(shard.rows)).unwrap_or(usize::MAX);
        for piece in 0.. {
            let n = left.min(PIECE);
            if n == 0 {
                break;
            }
            each(self, &mut Piece { rows: &mut rows, left: n }, &file, piece)?;
            left -= n;
        }
        self.notes.files.push(Groups { file, rows: groups });
        Ok(())
    }

    /// Tokenise rows of a file.
    fn rows(&mut self, rows: &mut Piece<'_>, file: &str) -> Result<()> {
        let mut chunk = next(rows)?;
        while !chunk.is_empty() {
            if self.progress.cancelled() {
                return Err(Error::Interrupted);
            }
            let (masker, form) = (self.masker, self.form);
            // One thread reads on while the others tokenise.
            let (outcomes, read) = rayon::join(
                || chunk.par_iter().map(|row| tokenise(masker, form, row)).collect::<Vec<_>>(),
                || next(rows),
            );
            for (row, outcome) in chunk.iter().zip(outcomes) {
                let at = || place(file, row.at);
                self.add(outcome.map_err(|message| Error::Row { at: at(), message })?, at)?;
            }
            self.progress.advance(chunk.len() as u64, "");
            chunk = read?;
        }
        Ok(())
    }

    /// Count a row, and write it if it is learned from; `at` says where it was read.
    fn add(&mut self, outcome: RowOutcome<Answers>, at: impl Fn() -> String) -> Result<()> {
        let counts = &mut self.notes.counts;
        let row = numbered(counts.rows)?;
        counts.rows += 1;
        if let RowOutcome::Unsaid(why) | RowOutcome::Empty(why) = &outcome
            && self.notes.left_out.is_none()
        {
            self.notes.left_out = Some(format!("{}: {why}", at()));
        }
        match outcome {
            RowOutcome::Overlong => counts.dropped += 1,
            RowOutcome::Unanswered => counts.unanswered += 1,
            RowOutcome::Unsaid(_) => counts.unsaid += 1,
            RowOutcome::Empty(_) => counts.empty += 1,
            RowOutcome::Equal => counts.equal += 1,
            RowOutcome::Tokens { tokens, truncated, said } => {
                counts.truncated += u64::from(truncated);
                counts.partly_said += u64::from(said.lost > 0);
                counts.lost += said.lost;
                counts.tools_unseen += u64::from(said.tools_unseen);
                counts.header_given += u64::from(said.given);
                counts.space_learned += u64::from(said.learned);
                for (side, example) in &tokens {
                    counts.tokens += example.ids.len() as u64;
                    counts.trained += example.trained.iter().filter(|t| **t).count() as u64;
                    self.writer.push(example, row, *side)?;
                }
            }
        }
        Ok(())
    }
}

/// A row's number, as the cache keeps it.
fn numbered(row: u64) -> Result<u32> {
    u32::try_from(row).map_err(|_| Error::Other("a data set has at most 4,294,967,296 rows; set `data.limit`".into()))
}

/// The next rows of a file.
struct Piece<'a> {
    rows: &'a mut Rows,
    left: usize,
}

impl Iterator for Piece<'_> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.rows.next()
    }
}

/// The files of pieces that are tokenised, until all are.
struct Parts(PathBuf);

impl Parts {
    const END: &str = ".parts";

    /// Those of a key; what is left of other keys of the split is removed.
    fn open(cache: &Path, (split, key): (Split, &str)) -> Result<Self> {
        let (begin, own) = (format!("{}-", split.name()), format!("{}-{}{}", split.name(), &key[..16], Self::END));
        for entry in fs::read_dir(cache).map_err(Error::io("list", cache))? {
            let entry = entry.map_err(Error::io("list", cache))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&begin) && name.ends_with(Self::END) && name != own {
                atomic::remove(&entry.path())?;
            }
        }
        let folder = cache.join(own);
        if folder.is_dir() {
            atomic::sweep(&folder)?;
        }
        Ok(Self(folder))
    }

    /// That of a piece of a shard.
    fn file(&self, shard: usize, piece: usize) -> PathBuf {
        self.0.join(format!("{shard:05}-{piece:05}.tokens"))
    }

    fn remove(self) -> Result<()> {
        Ok(atomic::remove(&self.0)?)
    }
}

/// A row as the texts that its form asks for.
fn tokenise(masker: &Masker<'_>, form: Form, row: &Row) -> std::result::Result<RowOutcome<Answers>, String> {
    let content = &row.content;
    match (form, content) {
        (Form::Texts, _) => Ok(match masker.row(content)? {
            RowOutcome::Tokens { tokens, truncated, said } => {
                RowOutcome::Tokens { tokens: vec![(0, tokens)], truncated, said }
            }
            RowOutcome::Overlong => RowOutcome::Overlong,
            RowOutcome::Unanswered => RowOutcome::Unanswered,
            RowOutcome::Unsaid(why) => RowOutcome::Unsaid(why),
            RowOutcome::Empty(why) => RowOutcome::Empty(why),
            RowOutcome::Equal => RowOutcome::Equal,
        }),
        (Form::Pairs { longest_prompt, .. }, _) => masker.answers(content, longest_prompt, Needs::Both),
        (Form::Unpaired { longest_prompt }, Content::Chat { messages, tools }) => {
            masker.answers(&one_sided(messages, tools.as_ref(), row.label)?, longest_prompt, Needs::One)
        }
        (Form::Unpaired { longest_prompt }, _) => masker.answers(content, longest_prompt, Needs::One),
    }
}

/// The next rows to tokenise together; none at the end.
fn next(rows: &mut impl Iterator<Item = Result<Row>>) -> Result<Vec<Row>> {
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    while chunk.len() < CHUNK && bytes < CHUNK_BYTES {
        let Some(row) = rows.next().transpose()? else { break };
        bytes += row.content.bytes();
        chunk.push(row);
    }
    Ok(chunk)
}

#[cfg(test)]
pub(crate) mod tests;
