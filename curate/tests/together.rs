//! Joining by several processes together makes the bytes of one, whatever becomes of some of them. Threads stand for processes here: their
//! locks keep them apart just so.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rows and bytes are far below 2^53"
)]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use setaccio_base::progress::Progress;
use setaccio_curate::{
    Error,
    build::{self, BuildOptions, BuildOutcome, Part},
    parts::{self, Standing, State},
    pipeline::team::Team,
    plan::{self, Held, Plan, Request},
    recipe,
    source::origin::Origin,
};
use setaccio_dataset::ledger::Ledger;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Rows that are the same, nearly the same, or have lines in common, in two sources.
fn rows(source: usize) -> String {
    let words = ["gatto", "cane", "pane", "sole", "mare", "libro", "treno", "monte", "fiume", "vento"];
    let sentence = |seed: usize| {
        let drawn = |place: u64| xxh3_64_with_seed(&(seed as u64).to_le_bytes(), place);
        let word = |place: u64| format!("{}{}", words[(drawn(place) % 10) as usize], drawn(place) % 997);
        (0..8).map(word).collect::<Vec<_>>().join(" ")
    };
    let mut rows = String::new();
    for i in 0..600 {
        let seed = if i % 7 == 0 { i / 2 } else { i + source * 550 };
        let mut text: String = (0..8).fold(String::new(), |text, line| text + &sentence(seed * 8 + line) + "\n");
        if i % 5 == 0 {
            let _ = write!(text, "Fine della pagina {i}.");
        }
        if i % 11 == 0 {
            text.push_str("Tutti i diritti sono riservati al nostro editore.\n");
        }
        let _ = writeln!(rows, "{}", serde_json::json!({ "text": text }));
    }
    rows
}

/// A plan of two sources, cut into more ranges than so few rows would be.
fn plan(dir: &Path, settings: &str) -> Plan {
    let mut recipe = "name = 'lab'\ntitle = 'Lab'\nabout = 'A test'\nkind = 'text'\n".to_owned();
    for (number, name) in ["a", "b"].into_iter().enumerate() {
        fs::create_dir_all(dir.join("data").join(name)).unwrap();
        fs::write(dir.join("data").join(name).join("rows.jsonl"), rows(number)).unwrap();
        let _ = write!(
            recipe,
            "[[source]]\nname = '{name}'\nschema = 'text'\nrepo = 'test/{name}'\nrevision = 'main'\nfiles = ['*.jsonl']\n\
             samples = 'none.jsonl'\nlicense = 'mit'\n{}",
            if settings.contains("weighted") { "weight = 1.0\n" } else { "" }
        );
    }
    let small = "[read]\ntask_bytes = 40000\n[output]\nshard_bytes = 30000\nrow_group_bytes = 8000\n[split]\nvalidation = 0.1\n";
    fs::write(dir.join("lab.toml"), recipe + small + settings).unwrap();
    let loaded = recipe::load(&dir.join("lab.toml"), &[]).unwrap();
    let (origin, list_dirs) = (Origin::Dir(dir.join("data")), Vec::new());
    let request = Request { loaded, origin, list_dirs, jobs: 2, progress: &(), count: false, inspected: None };
    let mut plan = plan::make(request).unwrap();
    plan.buckets = 32;
    plan
}

fn run(plan: &Plan, out: &Path, part: Part, progress: &dyn Progress) -> Result<BuildOutcome, Error> {
    build::run(plan, out, BuildOptions { part, force: false, jobs: 2, keep_tasks: 0 }, progress)
}

fn published(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in ["", "data", "rejects"] {
        for entry in fs::read_dir(out.join(folder)).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            found.insert(Path::new(folder).join(entry.file_name()), fs::read(entry.path()).unwrap());
        }
    }
    found
}

fn slices(plan: &Plan, out: &Path) {
    for number in 1..=3 {
        run(plan, out, Part::Slice { number, of: 3 }, &()).unwrap();
    }
}

