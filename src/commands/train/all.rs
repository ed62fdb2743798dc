//! `setaccio train-all`: data, training, merging, export and card of a chain, each step from the last one's output.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use setaccio_curate::{parts::AtWork, source::origin::Origin};
use setaccio_eval::{
    audit::{report::Audit, suite::Suite},
    recipe::TaskFile,
    results::{self, Results},
    run::{Places, Subject, evaluate},
};
use setaccio_train::{
    chain::{
        card::Sample,
        places::Places as ChainPlaces,
        run::{ChainRun, Step, StepOutcome},
        schema::{Chain, ChainFile},
    },
    recipe::{Method, Task},
    report::{evaluation, line::Line, metrics},
    session::RunOutcome,
};

use super::{asking::Asking, audit, eval, noted::noted, plan};
use crate::{
    jobs::Jobs,
    progress::Bar,
    style::{FAINT, GOOD, HEAD, NAME, megabytes, snippet},
    submission,
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
    #[command(flatten)]
    jobs: Jobs,
}

pub fn run(args: &Args) -> Result<()> {
    args.jobs.apply()?;
    let file = open(args)?;
    let root = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&file.chain.name));
    // What is wrong with a recipe is said before any work is done.
    for stage in &file.chain.stage {
        setaccio_curate::recipe::load(&file.build(stage), &[]).with_context(|| stage.name.clone())?;
    }
    let progress = Bar::new();
    // What was submitted is asked after from its start. Of a folder of somebody else nothing is written to.
    let submitted = submission::is_of(&root);
    noted(submitted, &root, &progress, |at_work| {
        let mut chain = ChainRun::open(file, ChainPlaces { root: root.clone() })?;
        check_tasks(&chain)?;
        match at_work {
            Some(_) => follow(args, &mut chain, at_work, &progress),
            None => noted(true, &root, &progress, |at_work| follow(args, &mut chain, at_work, &progress)),
        }
    })
}

/// Take the steps of a chain, one after the other.
fn follow(args: &Args, chain: &mut ChainRun, at_work: Option<&AtWork>, progress: &Bar) -> Result<()> {
    let (mut rows, mut samples) = (Vec::new(), Vec::new());
    let steps = chain.steps();
    for (number, step) in steps.iter().enumerate() {
        let name = chain.name(step);
        if let Some(at_work) = at_work {
            at_work.is_at(&format!("{name}, step {} of {}", number + 1, steps.len()), false);
        }
        say!("\n{HEAD}== {name}{HEAD:#}");
        let done = take(args, chain, step, progress);
        progress.clear();
        match done.map_err(|error| where_it_stands(error, &name, &chain.places.root))? {
            Reply::Nothing => {}
            Reply::Row(row) => rows.push((name, row)),
            Reply::Samples(said) => samples = said,
        }
    }
    summary(&rows, &samples, chain);
    Ok(())
}

/// What a step adds to the summary.
enum Reply {
    Nothing,
    Row(String),
    Samples(Vec<Sample>),
}

