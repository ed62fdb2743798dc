//! `setaccio compare` of two runs or two chains.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use setaccio_base::{manifest::Sealed, shown::shown};
use setaccio_eval::compare as evaluations;
use setaccio_train::{
    chain::{compare as chains, places::Places},
    models,
    report::{
        compare::{self as runs, AtStep, Differing, Measure, Written},
        evaluation::FOLDER,
        page::short,
    },
};

use crate::{
    output::Output,
    style::{BAD, FAINT, GOOD, HEAD, NAME, count, snippet},
};

/// Differences of data that are told one by one; there may be thousands of shards.
const DATA: usize = 20;
/// Characters of a column of samples, and of a prompt.
const COLUMN: usize = 46;
const PROMPT: usize = 96;
/// Lines of a sample.
const LINES: usize = 12;

/// Two runs.
#[derive(Serialize)]
struct Runs {
    compared: &'static str,
    #[serde(flatten)]
    found: runs::Comparison,
    evaluations: evaluations::Comparison,
}

/// Two chains.
#[derive(Serialize)]
struct Chains {
    compared: &'static str,
    stages: Vec<Stage>,
    alone: [Vec<String>; 2],
}

#[derive(Serialize)]
struct Stage {
    #[serde(flatten)]
    stage: chains::Stage,
    evaluations: evaluations::Comparison,
}

/// Compare the runs in `a` and `b`.
pub fn runs(a: &Path, b: &Path, output: Output) -> Result<()> {
    let found = runs::compare(a, b)?;
    evaluated(a, b)?;
    let [one, other] = [a, b].map(|run| (run.join(FOLDER), models::name(run)));
    let evaluations = evaluations::compare((&one.0, &one.1), (&other.0, &other.1))?;
    let found = Runs { compared: "runs", found, evaluations };
    output.give("compare", &found, |Runs { found, evaluations, .. }| show(found, evaluations))
}

/// Compare the chains in `a` and `b`.
pub fn chains(a: &Path, b: &Path, output: Output) -> Result<()> {
    let chains::Comparison { stages, alone } = chains::compare(a, b)?;
    evaluated(a, b)?;
    let places = [a, b].map(|chain| Places { root: chain.to_owned() });
    let with_evaluations = |stage: chains::Stage| -> Result<Stage> {
        let [one, other] = places.each_ref().map(|places| places.evaluation(&stage.stage));
        let name = stage.stage.clone();
        Ok(Stage { stage, evaluations: evaluations::compare((&one, &name), (&other, &name))? })
    };
    let stages = stages.into_iter().map(with_evaluations).collect::<Result<_>>()?;
    let found = Chains { compared: "chains", stages, alone };
    output.give("compare", &found, |Chains { stages, alone, .. }| {
        for (i, Stage { stage, evaluations }) in stages.iter().enumerate() {
            let line = if i > 0 { "\n" } else { "" };
            say!("{line}{HEAD}stage {}{HEAD:#}", stage.stage);
            show(&stage.runs, evaluations);
        }
        for (chain, stages) in [a, b].iter().zip(alone) {
            if !stages.is_empty() {
                say!("\nonly in {}: {NAME}{}{NAME:#}", chain.display(), stages.join(", "));
            }
        }
    })
}

/// Refuse evaluations of runs or chains that are not as they were written.
fn evaluated(a: &Path, b: &Path) -> Result<()> {
    for folder in [a, b] {
        Sealed::open(folder)?.check(FOLDER)?;
    }
    Ok(())
}

fn show(runs: &runs::Comparison, evaluations: &evaluations::Comparison) {
    let runs::Comparison { a, b, recipe, data, model, measures, steps, samples } = runs;
    if a.fingerprint == b.fingerprint {
        say!("{GOOD}the same:{GOOD:#} both runs have the fingerprint {}", a.fingerprint);
    }
    for (label, run) in [("a", a), ("b", b)] {
        let unfinished = if run.finished { "" } else { ", not finished" };
        say!("{label}  {NAME}{}{NAME:#}, {} steps{unfinished}", run.name, count(run.steps));
    }
    for (title, differ) in [("recipe", recipe), ("data", data), ("base, versions and what computed", model)] {
        differing(title, differ);
    }
    show_measures(measures);
    show_steps(steps);
    show_evaluations(evaluations);
    show_samples(samples);
}

fn differing(title: &str, differ: &[Differing]) {
    if differ.is_empty() {
        return;
    }
    say!("\n{HEAD}{title}{HEAD:#}");
    for (key, [a, b]) in differ.iter().take(DATA) {
        say!("  {NAME}{key}{NAME:#}: {a} {FAINT}->{FAINT:#} {b}");
    }
    if differ.len() > DATA {
        say!("  {FAINT}and {} more, which --json lists{FAINT:#}", count((differ.len() - DATA) as u64));
    }
}

