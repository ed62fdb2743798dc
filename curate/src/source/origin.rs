//! Where a recipe's inputs are taken from: the bundled samples, a folder, or the Hub.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use setaccio_base::{bundle::Place, objects::is_address};
use setaccio_dataset::recipe::Source;

use super::{
    globs,
    own_files::{self, OwnFile, OwnFiles},
    stored_files::{self, StoredFiles, address},
    subset,
};
use crate::{
    error::{Error, Result},
    recipe::RecipeFile,
};

/// The value of `--from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The sample files that come with the recipe.
    Samples,
    /// Nowhere: every source is of files of the recipe's own.
    Files,
    /// A folder that holds a folder for each source.
    Dir(PathBuf),
    /// The repositories at their pinned revisions: what was fetched, by name of the source.
    Hub(BTreeMap<String, HubFiles>),
}

/// What was fetched of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HubFiles {
    /// The commit that the recipe's revision stands for.
    pub commit: String,
    /// The files to read.
    pub files: Vec<HubFile>,
    /// How many files match the recipe's globs in all.
    pub of: usize,
    /// Whether only the cache was looked into, so that there may be more.
    pub unlisted: bool,
    /// Paths in the repository of what its folders hold beside these and is not read.
    pub left_out: Vec<String>,
}

/// A file that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its path in the repository.
    pub name: String,
    /// The SHA-256 that the Hub states, of large files.
    pub sha256: Option<String>,
}

/// The files of one source.
#[derive(Debug)]
pub struct SourceFiles {
    /// Those to read.
    pub files: Vec<SourceFile>,
    /// How many there are.
    pub of: usize,
    /// Names of those that its folders hold beside them and that are not read.
    pub left_out: Vec<String>,
}

/// A file of a source.
#[derive(Debug)]
pub struct SourceFile {
    /// Where it lies.
    pub place: Place,
    /// What errors, lock and card call it.
    pub name: String,
    /// The SHA-256 that it must have, if that is known.
    pub sha256: Option<String>,
}

impl std::str::FromStr for Origin {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Ok(match text {
            "samples" => Self::Samples,
            "hub" => Self::Hub(BTreeMap::new()),
            folder => Self::Dir(folder.into()),
        })
    }
}

impl Origin {
    /// The commit that the revision of a source stands for, where the Hub was asked.
    pub fn commit(&self, source: &str) -> Option<&str> {
        let Self::Hub(fetched) = self else { return None };
        fetched.get(source).map(|f| f.commit.as_str())
    }

    /// What the lock says of it: not the folder's path, which is this machine's business.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Files => "files",
            Self::Dir(_) => "folder",
            Self::Hub(_) => "hub",
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Samples => f.write_str("samples"),
            Self::Files => f.write_str("local files"),
            Self::Hub(_) => f.write_str("hub"),
            Self::Dir(folder) => folder.display().fmt(f),
        }
    }
}

/// The files of one source, with the names that errors, the lock and the card give them: never a path
/// of this machine.
///
/// # Errors
/// Nothing is there; the message says where it was looked for and how to get it. Or `cancelled` said so.
pub fn files(
    loaded: &RecipeFile,
    source: &Source,
    origin: &Origin,
    cancelled: &dyn Fn() -> bool,
) -> Result<SourceFiles> {
    if source.local() {
        return own(loaded, source, cancelled);
    }
    match origin {
        Origin::Samples | Origin::Files => {
            if source.samples.is_empty() {
                let message = format!("source `{}` names no `samples`; give --from hub, or --from DIR", source.name);
                return Err(Error::recipe(&loaded.file, message));
            }
            let place = loaded.inside("samples", &source.samples)?;
            if !place.exists() {
                let message = format!(
                    "source `{}`: there is no sample {}; give --from hub, or --from DIR with the real files",
                    source.name,
                    place.path().display()
                );
                return Err(Error::recipe(&loaded.file, message));
            }
            let name = format!("samples/{}", place.name());
            Ok(SourceFiles { files: vec![SourceFile { place, name, sha256: None }], of: 1, left_out: Vec::new() })
        }
        Origin::Dir(dir) => {
            let places = [dir.join(&source.repo), dir.join(&source.name)];
            let Some(root) = places.iter().find(|place| is_folder(place)) else {
                let [repo, name] = places.map(|p| p.display().to_string());
                let message = format!("source `{}`: neither {repo} nor {name} is a folder", source.name);
                return Err(Error::recipe(&loaded.file, message));
            };
            below(loaded, source, root, cancelled)
        }
        Origin::Hub(fetched) => {
            let Some(fetched) = fetched.get(&source.name) else {
                return Ok(SourceFiles { files: Vec::new(), of: 0, left_out: Vec::new() });
            };
            let file = |remote: &HubFile| SourceFile {
                place: Place::disk(&remote.path),
                name: format!("{}/{}", source.name, remote.name),
                sha256: remote.sha256.clone(),
            };
            let files = fetched.files.iter().map(file).collect();
            let left_out = fetched.left_out.iter().map(|path| format!("{}/{path}", source.name)).collect();
            Ok(SourceFiles { files, of: fetched.of, left_out })
        }
    }
}

