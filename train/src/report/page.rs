//! The page that shows a run: curves, samples side by side, what it took, and where its rows come from. From
//! the lock, the metrics and the card alone; a run that goes on can be looked at, too.

use std::{collections::BTreeSet, fs, path::Path};

use setaccio_base::{
    manifest::Sealed,
    numbers::{grouped, percent, tenths},
    page::{self, Block, Cell, Curve, Group, Page, PageRow, Section, TableRow, Text, Written},
};
use setaccio_dataset::folder::REPORT;

use super::{
    card::{self, results},
    line::Line,
    lock::{self, RunLock, SAMPLES},
    metrics,
};
use crate::{
    data::told,
    error::{Error, Result},
};

/// Points of a curve.
const POINTS: usize = 600;
/// Evaluations of which samples are shown.
const EVALUATIONS: usize = 6;
/// Rows of a table.
const ROWS: usize = 60;
/// Characters of a sample.
const SAMPLE: usize = 4000;

/// Write the page of the run in `run` into it.
///
/// # Errors
/// There is no run, or a file of it is not what it wrote.
pub fn write(run: &Path) -> Result<Written> {
    Ok(page::write(run, REPORT, &compose(run)?)?)
}

/// What is told of a run.
pub struct Run {
    /// What it was made from.
    pub lock: RunLock,
    /// Its metrics.
    pub lines: Vec<Line>,
}

