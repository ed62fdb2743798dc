//! Which files a source has: names, globs or folders, sorted by name.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use setaccio_base::lock_file::HIDDEN;

use super::compress::ending;
use crate::error::SourceError;

/// What the names end in that a folder is searched for.
const TABLES: [&str; 9] = ["parquet", "arrow", "feather", "json", "jsonl", "ndjson", "csv", "tsv", "tab"];

/// What they end in where it holds none of these: beside tables such files explain them.
const TEXTS: [&str; 2] = ["txt", "md"];

/// Whether a file is found in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Table,
    Text,
}

/// What a folder's file is, if it is found there.
fn known(name: &str) -> Option<Found> {
    let ending = ending(name)?;
    if TABLES.contains(&ending.as_str()) {
        Some(Found::Table)
    } else {
        TEXTS.contains(&ending.as_str()).then_some(Found::Text)
    }
}

/// Of what folders hold the tables, or the texts if there is no table.
fn tables_or_texts<T>(found: Vec<(T, Found)>) -> impl Iterator<Item = T> {
    let kind = if found.iter().any(|(_, kind)| *kind == Found::Table) { Found::Table } else { Found::Text };
    found.into_iter().filter(move |(_, of)| *of == kind).map(|(file, _)| file)
}

/// Files below `root` that match any of `patterns` (globs, or names of folders, searched whole), sorted.
///
/// # Errors
/// A pattern that is no glob, a folder that cannot be read.
pub fn find(root: &Path, patterns: &[String]) -> Result<Vec<PathBuf>, SourceError> {
    let (mut found, mut inside) = (Vec::new(), Vec::new());
    // As shells have it: `*` takes no hidden file.
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    for pattern in patterns {
        let shown = root.join(pattern);
        if shown.is_dir() {
            folder(&shown, &mut inside)?;
            continue;
        }
        let escaped = PathBuf::from(glob::Pattern::escape(&root.to_string_lossy())).join(pattern);
        let bad = |e: String| SourceError::new(pattern, e);
        let matches =
            glob::glob_with(&escaped.to_string_lossy(), options).map_err(|e| bad(format!("is no glob: {e}")))?;
        for path in matches {
            let path = path.map_err(|e| bad(e.to_string()))?;
            if path.is_dir() { folder(&path, &mut inside)? } else { found.push(path) }
        }
    }
    found.extend(tables_or_texts(inside));
    // A pipe or a device would be waited for without end.
    if let Some(path) = found.iter().find(|path| std::fs::metadata(path).is_ok_and(|m| !m.is_file())) {
        return Err(SourceError::new(&path.to_string_lossy(), "is no regular file: write its rows to one".to_owned()));
    }
    found.sort();
    // One file by two names, through links or patterns, is one file.
    let mut seen = HashSet::new();
    found.retain(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    Ok(found)
}

/// Which of a repository's `paths` match any of `patterns`, by the same rules as [`find`]; sorted.
///
/// # Errors
/// A pattern that is no glob.
pub fn select<'a>(paths: &[&'a str], patterns: &[String]) -> Result<Vec<&'a str>, SourceError> {
    let options = glob::MatchOptions {
        require_literal_leading_dot: true,
        require_literal_separator: true,
        ..glob::MatchOptions::new()
    };
    let (mut found, mut inside) = (std::collections::BTreeSet::new(), Vec::new());
    for pattern in patterns {
        let glob = glob::Pattern::new(pattern).map_err(|e| SourceError::new(pattern, format!("is no glob: {e}")))?;
        // What ends in `**` names folders, as `glob` has it.
        let names_files = !pattern.ends_with("**");
        let fits = |path: &str| path == pattern || glob.matches_with(path, options);
        for path in paths {
            // A folder that fits is searched whole, but for what is hidden in it.
            let mut folders = path.match_indices('/').map(|(slash, _)| path.split_at(slash));
            let searched = |(folder, below): (&str, &str)| fits(folder) && !below.contains("/.");
            if names_files && fits(path) {
                found.insert(*path);
            } else if folders.any(searched)
                && let Some(kind) = known(path)
            {
                inside.push((*path, kind));
            }
        }
    }
    found.extend(tables_or_texts(inside));
    Ok(found.into_iter().collect())
}

/// Files of a folder and of those in it. What is hidden is left out, and so are folders that a build wrote: rows that one
/// recipe has made are no rows of the next one unless it names them.
fn folder(path: &Path, found: &mut Vec<(PathBuf, Found)>) -> Result<(), SourceError> {
    let unreadable = |e: std::io::Error| SourceError::new(&path.to_string_lossy(), format!("cannot be read: {e}"));
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            if !path.join(HIDDEN).is_dir() {
                folder(&path, found)?;
            }
        } else if let Some(kind) = known(&name) {
            found.push((path, kind));
        }
    }
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
            vec!["data/*", "texts/*"],
        ] {
            let patterns: Vec<String> = patterns.into_iter().map(str::to_owned).collect();
            let selected = select(&paths, &patterns).unwrap_or_else(|e| panic!("{e}"));
            let found = find(dir.path(), &patterns).unwrap_or_else(|e| panic!("{e}"));
            let found: Vec<String> =
                found.iter().map(|p| p.strip_prefix(dir.path()).unwrap_or(p).to_string_lossy().into_owned()).collect();
            assert_eq!(selected, found, "{patterns:?}");
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
            assert_eq!(select(&paths, &[pattern.to_owned()]).ok().as_deref(), Some(expected), "{pattern}");
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
        let find = |pattern: &str| find(dir.path(), &[pattern.to_owned()]).map(|found| found.len());
        assert_eq!(find(".").ok(), Some(1));
        assert_eq!(find("data/out/mine").ok(), Some(2), "unless it is named");
        assert!(find("/dev/null").is_err_and(|e| e.to_string().contains("no regular file")));
    }
}
