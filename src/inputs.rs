//! The arguments that build, plan and preview share: a recipe and where its rows come from.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Result, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use setaccio_base::progress::Progress;
use setaccio_curate::{
    plan::{self, Inspected, Plan, Request},
    recipe::{self, RecipeFile, pins::Pins, rebuild::Rebuilt},
    source::origin::Origin,
};
use setaccio_dataset::recipe::OnBadRow;
use setaccio_hub::{Client, Settings};

use crate::{
    fetch::{self, HubListing, Need},
    jobs::Jobs,
    progress::Bar,
};

#[derive(clap::Args)]
#[group(skip)]
pub struct Args {
    /// Recipe to follow: a file, or one that the program carries, for instance sft-mix (`setaccio recipes` lists them)
    pub recipe: PathBuf,
    /// Take rows from the bundled `samples`, from the `hub`, or from a folder that holds one folder a source; local files
    /// (`path` in the recipe) are read from where they are [default: samples]
    #[arg(long, value_name = "samples|hub|DIR")]
    pub from: Option<Origin>,
    #[command(flatten)]
    pub jobs: Jobs,
    /// Read at most N rows of each source
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Change one value of the recipe, for instance --set sample.rows=1000 or --set filter.language.threshold=0.8
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// What a row that cannot be read does: stop the build, or skip to the rejects [default: the recipe's]
    #[arg(long, value_name = "WHAT", value_parser = bad_row())]
    pub on_bad_row: Option<OnBadRow>,
}

/// `stop` or `skip`.
pub fn bad_row() -> impl TypedValueParser<Value = OnBadRow> {
    PossibleValuesParser::new(["stop", "skip"]).map(|what| if what == "skip" { OnBadRow::Skip } else { OnBadRow::Stop })
}

impl Args {
    /// Those of a recipe or lock that is followed as it is.
    pub fn of_recipe(recipe: PathBuf, from: Option<Origin>) -> Self {
        Self { recipe, from, jobs: Jobs::default(), limit: None, set: Vec::new(), on_bad_row: None }
    }

    /// The recipe with what the arguments change in it.
    pub fn load(&self) -> Result<RecipeFile> {
        let mut loaded = recipe::load(&self.recipe, &self.set)?;
        if loaded.rebuilt.is_some() && (self.limit.is_some() || self.on_bad_row.is_some()) {
            bail!("{} is a lock, which is built as it is: --limit and --on-bad-row change a recipe", loaded.file);
        }
        let read = &mut loaded.recipe.read;
        read.limit = self.limit.or(read.limit);
        read.on_bad_row = self.on_bad_row.unwrap_or(read.on_bad_row);
        loaded.changes.extend(self.limit.map(|n| format!("--limit {n}")));
        loaded.changes.extend(self.on_bad_row.map(|what| format!("--on-bad-row {what}")));
        Ok(loaded)
    }

    /// Where rows are taken from: as the arguments say, or the lock that is built again.
    fn origin(&self, loaded: &RecipeFile) -> Result<Origin> {
        Ok(match (&self.from, &loaded.rebuilt) {
            (Some(from), _) => from.clone(),
            (None, Some(Rebuilt { lock, from, .. })) => match (lock.from.as_str(), from) {
                ("hub", _) => Origin::Hub(BTreeMap::new()),
                ("folder", Some(folder)) => Origin::Dir(folder.clone()),
                ("folder", None) => bail!(
                    "{}: its rows were read from a folder: say with --from DIR where that is, DIR/<owner>/<name> or \
                     DIR/<source> for each source",
                    loaded.file
                ),
                _ => Origin::Samples,
            },
            (None, None) => Origin::Samples,
        })
    }

    /// The checked plan, and what the Hub lists if the rows come from there. `pins` are commits that branches
    /// are known to stand for. Who needs nothing but the list counts, too: compressed files are read through for it.
    pub fn plan(&self, loaded: RecipeFile, wanted: (Need, &Pins), progress: &Bar) -> Result<(Plan, Vec<HubListing>)> {
        self.plan_with(loaded, wanted, None, progress)
    }

    /// [`Self::plan`], with what other processes of the same build found in the inputs.
    pub fn plan_with(
        &self,
        mut loaded: RecipeFile,
        (need, pins): (Need, &Pins),
        inspected: Option<Inspected>,
        progress: &Bar,
    ) -> Result<(Plan, Vec<HubListing>)> {
        let list_dirs = plan::list_dirs(&loaded, &installed_lists());
        let jobs = self.jobs.threads();
        let mut listed = Vec::new();
        if self.from.is_some() {
            left_alone(&loaded, progress);
        }
        loaded.hub = fetch::named(&loaded, jobs, progress)?;
        let origin = match self.origin(&loaded)? {
            Origin::Hub(_) => {
                let client = Client::new(Settings::from_env()?)?;
                listed = fetch::list(&client, &loaded, pins, progress)?;
                if need == Need::All {
                    fetch::head(&client, &loaded, &mut listed, progress)?;
                }
                Origin::Hub(fetch::fetch(&client, &listed, need, jobs, progress)?)
            }
            other => other,
        };
        let count = need == Need::List;
        let plan = plan::make(Request { loaded, origin, list_dirs, jobs, progress, count, inspected });
        // A store that was being asked is left in the middle of it.
        let plan = plan.map_err(|e| if progress.cancelled() { setaccio_curate::Error::Interrupted } else { e });
        Ok((plan?, listed))
    }
}

/// Say which sources `--from` does not concern.
fn left_alone(loaded: &RecipeFile, progress: &Bar) {
    let sources = &loaded.recipe.source;
    let own: Vec<&str> = sources.iter().filter(|s| s.local()).map(|s| s.name.as_str()).collect();
    let sets = recipe::evaluations::sets(&loaded.recipe);
    if own.len() == sources.len() && sets.iter().all(|set| set.repo.is_empty()) {
        progress.note(&format!("--from is ignored: every source of {} is of local files", loaded.file));
    } else if !own.is_empty() {
        progress.note(&format!("--from does not concern {}: local files are read from where they are", own.join(", ")));
    }
}

/// Where installed lists are looked for.
pub fn installed_lists() -> PathBuf {
    let home = || std::env::var_os("HOME").map_or_else(PathBuf::new, PathBuf::from);
    std::env::var_os("SETACCIO_LISTS").map_or_else(|| home().join(".local/share/setaccio/lists"), PathBuf::from)
}
