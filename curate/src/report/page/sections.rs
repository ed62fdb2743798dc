//! The parts of the page, from ledger and lock and the rows that were picked.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use setaccio_base::{
    numbers::{counted, grouped, percent, tenths},
    page::{Block, Cell, Group, Of, Page, PageRow, Rule, RuleRows, Section, Step, TableRow},
    row::Kind,
};
use setaccio_dataset::{
    ledger::{Ledger, Mix, RuleCount, Stage},
    lock::RecipeLock,
    recipe::LeftOut,
};

use super::{
    Plan, Rows,
    bins::{EDGES, Lengths},
    dropped::Picked,
    kept::{Kept, Measured},
    personal_kind,
};
use crate::{
    pipeline::rejects::{CONFLICT, NEAR, SEMANTIC},
    report::{
        card::{edits, steps},
        settings,
    },
};

/// Sources that can be filtered by; the others are in the sums.
const SOURCES: usize = 60;
/// Rows of a table.
const TABLE_ROWS: usize = 400;
/// Bytes of the recipe.
const RECIPE_BYTES: usize = 150_000;

/// What is told of a build.
pub struct Told<'a> {
    pub ledger: &'a Ledger,
    pub lock: &'a RecipeLock,
    pub rules: &'a [(&'a Stage, &'a RuleCount)],
    pub plans: &'a [Plan<'a>],
    pub picked: &'a Picked,
    pub kept: &'a Kept,
    /// The recipe.
    pub text: String,
    /// Rows before and after each rule, where the rules could be asked again.
    pub edited: Option<BTreeMap<String, Vec<PageRow>>>,
}

/// The page but for its rows, which are put into `rows`.
pub fn page(told: &Told<'_>, measured: &Measured, rows: &mut Rows<'_>) -> Page {
    let Told { ledger, lock, .. } = told;
    let sources = told.sources();
    let languages: BTreeSet<&str> = ledger.mix.iter().map(|mix| mix.language.as_str()).collect();
    let names: Vec<&str> = told.rules.iter().map(|(_, rule)| rule.rule.as_str()).collect();
    let sections = [
        Some(told.flow(&sources)),
        Some(told.rules(&sources, rows)),
        told.copies(rows),
        told.lengths(measured),
        told.mix(),
        told.evaluations(),
        told.personal(),
        told.repeats(),
        told.notes(),
        Some(told.recipe()),
    ];
    Page {
        title: lock.recipe.title.clone(),
        about: vec![lock.recipe.about.trim().to_owned(), told.opening()],
        warnings: warning(lock).into_iter().collect(),
        rules: names
            .iter()
            .enumerate()
            .filter(|(i, name)| !names[..*i].contains(name))
            .map(|(_, n)| (*n).to_owned())
            .collect(),
        languages: languages.into_iter().take(TABLE_ROWS).map(str::to_owned).collect(),
        sources,
        rows: Vec::new(),
        sections: sections.into_iter().flatten().collect(),
    }
}

/// A build of samples is no data set.
fn warning(lock: &RecipeLock) -> Option<String> {
    let sampled = lock.sampled();
    match sampled.len() {
        0 => None,
        n if n == lock.recipe.source.len() => Some(
            "These are the sample rows that come with Setaccio, not the full data. They show what the recipe does."
                .into(),
        ),
        _ => Some(format!(
            "The rows of {} are the samples that come with Setaccio, not the full data.",
            sampled.join(", ")
        )),
    }
}

fn section(title: &str, text: Vec<String>, blocks: Vec<Block>) -> Section {
    Section { title: title.to_owned(), text, blocks }
}

fn heads<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

/// A table that ends where nobody reads on.
fn table(caption: &str, head: Vec<String>, mut rows: Vec<TableRow>) -> Block {
    let mut caption = caption.to_owned();
    if rows.len() > TABLE_ROWS {
        caption = format!("{caption} (the first {TABLE_ROWS} of {} rows)", grouped(rows.len() as u64));
        rows.truncate(TABLE_ROWS);
    }
    Block::Table { caption, head, rows }
}

fn plain(cells: Vec<Cell>) -> TableRow {
    TableRow { of: Of::default(), cells }
}