/// Take a step, and say what came of it.
fn take(args: &Args, chain: &mut ChainRun, step: &Step, progress: &Bar) -> Result<Reply> {
    let row = match step {
        Step::Data(i) => {
            data(args, chain, *i, progress)?;
            return Ok(Reply::Nothing);
        }
        Step::Train(i) => {
            let plan = chain.plan(*i, progress)?;
            progress.clear();
            plan::headline(&plan);
            let what = match chain.train(&plan, progress)? {
                RunOutcome::UpToDate => "up to date",
                RunOutcome::Trained { resumed: Some(_), .. } => "resumed",
                RunOutcome::Trained { .. } => "trained",
            };
            let lines = metrics::read(&plan.folder)?;
            format!("{what}: {} steps{}", plan.total, learned(&lines, plan.recipe_file.recipe.task))
        }
        Step::Merge(i) => match chain.merge(*i, progress)? {
            StepOutcome::UpToDate(place) => return Ok(up_to_date(&place)),
            StepOutcome::Done(model) => {
                let dtype = model.report.dtype.as_str();
                let check = model.report.check;
                let check =
                    check.map_or_else(String::new, |c| format!(", logits within {:.1e} of adapter on", c.largest));
                match model.method {
                    Method::Lora => format!("merged: {} layers in {dtype}{check}", model.report.modules),
                    Method::Full => format!("trained whole: written in {dtype}"),
                }
            }
        },
        Step::Evaluate(i) => match evaluated(args, chain, *i, progress)? {
            None => return Ok(up_to_date(&chain.places.evaluation(chain.evaluated(*i)))),
            Some(done) => {
                progress.clear();
                eval::show(&done);
                let first = |results: &Results| {
                    let number = results.models.last()?.metrics.first()?;
                    Some(format!("{} {} {}", results.task, number.metric, results::shown(number)))
                };
                format!("evaluated: {}", done.iter().filter_map(first).collect::<Vec<_>>().join(", "))
            }
        },
        Step::Audit => match audited(chain, progress)? {
            None => return Ok(up_to_date(&chain.places.audit())),
            Some(done) => {
                progress.clear();
                audit::show(&done, &chain.places.audit());
                format!(
                    "audited: {}",
                    done.models.iter().map(|model| model.model.as_str()).collect::<Vec<_>>().join(" and ")
                )
            }
        },
        Step::Export(quant) => match chain.export(quant, progress)? {
            StepOutcome::UpToDate(place) => return Ok(up_to_date(&place)),
            StepOutcome::Done(report) => {
                let kinds: Vec<String> = report.kinds.iter().map(|(kind, n)| format!("{n} in {kind}")).collect();
                let check = report
                    .check
                    .map_or_else(String::new, |c| format!(", logits within {:.1e} of the model", c.largest));
                format!("exported: {}, tensors: {}{check}", megabytes(report.bytes), kinds.join(", "))
            }
        },
        Step::Card => {
            let sections = measured(chain)?;
            let samples = chain.card(&sections, progress)?;
            progress.clear();
            say!("{GOOD}written:{GOOD:#} {}", chain.card_path().display());
            return Ok(Reply::Samples(samples));
        }
    };
    progress.clear();
    say!("{GOOD}{row}{GOOD:#}");
    Ok(Reply::Row(row))
}

fn up_to_date(place: &Path) -> Reply {
    say!("{GOOD}up to date:{GOOD:#} {}", place.display());
    Reply::Row("up to date".into())
}

/// What is wrong with the tasks and the suite of a chain is said before any work is done.
fn check_tasks(chain: &ChainRun) -> Result<()> {
    chain.file.tasks().iter().try_for_each(|task| TaskFile::open(task).map(|_| ())).context("[eval]")?;
    if chain.file.chain.audit.is_some() {
        Suite::open(chain.file.suite().as_deref()).context("[audit]")?;
    }
    Ok(())
}

/// Evaluate the models that there are before a stage, side by side; nothing if that was done.
fn evaluated(args: &Args, chain: &mut ChainRun, i: usize, progress: &Bar) -> Result<Option<Vec<Results>>> {
    let tasks = chain.file.tasks();
    let limit = chain.file.chain.eval.as_ref().and_then(|eval| eval.limit);
    let settings = eval::of_chain(limit, chain.file.bertscore());
    let mut what = vec![args.from.to_string(), format!("{limit:?} {:?}", chain.file.bertscore())];
    for task in &tasks {
        what.push(TaskFile::open(task)?.sha256()?);
    }
    let step = Step::Evaluate(i);
    let (done, inputs) = chain.was_asked(&step, &what, progress)?;
    if done {
        return Ok(None);
    }
    let prepared = eval::prepare(&tasks, (&args.from, args.jobs), &settings, progress)?;
    let models = chain.models_before(i)?.into_iter();
    let subjects: Vec<Subject> =
        models.map(|(name, path)| Subject { name: Some(name), path, adapters: Vec::new() }).collect();
    let (out, home) = (chain.place_of(&step), chain.places.evaluations());
    let done = evaluate(prepared, &subjects, (Places { out: &out, home: &home }, &settings), progress)?;
    chain.add_asked(&step, &inputs)?;
    Ok(Some(done))
}