/// The files of a source of one's own, as many as the recipe reads.
fn own(loaded: &RecipeFile, source: &Source, cancelled: &dyn Fn() -> bool) -> Result<SourceFiles> {
    let root = loaded.place.folder().unwrap_or(Path::new("."));
    if source.path.is_empty() {
        return below(loaded, source, root, cancelled);
    }
    let wrap = |e| Error::recipe(&loaded.file, format!("source `{}`: {e}", source.name));
    let mut paths = source.path.clone();
    if loaded.rebuilt.is_some() {
        // What is missing is told with the hash that it had, by the plan.
        // A store that cannot be asked says so itself.
        let there = |path: &String| own_files::find(root, std::slice::from_ref(path), cancelled).is_ok();
        paths.retain(|path| is_address(path) || there(path));
    }
    let OwnFiles { files: found, left_out } = own_files::find(root, &paths, cancelled).map_err(wrap)?;
    if cancelled() {
        return Err(Error::Interrupted);
    }
    let of = found.len();
    let recipe = &loaded.recipe;
    let count = recipe.sample.as_ref().and_then(|s| s.files);
    let found = subset::choose(recipe.seed, count, found, |file| file.name.clone());
    let file = |OwnFile { place, name }| SourceFile { place, name: format!("{}/{name}", source.name), sha256: None };
    let left_out = left_out.into_iter().map(|file| format!("{}/{}", source.name, file.name)).collect();
    Ok(SourceFiles { files: found.into_iter().map(file).collect(), of, left_out })
}

/// The files of a source below `root`, as many as the recipe reads.
fn below(loaded: &RecipeFile, source: &Source, root: &Path, cancelled: &dyn Fn() -> bool) -> Result<SourceFiles> {
    let (found, left_out): (Vec<Place>, Vec<PathBuf>) = if let Some(folder) = address(root) {
        let StoredFiles { files, left_out } = stored_files::below(folder, &source.files)?;
        let left_out = left_out.iter().map(|object| PathBuf::from(&object.address)).collect();
        (files.iter().map(stored_files::place).collect(), left_out)
    } else {
        let globs::Found { files, left_out } = globs::find(root, &source.files, cancelled)?;
        (files.into_iter().map(Place::disk).collect(), left_out)
    };
    if cancelled() {
        return Err(Error::Interrupted);
    }
    if found.is_empty() {
        let message =
            format!("source `{}`: nothing in {} matches {}", source.name, root.display(), source.files.join(", "));
        return Err(Error::recipe(&loaded.file, message));
    }
    let of = found.len();
    let recipe = &loaded.recipe;
    let count = recipe.sample.as_ref().and_then(|s| s.files);
    let found = subset::choose(recipe.seed, count, found, |place| inside(root, place.path()));
    let name = |path: &Path| format!("{}/{}", source.name, inside(root, path));
    let file = |place: Place| SourceFile { name: name(place.path()), place, sha256: None };
    let left_out = left_out.iter().map(|path| name(path)).collect();
    Ok(SourceFiles { files: found.into_iter().map(file).collect(), of, left_out })
}

/// Whether a folder is there, on a disk or in a store.
pub fn is_folder(folder: &Path) -> bool {
    address(folder).map_or_else(|| folder.is_dir(), stored_files::is_folder)
}

/// A path below `root`, with `/` between its parts.
fn inside(root: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = inside.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
    parts.join("/")
}
