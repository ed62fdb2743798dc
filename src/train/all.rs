//! `setaccio train-all`: data, training, merging, export and card of a chain, each step from the last one's output.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use setaccio_curate::{
    build::{self, Done as Built, Part, Watch as _},
    folder::write_whole,
    origin::Origin,
    pins,
};
use setaccio_filters::{hash::sha256, row::Message};
use setaccio_train::{
    chain::{
        Chain, Kept, Opened, Places, Stage,
        card::{self, SAMPLE_TOKENS, Sample, Told},
    },
    device, export,
    export::Quant,
    generate::{Sampling, generate},
    merge::{self, Options, Precision, Trained},
    model::{
        files::ModelFiles,
        load::{self, Hold},
    },
    recipe::{self, Loaded, Task},
    report::{
        curve,
        lock::{self, FileHash, RunLock},
        metrics::{self, Line},
    },
    session::{self, Done, Prepared, Start},
    tokenizer::Tokens,
};

use super::{
    generate::{chat_ids, raw_ids, room},
    run::{command, threads},
    watch::Watching,
};
use crate::{
    fetch::Need,
    inputs,
    progress::Progress,
    style::{FAINT, GOOD, HEAD, NAME, snippet},
};

/// Make a model in stages: data, fine-tuning, preferences, adaptation, merged, exported, with its card
#[derive(clap::Args)]
pub struct Args {
    /// A chain: the name of one in pipelines/train/all, or a file
    #[arg(default_value = "tiny")]
    chain: String,
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

/// A chain at work.
struct Work<'a> {
    args: &'a Args,
    opened: Opened,
    places: Places,
    kept: Kept,
    progress: Progress,
}

