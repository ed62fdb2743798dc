//! `setaccio submit`: a build, a run or a chain on a cluster, as scripts that a person can read; what is missing, and no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use setaccio_base::{atomic, bundle::Place, shell};
use setaccio_curate::{
    build,
    parts::{self, Outline},
    recipe::{self, RecipeFile, pins},
    source::origin::Origin,
};
use setaccio_dataset::recipe::OnBadRow;

use crate::{
    fetch::Need,
    inputs,
    output::Output,
    progress::Bar,
    stores,
    style::{FAINT, GOOD, NAME, count, counted},
    submission::{
        self, FINISH, JOIN, Record, SLICES, Submission, TRAIN,
        manifests::Parts,
        script::{self, LIST, Resources, Script},
        slurm::{self, Queue},
    },
    terminal,
};

/// Do a build, a run or a chain on Slurm, Kubernetes or AWS Batch: write the scripts, and submit what is missing
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("system").required(true)))]
pub struct Args {
    #[command(flatten)]
    inputs: inputs::Args,
    /// Folder to write, on a file system that all nodes see [default: as of `build`, `train` and `train-all`]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// RECIPE names a chain that the program carries, of which some have names of recipes; files say what they are
    #[arg(long)]
    chain: bool,
    /// Submit to Slurm: the slices as an array, and after them the job that joins them
    #[arg(long, group = "system")]
    slurm: bool,
    /// Write Jobs for Kubernetes, with --dry-run, --image and --volume
    #[arg(long, group = "system", requires_all = ["dry_run", "image", "volume"])]
    kubernetes: bool,
    /// Write jobs for AWS Batch, with --dry-run, --queue and --job-definition
    #[arg(long, group = "system", requires_all = ["dry_run", "queue", "job_definition"])]
    aws_batch: bool,
    /// Write the scripts and show them, and submit nothing
    #[arg(long)]
    dry_run: bool,
    /// Cut the build into N slices [default: as it was cut before, or 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    tasks: Option<u32>,
    /// Slurm: elements of the array at most, each of which does several slices if there are more [default: what Slurm takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    elements: Option<u32>,
    /// Memory of a process
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = mebibytes)]
    mem: u64,
    /// Slurm: GPUs of a run or a chain, 0 or 1 [default: 1]; a build uses none
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=1))]
    gpus: Option<u16>,
    /// Slurm: the partition
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    /// Slurm: the account that pays
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Slurm: the quality of service
    #[arg(long, value_name = "NAME")]
    qos: Option<String>,
    /// Slurm: time limit of each job, as `sbatch` takes it; a job that reaches it goes on when its turn comes again
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// Join the slices by N processes together; 1: by the one that publishes, which begins anew if its time is not enough
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    finish_tasks: u16,
    /// Slurm: time limit of the jobs that join [default: that of --time]
    #[arg(long, value_name = "TIME")]
    finish_time: Option<String>,
    /// CPUs of a process that joins [default: that of --jobs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    finish_jobs: Option<u16>,
    /// Slurm: seconds before its time limit that a job is told to stop cleanly; the time limit has to be longer
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=65535))]
    notice: u32,
    /// Slurm: a file of shell commands that each job reads first (modules, HF_HOME); it is named in the scripts, not copied
    #[arg(long, value_name = "FILE")]
    env: Option<PathBuf>,
    /// Kubernetes: the image, with `setaccio` in it
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Kubernetes: the claim of a volume that holds recipe, inputs and output, and where it is mounted
    #[arg(long, value_name = "CLAIM=PATH", value_parser = volume)]
    volume: Option<(String, String)>,
    /// AWS Batch: the job queue
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// AWS Batch: the job definition, with `setaccio` in its image and the file system mounted
    #[arg(long, value_name = "NAME")]
    job_definition: Option<String>,
    #[command(flatten)]
    output: Output,
    /// Of a run or a chain: further arguments of `train` or `train-all`, for instance -- --model DIR
    #[arg(last = true, value_name = "ARGUMENT")]
    more: Vec<String>,
}

