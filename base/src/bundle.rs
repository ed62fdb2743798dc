//! Files that the program carries, so that it works in any folder: recipes, templates, word lists and samples, under
//! the paths that they have in the repository. The command line embeds them and [`install`]s them when it starts; in a
//! program that installs none there are none. A file on disk comes first.

use std::{
    borrow::Cow,
    fmt, fs,
    io::{self, Cursor, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use crate::{
    atomic,
    objects::{Object, ObjectReader},
    search::is_of_the_system,
    suggest,
};

/// Path in the repository and content of each file.
pub type Files = &'static [(&'static str, &'static [u8])];

static FILES: OnceLock<Files> = OnceLock::new();

/// Carry these files; the first call decides.
pub fn install(files: Files) {
    FILES.get_or_init(|| files);
}

/// Names, without extension, of the recipes carried in `folder`, for instance `pipelines/train`.
pub fn recipes(folder: &str) -> impl Iterator<Item = &'static str> {
    let inside = move |path: &'static str| path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".toml");
    files().iter().filter_map(move |(path, _)| inside(path)).filter(|name| !name.contains('/'))
}

/// The file carried under this path.
pub fn get(path: &str) -> Option<Place> {
    files().iter().find(|(known, _)| *known == path).map(|(path, bytes)| Place::Bundled { path, bytes })
}

fn files() -> Files {
    FILES.get().copied().unwrap_or_default()
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On disk.
    Disk {
        /// Its path.
        path: PathBuf,
        /// Folder of the repository in whose stead its own stands: what it names and does not have is looked up there.
        home: String,
    },
    /// In the program.
    Bundled {
        /// Its path in the repository.
        path: &'static str,
        /// What it holds.
        bytes: &'static [u8],
    },
    /// In an object store.
    Stored(Arc<Object>),
}

impl Place {
    /// A file on disk that names no others.
    pub fn disk(path: impl Into<PathBuf>) -> Self {
        Self::Disk { path: path.into(), home: String::new() }
    }

    /// The recipe that somebody means by `argument`: a file; or the name of one of `home`, on disk below the current
    /// folder or else carried.
    ///
    /// # Errors
    /// There is none; the message names the nearest and all that are carried.
    pub fn recipe(argument: &Path, home: &str) -> Result<Self, String> {
        let name = argument.to_string_lossy();
        if argument.exists() && !argument.is_dir() {
            return Ok(Self::Disk { path: argument.to_owned(), home: home.to_owned() });
        }
        let bare = !name.contains(['/', '\\']) && !name.ends_with(".toml");
        let file = format!("{home}/{name}.toml");
        if bare && Path::new(&file).is_file() {
            return Ok(Self::Disk { path: file.into(), home: home.to_owned() });
        }
        if let Some(bundled) = get(&file).filter(|_| bare) {
            return Ok(bundled);
        }
        let stem = argument.file_stem().unwrap_or_default().to_string_lossy();
        let known: Vec<&str> = recipes(home).collect();
        let own = format!("{name}.toml");
        let advice = match known.iter().find(|known| **known == stem) {
            _ if bare && Path::new(&own).is_file() => format!("; {own} lies here: name it with its ending"),
            Some(known) => format!("; `{known}` alone names the one that the program carries"),
            None if known.is_empty() => String::new(),
            None => {
                format!("{}; the program carries {}", suggest::nearest(&stem, known.iter().copied()), known.join(", "))
            }
        };
        let what = if bare { format!("there is no recipe `{name}`") } else { format!("there is no file {name}") };
        Err(format!("{what}{advice}"))
    }

    /// The file that this one names: relative to its folder (for a carried one, the current folder), or carried if it is
    /// not there.
    #[must_use]
    pub fn beside(&self, name: impl AsRef<Path>) -> Self {
        let name = name.as_ref();
        match self {
            Self::Bundled { path, .. } => {
                let carried = normal(Path::new(path).parent().unwrap_or(Path::new("")), name);
                // A carried recipe has no folder: what is not carried with it is one's own, where the command runs.
                get(&carried).unwrap_or_else(|| Self::disk(name))
            }
            Self::Stored(_) => Self::disk(name),
            Self::Disk { path, home } => {
                let beside = path.parent().unwrap_or(Path::new("")).join(name);
                let carried = if name.is_absolute() { String::new() } else { normal(Path::new(home), name) };
                if let Some(bundled) = get(&carried).filter(|_| !beside.exists()) {
                    return bundled;
                }
                let home = carried.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
                Self::Disk { path: beside, home }
            }
        }
    }

    /// Its path, on disk or in the repository, or its address.
    pub fn path(&self) -> &Path {
        match self {
            Self::Disk { path, .. } => path,
            Self::Bundled { path, .. } => Path::new(path),
            Self::Stored(object) => Path::new(&object.address),
        }
    }

    /// What a command is to be given to find it again: a path, or a carried recipe's bare name.
    pub fn argument(&self) -> PathBuf {
        match self {
            Self::Disk { path, .. } => path.clone(),
            Self::Bundled { path, .. } => Path::new(path).file_stem().unwrap_or_default().into(),
            Self::Stored(object) => object.address.clone().into(),
        }
    }

    /// The file's name.
    pub fn name(&self) -> String {
        let path = self.path();
        path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
    }

    /// Its folder, if it is on disk.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Disk { path, .. } => Some(atomic::parent(path)),
            Self::Bundled { .. } | Self::Stored(_) => None,
        }
    }

    /// Whether anything is there.
    pub fn exists(&self) -> bool {
        match self {
            Self::Disk { path, .. } => path.exists(),
            Self::Bundled { .. } | Self::Stored(_) => true,
        }
    }

    /// What is in it.
    ///
    /// # Errors
    /// It is missing, or cannot be read.
    pub fn read(&self) -> io::Result<Cow<'static, [u8]>> {
        match self {
            Self::Disk { path, .. } => fs::read(path).map(Cow::Owned),
            Self::Bundled { bytes, .. } => Ok(Cow::Borrowed(bytes)),
            Self::Stored(object) => Ok(Cow::Owned(object.whole()?)),
        }
    }

    /// What is in it, where a recipe of somebody else may name it: a template, a tokenizer. What the system makes as it is read
    /// tells of this process (`/proc/self/environ`) or never ends, and would go into what is built.
    ///
    /// # Errors
    /// It is missing, cannot be read, or is no plain file of a disk.
    pub fn read_plain(&self) -> io::Result<Cow<'static, [u8]>> {
        if let Self::Disk { path, .. } = self {
            let real = path.canonicalize()?;
            if !real.is_file() || is_of_the_system(&real) {
                return Err(io::Error::other(
                    "it is no plain file of a disk; a recipe cannot name a folder, a pipe, or what the system makes in /proc, \
                     /dev and /sys",
                ));
            }
        }
        self.read()
    }

    /// What is in it, as text.
    ///
    /// # Errors
    /// It is missing, cannot be read, or is not UTF-8.
    pub fn text(&self) -> io::Result<String> {
        text(self.read()?)
    }

    /// [`Place::read_plain`], as text.
    ///
    /// # Errors
    /// As there, or it is not UTF-8.
    pub fn text_plain(&self) -> io::Result<String> {
        text(self.read_plain()?)
    }

    /// Open it for reading.
    ///
    /// # Errors
    /// It is missing, or cannot be opened.
    pub fn open(&self) -> io::Result<BundleReader> {
        match self {
            Self::Disk { path, .. } => fs::File::open(path).map(BundleReader::Disk),
            Self::Bundled { bytes, .. } => Ok(BundleReader::Bundled(Cursor::new(bytes))),
            Self::Stored(object) => Ok(BundleReader::Stored(ObjectReader::new(object.clone()))),
        }
    }
}

