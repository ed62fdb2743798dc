//! `setaccio train`: follow a training recipe from built data to an adapter.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use setaccio_base::progress::Progress;
use setaccio_curate::parts::{AtWork, Noted};
use setaccio_hub::{Repo, RepoType};
use setaccio_train::{
    artifacts::merge,
    checkpoint,
    data::show,
    formats::model_files::CONFIG,
    gpus::Gpu,
    recipe::{self, RecipeFile, Task},
    session::{
        self, RunOutcome, RunPlan, StartMode,
        outlook::Place,
        sketch::{Outline, Sketch},
    },
};

use super::{
    noted::noted,
    own_rows::{self, Asked},
    plan,
};
use crate::{
    fetch,
    jobs::Jobs,
    layout::Layout,
    progress::Bar,
    stores,
    style::{FAINT, GOOD, NAME, counted},
    submission, terminal,
};

/// Fine-tune a model on built data: a LoRA adapter or every weight, its curve and its card
#[derive(clap::Args)]
pub struct Args {
    /// Recipe to follow: a file, or one that the program carries, for instance tiny (`setaccio recipes` lists them); or rows of
    /// your own, a file or a folder of them, or a built data set: then the recipe `default` is followed, and --model is needed
    #[arg(value_name = "RECIPE|ROWS")]
    recipe: PathBuf,
    /// Folder of the run [default: runs/NAME OF THE RECIPE, below the current folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The base model: a Hugging Face folder or a GGUF file [default: the recipe's]
    #[arg(long, value_name = "PATH")]
    model: Option<String>,
    /// Change one value of the recipe, for instance --set train.learning_rate=1e-4
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Take N steps, whatever the recipe says; the schedule ends there
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_steps: Option<u64>,
    /// Go over the rows X times, whatever the recipe says; the schedule ends there
    #[arg(long, value_name = "X", conflicts_with = "max_steps")]
    epochs: Option<f64>,
    /// Go on from the newest checkpoint that is whole; with another number of steps, on the schedule of that number
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Start anew over the run that the folder holds
    #[arg(long)]
    force: bool,
    /// Say what the run would take, and read no weights: config.json alone is enough, also that of --model OWNER/NAME on the
    /// Hub; fails if it does not fit
    #[arg(long)]
    plan: bool,
    /// With --plan: on a GPU of so much memory, for instance 24GiB, whether it is here or not
    #[arg(long, value_name = "SIZE", requires = "plan", value_parser = merge::bytes)]
    device_memory: Option<u64>,
    /// With --plan: on this GPU, for instance h100, a100-80gb or rtx-4090; says the time too
    #[arg(long, value_name = "NAME", requires = "plan", conflicts_with = "device_memory", value_parser = Gpu::named)]
    gpu: Option<&'static Gpu>,
    /// Show N rows with what is learned marked, and read no weights
    #[arg(long, value_name = "N", conflicts_with = "plan")]
    show_batch: Option<usize>,
    /// With --show-batch: token ids and masks of the first N steps, one JSON object a sequence
    #[arg(long, requires = "show_batch")]
    json: bool,
    #[command(flatten)]
    layout: Layout,
    #[command(flatten)]
    jobs: Jobs,
}

impl Args {
    fn load(&self, recipe: &Path) -> Result<RecipeFile> {
        let mut sets = Vec::new();
        // What a recipe says of its base is true of no other.
        if let Some(path) = self.model.as_ref().filter(|path| path.as_str() != recipe::TINY)
            && !recipe::load(recipe, &self.set)?.recipe.model.is_at(path)
        {
            sets.extend(["repo", "revision", "license"].map(|key| format!("model.{key}=\"\"")));
        }
        sets.extend(self.set.iter().cloned());
        sets.extend(self.model.as_ref().map(|path| format!("model.path={path}")));
        sets.extend(self.max_steps.map(|n| format!("train.max_steps={n}")));
        if let Some(epochs) = self.epochs {
            sets.extend([format!("train.epochs={epochs:?}"), "train.max_steps=0".to_owned()]);
        }
        Ok(recipe::load(recipe, &sets)?)
    }

    /// Where --plan plans for, if not for this machine.
    fn place(&self) -> Option<Place> {
        let memory = self.device_memory.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        self.gpu.map(Place::gpu).or_else(|| memory.map(Place::device_memory))
    }

    /// The model of a recipe whose weights or rows are not here, and what to call it: none if both are, or if nothing but a
    /// run could tell.
    fn outline(&self, loaded: &RecipeFile, progress: &Bar) -> Result<Option<(Outline, String)>> {
        let recipe = &loaded.recipe;
        let path = Path::new(&recipe.model.path);
        if recipe.model.is_tiny() {
            return Ok(None);
        }
        let config = if path.is_dir() { path.join(CONFIG) } else { path.to_owned() };
        let alone = config.ends_with(CONFIG) && config.is_file() && (path.is_file() || !has_weights(path)?);
        if alone {
            return Ok(Some((Outline::of_config(&config)?, format!("{}, by its configuration alone", path.display()))));
        }
        if path.exists() {
            let built = recipe.data.train.iter().all(|folder| folder.join("ledger.json").exists());
            return if built { Ok(None) } else { Ok(Some((Outline::of_model(path)?, path.display().to_string()))) };
        }
        // A model that somebody names is that one; a recipe says what its path stands for.
        let model = &recipe.model;
        let (name, revision) = match &self.model {
            Some(named) => (named.as_str(), if *named == model.repo { model.revision.as_str() } else { "" }),
            None => (model.repo.as_str(), model.revision.as_str()),
        };
        if Repo::new(RepoType::Model, name).is_err() || !name.contains('/') {
            return Ok(None);
        }
        let (config, commit) = fetch::model_config(name, revision, progress)?;
        Ok(Some((Outline::of_config(&config)?, format!("{name}, by its configuration on the Hub at {commit}"))))
    }
}