/// CPUs of a process, unless `--jobs` says how many.
const CPUS: u16 = 4;
/// Slices of a build, unless somebody says how many.
const TASKS: usize = 16;

fn mebibytes(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit.trim_end_matches(['i', 'B']) {
        "G" => Some(1024),
        "M" => Some(1),
        _ => None,
    };
    let size = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    size.filter(|size| *size > 0).ok_or_else(|| "write a whole number and M or G, for instance 4G".to_owned())
}

fn volume(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((claim, path)) if !claim.is_empty() && path.starts_with('/') => Ok((claim.to_owned(), path.to_owned())),
        _ => Err("write CLAIM=PATH, for instance data=/work".into()),
    }
}

/// What was written, and what was submitted.
#[derive(Serialize)]
struct Report {
    status: Status,
    out: String,
    /// The folder of the scripts.
    #[serde(skip_serializing_if = "Option::is_none")]
    scripts: Option<String>,
    /// Slices that the build is cut into.
    #[serde(skip_serializing_if = "Option::is_none")]
    slices: Option<usize>,
    /// Those that were missing and that no job in the queue does.
    submitted: Vec<usize>,
    /// Those that jobs in the queue do or will do.
    queued: Vec<usize>,
    /// The jobs, by step.
    jobs: BTreeMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// The folder holds this very build.
    UpToDate,
    /// All that is missing is in the queue.
    Queued,
    /// Scripts were written and not submitted.
    Written,
    Submitted,
}

/// What a recipe is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Build,
    Run,
    Chain,
}

pub fn run(args: &Args) -> Result<()> {
    check_times(args)?;
    let kind = if args.chain { Kind::Chain } else { kind(&args.inputs.recipe)? };
    match kind {
        Kind::Build => build(args),
        Kind::Run | Kind::Chain => train(args, kind),
    }
}

/// Folder of the training recipes that the program carries.
const TRAINING: &str = "pipelines/train";

fn kind(recipe: &Path) -> Result<Kind> {
    let place = match Place::recipe(recipe, recipe::HOME) {
        Ok(place) => place,
        Err(why) => Place::recipe(recipe, TRAINING).map_err(|_| anyhow::anyhow!(why))?,
    };
    let text = place.text().with_context(|| format!("cannot read the recipe {place}"))?;
    let table: toml::Table = text.parse().with_context(|| place.to_string())?;
    let has = |key: &str| table.contains_key(key);
    Ok(match () {
        () if has("stage") => Kind::Chain,
        () if has("source") || has("fingerprint") => Kind::Build,
        () => Kind::Run,
    })
}

/// Check that pods see what they read and write: what a pod writes elsewhere goes with it.
fn check_volume(args: &Args, loaded: &RecipeFile, out: &Path) -> Result<()> {
    let Some((_, mounted)) = &args.volume else { return Ok(()) };
    let recipe = match &loaded.place {
        Place::Disk { path, .. } => Some(std::path::absolute(path)?),
        Place::Bundled { .. } | Place::Stored(_) => None,
    };
    for path in recipe.into_iter().chain([out.to_owned()]) {
        if !path.starts_with(mounted) {
            bail!("{} is not below {mounted}, where the volume is mounted: pods do not see it", path.display());
        }
    }
    Ok(())
}

/// Check that a job has time before it is told to stop. What is no time is for `sbatch` to refuse.
fn check_times(args: &Args) -> Result<()> {
    for (option, time) in [("--time", &args.time), ("--finish-time", &args.finish_time)] {
        if let Some(time) = time
            && let Some(limit) = slurm::seconds(time)
            && limit <= args.notice.into()
        {
            bail!("{option} {time} is no longer than --notice {} (seconds): no job would do anything", args.notice);
        }
    }
    Ok(())
}

