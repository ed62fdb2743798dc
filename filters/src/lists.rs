//! Word lists: text files, found by name and known by SHA-256, so that no run uses another list than
//! the one its recipe means.

use std::{
    fs,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::{
    atomic,
    bundle::{self, Place},
    filter_report::ListUse,
    sha256::hex_digest,
};

use crate::{context::Context, rule::RuleError};

/// A list as recipes name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListRef {
    /// The file is `<name>.txt`.
    pub name: String,
    /// SHA-256 of the file, hex.
    pub sha256: String,
}

/// Load a list: one entry a line; blank lines and lines that begin with `#` say nothing.
///
/// # Errors
/// The list is not there, is not the one meant, is not UTF-8, or has no entries.
pub fn load(list: &ListRef, context: &Context) -> Result<Vec<String>, RuleError> {
    let file = format!("{}.txt", list.name);
    let on_disk = context.list_dirs.iter().map(|d| d.join(&file)).find(|p| p.is_file()).map(Place::disk);
    let Some(place) = on_disk.or_else(|| bundle::get(&format!("filters/lists/{file}"))) else {
        let looked: Vec<String> = context.list_dirs.iter().map(|d| d.display().to_string()).collect();
        let message = format!(
            "the word list `{}` is not there; looked for {file} in {}; `setaccio lists install PATH` puts lists in place",
            list.name,
            looked.join(", ")
        );
        return Err(RuleError::List(message));
    };
    let path = place.path();
    let bytes = place.read().map_err(|e| RuleError::List(format!("{}: {e}", path.display())))?.into_owned();
    let found = hex_digest(&bytes);
    if found != list.sha256.to_ascii_lowercase() {
        let message = format!(
            "the word list {} is not the one meant: its SHA-256 is {found}, the recipe names {}; \
             install the right one, or put this hash in the recipe if this is the list you mean",
            path.display(),
            list.sha256
        );
        return Err(RuleError::List(message));
    }
    let text = String::from_utf8(bytes)
        .map_err(|e| RuleError::List(format!("{}: not UTF-8: {e}; save it as UTF-8", path.display())))?;
    let entries = entries(&text);
    if entries.is_empty() {
        return Err(RuleError::List(format!("{} has no entries; take it out of the recipe", path.display())));
    }
    if let Ok(mut used) = context.used.lock() {
        used.push(ListUse { name: list.name.clone(), sha256: found, entries: entries.len() });
    }
    Ok(entries)
}

/// The entries of a list's text, in order, each once.
fn entries(text: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines();
    for entry in lines.map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if seen.insert(entry) {
            entries.push(entry.to_owned());
        }
    }
    entries
}

/// A list that [`install`] put in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// What recipes name.
    pub list: ListRef,
    /// Where it is.
    pub path: PathBuf,
    /// Entries in it.
    pub entries: usize,
}