impl Told<'_> {
    /// The sources that a person can choose: all, or those of which most was read.
    fn sources(&self) -> Vec<String> {
        let names: Vec<&str> = self.lock.recipe.source.iter().map(|source| source.name.as_str()).collect();
        if names.len() <= SOURCES {
            return names.into_iter().map(str::to_owned).collect();
        }
        let read = self.ledger.stages.first().map_or(&[][..], |stage| &stage.sources);
        let mut largest: Vec<_> = read.iter().collect();
        largest.sort_by_key(|of| (Reverse(of.flow.rows_in), &of.source));
        let largest: BTreeSet<&str> = largest.iter().take(SOURCES).map(|of| of.source.as_str()).collect();
        names.into_iter().filter(|name| largest.contains(name)).map(str::to_owned).collect()
    }

    fn opening(&self) -> String {
        let Self { ledger, lock, .. } = self;
        let splits: Vec<String> =
            ledger.splits.iter().map(|split| format!("{} {}", grouped(split.rows), split.split)).collect();
        let what = match lock.recipe.kind {
            Kind::Text => "documents",
            Kind::Chat => "conversations",
            Kind::Preference => "preferences",
        };
        let read = ledger.stages.first().map_or(0, |stage| stage.flow.rows_in);
        format!(
            "{} of {} rows that were read are kept, {what}: {}.",
            grouped(ledger.rows_out()),
            grouped(read),
            splits.join(", ")
        )
    }

    fn flow(&self, sources: &[String]) -> Section {
        let stages: Vec<&Stage> = self.ledger.stages.iter().filter(|stage| stage.stage != "split").collect();
        let views: Vec<(&String, Ledger)> = sources.iter().map(|name| (name, self.ledger.of_source(name))).collect();
        let of = |ledger: &Ledger| -> Vec<[u64; 2]> {
            let flows = stages.iter().filter_map(|stage| ledger.stage(&stage.stage)).map(|stage| stage.flow);
            flows.map(|flow| [flow.rows_in, flow.rows_out]).collect()
        };
        let flow = Block::Flow {
            caption: "Rows from the sources on the left through each stage; what a stage dropped falls below it."
                .into(),
            stages: stages.iter().map(|stage| stage.stage.clone()).collect(),
            sources: sources.to_vec(),
            all: of(self.ledger),
            by: views.iter().map(|(name, view)| ((*name).clone(), of(view))).collect(),
        };
        let by: Vec<(&String, Vec<_>)> = views.iter().map(|(name, view)| (*name, steps(view))).collect();
        let bars = steps(self.ledger).into_iter().enumerate().map(|(i, step)| {
            let of_source = |(name, steps): &(&String, Vec<crate::report::card::Step>)| {
                let step = steps.get(i).filter(|step| step.rows_in > 0)?;
                Some(((*name).clone(), [step.rows_in, step.dropped]))
            };
            let all = [step.rows_in, step.dropped];
            Step {
                name: step.name,
                rule: step.rule,
                edits: step.edits,
                all,
                by: by.iter().filter_map(of_source).collect(),
            }
        });
        let bars = Block::Bars { caption: "Rows before each step, and what it dropped.".into(), steps: bars.collect() };
        let splits =
            self.ledger.splits.iter().map(|s| plain(vec![s.split.as_str().into(), s.rows.into(), s.bytes.into()]));
        let splits = table("Rows that are kept", heads(["split", "rows", "bytes of text"]), splits.collect());
        let more = self.lock.recipe.source.len() - sources.len();
        let text = (more > 0).then(|| {
            format!(
                "{} with fewer rows can not be chosen here; they are in all sums, and one by one in ledger.json.",
                counted(more as u64, "source")
            )
        });
        section("From sources to shards", text.into_iter().collect(), vec![flow, bars, splits])
    }

    fn rules(&self, sources: &[String], rows: &mut Rows<'_>) -> Section {
        let mut rules = Vec::new();
        for ((stage, rule), plan) in self.rules.iter().zip(self.plans) {
            let mut lists = Vec::new();
            let mut list = |title: String, rows: Vec<usize>| {
                if !rows.is_empty() {
                    lists.push(RuleRows { title, rows });
                }
            };
            let dropped = rows.numbers(&plan.dropped, None);
            let of = if dropped.len() as u64 == rule.tally.dropped {
                "all of them".into()
            } else {
                format!("{} of {}", dropped.len(), grouped(rule.tally.dropped))
            };
            list(format!("Dropped: {of}"), dropped);
            let title = match plan.mask {
                Some(mark) => format!("Kept, with {mark} in it"),
                None if stage.stage == "dedup" => "Kept: the rows that these repeat".to_owned(),
                None => "Kept: rows of the same sources that it passed".to_owned(),
            };
            list(title, rows.numbers(&plan.other_side, plan.mask));
            let edited =
                self.edited.as_ref().and_then(|edited| edited.get(&rule.rule)).filter(|_| stage.stage == "screen");
            let edited = edited.into_iter().flatten().map(|row| rows.push(row.clone())).collect();
            list("Before and after: rows that a later rule dropped".to_owned(), edited);
            let by = rule.sources.iter().filter(|of| sources.contains(&of.source));
            rules.push(Rule {
                name: rule.rule.clone(),
                stage: stage.stage.clone(),
                what: settings::told(&self.lock.recipe, &stage.stage, &rule.rule).unwrap_or_default(),
                dropped: rule.tally.dropped,
                edits: edits(&rule.tally),
                by: by.map(|of| (of.source.clone(), of.tally.dropped)).collect(),
                lists,
            });
        }
        let mut text = vec![
            "Of each rule the dropped rows with the smallest ids are shown, which is a sample: an id is a hash of what a row says. Marked \
             is what a rule matched, where it matched words."
                .to_owned(),
        ];
        let edited = self.rules.iter().any(|(_, rule)| !edits(&rule.tally).is_empty());
        if edited && self.edited.is_some() {
            text.push(
                "Edits are shown of rows that a later rule dropped, which lie in the rejects as they were read. What an edit took away from a row \
                 that stayed is in no file of the build; `setaccio preview` shows such rows as they are read and as they become."
                    .into(),
            );
        } else if edited {
            text.push("Edits are only counted: the rules could not be asked again, for a list or a model is not there any more.".into());
        }
        if self.lock.recipe.sample.as_ref().is_some_and(|sample| sample.left_out == LeftOut::Count) {
            text.push("Rows outside the sample are only counted, and none is shown.".into());
        }
        section("Rules", text, vec![Block::Rules { rules }])
    }

    fn copies(&self, rows: &mut Rows<'_>) -> Option<Section> {
        let mut groups = Vec::new();
        for (rule, clusters) in &self.picked.clusters {
            for (id, cluster) in clusters {
                let kept = self.kept.by_id.get(id).and_then(|place| rows.number(*place, None));
                let mut shown: Vec<(String, usize)> = kept.into_iter().map(|row| ("kept".to_owned(), row)).collect();
                let copies = cluster.places.iter().filter_map(|place| rows.number(*place, None));
                shown.extend(copies.map(|row| ("dropped".to_owned(), row)));
                let what = match rule.as_str() {
                    NEAR => "near-duplicate",
                    SEMANTIC => "row that means nearly the same",
                    CONFLICT => "contradiction",
                    _ => "copy",
                };
                let what = if cluster.copies == 1 { what.to_owned() } else { plural(what) };
                let beyond = cluster.copies - cluster.places.len() as u64;
                let beyond =
                    if beyond > 0 { format!(", {} of which are not shown", grouped(beyond)) } else { String::new() };
                // What a copy repeats may be dropped itself, by another rule.
                let of = if kept.is_some() { "" } else { ", which is not among the rows that are kept" };
                let title = format!("{} {what} of {id}{of}{beyond}", grouped(cluster.copies));
                groups.push(Group { title, rule: rule.clone(), rows: shown });
            }
        }
        if groups.is_empty() {
            return None;
        }
        let text = "Rows that repeat each other, of each rule the sets whose kept row has the smallest ids.".to_owned();
        Some(section("Copies side by side", vec![text], vec![Block::Groups { groups }]))
    }

    fn lengths(&self, measured: &Measured) -> Option<Section> {
        let all = self.ledger.rows_out();
        if all == 0 {
            return None;
        }
        let histograms = |lengths: &Lengths, unit: &str, counted: String| Block::Histograms {
            caption: counted,
            unit: unit.to_owned(),
            edges: EDGES.clone(),
            series: lengths.histograms(SOURCES),
        };
        let rows = measured.characters.rows();
        let told = match measured.every {
            1 => format!("Characters of all {}.", counted(rows, "row")),
            every => format!(
                "Characters of {} of {}, a sample: every {every}th row group was read, and rows lie by a hash of what they say.",
                grouped(rows),
                counted(all, "row")
            ),
        };
        let mut blocks = vec![histograms(&measured.characters, "characters", told)];
        let tokens = self.kept.tokens.rows();
        if tokens > 0 {
            blocks.push(histograms(&self.kept.tokens, "tokens", format!("Tokens of all {}.", counted(tokens, "row"))));
        }
        let rows = self.ledger.lengths.iter().map(|l| {
            let [p5, median, p95, max, total] = [l.p5, l.median, l.p95, l.max, l.total].map(Cell::from);
            plain(vec![
                l.split.as_str().into(),
                l.measure.as_str().into(),
                tenths(l.mean).into(),
                p5,
                median,
                p95,
                max,
                total,
            ])
        });
        let head = heads(["split", "measure", "mean", "5%", "median", "95%", "longest", "total"]);
        blocks.push(table("Lengths of all rows, quantiles to three digits", head, rows.collect()));
        Some(section("Lengths", Vec::new(), blocks))
    }

    fn mix(&self) -> Option<Section> {
        let Ledger { mix, .. } = self.ledger;
        let (rows, characters) = mix.iter().fold((0, 0), |(r, c), m| (r + m.rows, c + m.characters));
        if rows == 0 {
            return None;
        }
        let share = |part, whole| Cell::from(format!("{:.1}%", percent(part, whole)));
        let mut largest: Vec<&Mix> = mix.iter().collect();
        if largest.len() > TABLE_ROWS {
            largest.sort_by_key(|m| Reverse(m.rows));
        }
        let mixed = largest.into_iter().map(|m| TableRow {
            of: Of { source: Some(m.source.clone()), language: Some(m.language.clone()), rule: None },
            cells: vec![
                m.source.as_str().into(),
                m.language.as_str().into(),
                m.rows.into(),
                share(m.rows, rows),
                m.characters.into(),
                share(m.characters, characters),
            ],
        });
        let mut languages: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
        let mut sources: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
        for m in mix {
            for sum in [languages.entry(&m.language).or_default(), sources.entry(&m.source).or_default()] {
                *sum = [sum[0] + m.rows, sum[1] + m.characters];
            }
        }
        let cells =
            |name: &str, [r, c]: [u64; 2]| vec![name.into(), r.into(), share(r, rows), c.into(), share(c, characters)];
        let by_source = sources.into_iter().map(|(name, sums)| TableRow {
            of: Of { source: Some(name.to_owned()), ..Of::default() },
            cells: cells(name, sums),
        });
        let by_language = languages.into_iter().map(|(name, sums)| TableRow {
            of: Of { language: Some(name.to_owned()), ..Of::default() },
            cells: cells(name, sums),
        });
        let head = |what| heads([what, "rows", "share", "characters", "share of characters"]);
        let blocks = vec![
            table("Rows of each source", head("source"), by_source.collect()),
            table(
                "Rows in each language; und: neither the source nor a rule says",
                head("language"),
                by_language.collect(),
            ),
            table(
                "Rows of each source in each language",
                heads(["source", "language", "rows", "share", "characters", "share of characters"]),
                mixed.collect(),
            ),
        ];
        Some(section("Mix and languages", Vec::new(), blocks))
    }

    fn evaluations(&self) -> Option<Section> {
        let settings = self.lock.recipe.decontamination.as_ref().filter(|_| !self.ledger.evaluations.is_empty())?;
        let rows =
            self.ledger.evaluations.iter().map(|e| {
                plain(vec![e.set.as_str().into(), e.items.into(), e.short.into(), e.found.into(), e.rows.into()])
            });
        let text = format!(
            "Rows were held against the items of evaluation sets; dropped were {}. The rule decontamination above shows rows, with the \
             span that each shares with an item.",
            settings.told()
        );
        let head = heads(["set", "items", "too short", "found", "rows dropped"]);
        Some(section("Contamination", vec![text], vec![table("Items of evaluation sets", head, rows.collect())]))
    }

    fn personal(&self) -> Option<Section> {
        let kinds = self.rules.iter().filter_map(|(_, rule)| Some((personal_kind(self.lock, &rule.rule)?, rule)));
        let row = |(kind, rule): (setaccio_filters::personal::Kind, &&RuleCount)| TableRow {
            of: Of { rule: Some(rule.rule.clone()), ..Of::default() },
            cells: vec![
                kind.name().into(),
                rule.rule.as_str().into(),
                rule.tally.rows_edited.into(),
                rule.tally.dropped.into(),
            ],
        };
        let rows: Vec<TableRow> = kinds.map(row).collect();
        if rows.is_empty() {
            return None;
        }
        let head = heads(["kind", "rule", "rows edited", "rows dropped"]);
        let text =
            "Rows in which each kind was found; a row that was edited may still be dropped by a later rule.".to_owned();
        Some(section("Personal data", vec![text], vec![table("Personal data by kind", head, rows)]))
    }

    fn repeats(&self) -> Option<Section> {
        let (settings, count) = (self.lock.recipe.repeats()?, self.ledger.repeats?);
        let facts = [
            ("rows that lost text", grouped(count.rows)),
            ("lost", settings.unit.counted(count.units)),
            ("characters lost", grouped(count.characters)),
            ("rows of which too little was left", grouped(count.dropped)),
        ];
        let rows = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let text = format!("Texts lost what other rows hold, or they themselves before: {}.", settings.told());
        Some(section("Repeats", vec![text], vec![Block::Facts { rows }]))
    }

    fn notes(&self) -> Option<Section> {
        let notes = &self.ledger.notes;
        if notes.is_empty() {
            return None;
        }
        let mut text: Vec<String> = notes.iter().take(TABLE_ROWS).cloned().collect();
        if notes.len() > text.len() {
            text.push(format!("and {} more in ledger.json.", grouped((notes.len() - text.len()) as u64)));
        }
        Some(section("Notes", text, Vec::new()))
    }

    fn recipe(&self) -> Section {
        let Self { ledger, lock, .. } = self;
        let facts = [
            ("recipe", lock.recipe.name.clone()),
            ("seed", lock.recipe.seed.to_string()),
            ("built by", lock.engine.clone()),
            ("command", lock.command.clone()),
            ("rows from", lock.from.clone()),
            ("fingerprint", ledger.fingerprint.clone()),
            ("SHA-256 of recipe.lock.toml", ledger.recipe_lock_sha256.clone()),
            ("digest of ledger.json", ledger.digest.clone()),
        ];
        let facts = facts.into_iter().filter(|(_, value)| !value.is_empty());
        let mut blocks = vec![Block::Facts { rows: facts.map(|(name, value)| (name.to_owned(), value)).collect() }];
        let mut text = self.text.clone();
        if text.len() > RECIPE_BYTES {
            let end = (0..=RECIPE_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
            text.push_str("\n# and more, in recipe.lock.toml\n");
        }
        blocks.push(Block::Code { caption: "The recipe, with all that was left out filled in".into(), text });
        let input = |input: &setaccio_dataset::lock::Input| TableRow {
            of: Of { source: Some(input.source.clone()), ..Of::default() },
            cells: vec![input.file.as_str().into(), input.bytes.into(), input.sha256.as_str().into()],
        };
        let named = |name: &str, file: &str, sha256: &str| plain(vec![name.into(), file.into(), sha256.into()]);
        let mut used: Vec<TableRow> =
            lock.list.iter().map(|list| named("word list", &list.name, &list.sha256)).collect();
        used.extend(lock.model.iter().map(|model| named(&model.key, &model.name, &model.sha256)));
        used.extend(lock.assets.iter().map(|asset| named("file of the recipe", &asset.key, &asset.sha256)));
        used.extend(lock.against.iter().map(|set| named("earlier data set", &set.key, &set.sha256)));
        used.extend(lock.evaluation.iter().map(|input| named("evaluation set", &input.file, &input.sha256)));
        let files = ledger
            .files
            .iter()
            .map(|f| plain(vec![f.path.as_str().into(), f.rows.into(), f.bytes.into(), f.sha256.as_str().into()]));
        for block in [
            table("Inputs", heads(["file", "bytes", "SHA-256"]), lock.input.iter().map(input).collect()),
            table("What else went in", heads(["what", "name", "SHA-256"]), used),
            table("Files that were written", heads(["file", "rows", "bytes", "SHA-256"]), files.collect()),
        ] {
            blocks.extend(Some(block).filter(|block| !matches!(block, Block::Table { rows, .. } if rows.is_empty())));
        }
        section("Recipe and hashes", Vec::new(), blocks)
    }
}

/// Of a thing in words, its first noun.
fn plural(what: &str) -> String {
    match what {
        "copy" => "copies".into(),
        "row that means nearly the same" => "rows that mean nearly the same".into(),
        what => format!("{what}s"),
    }
}