fn text(bytes: Cow<'static, [u8]>) -> io::Result<String> {
    String::from_utf8(bytes.into_owned()).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// As a command's argument names it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.argument().display().fmt(f)
    }
}

/// A file that is open for reading.
#[derive(Debug)]
pub enum BundleReader {
    /// On disk.
    Disk(fs::File),
    /// In the program.
    Bundled(Cursor<&'static [u8]>),
    /// In an object store.
    Stored(ObjectReader),
}

impl BundleReader {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn length(&self) -> io::Result<u64> {
        match self {
            Self::Disk(file) => file.metadata().map(|m| m.len()),
            Self::Bundled(bytes) => Ok(bytes.get_ref().len() as u64),
            Self::Stored(reader) => Ok(reader.object().bytes),
        }
    }

    /// The same file once more.
    ///
    /// # Errors
    /// The system has no more handles.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Disk(file) => file.try_clone().map(Self::Disk),
            Self::Bundled(bytes) => Ok(Self::Bundled(bytes.clone())),
            Self::Stored(reader) => Ok(Self::Stored(reader.clone())),
        }
    }
}

impl Read for BundleReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Disk(file) => file.read(buffer),
            Self::Bundled(bytes) => bytes.read(buffer),
            Self::Stored(reader) => reader.read(buffer),
        }
    }
}

