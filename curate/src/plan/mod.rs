//! The checked plan: raw recipe in, everything that a build needs out, before a row is read.

use std::path::{Path, PathBuf};

use setaccio_base::{bundle::Place, filter_report::ListUse, hub_name, progress::Progress, sha256, shell};
use setaccio_dataset::{
    decontamination::Decontamination,
    lock::{Asset, RecipeLock},
    recipe::{ColumnType, Semantic, Source},
};
use setaccio_filters::{
    context::Context,
    filter::{Filter, Signal},
    pipeline::Pipeline,
    registry,
    rule::RuleError,
};
use setaccio_templates::{Clock, Renderer};

use crate::{
    embedding::Embedder,
    error::{Error, Result, SourceError},
    recipe::{
        self, RecipeFile,
        paths::cut,
        pins::{self, Pins},
    },
    source::{Items, Limits, Mapping, Projection, origin::Origin, stray, subset::Subset},
};

mod earlier;
mod evaluations;
pub(crate) mod identity;
mod inputs;
mod inspected;
mod lock;
mod tasks;

pub use earlier::Earlier;
pub use evaluations::{Evaluations, texts};
pub use inputs::{PlanFile, limits};
pub use inspected::Inspected;
pub use tasks::{Part, Task};

/// Part of every task key: raised when the engine would write other bytes for the same recipe and input.
pub const ENGINE: &str = concat!("setaccio ", env!("CARGO_PKG_VERSION"), " engine 4");

/// Part of every task key beside it: raised when spill files are written otherwise and the output is the same.
const SPILL_FORMAT: u32 = 4;

/// Part of the task keys of recipes that look for near-duplicates: raised when sketches are made otherwise.
const SKETCH_FORMAT: u32 = 1;

/// Part of the task keys of recipes that tell what rows mean: raised when vectors are made otherwise.
const VECTOR_FORMAT: u32 = 1;

/// Text that one bucket should hold, in bytes; writing holds one partition a thread.
const BUCKET_BYTES: u64 = 4 << 20;

/// Ranges that tasks cut their rows into, at least: as many as there are buckets of 256 MB of text.
pub const SPILL_BUCKETS: u32 = 64;

/// What decisions about all rows may hold, in bytes, about: of more they look at a part after the other. No byte of a build depends
/// on it.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Hashes of a band, a thread. Each of several shares of them reads them all.
    pub band: u64,
    /// Items that validate, a process. All rows are looked through once for each part of them.
    pub items: u64,
}

impl Default for Held {
    fn default() -> Self {
        Self { band: 64 << 20, items: 256 << 20 }
    }
}

/// Everything decided.
pub struct Plan {
    /// The recipe and where it is.
    pub loaded: RecipeFile,
    /// Where the inputs are taken from.
    pub origin: Origin,
    /// Input files, in order of source, then name.
    pub files: Vec<PlanFile>,
    /// Sources of which only some files are read.
    pub subsets: Vec<Subset>,
    /// Of each source, the names of what its folders hold beside the files that are read.
    pub left_out: Vec<Vec<String>>,
    /// The data sets that `dedup.near.against` names.
    pub earlier: Vec<Earlier>,
    /// What rows are held against, if the recipe names evaluation sets or earlier builds.
    pub evaluations: Option<Evaluations>,
    /// The model that `dedup.semantic` names.
    pub embedder: Option<Embedder>,
    /// The work, in order.
    pub tasks: Vec<Task>,
    /// The compiled rules.
    pub pipeline: Pipeline,
    /// Template and tokenizer.
    pub renderer: Renderer,
    /// Number of ranges that the output's order is cut into, a power of two.
    pub buckets: u32,
    /// What decisions about all rows may hold.
    pub held: Held,
    /// Everything resolved; equal fingerprints, equal output bytes.
    pub lock: RecipeLock,
}

/// What a plan is made from.
pub struct Request<'a> {
    /// The recipe.
    pub loaded: RecipeFile,
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
    /// What other processes of the same build found in the inputs, if there are others.
    pub inspected: Option<Inspected>,
}

