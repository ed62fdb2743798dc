//! `setaccio train`: follow a training recipe from built data to an adapter.

use std::path::{Path, PathBuf};

use anyhow::Result;
use setaccio_base::progress::Progress as _;
use setaccio_train::{
    data::show,
    recipe::{self, RecipeFile, Task},
    session::{self, RunOutcome, RunPlan, StartMode},
};

use super::plan;
use crate::{
    jobs::Jobs,
    progress::Bar,
    style::{FAINT, GOOD, NAME},
    terminal,
};

/// Fine-tune a model on built data: a LoRA adapter or every weight, its curve and its card
#[derive(clap::Args)]
pub struct Args {
    /// Recipe to follow: a file, or one that the program carries, for instance tiny (`setaccio recipes` lists them)
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
    /// Say what the run would take, and read no weights
    #[arg(long)]
    plan: bool,
    /// Show N rows with what is learned marked, and read no weights
    #[arg(long, value_name = "N", conflicts_with = "plan")]
    show_batch: Option<usize>,
    /// With --show-batch: token ids and masks of the first N steps, one JSON object a sequence
    #[arg(long, requires = "show_batch")]
    json: bool,
    #[command(flatten)]
    jobs: Jobs,
}

impl Args {
    fn load(&self) -> Result<RecipeFile> {
        let mut sets = self.set.clone();
        sets.extend(self.model.as_ref().map(|path| format!("model.path={path}")));
        sets.extend(self.max_steps.map(|n| format!("train.max_steps={n}")));
        if let Some(epochs) = self.epochs {
            sets.extend([format!("train.epochs={epochs:?}"), "train.max_steps=0".to_owned()]);
        }
        Ok(recipe::load(&self.recipe, &sets)?)
    }
}

pub fn run(args: &Args) -> Result<()> {
    args.jobs.apply()?;
    let loaded = args.load()?;
    let folder = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&loaded.recipe.name));
    let progress = Bar::new();
    let prepared = RunPlan::new(loaded, &folder, &progress);
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
        plan::print(&prepared);
        return Ok(());
    }
    plan::headline(&prepared);
    if let Some(beyond) = plan::beyond(&prepared) {
        progress.warn(&beyond);
    }
    let start = match (args.resume, args.force) {
        (true, _) => StartMode::Resume,
        (_, true) => StartMode::Force,
        _ => StartMode::Fresh,
    };
    let done = session::run(&prepared, &prepared.recipe_file.command(), start, &progress);
    progress.clear();
    match done? {
        RunOutcome::UpToDate => {
            say!("{GOOD}up to date:{GOOD:#} {} holds this very run; --force trains again", folder.display());
        }
        RunOutcome::Trained { resumed, loss, eval_loss } => {
            let from = resumed.map_or_else(String::new, |step| format!(", resumed from step {step}"));
            say!("{GOOD}trained:{GOOD:#} {} steps{from}, last loss {loss:.4}", prepared.total);
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
