//! Which files of a folder go to the Hub, and under which names.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use setaccio_base::{
    fault::Fault,
    hidden::HIDDEN,
    lock_file::Mode,
    numbers::{counted, grouped},
    progress::Progress,
    run_lock::{self, FileHash, Outline, RunLock},
};
use setaccio_curate::{
    folder::OutputFolder,
    report::{
        review::Review,
        verify::{self, Scope},
    },
};
use setaccio_dataset::folder::{self, RECIPE_LOCK};
use setaccio_hub::{
    RepoType,
    push::CARD,
    upload::{Content, LocalFile},
};

use super::{
    clean,
    model_files::{self, ModelFiles},
};
use crate::stores;

/// What is pushed.
pub struct Outgoing {
    /// A data set or a model.
    pub kind: RepoType,
    /// Title of the commit.
    pub title: String,
    /// The files.
    pub files: Vec<LocalFile>,
    /// Names of files that lie beside them and do not belong there.
    pub left_out: Vec<String>,
    /// What is missing without which not everybody can use them, a sentence each.
    pub lacks: Vec<String>,
    /// Which files on the Hub are an earlier push's.
    pub stale: Box<dyn Fn(&str) -> bool + Sync>,
    /// A folder that is not rebuilt meanwhile.
    _held: Option<OutputFolder>,
}

impl Outgoing {
    /// Add to the card what a person thought of rows. The card in the folder stays as it is: it follows from ledger and lock.
    ///
    /// # Errors
    /// These are no files of a data set, or no row of it was judged.
    pub fn add_review(&mut self, out: &Path) -> Result<()> {
        ensure!(self.kind == RepoType::Dataset, "--review is of rows, and {} holds no built data set", out.display());
        let section = Review::open(out)?.section()?;
        for local in self.files.iter_mut().filter(|local| local.path == CARD) {
            let text = std::fs::read_to_string(out.join(CARD)).context("cannot read the card")?;
            local.content = Content::Bytes(format!("{text}\n{section}").into_bytes());
        }
        Ok(())
    }
}

/// Beside what a run made, what tells of it; folders of a run that nobody needs elsewhere are left out.
const OF_A_RUN: [&str; 5] = [CARD, "loss.svg", "metrics.jsonl", run_lock::NAME, "events.out.tfevents.0.setaccio"];
/// What becomes of the rows that a build dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejects {
    /// They stay here.
    Kept,
    /// They are pushed, too.
    Pushed,
}

/// What becomes of a card that is not what ledger and lock say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditedCard {
    /// Nothing is pushed.
    Refused,
    /// It is pushed as it is.
    Pushed,
}

/// The files of `out` that belong into the repository `repo`, each looked at.
///
/// # Errors
/// Something is not as it was built, trained or written.
pub fn gather(
    out: &Path,
    repo: &str,
    (rejects, card): (Rejects, EditedCard),
    progress: &dyn Progress,
) -> Result<Outgoing> {
    let there = |name: &str| out.join(name).is_file();
    if stores::address(out).is_some() {
        return Err(folder::absent(out).into());
    }
    ensure!(out.is_dir(), "{} is no folder", out.display());
    let built = there("ledger.json");
    ensure!(
        built || !out.join(HIDDEN).join("work").is_dir(),
        "{} holds a build that is not finished: run its `setaccio build` again, with `--finish` if it goes in slices",
        out.display()
    );
    ensure!(built || rejects == Rejects::Kept, "{} holds no built data set, so it has no rejects", out.display());
    let outgoing = match built {
        true => dataset(out, rejects, card, progress),
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

fn dataset(out: &Path, rejects: Rejects, card: EditedCard, progress: &dyn Progress) -> Result<Outgoing> {
    let held = OutputFolder::open(out, Mode::Shared)?;
    let scope = if rejects == Rejects::Pushed { Scope::Whole } else { Scope::WithoutRejects };
    let verify::Report { mut faults, foreign, .. } = verify::verify(out, scope, &|| progress.cancelled())?;
    let of_card = |fault: &Fault| fault.file == CARD;
    faults.retain(|fault| card == EditedCard::Refused || !of_card(fault));
    if let Some(first) = faults.first() {
        let more = match faults.len() as u64 - 1 {
            0 => String::new(),
            more => format!("; and {} more", counted(more, "fault")),
        };
        let card = if of_card(first) { "; --force pushes a card that you edited" } else { "" };
        bail!("{first}{card}{more}; `setaccio verify {}` tells all; nothing was pushed", out.display());
    }
    let (ledger, _) = folder::read(out)?;
    let pushed = |path: &str| path.starts_with("data/") || (rejects == Rejects::Pushed && path.starts_with("rejects/"));
    let mut files: Vec<LocalFile> =
        [CARD, "waterfall.svg", "ledger.json", RECIPE_LOCK].map(|name| file(out, name)).into();
    files.extend(ledger.files.iter().filter(|f| pushed(&f.path)).map(|entry| file(out, &entry.path)));
    let stale = |path: &str| {
        path.ends_with(".parquet")
            && (path.starts_with("data/") || path.starts_with("rejects/"))
            && path.matches('/').count() == 1
    };
    let rows = grouped(ledger.rows_out());
    let title = format!("{}: {rows} rows", ledger.recipe);
    let (kind, left_out) = (RepoType::Dataset, foreign);
    let (lacks, stale) = (Vec::new(), Box::new(stale));
    Ok(Outgoing { kind, title, files, left_out, lacks, stale, _held: Some(held) })
}

fn run(out: &Path, repo: &str) -> Result<Outgoing> {
    let (made, names) = trained(out)?;
    let folder = out.join(made);
    // PEFT and transformers look for either at the root of a repository.
    let mut files: Vec<LocalFile> = names.iter().filter(|name| *name != CARD).map(|name| file(&folder, name)).collect();
    for local in &files {
        model_files::whole(&folder.join(&local.path))?;
    }
    let beside = model_files::listed(&folder)?.into_iter().filter(|name| !names.contains(name));
    let mut left_out: Vec<String> = beside.map(|name| format!("{made}/{name}")).collect();
    // A base that the run made itself is nowhere else.
    if out.join("base").is_dir() {
        let base = model_files::of(&out.join("base"), "base/")?;
        files.extend(base.files);
        left_out.extend(base.left_out);
    }
    for name in OF_A_RUN.iter().filter(|name| out.join(name).is_file()) {
        model_files::whole(&out.join(name))?;
        files.push(file(out, name));
    }
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
        left_out,
        lacks: Vec::new(),
        stale: if made == "model" { Box::new(weights) } else { Box::new(|_| false) },
        _held: None,
    })
}

