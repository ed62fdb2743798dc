//! `setaccio plan`: what a build would do, without doing it.

use std::{collections::BTreeSet, time::Instant};

use anyhow::Result;
use arrow_schema::DataType;
use serde::Serialize;
use setaccio_base::{card::UNKNOWN_LICENSE, row::Renamed, shown::one_line};
use setaccio_curate::{
    build::KEPT_TASKS,
    embedding::Embedder,
    pipeline::{
        alone::Alone,
        filter::{self, Look},
        spill,
    },
    plan::{Evaluations, Plan},
    recipe::pins::Pins,
    report::estimate::{Estimate, estimate},
    source::{Mapping, Names, origin::Origin},
};
use setaccio_dataset::{
    columns::Extras,
    decontamination::Decontamination,
    recipe::{Near, OnBadRow, Sample, Semantic},
    repeats::Repeats,
};

use crate::{
    fetch::{HubListing, Need},
    inputs,
    output::Output,
    style::{BAD, FAINT, HEAD, NAME, count, counted, megabytes},
};

/// Files of a source that are listed.
const MOST_FILES: usize = 20;

/// Show stages, inputs, expected rows and columns, and what a build would take, without building anything
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    inputs: inputs::Args,
    #[command(flatten)]
    output: Output,
}

/// What a build would do.
#[derive(Serialize)]
struct Planned {
    recipe: String,
    title: String,
    kind: &'static str,
    from: &'static str,
    sources: Vec<Source>,
    /// Rows of all sources, if they could be counted.
    rows: Option<u64>,
    /// Tasks that the work is cut into, once the files are here.
    tasks: Option<usize>,
    /// Names of what decides on one row by itself, in order.
    filters: Vec<String>,
    /// What rows are held against, once the files are here.
    #[serde(skip_serializing_if = "Option::is_none")]
    decontamination: Option<HeldAgainst>,
    /// Which rows are near-duplicates.
    #[serde(skip_serializing_if = "Option::is_none")]
    near: Option<Near>,
    /// Which rows mean the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    semantic: Option<Meaning>,
    /// What rows lose that stands elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeats: Option<Repeats>,
    /// What one process decides where several join a build together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alone: Vec<Alone>,
    /// As far as the rows that were tried tell.
    columns: Vec<Column>,
    /// What a build would take, once the files are here.
    estimate: Option<Estimate>,
}

/// What rows are held against.
#[derive(Serialize)]
struct HeldAgainst {
    /// The sets, in order.
    sets: Vec<Set>,
    /// Sets that are not there.
    missing: Vec<String>,
    /// Bytes of memory that their items take.
    memory_bytes: u64,
}

