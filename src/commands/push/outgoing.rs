//! Which files of a folder go to the Hub, and under which names.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use setaccio_base::{
    lock_file::{HIDDEN, Mode},
    numbers::grouped,
    run_lock::{self, FileHash, Outline, RunLock},
};
use setaccio_curate::folder::OutputFolder;
use setaccio_dataset::{
    folder::{self, RECIPE_LOCK},
    ledger::Ledger,
};
use setaccio_hub::{
    RepoType,
    push::CARD,
    upload::{Content, LocalFile},
};

use super::clean;

/// What is pushed.
pub struct Outgoing {
    /// A data set or a model.
    pub kind: RepoType,
    /// Title of the commit.
    pub title: String,
    /// The files.
    pub files: Vec<LocalFile>,
    /// Which files on the Hub are an earlier push's.
    pub stale: Box<dyn Fn(&str) -> bool + Sync>,
    /// A folder that is not rebuilt meanwhile.
    _held: Option<OutputFolder>,
}

/// Beside what a run made, what tells of it; folders of a run that nobody needs elsewhere are left out.
const OF_A_RUN: [&str; 5] = [CARD, "loss.svg", "metrics.jsonl", run_lock::NAME, "events.out.tfevents.0.setaccio"];
/// What a model's folder may hold for others, by extension.
const OF_A_MODEL: [&str; 9] = ["safetensors", "gguf", "json", "jinja", "txt", "model", "md", "svg", "toml"];

/// What becomes of the rows that a build dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejects {
    /// They stay here.
    Kept,
    /// They are pushed, too.
    Pushed,
}

/// The files of `out` that belong into the repository `repo`.
pub fn gather(out: &Path, repo: &str, rejects: Rejects) -> Result<Outgoing> {
    let there = |name: &str| out.join(name).is_file();
    ensure!(out.is_dir(), "{} is no folder", out.display());
    let built = there("ledger.json");
    ensure!(
        built || !out.join(HIDDEN).join("work").is_dir(),
        "{} holds a build that is not finished: run its `setaccio build` again, with `--finish` if it goes in slices",
        out.display()
    );
    ensure!(built || rejects == Rejects::Kept, "{} holds no built data set, so it has no rejects", out.display());
    let outgoing = match built {
        true => dataset(out, rejects),
        false if there(run_lock::NAME) => run(out, repo),
        false => model(out),
    }?;
    for local in &outgoing.files {
        within(out, local)?;
    }
    Ok(outgoing)
}

/// Check that a file is in the folder itself: a link to weights is what it says, one to a text may be to anything.
/// Folders of the Hub's own cache are links all through.
fn within(out: &Path, local: &LocalFile) -> Result<()> {
    let Content::File(path) = &local.content else { return Ok(()) };
    if clean::is_weights(path) {
        return Ok(());
    }
    let real = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
    let home = out.canonicalize().with_context(|| format!("cannot find {}", out.display()))?;
    let blobs = home.parent().filter(|p| p.ends_with("snapshots")).map(|p| p.with_file_name("blobs"));
    ensure!(
        real.starts_with(&home) || blobs.is_some_and(|blobs| real.starts_with(blobs)),
        "{} is a link out of the folder: put a copy in its place if it is to be pushed, or remove it",
        path.display()
    );
    Ok(())
}

fn dataset(out: &Path, rejects: Rejects) -> Result<Outgoing> {
    let held = OutputFolder::open(out, Mode::Shared)?;
    let (ledger, _) = folder::read(out)?;
    let pushed = |path: &str| path.starts_with("data/") || (rejects == Rejects::Pushed && path.starts_with("rejects/"));
    let mut files: Vec<LocalFile> =
        [CARD, "waterfall.svg", "ledger.json", RECIPE_LOCK].map(|name| file(out, name)).into();
    for entry in ledger.files.iter().filter(|f| pushed(&f.path)) {
        files.push(file(out, &entry.path));
    }
    whole(out, &ledger, &files)?;
    let stale = |path: &str| {
        path.ends_with(".parquet")
            && (path.starts_with("data/") || path.starts_with("rejects/"))
            && path.matches('/').count() == 1
    };
    let rows = grouped(ledger.rows_out());
    let title = format!("{}: {rows} rows", ledger.recipe);
    Ok(Outgoing { kind: RepoType::Dataset, title, files, stale: Box::new(stale), _held: Some(held) })
}