/// Number of ranges that the output's order is cut into for so many bytes of text, a power of two.
pub fn buckets_of(text_bytes: u64) -> u32 {
    u32::try_from((text_bytes / BUCKET_BYTES).next_power_of_two().clamp(1, 4096)).unwrap_or(4096)
}

/// Find and inspect the inputs, compile the rules, cut the work into tasks.
///
/// # Errors
/// Whatever is wrong with the recipe, its rules, lists, template or input files.
pub fn make(request: Request<'_>) -> Result<Plan> {
    let Request { mut loaded, origin, list_dirs, jobs, progress, count, inspected } = request;
    let recipe = &loaded.recipe;
    let own = recipe.source.iter().all(Source::local);
    let hub = matches!(origin, Origin::Hub(_)) && evaluations::any_of_the_hub(recipe);
    let whole = if own && !hub { Origin::Files } else { origin.clone() };
    let (renderer, assets, tokenizer) = assets(&loaded)?;
    let context = Context { list_dirs, tokenizer, recipe: Some(loaded.place.clone()), ..Context::default() };
    let pipeline = compile(&loaded, &context)?;
    keep_signals(&mut loaded, &pipeline)?;
    let recipe = &loaded.recipe;
    let mut lists = context.used.into_inner().unwrap_or_default();
    lists.sort();
    lists.dedup();
    let embedder = embedder(&loaded)?;
    let mut models = context.files.into_inner().unwrap_or_default();
    models.extend(embedder.iter().flat_map(Embedder::files).cloned());
    models.sort();
    models.dedup();
    let count_compressed = count || recipe.read.limit.is_some();
    let limits = Limits { count_compressed, ..limits(recipe) };
    let (mut files, beside) = inputs::inspect(&loaded, &whole, (&limits, inspected.as_ref()), jobs, progress)?;
    let subsets = inputs::subsets(recipe, &whole, &mut files, &beside.of);
    let text_bytes: u64 = files.iter().map(|f| f.input.inspection.text_bytes).sum();
    let buckets = buckets_of(text_bytes);
    let earlier = earlier(&loaded)?;
    let against = earlier.iter().map(Earlier::asset).collect();
    // Of evaluation sets a folder is read even where every source is of files of one's own.
    let evaluations = evaluations::load(&loaded, &origin, progress)?;
    let origin = whole;
    let held_against = evaluations.iter().flat_map(|found| &found.inputs).cloned().collect();
    let assets = lock::Assets { output: assets, lists, models, against, evaluation: held_against };
    let mut lock = lock::resolve(ENGINE, &loaded, &origin, &files, assets);
    if let Some(rebuilt) = &loaded.rebuilt {
        lock = lock::again(lock, &rebuilt.lock, &loaded, progress).map_err(|m| Error::recipe(&loaded.file, m))?;
    }
    let mut plan = Plan {
        origin,
        files,
        subsets,
        left_out: beside.left_out,
        earlier,
        evaluations,
        embedder,
        tasks: Vec::new(),
        pipeline,
        renderer,
        buckets,
        held: Held::default(),
        lock,
        loaded,
    };
    plan.tasks = tasks::cut(&plan);
    Ok(plan)
}

impl Plan {
    /// How inputs are read.
    fn limits(&self) -> Limits {
        limits(&self.loaded.recipe)
    }

    /// What a part of a task reads.
    ///
    /// # Errors
    /// The file cannot be opened, or lacks a column that its schema needs.
    pub fn read(&self, part: &Part) -> std::result::Result<Items, SourceError> {
        let file = &self.files[part.file];
        let extra = self.columns();
        let projection = Projection {
            schema: file.schema,
            mapping: &file.mapping,
            extra: &extra,
            types: &self.loaded.recipe.output.keep,
        };
        let stray = |mut error: SourceError| {
            error.message.extend(self.stray(file));
            error
        };
        let items = file.input.open(&part.slice, &projection, &self.limits()).map_err(stray)?;
        let rows = part.rows.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        Ok(Box::new(items.take(rows)))
    }