/// What rows mean, and who says so.
#[derive(Serialize)]
struct Meaning {
    #[serde(flatten)]
    settings: Semantic,
    /// The model, as far as it is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

/// An evaluation set.
#[derive(Serialize)]
struct Set {
    name: String,
    items: u64,
    /// Items of too few words to be looked for.
    short: u64,
}

#[derive(Serialize)]
struct Source {
    name: String,
    schema: String,
    license: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    repo: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    revision: String,
    /// The commit that the revision stands for, where the Hub was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    files: Vec<File>,
    /// What its folders hold beside these and is not read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
    /// Columns that nothing reads, as the first rows show them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unread: Vec<String>,
    /// Roles and fields that have other names in the rows, as the first rows show them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    renamed: Vec<Renamed>,
    /// Columns of its schema that templates make.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    made: Vec<String>,
    /// Columns that these read, and of them those that none of the first rows has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    made_of: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    absent: Vec<String>,
}

#[derive(Serialize)]
struct File {
    name: String,
    bytes: u64,
    /// If they could be counted.
    rows: Option<u64>,
    /// If it is known.
    sha256: Option<String>,
    /// What its store calls it, where its hash is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    /// Once it is here.
    tasks: Option<usize>,
    /// Whether its one task reads other small files too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    grouped: bool,
}

#[derive(Serialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

pub fn run(args: &Args) -> Result<()> {
    let progress = args.output.bar();
    let wanted = (Need::List, &Pins::default());
    let began = Instant::now();
    let (plan, listed) = args.inputs.plan(args.inputs.load()?, wanted, &progress)?;
    let inspected = began.elapsed();
    // What is not here yet can be neither tried nor cut into tasks.
    let here = listed.is_empty();
    let estimate = if here { Some(estimate(&plan, args.inputs.jobs.threads(), inspected)?) } else { None };
    let looks = look(&plan)?;
    progress.clear();
    let planned = planned(&plan, &listed, estimate, looks);
    args.output.give("plan", &planned, |planned| show(planned, &plan, &listed))
}

/// Rows of each source that are looked at.
const ASKED: usize = 100;

/// What the first rows of each source show of it.
fn look(plan: &Plan) -> Result<Vec<Look>> {
    let filter = filter::RowFilter::new(plan);
    let numbers = (0_u16..).zip(&plan.loaded.recipe.source);
    Ok(numbers.map(|(number, _)| filter.look(number, ASKED)).collect::<Result<_, _>>()?)
}

fn planned(plan: &Plan, listed: &[HubListing], estimate: Option<Estimate>, looks: Vec<Look>) -> Planned {
    let (recipe, grouped) = (&plan.loaded.recipe, plan.grouped());
    let tried = estimate.iter().map(|estimate| &estimate.extras);
    let extras: Extras = tried.chain(looks.iter().map(|look| &look.extras)).chain([&recipe.extras()]).collect();
    let source = |((number, source), look): ((u16, &setaccio_dataset::recipe::Source), Look)| {
        let listing = listed.iter().find(|listed| listed.source == source.name);
        let files = plan.files.iter().zip(&grouped).filter(|(file, _)| file.source == number);
        let local = files.map(|(file, grouped)| File {
            name: file.input.name.clone(),
            bytes: file.input.bytes,
            rows: file.input.inspection.rows,
            sha256: Some(file.input.inspection.sha256.clone()).filter(|sha256| !sha256.is_empty()),
            etag: file.input.etag(),
            tasks: Some(file.input.inspection.slices.len()),
            grouped: *grouped,
        });
        let remote = listing.into_iter().flat_map(|listed| &listed.files).map(|file| File {
            name: format!("{}/{}", source.name, file.path),
            bytes: file.size,
            rows: None,
            sha256: file.sha256.clone(),
            etag: None,
            tasks: None,
            grouped: false,
        });
        Source {
            name: source.name.clone(),
            schema: source.schema.clone(),
            license: source.license.clone(),
            repo: source.repo.clone(),
            revision: source.revision.clone(),
            commit: listing.map(|listed| listed.commit.clone()),
            files: local.chain(remote).collect(),
            left_out: plan.left_out[usize::from(number)].clone(),
            unread: look.unread,
            renamed: look.renamed,
            made: source.template.keys().cloned().collect(),
            made_of: plan.mapping(number).map_or_else(Vec::new, made_of),
            absent: look.absent,
        }
    };
    let rows: Option<u64> = plan.files.iter().map(|f| f.input.inspection.rows).sum();
    let schema = spill::output_schema(&spill::schema(recipe, &plan.renderer), recipe.kind, &extras);
    Planned {
        recipe: recipe.name.clone(),
        title: recipe.title.clone(),
        kind: recipe.kind.name(),
        from: plan.origin.kind(),
        sources: (0..).zip(&recipe.source).zip(looks).map(source).collect(),
        rows: rows.filter(|_| listed.is_empty()),
        tasks: listed.is_empty().then_some(plan.tasks.len()),
        filters: filter::names(plan).into_iter().map(str::to_owned).collect(),
        decontamination: plan.evaluations.as_ref().and_then(held_against),
        near: recipe.dedup.as_ref().and_then(|dedup| dedup.near.clone()),
        semantic: recipe
            .semantic()
            .map(|settings| Meaning { settings: settings.clone(), by: plan.embedder.as_ref().map(Embedder::told) }),
        repeats: recipe.repeats().cloned(),
        alone: Alone::of(recipe),
        columns: schema
            .fields()
            .iter()
            .map(|field| Column { name: field.name().clone(), kind: type_name(field.data_type()) })
            .collect(),
        estimate,
    }
}

fn held_against(found: &Evaluations) -> Option<HeldAgainst> {
    let index = found.index.as_ref()?;
    let sets = index.sets.iter().map(|set| Set { name: set.name.clone(), items: set.items, short: set.short });
    Some(HeldAgainst { sets: sets.collect(), missing: found.missing.clone(), memory_bytes: index.bytes() })
}

/// A column's type as a person says it.
fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 => "text".into(),
        DataType::Boolean => "true or false".into(),
        DataType::Int32 => "int32".into(),
        DataType::Int64 => "int64".into(),
        DataType::Float64 => "float64".into(),
        DataType::List(item) => format!("list of {}", type_name(item.data_type())),
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|field| match type_name(field.data_type()).as_str() {
                    "text" => field.name().clone(),
                    other => format!("{}: {other}", field.name()),
                })
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

