//! The recipe lock of a plan.

use setaccio_base::{
    bundle::{self, Place},
    filter_report::{FileUse, ListUse},
    progress::Progress,
    sha256::hex_digest,
};
use setaccio_dataset::{
    lock::{Asset, Input, RecipeLock, RepoUse},
    recipe::Source,
};

use super::inputs::PlanFile;
use crate::{
    recipe::{HOME, RecipeFile, paths::portable},
    source::origin::Origin,
};

/// Files beside the inputs that decide what a build gives.
pub struct Assets {
    /// Those that `[output]` names.
    pub output: Vec<Asset>,
    /// Word lists.
    pub lists: Vec<ListUse>,
    /// Models that rules use.
    pub models: Vec<FileUse>,
    /// Earlier data sets that near-duplicates are looked for in.
    pub against: Vec<Asset>,
    /// Files of the evaluation sets.
    pub evaluation: Vec<Input>,
}

/// The recipe as it is resolved, and the hash of everything that goes in.
pub fn resolve(engine: &str, loaded: &RecipeFile, origin: &Origin, files: &[PlanFile], assets: Assets) -> RecipeLock {
    let input = files.iter().map(|file| {
        let source = &loaded.recipe.source[usize::from(file.source)];
        let named = !(matches!(origin, Origin::Samples) && own_sample(file));
        Input {
            source: source.name.clone(),
            file: file.input.name.clone(),
            repo: if named { source.repo.clone() } else { String::new() },
            revision: if named { source.revision.clone() } else { String::new() },
            commit: origin.commit(&source.name).map(str::to_owned),
            bytes: file.input.bytes,
            sha256: file.input.inspection.sha256.clone(),
            etag: file.input.etag(),
        }
    });
    let mut lock = RecipeLock {
        engine: engine.into(),
        command: command(loaded, origin),
        from: origin.kind().into(),
        fingerprint: String::new(),
        assets: assets.output,
        list: assets.lists,
        model: assets.models,
        against: assets.against,
        repo: loaded
            .hub
            .iter()
            .map(|(name, found)| RepoUse { name: name.clone(), license: found.license.clone() })
            .collect(),
        evaluation: assets.evaluation,
        input: input.collect(),
        recipe: portable(loaded.recipe.clone()),
    };
    lock.fingerprint = lock.digest();
    lock
}

/// The lock of a build that is to come out as `before` did, from what is `found` now.
///
/// # Errors
/// An input, template or list is missing or another one; the message names each.
pub fn again(
    found: RecipeLock,
    before: &RecipeLock,
    loaded: &RecipeFile,
    progress: &dyn Progress,
) -> Result<RecipeLock, String> {
    let mut faults = Vec::new();
    for input in &before.input {
        match found.input.iter().find(|i| i.file == input.file) {
            None => faults.push(missing(input)),
            Some(now) if (&now.sha256, &now.etag) != (&input.sha256, &input.etag) => {
                let (kind, content) = known_by(now);
                faults.push(format!(
                    "{} is another one: its {kind} is {content}, not {}",
                    input.file,
                    known_by(input).1
                ));
            }
            Some(_) => {}
        }
    }
    let assets = before.assets.iter().filter(|asset| !found.assets.contains(asset));
    faults.extend(
        assets.map(|asset| format!("the {} is another one than that with SHA-256 {}", asset.key, asset.sha256)),
    );
    let models = before.model.iter().filter(|model| !found.model.contains(model));
    faults.extend(models.map(|model| format!("{} is another one than that with SHA-256 {}", model.name, model.sha256)));
    let against = before.against.iter().filter(|set| !found.against.contains(set));
    faults.extend(against.map(|set| format!("{} is another data set than that with SHA-256 {}", set.key, set.sha256)));
    for input in &before.evaluation {
        match found.evaluation.iter().find(|i| (&i.source, &i.file) == (&input.source, &input.file)) {
            Some(now) if (&now.sha256, &now.etag) == (&input.sha256, &input.etag) => {}
            Some(_) => {
                let (kind, content) = known_by(input);
                faults.push(format!("{} is another one than that with {kind} {content}", input.file));
            }
            None => faults.push(missing(input)),
        }
    }
    if !faults.is_empty() {
        let faults: String = faults.iter().flat_map(|fault| ["\n  ", fault]).collect();
        let looked = if loaded.recipe.source.iter().any(Source::local) { looked(loaded) } else { String::new() };
        return Err(format!(
            "this build cannot come out again, for not all that it was made from is here:{faults}{looked}"
        ));
    }
    if found.engine == before.engine {
        return Ok(before.clone());
    }
    progress.warn(&format!(
        "the lock is of `{}` and this is `{}`: what comes out may differ from what was published",
        before.engine, found.engine
    ));
    let mut lock = RecipeLock { engine: found.engine, ..before.clone() };
    lock.fingerprint = lock.digest();
    Ok(lock)
}

/// What tells an input from any other: its hash, or what its store calls it.
fn known_by(input: &Input) -> (&'static str, &str) {
    match &input.etag {
        Some(etag) => ("ETag", etag),
        None => ("SHA-256", &input.sha256),
    }
}

fn missing(input: &Input) -> String {
    let (kind, content) = known_by(input);
    format!("{} is missing; its {kind} is {content}", input.file)
}

/// Where local files were looked for. What a recipe names by an absolute path is looked for there alone.
fn looked(loaded: &RecipeFile) -> String {
    let mut folders: Vec<String> = Vec::new();
    for folder in loaded.rebuilt.iter().flat_map(|rebuilt| &rebuilt.searched) {
        let folder = folder.canonicalize().or_else(|_| std::path::absolute(folder)).unwrap_or_else(|_| folder.clone());
        let shown = folder.display().to_string();
        if !folders.contains(&shown) {
            folders.push(shown);
        }
    }
    format!("\n  local files were looked for from {}: run the command where they are", folders.join(" and from "))
}

/// Whether a file that a recipe calls `samples` is none of those that come with the program.
fn own_sample(file: &PlanFile) -> bool {
    let Place::Disk { .. } = &file.input.place else { return false };
    let carried = bundle::get(&format!("data/samples/{}", file.input.place.name()));
    let carried = carried.and_then(|carried| carried.read().ok());
    carried.is_none_or(|bytes| hex_digest(&bytes) != file.input.inspection.sha256)
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