    /// Of each file, whether a task reads it together with others.
    pub fn grouped(&self) -> Vec<bool> {
        let mut grouped = vec![false; self.files.len()];
        for part in self.tasks.iter().filter(|task| task.parts.len() > 1).flat_map(|task| &task.parts) {
            grouped[part.file] = true;
        }
        grouped
    }

    /// What is said where one's own file cannot be read that may hold no rows: one of another kind than most of its source.
    pub fn stray(&self, file: &PlanFile) -> Option<String> {
        if !self.source(file).local() {
            return None;
        }
        let of = self.files.iter().filter(|other| other.source == file.source);
        let files: Vec<(&str, u64)> = of.map(|other| (other.input.name.as_str(), other.input.bytes)).collect();
        stray(&files, &file.input.name)
    }

    /// What rows that train are held against those that validate with, if that is wanted and there are any: the settings, and whether
    /// numbers keep their values.
    pub fn held_against_validation(&self) -> Option<(&Decontamination, bool)> {
        let recipe = &self.loaded.recipe;
        let settings = recipe.decontamination.as_ref().filter(|settings| settings.validation)?;
        (recipe.split.validation > 0.0).then_some((settings, evaluations::keeps_numbers(recipe, settings)))
    }

    /// The parts of all tasks that are of this source, in order.
    pub fn parts(&self, source: u16) -> impl Iterator<Item = &Part> {
        self.tasks.iter().filter(move |task| task.source == source).flat_map(|task| &task.parts)
    }

    /// Number of ranges that tasks cut their rows into: no fewer than [`Self::buckets`], and the same for small data, so that
    /// what a task left still fits when files are added.
    pub fn spill_buckets(&self) -> u32 {
        self.buckets.max(SPILL_BUCKETS)
    }

    /// Number of ranges that the hashes of a band are cut into, a power of two: one for each 64 ranges of the rows.
    pub fn band_parts(&self) -> u32 {
        self.spill_buckets() / SPILL_BUCKETS
    }

    /// Number of buckets that tasks put band hashes into: so many ranges of each band.
    pub fn band_buckets(&self) -> u32 {
        let near = self.loaded.recipe.dedup.as_ref().and_then(|dedup| dedup.near.as_ref());
        near.map_or(1, |near| near.bands * self.band_parts())
    }

    /// How the columns of the source of this number become those of its schema, once its files are here.
    pub fn mapping(&self, source: u16) -> Option<&Mapping> {
        self.files.iter().find(|file| file.source == source).map(|file| &file.mapping)
    }

    /// Columns that filters and output read, beside those of the schemas.
    pub fn columns(&self) -> Vec<String> {
        let keep = self.loaded.recipe.output.keep.keys().cloned();
        keep.chain(self.pipeline.columns().map(str::to_owned)).collect()
    }

    /// The commits that branches and tags stand for.
    pub fn pins(&self) -> Pins {
        let sets = recipe::evaluations::sets(&self.loaded.recipe);
        let sets: Vec<Source> = sets.iter().map(recipe::evaluations::source).collect();
        let sources = self.loaded.recipe.source.iter().chain(&sets);
        sources
            .filter_map(|s| Some((pins::key(&s.repo, &s.revision), self.origin.commit(&s.name)?.to_owned())))
            .collect()
    }

    /// The command that builds it on this machine, as a shell reads it.
    pub fn command(&self) -> String {
        let mut command = format!("setaccio build {}", shell::word(&self.loaded.place.to_string()));
        if matches!(self.origin, Origin::Dir(_) | Origin::Hub(_)) {
            command.extend([" --from ", &shell::word(&self.origin.to_string())]);
        }
        self.loaded.changes.iter().for_each(|change| command.extend([" ", change]));
        command
    }

    /// The source of a planned file.
    pub fn source(&self, file: &PlanFile) -> &Source {
        &self.loaded.recipe.source[usize::from(file.source)]
    }
}

