//! How fast rules go over texts, on one core, with nothing read or written meanwhile.
//!
//!     cargo run --release -p setaccio-filters --example rules -- pipelines/clean-web-it.toml filters/lists \
//!         < pages.jsonl
//!
//! Reads JSON lines `{text}` from standard input and runs them through each `[[filter]]` of the recipe alone, then through
//! all of them, for `SECONDS` each; lists are looked for in the folder that is named. The rule `clean_mc4_it` is timed whole, and
//! without telling the language. Prints a Markdown table: nanoseconds of processor time a byte of the rows that are read, megabytes a second, and
//! rows kept, which must not change with speed. On Linux other work of the machine does not count, but for what it does to caches.

use std::{error::Error, fs, io::BufRead, path::PathBuf, time::Instant};

use setaccio_base::row::{Kind, Row};
use setaccio_filters::{context::Context, filter::Filter, pipeline::Pipeline, registry};

const SECONDS: f64 = 1.0;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).map(PathBuf::from);
    let recipe = args.next().ok_or("which recipe?")?;
    let context = Context { list_dirs: args.collect(), ..Context::default() };
    let recipe: toml::Table = fs::read_to_string(recipe)?.parse()?;
    let mut rows = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let page: serde_json::Value = serde_json::from_str(&line?)?;
        rows.push(Row::text(page["text"].as_str().ok_or("a page has no `text`")?));
    }
    if rows.is_empty() {
        return Err("no pages on standard input".into());
    }
    let tables = recipe.get("filter").and_then(toml::Value::as_array).ok_or("the recipe has no filters")?;
    println!("| filters | ns/byte | MB/s | rows kept |");
    println!("|---|---:|---:|---:|");
    let mut all = Vec::new();
    for table in tables.iter().filter_map(toml::Value::as_table) {
        let mut table = table.clone();
        table.remove("as");
        if table.remove("off").is_some_and(|off| off.as_bool() == Some(true)) {
            continue;
        }
        let name = table.remove("rule").and_then(|r| r.as_str().map(str::to_owned)).ok_or("a filter has no `rule`")?;
        let compiled = || registry::find(&name)?.compile(table.clone(), &context);
        time(&name, compiled()?, &rows)?;
        let quick: Vec<Filter> = compiled()?.into_iter().filter(|f| !f.name.ends_with("language")).collect();
        if quick.len() < compiled()?.len() {
            time(&format!("{name}, without language"), quick, &rows)?;
        }
        all.extend(compiled()?);
    }
    time("all", all, &rows)
}

#[allow(clippy::cast_precision_loss, reason = "rates are shown to a few digits")]
fn time(name: &str, filters: Vec<Filter>, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    if filters.is_empty() {
        return Ok(());
    }
    let pipeline = Pipeline::new(filters, Kind::Text)?;
    let bytes: u64 = rows.iter().map(|row| row.content.bytes()).sum();
    let (mut seconds, mut runs, mut kept) = (0.0, 0.0, 0);
    while seconds < SECONDS {
        let mut copies = rows.to_vec();
        let mut tallies = pipeline.tallies();
        let began = processor_time();
        let start = Instant::now();
        kept = copies.iter_mut().filter_map(|row| pipeline.apply(row, &mut tallies).is_none().then_some(())).count();
        // The system counts in steps of a few milliseconds, which sums even out.
        seconds += match (began, processor_time()) {
            (Some(began), Some(ended)) => ended - began,
            _ => start.elapsed().as_secs_f64(),
        };
        runs += 1.0;
    }
    let rate = bytes as f64 / 1e6 * runs / seconds;
    println!("| {name} | {:.2} | {rate:.1} | {kept} of {} |", 1e3 / rate, rows.len());
    Ok(())
}

/// Seconds that a processor has worked for this thread, where the system tells.
fn processor_time() -> Option<f64> {
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split(' ').next()?.parse::<f64>().ok().map(|nanoseconds| nanoseconds / 1e9)
}
