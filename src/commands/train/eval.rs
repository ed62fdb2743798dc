//! `setaccio eval`: models answer the questions of tasks, and numbers say how well.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use serde::Serialize;
use setaccio_base::{card::markdown::plain, progress::Progress as _};
use setaccio_curate::{recipe::pins::Pins, source::origin::Origin};
use setaccio_eval::{
    bertscore,
    recipe::TaskFile,
    results::{self, Differing, Number, Results},
    rows,
    run::{Places, Prepared, Settings, Subject, evaluate},
};
use setaccio_hub::{Client, Settings as HubSettings};
use setaccio_train::report::evaluation::{self, FOLDER};

use super::asking::{Asking, home};
use crate::{
    fetch::{self, Need},
    jobs::Jobs,
    output::Output,
    progress::Bar,
    style::{FAINT, GOOD, HEAD, NAME, count},
};

/// Score a model by tasks, as lm-evaluation-harness does: multiple choice, written answers, perplexity
///
/// Several models are put side by side: each is compared with the first one, row by row. Of a run of `setaccio train`
/// base and adapter are two models, and the numbers go into the run's card, lock and TensorBoard events. An evaluation
/// that was stopped goes on where it was.
#[derive(clap::Args)]
pub struct Args {
    /// Hugging Face folders, GGUF files, runs of `setaccio train` or chains: of these two, what they began with and what they made
    #[arg(value_name = "MODEL", required = true)]
    models: Vec<PathBuf>,
    /// A task: a file, or one that the program carries (`setaccio recipes eval`); as often as there are tasks
    #[arg(short, long, value_name = "TASK", required = true, value_delimiter = ',')]
    task: Vec<PathBuf>,
    /// An adapter of the first model, in PEFT's format, or a run: a model of its own; as often as there are adapters
    #[arg(long, value_name = "DIR")]
    adapter: Vec<PathBuf>,
    /// Take rows from the bundled `samples`, which say nothing of a model, from the `hub`, or from a folder that holds one
    /// folder a task; local files (`path` in the task) are read from where they are
    #[arg(long, value_name = "samples|hub|DIR", default_value = "samples")]
    from: Origin,
    /// Folder of the results, a folder a task [default: RUN/eval of a run, else eval/NAME OF THE MODEL]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Ask about the first N rows of each task only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Examples before each question, of tasks that have examples [default: as each task says]
    #[arg(long, value_name = "N")]
    shots: Option<u16>,
    /// Ask in the model's chat template, or not, whatever tasks say
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no)]
    chat: Option<bool>,
    /// At most N new tokens an answer, of tasks whose answers are written [default: as each task says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,
    /// The folder of the model that BERTScore asks: BERT, DistilBERT, RoBERTa or XLM-R
    #[arg(long, value_name = "DIR")]
    bertscore: Option<PathBuf>,
    /// Layers of it whose states are compared [default: as bert_score has it]
    #[arg(long, value_name = "N", requires = "bertscore")]
    bertscore_layer: Option<u16>,
    /// Let tokens that are in few targets weigh more
    #[arg(long, requires = "bertscore")]
    bertscore_idf: bool,
    /// Let the model look at N tokens at most [default: its positions]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..))]
    max_length: Option<u32>,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    jobs: Jobs,
    #[command(flatten)]
    output: Output,
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("yes or no".into()),
    }
}

#[derive(Serialize)]
struct Evaluated<'a> {
    out: String,
    tasks: &'a [Results],
}

pub fn run(args: &Args) -> Result<()> {
    args.jobs.apply()?;
    let progress = args.output.bar();
    let settings = settings(args);
    let first = &args.models[0];
    let (home, is_run) = home(first, FOLDER);
    let out = args.out.clone().unwrap_or(home);
    let tasks = prepare(&args.task, (&args.from, args.jobs), &settings, &progress);
    progress.clear();
    let tasks = tasks?;
    let adapters = |i: usize| if i == 0 { args.adapter.clone() } else { Vec::new() };
    let subject = |(i, path): (usize, &PathBuf)| Subject { name: None, path: path.clone(), adapters: adapters(i) };
    let subjects: Vec<Subject> = args.models.iter().enumerate().map(subject).collect();
    let done = evaluate(tasks, &subjects, (Places { out: &out, home: &out }, &settings), &progress);
    progress.clear();
    let done = done?;
    if is_run && out == first.join(FOLDER) {
        record(first, &progress)?;
    }
    let evaluated = Evaluated { out: out.display().to_string(), tasks: &done };
    args.output.give("eval", &evaluated, |evaluated| {
        show(evaluated.tasks);
        say!("{GOOD}written:{GOOD:#} {}", evaluated.out);
    })
}

fn settings(args: &Args) -> Settings {
    Settings {
        shots: args.shots.map(usize::from),
        limit: args.limit.map(|n| n as usize),
        chat: args.chat,
        max_tokens: args.max_tokens.map(|n| n as usize),
        date: args.asking.date,
        seed: args.asking.seed,
        room: args.asking.room(args.max_length.map(|n| n as usize)),
        device: args.asking.device,
        bertscore: args.bertscore.as_ref().map(|model| bertscore::Settings {
            model: model.clone(),
            layer: args.bertscore_layer.map(usize::from),
            idf: args.bertscore_idf,
        }),
    }
}