impl Run {
    /// The run in `folder`, finished or not.
    ///
    /// # Errors
    /// There is none, or a file of it is not what it wrote.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(lock::NAME);
        if !path.is_file() {
            return Err(Error::damaged(folder, format!("holds no run: there is no {} in it", lock::NAME)));
        }
        let lock = RunLock::read(&path)?;
        // The manifest is written before the lock of a finished run: a run that was killed in between has it, and goes on.
        if !lock.made.is_empty() {
            Sealed::open(folder)?.read(lock::NAME)?;
        }
        Ok(Self { lock, lines: metrics::read(folder)? })
    }

    fn title(&self) -> String {
        let recipe = &self.lock.recipe;
        if recipe.title.is_empty() { recipe.name.clone() } else { recipe.title.clone() }
    }

    /// What must not be overlooked.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.lock.made.is_empty() {
            warnings.push("This run is not finished: the page shows how far it was when it was written.".to_owned());
        }
        let sampled = self.lock.data.iter().filter(|data| data.others.iter().any(|other| other == SAMPLES));
        let sampled: Vec<&str> = sampled.map(|data| data.name.as_str()).collect();
        if !sampled.is_empty() {
            let names = sampled.join(" and ");
            warnings.push(format!(
                "The rows of {names} are samples that come with Setaccio, not the sets that its recipe names."
            ));
        }
        warnings
    }

    /// A value by its steps.
    pub fn of(&self, key: &str) -> Vec<(u64, f64)> {
        self.lines.iter().filter_map(|line| Some((line.step, line.get(key)?))).collect()
    }

    /// Values of these keys, each a curve, thinned to what can be seen; nothing if no line has one.
    pub fn curves(&self, caption: &str, keys: &[&str]) -> Option<Block> {
        let curve = |key: &&str| Curve { name: (*key).to_owned(), points: thinned(&self.of(key)) };
        let curves: Vec<Curve> = keys.iter().map(curve).filter(|curve| curve.points.len() > 1).collect();
        (!curves.is_empty()).then(|| Block::Curves { caption: caption.to_owned(), curves })
    }

    fn learning(&self) -> Section {
        let mut blocks: Vec<Block> = [
            (
                "Loss of a trained token in nats: of the training rows and of the evaluation rows.",
                &["loss", "eval_loss"][..],
            ),
            ("Learning rate.", &["learning_rate"]),
            ("Norm of the gradient before clipping.", &["grad_norm"]),
            (
                "Share of the trained tokens that the model found likeliest.",
                &["mean_token_accuracy", "eval_mean_token_accuracy"],
            ),
            ("Entropy of the predictions in nats.", &["entropy", "eval_entropy"]),
        ]
        .into_iter()
        .filter_map(|(caption, keys)| self.curves(caption, keys))
        .collect();
        // What only some losses have.
        let more: BTreeSet<&str> = self.lines.iter().flat_map(|line| line.values.keys()).map(String::as_str).collect();
        let rewards = |begin: &str| more.iter().copied().filter(|key| key.starts_with(begin)).collect::<Vec<&str>>();
        for (caption, begin) in
            [("Rewards, of the training rows.", "rewards/"), ("Rewards, of the evaluation rows.", "eval_rewards/")]
        {
            blocks.extend(self.curves(caption, &rewards(begin)));
        }
        blocks.extend(self.evaluations());
        Section { title: "Learning".into(), text: vec![results::summary(&self.lines) + "."], blocks }
    }

    /// The evaluations, or as many spread over them, the last among them.
    fn evaluations(&self) -> Option<Block> {
        let all: Vec<&Line> = self.lines.iter().filter(|line| line.get("eval_loss").is_some()).collect();
        let keys: BTreeSet<&String> =
            all.iter().flat_map(|line| line.values.keys()).filter(|key| key.starts_with("eval_")).collect();
        let row = |line: &&Line| {
            let cells = keys.iter().map(|key| line.get(key).map_or_else(String::new, short).into());
            TableRow {
                cells: [Cell::from(grouped(line.step))].into_iter().chain(cells).collect(),
                ..TableRow::default()
            }
        };
        let rows: Vec<TableRow> = spread(&all, ROWS).iter().map(row).collect();
        let head = ["step"].into_iter().chain(keys.iter().map(|key| key.as_str())).map(str::to_owned).collect();
        let caption = if all.len() > rows.len() {
            format!("{} of {} evaluations", rows.len(), all.len())
        } else {
            "Evaluations".into()
        };
        (!rows.is_empty()).then_some(Block::Table { caption, head, rows })
    }

    /// What the model wrote after the same prompts, evaluation beside evaluation.
    fn samples(&self, rows: &mut Vec<PageRow>) -> Option<Section> {
        let asked: Vec<&Line> = self.lines.iter().filter(|line| !line.samples.is_empty()).collect();
        let shown = spread(&asked, EVALUATIONS);
        let prompts = &shown.last()?.samples;
        let mut groups = Vec::new();
        for sample in prompts {
            // A prompt may be a document.
            let mut group = Group { title: sample.prompt.chars().take(300).collect(), ..Group::default() };
            for line in &shown {
                let Some(said) = line.samples.iter().find(|said| said.prompt == sample.prompt) else { continue };
                let step = format!("after step {}", grouped(line.step));
                group.rows.push((step, rows.len()));
                let written: String = said.text.chars().take(SAMPLE).collect();
                let after = said.text.chars().count() - written.chars().count();
                let text = Text { parts: vec![written], after, ..Text::default() };
                rows.push(PageRow { texts: vec![text], ..PageRow::default() });
            }
            groups.push(group);
        }
        let text = if asked.len() > shown.len() {
            format!("{} of {} evaluations, evenly spread. Samples prove nothing.", shown.len(), asked.len())
        } else {
            "At each evaluation. Samples prove nothing.".to_owned()
        };
        Some(Section { title: "Samples".into(), text: vec![text], blocks: vec![Block::Groups { groups }] })
    }

    /// What it took, by the clock and by the system, beside what was predicted: the same run takes something else elsewhere.
    fn took(&self) -> Option<Section> {
        let last = |key: &str| self.of(key).last().map(|(_, value)| *value);
        let middle = |mut all: Vec<f64>| {
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied()
        };
        let values = |key: &str| self.of(key).into_iter().map(|(_, value)| value).collect();
        let [predicted, taken] = ["predicted_memory_gib", "peak_memory_gib"].map(last);
        let of_predicted = predicted.zip(taken).map(|(predicted, taken)| format!("{:.0}%", 100.0 * taken / predicted));
        let facts = [
            ("tokens a second, the middle of all logged steps", middle(values("tokens_per_second")).map(tenths)),
            ("seconds a step, the middle of all logged steps", middle(self.seconds_of_steps()).map(short)),
            ("tokens seen", results::tokens(&self.lines).map(grouped)),
            ("memory that was predicted, GiB", predicted.map(short)),
            ("most memory taken, GiB", taken.map(short)),
            ("that is of what was predicted", of_predicted),
        ];
        let rows: Vec<(String, String)> =
            facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        if rows.is_empty() {
            return None;
        }
        let curves = [("Tokens a second.", "tokens_per_second"), ("Most memory taken so far, GiB.", "peak_memory_gib")];
        let curves = curves.into_iter().filter_map(|(caption, key)| self.curves(caption, &[key]));
        let mut text = vec![
            "Measured while it ran. How long a step takes is predicted for GPUs of which the data sheet is known, by `setaccio train --plan \
             --gpu NAME`; for a CPU nothing predicts it."
                .to_owned(),
        ];
        if predicted.is_none() && self.lock.compute.ends_with("cpu") {
            text.push(
                "What memory was predicted is not known: an earlier version of Setaccio did not write it down.".into(),
            );
        } else if predicted.is_none() {
            text.push(
                "The memory is main memory; what was predicted is that of the GPU, which is not measured.".into(),
            );
        }
        Some(Section {
            title: "Speed and memory".into(),
            text,
            blocks: [Block::Facts { rows }].into_iter().chain(curves).collect(),
        })
    }

    /// Seconds of a step, for each line that tells of tokens and speed after another.
    fn seconds_of_steps(&self) -> Vec<f64> {
        let logged: Vec<(u64, f64, f64)> = self
            .lines
            .iter()
            .filter_map(|line| Some((line.step, line.get("num_tokens")?, line.get("tokens_per_second")?)))
            .collect();
        let seconds = |pair: &[(u64, f64, f64)]| {
            let [(before, had, _), (step, has, speed)] = pair else { return None };
            #[allow(clippy::cast_precision_loss, reason = "a count of steps")]
            let steps = step.checked_sub(*before).filter(|steps| *steps > 0)? as f64;
            (*speed > 0.0).then(|| (has - had) / speed / steps)
        };
        logged.windows(2).filter_map(seconds).collect()
    }

    /// How much of the texts is learned.
    fn texts(&self) -> Section {
        let texts = &self.lock.texts;
        let said = |name: &str| texts.get(name).copied().unwrap_or(0);
        if texts.is_empty() {
            let why = if self.lock.made.is_empty() {
                "How much of the texts is learned is written down when the run ends."
            } else {
                "How much of the texts is learned is not in the lock of this run, which an earlier version of Setaccio wrote; its card says it."
            };
            return Section { title: "What is learned".into(), text: vec![why.into()], blocks: Vec::new() };
        }
        let (tokens, learned) = (said("tokens"), said("trained"));
        let mut rows = vec![
            ("rows that were read".to_owned(), grouped(said("rows"))),
            ("rows that are learned from".to_owned(), grouped(said(told::LEARNED_FROM))),
            ("their tokens".to_owned(), grouped(tokens)),
            ("tokens that are learned".to_owned(), format!("{}, {:.1}%", grouped(learned), percent(learned, tokens))),
        ];
        let of_rows = [
            ("rows cut to max_length", "truncated"),
            ("rows left out as too long", "dropped"),
            ("rows left out because cutting left nothing to learn", "unanswered"),
            ("rows left out by the template", "unsaid"),
            ("rows left out as empty answers", "empty"),
            ("rows left out as equal answers", "equal"),
            ("rows of whose answers the template leaves out or rewrites a part", "partly_said"),
            ("characters of that part, which are not learned", "lost"),
            ("rows that offer tools, of which the template shows none", "tools_unseen"),
            ("rows where an answer's first token is given, not learned", "header_given"),
        ];
        let happened = of_rows.into_iter().filter(|(_, key)| said(key) > 0);
        rows.extend(happened.map(|(name, key)| (name.to_owned(), grouped(said(key)))));
        Section { title: "What is learned".into(), text: Vec::new(), blocks: vec![Block::Facts { rows }] }
    }

    /// The data sets that it learned from, with links to what shows them.
    fn lineage(&self, folder: &Path) -> Section {
        let mut links = Vec::new();
        let row = |data: &lock::DataFolder| {
            let rows: Vec<String> = data.rows.iter().map(|(split, n)| format!("{} {split}", grouped(*n))).collect();
            let place = Path::new(&data.folder);
            for (name, what) in [(REPORT, "page"), (card::NAME, "card")] {
                if let Some(to) = card::link(folder, &place.join(name)).filter(|_| place.join(name).is_file()) {
                    links.push((format!("{}: {what}", data.name), to));
                }
            }
            let cells =
                [&data.name, &data.title, &rows.join(", "), &data.license, &data.recipe_lock_sha256, &data.folder];
            TableRow { cells: cells.map(|cell| cell.as_str().into()).to_vec(), ..TableRow::default() }
        };
        let rows: Vec<TableRow> = self.lock.data.iter().map(row).collect();
        let head =
            ["data", "title", "rows", "licence", "SHA-256 of recipe.lock.toml", "folder"].map(str::to_owned).to_vec();
        let mut blocks = vec![Block::Table { caption: "Data sets".into(), head, rows }];
        blocks.extend((!links.is_empty()).then_some(Block::Links { links }));
        let text = "`setaccio report FOLDER` writes the page of a data set; where there is one, a link leads to it."
            .to_owned();
        Section { title: "Data".into(), text: vec![text], blocks }
    }

    fn recipe(&self, folder: &Path) -> Section {
        let lock = &self.lock;
        let facts = [
            ("run", lock.recipe.name.clone()),
            ("computed in", lock.compute.clone()),
            ("engine", lock.engine.clone()),
            ("command", lock.command.clone()),
            ("fingerprint", lock::fingerprint(lock).unwrap_or_default()),
            ("SHA-256 of the tokenizer", lock.tokenizer_sha256.clone()),
            ("SHA-256 of the template", lock.template_sha256.clone()),
        ];
        let facts = facts.into_iter().filter(|(_, value)| !value.is_empty());
        let mut blocks = vec![Block::Facts { rows: facts.map(|(name, value)| (name.to_owned(), value)).collect() }];
        blocks.push(Block::Code {
            caption: "The recipe, with all that was left out filled in".into(),
            text: toml::to_string(&lock.recipe).unwrap_or_default(),
        });
        // A person may have edited it, which is theirs to do.
        if let Ok(text) = fs::read_to_string(folder.join(card::NAME)) {
            let text = text.chars().take(100_000).collect();
            blocks.push(Block::Code { caption: "The card: parameters, licences, how to make it again".into(), text });
        }
        let files = [("base", &lock.base), ("adapter it began with", &lock.start), ("made", &lock.made)];
        let files = files.into_iter().flat_map(|(what, files)| files.iter().map(move |file| (what, file)));
        let row = |(what, file): (&str, &lock::FileHash)| TableRow {
            cells: vec![what.into(), file.file.as_str().into(), file.bytes.into(), file.sha256.as_str().into()],
            ..TableRow::default()
        };
        let head = ["what", "file", "bytes", "SHA-256"].map(str::to_owned).to_vec();
        blocks.push(Block::Table { caption: "Files".into(), head, rows: files.map(row).take(400).collect() });
        Section { title: "Recipe and hashes".into(), text: Vec::new(), blocks }
    }
}