/// The folder of what the run made, an adapter or a whole model, and the names of its files.
fn trained(out: &Path) -> Result<(&'static str, Vec<String>)> {
    let lock = RunLock::<Outline>::read(&out.join(run_lock::NAME))?;
    let made = lock.recipe.method.folder();
    ensure!(
        !lock.made.is_empty(),
        "{} holds a run that is not finished: `setaccio train --resume` goes on",
        out.display()
    );
    for file in &lock.made {
        let path = out.join(made).join(&file.file);
        ensure!(
            path.file_name().is_some_and(|name| *name == *file.file),
            "{} names {}, which is no file of {made}",
            run_lock::NAME,
            file.file
        );
        model_files::ordinary(&path)?;
        let found = FileHash::of(&path, &file.file, &|| false)?;
        ensure!(found == *file, "{} is not what the run wrote; train again", path.display());
    }
    Ok((made, lock.made.into_iter().map(|file| file.file).collect()))
}

fn model(out: &Path) -> Result<Outgoing> {
    let ModelFiles { files, left_out } = model_files::of(out, "")?;
    let has = |end: &str| files.iter().any(|f| f.path.ends_with(end));
    let named = |name: &str| files.iter().any(|f| f.path == name);
    let mut lacks = Vec::new();
    let what = if has(".gguf") {
        "GGUF"
    } else if has("adapter_config.json") && has(".safetensors") {
        "adapter"
    } else if named("config.json") && has(".safetensors") {
        if !["tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt"].into_iter().any(named) {
            lacks.push(
                "there is no tokenizer (tokenizer.json, tokenizer.model, vocab.json): whoever loads this model has to take \
                 one from elsewhere"
                    .to_owned(),
            );
        }
        "model"
    } else if has(".safetensors") {
        bail!(
            "{} holds weights without config.json or adapter_config.json, which say what model they are of: nobody could \
             load them; put it beside them; nothing was pushed",
            out.display()
        );
    } else {
        bail!(
            "{} holds nothing to push: neither ledger.json (a build), run.lock.toml (a run), adapter_config.json or \
             config.json with safetensors, nor a .gguf file",
            out.display()
        );
    };
    let name = out.canonicalize()?.file_name().map_or_else(String::new, |n| format!("{}: ", n.to_string_lossy()));
    let stale: Box<dyn Fn(&str) -> bool + Sync> = if what == "GGUF" { Box::new(|_| false) } else { Box::new(weights) };
    let title = format!("{name}{what}");
    Ok(Outgoing { kind: RepoType::Model, title, files, left_out, lacks, stale, _held: None })
}

/// Weights that are cut into another number of files leave the old ones behind, and an adapter the file by which
/// transformers would look for one.
fn weights(path: &str) -> bool {
    let adapter = path == "adapter_config.json";
    !path.contains('/') && (adapter || path.ends_with(".safetensors") || path.ends_with(".safetensors.index.json"))
}

fn file(folder: &Path, name: &str) -> LocalFile {
    LocalFile { path: name.to_owned(), content: Content::File(PathBuf::from(folder).join(name)) }
}
