//! Folders that `setaccio build` wrote, read as rows: row group by row group, in order.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use setaccio_base::{bundle, objects::is_address, row::Kind, sha256::hex_digest};
use setaccio_dataset::{
    folder::{self, DATA, LEDGER, RECIPE_LOCK},
    ledger::Ledger,
    lock::RecipeLock,
    shard::{self, Position},
};

pub use setaccio_dataset::shard::ShardRow as Row;

use crate::error::{Error, Result};

/// A split of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// What is learned from.
    Train,
    /// What is held back.
    Validation,
}

impl Split {
    /// Its name, as the files begin.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
        }
    }
}

/// A folder that was checked against its ledger, so far as that goes without reading its rows.
#[derive(Clone, Debug)]
pub struct Build {
    /// Where it is.
    pub folder: PathBuf,
    /// The recipe's name.
    pub recipe: String,
    /// What its rows are.
    pub kind: Kind,
    /// SHA-256 of its recipe.lock.toml, hex.
    pub sha256: String,
    /// What was counted.
    pub ledger: Ledger,
    /// What it was made from.
    pub lock: RecipeLock,
    /// The files of each split, in order.
    files: Vec<Shard>,
}

/// One Parquet file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Path within the folder.
    pub path: String,
    /// Rows, by the ledger.
    pub rows: u64,
    /// SHA-256, hex, by the ledger.
    pub sha256: String,
}

impl Build {
    /// Open a folder: its ledger and lock must be of one build, unchanged, and its files as large as written.
    ///
    /// # Errors
    /// The folder is missing or not what `setaccio build` wrote.
    pub fn open(folder: &Path) -> Result<Self> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if !folder.join("ledger.json").exists() {
            if folder.to_str().is_some_and(is_address) {
                return Err(setaccio_dataset::folder::absent(folder).into());
            }
            let there = if folder.exists() { "holds no finished build" } else { "is not there" };
            let recipe = bundle::recipes("pipelines").find(|recipe| *recipe == name).unwrap_or("RECIPE");
            let message = format!("{there}: make it with `setaccio build {recipe} --out {}`", folder.display());
            return Err(Error::damaged(folder, message));
        }
        let damaged = |path: PathBuf, what: &str| {
            let message =
                format!("{what}; `setaccio verify {}` says more, `setaccio build` makes it again", folder.display());
            Err(Error::damaged(path, message))
        };
        let (ledger, found, changed) = folder::read_any(folder).map_err(|error| match error {
            setaccio_base::Error::Damaged { path, message } => {
                let first = message.lines().next().unwrap_or_default();
                let last = message.lines().last().unwrap_or_default();
                let what = if first == last { message.clone() } else { format!("{first} ... {last}") };
                let message = format!("{what}; another version of setaccio made it, or it is damaged: build it again");
                Error::damaged(path, message)
            }
            other => other.into(),
        })?;
        if changed.contains(&LEDGER) {
            return damaged(folder.join(LEDGER), "it is not the ledger that the build wrote");
        }
        let differs = ledger.fingerprint != found.fingerprint || found.digest() != found.fingerprint;
        if differs || !changed.is_empty() {
            return damaged(folder.join(RECIPE_LOCK), "it is not the lock that the build wrote");
        }
        let Some(kind) = ledger.kind else {
            return damaged(folder.join("ledger.json"), "it does not say what the rows are");
        };
        let path = folder.join(RECIPE_LOCK);
        let sha256 = hex_digest(&fs::read(&path).map_err(Error::io("read", &path))?);
        let mut files = Vec::new();
        let data = format!("{DATA}/");
        for entry in ledger.files.iter().filter(|f| f.path.starts_with(&data)) {
            let path = folder.join(&entry.path);
            let bytes = fs::metadata(&path).map_err(Error::io("read", &path))?.len();
            if bytes != entry.bytes {
                return damaged(path, &format!("has {bytes} bytes, the ledger says {}", entry.bytes));
            }
            files.push(Shard { path: entry.path.clone(), rows: entry.rows, sha256: entry.sha256.clone() });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let recipe = ledger.recipe.clone();
        Ok(Self { folder: folder.to_owned(), recipe, kind, sha256, ledger, lock: found, files })
    }

    /// The files of a split, in order.
    pub fn shards(&self, split: Split) -> impl Iterator<Item = &Shard> {
        let prefix = format!("{DATA}/{}-", split.name());
        self.files.iter().filter(move |f| f.path.starts_with(&prefix))
    }

    /// The files of all splits, in order.
    pub fn files(&self) -> &[Shard] {
        &self.files
    }

    /// Rows of a split.
    pub fn rows(&self, split: Split) -> u64 {
        self.shards(split).map(|s| s.rows).sum()
    }

    /// Read a file: check its hash, then give its row groups' sizes and its rows.
    ///
    /// # Errors
    /// It is not the file that the build wrote.
    pub fn read(&self, shard: &Shard, cancelled: &dyn Fn() -> bool) -> Result<(Vec<u64>, Rows)> {
        let path = self.folder.join(&shard.path);
        let file = shard::Shard::open(&path, cancelled)?;
        let groups = file.row_groups();
        if file.sha256 != shard.sha256 || groups.iter().sum::<u64>() != shard.rows {
            let message = "its bytes are not those the build wrote; run the build again";
            return Err(Error::damaged(path, message));
        }
        Ok((groups, Rows(file.rows(self.kind)?)))
    }
}

