//! `setaccio train ROWS`: rows of one's own, or a built data set, instead of a recipe. What is built and followed lies in the
//! run's folder: `NAME.toml` and `data/`, as `setaccio init` and `setaccio build` would make them, and `train.toml`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use setaccio_base::{atomic, bundle::Place, row::Kind, shell};
use setaccio_curate::{init, source::is_of_rows};
use setaccio_dataset::recipe::OnBadRow;
use setaccio_train::{
    checkpoint,
    data::shards::Build,
    recipe::{self, HOME, Recipe},
    session::sketch::Outline,
};

use super::data;
use crate::{
    jobs::Jobs,
    layout::Layout,
    progress::Bar,
    style::{FAINT, GOOD, NAME},
};

/// Name of the recipe that is followed, in the run's folder.
const RECIPE: &str = "train.toml";

/// What is asked for.
pub struct Asked<'a> {
    /// Files or folders of rows, or a built data set.
    pub rows: &'a Path,
    /// The run's folder, if it is named.
    pub out: Option<&'a Path>,
    /// The model, if it is named.
    pub model: Option<&'a str>,
    /// How the rows are laid out.
    pub layout: &'a Layout,
    /// Whether only what it would take is asked, so that the model may be elsewhere.
    pub plans: bool,
    /// Write recipes anew.
    pub force: bool,
    /// Threads.
    pub jobs: Jobs,
}

impl Asked<'_> {
    fn named_model(&self) -> Result<&str> {
        self.model.with_context(|| {
            format!(
                "name the model to train: `setaccio train {} --model PATH`, a Hugging Face folder or a GGUF file; `--model tiny` \
                 takes one that the program makes, to try it",
                shell::word(&self.rows.to_string_lossy())
            )
        })
    }
}

/// Whether an argument is rows or a data set and no recipe.
pub fn is_meant(argument: &Path) -> bool {
    let is_recipe = argument.extension().is_some_and(|end| end == "toml");
    // A file that is not there is one of rows, too, by the end of its name: that is told then.
    let missing = !argument.exists() && is_of_rows(&argument.to_string_lossy());
    if argument.is_file() || missing { !is_recipe } else { argument.is_dir() && Place::recipe(argument, HOME).is_err() }
}

/// Build the rows if need be, and give the recipe to follow and the run's folder.
///
/// # Errors
/// No model is named; rows that no schema reads; something is in the folder that this did not write.
pub fn follow(asked: &Asked, progress: &Bar) -> Result<(PathBuf, PathBuf)> {
    let rows = asked.rows;
    ensure!(rows.exists(), "there is no file {}", rows.display());
    let folder = |name: &str| asked.out.map_or_else(|| Path::new("runs").join(name), Path::to_owned);
    if rows.join(RECIPE).is_file() && rows.join("run.lock.toml").is_file() && asked.out.is_none() {
        // The folder of such a run.
        return Ok((rows.join(RECIPE), rows.to_owned()));
    }
    ensure!(
        !rows.join("run.lock.toml").is_file(),
        "{} is the folder of a run: name the recipe that it follows, and with --resume it goes on",
        rows.display()
    );
    let name = name_of(rows)?;
    let run = folder(&name);
    checkpoint::check_folder(&run)?;
    let own = run.join(RECIPE);
    if asked.force || !own.exists() {
        let model = asked.named_model()?;
        ensure!(
            asked.plans || model == recipe::TINY || Path::new(model).exists(),
            "there is no {model}: --model names a Hugging Face folder or a GGUF file"
        );
    }
    let built = rows.join("ledger.json").is_file();
    ensure!(!built || !asked.layout.is_told(), "{} is built: how its rows are laid out is known", rows.display());
    let is_new = !run.exists();
    fs::create_dir_all(&run).with_context(|| format!("cannot create {}", run.display()))?;
    let prepared = if built { Ok(rows.to_owned()) } else { build(asked, (&name, &run), progress) };
    let prepared = prepared.and_then(|data| write_recipe(asked, (&name, &own), &data));
    if prepared.is_err() && is_new {
        // Nothing came of it: a folder with something in it stays.
        let _ = fs::remove_dir(&run);
    }
    prepared?;
    say!("{FAINT}follows{FAINT:#} {NAME}{}{NAME:#}", own.display());
    Ok((own, run))
}

/// What a run of these rows is called: as the file or the folder is, in characters that a folder may have.
fn name_of(rows: &Path) -> Result<String> {
    let full = rows.canonicalize().with_context(|| format!("cannot find {}", rows.display()))?;
    let last = full.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // `chats.jsonl.gz` is `chats`.
    let stem = if full.is_dir() { last.as_str() } else { last.split('.').find(|part| !part.is_empty()).unwrap_or("") };
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' };
    let name: String = stem.chars().map(plain).collect::<String>().trim_matches('-').to_owned();
    ensure!(!name.is_empty(), "{}: its name gives none for a run: say where with --out", rows.display());
    Ok(name)
}

