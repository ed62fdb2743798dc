//! What differs between two runs: the recipe, the data, what they were trained upon and by what; how far each came, what both
//! measured after the same steps, and what each wrote after the same prompts. From locks and metrics alone.

use std::{collections::BTreeSet, path::Path};

use serde::Serialize;
use setaccio_base::flat::{Flat, differing, flat};

use super::{
    line::Line,
    lock::{self, FileHash, RunLock},
    page::{Run, spread},
};
use crate::error::{Error, Result};

/// Steps that are told of each kind: of evaluations, and of logged steps of training.
const STEPS: usize = 12;
/// What is measured by the clock or of the machine, and is no matter of what was learned.
const BY_THE_CLOCK: [&str; 3] = ["tokens_per_second", "peak_memory_gib", "predicted_memory_gib"];
/// What only counts how far a run is.
const COUNTS: [&str; 4] = ["epoch", "num_tokens", "eval_num_tokens", "learning_rate"];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// The first run.
    pub a: Told,
    /// The second.
    pub b: Told,
    /// Settings of recipes that differ, with both values.
    pub recipe: Vec<Differing>,
    /// Data sets that differ: the hash of a recipe's lock, rows, shards.
    pub data: Vec<Differing>,
    /// What else decided them: base, adapter, tokenizer, template, versions, what computed.
    pub model: Vec<Differing>,
    /// The last and the least losses and what is told of them, each measure in the order of its name.
    pub measures: Vec<Measure>,
    /// What both measured after the same steps: evaluations, and logged steps of training.
    pub steps: Vec<AtStep>,
    /// What both wrote after the same prompts, at the last evaluation of each that asked them.
    pub samples: Vec<Written>,
}

/// What differs, and both values.
pub type Differing = (String, [String; 2]);

/// What is told of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The recipe's name.
    pub name: String,
    /// Hash of all that decided its numbers.
    pub fingerprint: String,
    /// Steps that were logged.
    pub steps: u64,
    /// Whether it is finished.
    pub finished: bool,
}

/// A measure of both runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measure {
    /// Its name in the metrics.
    pub name: String,
    /// The last value of each.
    pub last: [Option<f64>; 2],
    /// The least value of each loss, and the step after which it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least: Option<[Option<(u64, f64)>; 2]>,
}

/// A measure after a step that both made.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AtStep {
    /// The step.
    pub step: u64,
    /// The measure.
    pub name: String,
    /// Both values.
    pub values: [f64; 2],
}

/// What both wrote after a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The prompt.
    pub prompt: String,
    /// What each wrote, and after which step; nothing where it was not asked.
    pub texts: [Option<(u64, String)>; 2],
}

/// Compare the runs in `a` and `b`, finished or not.
///
/// # Errors
/// One holds no run, or a file of it is not what it wrote.
pub fn compare(a: &Path, b: &Path) -> Result<Comparison> {
    let runs = [Run::open(a)?, Run::open(b)?];
    let locks = runs.each_ref().map(|run| &run.lock);
    let [a, b] = runs.each_ref().map(told);
    Ok(Comparison {
        a: a?,
        b: b?,
        recipe: recipes(locks)?,
        data: of_both(locks, data),
        model: of_both(locks, model),
        measures: measures(&runs),
        steps: steps(&runs),
        samples: samples(&runs),
    })
}

fn told(run: &Run) -> Result<Told> {
    Ok(Told {
        name: run.lock.recipe.name.clone(),
        fingerprint: lock::fingerprint(&run.lock)?,
        steps: run.lines.iter().map(|line| line.step).max().unwrap_or(0),
        finished: !run.lock.made.is_empty(),
    })
}

/// Settings that differ, with all that a recipe left out filled in.
fn recipes(locks: [&RunLock; 2]) -> Result<Vec<Differing>> {
    let mut flats = Vec::new();
    for lock in locks {
        let value = toml::Value::try_from(&lock.recipe).map_err(|e| Error::Other(format!("{}: {e}", lock::NAME)))?;
        flats.push(flat(&value, &|_| false));
    }
    Ok(differing(&flats[0], &flats[1]))
}

fn of_both(locks: [&RunLock; 2], told: fn(&RunLock) -> Flat) -> Vec<Differing> {
    let [a, b] = locks.map(told);
    differing(&a, &b)
}

fn data(lock: &RunLock) -> Flat {
    let mut found = Flat::new();
    for data in &lock.data {
        let name = &data.name;
        found.insert(format!("{name}: recipe.lock.toml"), data.recipe_lock_sha256.clone());
        found.extend(data.rows.iter().map(|(split, rows)| (format!("{name}: rows of {split}"), rows.to_string())));
        found.extend(data.files.iter().map(|file| (format!("{name}: {}", file.file), file.sha256.clone())));
    }
    found
}

fn model(lock: &RunLock) -> Flat {
    let mut found = Flat::from([
        ("engine".to_owned(), lock.engine.clone()),
        ("computed in".to_owned(), lock.compute.clone()),
        ("instructions".to_owned(), lock.instructions.join(", ")),
        ("tokenizer".to_owned(), lock.tokenizer_sha256.clone()),
        ("template".to_owned(), lock.template_sha256.clone()),
        ("lengths before".to_owned(), lock.legs.iter().map(|leg| leg.until.to_string()).collect::<Vec<_>>().join(", ")),
    ]);
    found.extend(lock.versions.iter().map(|(name, version)| (format!("version of {name}"), version.clone())));
    for (what, files) in [("base", &lock.base), ("adapter it began with", &lock.start)] {
        found.extend(files.iter().map(|FileHash { file, sha256, .. }| (format!("{what} {file}"), sha256.clone())));
    }
    found.retain(|_, value| !value.is_empty());
    found
}

