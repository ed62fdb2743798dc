//! A split of some builds as tokens: made once, kept in a cache file, read row by row.

use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use setaccio_curate::source::Position;
use setaccio_filters::{hash::sha256, row::Kind};

use super::{
    Example,
    cache::{Cache, Writer},
    mask::{Made, Masker},
    shards::{Build, Row, Shard, Split, place},
};
use crate::{
    error::{Error, Result},
    recipe::Data,
    tokenizer::Tokens,
};

/// Part of the cache's key: to be raised when a row would come out otherwise.
const VERSION: u32 = 1;
/// Rows that are tokenised together.
const CHUNK: usize = 512;
/// Text that is tokenised together, about, in bytes.
const CHUNK_BYTES: u64 = 8 << 20;

/// Follows the reading of a data set, and can stop it.
pub trait Watch: Sync {
    /// Whether to stop.
    fn cancelled(&self) -> bool {
        false
    }
    /// So many of so many rows are tokenised.
    fn rows(&self, _done: u64, _of: u64) {}
}

/// Nobody watches.
impl Watch for () {}

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
    /// Tokens of the rows that were kept.
    pub tokens: u64,
    /// Tokens that are learned.
    pub trained: u64,
}

/// What the cache file says beside its rows.
#[derive(Debug, Serialize, Deserialize)]
struct Notes {
    key: String,
    counts: Counts,
    files: Vec<Groups>,
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
}

impl Dataset {
    /// Open the folders of `data`, and tokenise their `split` unless the cache has it. `folder` is that of the
    /// recipe, `vocab` is the model's, `limit` takes the first rows only (0 for all).
    ///
    /// # Errors
    /// A folder is not what `setaccio build` wrote, or a row cannot be learned from.
    pub fn open(
        (data, folder): (&Data, &Path),
        (split, limit): (Split, usize),
        (tokens, vocab): (&Tokens, usize),
        cache: &Path,
        watch: &dyn Watch,
    ) -> Result<Self> {
        let builds = data.train.iter().map(|f| Build::open(f)).collect::<Result<Vec<_>>>()?;
        if let Some(pairs) = builds.iter().find(|b| b.kind == Kind::Preference) {
            let message = "holds pairs of answers; supervised fine-tuning takes a chat or a text data set, as \
                           `just build-sft-mix` makes";
            return Err(Error::Damaged { path: pairs.folder.clone(), message: message.into() });
        }
        let masker = Masker::new(data, folder, tokens, vocab)?;
        let key = key(data, &builds, (split, limit), (tokens, vocab), &masker);
        let path = cache.join(format!("{}-{}.tokens", split.name(), &key[..16]));
        let cancelled = || watch.cancelled();
        let ready = |(cache, notes): (Cache, Notes)| (notes.key == key).then_some((cache, notes));
        if let Some((cache, notes)) = Cache::open(&path, &cancelled)?.and_then(ready) {
            return Ok(Self { cache, notes, builds });
        }
        let notes = Notes { key: key.clone(), counts: Counts::default(), files: Vec::new() };
        let of: u64 = builds.iter().map(|b| b.rows(split)).sum();
        let of = if limit == 0 { of } else { of.min(limit as u64) };
        let mut making = Making { writer: Writer::new(&path)?, notes, masker: &masker, watch, of };
        for build in &builds {
            let shards: Vec<&Shard> = build.shards(split).filter(|s| s.rows > 0).collect();
            for shard in shards {
                if making.notes.counts.rows < of {
                    making.shard(build, shard)?;
                }
            }
        }
        making.writer.finish(&making.notes)?;
        let made = Cache::open(&path, &cancelled)?.and_then(ready);
        let (cache, notes) = made.ok_or_else(|| Error::Damaged {
            path,
            message: "is not what was just written: the disk is failing".into(),
        })?;
        Ok(Self { cache, notes, builds })
    }

    /// Rows that were kept.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// Row `i`.
    ///
    /// # Panics
    /// There is no such row.
    pub fn example(&self, i: usize) -> Example {
        self.cache.example(i)
    }

    /// Tokens of row `i`.
    ///
    /// # Panics
    /// There is no such row.
    pub fn length(&self, i: usize) -> usize {
        self.cache.length(i)
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
        let mut row = u64::from(self.cache.row(i));
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

    /// The builds it was read from, with the hashes of their locks.
    pub fn builds(&self) -> &[Build] {
        &self.builds
    }

    /// SHA-256 of all its tokens, masks and places, hex.
    pub fn sha256(&self) -> &str {
        &self.cache.sha256
    }
}

/// All that decides the tokens, hashed.
fn key(
    data: &Data,
    builds: &[Build],
    (split, limit): (Split, usize),
    (tokens, vocab): (&Tokens, usize),
    masker: &Masker<'_>,
) -> String {
    let builds: Vec<_> = builds.iter().map(|b| (&b.folder, &b.sha256, b.shards(split).collect::<Vec<_>>())).collect();
    let special = (&tokens.bos, &tokens.eos, &tokens.eos_ids, tokens.adds_bos);
    let form = (data.train_on, data.max_length, data.overlong);
    let all = (VERSION, builds, (split, limit), (&tokens.sha256, special, vocab), &masker.templates, form);
    sha256(serde_json::to_string(&all).unwrap_or_default().as_bytes())
}

/// A cache file in the making.
struct Making<'a> {
    writer: Writer,
    notes: Notes,
    masker: &'a Masker<'a>,
    watch: &'a dyn Watch,
    of: u64,
}