/// Open the data sets that `dedup.near.against` names.
fn earlier(loaded: &RecipeFile) -> Result<Vec<Earlier>> {
    let near = loaded.recipe.dedup.as_ref().and_then(|dedup| dedup.near.as_ref());
    let open = |name: &String| {
        const KEY: &str = "dedup.near.against";
        let mut shown = name.clone();
        cut(&mut shown);
        Earlier::open(shown, &loaded.folder_of(KEY, name)?, Some(loaded.recipe.kind), KEY)
    };
    near.iter().flat_map(|near| &near.against).map(open).collect()
}

/// Read the model that `dedup.semantic.model` names.
fn embedder(loaded: &RecipeFile) -> Result<Option<Embedder>> {
    let semantic = loaded.recipe.semantic();
    let open = |semantic: &Semantic| {
        const KEY: &str = "dedup.semantic.model";
        let embedder = Embedder::open(&loaded.folder_of(KEY, &semantic.model)?, KEY)?;
        // The cache calls a folder by its commit.
        let named = hub_name::parse(&semantic.model).is_some();
        Ok(if named { embedder.named(&semantic.model) } else { embedder })
    };
    semantic.map(open).transpose()
}

/// A filter by itself.
pub struct Single {
    /// Its name in rejects and ledger.
    pub name: String,
    /// What it does.
    pub pipeline: Pipeline,
}

/// The filters of a recipe, each by itself, and the word lists that they use.
///
/// # Errors
/// Whatever is wrong with the recipe, its rules, lists or tokenizer.
pub fn singles(loaded: &RecipeFile, list_dirs: Vec<PathBuf>) -> Result<(Vec<Single>, Vec<ListUse>)> {
    let (_, _, tokenizer) = assets(loaded)?;
    let context = Context { list_dirs, tokenizer, recipe: Some(loaded.place.clone()), ..Context::default() };
    let all = compile(loaded, &context)?;
    let single = |(name, filter): (&str, Filter)| {
        let pipeline = Pipeline::new(vec![filter], loaded.recipe.kind);
        Ok(Single {
            name: name.to_owned(),
            pipeline: pipeline.map_err(|e| Error::recipe(&loaded.file, e.to_string()))?,
        })
    };
    let singles = all.names().zip(filters(loaded, &context)?).map(single).collect::<Result<_>>()?;
    let mut lists = context.used.into_inner().unwrap_or_default();
    lists.sort();
    lists.dedup();
    Ok((singles, lists))
}

/// Compile `[[filter]]`.
fn compile(loaded: &RecipeFile, context: &Context) -> Result<Pipeline> {
    let filters = filters(loaded, context)?;
    Pipeline::new(filters, loaded.recipe.kind).map_err(|e| Error::recipe(&loaded.file, e.to_string()))
}

fn filters(loaded: &RecipeFile, context: &Context) -> Result<Vec<Filter>> {
    let recipe = &loaded.recipe;
    let mut filters = Vec::new();
    for (i, table) in recipe.filter.iter().enumerate() {
        let wrap = |error| Error::Rule {
            file: loaded.file.clone(),
            number: i + 1,
            rule: if table.rule.is_empty() { "no rule named".into() } else { table.rule.clone() },
            error,
        };
        let info = registry::find(&table.rule).map_err(wrap)?;
        table.check().map_err(|message| wrap(RuleError::setting(message)))?;
        if table.off {
            // What it says is to be right on the day that it is switched on.
            info.check(table.settings.clone()).map_err(wrap)?;
            continue;
        }
        if !info.kinds.contains(&recipe.kind) {
            let message = format!("it does not work on rows of kind {}", recipe.kind.name());
            return Err(wrap(RuleError::setting(message)));
        }
        let mut compiled = info.compile(table.settings.clone(), context).map_err(wrap)?;
        if let Some(alias) = &table.alias {
            for filter in &mut compiled {
                // A rule of several parts calls them `rule.part`.
                let part = filter.name.strip_prefix(&table.rule).unwrap_or_default();
                filter.name = format!("{alias}{part}").into();
            }
        }
        filters.append(&mut compiled);
    }
    Ok(filters)
}