/// Where a row lies, for a person.
pub fn place(file: &str, at: Position) -> String {
    format!("{file}, {at}")
}

/// The rows of one file.
pub struct Rows(shard::Rows);

impl Iterator for Rows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next()?.map_err(Error::from))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use arrow_array::RecordBatch;
    use arrow_schema::{Field, Schema};
    use setaccio_base::row::Content;
    use setaccio_curate::pipeline::shards::{ShardFormat, ShardWriter};
    use setaccio_dataset::{
        columns::{ContentBuilder, Extras, content_fields},
        seal::seal,
    };

    use super::*;

    /// Write a folder as `setaccio build` would: rows of one kind, `group` of them a row group and `shard` row
    /// groups a file.
    pub(crate) fn build(folder: &Path, kind: Kind, rows: &[Content], group: usize, shard: u64) {
        let data = folder.join("data");
        fs::create_dir_all(&data).unwrap();
        let fields: Vec<Field> = content_fields(kind, &Extras::default());
        let schema = std::sync::Arc::new(Schema::new(fields));
        let format = ShardFormat::new(schema.clone(), 3).unwrap();
        let mut writer = ShardWriter::new(&format, &data, "train", shard);
        for rows in rows.chunks(group) {
            let mut columns = ContentBuilder::new(kind, &Extras::default());
            for row in rows {
                columns.push(Some(row));
            }
            let batch = RecordBatch::try_new(schema.clone(), columns.finish()).unwrap();
            // One byte a row group, so that `shard` counts row groups.
            writer.push(format.encode(&batch, 1).unwrap()).unwrap();
        }
        let files = writer.finish().unwrap();
        let mut lock: RecipeLock = toml::from_str(&format!(
            "engine = 'test'\ncommand = ''\nfrom = 'samples'\nfingerprint = ''\nassets = []\ninput = []\n\
             [recipe]\nname = 'test'\ntitle = ''\nabout = ''\nkind = '{}'\nsource = []\n",
            kind.name()
        ))
        .unwrap();
        lock.fingerprint = lock.digest();
        let mut ledger = Ledger {
            recipe: "test".into(),
            fingerprint: lock.fingerprint.clone(),
            kind: Some(kind),
            files,
            ..Ledger::default()
        };
        let lock = lock.to_toml().unwrap();
        fs::write(folder.join(LEDGER), seal(&mut ledger, &lock).unwrap()).unwrap();
        fs::write(folder.join(RECIPE_LOCK), lock).unwrap();
    }

    fn texts(n: usize) -> Vec<Content> {
        (0..n).map(|i| Content::Text(format!("testo {i}"))).collect()
    }

    #[test]
    fn rows_come_in_order_with_their_places() {
        let dir = tempfile::tempdir().unwrap();
        build(dir.path(), Kind::Text, &texts(11), 3, 2);
        let build = Build::open(dir.path()).unwrap();
        let shards: Vec<Shard> = build.shards(Split::Train).cloned().collect();
        assert_eq!((shards.len(), build.rows(Split::Train), build.rows(Split::Validation)), (2, 11, 0));
        let (mut all, mut sizes) = (Vec::new(), Vec::new());
        for shard in &shards {
            let (groups, rows) = build.read(shard, &|| false).unwrap();
            sizes.push(groups);
            all.extend(rows.map(|r| r.unwrap()).map(|r| (r.at.to_string(), r.content)));
        }
        assert_eq!(sizes, [vec![3, 3], vec![3, 2]]);
        assert_eq!(all.iter().map(|r| r.1.clone()).collect::<Vec<_>>(), texts(11));
        assert_eq!(all[10].0, "row group 1, row 4 (from 0)");
    }

    #[test]
    fn a_folder_that_is_not_as_built_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("sft-mix");
        let error = |folder: &Path| Build::open(folder).unwrap_err().to_string();
        assert!(
            error(&folder).contains("is not there: make it with `setaccio build RECIPE --out"),
            "{}",
            error(&folder)
        );
        fs::create_dir(&folder).unwrap();
        assert!(error(&folder).contains("holds no finished build"));
        build(&folder, Kind::Text, &texts(5), 5, 1);
        let shard = Build::open(&folder).unwrap().shards(Split::Train).next().unwrap().clone();
        let path = folder.join(&shard.path);
        let mut bytes = fs::read(&path).unwrap();
        // Another byte of the same length: only reading finds it.
        bytes[9] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let found = Build::open(&folder).unwrap().read(&shard, &|| false).err().unwrap().to_string();
        assert!(found.contains("not those the build wrote"), "{found}");
        bytes.pop();
        fs::write(&path, &bytes).unwrap();
        assert!(error(&folder).contains("bytes, the ledger says"), "{}", error(&folder));
        let lock = folder.join(RECIPE_LOCK);
        let text = fs::read_to_string(&lock).unwrap();
        fs::write(&lock, text.replace("engine", "# engine")).unwrap();
        let old = error(&folder);
        assert!(
            old.contains("missing field `engine`; another version of setaccio made it") && !old.contains('\n'),
            "{old}"
        );
        fs::write(&lock, text.replace("'test'", "'other'").replace("\"test\"", "\"other\"")).unwrap();
        assert!(error(&folder).contains("not the lock that the build wrote"), "{}", error(&folder));
    }
}