/// What each kind of decision about all rows is asked for by.
const RECIPES: [(&str, &str); 7] = [
    ("nothing is compared", ""),
    ("copies and a sample", "[dedup]\n[sample]\nrows = 500\n"),
    ("near-duplicates", "[dedup]\nprefer = ['b']\n[dedup.near]\n[sample]\nfraction = 0.9\n"),
    ("spans", "[dedup]\n[dedup.repeats]\nmin_words = 3\nmin_sentences = 1\n[sample]\nrows = 700\n"),
    ("rows that validate", "[dedup]\n[decontamination]\nvalidation = true\n"),
    ("weighted", "[dedup]\n[sample]\nrows = 300\n# weighted\n"),
    ("earlier rows", "[dedup]\n[dedup.near]\nagainst = ['earlier']\nrule = 'greedy'\n"),
];

#[test]
fn any_number_of_processes_make_the_bytes_of_one() {
    for (name, settings) in RECIPES {
        let dir = TempDir::new().unwrap();
        if settings.contains("earlier") {
            let earlier = plan(dir.path(), RECIPES[1].1);
            run(&earlier, &dir.path().join("earlier"), Part::Whole, &()).unwrap();
        }
        let mut plan = plan(dir.path(), settings);
        let (alone, together) = (dir.path().join("alone"), dir.path().join("together"));
        run(&plan, &alone, Part::Whole, &()).unwrap();
        // However little is looked at at a time.
        plan.held = Held { band: 1000, items: 20_000 };
        slices(&plan, &together);
        let share = |number: usize| run(&plan, &together, Part::Share { number, of: 4 }, &());
        thread::scope(|scope| {
            let shares: Vec<_> = (1..=4).map(|number| scope.spawn(move || share(number))).collect();
            for share in shares {
                assert!(matches!(share.join().unwrap(), Ok(BuildOutcome::Written)), "{name}");
            }
        });
        let standing = Standing::of(&together, None, [None; 2]).unwrap();
        assert!(standing.shares.len() == 4 && standing.shares.iter().all(|share| share.state == State::Done), "{name}");
        assert!(!standing.published, "{name}");
        assert!(matches!(run(&plan, &together, Part::Finish, &()).unwrap(), BuildOutcome::Whole { .. }));
        let (one, other) = (published(&alone), published(&together));
        assert!(one.keys().filter(|path| path.starts_with("data")).count() > 4, "{name}: {:?}", one.keys());
        assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>(), "{name}");
        for (path, bytes) in &one {
            assert!(other[path] == *bytes, "{name}: {} differs", path.display());
        }
        assert!(!together.join(".setaccio/work").exists(), "{name}: nothing is left of it");
        // What is not there at all would be the same, too.
        let rules = [("near", "near"), ("earlier", "near"), ("spans", "repeats"), ("rows that", "decontamination")];
        let ledger: Ledger = serde_json::from_slice(&one[Path::new("ledger.json")]).unwrap();
        let drops = |rule: &str| {
            ledger.stages.iter().flat_map(|stage| &stage.rules).any(|of| of.rule == rule && of.tally.dropped > 0)
        };
        let rule = rules.into_iter().find(|(kind, _)| name.starts_with(kind));
        assert!(rule.is_none_or(|(_, rule)| drops(rule)), "{name}: nothing is dropped for it");
    }
}

/// Stops after so many pieces of work.
struct StopsAfter(AtomicUsize);

impl Progress for StopsAfter {
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }

    fn advance(&self, _: u64, _: &str) {
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    }
}

#[test]
fn a_share_that_was_stopped_goes_on_and_none_waits_for_it() {
    let dir = TempDir::new().unwrap();
    let plan = plan(dir.path(), RECIPES[2].1);
    let (alone, together) = (dir.path().join("alone"), dir.path().join("together"));
    run(&plan, &alone, Part::Whole, &()).unwrap();
    slices(&plan, &together);
    for pieces in [1, 7, 20, 40, 60, 90] {
        let stops = StopsAfter(AtomicUsize::new(pieces));
        let stopped = run(&plan, &together, Part::Share { number: 3, of: 3 }, &stops);
        assert!(matches!(stopped, Err(Error::Interrupted) | Ok(BuildOutcome::Written)), "{pieces}: {stopped:?}");
    }
    // The others never came: what joins alone does the rest.
    run(&plan, &together, Part::Finish, &()).unwrap();
    assert_eq!(published(&alone), published(&together));
}

