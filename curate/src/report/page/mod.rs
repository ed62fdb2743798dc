//! The page that shows a build: what came in, what each rule dropped, with rows to look at, and what is left. All of it is in
//! the ledger, the lock, the shards and the rejects; the inputs are not read.
//!
//! How much it shows does not depend on how many rows there are: rules show at most ten rows a side, long texts are cut, and
//! tables end where nobody would read on, and say so.

mod bins;
mod contents;
mod dropped;
mod edits;
mod kept;
mod marks;
mod sections;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::Path,
};

use setaccio_base::{
    lock_file::Mode,
    page::{self, Page, PageRow, Written},
    progress::Progress,
};
use setaccio_dataset::{
    folder::{RECIPE_LOCK, REPORT},
    ledger::{RuleCount, Stage},
    lock::RecipeLock,
    recipe::FilterTable,
};
use setaccio_filters::personal;

use self::kept::Kept;
use super::{card, rows::repeated_id, settings};
use crate::{
    error::{Error, Result},
    folder::OutputFolder,
    plan::{self, Single},
    recipe,
};

pub use contents::{Row, read};
pub use dropped::{Place, keep_smallest, pick};
pub use marks::find;

/// Rows of a rule that are shown on each side.
const ROWS: usize = 10;
/// Rows that are shown before and after a rule edited them.
const EDITS: usize = 5;
/// Rows that a page shows; with hundreds of rules each shows fewer.
const ALL_ROWS: usize = 2400;
/// Bytes of all texts of rows.
const TEXT_BYTES: usize = 900_000;
/// Bytes of a row's texts, at least and at most.
const ROW_BYTES: [usize; 2] = [240, 2400];

/// Write the page of the build in `out` into it. `installed` is where word lists are that came later.
///
/// # Errors
/// There is no build, or it is not as it was written; the folder is in use; somebody stops it.
pub fn write(out: &Path, installed: &Path, progress: &dyn Progress) -> Result<Written> {
    // Before anything of a folder is made that holds no build.
    card::sound(out)?;
    let _held = OutputFolder::open(out, Mode::Exclusive)?;
    let page = compose(out, installed, progress)?;
    Ok(page::write(out, REPORT, &page)?)
}

/// The page of the build in `out`.
///
/// # Errors
/// There is no build, or it is not as it was written; somebody stops it.
pub fn compose(out: &Path, installed: &Path, progress: &dyn Progress) -> Result<Page> {
    let (ledger, lock) = card::sound(out)?;
    let kind = lock.recipe.kind;
    let rules: Vec<(&Stage, &RuleCount)> =
        ledger.stages.iter().flat_map(|stage| stage.rules.iter().map(move |rule| (stage, rule))).collect();
    let busy = rules.iter().filter(|(_, rule)| rule.tally.dropped > 0).count();
    let most = (ALL_ROWS / (2 * busy.max(1))).clamp(1, ROWS);

    let picked = dropped::pick(out, &ledger.files, most, progress)?;
    let folder = (out, ledger.files.as_slice(), kind);
    let places = picked.rules.values().flatten().map(|(_, place)| *place);
    let copies = picked.clusters.values().flat_map(BTreeMap::values).flat_map(|cluster| cluster.places.iter().copied());
    let mut found = contents::read(folder, places.chain(copies))?;
    let repeated = found.values().filter_map(|row| repeated_id(&row.detail)).map(str::to_owned);
    let ids: HashSet<String> = repeated.chain(picked.clusters.values().flat_map(BTreeMap::keys).cloned()).collect();
    let kept = kept::look(out, &ledger.files, (most, &ids), progress)?;
    let masks: Vec<(&str, String)> = rules.iter().filter_map(|(_, rule)| mask(&lock, rule)).collect();
    let marks: Vec<String> = masks.iter().map(|(_, mark)| mark.clone()).collect();
    let bytes = ledger.splits.iter().map(|split| split.bytes).sum();
    let measured = kept::measure(folder, bytes, (&marks, most), progress)?;

    let screened = picked.rules.iter().filter(|((stage, _), _)| stage == "screen").flat_map(|(_, rows)| rows);
    let screened = screened.filter_map(|(_, place)| found.get_key_value(place));
    let edited = rules_again(out, &lock, installed).map(|rules| edits::of_rules(&rules, screened, most.min(EDITS)));

    // What is shown of each rule, before the rows are read that stayed.
    let mut plans = Vec::new();
    for (stage, rule) in &rules {
        let name = (stage.stage.clone(), rule.rule.clone());
        let dropped: Vec<Place> = picked.rules.get(&name).into_iter().flatten().map(|(_, place)| *place).collect();
        let mask = masks.iter().position(|(of, _)| *of == rule.rule);
        let other_side = match mask {
            Some(mask) => measured.marked[mask].clone(),
            None if stage.stage == "dedup" => repeated_by(&dropped, &found, &kept),
            None if rule.tally.dropped > 0 => of_touched(rule, &kept, most),
            None => Vec::new(),
        };
        plans.push(Plan { dropped, other_side, mask: mask.map(|mask| masks[mask].1.as_str()) });
    }
    let stayed = plans.iter().flat_map(|plan| plan.other_side.iter().copied()).chain(kept.by_id.values().copied());
    let missing: BTreeSet<Place> = stayed.filter(|place| !found.contains_key(place)).collect();
    found.extend(contents::read(folder, missing)?);

    let shown = plans.iter().map(|plan| plan.dropped.len() + plan.other_side.len()).sum::<usize>();
    let edits = edited.iter().flat_map(BTreeMap::values).map(Vec::len).sum::<usize>();
    let budget = (TEXT_BYTES / (shown + edits).max(1)).clamp(ROW_BYTES[0], ROW_BYTES[1]);
    let edited = edited.map(|edited| {
        let edits = |edits: &Vec<edits::Edit>| edits.iter().filter_map(|edit| edit.shown(&found, budget)).collect();
        edited.iter().map(|(rule, of)| (rule.clone(), edits(of))).collect()
    });
    let mut rows = Rows { found: &found, budget, numbers: BTreeMap::new(), shown: Vec::new() };
    let tables = settings::tables(&lock.recipe)?;
    let text = toml::to_string(&tables).map_err(|e| Error::damaged(out.join(RECIPE_LOCK), e.to_string()))?;
    let (rules, plans, picked, kept) = (&rules, &plans, &picked, &kept);
    let told = sections::Told { ledger: &ledger, lock: &lock, rules, plans, picked, kept, text, edited };
    let mut page = sections::page(&told, &measured, &mut rows);
    page.rows = rows.shown;
    Ok(page)
}

