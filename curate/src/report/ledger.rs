//! The ledger's stages, from what the tasks and the merge counted.

use setaccio_filters::screen::Tally;

use crate::{
    pipeline::filter::{BAD_ROW, Manifest},
    plan::Plan,
};
use setaccio_dataset::ledger::{Flow, Ledger, RuleCount, SourceFlow, SourceTally, SplitRows, Stage};

/// Sums over the stretches.
pub struct Totals {
    /// Rows into and out of deduplication, per source.
    pub dedup: Vec<Flow>,
    /// Rows into and out of sampling, per source.
    pub sample: Vec<Flow>,
    /// Rows of `train` and `validation`.
    pub splits: [SplitRows; 2],
}

impl Totals {
    /// Zeros, for so many sources.
    pub fn new(sources: usize) -> Self {
        let zero = vec![Flow::default(); sources];
        let split = |name: &str| SplitRows { split: name.into(), ..SplitRows::default() };
        Self { dedup: zero.clone(), sample: zero, splits: [split("train"), split("validation")] }
    }

    /// Add those of one stretch.
    pub fn add(&mut self, dedup: &[Flow], sample: &[Flow], splits: &[SplitRows; 2]) {
        self.dedup.iter_mut().zip(dedup).for_each(|(sum, f)| sum.add(f));
        self.sample.iter_mut().zip(sample).for_each(|(sum, f)| sum.add(f));
        for (sum, split) in self.splits.iter_mut().zip(splits) {
            sum.rows += split.rows;
            sum.bytes += split.bytes;
            sum.arrow_bytes += split.arrow_bytes;
        }
    }
}

/// Put the counts of tasks and merging together.
pub fn ledger(plan: &Plan, manifests: &[Manifest], total: &Totals) -> Ledger {
    let recipe = &plan.loaded.recipe;
    let n = recipe.source.len();
    let steps: Vec<&str> = plan.steps();
    let (mut read, mut screen) = (vec![Flow::default(); n], vec![Flow::default(); n]);
    let mut tallies = vec![vec![Tally::default(); n]; steps.len()];
    for (task, manifest) in plan.tasks.iter().zip(manifests) {
        let source = usize::from(plan.files[task.file].source);
        read[source].add(&manifest.read);
        screen[source].add(&manifest.screen);
        for (sum, tally) in tallies.iter_mut().zip(&manifest.tallies) {
            sum[source].add(tally);
        }
    }
    let names: Vec<&str> = recipe.source.iter().map(|s| s.name.as_str()).collect();
    let split: Vec<Flow> = total
        .sample
        .iter()
        .map(|f| Flow { rows_in: f.rows_out, bytes_in: f.bytes_out, rows_out: f.rows_out, bytes_out: f.bytes_out })
        .collect();
    let screens = steps.iter().zip(&tallies).map(|(name, tally)| rule(name, &names, tally)).collect();
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
    let stages = vec![
        stage("read", &names, &read, losses(BAD_ROW, &read)),
        stage("screen", &names, &screen, screens),
        stage("dedup", &names, &total.dedup, losses("dedup", &total.dedup)),
        stage("sample", &names, &total.sample, losses("sample", &total.sample)),
        stage("split", &names, &split, Vec::new()),
    ];
    let splits = total.splits.iter().filter(|s| s.split == "train" || s.rows > 0).cloned().collect();
    Ledger {
        format: 1,
        recipe: recipe.name.clone(),
        fingerprint: plan.fingerprint.clone(),
        kind: Some(recipe.kind),
        stages,
        splits,
        ..Ledger::default()
    }
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
