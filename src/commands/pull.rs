//! `setaccio pull`: bring a recipe's inputs into the cache, for later or for machines without a network; or a build out of a store.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use setaccio_base::progress::Progress;
use setaccio_curate::{recipe, recipe::pins::Pins, stored::StoredBuild};
use setaccio_dataset::recipe::Source;
use setaccio_hub::{Client, Settings};

use crate::{
    fetch::{self, Need},
    progress::Bar,
    stores,
    style::{FAINT, GOOD, NAME, count, megabytes},
};

/// Fetch a recipe's inputs from the Hub into the cache, or a build from an object store into a folder
#[derive(clap::Args)]
pub struct Args {
    /// Recipe whose inputs to fetch, or the place in an object store that a build was put at
    recipe: PathBuf,
    /// Folder that a build from an object store is put into
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Files to fetch at a time, 8 at most
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=8))]
    jobs: u16,
    /// Change one value of the recipe, as for `build`
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let progress = Bar::new();
    if let Some(address) = stores::address(&args.recipe) {
        return build(address, args.out.as_deref(), &progress);
    }
    ensure!(args.out.is_none(), "--out is for a build in an object store: what a recipe reads goes into the cache");
    let loaded = recipe::load(&args.recipe, &args.set)?;
    let named = fetch::named(&loaded, args.jobs.into(), &progress)?;
    progress.clear();
    for name in named.keys() {
        say!("{GOOD}here:{GOOD:#} {NAME}{name}{NAME:#}");
    }
    let sets = recipe::evaluations::sets(&loaded.recipe);
    if loaded.recipe.source.iter().all(Source::local) && sets.iter().all(|set| set.repo.is_empty()) {
        if !named.is_empty() {
            return Ok(());
        }
        bail!("no source of {} is on the Hub, so there is nothing to fetch", loaded.place);
    }
    let client = Client::new(Settings::from_env()?)?;
    let mut listed = fetch::list(&client, &loaded, &Pins::default(), &progress)?;
    let before: Vec<u64> = listed.iter().map(fetch::HubListing::cached).collect();
    fetch::head(&client, &loaded, &mut listed, &progress)?;
    let fetched = fetch::fetch(&client, &listed, Need::All, args.jobs.into(), &progress);
    progress.clear();
    fetched?;
    for (listed, before) in listed.iter().zip(before) {
        let [read, of] = [listed.files.len(), listed.of].map(|n| count(n as u64));
        let [bytes, before] = [listed.bytes(), before.min(listed.bytes())].map(megabytes);
        say!("{GOOD}here:{GOOD:#} {}", fetch::line(listed));
        say!("  {read} of {of} files, {bytes}, of which {before} were here before");
    }
    say!(
        "{FAINT}all in {}; with HF_HUB_OFFLINE=1, `--from hub` asks nothing of the network{FAINT:#}",
        client.settings().cache.display()
    );
    Ok(())
}

/// Bring a build out of a store, every file by its hash.
fn build(address: &str, out: Option<&Path>, progress: &Bar) -> Result<()> {
    let out = out.context("say with --out DIR which folder the build is put into")?;
    let build = StoredBuild::open(address)?;
    progress.stage("pull", build.files() as u64);
    let copied = build.copy_to(out, progress);
    progress.clear();
    let files = copied?.files.len() as u64;
    say!("{GOOD}here:{GOOD:#} {} files of {NAME}{}{NAME:#} in {}", count(files), build.address(), out.display());
    Ok(())
}
