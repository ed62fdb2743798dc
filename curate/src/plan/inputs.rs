//! The input files of a plan: found, inspected, several at a time.

use setaccio_base::{
    bundle::Place,
    parallel::{ordered_map, thread_pool},
    progress::Progress,
};
use setaccio_dataset::recipe::{Recipe, Source};

use super::{
    identity::Identity,
    inspected::{Inspected, Turn},
};
use crate::{
    error::{Error, Result, SourceError},
    recipe::RecipeFile,
    source::{
        self, InputFile, Inspection, Limits, Mapping, Names, Schema, find_schema,
        origin::{self, Origin},
        subset::Subset,
    },
};

/// One input file.
pub struct PlanFile {
    /// Number of its source in the recipe.
    pub source: u16,
    /// How its columns are laid out.
    pub schema: &'static dyn Schema,
    /// How they become its schema's.
    pub mapping: Mapping,
    /// What was found.
    pub input: InputFile,
    identity: Option<Identity>,
}

impl PlanFile {
    /// Check that it is still the one that was inspected.
    ///
    /// # Errors
    /// It was changed meanwhile.
    pub fn check_unchanged(&self) -> Result<()> {
        check_unchanged(&self.input, self.identity)
    }
}

/// Check that a file is still the one of this identity.
///
/// # Errors
/// It was changed meanwhile.
pub fn check_unchanged(input: &InputFile, identity: Option<Identity>) -> Result<()> {
    let Place::Disk { path, .. } = &input.place else { return Ok(()) };
    if Some(Identity::of(path).map_err(Error::io("read", path))?) == identity {
        return Ok(());
    }
    let message = "was changed while the build read it; run the build again once it is whole";
    Err(Error::damaged(path, message))
}

/// How a recipe has its inputs read, without counting what is compressed.
pub fn limits(recipe: &Recipe) -> Limits {
    let read = &recipe.read;
    Limits {
        slice_bytes: read.task_bytes,
        max_row_bytes: read.max_row_bytes,
        count_compressed: false,
        window_log: read.window_log,
    }
}

/// The sources of which only a part is read. Files behind a source's limit are let go: nothing of them is read, and
/// nothing of the output may depend on whether they are here.
pub fn subsets(recipe: &Recipe, origin: &Origin, files: &mut Vec<PlanFile>, found: &[usize]) -> Vec<Subset> {
    let limit = recipe.read.limit;
    let (mut rows, mut read) = (vec![0; found.len()], vec![0; found.len()]);
    files.retain(|file| {
        let source = usize::from(file.source);
        let needed = limit.is_none_or(|limit| rows[source] < limit);
        rows[source] += file.input.inspection.rows.unwrap_or(0);
        read[source] += usize::from(needed);
        needed
    });
    let most =
        recipe.sample.as_ref().and_then(|s| s.files).map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let subset = |(i, source): (usize, &Source)| {
        let (of, chosen) = (found[i], found[i].min(most));
        let limit = limit.filter(|limit| rows[i] > *limit || read[i] < chosen);
        let unlisted = matches!(origin, Origin::Hub(fetched) if fetched.get(&source.name).is_some_and(|f| f.unlisted));
        (read[i] < of || limit.is_some() || unlisted).then(|| Subset {
            source: source.name.clone(),
            read: read[i],
            chosen,
            of,
            limit,
            unlisted,
        })
    };
    recipe.source.iter().enumerate().filter_map(subset).collect()
}

/// What each source has beside the files that are read.
#[derive(Default)]
pub struct Beside {
    /// How many files it has in all.
    pub of: Vec<usize>,
    /// What its folders hold that is not read.
    pub left_out: Vec<Vec<String>>,
}