/// The folder of the build, which the machines share.
fn out_of(args: &Args, name: &str) -> Result<PathBuf> {
    let out = args.out.clone().unwrap_or_else(|| Path::new("data/out").join(name));
    if stores::address(&out).is_some() {
        bail!(
            "a batch system's machines share a folder: name one with --out, and put the build into a store with `setaccio build` afterwards"
        );
    }
    let out = std::path::absolute(&out).with_context(|| out.display().to_string())?;
    setaccio_curate::folder::check(&out)?;
    Ok(out)
}

fn build(args: &Args) -> Result<()> {
    let progress = args.output.bar();
    if let Some(word) = args.more.first() {
        bail!("{word} follows `--`, which is for a training run or a chain");
    }
    let loaded = args.inputs.load()?;
    let out = out_of(args, &loaded.recipe.name)?;
    let _lock = submission::lock(&out)?;
    let earlier = submission::all(&out)?;
    let outline = Outline::read(&out);
    let before = outline.as_ref().and_then(|outline| outline.slices);
    let before = before.or_else(|| earlier.last().and_then(|earlier| earlier.record.of));
    let of = args.tasks.map(|n| n as usize).or(before).unwrap_or(TASKS);
    check_volume(args, &loaded, &out)?;
    let (name, command) = (loaded.recipe.name.clone(), command(args, &loaded, &out)?);
    let shown = shell_line(&command);
    let queue = if args.dry_run { Queue::new() } else { slurm::queue()? };
    let missing = missing(args, loaded, &out, of, &progress);
    progress.clear();
    let (missing, outline) = missing?;
    let Some(missing) = missing else {
        return give(args, &Report { status: Status::UpToDate, ..nothing(&out, Some(of)) });
    };

    // Slices that are in the queue come to their turn; whoever joins waits for them too.
    let (mut queued, mut joins, mut running) = (BTreeSet::new(), Vec::new(), Vec::new());
    for submission in &earlier {
        let there = submission.queued_slices(&queue);
        let join = submission.queued_finish(&queue);
        if there.is_empty() && join.is_empty() {
            continue;
        }
        if submission.record.command != shown || submission.record.of != Some(of) {
            bail!(
                "jobs of another build of {} are in the queue ({} of {}): wait for them, or cancel them with scancel",
                out.display(),
                submission.record.jobs.values().cloned().collect::<Vec<_>>().join(", "),
                submission.record.command
            );
        }
        if !there.is_empty() {
            running.extend(submission.record.jobs.get(SLICES).cloned());
        }
        joins.extend(join.into_iter().map(str::to_owned));
        queued.extend(there);
    }
    let slices: Vec<usize> = missing.into_iter().filter(|slice| !queued.contains(slice)).collect();
    let queued: Vec<usize> = queued.into_iter().collect();
    if slices.is_empty() && !joins.is_empty() {
        return give(args, &Report { status: Status::Queued, queued, ..nothing(&out, Some(of)) });
    }

    let most = slurm::most_elements();
    let elements = slices.len().min(args.elements.map_or(most, |n| most.min(n as usize)));
    let record = Record {
        command: shown.clone(),
        again: again(),
        of: Some(of),
        slices: slices.clone(),
        elements,
        shares: shares(args),
        jobs: BTreeMap::new(),
    };
    let mut submission = submission::next(&out, record)?;
    let files = if args.slurm {
        slurm_files(args, &submission, &name, &shown)?
    } else {
        let cpus = [cpus(args), args.finish_jobs.unwrap_or(cpus(args))];
        let shares = args.finish_tasks;
        let parts = Parts { name: &name, command: &command, of, shares, cpus, memory: args.mem };
        match (&args.image, &args.volume, &args.queue, &args.job_definition) {
            (Some(image), Some((claim, path)), _, _) if args.kubernetes => parts.kubernetes(image, (claim, path)),
            (_, _, Some(queue), Some(definition)) => parts.aws_batch(queue, definition),
            // clap asks for them.
            _ => Vec::new(),
        }
    };
    write(&submission.folder, &files)?;
    if args.dry_run {
        return written(args, &submission, &files, (of, slices));
    }
    submission.write()?;
    foretell(&out, outline.as_ref())?;
    if !slices.is_empty() {
        let job = slurm::submit(&submission.folder.join("slices.sh"), &[])?;
        submission.record.jobs.insert(SLICES.to_owned(), job);
        submission.write()?;
    }
    // What would have joined earlier slices alone makes room for what joins all of them.
    joins.iter().try_for_each(|job| slurm::cancel(job))?;
    let mine = submission.record.jobs.get(SLICES).map(|job| format!("afterok:{job}"));
    let mut after: Vec<String> = mine.into_iter().chain(running.iter().map(|job| format!("afterany:{job}"))).collect();
    for (step, file) in [(JOIN, "join.sh"), (FINISH, "finish.sh")] {
        let script = submission.folder.join(file);
        if script.exists() {
            let job = slurm::submit(&script, &after)?;
            // What publishes does what is left of joining, so that no process that joins has to come to its end.
            after.push(format!("afterany:{job}"));
            submission.record.jobs.insert(step.to_owned(), job);
            submission.write()?;
        }
    }
    let (scripts, jobs) = (Some(submission.folder.display().to_string()), submission.record.jobs);
    let nothing = nothing(&out, Some(of));
    give(args, &Report { status: Status::Submitted, scripts, submitted: slices, queued, jobs, ..nothing })
}

