//! `setaccio pin`: write into a recipe or a task the commits that its branches stand for now, and show what that changes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use setaccio_base::atomic;
use setaccio_curate::source;
use setaccio_hub::{Client, Repo, RepoType, Settings, listing::Entry, repo::is_commit};
use toml_edit::{DocumentMut, Item, Table, Value};

use super::train::task;
use crate::{
    progress::Bar,
    style::{BAD, FAINT, GOOD, NAME, count, counted, megabytes},
};

/// Pin every source of a recipe, or the rows of a task of `setaccio eval`, to a commit, and show what changed
#[derive(clap::Args)]
pub struct Args {
    /// Recipe or task to rewrite; comments and layout stay
    recipe: PathBuf,
    /// Show what would change and leave the recipe as it is
    #[arg(long)]
    dry_run: bool,
}

/// Changed files that are listed by name.
const SHOWN: usize = 20;

pub fn run(args: &Args) -> Result<()> {
    let progress = Bar::new();
    let path = &checked(&args.recipe)?;
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    let mut recipe: DocumentMut = text.parse().with_context(|| shown.to_string())?;
    let client = Client::new(Settings::from_env()?)?;
    let tables = tables(&mut recipe).with_context(|| shown.to_string())?;
    if tables.is_empty() {
        bail!("no source of {shown} is on the Hub, so there is nothing to pin");
    }
    let mut changed = 0;
    for (name, table) in tables {
        changed += u64::from(pin(&client, (&name, table), &progress)?);
    }
    let sources = counted(changed, "source");
    if changed == 0 {
        say!("{GOOD}up to date:{GOOD:#} every source is at the commit of its branch");
    } else if args.dry_run {
        say!("{sources} would be pinned anew; without --dry-run the recipe is rewritten");
    } else {
        let now = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        ensure!(now == text, "{shown} was changed while its branches were asked for: pin it again");
        atomic::sweep(atomic::parent(path))?;
        atomic::write(path, recipe.to_string().as_bytes())?;
        say!("{GOOD}written:{GOOD:#} {shown}, {sources} pinned anew");
    }
    Ok(())
}

/// The file to rewrite, if it loads: what does not is left as it is.
fn checked(named: &Path) -> Result<PathBuf> {
    let text = std::fs::read_to_string(named).unwrap_or_default();
    if text.parse::<DocumentMut>().is_ok_and(|said| said.contains_key("data") && !said.contains_key("source")) {
        task(named)?;
        return Ok(named.to_owned());
    }
    let loaded = setaccio_curate::recipe::load(named, &[])?;
    if loaded.place.folder().is_none() {
        let name = &loaded.recipe.name;
        bail!("the program carries `{name}`; `setaccio recipes build {name} > {name}.toml` makes a copy to be pinned");
    }
    Ok(loaded.place.path().to_owned())
}

/// The tables of a recipe or a task whose rows are on the Hub, by their names.
fn tables(recipe: &mut DocumentMut) -> Result<Vec<(String, &mut Table)>> {
    let (mut sources, mut others) = (None, Vec::new());
    for (key, item) in recipe.iter_mut() {
        match key.get() {
            "source" => {
                let tables = item.as_array_of_tables_mut();
                sources = Some(tables.context("write every source as a table of its own, [[source]]")?);
            }
            "decontamination" => others.extend(item.get_mut("set")),
            "data" => others.push(item),
            "shots" => others.extend(item.get_mut("data")),
            _ => {}
        }
    }
    let name = |table: &Table| table.get("name").and_then(Item::as_str).unwrap_or("data").to_owned();
    let mut all: Vec<&mut Table> = sources.into_iter().flat_map(|sources| sources.iter_mut()).collect();
    for item in others {
        match item {
            Item::ArrayOfTables(tables) => all.extend(tables.iter_mut()),
            Item::Table(table) => all.push(table),
            other if other.to_string().contains("repo") => {
                bail!("write what is on the Hub as tables of their own: [data], [[decontamination.set]]")
            }
            _ => {}
        }
    }
    Ok(all.into_iter().filter(|table| table.contains_key("repo")).map(|table| (name(table), table)).collect())
}