/// Write the recipe of the rows, unless it is there, and build them. Gives the data set's folder.
fn build(asked: &Asked, (name, run): (&str, &Path), progress: &Bar) -> Result<PathBuf> {
    let (path, out) = (run.join(format!("{name}.toml")), run.join("data"));
    let (files, layout) = ([asked.rows.to_owned()], asked.layout);
    let request = init::Request {
        name,
        folder: run,
        files: &files,
        field: layout.field.as_deref(),
        encoding: layout.encoding.as_deref(),
        schema: layout.schema.as_deref(),
        rename: layout.rename.iter().cloned().collect(),
        title: None,
        license: None,
        language: None,
        on_bad_row: layout.on_bad_row.unwrap_or(OnBadRow::Stop),
        progress,
    };
    if path.exists() && !asked.force {
        // What a person changed in it is followed, but not if it is of other rows, or of these laid out otherwise than is told.
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(
            sources(&text) == init::paths(&request)?,
            "{} is there and reads other rows than {}: give this run a folder of its own with --out, or start anew with --force",
            path.display(),
            asked.rows.display()
        );
        if layout.is_told() {
            let draft = init::draft(&request);
            progress.clear();
            ensure!(
                draft?.text == text,
                "{} is there, and says otherwise how the rows are laid out: change it, or start anew with --force",
                path.display()
            );
        }
    } else {
        let draft = init::draft(&request);
        progress.clear();
        let draft = draft?;
        atomic::write(&path, draft.text.as_bytes())?;
        let schema = draft.schema;
        say!("{GOOD}written:{GOOD:#} {NAME}{}{NAME:#}  {FAINT}schema {schema}: {}{FAINT:#}", path.display(), draft.why);
    }
    data::build((&path, None), &out, asked.jobs, progress)?;
    Ok(out)
}

/// The paths of the sources of a recipe.
fn sources(text: &str) -> Vec<String> {
    let table: toml::Table = text.parse().unwrap_or_default();
    let sources = table.get("source").and_then(toml::Value::as_array).into_iter().flatten();
    let paths = sources.filter_map(|source| source.get("path"));
    paths
        .flat_map(|path| path.as_array().cloned().unwrap_or_else(|| vec![path.clone()]))
        .filter_map(|path| path.as_str().map(str::to_owned))
        .collect()
}

/// Write the recipe of the run, unless it is there: the default one for what the rows are.
fn write_recipe(asked: &Asked, (name, path): (&str, &Path), data: &Path) -> Result<()> {
    if path.exists() && !asked.force {
        return Ok(());
    }
    let model = asked.named_model()?;
    let build = Build::open(data)?;
    let text = |value: &str| toml::Value::from(value).to_string();
    let mut sets = vec![
        format!("name={}", text(name)),
        format!("title={}", text(&build.lock.recipe.title)),
        format!("model.path={}", text(model)),
        format!("data.train=[{}]", text(&data.to_string_lossy())),
    ];
    let judged = build.lock.recipe.source.iter().all(|source| source.schema == "kto");
    let of_kind: &[&str] = match build.kind {
        Kind::Chat if judged => {
            &["task=preference", "preference.loss=kto", "data.packing=none", "train.learning_rate=5e-5"]
        }
        Kind::Chat => &[],
        Kind::Text => &["task=text"],
        Kind::Preference => {
            &["task=preference", "preference.loss=dpo", "data.packing=none", "train.learning_rate=5e-5"]
        }
    };
    sets.extend(of_kind.iter().map(|set| (*set).to_owned()));
    // The tiny model has no template of its own, and is made of the rows.
    if model == recipe::TINY {
        sets.extend(["data.max_length=512".into(), "train.learning_rate=5e-3".into()]);
        let template = if build.kind == Kind::Text { "text-llama3" } else { "llama3" };
        sets.push(format!("data.template=../templates/{template}.jinja"));
    } else if let Ok(outline) = Outline::of_model(Path::new(model)) {
        let config = outline.config;
        let sees = config.max_position_embeddings;
        let longest = recipe::load(Path::new("default"), &[])?.recipe.data.max_length;
        sets.extend((sees < longest).then(|| format!("data.max_length={sees}")));
    }
    let followed = recipe::load(Path::new("default"), &sets)?.recipe;
    atomic::write(path, written(&followed, asked.rows, path)?.as_bytes())?;
    Ok(())
}

/// The text of a recipe, with every setting.
fn written(recipe: &Recipe, rows: &Path, path: &Path) -> Result<String> {
    let path = shell::word(&path.to_string_lossy());
    Ok(format!(
        "# Written by `setaccio train {}`, with every setting; all of it may be changed.\n#\n\
         #   setaccio train {path} --resume   goes on\n\
         #   setaccio train {path} --force    starts anew\n{}",
        shell::word(&rows.to_string_lossy()),
        toml::to_string(recipe)?
    ))
}