fn show(planned: &Planned, plan: &Plan, listed: &[HubListing]) {
    let recipe = &plan.loaded.recipe;
    say!("{HEAD}{}{HEAD:#} ({}): {}", recipe.name, recipe.kind.name(), recipe.title);
    if plan.loaded.place.folder().is_none() {
        say!("{FAINT}as the program carries it; `setaccio recipes build {}` prints it{FAINT:#}", recipe.name);
    }
    let own = recipe.source.iter().any(setaccio_dataset::recipe::Source::local) && plan.origin != Origin::Files;
    let but = if own { ", but for local files" } else { "" };
    say!("\n{HEAD}sources{HEAD:#}, read from {}{but}", plan.origin);
    let grouped = plan.grouped();
    for (number, source) in (0_u16..).zip(&recipe.source) {
        let stated = source.rows.map_or(String::new(), |n| format!("; its publisher states {}", counted(n, "row")));
        say!(
            "  {NAME}{}{NAME:#}  schema {}, {}, {}{stated}",
            source.name,
            source.schema,
            if source.local() { "local files".into() } else { format!("{} at {}", source.repo, source.revision) },
            source.license
        );
        if source.license == UNKNOWN_LICENSE {
            say!("    {BAD}the licence is not known:{BAD:#} write into the recipe what may be done with these rows");
        }
        let files: Vec<_> = plan.files.iter().zip(&grouped).filter(|(f, _)| f.source == number).collect();
        for (file, grouped) in files.iter().take(MOST_FILES) {
            let input = &file.input;
            let rows = input.inspection.rows.map_or_else(|| "rows not counted".into(), |n| counted(n, "row"));
            let tasks = match grouped {
                true => "in a task with others".to_owned(),
                false => counted(input.inspection.slices.len() as u64, "task"),
            };
            say!("    {}  {}, {rows}, {tasks}", one_line(&input.name), megabytes(input.bytes));
            match input.etag() {
                Some(etag) => say!("    {FAINT}ETag {}{FAINT:#}", one_line(&etag)),
                None => say!("    {FAINT}sha256 {}{FAINT:#}", input.inspection.sha256),
            }
        }
        if let Some(more) = files.get(MOST_FILES..).filter(|more| !more.is_empty()) {
            let bytes = megabytes(more.iter().map(|(file, _)| file.input.bytes).sum());
            say!("    and {} more, {bytes}; `--json` lists each", counted(more.len() as u64, "file"));
        }
        if let Some(line) = left_out(plan, number) {
            say!("    {line}");
        }
    }
    listed.iter().for_each(list);
    stages(planned, plan);
    say!("\n{HEAD}columns{HEAD:#}");
    for Column { name, kind } in &planned.columns {
        say!("  {name:<12} {kind}");
    }
    for source in planned.sources.iter().filter(|source| !source.unread.is_empty()) {
        say!(
            "  {FAINT}not read of {}: {}{FAINT:#}",
            source.name,
            one_line(&Names::of_columns(&source.unread).to_string())
        );
    }
    for source in planned.sources.iter().filter(|source| !source.made_of.is_empty()) {
        let [made, of] = [&source.made, &source.made_of].map(|names| Names::of_columns(names).to_string());
        say!("  {FAINT}made by templates of {}: {} of {}{FAINT:#}", source.name, one_line(&made), one_line(&of));
        if !source.absent.is_empty() {
            let absent = Names::of_columns(&source.absent).to_string();
            say!(
                "  {BAD}not there:{BAD:#} {} asks for {}, which its first rows have not",
                source.name,
                one_line(&absent)
            );
        }
    }
    for source in planned.sources.iter().filter(|source| !source.renamed.is_empty()) {
        let names: Vec<String> =
            source.renamed.iter().map(|Renamed { what, from, to }| format!("{what} {from} is {to}")).collect();
        say!("  {FAINT}called otherwise in {}: {}{FAINT:#}", source.name, names.join(", "));
    }
    say!("\n{HEAD}it would take{HEAD:#}");
    match &planned.estimate {
        Some(estimate) => expected(estimate, plan.loaded.recipe.read.on_bad_row),
        None => say!(
            "  {} to fetch; time and disk are estimated once the files are here (`setaccio pull`)",
            megabytes(listed.iter().map(|listed| listed.bytes() - listed.cached().min(listed.bytes())).sum())
        ),
    }
}