impl Seek for BundleReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Disk(file) => file.seek(to),
            Self::Bundled(bytes) => bytes.seek(to),
            Self::Stored(reader) => reader.seek(to),
        }
    }
}

/// `folder` and `name` as one path without `.` and `..`, with `/` between its parts; empty if it leads out.
fn normal(folder: &Path, name: &Path) -> String {
    let joined = folder.join(name);
    let mut parts: Vec<Cow<'_, str>> = Vec::new();
    for part in joined.components() {
        match part {
            std::path::Component::Normal(part) => parts.push(part.to_string_lossy()),
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir if parts.pop().is_some() => {}
            _ => return String::new(),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Installed by every test of this module alike.
    const CARRIED: Files = &[
        ("data/samples/a.json", b"[]"),
        ("pipelines/mix.toml", b"mix"),
        ("pipelines/templates/t.jinja", b"t"),
        ("pipelines/train/all/tiny.toml", b"chain"),
        ("pipelines/train/tiny.toml", b"tiny"),
    ];

    fn carried(path: &str) -> Place {
        get(path).unwrap_or_else(|| panic!("{path}"))
    }

    #[test]
    fn a_recipe_is_a_file_or_else_a_carried_one() {
        install(CARRIED);
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let file = dir.path().join("mine.toml");
        fs::write(&file, "mine").unwrap_or_else(|e| panic!("{e}"));
        let mine = Place::recipe(&file, "pipelines").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(mine.text().unwrap_or_default(), "mine");
        let mix = Place::recipe(Path::new("mix"), "pipelines").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((mix.to_string().as_str(), mix.text().unwrap_or_default().as_str()), ("mix", "mix"));
        for (argument, said) in [
            ("mxi", "there is no recipe `mxi` (did you mean `mix`?); the program carries mix"),
            ("gone/mix.toml", "there is no file gone/mix.toml; `mix` alone names the one that the program carries"),
        ] {
            assert_eq!(Place::recipe(Path::new(argument), "pipelines"), Err(said.into()));
        }
        // The tests run in the folder of the crate.
        let own = Place::recipe(Path::new("Cargo"), "pipelines").err().unwrap_or_default();
        assert_eq!(own, "there is no recipe `Cargo`; Cargo.toml lies here: name it with its ending");
    }

    #[test]
    fn what_a_recipe_names_is_beside_it_or_else_carried() {
        install(CARRIED);
        let mix = carried("pipelines/mix.toml");
        assert_eq!(mix.beside("templates/t.jinja"), carried("pipelines/templates/t.jinja"));
        assert_eq!(mix.beside("../data/samples/a.json"), carried("data/samples/a.json"));
        for own in ["/abs/tokenizer.json", "tokenizer.json", "../../nothing/here"] {
            assert_eq!(mix.beside(own), Place::disk(own), "not carried, so one's own");
        }
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let copied = Place::Disk { path: dir.path().join("mine.toml"), home: "pipelines".into() };
        assert_eq!(copied.beside("templates/t.jinja"), carried("pipelines/templates/t.jinja"));
        fs::create_dir(dir.path().join("templates")).unwrap_or_else(|e| panic!("{e}"));
        fs::write(dir.path().join("templates/t.jinja"), "mine").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(copied.beside("templates/t.jinja").text().unwrap_or_default(), "mine", "a file on disk comes first");
        // A chain on disk names recipes of another folder, and these their own files.
        let chain = Place::Disk { path: dir.path().join("chain.toml"), home: "pipelines/train/all".into() };
        assert_eq!(chain.beside("../tiny.toml"), carried("pipelines/train/tiny.toml"));
        assert_eq!(chain.beside("../../mix.toml").beside("templates/t.jinja"), carried("pipelines/templates/t.jinja"));
    }
}
