//! Files that a glob or a folder names, found by a search that ends: a folder is gone into once, by whatever names and
//! links it is reached, and what is looked at is bounded. Hidden folders are not searched, and neither are those in which
//! the system shows itself.

use std::{
    collections::HashSet,
    fs, io,
    path::{Component, Path, PathBuf},
};

use glob::{MatchOptions, Pattern};

/// Folders that hold no data, and in which a search may not end.
const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Files and folders that are looked at, at most.
const MOST: u64 = 500_000;

/// Why a search finds nothing.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The pattern is none.
    #[error("is no glob: {0}")]
    NoGlob(glob::PatternError),
    /// A folder cannot be read.
    #[error("{} cannot be read: {error}{}", path.display(), crate::error::hint("read", error))]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// There is too much to look at.
    #[error("more than {MOST} files and folders would have to be looked at: name a folder further in")]
    TooMany,
}

/// A result of a search.
pub type Result<T> = std::result::Result<T, Fault>;

/// One search, or several that are bounded together.
pub struct Search<'a> {
    cancelled: &'a dyn Fn() -> bool,
    looked: u64,
}

/// A part of a pattern between two `/`.
enum Part {
    Name(String),
    Glob(Pattern),
    /// `**`, any folders or none.
    Folders,
}

/// As shells have it: `*` takes no hidden file.
pub const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Whether a path without links lies in a folder in which the system shows itself: its files are no data, and may have no
/// end.
pub fn is_of_the_system(real: &Path) -> bool {
    SYSTEM.iter().any(|folder| real.starts_with(folder))
}

/// Whether a name or a glob leads out of the folder that it is looked up in.
pub fn leads_out(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    parts.any(|part| matches!(part, Component::ParentDir | Component::RootDir | Component::Prefix(_)))
}

impl<'a> Search<'a> {
    /// One that ends early, with whatever it has, when `cancelled` says so.
    pub fn new(cancelled: &'a dyn Fn() -> bool) -> Self {
        Self { cancelled, looked: 0 }
    }

    /// Files and folders that `pattern` names from `root` on.
    ///
    /// # Errors
    /// It is no glob, a folder cannot be read, or there is too much to look at.
    pub fn glob(&mut self, root: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
        Pattern::new(pattern).map_err(Fault::NoGlob)?;
        let (mut start, mut parts) = (root.to_owned(), Vec::new());
        for component in Path::new(pattern).components() {
            match component {
                Component::CurDir => {}
                Component::RootDir | Component::Prefix(_) => start = start.join(component),
                other => {
                    let name = other.as_os_str().to_string_lossy().into_owned();
                    parts.push(if name == "**" {
                        Part::Folders
                    } else if name.contains(['*', '?', '[']) {
                        Part::Glob(Pattern::new(&name).map_err(Fault::NoGlob)?)
                    } else {
                        Part::Name(name)
                    });
                }
            }
        }
        parts.dedup_by(|a, b| matches!((a, b), (Part::Folders, Part::Folders)));
        let mut found = Vec::new();
        self.expand(&start, &parts, &mut found)?;
        Ok(found)
    }

    fn expand(&mut self, at: &Path, parts: &[Part], found: &mut Vec<PathBuf>) -> Result<()> {
        let Some((part, rest)) = parts.split_first() else {
            found.push(at.to_owned());
            return Ok(());
        };
        match part {
            Part::Name(name) => {
                let next = at.join(name);
                if next.exists() { self.expand(&next, rest, found) } else { Ok(()) }
            }
            Part::Glob(glob) => {
                for next in self.list(at)? {
                    let name = next.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    if glob.matches_with(&name, OPTIONS) && (rest.is_empty() || next.is_dir()) {
                        self.expand(&next, rest, found)?;
                    }
                }
                Ok(())
            }
            Part::Folders => {
                let (folders, _) = self.walk(at, &|_| true)?;
                // What ends in `**` names folders, and not the one that it is in.
                let folders = folders.into_iter().skip(usize::from(rest.is_empty()));
                folders.into_iter().try_for_each(|folder| self.expand(&folder, rest, found))
            }
        }
    }

