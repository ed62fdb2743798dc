//! Which files a source has: names, globs or folders, sorted by name.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::SourceError;

/// Extensions that a folder is searched for.
const KNOWN: [&str; 9] =
    [".parquet", ".json", ".jsonl", ".json.gz", ".jsonl.gz", ".json.zst", ".jsonl.zst", ".ndjson", ".ndjson.gz"];

/// Files below `root` that match any of `patterns` (globs, or names of folders, searched whole), sorted.
///
/// # Errors
/// A pattern that is no glob, a folder that cannot be read.
pub fn find(root: &Path, patterns: &[String]) -> Result<Vec<PathBuf>, SourceError> {
    let mut found = Vec::new();
    // As shells have it: `*` takes no hidden file.
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    for pattern in patterns {
        let shown = root.join(pattern);
        if shown.is_dir() {
            folder(&shown, &mut found)?;
            continue;
        }
        let escaped = PathBuf::from(glob::Pattern::escape(&root.to_string_lossy())).join(pattern);
        let bad = |e: String| SourceError::new(pattern, e);
        let matches =
            glob::glob_with(&escaped.to_string_lossy(), options).map_err(|e| bad(format!("is no glob: {e}")))?;
        for path in matches {
            let path = path.map_err(|e| bad(e.to_string()))?;
            if path.is_dir() { folder(&path, &mut found)? } else { found.push(path) }
        }
    }
    found.sort();
    // One file by two names, through links or patterns, is one file.
    let mut seen = HashSet::new();
    found.retain(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    Ok(found)
}

fn folder(path: &Path, found: &mut Vec<PathBuf>) -> Result<(), SourceError> {
    let unreadable = |e: std::io::Error| SourceError::new(&path.to_string_lossy(), format!("cannot be read: {e}"));
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            folder(&path, found)?;
        } else if !name.starts_with('.') && KNOWN.iter().any(|k| name.ends_with(k)) {
            found.push(path);
        }
    }
    Ok(())
}
