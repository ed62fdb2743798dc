//! The checked plan: raw recipe in, everything that a build needs out, before a row is read.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::SystemTime,
};

use serde::Serialize;
use setaccio_base::{bundle::Place, parallel, progress::Progress, sha256};
use setaccio_filters::{
    context::{Context, ListUse},
    pipeline::Pipeline,
    registry,
};
use setaccio_templates::Renderer;

use crate::{
    error::{Error, Result, SourceError},
    recipe::{
        Loaded, Recipe, Source,
        pins::{self, Pins},
        shell_word,
    },
    source::{
        self, InputFile, Items, Limits, Schema, Slice,
        origin::{self, Origin},
        subset::Subset,
    },
};

pub mod lock;

/// Part of every task key: raised when the engine would write other bytes for the same recipe and input.
pub const ENGINE: &str = concat!("setaccio ", env!("CARGO_PKG_VERSION"), " engine 1");

/// Text that one bucket should hold, in bytes; merging holds one bucket a thread.
const BUCKET_BYTES: u64 = 4 << 20;

/// Everything decided.
pub struct Plan {
    /// The recipe and where it is.
    pub loaded: Loaded,
    /// Where the inputs are taken from.
    pub origin: Origin,
    /// Input files, in order of source, then name.
    pub files: Vec<Planned>,
    /// Sources of which only some files are read.
    pub subsets: Vec<Subset>,
    /// The work, in order.
    pub tasks: Vec<Task>,
    /// The compiled rules.
    pub pipeline: Pipeline,
    /// The word lists they use.
    pub lists: Vec<ListUse>,
    /// Template and tokenizer.
    pub renderer: Renderer,
    /// SHA-256 of template and tokenizer, by the key of `[output]` that names them.
    pub assets: Vec<(String, String)>,
    /// Number of ranges that the output's order is cut into, a power of two.
    pub buckets: u32,
    /// Equal fingerprints, equal output bytes.
    pub fingerprint: String,
}

/// One input file.
pub struct Planned {
    /// Number of its source in the recipe.
    pub source: u16,
    /// How its columns are laid out.
    pub schema: &'static dyn Schema,
    /// What was found.
    pub input: InputFile,
    modified: Option<SystemTime>,
}

/// One piece of work.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its number.
    pub index: usize,
    /// Number of its file in the plan.
    pub file: usize,
    /// The part of the file.
    pub slice: Slice,
    /// Read no more rows than this.
    pub rows: Option<u64>,
    /// SHA-256 of all that decides its result.
    pub key: String,
}

/// What a plan is made from.
pub struct Request<'a> {
    /// The recipe.
    pub loaded: Loaded,
    /// Where inputs are taken from.
    pub origin: Origin,
    /// Folders to look for word lists in.
    pub list_dirs: Vec<PathBuf>,
    /// Threads.
    pub jobs: usize,
    /// Who follows it.
    pub progress: &'a dyn Progress,
    /// Count rows of compressed files too, by reading them through.
    pub count: bool,
}

/// Find and inspect the inputs, compile the rules, cut the work into tasks.
///
/// # Errors
/// Whatever is wrong with the recipe, its rules, lists, template or input files.
pub fn make(request: Request<'_>) -> Result<Plan> {
    let Request { loaded, origin, list_dirs, jobs, progress, count } = request;
    let recipe = &loaded.recipe;
    let origin = if recipe.source.iter().all(Source::local) { Origin::Files } else { origin };
    let (renderer, assets, tokenizer) = assets(&loaded)?;
    let context = Context { list_dirs, tokenizer, used: Mutex::default() };
    let pipeline = compile(&loaded, &context)?;
    let mut lists = context.used.into_inner().unwrap_or_default();
    lists.sort();
    lists.dedup();
    let count_compressed = count || recipe.read.limit.is_some();
    let limits = Limits { count_compressed, ..limits(recipe) };
    let (mut files, found) = inspect(&loaded, &origin, &limits, jobs, progress)?;
    let subsets = subsets(recipe, &origin, &mut files, &found);
    let text_bytes: u64 = files.iter().map(|f| f.input.text_bytes).sum();
    let buckets = (text_bytes / BUCKET_BYTES).next_power_of_two().clamp(1, 4096);
    let mut plan = Plan {
        origin,
        files,
        subsets,
        tasks: Vec::new(),
        pipeline,
        lists,
        renderer,
        assets,
        buckets: u32::try_from(buckets).unwrap_or(4096),
        fingerprint: String::new(),
        loaded,
    };
    plan.tasks = tasks(&plan);
    plan.fingerprint = lock::of(&plan).digest();
    Ok(plan)
}

impl Plan {
    /// How inputs are read.
    fn limits(&self) -> Limits {
        limits(&self.loaded.recipe)
    }