    /// Files of a folder and of those in it that `enter` lets be gone into.
    ///
    /// # Errors
    /// A folder cannot be read, or there is too much to look at.
    pub fn below(&mut self, folder: &Path, enter: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
        Ok(self.walk(folder, enter)?.1)
    }

    /// A folder and those in it, however deep, and the files in all of these.
    fn walk(&mut self, at: &Path, enter: &dyn Fn(&Path) -> bool) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
        let (mut folders, mut files) = (vec![at.to_owned()], Vec::new());
        let mut seen: HashSet<PathBuf> = at.canonicalize().into_iter().collect();
        let mut open = folders.clone();
        while let Some(at) = open.pop() {
            let before = open.len();
            for next in self.list(&at)? {
                if is_hidden(&next) {
                    continue;
                }
                if !next.is_dir() {
                    files.push(next);
                } else if enter(&next)
                    && let Ok(place) = next.canonicalize()
                    && !is_of_the_system(&place)
                    && seen.insert(place)
                {
                    folders.push(next.clone());
                    open.push(next);
                }
            }
            // The first by name comes first, and a folder with two names is known by that.
            open[before..].reverse();
        }
        Ok((folders, files))
    }

    /// What is in a folder, sorted; of what is none, nothing.
    fn list(&mut self, folder: &Path) -> Result<Vec<PathBuf>> {
        if (self.cancelled)() || !folder.is_dir() {
            return Ok(Vec::new());
        }
        let unreadable = |error| Fault::Unreadable { path: folder.to_owned(), error };
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            paths.push(entry.map_err(unreadable)?.path());
            self.looked += 1;
            if self.looked > MOST {
                return Err(Fault::TooMany);
            }
        }
        paths.sort();
        Ok(paths)
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_to_folders_that_hold_them_are_gone_into_once() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::create_dir_all(dir.path().join("deep/er"))?;
        fs::create_dir(dir.path().join(".hidden"))?;
        for file in ["a.json", "deep/b.json", "deep/er/c.json", ".hidden/d.json"] {
            fs::write(dir.path().join(file), "x")?;
        }
        symlink(".", dir.path().join("one"))?;
        symlink(".", dir.path().join("two"))?;
        symlink("..", dir.path().join("deep/er/up"))?;
        let names = |pattern: &str| {
            let found = Search::new(&|| false).glob(dir.path(), pattern).unwrap_or_else(|e| panic!("{e}"));
            let mut names: Vec<String> =
                found.iter().map(|p| p.strip_prefix(dir.path()).unwrap_or(p).display().to_string()).collect();
            names.sort();
            names
        };
        for (pattern, expected) in [
            ("**/*.json", &["a.json", "deep/b.json", "deep/er/c.json"][..]),
            ("**/deep/**/*.json", &["deep/b.json", "deep/er/c.json"]),
            ("**", &["deep", "deep/er"]),
            ("one/a.json", &["one/a.json"]),
            (".hidden/*.json", &[".hidden/d.json"]),
            ("./[ab].json", &["a.json"]),
            ("none/*.json", &[]),
        ] {
            assert_eq!(names(pattern), expected, "{pattern}");
        }
        let below = Search::new(&|| false).below(dir.path(), &|_| true).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(below.len(), 3, "{below:?}");
        assert!(matches!(Search::new(&|| false).glob(dir.path(), "a**"), Err(Fault::NoGlob(_))));
        assert!(Search::new(&|| true).glob(dir.path(), "**/*").is_ok_and(|found| found.is_empty()));
        let mut tired = Search { cancelled: &|| false, looked: MOST - 3 };
        assert!(matches!(tired.glob(dir.path(), "**/*.json"), Err(Fault::TooMany)));
        assert!(is_of_the_system(Path::new("/dev/null")) && !is_of_the_system(dir.path()));
        assert!(leads_out("a/../b") && leads_out("/a") && !leads_out("./a/b..c"));
        Ok(())
    }
}