impl Making<'_> {
    fn shard(&mut self, build: &Build, shard: &Shard) -> Result<()> {
        let (groups, rows) = build.read(shard, &|| self.watch.cancelled())?;
        let file = build.folder.join(&shard.path).display().to_string();
        let left = usize::try_from(self.of - self.notes.counts.rows).unwrap_or(usize::MAX);
        let mut rows = rows.take(left);
        let mut chunk = next(&mut rows)?;
        while !chunk.is_empty() {
            if self.watch.cancelled() {
                return Err(Error::Interrupted);
            }
            let masker = self.masker;
            // One thread reads on while the others tokenise.
            let (made, read) = rayon::join(
                || chunk.par_iter().map(|row| masker.row(&row.content)).collect::<Vec<_>>(),
                || next(&mut rows),
            );
            for (row, made) in chunk.iter().zip(made) {
                let made = made.map_err(|message| Error::Row { at: place(&file, row.at), message })?;
                self.take(made)?;
            }
            self.watch.rows(self.notes.counts.rows, self.of);
            chunk = read?;
        }
        self.notes.files.push(Groups { file, rows: groups });
        Ok(())
    }

    fn take(&mut self, made: Made) -> Result<()> {
        let counts = &mut self.notes.counts;
        let row = u32::try_from(counts.rows)
            .map_err(|_| Error::Other("a data set has at most 4,294,967,296 rows; set `data.limit`".into()))?;
        counts.rows += 1;
        match made {
            Made::Overlong => counts.dropped += 1,
            Made::Unanswered => counts.unanswered += 1,
            Made::Row(example, cut) => {
                counts.truncated += u64::from(cut);
                counts.tokens += example.ids.len() as u64;
                counts.trained += example.trained.iter().filter(|t| **t).count() as u64;
                self.writer.push(&example, row)?;
            }
        }
        Ok(())
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
pub mod tests {
    use std::{
        fs,
        path::PathBuf,
        sync::atomic::{AtomicU64, Ordering},
    };

    use setaccio_filters::row::{Content, Row as Document};

    use super::*;
    use crate::{data::shards::tests::build, recipe::Overlong, tokenizer::tiny};

    /// Conversations, the answer of number `i` of `i % 7` words.
    pub fn chats(n: usize) -> Vec<Content> {
        let chat =
            |i: usize| Document::chat(&[("user", &format!("domanda {i}")), ("assistant", &"sì ".repeat(i % 7 + 1))]);
        (0..n).map(|i| chat(i).content).collect()
    }

    pub fn tokens() -> Tokens {
        tiny::train(["domanda sì sì user assistant"].into_iter().cycle().take(30), 290).unwrap()
    }

    pub fn data(folders: &[PathBuf]) -> Data {
        let mut data: Data = toml::from_str("train = ['x']").unwrap();
        data.train = folders.to_vec();
        data
    }

    struct Seen(AtomicU64, u64);
    impl Watch for Seen {
        fn cancelled(&self) -> bool {
            self.0.load(Ordering::Relaxed) >= self.1
        }
        fn rows(&self, done: u64, _: u64) {
            self.0.store(done, Ordering::Relaxed);
        }
    }

    fn open(data: &Data, limit: usize, cache: &Path, watch: &dyn Watch) -> Result<Dataset> {
        let tokens = tokens();
        Dataset::open((data, Path::new(".")), (Split::Train, limit), (&tokens, 290), cache, watch)
    }

    #[test]
    fn rows_of_all_folders_in_order_with_their_places() {
        let dir = tempfile::tempdir().unwrap();
        let folders = [dir.path().join("a"), dir.path().join("b")];
        build(&folders[0], Kind::Chat, &chats(11), 3, 2);
        build(&folders[1], Kind::Text, &[Content::Text("uno".into()), Content::Text("due".into())], 1, 9);
        let set = open(&data(&folders), 0, dir.path(), &()).unwrap();
        assert_eq!((set.len(), set.counts().rows, set.counts().dropped), (13, 13, 0));
        let tokens = tokens();
        let decoded = |i: usize| tokens.decode(&set.example(i).ids, true).unwrap();
        assert!(decoded(4).contains("domanda 4") && decoded(12) == "due", "{}", decoded(12));
        let name = |folder: &Path, file: &str| folder.join("data").join(file).display().to_string();
        let last = name(&folders[0], "train-00001-of-00002.parquet");
        assert_eq!(set.place(10), format!("{last}, row group 1, row 4 (from 0)"));
        let text = name(&folders[1], "train-00000-of-00001.parquet");
        assert_eq!(set.place(12), format!("{text}, row group 1, row 1 (from 0)"));
        let total: usize = (0..13).map(|i| set.length(i)).sum();
        assert_eq!(set.counts().tokens, total as u64);
        let first = open(&data(&folders), 4, dir.path(), &()).unwrap();
        assert_eq!((first.len(), first.example(3)), (4, set.example(3)));
    }

    #[test]
    fn what_is_cut_and_dropped_is_counted_and_keeps_its_place() {
        let dir = tempfile::tempdir().unwrap();
        build(&dir.path().join("a"), Kind::Chat, &chats(21), 4, 2);
        let mut data = data(&[dir.path().join("a")]);
        let whole = open(&data, 0, dir.path(), &()).unwrap();
        let lengths = whole.lengths();
        data.max_length = lengths[3] as usize;
        let longer: Vec<usize> = (0..21).filter(|i| lengths[*i] > lengths[3]).collect();
        assert!(!longer.is_empty() && longer.len() < 20);
        let cut = open(&data, 0, dir.path(), &()).unwrap();
        assert_eq!((cut.len(), cut.counts().truncated, cut.counts().dropped), (21, longer.len() as u64, 0));
        assert!(longer.iter().all(|i| cut.example(*i).ids == whole.example(*i).ids[..data.max_length]));
        data.overlong = Overlong::Drop;
        let kept = open(&data, 0, dir.path(), &()).unwrap();
        assert_eq!(
            (kept.len(), kept.counts().truncated, kept.counts().dropped),
            (21 - longer.len(), 0, longer.len() as u64)
        );
        let left: Vec<usize> = (0..21).filter(|i| !longer.contains(i)).collect();
        for (i, row) in left.into_iter().enumerate() {
            assert_eq!((kept.example(i), kept.place(i)), (whole.example(row), whole.place(row)));
        }
        (data.max_length, data.overlong) = (6, Overlong::Truncate);
        let none = open(&data, 0, dir.path(), &()).unwrap();
        assert_eq!((none.len(), none.counts().unanswered, none.counts().rows), (0, 21, 21));
    }

    #[test]
    fn a_cache_is_used_as_long_as_it_is_whole_and_meant() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        build(&dir.path().join("a"), Kind::Chat, &chats(9), 4, 2);
        let mut data = data(&[dir.path().join("a")]);
        let read = |data: &Data| {
            let seen = Seen(AtomicU64::new(0), u64::MAX);
            let set = open(data, 0, &cache, &seen).unwrap();
            (seen.0.into_inner(), set.sha256().to_owned())
        };
        let first = read(&data);
        assert_eq!((first.0, read(&data)), (9, (0, first.1.clone())));
        let path = fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes[40] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&data), first, "made again");
        data.max_length = 9;
        assert_eq!(read(&data).0, 9, "another key");
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 2);
        // Any number of threads makes the same file.
        fs::remove_file(&path).unwrap();
        data.max_length = 1024;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(pool.install(|| read(&data)), first);
    }

    #[test]
    fn a_row_that_is_refused_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a");
        let mut rows = chats(11);
        rows[9] = Document::chat(&[("user", "e poi?")]).content;
        rows[10] = Document::chat(&[("user", "e poi?")]).content;
        build(&folder, Kind::Chat, &rows, 3, 2);
        let error = open(&data(&[folder.clone()]), 0, dir.path(), &()).unwrap_err();
        let place =
            format!("{}, row group 1, row 3 (from 0)", folder.join("data/train-00001-of-00002.parquet").display());
        assert!(
            matches!(&error, Error::Row { at, message } if *at == place && message.starts_with("has no assistant turn")),
            "{error}"
        );
        assert!(open(&data(&[folder.clone()]), 9, dir.path(), &()).is_ok(), "rows beyond the limit are not read");
        let pairs = dir.path().join("p");
        build(
            &pairs,
            Kind::Preference,
            &[Content::Preference { prompt: vec![], chosen: vec![], rejected: vec![] }],
            1,
            1,
        );
        let error = open(&data(&[pairs]), 0, dir.path(), &()).unwrap_err().to_string();
        assert!(error.contains("holds pairs of answers"), "{error}");
    }

    #[test]
    fn reading_stops_when_asked_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        build(&dir.path().join("a"), Kind::Chat, &chats(2000), 500, 9);
        let error = open(&data(&[dir.path().join("a")]), 0, &cache, &Seen(AtomicU64::new(0), 512)).unwrap_err();
        assert!(matches!(error, Error::Interrupted), "{error}");
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 0);
    }
}