    /// What a task reads.
    ///
    /// # Errors
    /// The file cannot be opened, or lacks a column that its schema needs.
    pub fn read(&self, task: &Task) -> std::result::Result<Items, SourceError> {
        let Planned { schema, input, .. } = &self.files[task.file];
        let rename = &self.source(&self.files[task.file]).rename;
        let items = source::open(input, &task.slice, *schema, rename, &self.columns(), &self.limits())?;
        let rows = task.rows.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        Ok(Box::new(items.take(rows)))
    }

    /// Columns that filters and output read, beside those of the schemas.
    fn columns(&self) -> Vec<String> {
        let keep = self.loaded.recipe.output.keep.keys().cloned();
        keep.chain(self.pipeline.columns().map(str::to_owned)).collect()
    }

    /// The commit that the revision of a source stands for, where the Hub was asked.
    pub fn commit(&self, source: &str) -> Option<&str> {
        let Origin::Hub(fetched) = &self.origin else { return None };
        fetched.get(source).map(|f| f.commit.as_str())
    }

    /// The commits that branches and tags stand for.
    pub fn pins(&self) -> Pins {
        let sources = self.loaded.recipe.source.iter();
        sources.filter_map(|s| Some((pins::key(&s.repo, &s.revision), self.commit(&s.name)?.to_owned()))).collect()
    }

    /// The command that builds it on this machine, as a shell reads it.
    pub fn command(&self) -> String {
        let mut command = format!("setaccio build {}", shell_word(&self.loaded.place.to_string()));
        if matches!(self.origin, Origin::Dir(_) | Origin::Hub(_)) {
            command.push_str(&format!(" --from {}", shell_word(&self.origin.to_string())));
        }
        self.loaded.changes.iter().for_each(|change| command.extend([" ", change]));
        command
    }

    /// The source of a planned file.
    pub fn source(&self, file: &Planned) -> &Source {
        &self.loaded.recipe.source[usize::from(file.source)]
    }

    /// Check that a file is still the one that was inspected.
    ///
    /// # Errors
    /// It was changed meanwhile.
    pub fn unchanged(&self, file: usize) -> Result<()> {
        let Planned { input, modified, .. } = &self.files[file];
        let Place::Disk { path, .. } = &input.place else { return Ok(()) };
        let now = fs::metadata(path).map_err(Error::io("read", path))?;
        if now.len() == input.bytes && now.modified().ok() == *modified {
            return Ok(());
        }
        let message = "was changed while the build read it; run the build again once it is whole";
        Err(Error::damaged(path, message))
    }
}

/// Compile `[[filter]]`.
fn compile(loaded: &Loaded, context: &Context) -> Result<Pipeline> {
    let recipe = &loaded.recipe;
    let mut filters = Vec::new();
    for (i, table) in recipe.filter.iter().enumerate() {
        let mut table = table.clone();
        let named = |value: Option<toml::Value>| value.and_then(|v| v.as_str().map(str::to_owned));
        let rule = named(table.remove("rule"));
        let alias = named(table.remove("as"));
        let wrap = |error| Error::Rule {
            file: loaded.file.clone(),
            number: i + 1,
            rule: rule.clone().unwrap_or_else(|| "no rule named".into()),
            error,
        };
        let info = registry::find(rule.as_deref().unwrap_or_default()).map_err(wrap)?;
        if !info.kinds.contains(&recipe.kind) {
            let message = format!("it does not work on rows of kind {}", recipe.kind.name());
            return Err(wrap(setaccio_filters::rule::RuleError::setting(message)));
        }
        let mut compiled = info.compile(table, context).map_err(wrap)?;
        if let (Some(alias), [one]) = (alias, compiled.as_mut_slice()) {
            one.name = alias.into();
        }
        filters.append(&mut compiled);
    }
    Pipeline::new(filters, recipe.kind).map_err(|e| Error::recipe(&loaded.file, e.to_string()))
}

type Assets = (Renderer, Vec<(String, String)>, Option<std::sync::Arc<tokenizers::Tokenizer>>);

/// Load the template and the tokenizer.
fn assets(loaded: &Loaded) -> Result<Assets> {
    let output = &loaded.recipe.output;
    let mut hashes = Vec::new();
    let mut read = |key: &str, name: &str| {
        let place = loaded.place.beside(name);
        let bytes = place.read().map_err(Error::io("read", place.path()))?.into_owned();
        hashes.push((key.to_owned(), sha256::hex_digest(&bytes)));
        Ok::<_, Error>((place, bytes))
    };
    let template = output.template.as_ref().map(|name| read("template", name)).transpose()?;
    let template = template
        .map(|(place, bytes)| {
            String::from_utf8(bytes)
                .map_err(|e| setaccio_templates::Error(format!("{}: not UTF-8: {e}", place.path().display())))
        })
        .transpose()?;
    let tokenizer = output.tokenizer.as_ref().map(|name| read("tokenizer", name)).transpose()?;
    let tokenizer = tokenizer.map(|(place, _)| setaccio_templates::tokenizer(place.path())).transpose()?;
    let renderer = Renderer::new(template, tokenizer.clone(), &output.bos_token, &output.eos_token)?;
    Ok((renderer, hashes, tokenizer))
}

