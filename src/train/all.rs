//! `setaccio train-all`: data, training, merging, export and card of a chain, each step from the last one's output.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use setaccio_curate::{
    build::{self, Done as Built, Part, Watch as _},
    folder::write_whole,
    origin::Origin,
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
    recipe::{self, Loaded},
    report::{
        curve,
        lock::{self, FileHash, RunLock},
        metrics,
    },
    session::{self, Done, Prepared, Start},
    tokenizer::Tokens,
};

use super::{
    generate::chat_ids,
    run::{command, threads},
    watch::Watching,
};
use crate::{
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
    /// Change one value of a stage's training recipe, for instance --set dpo.train.learning_rate=1e-5
    #[arg(long, value_name = "STAGE.KEY=VALUE")]
    set: Vec<String>,
    /// Threads; the numbers do not depend on them [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

/// A line of the table at the end.
struct Row(String, String);

pub fn run(args: &Args) -> Result<()> {
    threads(args.jobs)?;
    let opened = open(args)?;
    let chain = &opened.chain;
    let places = Places(args.out.clone().unwrap_or_else(|| Path::new("runs").join(&chain.name)));
    fs::create_dir_all(&places.0).with_context(|| format!("cannot create {}", places.0.display()))?;
    let mut kept = Kept::open(&places.0)?;
    let progress = &Progress::new()?;
    let mut rows = Vec::new();
    for (i, stage) in chain.stage.iter().enumerate() {
        // What is wrong with a stage's recipe is said before any work is done for it.
        opened.stage(i, &places)?;
        head(&format!("{}: data", stage.name));
        data(args, &opened, stage, &places, progress).with_context(|| left(&places, &stage.name, "data"))?;
        head(&format!("{}: training", stage.name));
        rows.push(train(&opened, i, &places, progress).with_context(|| left(&places, &stage.name, "training"))?);
        head(&format!("{}: merging", stage.name));
        rows.push(
            merge(chain, stage, &places, &mut kept, progress).with_context(|| left(&places, &stage.name, "merging"))?,
        );
    }
    let last = chain.stage.last().context("a chain has a stage")?;
    let merged = places.merged(chain, last);
    for quant in &chain.quants {
        head(&format!("export: {quant}"));
        rows.push(
            export(chain, quant, &places, &merged, &mut kept, progress)
                .with_context(|| left(&places, quant, "export"))?,
        );
    }
    let told = chain.stage.iter().map(|stage| told(stage, &places)).collect::<Result<Vec<_>>>()?;
    let sample = sample(chain, &places, &merged, &told, &mut kept, progress)?;
    let exports = chain
        .quants
        .iter()
        .filter_map(|quant| places.export(chain, quant).file_name().map(|name| name.to_string_lossy().into_owned()));
    let text = card::markdown(chain, &told, &exports.collect::<Vec<_>>(), sample.as_ref());
    for stage in &chain.stage {
        let picture = places.run(stage).join(curve::NAME);
        let bytes = fs::read(&picture).with_context(|| format!("cannot read {}", picture.display()))?;
        write_whole(&merged.join(card::curve(&stage.name)), &bytes)?;
    }
    write_whole(&merged.join(card::NAME), text.as_bytes())?;
    summary(&rows, sample.as_ref(), &merged);
    Ok(())
}

/// The chain with what the command line changes.
fn open(args: &Args) -> Result<Opened> {
    let path = Path::new(&args.chain);
    let named = Path::new("pipelines/train/all").join(format!("{}.toml", args.chain));
    let mut opened = Chain::open(if path.extension().is_some_and(|e| e == "toml") { path } else { &named })?;
    if let Some(model) = &args.model {
        opened.chain.base.path.clone_from(model);
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

fn head(what: &str) {
    anstream::println!("\n{HEAD}== {what}{HEAD:#}");
}

/// What a person should know when a step fails.
fn left(places: &Places, step: &str, what: &str) -> String {
    format!(
        "{step}: {what} (what was finished before is in {}, and the same command goes on from there)",
        places.0.display()
    )
}

fn data(args: &Args, opened: &Opened, stage: &Stage, places: &Places, progress: &Progress) -> Result<()> {
    let inputs = inputs::Args {
        recipe: opened.build(stage),
        from: args.from.clone(),
        jobs: args.jobs,
        limit: None,
        set: Vec::new(),
        on_bad_row: None,
    };
    let (plan, out) = (inputs.plan(progress, false)?, places.data(stage));
    let done = build::run(&plan, &out, Part::Whole, false, inputs.jobs(), progress);
    progress.clear();
    let (what, ledger) = match done? {
        Built::UpToDate(ledger) => ("up to date", Some(ledger)),
        Built::Built { ledger, .. } => ("built", Some(ledger)),
        Built::Tasks { .. } => ("built in part", None),
    };
    let splits = ledger.iter().flat_map(|l| &l.splits).map(|s| format!("{} {}", s.rows, s.split));
    anstream::println!(
        "{GOOD}{what}:{GOOD:#} {} rows  {FAINT}{}{FAINT:#}",
        splits.collect::<Vec<_>>().join(", "),
        out.display()
    );
    Ok(())
}

fn train(opened: &Opened, i: usize, places: &Places, progress: &Progress) -> Result<Row> {
    let stage = &opened.chain.stage[i];
    let loaded: Loaded = opened.stage(i, places)?;
    let (command, likelihood) =
        (command(&opened.recipe(stage), &loaded.sets), loaded.recipe.task != recipe::Task::Preference);
    let folder = places.run(stage);
    let prepared = Prepared::new(loaded, &folder, &Watching(progress));
    progress.clear();
    let prepared = prepared?;
    super::plan::headline(&prepared);
    let done = session::run(&prepared, &command, Start::Again, &Watching(progress));
    progress.clear();
    let done = done?;
    let lines = metrics::read(&folder)?;
    let evals: Vec<f64> = lines.iter().filter_map(|l| l.get("eval_loss")).collect();
    let eval = match evals.as_slice() {
        [] => String::new(),
        [first, .., last] if likelihood => {
            format!(", perplexity on held-out rows {:.3} to {:.3}", first.exp(), last.exp())
        }
        [.., last] => format!(", loss on held-out rows {last:.4}"),
    };
    let accuracies: Vec<f64> = lines.iter().filter_map(|l| l.get("eval_rewards/accuracies")).collect();
    let ahead = match accuracies.as_slice() {
        [first, .., last] => format!(", chosen ahead in {:.0}% to {:.0}%", first * 100.0, last * 100.0),
        _ => String::new(),
    };
    let what = match done {
        Done::UpToDate => "up to date",
        Done::Trained { resumed: Some(_), .. } => "resumed",
        Done::Trained { .. } => "trained",
    };
    let row = format!("{what}: {} steps{eval}{ahead}", prepared.total);
    anstream::println!("{GOOD}{row}{GOOD:#}");
    Ok(Row(format!("{}: training", stage.name), row))
}

/// SHA-256 of what decides a step.
fn inputs_of(parts: &[&str], files: &[&FileHash]) -> String {
    let files: Vec<String> = files.iter().map(|f| format!("{} {}", f.file, f.sha256)).collect();
    sha256(format!("{}\n{}\n{}", env!("CARGO_PKG_VERSION"), parts.join("\n"), files.join("\n")).as_bytes())
}

fn merge(chain: &Chain, stage: &Stage, places: &Places, kept: &mut Kept, progress: &Progress) -> Result<Row> {
    let (folder, out, step) = (places.run(stage), places.merged(chain, stage), format!("{}: merging", stage.name));
    let lock = RunLock::read(&folder.join(lock::NAME))?;
    let inputs = inputs_of(&["merge", &chain.dtype], &lock.adapter.iter().chain(&lock.base).collect::<Vec<_>>());
    if kept.has(&step, &inputs) {
        anstream::println!("{GOOD}up to date:{GOOD:#} {}", out.display());
        return Ok(Row(step, "up to date".into()));
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
        force: out.exists(),
    };
    let files = ModelFiles::open(&trained.base)?;
    trained.same_base(&files, &|| progress.cancelled())?;
    let merged = merge::merge(&files, &trained.adapter, &out, &options, &Watching(progress));
    progress.clear();
    let merged = merged?;
    kept.add(&step, &inputs, &out)?;
    let check = merged.check.map_or_else(String::new, |c| format!(", logits within {:.1e} of adapter on", c.largest));
    let row = format!("merged: {} layers in {}{check}", merged.modules, merged.dtype.as_str());
    anstream::println!("{GOOD}{row}{GOOD:#}");
    Ok(Row(step, row))
}

fn export(
    chain: &Chain,
    quant: &str,
    places: &Places,
    merged: &Path,
    kept: &mut Kept,
    progress: &Progress,
) -> Result<Row> {
    let (out, step) = (places.export(chain, quant), format!("export: {quant}"));
    let (files, tokens) = (ModelFiles::open(merged)?, Tokens::open(merged)?);
    let hashes = files.hashes(&|| progress.cancelled())?;
    let inputs = inputs_of(&["gguf", quant, &tokens.sha256], &hashes.iter().collect::<Vec<_>>());
    if kept.has(&step, &inputs) {
        anstream::println!("{GOOD}up to date:{GOOD:#} {}", out.display());
        return Ok(Row(step, "up to date".into()));
    }
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let done = export::gguf((&files, &tokens), (&out, out.exists()), Quant::parse(quant)?, &Watching(progress));
    progress.clear();
    let done = done?;
    kept.add(&step, &inputs, &out)?;
    let kinds: Vec<String> = done.kinds.iter().map(|(kind, n)| format!("{n} in {kind}")).collect();
    let row = format!("exported: {}, tensors: {}", crate::build::megabytes(done.bytes), kinds.join(", "));
    anstream::println!("{GOOD}{row}{GOOD:#}");
    Ok(Row(step, row))
}

fn told(stage: &Stage, places: &Places) -> Result<Told> {
    let folder = places.run(stage);
    let lock = RunLock::read(&folder.join(lock::NAME))?;
    Ok(Told { name: stage.name.clone(), lock, lines: metrics::read(&folder)? })
}

/// The answers of base and result to the chain's prompt, asked once.
fn sample(
    chain: &Chain,
    places: &Places,
    merged: &Path,
    told: &[Told],
    kept: &mut Kept,
    progress: &Progress,
) -> Result<Option<Sample>> {
    let (Some(first), Some(stage), Some(last)) = (chain.stage.first(), told.first(), told.last()) else {
        return Ok(None);
    };
    if chain.prompt.is_empty() {
        return Ok(None);
    }
    let path = places.0.join("sample.json");
    let inputs =
        inputs_of(&["sample", &chain.prompt], &stage.lock.base.iter().chain(&last.lock.adapter).collect::<Vec<_>>());
    let sample = |answers| Some(Sample { prompt: chain.prompt.clone(), answers });
    if kept.has("sample", &inputs)
        && let Some(answers) = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
    {
        return Ok(sample(answers));
    }
    head("a sample");
    let trained = Trained::open(&places.run(first))?;
    // Asked as training asked: with the template that the first adapter was trained with.
    let answers = [
        ask(&trained.base, &trained.adapter, &chain.prompt, progress)?,
        ask(merged, &trained.adapter, &chain.prompt, progress)?,
    ];
    write_whole(&path, &serde_json::to_vec_pretty(&answers)?)?;
    kept.add("sample", &inputs, &path)?;
    Ok(sample(answers))
}

/// The most probable answer of the model in `path`, with the tokenizer that lies in `tokens`.
fn ask(path: &Path, tokens: &Path, prompt: &str, progress: &Progress) -> Result<String> {
    let (files, tokens) = (ModelFiles::open(path)?, Tokens::open(tokens)?);
    let (device, dtype) = device::pick(recipe::Device::Auto)?;
    progress.stage("load", files.config().layers);
    let model = load::model(files.config(), &files, &Hold { dtype, device, ..Hold::plain() }, &|_| {
        progress.done(1);
        !progress.cancelled()
    });
    progress.clear();
    let sampling = Sampling { temperature: 0.0, top_p: 1.0, seed: 0, max_tokens: SAMPLE_TOKENS };
    let ids = chat_ids(&tokens, &[Message::new("user", prompt)])?;
    let mut written = Vec::new();
    generate(&model?, &ids, &tokens.eos_ids, &sampling, &mut |id| {
        written.push(id);
        !progress.cancelled()
    })?;
    if progress.cancelled() {
        return Err(setaccio_train::Error::Interrupted.into());
    }
    Ok(tokens.decode(&written, true)?)
}

fn summary(rows: &[Row], sample: Option<&Sample>, merged: &Path) {
    let wide = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or(0);
    anstream::println!("\n{HEAD}{:<wide$}  what was done{HEAD:#}", "step");
    for Row(step, what) in rows {
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