/// Write down what is known of the tasks: slices without one are done, which is to be seen before the first slice begins.
fn foretell(out: &Path, outline: Option<&Outline>) -> Result<()> {
    outline.map_or(Ok(()), |outline| Ok(outline.write(out)?))
}

fn nothing(out: &Path, slices: Option<usize>) -> Report {
    let (submitted, queued, jobs) = (Vec::new(), Vec::new(), BTreeMap::new());
    Report { status: Status::Queued, out: out.display().to_string(), scripts: None, slices, submitted, queued, jobs }
}

/// Bytes of inputs that are read through before slices are submitted; more of them are left to the slices.
const INSPECTED: u64 = 1 << 30;

/// The slices that are missing, none where this very build is there, and what is known of its tasks: all slices and nothing, while large
/// inputs were not inspected by a first one.
type Missing = (Option<Vec<usize>>, Option<Outline>);

fn missing(args: &Args, loaded: RecipeFile, out: &Path, of: usize, progress: &Bar) -> Result<Missing> {
    let inspected = parts::Inspected { most: Some(INSPECTED.into()), ..parts::inspected(out, [1, 1]) };
    // What comes from the Hub is fetched here, where there is a network, and once.
    match args.inputs.plan_with(loaded, (Need::All, &pins::of(out)), Some(inspected), progress) {
        Ok((plan, _)) => Ok((build::missing(&plan, out, of), Some(build::outline(&plan, Some(of), shares(args))))),
        Err(error) if matches!(error.downcast_ref(), Some(setaccio_curate::Error::Uninspected)) => {
            Ok((Some((1..=of).collect()), None))
        }
        Err(error) => Err(error),
    }
}

/// By how many processes slices are joined together, if more than one does: no more than an array of Slurm has elements.
fn shares(args: &Args) -> Option<usize> {
    let most = if args.slurm { slurm::most_elements() } else { usize::MAX };
    Some(most.min(args.finish_tasks.into())).filter(|shares| *shares > 1)
}

fn cpus(args: &Args) -> u16 {
    args.inputs.jobs.asked().unwrap_or(CPUS)
}

/// The words of a path on any node: whole.
fn whole(path: &Path) -> Result<String> {
    let path = std::path::absolute(path).with_context(|| path.display().to_string())?;
    path.into_os_string()
        .into_string()
        .map_err(|path| anyhow::anyhow!("{} is not UTF-8, and scripts are", path.display()))
}