/// How a recipe has its inputs read, without counting what is compressed.
pub fn limits(recipe: &Recipe) -> Limits {
    let read = &recipe.read;
    Limits { slice_bytes: read.task_bytes, max_row_bytes: read.max_row_bytes, count_compressed: false }
}

/// The sources of which only a part is read. Files behind a source's limit are let go: nothing of them is read, and
/// nothing of the output may depend on whether they are here.
fn subsets(recipe: &Recipe, origin: &Origin, files: &mut Vec<Planned>, found: &[usize]) -> Vec<Subset> {
    let limit = recipe.read.limit;
    let (mut rows, mut read) = (vec![0; found.len()], vec![0; found.len()]);
    files.retain(|file| {
        let source = usize::from(file.source);
        let needed = limit.is_none_or(|limit| rows[source] < limit);
        rows[source] += file.input.rows.unwrap_or(0);
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

/// Find and inspect all input files, several at a time. Also says how many files each source has in all.
fn inspect(
    loaded: &Loaded,
    origin: &Origin,
    limits: &Limits,
    jobs: usize,
    progress: &dyn Progress,
) -> Result<(Vec<Planned>, Vec<usize>)> {
    let (mut found, mut there_are) = (Vec::new(), Vec::new());
    for (i, source) in loaded.recipe.source.iter().enumerate() {
        let schema = source::find_schema(&source.schema)?;
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
        let number = u16::try_from(i).map_err(|_| Error::recipe(&loaded.file, "more than 65,535 sources"))?;
        let there = origin::files(loaded, source, origin)?;
        there_are.push(there.of);
        found.extend(there.files.into_iter().map(|file| (number, schema, file)));
    }
    progress.stage("inspect", found.len() as u64);
    let mut files = Vec::with_capacity(found.len());
    parallel::ordered_map(
        &parallel::thread_pool(jobs)?,
        found.len(),
        |i| {
            let (source, schema, origin::File { place, name, sha256 }) = &found[i];
            let path = place.path();
            let modified = fs::metadata(path).and_then(|m| m.modified()).ok();
            let input = source::inspect(place, name, limits, &|| progress.cancelled());
            // A pass that was cancelled has nothing to say of the file.
            let input = if progress.cancelled() { Err(Error::Interrupted) } else { input.map_err(Error::from) }?;
            if sha256.as_ref().is_some_and(|s| *s != input.sha256) {
                let message = "is not what the Hub states (another SHA-256): remove it, and run the same command again";
                // Behind the name is a link to the content, which is what has to go.
                let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
                return Err(Error::damaged(path, message));
            }
            progress.advance(1, "");
            Ok(Planned { source: *source, schema: *schema, input, modified })
        },
        |file| {
            files.push(file);
            Ok(())
        },
    )?;
    Ok((files, there_are))
}

/// Cut the files into tasks, in order, and stop each source at the recipe's limit.
fn tasks(plan: &Plan) -> Vec<Task> {
    let recipe = &plan.loaded.recipe;
    let mut tasks = Vec::new();
    let mut read = vec![0_u64; recipe.source.len()];
    for (number, file) in plan.files.iter().enumerate() {
        let done = &mut read[usize::from(file.source)];
        for slice in &file.input.slices {
            let rows = recipe.read.limit.map(|limit| limit.saturating_sub(*done));
            if rows == Some(0) {
                break;
            }
            *done += slice.rows().or(file.input.rows).unwrap_or(0);
            let key = digest(&(
                (ENGINE, recipe.kind, recipe.seed, &recipe.filter, &plan.lists, &plan.assets, plan.buckets),
                (&recipe.dedup, &recipe.read, keep_and_render(plan), file.source, plan.source(file)),
                (&file.input.name, &file.input.sha256, slice, rows),
            ));
            tasks.push(Task { index: tasks.len(), file: number, slice: slice.clone(), rows, key });
        }
    }
    tasks
}

/// The part of `[output]` that tasks see; how shards are cut is no reason to run them again.
fn keep_and_render(plan: &Plan) -> impl Serialize {
    let output = &plan.loaded.recipe.output;
    (&output.keep, &output.rendered, &output.bos_token, &output.eos_token, output.zstd_level)
}

/// SHA-256 of a value's JSON, hex.
fn digest(value: &impl Serialize) -> String {
    sha256::hex_digest(&serde_json::to_vec(value).unwrap_or_default())
}

/// The recipe folder's `lists`; the repository's own, seen from the recipe or from where the command runs;
/// then those that were installed.
pub fn list_dirs(loaded: &Loaded, installed: &Path) -> Vec<PathBuf> {
    let beside = loaded.place.folder().map(|folder| [folder.join("lists"), folder.join("../filters/lists")]);
    beside.into_iter().flatten().chain(["filters/lists".into(), installed.to_owned()]).collect()
}
