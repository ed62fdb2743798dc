use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use setaccio_base::row::{Content, Row as Document};

use super::*;
use crate::{data::shards::tests::build, recipe::Overlong, tokenizer::tiny};

/// Conversations, the answer of number `i` of `i % 7` words.
pub(crate) fn chats(n: usize) -> Vec<Content> {
    let chat = |i: usize| Document::chat(&[("user", &format!("domanda {i}")), ("assistant", &"sì ".repeat(i % 7 + 1))]);
    (0..n).map(|i| chat(i).content).collect()
}

pub(crate) fn tokens() -> Tokens {
    tiny::train(["domanda sì sì user assistant"].into_iter().cycle().take(30), 290).unwrap()
}

pub(crate) fn data(folders: &[PathBuf]) -> Data {
    let mut data: Data = toml::from_str("train = ['x']").unwrap();
    data.train = folders.to_vec();
    data
}

struct Seen(AtomicU64, u64);
impl Progress for Seen {
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= self.1
    }
    fn advance(&self, rows: u64, _: &str) {
        self.0.fetch_add(rows, Ordering::Relaxed);
    }
}

fn open(data: &Data, limit: usize, cache: &Path, progress: &dyn Progress) -> Result<Dataset> {
    let tokens = tokens();
    let form = (Task::Sft, Form::Texts);
    Dataset::open((data, &Place::disk("recipe.toml")), form, (Split::Train, limit), (&tokens, 290), cache, progress)
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
    let decoded = |i: usize| tokens.decode(&set.example(i).ids).unwrap();
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
fn what_was_tokenised_before_it_was_cut_short_is_not_tokenised_again() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, clean) = (dir.path().join("cache"), dir.path().join("clean"));
    fs::create_dir_all(&cache).unwrap();
    fs::create_dir_all(&clean).unwrap();
    let folder = dir.path().join("a");
    // Three files of a thousand rows.
    build(&folder, Kind::Chat, &chats(3000), 500, 2);
    let data = data(std::slice::from_ref(&folder));
    let whole = open(&data, 0, &clean, &()).unwrap();
    assert!(matches!(open(&data, 0, &cache, &Seen(AtomicU64::new(0), 1500)), Err(Error::Interrupted)));
    let parts = fs::read_dir(&cache).unwrap().map(|e| e.unwrap().path()).find(|p| p.extension().unwrap() == "parts");
    let parts = parts.unwrap();
    assert!(!parts.join("00002-00000.tokens").exists());
    // A file that is made again is another one.
    let first = || fs::metadata(parts.join("00000-00000.tokens")).unwrap().ino();
    let before = first();
    assert!(matches!(open(&data, 0, &cache, &Seen(AtomicU64::new(0), 2600)), Err(Error::Interrupted)));
    assert!(first() == before && parts.join("00001-00000.tokens").is_file());
    let resumed = open(&data, 0, &cache, &()).unwrap();
    assert_eq!((resumed.sha256(), resumed.counts()), (whole.sha256(), whole.counts()));
    assert_eq!(resumed.place(2999), whole.place(2999));
    let names: Vec<_> = fs::read_dir(&cache).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 1, "the parts are gone: {names:?}");
    // A part that is torn is made again, and parts of other settings go.
    let again = dir.path().join("again");
    fs::create_dir_all(again.join("train-0000000000000000.parts")).unwrap();
    assert!(matches!(open(&data, 0, &again, &Seen(AtomicU64::new(0), 1500)), Err(Error::Interrupted)));
    let parts = again.join(parts.file_name().unwrap()).join("00000-00000.tokens");
    let torn = fs::read(&parts).unwrap();
    fs::write(&parts, &torn[..torn.len() - 9]).unwrap();
    assert_eq!(open(&data, 0, &again, &()).unwrap().sha256(), whole.sha256());
    assert_eq!(fs::read_dir(&again).unwrap().count(), 1);
    // A limit ends within a file.
    assert_eq!(open(&data, 1200, &again, &()).unwrap().sha256(), open(&data, 1200, &clean, &()).unwrap().sha256());
    assert_eq!(open(&data, 1200, &again, &()).unwrap().len(), 1200);
}

/// A large file is kept a piece at a time.
#[test]
fn a_file_that_was_tokenised_in_part_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let [cache, clean, folder] = ["cache", "clean", "a"].map(|name| dir.path().join(name));
    fs::create_dir_all(&cache).unwrap();
    fs::create_dir_all(&clean).unwrap();
    build(&folder, Kind::Chat, &chats(2 * PIECE + 700), 500, 1000);
    assert_eq!(fs::read_dir(folder.join("data")).unwrap().count(), 1);
    let data = data(std::slice::from_ref(&folder));
    let whole = open(&data, 0, &clean, &()).unwrap();
    let stop = |rows: usize| {
        let seen = Seen(AtomicU64::new(0), rows as u64);
        assert!(matches!(open(&data, 0, &cache, &seen), Err(Error::Interrupted)));
    };
    stop(PIECE + 600);
    let parts = fs::read_dir(&cache).unwrap().map(|e| e.unwrap().path()).find(|p| p.extension().unwrap() == "parts");
    let parts = parts.unwrap();
    let first = || fs::metadata(parts.join("00000-00000.tokens")).unwrap().ino();
    let before = first();
    stop(2 * PIECE + 100);
    assert!(first() == before && parts.join("00000-00001.tokens").is_file());
    let resumed = open(&data, 0, &cache, &()).unwrap();
    assert_eq!((resumed.sha256(), resumed.counts()), (whole.sha256(), whole.counts()));
    assert_eq!(resumed.place(2 * PIECE + 699), whole.place(2 * PIECE + 699));
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1, "the parts are gone");
}

#[test]
fn a_row_that_is_refused_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("a");
    let mut rows = chats(11);
    rows[9] = Document::chat(&[("user", "e poi?")]).content;
    rows[10] = Document::chat(&[("user", "e poi?")]).content;
    build(&folder, Kind::Chat, &rows, 3, 2);
    let error = open(&data(std::slice::from_ref(&folder)), 0, dir.path(), &()).unwrap_err();
    let place = format!("{}, row group 1, row 3 (from 0)", folder.join("data/train-00001-of-00002.parquet").display());
    assert!(
        matches!(&error, Error::Row { at, message } if *at == place && message.starts_with("has no assistant turn")),
        "{error}"
    );
    assert!(
        open(&data(std::slice::from_ref(&folder)), 9, dir.path(), &()).is_ok(),
        "rows beyond the limit are not read"
    );
    let pairs = dir.path().join("p");
    build(&pairs, Kind::Preference, &[Content::preference(vec![], vec![], vec![])], 1, 1);
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