/// The columns that templates of a source read, each once.
fn made_of(mapping: &Mapping) -> Vec<String> {
    mapping.read().map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}

/// What the folders of a source hold beside what is read.
fn left_out(plan: &Plan, number: u16) -> Option<String> {
    let names = &plan.left_out[usize::from(number)];
    let shown: Names = names.iter().collect();
    (!names.is_empty())
        .then(|| format!("{BAD}not read:{BAD:#} {} beside these, {shown}", counted(names.len() as u64, "file")))
}

fn stages(planned: &Planned, plan: &Plan) {
    let recipe = &plan.loaded.recipe;
    let rows = planned.rows.map_or_else(|| "an unknown number of rows".into(), |n| counted(n, "row"));
    say!("\n{HEAD}stages{HEAD:#}");
    let tasks = planned.tasks.map_or_else(String::new, |n| format!(", in {}", counted(n as u64, "task")));
    say!("  read    {rows} expected{tasks}; a bad row: {}", recipe.read.on_bad_row);
    let filters = &planned.filters;
    say!("  filter  {}", if filters.is_empty() { "nothing".into() } else { filters.join(" > ") });
    for list in &plan.lock.list {
        say!("          {FAINT}list {}: {} entries, sha256 {}{FAINT:#}", list.name, list.entries, list.sha256);
    }
    for model in &plan.lock.model {
        say!("          {FAINT}{} {}: sha256 {}{FAINT:#}", model.key, model.name, model.sha256);
    }
    if let Some(settings) = &recipe.decontamination {
        decontamination(settings, planned.decontamination.as_ref());
    }
    match &recipe.dedup {
        Some(dedup) => say!(
            "  dedup   exact, on the {}; kept first: {}",
            format!("{:?}", dedup.on).to_lowercase(),
            preference(plan)
        ),
        None => say!("  dedup   none"),
    }
    if let Some(near) = recipe.dedup.as_ref().and_then(|dedup| dedup.near.as_ref()) {
        say!("          {}", near.told());
        for set in &plan.lock.against {
            say!("          {FAINT}against {}: sha256 {}{FAINT:#}", set.key, set.sha256);
        }
    }
    if recipe.semantic().is_none() && recipe.dedup.as_ref().is_some_and(|dedup| dedup.semantic.is_some()) {
        say!("          {FAINT}what rows mean is not compared: dedup.semantic.off{FAINT:#}");
    }
    if let Some(semantic) = recipe.semantic() {
        say!("          {}", one_line(&semantic.told()));
        if let Some(embedder) = &plan.embedder {
            say!("          {FAINT}by {}{FAINT:#}", one_line(&embedder.told()));
        }
    }
    if let Some(repeats) = recipe.repeats() {
        say!("          {}", repeats.told());
    }
    let weights = recipe.source.iter().any(|s| s.weight.is_some());
    say!("  sample  {}{}", sample(recipe.sample.as_ref()), if weights { ", by weight of source" } else { "" });
    say!("  split   {:.1}% validation, by content hash; seed {}", recipe.split.validation * 100.0, recipe.seed);
    if !planned.alone.is_empty() {
        let alone: Vec<&str> = planned.alone.iter().map(|alone| alone.told()).collect();
        say!(
            "  {FAINT}`--finish=I/N` shares the joining, but for what one process decides: {}{FAINT:#}",
            alone.join("; ")
        );
    }
}

