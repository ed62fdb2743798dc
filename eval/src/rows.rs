//! The rows of a task, read as the data side reads rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use setaccio_base::progress::Progress;
use setaccio_curate::{
    error::SourceError,
    plan,
    recipe::RecipeFile,
    source::{
        self, Evaluation, Item, Mapping, Projection,
        origin::{self, Origin, SourceFile},
    },
};
use setaccio_dataset::recipe::{Recipe, Source};

use crate::{
    error::{Error, Result},
    recipe::{Data, TaskFile},
};

/// A row and where it lies.
#[derive(Clone, Debug, PartialEq)]
pub struct DataRow {
    /// Number of its file among those that were read.
    pub file: usize,
    /// Its number in the file, from 0.
    pub row: u64,
    /// Its columns.
    pub columns: Map<String, Value>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFile {
    /// What errors and results call it.
    pub file: String,
    /// Its repository, if it is of one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repo: String,
    /// The commit that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

/// The rows of a part of a task.
#[derive(Clone, Debug, Default)]
pub struct DataRows {
    /// In the order of files and rows.
    pub rows: Vec<DataRow>,
    /// Where they were read from.
    pub files: Vec<DataFile>,
}

/// What the source of a task's examples is called, behind the task's name.
const SHOTS: &str = "/shots";

/// The data of a task as a recipe of the data side, whose sources are the rows and, where the task names some, those that examples
/// are taken from.
///
/// # Errors
/// It cannot be one.
pub fn as_recipe(file: &TaskFile) -> Result<RecipeFile> {
    let task = &file.task;
    let name = file.place.name();
    let mut recipe: Recipe = toml::from_str("name = 'eval'\ntitle = ''\nabout = ''\nkind = 'text'\nsource = []")
        .map_err(|e| Error::task(&name, e.to_string()))?;
    recipe.source = vec![task.data.source(&task.name)];
    let shots = task.shots.as_ref().and_then(|shots| shots.data.as_ref());
    recipe.source.extend(shots.map(|data| data.source(&format!("{}{SHOTS}", task.name))));
    let place = file.place.clone();
    Ok(RecipeFile { recipe, file: name, place, changes: Vec::new(), rebuilt: None, hub: BTreeMap::new() })
}

/// The rows that a task asks about, and those that its examples are taken from, if `shots` of them are wanted and they are others.
///
/// # Errors
/// They are not there, or cannot be read.
pub fn read(
    file: &TaskFile,
    (origin, shots): (&Origin, bool),
    progress: &dyn Progress,
) -> Result<(DataRows, Option<DataRows>)> {
    let loaded = as_recipe(file)?;
    let sources = &loaded.recipe.source;
    let task = &file.task;
    let asked = part(&loaded, (&sources[0], &task.data), origin, progress)?;
    let data = task.shots.as_ref().and_then(|shots| shots.data.as_ref());
    let examples = match (data, sources.get(1)) {
        (Some(data), Some(source)) if shots => Some(part(&loaded, (source, data), origin, progress)?),
        _ => None,
    };
    Ok((asked, examples))
}

fn part(
    loaded: &RecipeFile,
    (source, data): (&Source, &Data),
    origin: &Origin,
    progress: &dyn Progress,
) -> Result<DataRows> {
    let told = |error| of_task(&source.name, error);
    let cancelled = || progress.cancelled();
    let found = origin::files(loaded, source, origin, &cancelled).map_err(told)?;
    let limits = plan::limits(&loaded.recipe);
    let (mapping, types) = (Mapping::default(), BTreeMap::new());
    let projection = Projection { schema: &Evaluation, mapping: &mapping, extra: &[], types: &types };
    let most = data.rows.unwrap_or(usize::MAX);
    let mut all = DataRows::default();
    for SourceFile { place, name, sha256 } in found.files {
        if all.rows.len() >= most {
            break;
        }
        let input = source::inspect(&place, &name, source, &limits, &cancelled);
        if cancelled() {
            return Err(Error::Interrupted);
        }
        let input = input.map_err(|e| told(e.into()))?;
        if sha256.is_some_and(|sha256| sha256 != input.inspection.sha256) {
            let message = "is not what the Hub states (another SHA-256): remove it, and run the same command again";
            return Err(Error::damaged(place.path(), message));
        }
        let number = all.files.len();
        for slice in &input.inspection.slices {
            for item in input.open(slice, &projection, &limits).map_err(|e| told(e.into()))? {
                if cancelled() {
                    return Err(Error::Interrupted);
                }
                match item.map_err(|e| told(e.into()))? {
                    Item::Row { at, row } if all.rows.len() < most => {
                        all.rows.push(DataRow { file: number, row: at.row, columns: row.columns });
                    }
                    Item::Row { .. } => break,
                    Item::Bad { at, reason, .. } => return Err(told(SourceError::at(&name, at, reason).into())),
                }
            }
        }
        all.files.push(DataFile {
            file: name,
            repo: source.repo.clone(),
            commit: origin.commit(&source.name).map(str::to_owned),
            bytes: input.bytes,
            sha256: input.content(),
        });
    }
    if all.rows.is_empty() {
        return Err(Error::task(&loaded.file, format!("its data ({}) has no rows", source.name)));
    }
    Ok(all)
}

/// An error in a file of a task. Its data is read as sources are, and its table has the same keys and another name.
fn of_task(name: &str, error: setaccio_curate::Error) -> Error {
    use setaccio_curate::Error as Theirs;
    let table = if name.ends_with(SHOTS) { "[shots.data]" } else { "[data]" };
    let told = |message: String| message.replace(&format!("source `{name}`"), table).replace("[[source]]", table);
    Error::Curate(match error {
        Theirs::Source(SourceError { file, at, message }) => SourceError { file, at, message: told(message) }.into(),
        Theirs::Recipe { file, message } => Theirs::Recipe { file, message: told(message) },
        Theirs::Argument(message) => Theirs::Argument(told(message)),
        other => other,
    })
}