/// Columns that filters write are columns of the output.
fn keep_signals(loaded: &mut RecipeFile, pipeline: &Pipeline) -> Result<()> {
    let again = loaded.rebuilt.is_some();
    for Signal { column, whole } in pipeline.signals() {
        let kind = if *whole { ColumnType::Int64 } else { ColumnType::Float64 };
        let output = &mut loaded.recipe.output;
        let rendered = output.template.is_some() && output.rendered == *column;
        // A lock names the columns of filters among those that are kept.
        let named = output.keep.insert(column.clone(), kind).is_some_and(|named| !again || named != kind);
        if rendered || named {
            let message = format!("a filter writes the column `{column}`, which `output` names for something else");
            return Err(Error::recipe(&loaded.file, message));
        }
    }
    recipe::check_columns(&loaded.recipe).map_err(|message| Error::recipe(&loaded.file, message))
}

type Assets = (Renderer, Vec<Asset>, Option<std::sync::Arc<tokenizers::Tokenizer>>);

/// Load the template and the tokenizer.
fn assets(loaded: &RecipeFile) -> Result<Assets> {
    let output = &loaded.recipe.output;
    let mut hashes = Vec::new();
    let mut read = |key: &str, name: &str| {
        let place = if key == "template" { loaded.inside("output.template", name)? } else { loaded.place.beside(name) };
        let bytes = place.read_plain().map_err(Error::io("read", place.path()))?.into_owned();
        hashes.push(Asset { key: key.to_owned(), sha256: sha256::hex_digest(&bytes) });
        Ok::<_, Error>((place, bytes))
    };
    let template = output.template.as_ref().map(|name| read("template", name)).transpose()?;
    let wrong = |place: &Place, e: &dyn std::fmt::Display| {
        setaccio_templates::Error(format!("{}: {e}; see output.template", place.path().display()))
    };
    let template = template
        .map(|(place, bytes)| {
            let source = String::from_utf8(bytes).map_err(|e| wrong(&place, &format!("not UTF-8: {e}")))?;
            // Once without the tokens, so that what is said of it names its file.
            Renderer::new(Some(&source), None, "", "").map_err(|e| wrong(&place, &e))?;
            Ok::<_, setaccio_templates::Error>(source)
        })
        .transpose()?;
    let tokenizer = output.tokenizer.as_ref().map(|name| read("tokenizer", name)).transpose()?;
    let load = |(place, bytes): (Place, Vec<u8>)| setaccio_templates::tokenizer(place.path(), &bytes);
    let tokenizer = tokenizer.map(load).transpose()?;
    let clock = output.date.as_deref().map(|date| {
        let wrong = || Error::recipe(&loaded.file, format!("output.date = {date:?}: a date is written as 2026-01-31"));
        Clock::date(date).ok_or_else(wrong)
    });
    let clock = clock.transpose()?;
    let renderer =
        Renderer::new(template.as_deref(), tokenizer.clone(), &output.bos_token, &output.eos_token)?.at(clock);
    if clock.is_none() && renderer.reads("strftime_now") {
        let example = "give `output.date`, for instance \"2026-01-31\", and every build writes the same";
        return Err(Error::recipe(&loaded.file, format!("output.template asks for the date of the day: {example}")));
    }
    Ok((renderer, hashes, tokenizer))
}

/// The recipe folder's `lists`; the repository's own, seen from the recipe or from where the command runs;
/// then those that were installed.
pub fn list_dirs(loaded: &RecipeFile, installed: &Path) -> Vec<PathBuf> {
    let beside = loaded.place.folder().map(|folder| [folder.join("lists"), folder.join("../filters/lists")]);
    beside.into_iter().flatten().chain(["filters/lists".into(), installed.to_owned()]).collect()
}
