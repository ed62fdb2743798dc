//! Files of a recipe's own: what `path` of a source names, and what errors, lock and card call each of them.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use setaccio_base::{
    bundle::Place,
    objects::{Object, is_address},
    suggest,
};

use super::{globs, stored_files};
use crate::{
    error::SourceError,
    recipe::paths::{anchor, expanded, is_absolute},
};

/// A file of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFile {
    /// Where it is.
    pub place: Place,
    /// Its name for others: relative to the recipe's folder, or else without the folders of this machine.
    pub name: String,
}

/// What was found.
#[derive(Debug, Default)]
pub struct OwnFiles {
    /// The files to read, in the order of their names.
    pub files: Vec<OwnFile>,
    /// What folders that are named hold beside these.
    pub left_out: Vec<OwnFile>,
}

/// The files that `paths` name, from the recipe's folder `root`; each once.
///
/// # Errors
/// One of `paths` names nothing, or a folder cannot be read.
pub fn find(root: &Path, paths: &[String], cancelled: &dyn Fn() -> bool) -> Result<OwnFiles, SourceError> {
    let (mut found, mut left_out): (Vec<(PathBuf, Name)>, Vec<_>) = (Vec::new(), Vec::new());
    let mut stored: BTreeMap<PathBuf, Arc<Object>> = BTreeMap::new();
    for path in paths {
        if is_address(path) {
            let here = stored_files::find(path)?;
            let kept = |file: &Path| parts(file).len() - parts(anchor(Path::new(path))).len();
            let mut named = |objects: Vec<Arc<Object>>| {
                let mut files = Vec::new();
                for object in objects {
                    let file = PathBuf::from(&object.address);
                    files.push((file.clone(), Name::Last(kept(&file))));
                    stored.insert(file, object);
                }
                files
            };
            found.extend(named(here.files));
            left_out.extend(named(here.left_out));
            continue;
        }
        let full = if is_absolute(path) { expanded(path) } else { path.clone() };
        // What is there by this very name is no glob.
        let full = if root.join(&full).is_file() { glob::Pattern::escape(&full) } else { full };
        let here = globs::find(root, std::slice::from_ref(&full), cancelled)?;
        if here.files.is_empty() && !cancelled() {
            return Err(nothing(root, path, &full));
        }
        let named = |file: PathBuf| {
            let without = |folder: &Path| parts(&file).len() - parts(folder).len();
            let name = if is_absolute(path) {
                Name::Last(without(anchor(Path::new(&full))))
            } else {
                Name::Relative(without(root))
            };
            (file, name)
        };
        found.extend(here.files.into_iter().map(named));
        left_out.extend(here.left_out.into_iter().map(named));
    }
    // One file by two names, through links or patterns, is one file.
    let mut seen = HashSet::new();
    let [files, left_out] = [found, left_out].map(|found| {
        let mut named = names(found);
        named.sort_by(|a, b| Path::new(&a.1).cmp(Path::new(&b.1)));
        named.retain(|(path, _)| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
        let place = |path: PathBuf| stored.get(&path).map_or_else(|| Place::disk(&path), stored_files::place);
        named.into_iter().map(|(path, name)| OwnFile { place: place(path), name }).collect()
    });
    Ok(OwnFiles { files, left_out })
}

/// How many of a path's last parts are its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    /// Those below the recipe's folder.
    Relative(usize),
    /// At least so many: the folders of this machine do not count.
    Last(usize),
}

/// Name each path. Where two are called the same, an absolute one is called by one part more.
fn names(mut found: Vec<(PathBuf, Name)>) -> Vec<(PathBuf, String)> {
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    loop {
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (i, (path, name)) in found.iter().enumerate() {
            by_name.entry(last_parts(path, *name)).or_default().push(i);
        }
        let mut longer = false;
        for i in by_name.values().filter(|same| same.len() > 1).flatten() {
            let (path, name) = &mut found[*i];
            if let Name::Last(kept) = name
                && *kept < parts(path).len()
            {
                (*kept, longer) = (*kept + 1, true);
            }
        }
        if !longer {
            let named = |(path, kept): (PathBuf, Name)| {
                let name = last_parts(&path, kept);
                (path, name)
            };
            return found.into_iter().map(named).collect();
        }
    }
}

