//! The ledger, from what the tasks and the writing counted.

use std::collections::{BTreeMap, BTreeSet};

use setaccio_base::{
    card::markdown::{code, plain},
    filter_report::Tally,
    numbers::grouped,
    row::Renamed,
};
use setaccio_dataset::{
    ledger::{
        ColumnRows, EvaluationCount, Flow, Ledger, RenamedRows, RepeatCount, RuleCount, SourceFlow, SourceTally, Stage,
    },
    recipe::Source,
    seal::FORMAT,
};

use crate::{
    pipeline::{
        filter::{self, BAD_ROW, DECONTAMINATION},
        gather::{SourceCounts, TaskCounts},
        rejects::{NEAR, REPEATS, SEMANTIC},
        resolver::{NAMED, Removed},
        write::WriteOutput,
    },
    plan::Plan,
    source::{Mapping, Names, short},
};

/// Put the counts of tasks and writing together.
pub fn compose(plan: &Plan, tasks: &TaskCounts, output: &WriteOutput) -> Ledger {
    let recipe = &plan.loaded.recipe;
    let counts = &output.counts;
    let n = recipe.source.len();
    let filters = filter::names(plan);
    let flows = |of: fn(&SourceCounts) -> Flow| tasks.sources.iter().map(of).collect::<Vec<Flow>>();
    let (read, screen) = (flows(|counts| counts.read), flows(|counts| counts.screen));
    let mut tallies = vec![vec![Tally::default(); n]; filters.len()];
    for (source, counts) in tasks.sources.iter().enumerate() {
        for (sum, tally) in tallies.iter_mut().zip(&counts.tallies) {
            sum[source].add(tally);
        }
    }
    let unread = columns(plan, tasks, |counts| &counts.unread);
    let absent = columns(plan, tasks, |counts| &counts.absent);
    let renamed = renamed(plan, tasks);
    let names: Vec<&str> = recipe.source.iter().map(|s| s.name.as_str()).collect();
    let split: Vec<Flow> = counts
        .sample
        .iter()
        .map(|f| Flow { rows_in: f.rows_out, bytes_in: f.bytes_out, rows_out: f.rows_out, bytes_out: f.bytes_out })
        .collect();
    let screens = filters.iter().zip(&tallies).map(|(name, tally)| rule(name, &names, tally)).collect();
    let losses = |name: &str, flows: &[Flow]| {
        let tallies: Vec<Tally> = flows
            .iter()
            .map(|f| Tally {
                dropped: f.rows_in - f.rows_out,
                dropped_bytes: f.bytes_in.saturating_sub(f.bytes_out),
                ..Tally::default()
            })
            .collect();
        vec![rule(name, &names, &tallies)]
    };
    // What has a name of its own is no ordinary copy.
    let repeated: Vec<Tally> = counts.repeats.iter().map(|removed| removed.tally).collect();
    let leaks = output.validation.is_some();
    let asked = |name: &str| match (name, &recipe.dedup) {
        (NEAR, Some(dedup)) => dedup.near.is_some(),
        (SEMANTIC, _) => recipe.semantic().is_some(),
        (REPEATS, _) => recipe.repeats().is_some(),
        (DECONTAMINATION, _) => leaks,
        _ => false,
    };
    let named = NAMED.map(|name| (name, counts.named.of(name))).into_iter().chain([(REPEATS, repeated.as_slice())]);
    let named = named.filter(|(name, tallies)| asked(name) || tallies.iter().any(|tally| tally.dropped > 0));
    let named: Vec<_> = named.collect();
    let mut ordinary = counts.dedup.clone();
    for (flow, removed) in ordinary.iter_mut().zip(&counts.repeats) {
        flow.bytes_in = flow.bytes_in.saturating_sub(removed.bytes);
    }
    for (_, tallies) in &named {
        ordinary = ordinary.iter().zip(*tallies).map(|(flow, tally)| without(flow, tally)).collect();
    }
    let mut dedup = losses("dedup", &ordinary);
    dedup.extend(named.iter().map(|(name, tallies)| rule(name, &names, tallies)));
    let stages = vec![
        stage("read", &names, &read, losses(BAD_ROW, &read)),
        stage("screen", &names, &screen, screens),
        stage("dedup", &names, &counts.dedup, dedup),
        stage("sample", &names, &counts.sample, losses("sample", &counts.sample)),
        stage("split", &names, &split, Vec::new()),
    ];
    let splits = counts.splits.iter().filter(|s| s.split == "train" || s.rows > 0).cloned().collect();
    Ledger {
        format: FORMAT,
        digest: String::new(),
        recipe_lock_sha256: String::new(),
        recipe: recipe.name.clone(),
        fingerprint: plan.lock.fingerprint.clone(),
        kind: Some(recipe.kind),
        stages,
        splits,
        lengths: counts.lengths.lengths(),
        mix: counts.lengths.mix(&recipe.source),
        extras: output.extras.clone(),
        evaluations: evaluations(plan, tasks).into_iter().chain(output.validation.clone()).collect(),
        repeats: asked(REPEATS).then(|| repeat_count(&counts.repeats)),
        notes: notes(plan, output, (&unread, &absent, &renamed), &read),
        unread,
        absent,
        renamed,
        files: output.files.clone(),
    }
}