#[test]
fn a_piece_that_the_disk_lost_is_named_and_made_anew() {
    let dir = TempDir::new().unwrap();
    let plan = plan(dir.path(), RECIPES[2].1);
    let (alone, together) = (dir.path().join("alone"), dir.path().join("together"));
    run(&plan, &alone, Part::Whole, &()).unwrap();
    let share = || run(&plan, &together, Part::Share { number: 1, of: 1 }, &());
    let said = share().unwrap_err().to_string();
    assert!(said.contains("tasks are not done yet"), "{said}");
    slices(&plan, &together);
    share().unwrap();
    let team = Team::place(&parts::work(&together), &plan.lock.fingerprint);
    // A row group's rows, and what was found of near-duplicates.
    for (stage, piece, ends) in [("rows", "00003", "blocks"), ("near", "00002", "rows"), ("small-0", "00000", "edges")]
    {
        // What needs it is to be made again.
        for stage in ["written", "files", "linked", "centres"] {
            fs::remove_dir_all(team.join(stage)).unwrap();
        }
        let path = team.join(stage).join(format!("{piece}.{ends}"));
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        let said = share().unwrap_err().to_string();
        assert!(said.contains(&format!("{piece}.{ends}: is not what")), "{said}");
        share().unwrap();
    }
    run(&plan, &together, Part::Finish, &()).unwrap();
    assert_eq!(published(&alone), published(&together));
}

/// What joining moves and holds by the formulas of docs/hpc.md, of so many rows of so many bytes of text, of which a share has a
/// near-duplicate or is one.
struct Formulas {
    rows: f64,
    /// Rows of a task.
    each: f64,
    tasks: f64,
    /// Ranges of the output's order, and of the hashes of a band.
    ranges: f64,
    parts: f64,
    bands: f64,
    near: f64,
}

impl Formulas {
    /// Blocks that a task writes: of so many ranges, those that one of its rows falls in.
    fn blocks(ranges: f64, rows: f64) -> f64 {
        ranges * (1.0 - (1.0 - 1.0 / ranges).powf(rows))
    }

    /// Bytes of the index of blocks of rows and of band hashes.
    fn index_bytes(&self) -> f64 {
        48.0 * self.tasks * (Self::blocks(self.ranges, self.each) + self.bands * Self::blocks(self.parts, self.each))
    }

    /// Bytes of it that a process holds: where those of each range begin, a part of 128 tasks.
    fn index_held(&self) -> f64 {
        4.0 * (self.tasks / 128.0).ceil() * (self.ranges + self.bands * self.parts + 5.0)
    }

    /// Bytes of what is known of rows that share a band.
    fn nodes_bytes(&self) -> f64 {
        56.0 * self.near * self.rows
    }

    /// Bytes that a thread holds of the hashes of a band: those of a part, or of a share of it.
    fn band_held(&self) -> f64 {
        let part = 16.0 * self.rows / self.parts;
        part / ((part / 67_108_864.0).floor() + 1.0).log2().ceil().exp2()
    }

    /// Bytes that a thread holds of the edges between rows that share bands, if they share all.
    fn edges_held(&self) -> f64 {
        let bytes = 32.0 * self.bands * self.near * self.rows;
        let pieces = (bytes / 1_048_576.0).min(64.0).max(bytes / 67_108_864.0).log2().ceil().exp2();
        bytes / pieces.clamp(1.0, 4096.0)
    }
}

