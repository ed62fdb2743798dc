//! Building from a lock: the recipe that it holds, and where on this machine its files were.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use setaccio_base::{atomic, bundle::Place, hidden::HIDDEN, objects::is_address, search::Search};
use setaccio_dataset::{
    lock::RecipeLock,
    recipe::{Recipe, Source},
};

use super::{HOME, RecipeFile, paths::portable};
use crate::error::{Error, Result};

/// Where a build on this machine had its recipe and inputs. It lies in the hidden folder of the output, beside a lock that
/// says nothing of it, and goes nowhere.
#[derive(Debug, Serialize, Deserialize)]
pub struct Whereabouts {
    /// The recipe's file; none of one that the program carries.
    pub recipe_file: Option<PathBuf>,
    /// The folder of `--from DIR`.
    pub from: Option<PathBuf>,
    /// The recipe with its paths whole.
    pub recipe: Recipe,
}

impl Whereabouts {
    /// Of a recipe, with the folder of `--from DIR`.
    pub fn new(loaded: &RecipeFile, from: Option<&Path>) -> Self {
        // An address is one wherever the command runs.
        let address = |path: &Path| path.to_str().is_some_and(is_address).then(|| path.to_owned());
        let absolute = |path: &Path| address(path).or_else(|| std::path::absolute(path).ok());
        let on_disk = matches!(loaded.place, Place::Disk { .. });
        let recipe_file = Some(loaded.place.path()).filter(|_| on_disk).and_then(absolute);
        Self { recipe_file, from: from.and_then(absolute), recipe: loaded.recipe.clone() }
    }

    /// Leave it in the output folder `out`.
    pub fn write(&self, out: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).map_err(Error::encode(NAME))?;
        Ok(atomic::write(&out.join(HIDDEN).join(NAME), &json)?)
    }

    /// That of the build whose lock lies in `folder`, if it was made here and is the one that the lock is of.
    pub fn of(folder: &Path, lock: &RecipeLock) -> Option<Self> {
        let found: Self = serde_json::from_slice(&std::fs::read(folder.join(HIDDEN).join(NAME)).ok()?).ok()?;
        let json = |recipe: &Recipe| serde_json::to_value(recipe).ok();
        (json(&portable(found.recipe.clone())) == json(&lock.recipe)).then_some(found)
    }
}

const NAME: &str = "whereabouts.json";

/// The file that is written whenever the build in `out` is done, or found to be.
pub fn whereabouts(out: &Path) -> PathBuf {
    out.join(HIDDEN).join(NAME)
}

/// Whether a table is a lock rather than a recipe.
pub fn is_lock(table: &toml::Table) -> bool {
    table.contains_key("fingerprint") && table.contains_key("recipe")
}

/// The recipe in the lock `text`, which lies at `place`.
///
/// # Errors
/// It is no lock of this version, or was changed after the build.
pub fn load(place: Place, text: &str, sets: &[String]) -> Result<RecipeFile> {
    let file = place.name();
    if let Some(set) = sets.first() {
        let message = format!("a lock is built as it is; --set {set} changes a recipe");
        return Err(Error::recipe(&file, message));
    }
    let lock: RecipeLock = toml::from_str(text)
        .map_err(|e| Error::recipe(&file, format!("is no lock of this version of setaccio: {}", e.message())))?;
    if lock.digest() != lock.fingerprint {
        return Err(Error::recipe(&file, "was changed after the build: change its recipe, and build that"));
    }
    let here = Whereabouts::of(place.folder().unwrap_or(Path::new(".")), &lock);
    let (recipe, recipe_file, from) = match here {
        Some(Whereabouts { recipe, recipe_file, from }) => (recipe, recipe_file, from),
        None => (lock.recipe.clone(), None, None),
    };
    // What the recipe names lies beside it, or else where the lock is.
    let mut searched = Vec::new();
    let place = if let Some(path) = recipe_file {
        Place::Disk { path, home: HOME.to_owned() }
    } else {
        searched.extend([folder(&place), ".".into()]);
        beside_files(place, &recipe)
    };
    searched.push(folder(&place));
    let rebuilt = Some(Rebuilt { lock, from, searched });
    Ok(RecipeFile { recipe, file, place, changes: Vec::new(), rebuilt, hub: BTreeMap::new() })
}

fn folder(place: &Place) -> PathBuf {
    place.folder().unwrap_or(Path::new(".")).to_owned()
}

/// The place of a lock that came from elsewhere, in the folder from which it names a file: its own, or the current one.
fn beside_files(place: Place, recipe: &Recipe) -> Place {
    let names_a_file = |folder: &Path| {
        let own = recipe.source.iter().filter(|source| source.local());
        let sets = recipe.decontamination.iter().flat_map(|settings| &settings.set).flat_map(|set| &set.path);
        let mut paths = own.flat_map(Source::own_files).chain(sets);
        paths.any(|path| {
            folder.join(path).exists() || Search::new(&|| false).glob(folder, path).is_ok_and(|found| !found.is_empty())
        })
    };
    let beside = place.folder().is_some_and(names_a_file);
    if !beside && names_a_file(Path::new(".")) {
        return Place::Disk { path: place.name().into(), home: HOME.to_owned() };
    }
    place
}

/// The build that a lock is of.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// Its lock.
    pub lock: RecipeLock,
    /// The folder that its inputs were read from, if that is known.
    pub from: Option<PathBuf>,
    /// The folders from which local files were looked for.
    pub searched: Vec<PathBuf>,
}