/// The program: this one on a cluster whose nodes see it, and of an image the one in it.
fn program(args: &Args) -> Result<String> {
    if args.slurm {
        whole(&env::current_exe().context("cannot tell where this program is")?)
    } else {
        Ok("setaccio".into())
    }
}

/// The words of the command whose parts are submitted.
fn command(args: &Args, loaded: &RecipeFile, out: &Path) -> Result<Vec<String>> {
    let inputs = &args.inputs;
    let recipe = match &loaded.place {
        Place::Disk { path, .. } => whole(path)?,
        Place::Bundled { .. } | Place::Stored(_) => loaded.place.argument().display().to_string(),
    };
    let mut words = vec![program(args)?, "build".to_owned(), recipe, "--out".to_owned(), whole(out)?];
    let mut option =
        |name: &str, value: Option<String>| words.extend(value.into_iter().flat_map(|v| [name.to_owned(), v]));
    let from = match &inputs.from {
        Some(Origin::Dir(folder)) => {
            Some(stores::address(folder).map_or_else(|| whole(folder), |at| Ok(at.to_owned()))?)
        }
        other => other.as_ref().map(ToString::to_string),
    };
    option("--from", from);
    option("--limit", inputs.limit.map(|n| n.to_string()));
    inputs.set.iter().for_each(|set| option("--set", Some(set.clone())));
    let bad_row = inputs.on_bad_row.map(|what| if what == OnBadRow::Skip { "skip" } else { "stop" });
    option("--on-bad-row", bad_row.map(str::to_owned));
    Ok(words)
}

fn shell_line(words: &[String]) -> String {
    words.iter().map(|word| shell::word(word)).collect::<Vec<_>>().join(" ")
}

/// This very command.
fn again() -> String {
    shell_line(&env::args_os().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>())
}

fn resources(args: &Args, gpus: u16) -> Resources {
    Resources {
        partition: args.partition.clone(),
        account: args.account.clone(),
        qos: args.qos.clone(),
        time: args.time.clone(),
        notice: args.notice,
        cpus: cpus(args),
        memory: args.mem,
        gpus: args.gpus.unwrap_or(gpus),
    }
}

/// The file of `--env`, which has to be there.
fn env_file(args: &Args) -> Result<Option<PathBuf>> {
    let Some(env) = &args.env else { return Ok(None) };
    if !env.is_file() {
        bail!("--env: {} is no file", env.display());
    }
    Ok(Some(whole(env)?.into()))
}

fn slurm_files(args: &Args, submission: &Submission, name: &str, command: &str) -> Result<Vec<(&'static str, String)>> {
    let (resources, env, here) = (resources(args, 0), env_file(args)?, env::current_dir()?);
    let Submission { folder, record } = submission;
    let name = format!("setaccio-{name}");
    // A node asks nothing of the network: what is needed was fetched when this was submitted.
    let offline = ["export HF_HUB_OFFLINE=1".to_owned()];
    let join = Resources {
        time: args.finish_time.clone().or_else(|| args.time.clone()),
        cpus: args.finish_jobs.unwrap_or(resources.cpus),
        ..resources.clone()
    };
    let script = |about: &str, step: &str, elements: Option<usize>, work: &str| {
        let resources = if step == SLICES { &resources } else { &join };
        // What publishes what others joined has hardly begun when it is done.
        let goes_on = step != FINISH || record.shares.is_some();
        let pattern = if elements.is_some() { format!("{step}-%a.log") } else { format!("{step}.log") };
        let (log, env, folder) = (script::log_in(folder, &pattern), env.as_deref(), here.as_path());
        let (name, resources, settings) = (name.as_str(), resources, &offline[..]);
        Script { name, about, resources, elements, log, env, folder, settings, goes_on, work }.text()
    };
    let mut files = Vec::new();
    if !record.slices.is_empty() {
        let list = record.slices.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n";
        let work = script::slices(command, &folder.join(LIST), record.of.unwrap_or(1), record.elements);
        files.push((LIST, list));
        files.push((
            "slices.sh",
            script("The slices of a build, written by `setaccio submit`.", SLICES, Some(record.elements), &work),
        ));
    }
    if record.shares.is_some() {
        let about = "Joins the slices of a build, several processes together, written by `setaccio submit`.";
        files.push(("join.sh", script(about, JOIN, record.shares, &script::join(command))));
    }
    let work = format!("turn {command} --jobs \"$SLURM_CPUS_PER_TASK\" --finish\nexit \"$?\"\n");
    let about = match record.shares {
        Some(_) => "Publishes a build whose slices were joined, written by `setaccio submit`.",
        None => "Joins the slices of a build, written by `setaccio submit`.",
    };
    files.push(("finish.sh", script(about, FINISH, None, &work)));
    Ok(files)
}

