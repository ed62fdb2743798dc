//! The recipe lock of a plan.

pub use setaccio_dataset::{
    folder::RECIPE_LOCK as NAME,
    lock::{Asset, Input, RecipeLock},
};

use crate::{
    plan::{ENGINE, Plan},
    recipe::HOME,
    source::origin::Origin,
};

/// The recipe as `plan` resolved it, and the hash of everything that goes in.
pub fn of(plan: &Plan) -> RecipeLock {
    let input = plan.files.iter().map(|file| {
        let source = plan.source(file);
        Input {
            source: source.name.clone(),
            file: file.input.name.clone(),
            repo: source.repo.clone(),
            revision: source.revision.clone(),
            commit: plan.commit(&source.name).map(str::to_owned),
            bytes: file.input.bytes,
            sha256: file.input.sha256.clone(),
        }
    });
    RecipeLock {
        engine: ENGINE.into(),
        command: command(plan),
        from: plan.origin.kind().into(),
        fingerprint: plan.fingerprint.clone(),
        assets: plan.assets.iter().map(|(key, sha256)| Asset { key: key.clone(), sha256: sha256.clone() }).collect(),
        list: plan.lists.clone(),
        input: input.collect(),
        recipe: plan.loaded.recipe.clone(),
    }
}

fn command(plan: &Plan) -> String {
    let loaded = &plan.loaded;
    let recipe = match loaded.place.folder() {
        Some(folder) if folder.ends_with(HOME) => format!("{HOME}/{}", loaded.file),
        Some(_) => loaded.file.clone(),
        None => loaded.place.to_string(),
    };
    let from = match plan.origin {
        Origin::Samples | Origin::Files => "",
        Origin::Hub(_) => " --from hub",
        Origin::Dir(_) => " --from DIR",
    };
    let mut words = vec![format!("setaccio build {recipe}{from}")];
    words.extend(loaded.changes.iter().cloned());
    words.join(" ")
}