/// Install LDNOOBW lists as `ldnoobw-<language>.txt` into `to`. `from` is a folder with files `it`, `en`
/// (the LDNOOBW repository) or `it.json`, `en.json` (the npm package naughty-words), or one such file.
/// Entries are sorted, so that both give the same file.
///
/// # Errors
/// Nothing of the sort is there, or a file cannot be read or written.
pub fn install(from: &Path, to: &Path) -> Result<Vec<Installation>, RuleError> {
    let failed = |path: &Path, e: &dyn std::fmt::Display| RuleError::List(format!("{}: {e}", path.display()));
    let mut found = Vec::new();
    if from.is_dir() {
        for entry in fs::read_dir(from).map_err(|e| failed(from, &e))? {
            let path = entry.map_err(|e| failed(from, &e))?.path();
            if language(&path).is_some() {
                found.push(path);
            }
        }
        found.sort();
    } else if language(from).is_some() {
        found.push(from.to_owned());
    }
    if found.is_empty() {
        let message = "holds no word list; give the folder of LDNOOBW (files `it`, `en`, ...) or of the \
                       unpacked npm package naughty-words (it.json, en.json, ...)";
        return Err(failed(from, &message));
    }
    fs::create_dir_all(to).map_err(|e| failed(to, &e))?;
    atomic::sweep(to).map_err(|e| RuleError::List(e.to_string()))?;
    let mut installed = Vec::new();
    for path in found {
        let text = fs::read_to_string(&path).map_err(|e| failed(&path, &e))?;
        let mut words = if path.extension().is_some_and(|e| e == "json") {
            let words: Vec<String> =
                serde_json::from_str(&text).map_err(|e| failed(&path, &format!("no JSON array of words: {e}")))?;
            entries(&words.join("\n"))
        } else {
            entries(&text)
        };
        words.sort();
        if words.is_empty() {
            return Err(failed(&path, &"has no entries"));
        }
        let name = format!("ldnoobw-{}", language(&path).unwrap_or_default());
        let content = format!("# LDNOOBW, CC-BY-4.0\n{}\n", words.join("\n"));
        let place = to.join(format!("{name}.txt"));
        atomic::write(&place, content.as_bytes()).map_err(|e| RuleError::List(e.to_string()))?;
        let list = ListRef { name, sha256: hex_digest(content.as_bytes()) };
        installed.push(Installation { list, path: place, entries: words.len() });
    }
    Ok(installed)
}

/// `it` of `it` or `it.json`: two or three letters, and nothing else in the name.
fn language(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let language = name.strip_suffix(".json").unwrap_or(name);
    let fits = (2..=3).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_lowercase());
    (fits && path.is_file()).then(|| language.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A list of this text in a folder of its own.
    pub(crate) fn list(text: &str) -> (tempfile::TempDir, ListRef) {
        (folder(&[("mine.txt", text)]), ListRef { name: "mine".into(), sha256: hex_digest(text.as_bytes()) })
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap_or_else(|e| panic!("{e}"));
        }
        dir
    }

    fn loaded(text: &str, named: Option<&str>) -> Result<(Vec<String>, Vec<ListUse>), RuleError> {
        let dir = folder(&[("mine.txt", text)]);
        let context = Context { list_dirs: vec![dir.path().to_owned()], ..Context::default() };
        let list =
            ListRef { name: "mine".into(), sha256: named.map_or_else(|| hex_digest(text.as_bytes()), str::to_owned) };
        let entries = load(&list, &context)?;
        Ok((entries, context.used.into_inner().unwrap_or_default()))
    }

    #[test]
    fn a_list_is_read_and_noted() {
        let (entries, used) = loaded("# testa\nuno\n\n due tre \nuno\n", None).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(entries, ["uno", "due tre"]);
        assert_eq!((used.len(), used[0].entries), (1, 2));
    }

    #[test]
    fn a_wrong_missing_or_empty_list_is_refused() {
        let wrong = loaded("uno\n", Some("00")).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(wrong.contains("the recipe names 00") && wrong.contains("put this hash"), "{wrong}");
        assert!(loaded("# niente\n", None).is_err_and(|e| e.to_string().contains("no entries")));
        let missing = load(&ListRef { name: "x".into(), sha256: String::new() }, &Context::default());
        assert!(missing.is_err_and(|e| e.to_string().contains("setaccio lists install")));
    }

    #[test]
    fn both_origins_install_the_same_list() {
        let plain = folder(&[("it", "due\nuno\n"), ("LICENSE", "x"), ("README.md", "y")]);
        let json = folder(&[("it.json", r#"["uno", "due"]"#)]);
        let [one, two] = [plain.path(), json.path()].map(|from| {
            let to = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
            install(from, to.path()).unwrap_or_else(|e| panic!("{e}")).remove(0)
        });
        assert_eq!(one.list, two.list);
        assert_eq!((one.list.name.as_str(), one.entries), ("ldnoobw-it", 2));
        assert!(install(folder(&[]).path(), plain.path()).is_err_and(|e| e.to_string().contains("no word list")));
    }
}