/// Whether less of it is what a run is after.
fn is_loss(name: &str) -> bool {
    name == "loss" || name == "eval_loss"
}

/// The measures that a run has of what it learned.
fn names(run: &Run) -> BTreeSet<&str> {
    let all = run.lines.iter().flat_map(|line| line.values.keys()).map(String::as_str);
    all.filter(|name| !COUNTS.contains(name)).collect()
}

fn measures(runs: &[Run; 2]) -> Vec<Measure> {
    let [a, b] = runs.each_ref().map(names);
    let measure = |name: &&str| {
        let of = runs.each_ref().map(|run| run.of(name));
        let last = of.each_ref().map(|all| all.last().map(|(_, value)| *value));
        let least = |all: &Vec<(u64, f64)>| all.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        Measure { name: (*name).to_owned(), last, least: is_loss(name).then(|| of.each_ref().map(least)) }
    };
    a.union(&b).map(measure).collect()
}

/// What both measured after the same steps, evaluations first.
fn steps(runs: &[Run; 2]) -> Vec<AtStep> {
    let mut found = Vec::new();
    for (key, of_evaluations) in [("eval_loss", true), ("loss", false)] {
        let [a, b] =
            runs.each_ref().map(|run| run.lines.iter().filter(|line| line.get(key).is_some()).collect::<Vec<_>>());
        let pairs: Vec<(&Line, &Line)> =
            a.iter().filter_map(|one| Some((*one, *b.iter().find(|other| other.step == one.step)?))).collect();
        let told = |name: &str| !BY_THE_CLOCK.contains(&name) && !COUNTS.contains(&name);
        for (one, other) in spread(&pairs, STEPS) {
            for (name, value) in one.values.iter().filter(|(name, _)| name.starts_with("eval_") == of_evaluations) {
                if let Some(second) = other.get(name).filter(|_| told(name)) {
                    found.push(AtStep { step: one.step, name: name.clone(), values: [*value, second] });
                }
            }
        }
    }
    found
}

/// What both wrote after the same prompts: those of the first run, then those that only the second was asked.
fn samples(runs: &[Run; 2]) -> Vec<Written> {
    let last = runs.each_ref().map(|run| run.lines.iter().rfind(|line| !line.samples.is_empty()));
    let mut prompts: Vec<&str> = Vec::new();
    for sample in last.iter().flatten().flat_map(|line| &line.samples) {
        if !prompts.contains(&sample.prompt.as_str()) {
            prompts.push(&sample.prompt);
        }
    }
    let said = |line: Option<&Line>, prompt: &str| {
        let line = line?;
        let sample = line.samples.iter().find(|sample| sample.prompt == prompt)?;
        Some((line.step, sample.text.clone()))
    };
    let written = |prompt: &str| Written { prompt: prompt.to_owned(), texts: last.map(|line| said(line, prompt)) };
    prompts.into_iter().map(written).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{line::Sample, lock::tests::lock};

    fn run(lines: &[(u64, &[(&str, f64)])]) -> Run {
        let line = |(step, values): &(u64, &[(&str, f64)])| Line {
            step: *step,
            values: values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            samples: Vec::new(),
        };
        Run { lock: lock(), lines: lines.iter().map(line).collect() }
    }

    #[test]
    fn values_of_the_same_steps_stand_side_by_side() {
        let a = run(&[
            (1, &[("loss", 3.0), ("tokens_per_second", 9.0), ("epoch", 0.1)]),
            (2, &[("loss", 2.0)]),
            (2, &[("eval_loss", 2.5), ("eval_num_tokens", 7.0)]),
            (4, &[("eval_loss", 2.25)]),
        ]);
        let b = run(&[(2, &[("loss", 1.5)]), (2, &[("eval_loss", 2.0)]), (3, &[("eval_loss", 1.0)])]);
        let found = steps(&[a, b]);
        let at = |step, name: &str, values| AtStep { step, name: name.into(), values };
        assert_eq!(found, [at(2, "eval_loss", [2.5, 2.0]), at(2, "loss", [2.0, 1.5])]);
    }

    #[test]
    fn the_last_and_the_least_of_each_are_told() {
        let a = run(&[(1, &[("loss", 3.0)]), (2, &[("loss", 2.0)]), (3, &[("loss", 2.5), ("rewards/margins", 0.5)])]);
        let found = measures(&[a, run(&[(1, &[("loss", 4.0)])])]);
        let least = Some([Some((2, 2.0)), Some((1, 4.0))]);
        let loss = Measure { name: "loss".into(), last: [Some(2.5), Some(4.0)], least };
        let margins = Measure { name: "rewards/margins".into(), last: [Some(0.5), None], least: None };
        assert_eq!(found, [loss, margins]);
    }

    #[test]
    fn samples_meet_by_their_prompts() {
        let asked = |step, said: &[(&str, &str)]| {
            let sample = |(prompt, text): &(&str, &str)| Sample { prompt: (*prompt).into(), text: (*text).into() };
            Line { step, values: [].into(), samples: said.iter().map(sample).collect() }
        };
        let mut runs = [run(&[]), run(&[])];
        runs[0].lines = vec![asked(1, &[("x", "prima")]), asked(5, &[("x", "uno"), ("y", "due")])];
        runs[1].lines = vec![asked(7, &[("z", "tre"), ("x", "quattro")])];
        let written = |prompt: &str, a: Option<&str>, b: Option<&str>| Written {
            prompt: prompt.into(),
            texts: [a.map(|text| (5, text.to_owned())), b.map(|text| (7, text.to_owned()))],
        };
        let expected = [
            written("x", Some("uno"), Some("quattro")),
            written("y", Some("due"), None),
            written("z", None, Some("tre")),
        ];
        assert_eq!(samples(&runs), expected);
    }
}