/// What rows are held against.
fn decontamination(settings: &Decontamination, held: Option<&HeldAgainst>) {
    let told = settings.told();
    let Some(HeldAgainst { sets, missing, memory_bytes }) = held else {
        say!("          decontamination: {told}; the items are counted once the files are here");
        return;
    };
    let items = counted(sets.iter().map(|set| set.items).sum(), "item");
    let memory =
        if *memory_bytes < 100_000 { format!("{} kB", memory_bytes.div_ceil(1000)) } else { megabytes(*memory_bytes) };
    say!("          decontamination: {told}; {items} of {}, {memory} in memory", counted(sets.len() as u64, "set"));
    let line = |Set { name, items, short }: &Set| match short {
        0 => format!("{name} {}", count(*items)),
        _ => format!("{name} {}, of which {} too short to be looked for", count(*items), count(*short)),
    };
    say!("          {FAINT}{}{FAINT:#}", one_line(&sets.iter().map(line).collect::<Vec<_>>().join("; ")));
    if !missing.is_empty() {
        say!("          {BAD}not there:{BAD:#} {}; rows are not held against these", one_line(&missing.join(", ")));
    }
    if settings.validation {
        say!("          rows that train are held against those that validate, after deduplication");
    }
}

/// What a build would take, as far as some rows tell.
fn expected(estimate: &Estimate, on_bad_row: OnBadRow) {
    let Estimate { sampled_rows, bad_rows, rows, kept_rows, seconds, output_bytes, work_bytes, memory_bytes, .. } =
        estimate;
    say!("  time    about {}", duration(*seconds));
    let stays = if *work_bytes <= KEPT_TASKS {
        "these stay for the next build; `build --keep-tasks never` removes them"
    } else {
        "these go once it is built; `build --keep-tasks always` keeps them"
    };
    say!(
        "  disk    about {} for the data set, and {} for the build's tasks\n          {FAINT}{stays}{FAINT:#}",
        megabytes(*output_bytes),
        megabytes(*work_bytes)
    );
    say!("  memory  up to {}", megabytes(*memory_bytes));
    let tried = if sampled_rows == rows {
        "all rows, which were filtered".to_owned()
    } else {
        format!("{}, which were filtered", counted(*sampled_rows, "row"))
    };
    if *bad_rows > 0 {
        let of = format!("{} of {} that were tried cannot be read", count(*bad_rows), counted(*sampled_rows, "row"));
        let then = match on_bad_row {
            OnBadRow::Stop => "a build stops at the first: `--on-bad-row skip` goes on",
            OnBadRow::Skip => "they go to the rejects",
        };
        say!("  {BAD}bad{BAD:#}     {of}; {then}");
    }
    say!("  {FAINT}an estimate from {tried}; about {} of {} pass{FAINT:#}", count(*kept_rows), counted(*rows, "row"));
}

/// A length of time to one or two digits.
fn duration(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("{:.0} s", seconds.ceil().max(1.0)),
        ..5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} hours", seconds / 3600.0),
    }
}

/// What the Hub has of a source.
fn list(listed: &HubListing) {
    let (read, of) = (count(listed.files.len() as u64), counted(listed.of as u64, "file"));
    let [bytes, cached] = [listed.bytes(), listed.cached()].map(megabytes);
    say!(
        "\n  {NAME}{}{NAME:#} at {}: {read} of {of} would be read, {bytes}, of which {cached} are in the cache",
        listed.source,
        listed.commit
    );
    for file in &listed.files {
        say!("    {}  {}", file.path, megabytes(file.size));
        if let Some(sha256) = &file.sha256 {
            say!("    {FAINT}sha256 {sha256}{FAINT:#}");
        }
    }
}

fn sample(sample: Option<&Sample>) -> String {
    match sample.map(|s| (s.rows, s.fraction)) {
        Some((Some(rows), _)) => format!("{} rows, by seeded content hash", count(rows)),
        Some((None, Some(fraction))) => format!("{:.2}% of the rows, by seeded content hash", fraction * 100.0),
        _ => "every row".into(),
    }
}

fn preference(plan: &setaccio_curate::plan::Plan) -> String {
    let recipe = &plan.loaded.recipe;
    let prefer = recipe.dedup.iter().flat_map(|d| &d.prefer);
    let others = recipe.source.iter().map(|s| &s.name);
    let mut order: Vec<&str> = Vec::new();
    for name in prefer.chain(others) {
        if !order.contains(&name.as_str()) {
            order.push(name);
        }
    }
    order.join(", ")
}