/// Settings as a chain has them.
pub fn of_chain(limit: Option<usize>, bertscore: Option<PathBuf>) -> Settings {
    let asking = Asking::of_chain();
    Settings {
        shots: None,
        limit,
        chat: None,
        max_tokens: None,
        date: asking.date,
        seed: asking.seed,
        room: asking.room(None),
        device: asking.device,
        bertscore: bertscore.map(|model| bertscore::Settings { model, layer: None, idf: false }),
    }
}

/// Read tasks and their data, and make their questions: all that can be wrong with them is said before a model is loaded.
pub fn prepare(
    names: &[PathBuf],
    (from, jobs): (&Origin, Jobs),
    settings: &Settings,
    progress: &Bar,
) -> Result<Vec<Prepared>> {
    let files = names.iter().map(|name| TaskFile::open(name)).collect::<Result<Vec<_>, _>>()?;
    for (i, file) in files.iter().enumerate() {
        let twice = files[..i].iter().any(|other| other.task.name == file.task.name);
        ensure!(!twice, "two tasks are called `{}`: each has a folder of that name", file.task.name);
    }
    let samples = *from == Origin::Samples && files.iter().any(|file| file.task.data.path.is_empty());
    let prepared = files.into_iter().map(|file| {
        let origin = match from {
            Origin::Hub(_) => {
                let loaded = rows::as_recipe(&file)?;
                let client = Client::new(HubSettings::from_env()?)?;
                let listed = fetch::list(&client, &loaded, &Pins::default(), progress)?;
                Origin::Hub(fetch::fetch(&client, &listed, Need::All, jobs.threads(), progress)?)
            }
            other => other.clone(),
        };
        Ok(Prepared::new(file, &origin, settings, progress)?)
    });
    let prepared = prepared.collect::<Result<Vec<_>>>()?;
    if samples {
        progress.note(
            "the bundled samples are asked about: their numbers say nothing of a model; --from hub takes the real rows",
        );
    }
    Ok(prepared)
}

/// Write what a run was evaluated by into its card, lock and events.
fn record(run: &Path, progress: &Bar) -> Result<()> {
    let folder = run.join(FOLDER);
    let all = Results::all(&folder)?;
    let mut names = Vec::new();
    let mut values = Vec::new();
    for results in &all {
        names.push(format!("{}/{}", results.task, results::NAME));
        for model in &results.models {
            names.push(format!("{}/{}", results.task, model.answers.file));
            // TensorBoard shows what begins so under `eval`.
            let named =
                |number: &Number| (format!("eval_{}/{}/{}", results.task, number.metric, model.model), number.value);
            values.extend(model.metrics.iter().map(named));
        }
    }
    evaluation::add(run, &evaluation::section(&section(&all)), &names, values)?;
    progress.detail(&format!("{} has them in its card, its lock and its TensorBoard events", run.display()));
    Ok(())
}

/// What a card says of evaluations.
pub fn section(all: &[Results]) -> String {
    let mut text = results::table(all);
    text.push_str(
        "\nA number stands beside its standard error; p is that of McNemar's exact test of the last model against the first, row by \
         row.\n",
    );
    let on_samples = |results: &&Results| results.data.iter().any(|file| file.file.starts_with("samples/"));
    let names: Vec<String> = all.iter().filter(on_samples).map(|results| plain(&results.task)).collect();
    if !names.is_empty() {
        let names = names.join(", ");
        let _ = writeln!(
            text,
            "\nOf the bundled samples, which were written for Setaccio, and on which numbers say nothing of a model: {names}."
        );
    }
    text
}

/// Check the task in a file.
pub fn task(path: &Path) -> Result<()> {
    Ok(TaskFile::open(path).map(|_| ())?)
}

/// The numbers for a person.
pub fn show(all: &[Results]) {
    for results in all {
        let rows = if results.rows < results.of {
            format!("{} of {} rows", count(results.rows as u64), count(results.of as u64))
        } else {
            format!("{} rows", count(results.of as u64))
        };
        let shots = if results.shots > 0 { format!(", {} examples", results.shots) } else { String::new() };
        say!("\n{HEAD}{}{HEAD:#}  {FAINT}{rows}{shots}{FAINT:#}", results.task);
        let wide = results.models.iter().map(|model| model.model.chars().count()).max().unwrap_or(0);
        for model in &results.models {
            for (i, number) in model.metrics.iter().enumerate() {
                let name = if i == 0 { model.model.as_str() } else { "" };
                let differs = results.differences.iter().find(|d| d.model == model.model && d.metric == number.metric);
                say!(
                    "  {NAME}{name:<wide$}{NAME:#}  {:<22} {:<20} {FAINT}{}{}{FAINT:#}",
                    number.metric,
                    results::shown(number),
                    interval(number.interval),
                    differs.map_or_else(String::new, difference)
                );
            }
        }
    }
    say!("");
}

fn interval(ends: Option<[f64; 2]>) -> String {
    ends.map_or_else(String::new, |[low, high]| format!("[{low:.4}, {high:.4}]"))
}

fn difference(differing: &Differing) -> String {
    let p = differing.p.map_or_else(String::new, |p| format!(", p {p:.3}"));
    format!("  {:+.4} {} than {}{p}", differing.value, interval(differing.interval), differing.than)
}
