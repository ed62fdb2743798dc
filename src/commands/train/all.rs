//! `setaccio train-all`: data, training, merging, export and card of a chain, each step from the last one's output.

mod sample;
mod steps;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use setaccio_curate::source::origin::Origin;
use setaccio_train::{
    chain::{
        Chain, Kept, Opened, Places, Stage,
        card::{self, Sample, Told},
    },
    report::{
        lock::{self, RunLock},
        metrics,
    },
};
use steps::Work;

use super::run::threads;
use crate::{
    progress::Bar,
    style::{FAINT, HEAD, NAME, snippet},
};

/// Make a model in stages: data, fine-tuning, preferences, adaptation, merged, exported, with its card
#[derive(clap::Args)]
pub struct Args {
    /// A chain: a file, or one that the program carries (`setaccio recipes` lists them)
    #[arg(default_value = "tiny")]
    chain: PathBuf,
    /// Take rows from the bundled `samples`, from the `hub`, or from a folder that holds one folder a source
    #[arg(long, value_name = "samples|hub|DIR", default_value = "samples")]
    from: Origin,
    /// Folder of everything [default: runs/NAME OF THE CHAIN]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The base model: a Hugging Face folder or a GGUF file [default: the chain's]
    #[arg(long, value_name = "PATH")]
    model: Option<String>,
    /// With --model: its name on the Hub
    #[arg(long, value_name = "OWNER/NAME", requires = "model")]
    repo: Option<String>,
    /// With --model: its licence, as the Hub writes it
    #[arg(long, value_name = "LICENSE", requires = "model")]
    license: Option<String>,
    /// Change one value of a stage's training recipe, for instance --set dpo.train.learning_rate=1e-5
    #[arg(long, value_name = "STAGE.KEY=VALUE")]
    set: Vec<String>,
    /// Threads; the numbers do not depend on them [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

pub fn run(args: &Args) -> Result<()> {
    threads(args.jobs)?;
    let opened = open(args)?;
    let places = Places(args.out.clone().unwrap_or_else(|| Path::new("runs").join(&opened.chain.name)));
    fs::create_dir_all(&places.0).with_context(|| format!("cannot create {}", places.0.display()))?;
    let (kept, progress) = (Kept::open(&places.0)?, Bar::new()?);
    let chain = opened.chain.clone();
    let mut work = Work { args, opened, places, kept, progress };
    let mut rows = Vec::new();
    // What is wrong with a recipe is said before any work is done.
    for (i, stage) in chain.stage.iter().enumerate() {
        work.opened.stage(i, &work.places).with_context(|| stage.name.clone())?;
        setaccio_curate::recipe::load(&work.opened.build(stage), &[]).with_context(|| stage.name.clone())?;
    }
    for (i, stage) in chain.stage.iter().enumerate() {
        work.step(&format!("{}: data", stage.name), |work| work.data(stage))?;
        let step = format!("{}: training", stage.name);
        rows.push((step.clone(), work.step(&step, |work| work.train(i))?));
        let step = format!("{}: merging", stage.name);
        rows.push((step.clone(), work.step(&step, |work| work.merge(i))?));
    }
    let hashes = if chain.quants.is_empty() { Vec::new() } else { work.hashes()? };
    for quant in &chain.quants {
        let step = format!("export: {quant}");
        rows.push((step.clone(), work.step(&step, |work| work.export(quant, &hashes))?));
    }
    let told = chain.stage.iter().map(|stage| told(stage, &work.places)).collect::<Result<Vec<_>>>()?;
    let sample = work.step("card", |work| work.card(&told))?;
    summary(&rows, sample.as_ref(), &work.merged());
    Ok(())
}

/// Whether a path is one of the model called `name`: its folder, its file, or its place in the Hub's cache.
fn names(path: &str, name: &str) -> bool {
    let last = |text: &str| text.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_lowercase();
    let (file, name) = (last(path), last(name));
    // `SmolLM2-135M-Instruct.Q4_1.gguf` is of SmolLM2-135M-Instruct; `TinyLlama` is not of `tiny`.
    let same = file.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    !name.is_empty() && (same || path.to_lowercase().contains(&format!("--{name}/snapshots/")))
}

/// The chain with what the command line changes.
fn open(args: &Args) -> Result<Opened> {
    let mut opened = Chain::open(&args.chain)?;
    if let Some(model) = &args.model {
        let base = &mut opened.chain.base;
        // What the chain says of its base is true of no other.
        if !names(model, &base.repo) && !names(model, &base.path) {
            (base.repo, base.revision, base.license) = Default::default();
        }
        base.path.clone_from(model);
        for (said, place) in [(&args.repo, &mut base.repo), (&args.license, &mut base.license)] {
            if let Some(said) = said {
                place.clone_from(said);
            }
        }
        if base.license.is_empty() {
            anstream::eprintln!(
                "{FAINT}the licence of {model} is not known here; --license and --repo put it into the cards{FAINT:#}"
            );
        }
    }
    for set in &args.set {
        let stages: Vec<&str> = opened.chain.stage.iter().map(|s| s.name.as_str()).collect();
        let of = set.split_once('.').and_then(|(name, rest)| Some((stages.iter().position(|s| *s == name)?, rest)));
        let (i, rest) = of
            .with_context(|| format!("--set {set}: say STAGE.KEY=VALUE, where the stages are {}", stages.join(", ")))?;
        let rest = rest.to_owned();
        opened.chain.stage[i].set.push(rest);
    }
    Ok(opened)
}

fn told(stage: &Stage, places: &Places) -> Result<Told> {
    let folder = places.run(stage);
    let lock = RunLock::read(&folder.join(lock::NAME))?;
    Ok(Told { name: stage.name.clone(), lock, lines: metrics::read(&folder)? })
}

fn summary(rows: &[(String, String)], sample: Option<&Sample>, merged: &Path) {
    let wide = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or(0);
    anstream::println!("\n{HEAD}{:<wide$}  what was done{HEAD:#}", "step");
    for (step, what) in rows {
        anstream::println!("{NAME}{step:<wide$}{NAME:#}  {what}");
    }
    if let Some(Sample { prompt, answers: [before, after] }) = sample {
        anstream::println!("\n{HEAD}{prompt}{HEAD:#}");
        for (when, answer) in [("before", before), ("after", after)] {
            anstream::println!("{FAINT}{when:>6}{FAINT:#}  {}", snippet(answer, 160));
        }
    }
    anstream::println!(
        "\n{NAME}{}{NAME:#}  {FAINT}card: {}{FAINT:#}",
        merged.display(),
        merged.join(card::NAME).display()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_known_by_its_whole_name() {
        let cases = [
            ("models/SmolLM2-135M-Instruct/", "HuggingFaceTB/SmolLM2-135M-Instruct", true),
            ("/a/smollm2-135m-instruct.Q4_1.gguf", "HuggingFaceTB/SmolLM2-135M-Instruct", true),
            ("/h/models--o--n-1/snapshots/abc", "o/N-1", true),
            ("/a/TinyLlama-1.1B", "tiny", false),
            ("/a/SmolLM2-135M-Instruct-mine", "HuggingFaceTB/SmolLM2-135M-Instruct", false),
            ("/a/b", "", false),
        ];
        for (path, name, same) in cases {
            assert_eq!(names(path, name), same, "{path} {name}");
        }
    }
}