/// Audit base and result of a chain; nothing if that was done.
fn audited(chain: &mut ChainRun, progress: &Bar) -> Result<Option<Audit>> {
    let Some(asked) = chain.file.chain.audit.clone() else { return Ok(None) };
    let suite = Suite::open(chain.file.suite().as_deref())?;
    let what = [suite.1.clone(), format!("{} {}", asked.writing, asked.max_tokens)];
    let (done, inputs) = chain.was_asked(&Step::Audit, &what, progress)?;
    if done {
        return Ok(None);
    }
    let asking = (Asking::of_chain(), asked.writing.then_some(asked.max_tokens));
    let done = audit::of((&chain.places.root, &[]), suite, asking, progress)?;
    audit::write(&done, &chain.places.audit())?;
    chain.add_asked(&Step::Audit, &inputs)?;
    Ok(Some(done))
}

/// What the chain's card says of its evaluations, those after the last stage, which have all models side by side, and of its audit.
fn measured(chain: &ChainRun) -> Result<Vec<String>> {
    let mut sections = Vec::new();
    if chain.file.chain.eval.is_some() {
        let last = chain.places.evaluation(chain.evaluated(chain.file.chain.stage.len()));
        sections.push(evaluation::section(&eval::section(&Results::all(&last)?)));
    }
    if chain.file.chain.audit.is_some() {
        sections.push(audit::section(&chain.places.audit())?);
    }
    Ok(sections)
}

/// Where things stand when a step fails.
fn where_it_stands(error: anyhow::Error, step: &str, root: &Path) -> anyhow::Error {
    if super::interrupted(&error) {
        return error.context("interrupted; the same command goes on from there");
    }
    let root = root.display();
    error.context(format!("{step} (what was finished before is in {root}, and the same command goes on from there)"))
}

/// Build the rows of a stage.
fn data(args: &Args, chain: &ChainRun, i: usize, progress: &Bar) -> Result<()> {
    let stage = &chain.file.chain.stage[i];
    let from = Some(args.from.clone()).filter(|from| *from != Origin::Samples);
    super::data::build((&chain.file.build(stage), from), &chain.places.data(&stage.name), args.jobs, progress)
}

/// The chain with what the command line changes.
fn open(args: &Args) -> Result<ChainFile> {
    let mut file = Chain::open(&args.chain)?;
    if let Some(model) = &args.model {
        file.set_base(model, args.repo.as_deref(), args.license.as_deref());
        if file.chain.base.license.is_empty() {
            tell!(
                "{FAINT}the licence of {model} is not known here; --license and --repo put it into the cards{FAINT:#}"
            );
        }
    }
    args.set.iter().try_for_each(|set| file.apply_set(set))?;
    Ok(file)
}

/// What the rows say of a run, those that it learned from and those that were held out, from its start to its end.
fn learned(lines: &[Line], task: Task) -> String {
    let of = |key: &str| lines.iter().filter_map(|l| l.get(key)).collect::<Vec<f64>>();
    let mut out = String::new();
    if let [first, .., last] = of("loss").as_slice() {
        let _ = write!(out, ", loss {first:.4} to {last:.4}");
    }
    let _ = match of("eval_loss").as_slice() {
        [] => return out,
        [.., last] if task == Task::Preference => write!(out, ", on held-out rows {last:.4}"),
        [first, .., last] => write!(out, ", perplexity on held-out rows {:.3} to {:.3}", first.exp(), last.exp()),
        [only] => write!(out, ", perplexity on held-out rows {:.3}", only.exp()),
    };
    if let Some(last) = of("eval_rewards/accuracies").last() {
        let _ = write!(out, ", chosen ahead in {:.0}% of held-out pairs", last * 100.0);
    }
    out
}

fn summary(rows: &[(String, String)], samples: &[Sample], chain: &ChainRun) {
    let wide = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or(0);
    say!("\n{HEAD}{:<wide$}  what was done{HEAD:#}", "step");
    for (step, what) in rows {
        say!("{NAME}{step:<wide$}{NAME:#}  {what}");
    }
    for Sample { prompt, before, after } in samples {
        say!("\n{HEAD}{prompt}{HEAD:#}");
        for (when, answer) in [("before", before), ("after", after)] {
            say!("{FAINT}{when:>6}{FAINT:#}  {}", snippet(answer, 160));
        }
    }
    let (model, card) = (chain.places.result(), chain.card_path());
    say!("\n{NAME}{}{NAME:#}  {FAINT}card: {}{FAINT:#}", model.display(), card.display());
}