/// Build rows of which one in ten is nearly the one before it, and hold what is left of joining against the formulas.
fn is_as_the_formulas_say(rows: usize) {
    let dir = TempDir::new().unwrap();
    drop(plan(dir.path(), RECIPES[2].1));
    // Words without digits, which count as the same.
    let word = |row: usize, place: u64| {
        let drawn = xxh3_64_with_seed(&(row as u64).to_le_bytes(), place).to_le_bytes();
        drawn.map(|byte| char::from(b'a' + byte % 26)).iter().collect::<String>()
    };
    let mut lines = String::new();
    for row in 0..rows {
        // A row that is nearly the one before it ends otherwise.
        let of = if row % 10 == 9 { row - 1 } else { row };
        let text = (0..40).map(|place| word(of, place)).collect::<Vec<_>>().join(" ");
        let _ = writeln!(lines, "{}", serde_json::json!({ "text": format!("{text} {}", word(row, 99)) }));
    }
    fs::write(dir.path().join("data/a/rows.jsonl"), lines).unwrap();
    fs::write(dir.path().join("data/b/rows.jsonl"), "{\"text\": \"ciao\"}\n").unwrap();
    let loaded = recipe::load(&dir.path().join("lab.toml"), &[]).unwrap();
    let origin = Origin::Dir(dir.path().join("data"));
    let request =
        Request { loaded, origin, list_dirs: Vec::new(), jobs: 2, progress: &(), count: false, inspected: None };
    let plan = plan::make(request).unwrap();
    let out = dir.path().join("out");
    slices(&plan, &out);
    run(&plan, &out, Part::Share { number: 1, of: 1 }, &()).unwrap();
    let team = Team::place(&parts::work(&out), &plan.lock.fingerprint);
    let bytes = |stage: &str, ends: &str| -> f64 {
        let files = fs::read_dir(team.join(stage)).unwrap().flatten().map(|entry| entry.path());
        let files = files.filter(|path| path.extension().is_some_and(|end| end == ends));
        files.map(|path| fs::metadata(path).unwrap().len() as f64).sum()
    };
    let (tasks, ranges, parts) =
        (plan.tasks.len() as f64 - 1.0, f64::from(plan.spill_buckets()), f64::from(plan.band_parts()));
    let formulas =
        Formulas { rows: rows as f64, each: rows as f64 / tasks, tasks, ranges, parts, bands: 14.0, near: 0.2 };
    let expect = |what: &str, found: f64, expected: f64| {
        assert!(
            (found / expected - 1.0).abs() < 0.03,
            "{what} of {rows} rows: {found:.0} bytes, {expected:.0} were expected"
        );
    };
    expect("the index", bytes("tasks", "index"), formulas.index_bytes());
    // Each file has 40 bytes beside its rows: where they begin and end, and hashes.
    let pieces = fs::read_dir(team.join("linked")).unwrap().count() as f64 / 3.0;
    expect("what is known of near rows", bytes("near", "rows") - 40.0 * pieces, formulas.nodes_bytes());
}

#[test]
fn what_joining_moves_is_as_the_formulas_say() {
    is_as_the_formulas_say(4_000);
    is_as_the_formulas_say(16_000);
}

#[test]
#[ignore = "soak"]
fn soak_what_joining_moves_is_as_the_formulas_say() {
    is_as_the_formulas_say(100_000);
    is_as_the_formulas_say(1_000_000);
}

#[test]
fn the_table_of_the_docs_is_what_the_formulas_give() {
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hpc.md")).unwrap();
    // Rows of 2 kB, in tasks of 16 MB; one in five has a near-duplicate or is one.
    for (rows, row) in [(1e6, "10^6"), (1e8, "10^8"), (1e9, "10^9"), (1e10, "10^10")] {
        let tasks = rows / 8_000.0;
        let buckets = plan::buckets_of((rows * 2_000.0) as u64).max(plan::SPILL_BUCKETS);
        let (ranges, parts) = (f64::from(buckets), f64::from(buckets / plan::SPILL_BUCKETS));
        let formulas = Formulas { rows, each: 8_000.0, tasks, ranges, parts, bands: 14.0, near: 0.2 };
        let megabytes = |bytes: f64| match bytes / 1e6 {
            small if small < 10.0 => format!("{small:.1} MB"),
            large if large < 10_000.0 => format!("{large:.0} MB"),
            huge => format!("{:.0} GB", huge / 1e3),
        };
        let held = formulas.band_held().max(formulas.edges_held());
        let numbers = [formulas.index_bytes(), formulas.index_held(), formulas.nodes_bytes(), held];
        let line = format!("| {row} | {} |", numbers.map(megabytes).join(" | "));
        assert!(docs.lines().any(|found| found == line), "docs/hpc.md has not the line\n{line}");
    }
}