/// What rows of all sources lost.
fn repeat_count(sources: &[Removed]) -> RepeatCount {
    let mut all = Removed::default();
    for removed in sources {
        all.add(removed);
    }
    let Removed { tally, units, characters, .. } = all;
    RepeatCount { rows: tally.rows_edited, units, characters, dropped: tally.dropped }
}

/// A flow as if what a rule dropped had not come in.
fn without(flow: &Flow, tally: &Tally) -> Flow {
    Flow { rows_in: flow.rows_in - tally.dropped, bytes_in: flow.bytes_in.saturating_sub(tally.dropped_bytes), ..*flow }
}

/// What a person should know of the output, in sentences.
fn notes(
    plan: &Plan,
    output: &WriteOutput,
    (unread, absent, renamed): (&[ColumnRows], &[ColumnRows], &[RenamedRows]),
    read: &[Flow],
) -> Vec<String> {
    let recipe = &plan.loaded.recipe;
    let sample = recipe.sample.clone().unwrap_or_default();
    let subsets = plan.subsets.iter().map(|subset| subset.note(&sample, recipe.dedup.is_some()));
    let empty = recipe.output.keep.keys().filter(|name| !output.counts.filled.contains(*name)).map(|name| {
        format!("The kept column {} is empty in every row: no source has it beside its content.", code(name))
    });
    let rows = |source: &str| recipe.source.iter().zip(read).find(|(s, _)| s.name == source).map(|(_, f)| f.rows_out);
    let unread = unread.chunk_by(|a, b| a.source == b.source);
    let unread = unread.map(|columns| unread_note(columns, rows(&columns[0].source).unwrap_or(0)));
    let made =
        (0..).zip(&recipe.source).filter_map(|(number, source)| template_note(&source.name, plan.mapping(number)?));
    let absent = absent.chunk_by(|a, b| a.source == b.source);
    let absent = absent.map(|columns| absent_note(columns, rows(&columns[0].source).unwrap_or(0)));
    let renamed = renamed.chunk_by(|a, b| a.source == b.source);
    let renamed = renamed.map(|names| renamed_note(names, rows(&names[0].source).unwrap_or(0)));
    let without_rows = (0..).zip(&recipe.source).filter_map(|(number, source)| {
        let of: Vec<_> = plan.files.iter().filter(|file| file.source == number).map(|file| &file.input).collect();
        let names: Names = of.iter().filter(|f| f.inspection.rows == Some(0)).map(|f| &f.name).collect();
        let (source, none, all) = (&source.name, grouped(names.count()), grouped(of.len() as u64));
        let told =
            || format!("Of the {all} files of `{source}` {none} hold no rows: {}.", names.clone().written(plain));
        (names.count() > 0).then(told)
    });
    let left_out = recipe.source.iter().zip(&plan.left_out).filter(|(_, names)| !names.is_empty()).map(left_out_note);
    let missing = plan.evaluations.iter().map(|found| &found.missing).filter(|missing| !missing.is_empty());
    let missing = missing.map(|missing| {
        let names: Names = missing.iter().collect();
        format!("These evaluation sets were not there, and rows were not held against them: {}.", names.written(code))
    });
    let files = missing.chain(subsets).chain(left_out).chain(without_rows);
    output
        .notes
        .iter()
        .cloned()
        .chain(files)
        .chain(empty)
        .chain(unread)
        .chain(made)
        .chain(absent)
        .chain(renamed)
        .collect()
}

/// Columns that `of` counts, source by source.
fn columns(plan: &Plan, tasks: &TaskCounts, of: fn(&SourceCounts) -> &BTreeMap<String, u64>) -> Vec<ColumnRows> {
    let sources = plan.loaded.recipe.source.iter().zip(&tasks.sources);
    let entry = |source: &Source, column: &String, rows: u64| ColumnRows {
        source: source.name.clone(),
        column: column.clone(),
        rows,
    };
    sources
        .flat_map(|(source, counts)| of(counts).iter().map(move |(column, rows)| entry(source, column, *rows)))
        .collect()
}

