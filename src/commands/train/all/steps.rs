//! The steps of a chain: each asks what is finished, and does what is not.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use setaccio_base::{atomic, progress::Progress as _, sha256::hex_digest};
use setaccio_curate::{
    build::{self, BuildOptions, BuildOutcome, Part},
    recipe::pins,
};
use setaccio_train::{
    chain::{
        Chain, Kept, Opened, Places, Stage,
        card::{self, Sample, Told},
    },
    export::{self, Quant},
    merge::{self, Options, Trained},
    model::files::ModelFiles,
    recipe::{Loaded, Method, Task},
    report::{
        curve,
        lock::{self, FileHash, RunLock},
        metrics::{self, Line},
    },
    session::{self, Done, Prepared, Start},
    tokenizer::Tokens,
};

use super::Args;
use crate::{
    commands::train::{plan, run::command, watch::Watching},
    fetch::Need,
    inputs,
    progress::Bar,
    style::{FAINT, GOOD, HEAD, megabytes},
};

/// A chain at work.
pub struct Work<'a> {
    pub args: &'a Args,
    pub opened: Opened,
    pub places: Places,
    pub kept: Kept,
    pub progress: Bar,
}

impl Work<'_> {
    /// Do a step under its heading, and say where things stand if it fails.
    pub fn step<T>(&mut self, step: &str, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        anstream::println!("\n{HEAD}== {step}{HEAD:#}");
        let done = work(self);
        self.progress.clear();
        done.map_err(|error| {
            if crate::commands::interrupted(&error) {
                return error.context("interrupted; the same command goes on from there");
            }
            let kept = self.places.0.display();
            error.context(format!(
                "{step} (what was finished before is in {kept}, and the same command goes on from there)"
            ))
        })
    }

    /// Whether there is something at `place` that this chain made and may replace.
    fn replaces(&self, place: &Path) -> Result<bool> {
        if place.exists() && !self.kept.made(place) {
            bail!(
                "{} is there, and this chain did not make it: move it away, or name another folder with --out",
                place.display()
            );
        }
        Ok(place.exists())
    }

    fn chain(&self) -> &Chain {
        &self.opened.chain
    }

    /// The model that all of it makes.
    pub fn merged(&self) -> PathBuf {
        self.chain().stage.last().map_or_else(PathBuf::new, |last| self.places.merged(self.chain(), last))
    }

    pub fn data(&self, stage: &Stage) -> Result<()> {
        let inputs = inputs::Args {
            recipe: self.opened.build(stage),
            from: self.args.from.clone(),
            jobs: self.args.jobs,
            limit: None,
            set: Vec::new(),
            on_bad_row: None,
        };
        let out = self.places.data(stage);
        // A branch keeps the commit that it had when this folder was built first.
        let (planned, _) = inputs.plan(inputs.load()?, (Need::All, &pins::of(&out)), &self.progress, false)?;
        let done = build::run(
            &planned,
            &out,
            BuildOptions { part: Part::Whole, force: false, jobs: inputs.jobs() },
            &self.progress,
        );
        self.progress.clear();
        let (what, ledger) = match done? {
            BuildOutcome::UpToDate(ledger) => ("up to date", Some(ledger)),
            BuildOutcome::Whole { ledger, .. } => ("built", Some(ledger)),
            BuildOutcome::Slice { .. } => ("built in part", None),
        };
        let splits = ledger.iter().flat_map(|l| &l.splits).map(|s| format!("{} {}", s.rows, s.split));
        let splits = splits.collect::<Vec<_>>().join(", ");
        anstream::println!("{GOOD}{what}:{GOOD:#} {splits} rows  {FAINT}{}{FAINT:#}", out.display());
        Ok(())
    }

    pub fn train(&mut self, i: usize) -> Result<String> {
        let stage = &self.chain().stage[i];
        let loaded: Loaded = self.opened.stage(i, &self.places)?;
        let (command, task) = (command(&loaded.place.argument(), &loaded.sets), loaded.recipe.task);
        let folder = self.places.run(stage);
        let prepared = Prepared::new(loaded, &folder, &Watching(&self.progress))?;
        self.progress.clear();
        plan::headline(&prepared);
        let done = session::run(&prepared, &command, Start::Again, &Watching(&self.progress))?;
        self.progress.clear();
        let what = match done {
            Done::UpToDate => "up to date",
            Done::Trained { resumed: Some(_), .. } => "resumed",
            Done::Trained { .. } => "trained",
        };
        let row = format!("{what}: {} steps{}", prepared.total, learned(&metrics::read(&folder)?, task));
        anstream::println!("{GOOD}{row}{GOOD:#}");
        Ok(row)
    }

    pub fn merge(&mut self, i: usize) -> Result<String> {
        let (chain, stage) = (self.chain(), &self.chain().stage[i]);
        let (folder, out, step) =
            (self.places.run(stage), self.places.merged(chain, stage), format!("{}: merging", stage.name));
        let lock = RunLock::read(&folder.join(lock::NAME))?;
        let inputs = inputs_of(&["merge", &chain.dtype], lock.made.iter().chain(&lock.base));
        if self.kept.has(&step, &inputs, &out) {
            return Ok(up_to_date(&out));
        }
        let trained = Trained::open(&folder)?;
        let dtype = if chain.dtype.is_empty() { None } else { Some(merge::dtype(&chain.dtype)?) };
        // What was trained in 4 bits is merged into the weights as they are stored: nothing is quantised twice.
        let options = Options { dtype, same_base: true, force: self.replaces(&out)?, ..Options::default() };
        let watch = Watching(&self.progress);
        let merged = match trained.method {
            Method::Lora => {
                let files = ModelFiles::open(&trained.base)?;
                trained.same_base(&files, &|| self.progress.cancelled())?;
                merge::merge(&files, &trained.made, &out, &options, &watch)?
            }
            Method::Full => {
                // In what its base was stored in, as after every other stage.
                let stored = ModelFiles::open(&trained.base)?.stored()?;
                let options = Options { dtype: dtype.or(Some(stored)), ..options };
                merge::copy(&ModelFiles::open(&trained.made)?, &out, &options, &watch)?
            }
        };
        self.progress.clear();
        self.kept.add(&step, &inputs, &out)?;
        let check =
            merged.check.map_or_else(String::new, |c| format!(", logits within {:.1e} of adapter on", c.largest));
        let row = match trained.method {
            Method::Lora => format!("merged: {} layers in {}{check}", merged.modules, merged.dtype.as_str()),
            Method::Full => format!("trained whole: written in {}", merged.dtype.as_str()),
        };
        anstream::println!("{GOOD}{row}{GOOD:#}");
        Ok(row)
    }

    /// Hashes of the merged model's files, for the exports.
    pub fn hashes(&self) -> Result<Vec<FileHash>> {
        Ok(ModelFiles::open(&self.merged())?.hashes(&|| self.progress.cancelled())?)
    }

    pub fn export(&mut self, quant: &str, hashes: &[FileHash]) -> Result<String> {
        let (merged, out, step) = (self.merged(), self.places.export(self.chain(), quant), format!("export: {quant}"));
        let (files, tokens) = (ModelFiles::open(&merged)?, Tokens::open(&merged)?);
        let inputs =
            inputs_of(&["gguf", quant, &tokens.sha256, tokens.chat_template.as_deref().unwrap_or_default()], hashes);
        if self.kept.has(&step, &inputs, &out) {
            return Ok(up_to_date(&out));
        }
        if let Some(folder) = out.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let watch = Watching(&self.progress);
        let done = export::gguf((&files, &tokens), (&out, self.replaces(&out)?), Quant::parse(quant)?, &watch)?;
        self.progress.clear();
        self.kept.add(&step, &inputs, &out)?;
        let kinds: Vec<String> = done.kinds.iter().map(|(kind, n)| format!("{n} in {kind}")).collect();
        let row = format!("exported: {}, tensors: {}", megabytes(done.bytes), kinds.join(", "));
        anstream::println!("{GOOD}{row}{GOOD:#}");
        Ok(row)
    }

    /// Write the card into the model's folder, with the curves and the cards of the data beside it.
    pub fn card(&mut self, told: &[Told]) -> Result<Option<Sample>> {
        let (sample, merged) = (self.sample(told)?, self.merged());
        let copy = |from: &Path, to: &Path| -> Result<()> {
            let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            }
            Ok(atomic::write(to, &bytes)?)
        };
        for stage in &self.chain().stage {
            copy(&self.places.run(stage).join(curve::NAME), &merged.join(card::curve(&stage.name)))?;
            let (from, to) = (self.places.data(stage), merged.join(card::data(&stage.name)));
            // The card of the data shows its waterfall.
            for name in [card::NAME, "waterfall.svg"] {
                copy(&from.join(name), &to.with_file_name(name))?;
            }
        }
        let exports = self.chain().quants.iter().map(|quant| self.places.export(self.chain(), quant));
        let exports = exports.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        let text = card::markdown(self.chain(), told, &exports.collect::<Vec<_>>(), sample.as_ref());
        atomic::write(&merged.join(card::NAME), text.as_bytes())?;
        anstream::println!("{GOOD}written:{GOOD:#} {}", merged.join(card::NAME).display());
        Ok(sample)
    }
}

