//! Which files a source has: names, globs or folders, sorted by name.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

use setaccio_base::{
    hidden::HIDDEN,
    search::{Fault, OPTIONS, Search, is_of_the_system},
};

use super::compress::ending;
use crate::error::SourceError;

/// What the names end in that a folder is searched for.
const TABLES: [&str; 9] = ["parquet", "arrow", "feather", "json", "jsonl", "ndjson", "csv", "tsv", "tab"];

/// What they end in where it holds none of these: beside tables such files explain them.
const TEXTS: [&str; 2] = ["txt", "md"];

/// What tells of a data set beside its rows: `datasets` writes these and leaves them out when it looks for rows.
const ABOUT: [&str; 5] = ["config.json", "dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json"];

/// What a file of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Table,
    Text,
    Other,
}

/// What a folder's file is, by its name.
fn kind(name: &str) -> Kind {
    match ending(name) {
        _ if ABOUT.contains(&name) => Kind::Other,
        Some(ending) if TABLES.contains(&ending.as_str()) => Kind::Table,
        Some(ending) if TEXTS.contains(&ending.as_str()) => Kind::Text,
        _ => Kind::Other,
    }
}

/// Whether a file is one of rows by its name.
pub fn is_of_rows(name: &str) -> bool {
    kind(name) != Kind::Other
}

/// Of what folders hold the tables, or the texts if there is no table; then the rest.
fn tables_or_texts<T>(found: Vec<(T, Kind)>) -> (Vec<T>, Vec<T>) {
    let wanted = if found.iter().any(|(_, kind)| *kind == Kind::Table) { Kind::Table } else { Kind::Text };
    let (read, rest): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, kind)| *kind == wanted);
    let files = |of: Vec<(T, Kind)>| of.into_iter().map(|(file, _)| file).collect();
    (files(read), files(rest))
}

/// What is said of the file `name`, which cannot be read, where most bytes of `files`, each with its size, are of files
/// that end otherwise: it may be here by chance.
pub fn stray(files: &[(&str, u64)], name: &str) -> Option<String> {
    let mut bytes: BTreeMap<String, u64> = BTreeMap::new();
    for (file, size) in files {
        *bytes.entry(ending(file)?).or_default() += size;
    }
    let (most, _) = bytes.into_iter().max_by_key(|(_, bytes)| *bytes)?;
    (ending(name)? != most).then(|| {
        format!(
            "; if {} holds no rows of this set, name those that do, for instance `FOLDER/**/*.{most}`",
            name.rsplit('/').next().unwrap_or(name)
        )
    })
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The files to read.
    pub files: Vec<PathBuf>,
    /// What folders that are searched whole hold beside these, but for what is hidden.
    pub left_out: Vec<PathBuf>,
}

/// Files below `root` that match any of `patterns` (globs, or names of folders, searched whole), sorted. With whatever it
/// has it ends early when `cancelled` says so.
///
/// # Errors
/// A pattern that is no glob, a folder that cannot be read, a search that finds no end.
pub fn find(root: &Path, patterns: &[String], cancelled: &dyn Fn() -> bool) -> Result<Found, SourceError> {
    let (mut found, mut inside) = (Vec::new(), Vec::new());
    let mut search = Search::new(cancelled);
    for pattern in patterns {
        let bad = |e: Fault| SourceError::new(pattern, e.to_string());
        let shown = root.join(pattern);
        let named = if shown.is_dir() { vec![shown] } else { search.glob(root, pattern).map_err(bad)? };
        for path in named {
            if path.is_dir() { folder(&mut search, &path, &mut inside).map_err(bad)? } else { found.push(path) }
        }
    }
    let (read, mut left_out) = tables_or_texts(inside);
    found.extend(read);
    for path in &found {
        let refused = |what: &str| Err(SourceError::new(&path.to_string_lossy(), what));
        // A pipe or a device would be waited for without end.
        if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) {
            return refused("is no regular file: write its rows to one");
        }
        if path.canonicalize().is_ok_and(|real| is_of_the_system(&real)) {
            return refused("is no file of data, but one in which the system shows itself");
        }
    }
    found.sort();
    left_out.sort();
    // One file by two names, through links or patterns, is one file.
    let mut seen = HashSet::new();
    for paths in [&mut found, &mut left_out] {
        paths.retain(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    }
    Ok(Found { files: found, left_out })
}

/// Which of a repository's `paths` match any of `patterns`, and what folders that match hold beside these, by the same rules
/// as [`find`]; sorted.
///
/// # Errors
/// A pattern that is no glob.
pub fn select<'a>(paths: &[&'a str], patterns: &[String]) -> Result<(Vec<&'a str>, Vec<&'a str>), SourceError> {
    let (mut found, mut inside) = (std::collections::BTreeSet::new(), Vec::new());
    for pattern in patterns {
        let glob = glob::Pattern::new(pattern).map_err(|e| SourceError::new(pattern, format!("is no glob: {e}")))?;
        // What ends in `**` names folders, as `glob` has it.
        let names_files = !pattern.ends_with("**");
        let fits = |path: &str| path == pattern || glob.matches_with(path, OPTIONS);
        for path in paths {
            // A folder that fits is searched whole, but for what is hidden in it.
            let mut folders = path.match_indices('/').map(|(slash, _)| path.split_at(slash));
            let searched = |(folder, below): (&str, &str)| fits(folder) && !below.contains("/.");
            if names_files && fits(path) {
                found.insert(*path);
            } else if folders.any(searched) {
                inside.push((*path, kind(path.rsplit('/').next().unwrap_or(path))));
            }
        }
    }
    let (read, mut left_out) = tables_or_texts(inside);
    found.extend(read);
    left_out.sort_unstable();
    left_out.dedup();
    left_out.retain(|path| !found.contains(path));
    Ok((found.into_iter().collect(), left_out))
}