/// What rows were held against, set by set.
fn evaluations(plan: &Plan, tasks: &TaskCounts) -> Vec<EvaluationCount> {
    let Some(index) = plan.evaluations.as_ref().and_then(|found| found.index.as_ref()) else { return Vec::new() };
    let mut found = vec![0; index.sets.len()];
    for item in &tasks.contaminated.items {
        found[index.set_of(*item)] += 1;
    }
    let rows = |set: usize| tasks.contaminated.rows.get(set).copied().unwrap_or(0);
    let sets = index.sets.iter().enumerate();
    sets.map(|(i, set)| EvaluationCount {
        set: set.name.clone(),
        items: set.items,
        short: set.short,
        found: found[i],
        rows: rows(i),
    })
    .collect()
}

/// What is called otherwise than in its source, source by source.
fn renamed(plan: &Plan, tasks: &TaskCounts) -> Vec<RenamedRows> {
    let mut all = Vec::new();
    for (source, counts) in plan.loaded.recipe.source.iter().zip(&tasks.sources) {
        let mut renamed: Vec<&(Renamed, u64)> = counts.renamed.iter().collect();
        renamed.sort();
        let entry = |(renamed, rows): &(Renamed, u64)| RenamedRows {
            source: source.name.clone(),
            renamed: renamed.clone(),
            rows: *rows,
        };
        all.extend(renamed.into_iter().map(entry));
    }
    all
}

/// A sentence on the roles and fields of one source, of this many rows, that have other names here.
fn renamed_note(names: &[RenamedRows], all: u64) -> String {
    let tell = |RenamedRows { renamed: Renamed { what, from, to }, rows, .. }: &RenamedRows| {
        let some =
            if *rows < all { format!(" (in {} of {} rows)", grouped(*rows), grouped(all)) } else { String::new() };
        format!("the {what} {} is {}{some}", code(from), code(to))
    };
    let told: Vec<String> = names.iter().map(tell).collect();
    format!("What `{}` calls otherwise: {}.", names[0].source, told.join(", "))
}

/// A sentence on what the folders of one source hold and nothing read.
fn left_out_note((source, names): (&Source, &Vec<String>)) -> String {
    let (source, count, names) = (&source.name, grouped(names.len() as u64), names.iter().collect::<Names>());
    format!(
        "The folders of `{source}` hold {count} more files, of another kind, that were not read: {}.",
        names.written(plain)
    )
}

/// A sentence on what nothing read of one source, of this many rows. A column of which some rows have a value that nothing
/// reads may be read of others.
fn unread_note(columns: &[ColumnRows], all: u64) -> String {
    let tell = |name: &str| {
        let some = columns.iter().find(|c| short(&c.column) == name && c.rows < all);
        let rows = some.map(|c| format!(" (of {} of {} rows)", grouped(c.rows), grouped(all)));
        code(name) + &rows.unwrap_or_default()
    };
    let (source, names) = (&columns[0].source, columns.iter().map(|c| &c.column).collect::<Names>());
    format!("Columns of `{source}` that nothing reads, so that they are not in this data set: {}.", names.written(tell))
}

/// A sentence on the columns of one source that templates make.
fn template_note(source: &str, mapping: &Mapping) -> Option<String> {
    if mapping.templates.is_empty() {
        return None;
    }
    let made: Names = mapping.templates.iter().map(|(column, _)| column).collect();
    let read: BTreeSet<&str> = mapping.read().collect();
    let read: Names = read.into_iter().collect();
    Some(format!(
        "Of `{source}`, templates of the recipe make {} of {}; the recipe's lock has them.",
        made.written(code),
        read.written(code)
    ))
}

/// A sentence on what templates of one source, of this many rows, ask for and do not find.
fn absent_note(columns: &[ColumnRows], all: u64) -> String {
    let tell = |name: &str| {
        let rows = columns.iter().find(|c| short(&c.column) == name).map_or(0, |c| c.rows);
        let of = if rows == all { "all rows".into() } else { format!("{} of {} rows", grouped(rows), grouped(all)) };
        format!("{} ({of})", code(name))
    };
    let (source, names) = (&columns[0].source, columns.iter().map(|c| &c.column).collect::<Names>());
    format!("Columns that a template of `{source}` asks for and that are not there: {}.", names.written(tell))
}

fn stage(name: &str, names: &[&str], flows: &[Flow], rules: Vec<RuleCount>) -> Stage {
    let mut flow = Flow::default();
    for part in flows {
        flow.add(part);
    }
    let sources = names.iter().zip(flows).map(|(n, f)| SourceFlow { source: (*n).to_owned(), flow: *f }).collect();
    Stage { stage: name.to_owned(), flow, sources, rules }
}

fn rule(name: &str, names: &[&str], tallies: &[Tally]) -> RuleCount {
    let mut tally = Tally::default();
    for part in tallies {
        tally.add(part);
    }
    let touched = names.iter().zip(tallies).filter(|(_, t)| **t != Tally::default());
    let sources = touched.map(|(n, t)| SourceTally { source: (*n).to_owned(), tally: *t }).collect();
    RuleCount { rule: name.to_owned(), tally, sources }
}