/// Find and inspect all input files, several at a time, but for those that other processes of the build inspect.
pub fn inspect(
    loaded: &RecipeFile,
    origin: &Origin,
    (limits, inspected): (&Limits, Option<&Inspected>),
    jobs: usize,
    progress: &dyn Progress,
) -> Result<(Vec<PlanFile>, Beside)> {
    let (mut found, mut beside, mut mappings) = (Vec::new(), Beside::default(), Vec::new());
    for (i, source) in loaded.recipe.source.iter().enumerate() {
        let schema = find_schema(&source.schema)
            .map_err(|e| Error::recipe(&loaded.file, format!("source `{}`: {e}", source.name)))?;
        if schema.kind() != loaded.recipe.kind {
            return Err(Error::recipe(
                &loaded.file,
                format!(
                    "source `{}`: schema `{}` gives rows of kind {}, and the recipe's kind is {}",
                    source.name,
                    source.schema,
                    schema.kind().name(),
                    loaded.recipe.kind.name()
                ),
            ));
        }
        let wrong = |e| Error::recipe(&loaded.file, format!("source `{}`: {e}", source.name));
        mappings.push(Mapping::new(source, schema).map_err(wrong)?);
        let number = u16::try_from(i).map_err(|_| Error::recipe(&loaded.file, "more than 65,535 sources"))?;
        let mut there = origin::files(loaded, source, origin, &|| progress.cancelled())?;
        if let Some(rebuilt) = &loaded.rebuilt {
            // What has come since then is no input of that build.
            let before = there.files.len();
            there.files.retain(|file| rebuilt.lock.input.iter().any(|input| input.file == file.name));
            there.of -= before - there.files.len();
        }
        beside.of.push(there.of);
        beside.left_out.push(there.left_out);
        found.extend(there.files.into_iter().map(|file| (number, schema, file)));
    }
    let sources = &loaded.recipe.source;
    progress.stage("inspect", found.len() as u64);
    let inspect = |i: usize, known: Option<(Inspection, Identity)>| -> Result<PlanFile> {
        let (source, schema, origin::SourceFile { place, name, sha256 }) = &found[i];
        let path = place.path();
        let (known, before) = match (known, place) {
            (Some((inspection, identity)), _) => (Some(inspection), Some(identity)),
            (None, Place::Disk { .. }) => (None, Identity::of(path).ok()),
            (None, Place::Bundled { .. } | Place::Stored(_)) => (None, None),
        };
        let of = &sources[usize::from(*source)];
        let input = match known {
            Some(inspection) => source::inspected(place, name, of, limits, inspection),
            None => source::inspect(place, name, of, limits, &|| progress.cancelled()),
        };
        // A pass that was cancelled has nothing to say of the file.
        let input = if progress.cancelled() { Err(Error::Interrupted) } else { input.map_err(Error::from) }?;
        if sha256.as_ref().is_some_and(|s| *s != input.inspection.sha256) {
            let message = "is not what the Hub states (another SHA-256): remove it, and run the same command again";
            // Behind the name is a link to the content, which is what has to go.
            let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            return Err(Error::damaged(path, message));
        }
        progress.advance(1, "");
        let mapping = mappings[usize::from(*source)].clone();
        let file = PlanFile { source: *source, schema: *schema, mapping, input, identity: before };
        file.check_unchanged()?;
        Ok(file)
    };
    // Nothing, where another process is at it and nobody waits.
    let look = |i: usize, wait: bool| -> Result<Option<PlanFile>> {
        let (source, _, origin::SourceFile { place, name, .. }) = &found[i];
        let (Some(shared), Place::Disk { path, .. }) = (inspected, place) else { return inspect(i, None).map(Some) };
        let Ok(identity) = Identity::of(path) else { return inspect(i, None).map(Some) };
        let key = Inspected::key(name, &sources[usize::from(*source)], limits)?;
        match shared.turn(&key, &identity, wait, &|| progress.cancelled())? {
            Turn::Known(inspection) => inspect(i, Some((inspection, identity))).map(Some),
            Turn::Mine(lock) => {
                let file = inspect(i, None)?;
                if let Some(identity) = &file.identity {
                    shared.keep(lock, &key, identity, &file.input.inspection)?;
                }
                Ok(Some(file))
            }
            Turn::Busy => Ok(None),
        }
    };
    let order = inspected.map_or_else(|| (0..found.len()).collect(), |shared| shared.order(found.len()));
    let pool = thread_pool(jobs)?;
    let mut files: Vec<Option<PlanFile>> = found.iter().map(|_| None).collect();
    for (order, wait) in [(order, false), (Vec::new(), true)] {
        let mut left = order;
        if wait {
            left.extend((0..files.len()).filter(|i| files[*i].is_none()));
        }
        ordered_map(
            &pool,
            left.len(),
            |at| Ok::<_, Error>((left[at], look(left[at], wait)?)),
            |(i, file)| {
                files[i] = file;
                Ok(())
            },
        )?;
    }
    let files: Vec<PlanFile> = files.into_iter().flatten().collect();
    for (number, source) in (0..).zip(sources) {
        let of: Vec<&PlanFile> = files.iter().filter(|file| file.source == number).collect();
        check_rows(source, &of)?;
        check_kinds(source, &of)?;
    }
    Ok((files, beside))
}

/// A source without any row is a mistake; a file without any beside others is what some programs write.
fn check_rows(source: &Source, files: &[&PlanFile]) -> Result<()> {
    if files.iter().any(|file| file.input.inspection.rows != Some(0)) {
        return Ok(());
    }
    match files {
        [] => Ok(()),
        [only] => Err(SourceError::no_rows(&only.input.name, source).into()),
        _ => {
            let names: Names = files.iter().map(|file| &file.input.name).collect();
            let (source, n) = (&source.name, files.len());
            Err(Error::Argument(format!("source `{source}`: none of its {n} files holds a row: {names}")))
        }
    }
}

/// A text beside tables is rather a note on them than a document of the set.
fn check_kinds(source: &Source, files: &[&PlanFile]) -> Result<()> {
    let of = |text| {
        files
            .iter()
            .find(|f| f.input.inspection.rows != Some(0) && f.input.reader.plain_text() == text)
            .map(|f| &f.input.name)
    };
    match (of(true), of(false)) {
        (Some(text), Some(table)) => Err(Error::Argument(format!(
            "source `{}`: {text} is plain text, and {table} is not: name the files of one kind only",
            source.name
        ))),
        _ => Ok(()),
    }
}