pub fn run(args: &Args) -> Result<()> {
    threads(args.jobs)?;
    let opened = open(args)?;
    let places = Places(args.out.clone().unwrap_or_else(|| Path::new("runs").join(&opened.chain.name)));
    fs::create_dir_all(&places.0).with_context(|| format!("cannot create {}", places.0.display()))?;
    let (kept, progress) = (Kept::open(&places.0)?, Progress::new()?);
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
    for quant in &chain.quants {
        let step = format!("export: {quant}");
        rows.push((step.clone(), work.step(&step, |work| work.export(quant))?));
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
    !name.is_empty() && (file.starts_with(&name) || path.to_lowercase().contains(&format!("--{name}/snapshots/")))
}

/// The chain with what the command line changes.
fn open(args: &Args) -> Result<Opened> {
    let path = Path::new(&args.chain);
    let named = Path::new("pipelines/train/all").join(format!("{}.toml", args.chain));
    let mut opened = Chain::open(if path.extension().is_some_and(|e| e == "toml") { path } else { &named })?;
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

impl Work<'_> {
    /// Do a step under its heading, and say where things stand if it fails.
    fn step<T>(&mut self, step: &str, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        anstream::println!("\n{HEAD}== {step}{HEAD:#}");
        let done = work(self);
        self.progress.clear();
        done.map_err(|error| {
            if super::interrupted(&error) {
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
    fn merged(&self) -> PathBuf {
        self.chain().stage.last().map_or_else(PathBuf::new, |last| self.places.merged(self.chain(), last))
    }

    fn data(&self, stage: &Stage) -> Result<()> {
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
        let (plan, _) = inputs.plan(inputs.load()?, (Need::All, &pins::of(&out)), &self.progress, false)?;
        let done = build::run(&plan, &out, Part::Whole, false, inputs.jobs(), &self.progress);
        self.progress.clear();
        let (what, ledger) = match done? {
            Built::UpToDate(ledger) => ("up to date", Some(ledger)),
            Built::Built { ledger, .. } => ("built", Some(ledger)),
            Built::Tasks { .. } => ("built in part", None),
        };
        let splits = ledger.iter().flat_map(|l| &l.splits).map(|s| format!("{} {}", s.rows, s.split));
        let splits = splits.collect::<Vec<_>>().join(", ");
        anstream::println!("{GOOD}{what}:{GOOD:#} {splits} rows  {FAINT}{}{FAINT:#}", out.display());
        Ok(())
    }

    fn train(&mut self, i: usize) -> Result<String> {
        let stage = &self.chain().stage[i];
        let loaded: Loaded = self.opened.stage(i, &self.places)?;
        let (command, task) = (command(&self.opened.recipe(stage), &loaded.sets), loaded.recipe.task);
        let folder = self.places.run(stage);
        let prepared = Prepared::new(loaded, &folder, &Watching(&self.progress))?;
        self.progress.clear();
        super::plan::headline(&prepared);
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

    fn merge(&mut self, i: usize) -> Result<String> {
        let (chain, stage) = (self.chain(), &self.chain().stage[i]);
        let (folder, out, step) =
            (self.places.run(stage), self.places.merged(chain, stage), format!("{}: merging", stage.name));
        let lock = RunLock::read(&folder.join(lock::NAME))?;
        let inputs = inputs_of(&["merge", &chain.dtype], lock.adapter.iter().chain(&lock.base));
        if self.kept.has(&step, &inputs, &out) {
            return Ok(up_to_date(&out));
        }
        let trained = Trained::open(&folder)?;
        let dtype = if chain.dtype.is_empty() { None } else { Some(merge::dtype(&chain.dtype)?) };
        // What was trained in 4 bits is merged into the weights as they are stored: nothing is quantised twice.
        let options = Options {
            dtype,
            shard_bytes: merge::bytes("5GB")?,
            precision: Precision::Stored,
            check: true,
            same_base: true,
            force: self.replaces(&out)?,
        };
        let files = ModelFiles::open(&trained.base)?;
        trained.same_base(&files, &|| self.progress.cancelled())?;
        let merged = merge::merge(&files, &trained.adapter, &out, &options, &Watching(&self.progress))?;
        self.progress.clear();
        self.kept.add(&step, &inputs, &out)?;
        let check =
            merged.check.map_or_else(String::new, |c| format!(", logits within {:.1e} of adapter on", c.largest));
        let row = format!("merged: {} layers in {}{check}", merged.modules, merged.dtype.as_str());
        anstream::println!("{GOOD}{row}{GOOD:#}");
        Ok(row)
    }

    fn export(&mut self, quant: &str) -> Result<String> {
        let (merged, out, step) = (self.merged(), self.places.export(self.chain(), quant), format!("export: {quant}"));
        let (files, tokens) = (ModelFiles::open(&merged)?, Tokens::open(&merged)?);
        let hashes = files.hashes(&|| self.progress.cancelled())?;
        let inputs =
            inputs_of(&["gguf", quant, &tokens.sha256, tokens.chat_template.as_deref().unwrap_or_default()], &hashes);
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
        let row = format!("exported: {}, tensors: {}", crate::build::megabytes(done.bytes), kinds.join(", "));
        anstream::println!("{GOOD}{row}{GOOD:#}");
        Ok(row)
    }

    /// Write the card into the model's folder, with the curves and the cards of the data beside it.
    fn card(&mut self, told: &[Told]) -> Result<Option<Sample>> {
        let (sample, merged) = (self.sample(told)?, self.merged());
        let copy = |from: &Path, to: &Path| -> Result<()> {
            let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            }
            Ok(write_whole(to, &bytes)?)
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
        write_whole(&merged.join(card::NAME), text.as_bytes())?;
        anstream::println!("{GOOD}written:{GOOD:#} {}", merged.join(card::NAME).display());
        Ok(sample)
    }

    /// The answers of base and result to the chain's prompt, asked once.
    fn sample(&mut self, told: &[Told]) -> Result<Option<Sample>> {
        let chain = self.opened.chain.clone();
        let (Some(first), Some(begun), Some(last)) = (chain.stage.first(), told.first(), told.last()) else {
            return Ok(None);
        };
        if chain.prompt.is_empty() {
            return Ok(None);
        }
        let path = self.places.0.join("sample.json");
        let inputs = inputs_of(
            &["sample", &chain.prompt],
            begun.lock.base.iter().chain(&last.lock.base).chain(&last.lock.adapter),
        );
        let sample = |answers| Some(Sample { prompt: chain.prompt.clone(), answers });
        if self.kept.has("sample", &inputs, &path)
            && let Some(answers) = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
        {
            return Ok(sample(answers));
        }
        let trained = Trained::open(&self.places.run(first))?;
        // Both are asked as the first stage asked: with the template that its adapter was trained with.
        let ask = |model: &Path| self.ask(model, &trained.adapter, &chain.prompt);
        let answers = [ask(&trained.base)?, ask(&self.merged())?];
        write_whole(&path, &serde_json::to_vec_pretty(&answers)?)?;
        self.kept.add("sample", &inputs, &path)?;
        Ok(sample(answers))
    }

    /// The most probable answer of the model in `path`, with the tokenizer that lies in `tokens`.
    fn ask(&self, path: &Path, tokens: &Path, prompt: &str) -> Result<String> {
        let (files, tokens, progress) = (ModelFiles::open(path)?, Tokens::open(tokens)?, &self.progress);
        let (device, dtype) = device::pick(recipe::Device::Auto)?;
        progress.stage("load", files.config().layers);
        let model = load::model(files.config(), &files, &Hold { dtype, device, ..Hold::plain() }, &|_| {
            progress.done(1);
            !progress.cancelled()
        })?;
        progress.clear();
        let ids = if tokens.chat_template.is_some() {
            chat_ids(&tokens, &[Message::new("user", prompt)])?
        } else {
            raw_ids(&tokens, prompt)?
        };
        let room = room(files.config(), ids.len())?;
        let sampling = Sampling { temperature: 0.0, top_p: 1.0, seed: 0, max_tokens: SAMPLE_TOKENS.min(room) };
        let mut written = Vec::new();
        generate(&model, &ids, &tokens.eos_ids, &sampling, &mut |id| {
            written.push(id);
            !progress.cancelled()
        })?;
        if progress.cancelled() {
            return Err(setaccio_train::Error::Interrupted.into());
        }
        Ok(tokens.decode(&written, true)?)
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
fn inputs_of<'a>(parts: &[&str], files: impl IntoIterator<Item = &'a FileHash>) -> String {
    let files: Vec<String> = files.into_iter().map(|f| format!("{} {}", f.file, f.sha256)).collect();
    sha256(format!("{}\n{}\n{}", env!("CARGO_PKG_VERSION"), parts.join("\n"), files.join("\n")).as_bytes())
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