fn up_to_date(place: &Path) -> String {
    anstream::println!("{GOOD}up to date:{GOOD:#} {}", place.display());
    "up to date".into()
}

/// What the held-out rows say of a run, from its start to its end.
fn learned(lines: &[Line], task: Task) -> String {
    let of = |key: &str| lines.iter().filter_map(|l| l.get(key)).collect::<Vec<f64>>();
    let loss = match of("eval_loss").as_slice() {
        [] => return String::new(),
        [.., last] if task == Task::Preference => format!(", loss on held-out rows {last:.4}"),
        [first, .., last] => format!(", perplexity on held-out rows {:.3} to {:.3}", first.exp(), last.exp()),
        [only] => format!(", perplexity on held-out rows {:.3}", only.exp()),
    };
    let ahead = of("eval_rewards/accuracies");
    let ahead = ahead.last().map(|last| format!(", chosen ahead in {:.0}% of held-out pairs", last * 100.0));
    loss + &ahead.unwrap_or_default()
}

/// SHA-256 of what decides a step.
pub fn inputs_of<'a>(parts: &[&str], files: impl IntoIterator<Item = &'a FileHash>) -> String {
    let files: Vec<String> = files.into_iter().map(|f| format!("{} {}", f.file, f.sha256)).collect();
    hex_digest(format!("{}\n{}\n{}", env!("CARGO_PKG_VERSION"), parts.join("\n"), files.join("\n")).as_bytes())
}