/// Files of a folder and of those in it. Folders that a build wrote are left out: rows that one recipe has made are no rows
/// of the next one unless it names them.
fn folder(search: &mut Search<'_>, path: &Path, found: &mut Vec<(PathBuf, Kind)>) -> Result<(), Fault> {
    let below = search.below(path, &|folder| !folder.join(HIDDEN).is_dir())?;
    found.extend(below.into_iter().map(|path| {
        let kind = kind(&path.file_name().unwrap_or_default().to_string_lossy());
        (path, kind)
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_searched_as_a_folder_is() {
        let paths = [
            "README.md",
            ".hidden.json",
            "a.json",
            "b.jsonl",
            "data/one.parquet",
            "data/.two.parquet",
            "data/deep/x.json",
            "data/.kept/y.json",
            "data/note.txt",
            "data/table.CSV.bz2",
            "texts/a.txt",
            "texts/deep/b.md.xz",
            "texts/c.pdf",
            "multi/c4-it.00001.json.gz",
            "saved/dataset_info.json",
            "saved/dataset_infos.json",
            "saved/state.json",
            "saved/train/data-00000.arrow",
        ];
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        for path in paths {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(dir.path())).unwrap_or_else(|e| panic!("{e}"));
            std::fs::write(path, "x").unwrap_or_else(|e| panic!("{e}"));
        }
        for patterns in [
            vec!["*.json"],
            vec!["data"],
            vec!["da*"],
            vec!["**/*.json"],
            vec!["data/*"],
            vec!["multi/c4-it.*.json.gz"],
            vec!["*.parquet", "b.jsonl"],
            vec!["*"],
            vec!["none"],
            vec!["**/*"],
            vec!["data/**"],
            vec!["texts"],
            vec!["texts", "data"],
            vec!["saved"],
            vec!["saved/state.json"],
            vec!["data", "data/note.txt"],
            vec!["data/*", "texts/*"],
        ] {
            let patterns: Vec<String> = patterns.into_iter().map(str::to_owned).collect();
            let selected = select(&paths, &patterns).unwrap_or_else(|e| panic!("{e}"));
            let found = find(dir.path(), &patterns, &|| false).unwrap_or_else(|e| panic!("{e}"));
            let names = |paths: Vec<PathBuf>| -> Vec<String> {
                let below = |p: PathBuf| p.strip_prefix(dir.path()).unwrap_or(&p).to_string_lossy().into_owned();
                paths.into_iter().map(below).collect()
            };
            let (files, left_out) = selected;
            assert_eq!(files, names(found.files), "{patterns:?}");
            assert_eq!(left_out, names(found.left_out), "{patterns:?}");
        }
    }

    #[test]
    fn a_folder_of_texts_is_read_and_notes_beside_tables_are_not() {
        let paths = ["data/README.md", "data/a.jsonl", "texts/a.txt", "texts/b.md", "texts/c.pdf"];
        for (pattern, expected) in [
            ("data", &["data/a.jsonl"][..]),
            ("texts", &["texts/a.txt", "texts/b.md"]),
            ("data/*", &["data/README.md", "data/a.jsonl"]),
        ] {
            let selected = select(&paths, &[pattern.to_owned()]).map(|(files, _)| files);
            assert_eq!(selected.ok().as_deref(), Some(expected), "{pattern}");
        }
    }

    #[test]
    fn what_a_folder_holds_beside_what_is_read_is_told() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        for path in
            ["notes.txt", "rows/a.csv", "rows/b.txt", "rows/deep/c.pdf", "rows/page.html", "rows/.hidden", "x.md"]
        {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(dir.path())).unwrap_or_else(|e| panic!("{e}"));
            std::fs::write(path, "x").unwrap_or_else(|e| panic!("{e}"));
        }
        for (patterns, left_out) in [
            (&["rows"][..], &["rows/b.txt", "rows/deep/c.pdf", "rows/page.html"][..]),
            (&["."], &["notes.txt", "rows/b.txt", "rows/deep/c.pdf", "rows/page.html", "x.md"]),
            // What is named is read, and a glob leaves out what it does not name.
            (&["rows", "rows/b.txt"], &["rows/deep/c.pdf", "rows/page.html"]),
            (&["rows/*.csv"], &[]),
            (&["rows/*"], &["rows/deep/c.pdf"]),
        ] {
            let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
            let found = find(dir.path(), &patterns, &|| false).unwrap_or_else(|e| panic!("{e}"));
            let names: Vec<String> = found
                .left_out
                .iter()
                .map(|p| p.strip_prefix(dir.path()).unwrap_or(p).to_string_lossy().replace("./", ""))
                .collect();
            assert_eq!(names, left_out, "{patterns:?}");
        }
    }

    #[test]
    fn what_a_build_wrote_is_no_input_of_the_folder_above_it() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        for path in ["rows.jsonl", "data/out/mine/data/train.parquet", "data/out/mine/ledger.json"] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(dir.path())).unwrap_or_else(|e| panic!("{e}"));
            std::fs::write(path, "x").unwrap_or_else(|e| panic!("{e}"));
        }
        std::fs::create_dir(dir.path().join("data/out/mine").join(HIDDEN)).unwrap_or_else(|e| panic!("{e}"));
        let find = |pattern: &str| find(dir.path(), &[pattern.to_owned()], &|| false).map(|found| found.files.len());
        assert_eq!(find(".").ok(), Some(1));
        assert_eq!(find("data/out/mine").ok(), Some(2), "unless it is named");
        assert!(find("/dev/null").is_err_and(|e| e.to_string().contains("no regular file")));
    }
}
