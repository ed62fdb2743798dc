//! Builds of small recipes, as the command line runs them.

use std::{fmt::Write as _, fs, path::Path, sync::mpsc, time::Duration};

use setaccio_base::row::{Kind, Row};
use setaccio_curate::{
    Error,
    build::{self, BuildOptions, BuildOutcome, Part},
    pipeline::filter::{Outcome, RowFilter},
    plan::{self, Plan, Request},
    recipe,
    source::{Item, origin::Origin},
};
use setaccio_filters::{
    filter::{Document, DocumentFilter, Filter, Verdict},
    pipeline::Pipeline,
};
use tempfile::TempDir;

/// A recipe of texts over one JSON lines file with these rows, and `settings` after its source.
fn plan(dir: &Path, rows: &str, settings: &str) -> Plan {
    fs::create_dir_all(dir.join("data/web")).unwrap();
    fs::write(dir.join("data/web/rows.jsonl"), rows).unwrap();
    let recipe = format!(
        "name = 'lab'\ntitle = 'Lab'\nabout = 'A test'\nkind = 'text'\n[[source]]\nname = 'web'\nschema = 'text'\n\
         repo = 'test/web'\nrevision = 'main'\nfiles = ['*.jsonl']\nsamples = 'none.jsonl'\nlicense = 'mit'\n{settings}"
    );
    fs::write(dir.join("lab.toml"), recipe).unwrap();
    let loaded = recipe::load(&dir.join("lab.toml"), &[]).unwrap();
    let origin = Origin::Dir(dir.join("data"));
    plan::make(Request { loaded, origin, list_dirs: Vec::new(), jobs: 2, progress: &(), count: false, inspected: None })
        .unwrap()
}

/// `n` different texts, of about 100 bytes each, every one of them `copies` times.
fn rows(n: usize, copies: usize) -> String {
    let mut rows = String::new();
    for i in (0..n).flat_map(|i| vec![i; copies]) {
        writeln!(rows, "{{\"text\": \"Il gatto numero {i} dorme al sole, {}\"}}", "e poi mangia ".repeat(6)).unwrap();
    }
    rows
}

fn temp() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn run(plan: &Plan, dir: &Path, part: Part) -> Result<BuildOutcome, Error> {
    build::run(plan, &dir.join("out"), BuildOptions { part, force: false, jobs: 2, keep_tasks: 0 }, &())
}

#[test]
fn a_panic_in_a_filter_ends_the_build() {
    struct Panics;
    impl DocumentFilter for Panics {
        fn filter(&self, document: &mut Document<'_>) -> Verdict {
            let text = document.content().texts().next().unwrap_or_default();
            assert!(!text.contains("numero 7 "), "a fault in a filter");
            Verdict::Keep
        }
    }
    let dir = temp();
    let mut plan = plan(dir.path(), &rows(50, 1), "[read]\ntask_bytes = 300\n");
    assert!(plan.tasks.len() > 5, "a thread waits for the turn of the one that panics");
    plan.pipeline = Pipeline::new(vec![Filter::document("panics", Panics)], Kind::Text).unwrap();
    let (ended, end) = mpsc::channel();
    let path = dir.path().to_owned();
    std::thread::spawn(move || ended.send(run(&plan, &path, Part::Whole).map(drop)));
    let ended = end.recv_timeout(Duration::from_mins(2)).expect("the build hangs");
    let message = ended.unwrap_err().to_string();
    assert!(message.contains("a fault of setaccio itself: a fault in a filter"), "{message}");
    assert!(!dir.path().join("out/ledger.json").exists());
}

#[test]
fn rejects_of_deduplication_roll_over_as_shards_do() {
    let dir = temp();
    // What is more than four row groups is written a row group at a time.
    let settings = "[dedup]\n[output]\nrow_group_bytes = 1000\nshard_bytes = 2500\n";
    let outcome = run(&plan(dir.path(), &rows(50, 3), settings), dir.path(), Part::Whole).unwrap();
    let BuildOutcome::Whole { ledger, .. } = outcome else { panic!("{outcome:?}") };
    let files = |prefix: &str| ledger.files.iter().filter(|f| f.path.starts_with(prefix)).collect::<Vec<_>>();
    let (shards, rejects) = (files("data/train-"), files("rejects/merge-"));
    assert_eq!(rejects.iter().map(|f| f.rows).sum::<u64>(), 100);
    // Twice as many rows of the same lengths.
    assert!(shards.len() > 1 && rejects.len() >= 2 * shards.len() - 1, "{} and {}", shards.len(), rejects.len());
    assert_eq!(rejects[0].path, format!("rejects/merge-00000-of-{:05}.parquet", rejects.len()));
}

#[test]
fn an_early_finish_names_the_commands_that_are_left() {
    let dir = temp();
    let plan = plan(dir.path(), &rows(50, 1), "[read]\ntask_bytes = 300\n");
    run(&plan, dir.path(), Part::Slice { number: 2, of: 3 }).unwrap();
    let message = run(&plan, dir.path(), Part::Finish).unwrap_err().to_string();
    let shown = |path: &str| dir.path().join(path).display().to_string();
    let command = |slice| {
        format!(
            "\n  setaccio build {} --from {} --out {} --task {slice}/3",
            shown("lab.toml"),
            shown("data"),
            shown("out")
        )
    };
    let (head, commands) = message.split_at(message.find('\n').unwrap());
    assert!(head.ends_with("tasks are not done yet; these commands do them:"), "{head}");
    assert_eq!(commands, command(1) + &command(3));
    run(&plan, dir.path(), Part::Slice { number: 1, of: 3 }).unwrap();
    run(&plan, dir.path(), Part::Slice { number: 3, of: 3 }).unwrap();
    assert!(matches!(run(&plan, dir.path(), Part::Finish), Ok(BuildOutcome::Whole { .. })));
}

#[test]
fn what_decides_on_a_row_also_knows_the_demands_of_the_output() {
    let dir = temp();
    let rows = "{\"text\": \"uno\", \"stars\": 5}\n{\"text\": \"due\", \"stars\": \"cinque\"}\n";
    let plan = plan(dir.path(), rows, "[output.keep]\nstars = 'int64'\n");
    let filter = RowFilter::new(&plan);
    let mut tallies = filter.tallies();
    let mut outcomes = plan.read(&plan.tasks[0].parts[0]).unwrap().map(|item| match item.unwrap() {
        Item::Row { at, row } => filter.apply(row, at, 0, &mut tallies),
        Item::Bad { reason, .. } => panic!("{reason}"),
    });
    assert!(matches!(outcomes.next(), Some(Outcome::Keep(row)) if row.row == {
        let mut kept = Row::text("uno");
        kept.columns.insert("stars".into(), 5.into());
        kept
    }));
    let Some(Outcome::Drop { rule, detail, .. }) = outcomes.next() else { panic!("the output has no place for it") };
    assert_eq!((rule.as_str(), detail.as_str()), ("output", "kept column `stars` holds \"cinque\", which is no int64"));
    drop(outcomes);
    assert_eq!(tallies.iter().map(|t| t.dropped).collect::<Vec<_>>(), [1]);
}
