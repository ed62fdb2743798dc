//! Where a recipe's inputs are taken from: the bundled samples, a folder, or the Hub.

use std::path::{Path, PathBuf};

use crate::{
    error::{Error, Result},
    recipe::{Loaded, Source},
    source,
};

/// The value of `--from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The sample files that come with the recipe.
    Samples,
    /// A folder that holds a folder for each source.
    Dir(PathBuf),
    /// The repositories at their pinned revisions.
    Hub,
}

impl std::str::FromStr for Origin {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Ok(match text {
            "samples" => Self::Samples,
            "hub" => Self::Hub,
            folder => Self::Dir(folder.into()),
        })
    }
}

impl Origin {
    /// What the lock says of it: not the folder's path, which is this machine's business.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Dir(_) => "folder",
            Self::Hub => "hub",
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Samples => f.write_str("samples"),
            Self::Hub => f.write_str("hub"),
            Self::Dir(folder) => folder.display().fmt(f),
        }
    }
}

/// The files of one source, with the names that errors, the lock and the card give them: never a path
/// of this machine.
///
/// # Errors
/// Nothing is there; the message says where it was looked for and how to get it.
pub fn files(loaded: &Loaded, source: &Source, origin: &Origin) -> Result<Vec<(PathBuf, String)>> {
    match origin {
        Origin::Samples => {
            let path = loaded.folder.join(&source.samples);
            if !path.exists() {
                let message = format!(
                    "source `{}`: there is no sample {}; give --from DIR with the real files",
                    source.name,
                    path.display()
                );
                return Err(Error::recipe(&loaded.file, message));
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok(vec![(path, format!("samples/{name}"))])
        }
        Origin::Dir(dir) => {
            let places = [dir.join(&source.repo), dir.join(&source.name)];
            let Some(root) = places.iter().find(|p| p.is_dir()) else {
                let [repo, name] = places.map(|p| p.display().to_string());
                let message = format!("source `{}`: neither {repo} nor {name} is a folder", source.name);
                return Err(Error::recipe(&loaded.file, message));
            };
            let found = source::find(root, &source.files)?;
            if found.is_empty() {
                let message = format!(
                    "source `{}`: nothing in {} matches {}",
                    source.name,
                    root.display(),
                    source.files.join(", ")
                );
                return Err(Error::recipe(&loaded.file, message));
            }
            Ok(found.into_iter().map(|path| (path.clone(), shown(source, root, &path))).collect())
        }
        Origin::Hub => {
            let message = format!(
                "this build of setaccio does not download. Get {repo} at revision {revision} with the Hub's own \
                 command,\n    hf download {repo} --repo-type dataset --revision {revision} --local-dir DIR/{repo}\n\
                 for each source (`setaccio plan` lists them), then run again with `--from DIR`",
                repo = source.repo,
                revision = source.revision,
            );
            Err(Error::recipe(&loaded.file, message))
        }
    }
}

fn shown(source: &Source, root: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = inside.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
    format!("{}/{}", source.name, parts.join("/"))
}