/// The page of the run in `folder`.
fn compose(folder: &Path) -> Result<Page> {
    let run = Run::open(folder)?;
    let mut rows = Vec::new();
    let sections = [
        Some(run.learning()),
        run.samples(&mut rows),
        Some(run.texts()),
        run.took(),
        Some(run.lineage(folder)),
        Some(run.recipe(folder)),
    ];
    let sections = sections.into_iter().flatten().collect();
    Ok(Page { title: run.title(), warnings: run.warnings(), rows, sections, ..Page::default() })
}

/// All, or as many spread over them, the last among them.
pub fn spread<T: Copy>(all: &[T], most: usize) -> Vec<T> {
    let n = all.len().min(most);
    (1..=n).map(|i| all[i * all.len() / n - 1]).collect()
}

/// Points that a curve of many is drawn by: of each run of neighbours the least and the greatest, so that no peak is lost.
fn thinned(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    if points.len() <= POINTS {
        return points.to_vec();
    }
    let each = points.len().div_ceil(POINTS / 2);
    let ends = |part: &[(u64, f64)]| {
        let by = |a: &&(u64, f64), b: &&(u64, f64)| a.1.total_cmp(&b.1);
        let mut ends: Vec<(u64, f64)> =
            [part.iter().min_by(by), part.iter().max_by(by)].into_iter().flatten().copied().collect();
        ends.sort_by_key(|(step, _)| *step);
        ends.dedup();
        ends
    };
    points.chunks(each).flat_map(ends).collect()
}

/// To four digits.
pub fn short(value: f64) -> String {
    if value == 0.0 || (1e-3..1e6).contains(&value.abs()) {
        let digits = if value.abs() < 10.0 { 4 } else { 1 };
        format!("{value:.digits$}")
    } else {
        format!("{value:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thinned_curve_keeps_its_peaks() {
        #[allow(clippy::cast_precision_loss, reason = "small")]
        let mut points: Vec<(u64, f64)> = (0..10_000).map(|i| (i, (i % 7) as f64)).collect();
        points[4321].1 = 99.0;
        points[8765].1 = -99.0;
        let thin = thinned(&points);
        assert!(thin.len() <= POINTS && thin.is_sorted_by_key(|(step, _)| *step), "{}", thin.len());
        assert!(thin.contains(&(4321, 99.0)) && thin.contains(&(8765, -99.0)));
        assert_eq!(thinned(&points[..POINTS]), points[..POINTS]);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 2.5, 1234.56, 2e-5, -0.25].map(short), ["0.0000", "2.5000", "1234.6", "2.00e-5", "-0.2500"]);
        assert_eq!(spread(&[1, 2, 3, 4, 5], 2), [2, 5]);
        assert_eq!(spread(&[1, 2], 5), [1, 2]);
    }
}
