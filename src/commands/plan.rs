//! `setaccio plan`: what a build would do, without doing it.

use anyhow::Result;
use setaccio_base::card::UNKNOWN_LICENSE;
use setaccio_curate::{
    pipeline::{filter, spill},
    recipe::pins::Pins,
    source::origin::Origin,
};
use setaccio_dataset::{columns::Extras, recipe::Sample};

use crate::{
    fetch::{HubListing, Need},
    inputs,
    progress::Bar,
    style::{BAD, FAINT, HEAD, NAME, count, megabytes},
};

/// Show stages, inputs, expected rows and columns without running anything
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    inputs: inputs::Args,
}

pub fn run(args: &Args) -> Result<()> {
    let progress = Bar::new()?;
    let wanted = (Need::List, &Pins::default());
    let (plan, listed) = args.inputs.plan(args.inputs.load()?, wanted, &progress, true)?;
    progress.clear();
    let recipe = &plan.loaded.recipe;
    anstream::println!("{HEAD}{}{HEAD:#} ({}): {}", recipe.name, recipe.kind.name(), recipe.title);
    if plan.loaded.place.folder().is_none() {
        anstream::println!(
            "{FAINT}as the program carries it; `setaccio recipes build {}` prints it{FAINT:#}",
            recipe.name
        );
    }
    let own = recipe.source.iter().any(|s| s.local()) && plan.origin != Origin::Files;
    let but = if own { ", but for local files" } else { "" };
    anstream::println!("\n{HEAD}sources{HEAD:#}, read from {}{but}", plan.origin);
    for (number, source) in (0_u16..).zip(&recipe.source) {
        let stated = source.rows.map_or(String::new(), |n| format!("; its publisher states {} rows", count(n)));
        anstream::println!(
            "  {NAME}{}{NAME:#}  schema {}, {}, {}{stated}",
            source.name,
            source.schema,
            if source.local() { "local files".into() } else { format!("{} at {}", source.repo, source.revision) },
            source.license
        );
        if source.license == UNKNOWN_LICENSE {
            anstream::println!(
                "    {BAD}the licence is not known:{BAD:#} write into the recipe what may be done with these rows"
            );
        }
        for file in plan.files.iter().filter(|f| f.source == number) {
            let input = &file.input;
            let rows =
                input.inspection.rows.map_or_else(|| "rows not counted".into(), |n| format!("{} rows", count(n)));
            let tasks = input.inspection.slices.len();
            anstream::println!("    {}  {}, {rows}, {tasks} tasks", input.name, megabytes(input.bytes));
            anstream::println!("    {FAINT}sha256 {}{FAINT:#}", input.inspection.sha256);
        }
    }
    listed.iter().for_each(list);
    let expected: Option<u64> = plan.files.iter().map(|f| f.input.inspection.rows).sum();
    let expected = expected.filter(|_| listed.is_empty()).map_or_else(|| "unknown".into(), count);
    anstream::println!("\n{HEAD}stages{HEAD:#}");
    // What is not here yet cannot be cut into tasks.
    let tasks = if listed.is_empty() { format!(", in {} tasks", plan.tasks.len()) } else { String::new() };
    anstream::println!("  read    {expected} rows expected{tasks}; a bad row: {}", recipe.read.on_bad_row);
    let steps = filter::names(&plan);
    anstream::println!("  filter  {}", if steps.is_empty() { "nothing".into() } else { steps.join(" > ") });
    for list in &plan.lock.list {
        anstream::println!(
            "          {FAINT}list {}: {} entries, sha256 {}{FAINT:#}",
            list.name,
            list.entries,
            list.sha256
        );
    }
    match &recipe.dedup {
        Some(dedup) => anstream::println!(
            "  dedup   exact, on the {}; kept first: {}",
            format!("{:?}", dedup.on).to_lowercase(),
            preference(&plan)
        ),
        None => anstream::println!("  dedup   none"),
    }
    let weights = recipe.source.iter().any(|s| s.weight.is_some());
    anstream::println!(
        "  sample  {}{}",
        sample(recipe.sample.as_ref()),
        if weights { ", by weight of source" } else { "" }
    );
    anstream::println!(
        "  split   {:.1}% validation, by content hash; seed {}",
        recipe.split.validation * 100.0,
        recipe.seed
    );
    anstream::println!("\n{HEAD}columns{HEAD:#}");
    let schema = spill::output_schema(&spill::schema(recipe, &plan.renderer), recipe.kind, &Extras::default());
    for field in schema.fields() {
        anstream::println!("  {:<12} {}", field.name(), field.data_type());
    }
    Ok(())
}

/// What the Hub has of a source.
fn list(listed: &HubListing) {
    let (read, of) = (count(listed.files.len() as u64), count(listed.of as u64));
    let [bytes, cached] = [listed.bytes(), listed.cached()].map(megabytes);
    anstream::println!(
        "\n  {NAME}{}{NAME:#} at {}: {read} of {of} files would be read, {bytes}, of which {cached} are in the cache",
        listed.source,
        listed.commit
    );
    for file in &listed.files {
        anstream::println!("    {}  {}", file.path, megabytes(file.size));
        if let Some(sha256) = &file.sha256 {
            anstream::println!("    {FAINT}sha256 {sha256}{FAINT:#}");
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