/// Check that every file is the one that the build wrote.
fn whole(out: &Path, ledger: &Ledger, files: &[LocalFile]) -> Result<()> {
    for local in files {
        let path = out.join(&local.path);
        let Some(entry) = ledger.files.iter().find(|f| f.path == local.path) else {
            ensure!(path.is_file(), "{} is not there; build it again", path.display());
            continue;
        };
        let found = FileHash::of(&path, &entry.path, &|| false)?;
        ensure!(
            found.bytes == entry.bytes && found.sha256 == entry.sha256,
            "{} is not what the build wrote; `setaccio verify {}` tells more; build it again",
            path.display(),
            out.display()
        );
    }
    Ok(())
}

fn run(out: &Path, repo: &str) -> Result<Outgoing> {
    let made = trained(out)?;
    // PEFT and transformers look for either at the root of a repository.
    let mut files = listed(&out.join(made), "", &OF_A_MODEL)?;
    files.retain(|f| f.path != CARD);
    // A base that the run made itself is nowhere else.
    if out.join("base").is_dir() {
        files.extend(listed(&out.join("base"), "base/", &OF_A_MODEL)?);
    }
    files.extend(OF_A_RUN.iter().filter(|name| out.join(name).is_file()).map(|name| file(out, name)));
    for local in files.iter_mut().filter(|f| f.path == CARD) {
        // The card tells how to load it from its folder; whoever reads it there has its repository.
        let mut text = std::fs::read_to_string(out.join(CARD)).context("cannot read the card")?;
        for load in ["AutoTokenizer.from_pretrained(", "PeftModel.from_pretrained(model, ", "CausalLM.from_pretrained("]
        {
            text = text.replace(&format!("{load}\"{made}\")"), &format!("{load}\"{repo}\")"));
        }
        local.content = Content::Bytes(text.into_bytes());
    }
    let name = out.file_name().map_or_else(|| made.to_owned(), |n| n.to_string_lossy().into_owned());
    Ok(Outgoing {
        kind: RepoType::Model,
        title: format!("{name}: {made}"),
        files,
        stale: if made == "model" { Box::new(weights) } else { Box::new(|_| false) },
        _held: None,
    })
}

/// The folder of what the run made, an adapter or a whole model.
fn trained(out: &Path) -> Result<&'static str> {
    let lock = RunLock::<Outline>::read(&out.join(run_lock::NAME))?;
    let made = lock.recipe.method.folder();
    ensure!(
        !lock.made.is_empty(),
        "{} holds a run that is not finished: `setaccio train --resume` goes on",
        out.display()
    );
    for file in &lock.made {
        let path = out.join(made).join(&file.file);
        let found = FileHash::of(&path, &file.file, &|| false)?;
        ensure!(found == *file, "{} is not what the run wrote; train again", path.display());
    }
    Ok(made)
}

fn model(out: &Path) -> Result<Outgoing> {
    let files = listed(out, "", &OF_A_MODEL)?;
    let has = |end: &str| files.iter().any(|f| f.path.ends_with(end));
    let what = if has(".gguf") {
        "GGUF"
    } else if has("adapter_config.json") && has(".safetensors") {
        "adapter"
    } else if has("config.json") && has(".safetensors") {
        "model"
    } else {
        bail!(
            "{} holds nothing to push: neither ledger.json (a build), run.lock.toml (a run), adapter_config.json or \
             config.json with safetensors, nor a .gguf file",
            out.display()
        );
    };
    let name = out.canonicalize()?.file_name().map_or_else(String::new, |n| format!("{}: ", n.to_string_lossy()));
    let stale: Box<dyn Fn(&str) -> bool + Sync> = if what == "GGUF" { Box::new(|_| false) } else { Box::new(weights) };
    Ok(Outgoing { kind: RepoType::Model, title: format!("{name}{what}"), files, stale, _held: None })
}

/// Weights that are cut into another number of files leave the old ones behind, and an adapter the file by which
/// transformers would look for one.
fn weights(path: &str) -> bool {
    let adapter = path == "adapter_config.json";
    !path.contains('/') && (adapter || path.ends_with(".safetensors") || path.ends_with(".safetensors.index.json"))
}

/// Files of a folder that are not hidden and have one of these extensions, sorted by name.
fn listed(folder: &Path, prefix: &str, extensions: &[&str]) -> Result<Vec<LocalFile>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        // A link to nothing is told of later, with its name.
        let is_file = path.is_file() || (path.is_symlink() && !path.exists());
        if is_file && !name.starts_with('.') && extensions.contains(&extension.as_str()) {
            names.push(name);
        }
    }
    names.sort();
    let local =
        |name: String| LocalFile { path: format!("{prefix}{name}"), content: Content::File(folder.join(&name)) };
    Ok(names.into_iter().map(local).collect())
}

fn file(folder: &Path, name: &str) -> LocalFile {
    LocalFile { path: name.to_owned(), content: Content::File(PathBuf::from(folder).join(name)) }
}