fn last_parts(path: &Path, name: Name) -> String {
    let (Name::Relative(kept) | Name::Last(kept)) = name;
    let parts = parts(path);
    parts[parts.len().saturating_sub(kept)..].join("/")
}

fn parts(path: &Path) -> Vec<String> {
    let parts = path.components().filter(|c| *c != Component::CurDir);
    parts.map(|c| c.as_os_str().to_string_lossy().into_owned()).collect()
}

/// What is said where a path leads to no file.
fn nothing(root: &Path, path: &str, full: &str) -> SourceError {
    let place = root.join(full);
    if place.is_dir() {
        return SourceError::new(
            path,
            "is a folder without any file that can be read: name the files, for instance `*.txt`",
        );
    }
    if let Ok(target) = place.read_link() {
        return SourceError::new(path, format!("is a link to {}, which names no file", target.display()));
    }
    let beside = anchor(&place).read_dir().into_iter().flatten().flatten();
    let beside: Vec<String> = beside.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let near = suggest::nearest(&name, beside.iter().map(String::as_str));
    let shown = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let shown = shown.display();
    SourceError::new(
        path,
        format!("names no file{near}; a path is absolute, or relative to the recipe's folder, {shown}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(root: &Path, paths: &[String]) -> Vec<String> {
        let found = find(root, paths, &|| false).unwrap_or_else(|e| panic!("{e}"));
        found.files.into_iter().map(|file| file.name).collect()
    }

    #[test]
    fn names_are_the_recipe_s_or_tell_nothing_of_the_machine() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        for file in ["recipe/a.jsonl", "recipe/rows/b.jsonl", "2023/part.jsonl", "2024/part.jsonl", "2024/x/c.jsonl"] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap_or(dir.path())).unwrap_or_else(|e| panic!("{e}"));
            std::fs::write(path, "{}").unwrap_or_else(|e| panic!("{e}"));
        }
        let root = dir.path().join("recipe");
        let at = |path: &str| dir.path().join(path).display().to_string();
        for (paths, names) in [
            (vec!["a.jsonl".to_owned()], vec!["a.jsonl"]),
            (vec![".".into()], vec!["a.jsonl", "rows/b.jsonl"]),
            (vec!["rows".into(), "./a.jsonl".into(), "*.jsonl".into()], vec!["a.jsonl", "rows/b.jsonl"]),
            (vec!["../2023/part.jsonl".into()], vec!["../2023/part.jsonl"]),
            (vec![at("2023/part.jsonl")], vec!["part.jsonl"]),
            (vec![at("2024")], vec!["2024/part.jsonl", "2024/x/c.jsonl"]),
            (vec![at("*/part.jsonl")], vec!["2023/part.jsonl", "2024/part.jsonl"]),
            // Two files that would be called the same are called by their folders, too.
            (vec![at("2023/part.jsonl"), at("2024/part.jsonl")], vec!["2023/part.jsonl", "2024/part.jsonl"]),
            // One file by two names is one.
            (vec![at("recipe/a.jsonl"), "a.jsonl".into()], vec!["a.jsonl"]),
        ] {
            assert_eq!(names_of(&root, &paths), names, "{paths:?}");
        }
        let missing = find(&root, &["b.jsonl".into(), "a.jsonl".into()], &|| false)
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        assert!(missing.contains("b.jsonl: names no file (did you mean `a.jsonl`?)"), "{missing}");
        std::os::unix::fs::symlink("gone.jsonl", root.join("link.jsonl")).unwrap_or_else(|e| panic!("{e}"));
        let dangling = find(&root, &["link.jsonl".into()], &|| false).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(dangling.contains("link.jsonl: is a link to gone.jsonl, which names no file"), "{dangling}");
    }
}