/// Whether a folder holds weights of any kind.
fn has_weights(folder: &Path) -> Result<bool> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().to_lowercase();
        if [".safetensors", ".gguf", ".bin", ".pth", ".pt", ".safetensors.index.json"]
            .iter()
            .any(|end| name.ends_with(end))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

pub fn run(args: &Args) -> Result<()> {
    args.jobs.apply()?;
    if stores::address(&args.recipe).is_some() {
        return Err(setaccio_dataset::folder::absent(&args.recipe).into());
    }
    let progress = Bar::new();
    let own = own_rows::is_meant(&args.recipe).then(|| {
        let (rows, out, model) = (args.recipe.as_path(), args.out.as_deref(), args.model.as_deref());
        let (layout, plans) = (&args.layout, args.plan);
        own_rows::follow(&Asked { rows, out, model, layout, plans, force: args.force, jobs: args.jobs }, &progress)
    });
    if own.is_none() && args.layout.is_told() {
        bail!("--schema, --field, --encoding, --rename and --on-bad-row are of rows of your own, and this is a recipe");
    }
    let (loaded, folder) = if let Some((recipe, folder)) = own.transpose()? {
        (args.load(&recipe)?, folder)
    } else {
        let loaded = args.load(&args.recipe)?;
        let folder = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&loaded.recipe.name));
        (loaded, folder)
    };
    if args.plan {
        let outline = args.outline(&loaded, &progress);
        progress.clear();
        if let Some((outline, name)) = outline? {
            return plan::sketch(&Sketch::new(loaded, outline, args.place())?, &name);
        }
    }
    // What was submitted is asked after from its start. Of a folder of somebody else nothing is written to.
    let submitted = !args.plan && args.show_batch.is_none() && submission::is_of(&folder);
    noted(submitted, &folder, &progress, |at_work| follow(args, loaded, (&folder, at_work), &progress))
}

/// Make the run of a recipe in a folder, or show what it would be.
fn follow(args: &Args, loaded: RecipeFile, (folder, at_work): (&Path, Option<&AtWork>), progress: &Bar) -> Result<()> {
    let prepared = RunPlan::new(loaded, folder, progress);
    progress.clear();
    let prepared = prepared?;
    if let Some(n) = args.show_batch {
        if args.json {
            for line in show::json(&prepared.train, &prepared.order, prepared.total.min(n as u64)) {
                terminal::json(&line?)?;
            }
        } else {
            terminal::write(&show::text(&prepared.train, &prepared.order, &prepared.tokens, n)?)?;
        }
        return Ok(());
    }
    if args.plan {
        return plan::print(&prepared, &prepared.outlook(args.place())?);
    }
    plan::headline(&prepared);
    if let Some(beyond) = plan::beyond(&prepared.outlook(None)?) {
        progress.warn(&beyond);
    }
    let start = match (args.resume, args.force) {
        (true, _) => StartMode::Resume,
        (_, true) => StartMode::Force,
        _ => StartMode::Fresh,
    };
    let train = |at_work: Option<&AtWork>| {
        let noted = at_work.map(|at_work| Noted { at_work, progress });
        let followed: &dyn Progress = noted.as_ref().map_or(progress, |noted| noted as &dyn Progress);
        Ok(session::run(&prepared, &prepared.recipe_file.command(), start, followed)?)
    };
    let done = match at_work {
        Some(_) => train(at_work),
        None => noted(checkpoint::check_folder(folder).is_ok(), folder, progress, train),
    };
    progress.clear();
    match done? {
        RunOutcome::UpToDate => {
            say!("{GOOD}up to date:{GOOD:#} {} holds this very run; --force trains again", folder.display());
        }
        RunOutcome::Trained { resumed, ended, loss, eval_loss } => {
            let from = resumed.map_or_else(String::new, |step| format!(", resumed from step {step}"));
            say!("{GOOD}trained:{GOOD:#} {} steps{from}, last loss {loss:.4}", ended.steps);
            if ended.early {
                let patience = counted(prepared.recipe_file.recipe.eval.patience, "evaluation");
                say!(
                    "stopped before the {} steps that were planned: {patience} did not lower the loss",
                    prepared.total
                );
            }
            if let Some(step) = ended.best {
                say!("the result is that of step {step}, which had the least evaluation loss");
            }
            if let Some(loss) = eval_loss {
                let likelihood = prepared.recipe_file.recipe.task != Task::Preference;
                let more = if likelihood { format!(", perplexity {:.3}", loss.exp()) } else { String::new() };
                say!("evaluation loss {loss:.4}{more}");
            }
        }
    }
    let path = |name: &str| folder.join(name).display().to_string();
    say!(
        "{NAME}{}{NAME:#}  {FAINT}card: {}, curve: {}{FAINT:#}",
        path(prepared.recipe_file.recipe.method.folder()),
        path("README.md"),
        path("loss.svg")
    );
    Ok(())
}
