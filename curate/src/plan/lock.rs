//! The recipe lock of a plan.

use setaccio_base::filter_report::ListUse;
use setaccio_dataset::lock::{Asset, Input, RecipeLock};

use super::inputs::PlanFile;
use crate::{
    recipe::{HOME, RecipeFile},
    source::origin::Origin,
};

/// The recipe as it is resolved, and the hash of everything that goes in.
pub fn resolve(
    engine: &str,
    loaded: &RecipeFile,
    origin: &Origin,
    files: &[PlanFile],
    assets: Vec<Asset>,
    list: Vec<ListUse>,
) -> RecipeLock {
    let input = files.iter().map(|file| {
        let source = &loaded.recipe.source[usize::from(file.source)];
        Input {
            source: source.name.clone(),
            file: file.input.name.clone(),
            repo: source.repo.clone(),
            revision: source.revision.clone(),
            commit: origin.commit(&source.name).map(str::to_owned),
            bytes: file.input.bytes,
            sha256: file.input.inspection.sha256.clone(),
        }
    });
    let mut lock = RecipeLock {
        engine: engine.into(),
        command: command(loaded, origin),
        from: origin.kind().into(),
        fingerprint: String::new(),
        assets,
        list,
        input: input.collect(),
        recipe: loaded.recipe.clone(),
    };
    lock.fingerprint = lock.digest();
    lock
}

fn command(loaded: &RecipeFile, origin: &Origin) -> String {
    let recipe = match loaded.place.folder() {
        Some(folder) if folder.ends_with(HOME) => format!("{HOME}/{}", loaded.file),
        Some(_) => loaded.file.clone(),
        None => loaded.place.to_string(),
    };
    let from = match origin {
        Origin::Samples | Origin::Files => "",
        Origin::Hub(_) => " --from hub",
        Origin::Dir(_) => " --from DIR",
    };
    let mut words = vec![format!("setaccio build {recipe}{from}")];
    words.extend(loaded.changes.iter().cloned());
    words.join(" ")
}