fn write(folder: &Path, files: &[(&'static str, String)]) -> Result<()> {
    files.iter().try_for_each(|(name, text)| atomic::write(&folder.join(name), text.as_bytes()))?;
    Ok(())
}

/// A training run or a chain: one job, which goes on where the last one stopped.
fn train(args: &Args, kind: Kind) -> Result<()> {
    if !cfg!(feature = "train") {
        bail!(
            "this build curates only: a training run needs one with the trainer, `cargo build --release --features train`"
        );
    }
    if !args.slurm {
        bail!("a training run is submitted to Slurm; `setaccio train ... --resume` is its command for other systems");
    }
    let inputs = &args.inputs;
    if inputs.limit.is_some() || inputs.on_bad_row.is_some() || args.tasks.is_some() || args.elements.is_some() {
        bail!("--limit, --on-bad-row, --tasks and --elements are for a build");
    }
    if inputs.from.is_some() && kind == Kind::Run {
        bail!("--from is for a build or a chain: a run reads data sets that were built");
    }
    let name = checked(args, kind)?;
    let out = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&name));
    let out = std::path::absolute(&out).with_context(|| out.display().to_string())?;
    let recipe = if inputs.recipe.exists() { whole(&inputs.recipe)? } else { inputs.recipe.display().to_string() };
    let word = if kind == Kind::Chain { "train-all" } else { "train" };
    let mut words = vec![program(args)?, word.to_owned(), recipe, "--out".to_owned(), whole(&out)?];
    match &inputs.from {
        Some(Origin::Dir(folder)) => words.extend(["--from".to_owned(), whole(folder)?]),
        other => words.extend(other.iter().flat_map(|from| ["--from".to_owned(), from.to_string()])),
    }
    words.extend(inputs.set.iter().flat_map(|set| ["--set".to_owned(), set.clone()]));
    words.extend(args.more.iter().cloned());
    // A chain remembers which steps are finished.
    words.extend((kind == Kind::Run).then(|| "--resume".to_owned()));
    let command = shell_line(&words);

    let _lock = submission::lock(&out)?;
    if !args.dry_run {
        let queue = slurm::queue()?;
        if submission::all(&out)?.iter().any(|earlier| earlier.queued(&queue, TRAIN, None).is_some()) {
            return give(args, &nothing(&out, None));
        }
    }
    let mut submission =
        submission::next(&out, Record { command: command.clone(), again: again(), ..Record::default() })?;
    let work = format!("turn {command} --jobs \"$SLURM_CPUS_PER_TASK\"\nexit \"$?\"\n");
    let (env, here) = (env_file(args)?, env::current_dir()?);
    let text = Script {
        name: &format!("setaccio-{name}"),
        about: "A training run on one GPU of one node, written by `setaccio submit`: nodes, tasks and GPUs of a node are one each.",
        resources: &resources(args, 1),
        elements: None,
        log: script::log_in(&submission.folder, "train.log"),
        env: env.as_deref(),
        folder: &here,
        settings: &["export HF_HUB_OFFLINE=1".to_owned()],
        goes_on: true,
        work: &work,
    };
    let files = [("train.sh", text.text())];
    write(&submission.folder, &files)?;
    if args.dry_run {
        return written(args, &submission, &files, (0, Vec::new()));
    }
    submission.write()?;
    let job = slurm::submit(&submission.folder.join("train.sh"), &[])?;
    submission.record.jobs.insert(TRAIN.to_owned(), job);
    submission.write()?;
    let (scripts, jobs) = (Some(submission.folder.display().to_string()), submission.record.jobs);
    give(args, &Report { status: Status::Submitted, scripts, jobs, ..nothing(&out, None) })
}