/// The filters of a build, each by itself, where their lists and models are what they were.
fn rules_again(out: &Path, lock: &RecipeLock, installed: &Path) -> Option<Vec<Single>> {
    let loaded = recipe::load(&out.join(RECIPE_LOCK), &[]).ok()?;
    let (rules, lists) = plan::singles(&loaded, plan::list_dirs(&loaded, installed)).ok()?;
    (lists == lock.list).then_some(rules)
}

/// What is shown of a rule.
struct Plan<'a> {
    dropped: Vec<Place>,
    /// Rows that it did not drop.
    other_side: Vec<Place>,
    /// What it puts in place of what it finds.
    mask: Option<&'a str>,
}

/// The mark that a rule puts in place of personal data, and the rule.
fn mask<'r>(lock: &RecipeLock, rule: &'r RuleCount) -> Option<(&'r str, String)> {
    let kind = personal_kind(lock, &rule.rule)?;
    let FilterTable { settings, .. } = settings::table(&lock.recipe, &rule.rule)?;
    let action = settings.get("action").and_then(toml::Value::as_str).unwrap_or("mask");
    (action == "mask" && rule.tally.rows_edited > 0).then(|| (rule.rule.as_str(), kind.mark()))
}

/// The kind of personal data that a rule looks for.
fn personal_kind(lock: &RecipeLock, rule: &str) -> Option<personal::Kind> {
    let table = settings::table(&lock.recipe, rule).filter(|table| table.rule == "personal_data")?;
    let name = rule.split('#').next().unwrap_or(rule);
    let called = |kind: &personal::Kind| {
        let whole = table.alias.as_ref().unwrap_or(&table.rule);
        name.strip_prefix(whole.as_str()).is_some_and(|part| part.strip_prefix('.') == Some(kind.name()))
    };
    personal::Kind::ALL.into_iter().find(called)
}

/// The rows that these repeat.
fn repeated_by(dropped: &[Place], found: &BTreeMap<Place, Row>, kept: &Kept) -> Vec<Place> {
    let details = dropped.iter().filter_map(|place| found.get(place)).map(|row| row.detail.as_str());
    let mut places = Vec::new();
    for place in details.filter_map(|detail| kept.by_id.get(repeated_id(detail)?).copied()) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// The first rows that stayed of the sources of which a rule dropped some, evenly of all.
fn of_touched(rule: &RuleCount, kept: &Kept, most: usize) -> Vec<Place> {
    let touched = rule.sources.iter().filter(|of| of.tally.dropped > 0);
    let sources: Vec<&Vec<Place>> = touched.filter_map(|of| kept.first.get(&of.source)).collect();
    let in_turn = (0..most).flat_map(|i| sources.iter().filter_map(move |rows| rows.get(i).copied()));
    in_turn.take(most).collect()
}

/// The rows of a page, each once for each thing that is marked in it.
struct Rows<'a> {
    found: &'a BTreeMap<Place, Row>,
    budget: usize,
    numbers: BTreeMap<(Place, Option<String>), usize>,
    shown: Vec<PageRow>,
}

impl Rows<'_> {
    /// The number in the page of a row.
    fn number(&mut self, place: Place, mark: Option<&str>) -> Option<usize> {
        let key = (place, mark.map(str::to_owned));
        if let Some(number) = self.numbers.get(&key) {
            return Some(*number);
        }
        let row = self.found.get(&place)?.shown(mark, self.budget);
        let number = self.shown.len();
        self.shown.push(row);
        self.numbers.insert(key, number);
        Some(number)
    }

    /// The number of another one.
    fn push(&mut self, row: PageRow) -> usize {
        self.shown.push(row);
        self.shown.len() - 1
    }

    /// The numbers of some.
    fn numbers(&mut self, places: &[Place], mark: Option<&str>) -> Vec<usize> {
        places.iter().filter_map(|place| self.number(*place, mark)).collect()
    }
}