/// Pin one source. A pinned one follows the branch that the comment behind its commit names, `main` if none does.
fn pin(client: &Client, (name, source): (&str, &mut Table), progress: &Bar) -> Result<bool> {
    let text = |key: &str| source.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    let before = text("revision");
    let repo = Repo::new(RepoType::Dataset, &text("repo")).with_context(|| format!("source `{name}`"))?;
    let suffix = source.get("revision").and_then(|v| v.as_value()?.decor().suffix()?.as_str());
    let comment = suffix.unwrap_or_default().to_owned();
    let branch = if is_commit(&before) { branch_of(&comment).to_owned() } else { before.clone() };
    let info = client.revision_info(&repo, &branch, progress)?;
    let date = info.modified.as_deref().and_then(|m| m.split('T').next()).unwrap_or_default();
    if info.sha == before {
        say!("{NAME}{name}{NAME:#}  {} stays at {before}  {FAINT}{branch}, {date}{FAINT:#}", repo.id);
        return Ok(false);
    }
    say!("{NAME}{name}{NAME:#}  {} {before} -> {}  {FAINT}{branch}, {date}{FAINT:#}", repo.id, info.sha);
    let patterns: Vec<String> = source
        .get("files")
        .and_then(|f| f.as_array())
        .map_or_else(Vec::new, |list| list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect());
    let files = |commit: &str| -> Result<BTreeMap<String, Entry>> {
        let all = client.list_files(&repo, commit, &patterns, progress)?;
        let paths: Vec<&str> = all.iter().map(|e| e.path.as_str()).collect();
        let (chosen, _) = source::select(&paths, &patterns)?;
        let chosen = all.iter().filter(|e| chosen.binary_search(&e.path.as_str()).is_ok());
        Ok(chosen.map(|e| (e.path.clone(), e.clone())).collect())
    };
    let now = files(&info.sha)?;
    if is_commit(&before) {
        compare(&files(&before)?, &now);
    } else {
        let bytes = megabytes(now.values().map(|e| e.size).sum());
        say!("  {} files, {bytes}", count(now.len() as u64));
    }
    if let Some(revision) = source.get_mut("revision").and_then(|v| v.as_value_mut()) {
        let mut decor = revision.decor().clone();
        if !is_commit(&before) {
            // What somebody had noted there stays behind the branch.
            let noted = comment.trim().trim_start_matches('#').trim();
            let noted = if noted.is_empty() { String::new() } else { format!(" ({noted})") };
            decor.set_suffix(format!(" # {branch}{noted}"));
        }
        *revision = Value::from(info.sha.as_str());
        *revision.decor_mut() = decor;
    }
    Ok(true)
}

/// The first word of the comment behind a pinned revision.
fn branch_of(comment: &str) -> &str {
    let word = comment.trim().strip_prefix('#').and_then(|c| c.split_whitespace().next());
    word.filter(|w| !is_commit(w)).unwrap_or("main")
}

fn compare(before: &BTreeMap<String, Entry>, now: &BTreeMap<String, Entry>) {
    let mut lines = Vec::new();
    for (path, entry) in now {
        match before.get(path) {
            None => lines.push(format!("{GOOD}+{GOOD:#} {path}  {}", megabytes(entry.size))),
            Some(old) if old.oid() != entry.oid() => {
                let [old, new] = [old.size, entry.size].map(megabytes);
                lines.push(format!("{NAME}~{NAME:#} {path}  {old} -> {new}"));
            }
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|(path, _)| !now.contains_key(*path));
    lines.extend(gone.map(|(path, entry)| format!("{BAD}-{BAD:#} {path}  {}", megabytes(entry.size))));
    if lines.is_empty() {
        say!("  none of its {} files changed", count(now.len() as u64));
    }
    for line in lines.iter().take(SHOWN) {
        say!("  {line}");
    }
    if lines.len() > SHOWN {
        say!("  and {} more", count((lines.len() - SHOWN) as u64));
    }
}