/// A value of two runs, each in a column, and what the second has more.
fn pair(values: [Option<f64>; 2]) -> String {
    let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
    let [a, b] = values.map(cell);
    let more = match values {
        [Some(a), Some(b)] => signed(b - a),
        _ => String::new(),
    };
    format!("{a:>12} {b:>12} {more:>12}")
}

fn signed(value: f64) -> String {
    let sign = if value > 0.0 { "+" } else { "" };
    format!("{sign}{}", short(value))
}

fn head(title: &str, columns: &str) {
    say!("\n{HEAD}{title:<44}{HEAD:#} {FAINT}{:>12} {:>12} {:>12}{columns}{FAINT:#}", "a", "b", "b - a");
}

fn show_measures(measures: &[Measure]) {
    if measures.is_empty() {
        return;
    }
    head("last value", "");
    for Measure { name, last, .. } in measures {
        say!("  {NAME}{name:<42}{NAME:#} {}", pair(*last));
    }
    head("least loss, and the step after which it was", "");
    for Measure { name, least, .. } in measures {
        let Some(least) = least else { continue };
        let steps = least.map(|least| least.map_or_else(|| "-".to_owned(), |(step, _)| count(step)));
        say!(
            "  {NAME}{name:<42}{NAME:#} {} {FAINT}{}{FAINT:#}",
            pair(least.map(|l| l.map(|(_, v)| v))),
            steps.join(", ")
        );
    }
}

fn show_steps(steps: &[AtStep]) {
    if steps.is_empty() {
        return;
    }
    head("after the same steps", "");
    for AtStep { step, name, values } in steps {
        say!("  {:>8}  {NAME}{name:<32}{NAME:#} {}", count(*step), pair(values.map(Some)));
    }
}

fn show_evaluations(found: &evaluations::Comparison) {
    if !found.numbers.is_empty() {
        head("tasks", "  95% of b - a, and p");
    }
    for of in &found.numbers {
        let style = match of.more_is_better {
            Some(more) if (of.difference > 0.0) == more && of.difference != 0.0 => GOOD,
            Some(_) if of.difference != 0.0 => BAD,
            _ => FAINT,
        };
        let interval = of.interval.map_or_else(String::new, |[low, high]| format!("  [{low:.4}, {high:.4}]"));
        let p = of.p.map_or_else(String::new, |p| format!(", p {p:.3}"));
        let name = format!("{} {}, {} rows", of.task, of.metric, count(of.rows as u64));
        say!("  {NAME}{name:<42}{NAME:#} {}{style}{interval}{p}{style:#}", pair(of.values.map(Some)));
    }
    for (task, why) in &found.apart {
        say!("  {NAME}{task}{NAME:#} is not compared: {why}");
    }
}

fn show_samples(samples: &[Written]) {
    if samples.is_empty() {
        return;
    }
    say!("\n{HEAD}samples{HEAD:#}  {FAINT}of the last evaluation of each; they prove nothing{FAINT:#}");
    for Written { prompt, texts } in samples {
        say!("  {NAME}{}{NAME:#}", snippet(prompt, PROMPT));
        let column = |text: &Option<(u64, String)>| match text {
            Some((step, text)) => [vec![format!("after step {}", count(*step))], wrapped(text)].concat(),
            None => vec!["was not asked".to_owned()],
        };
        let [a, b] = texts.each_ref().map(column);
        for i in 0..a.len().max(b.len()) {
            let [a, b] = [&a, &b].map(|lines| lines.get(i).map_or("", String::as_str));
            let pad = " ".repeat(COLUMN.saturating_sub(a.chars().count()));
            say!("    {}", format!("{a}{pad}  | {b}").trim_end());
        }
    }
}

/// A text in lines of a column.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in shown(text).lines() {
        let mut cut = String::new();
        for word in line.split(' ') {
            let mut word: Vec<char> = word.chars().collect();
            loop {
                let taken = cut.chars().count();
                let gap = usize::from(taken > 0);
                if taken + gap + word.len() <= COLUMN {
                    cut.extend((gap > 0).then_some(' '));
                    cut.extend(word.iter());
                    break;
                }
                // A word that no line holds is cut.
                if taken == 0 {
                    let rest = word.split_off(COLUMN);
                    cut.extend(std::mem::replace(&mut word, rest));
                }
                lines.push(std::mem::take(&mut cut));
            }
        }
        lines.push(cut);
    }
    if lines.len() > LINES {
        lines.truncate(LINES - 1);
        lines.push("\u{2026}".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_into_columns() {
        let long = "a".repeat(COLUMN + 4);
        assert_eq!(wrapped(&format!("uno due\n{long} b")), ["uno due".to_owned(), "a".repeat(COLUMN), "aaaa b".into()]);
        assert_eq!(wrapped(&"parola ".repeat(500)).len(), LINES);
        assert_eq!(wrapped(""), Vec::<String>::new());
        assert_eq!([0.25, -0.25, 0.0].map(signed), ["+0.2500", "-0.2500", "0.0000"]);
    }
}