/// What the recipe of a run or a chain is called; what is wrong with it is said now.
#[cfg(feature = "train")]
fn checked(args: &Args, kind: Kind) -> Result<String> {
    use setaccio_train::{chain::schema::Chain, recipe as training};
    Ok(match kind {
        Kind::Chain => Chain::open(&args.inputs.recipe)?.chain.name,
        _ => training::load(&args.inputs.recipe, &args.inputs.set)?.recipe.name,
    })
}

#[cfg(not(feature = "train"))]
fn checked(_: &Args, _: Kind) -> Result<String> {
    bail!("this build has no trainer")
}

/// Show what was written and not submitted.
fn written(
    args: &Args,
    submission: &Submission,
    files: &[(&str, String)],
    (of, submitted): (usize, Vec<usize>),
) -> Result<()> {
    let out = submission.folder.ancestors().nth(3).unwrap_or(&submission.folder).to_owned();
    let scripts = Some(submission.folder.display().to_string());
    let slices = Some(of).filter(|of| *of > 0);
    let done = Report { status: Status::Written, scripts, submitted, ..nothing(&out, slices) };
    args.output.give("submit", &done, |done| {
        for (name, text) in files {
            say!("{NAME}== {name}{NAME:#}");
            let _ = terminal::write(text);
            say!("");
        }
        say!("{GOOD}written:{GOOD:#} {}, and nothing was submitted", done.scripts.as_deref().unwrap_or_default());
    })
}

fn give(args: &Args, done: &Report) -> Result<()> {
    args.output.give("submit", done, |done| {
        let out = &done.out;
        match done.status {
            Status::UpToDate => say!("{GOOD}up to date:{GOOD:#} {out} holds this very build"),
            Status::Queued if done.slices.is_none() => say!("{GOOD}in the queue:{GOOD:#} the run of {out}"),
            Status::Queued => {
                let slices = counted(done.queued.len() as u64, "slice");
                say!("{GOOD}in the queue:{GOOD:#} all that is missing of {out}, {slices} and what joins them");
            }
            Status::Written | Status::Submitted => {
                let jobs = [SLICES, JOIN, FINISH, TRAIN].iter().filter_map(|step| Some((step, done.jobs.get(*step)?)));
                let jobs: Vec<String> = jobs.map(|(step, job)| format!("{step} {job}")).collect();
                let what = done.slices.map_or_else(String::new, |of| {
                    let queued = match done.queued.len() {
                        0 => String::new(),
                        n => format!(", {} are in the queue", count(n as u64)),
                    };
                    format!("{} of {} slices{queued}; ", count(done.submitted.len() as u64), count(of as u64))
                });
                say!("{GOOD}submitted:{GOOD:#} {what}jobs: {}", jobs.join(", "));
                say!("{FAINT}scripts and logs: {}{FAINT:#}", done.scripts.as_deref().unwrap_or_default());
            }
        }
        if done.status != Status::UpToDate {
            say!("{FAINT}how it stands: setaccio status {}{FAINT:#}", shell::word(out));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_mebibytes() {
        for (text, size) in [("4G", 4096), ("4GiB", 4096), ("500M", 500), ("8GB", 8192)] {
            assert_eq!(mebibytes(text), Ok(size), "{text}");
        }
        for wrong in ["", "4", "G", "0G", "1.5G", "4T", "-1G"] {
            assert!(mebibytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(volume("data=/work"), Ok(("data".into(), "/work".into())));
        assert!(volume("/work").is_err() && volume("=/work").is_err());
    }
}
