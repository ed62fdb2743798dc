//! `setaccio init`: a recipe for somebody's own rows.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Result, anyhow, ensure};
use setaccio_base::{atomic, card::UNKNOWN_LICENSE};
use setaccio_curate::init::{self, Request};
use setaccio_dataset::recipe::OnBadRow;

use crate::{
    layout::Layout,
    progress::Bar,
    style::{FAINT, GOOD, NAME, count},
};

/// Write a recipe for your own rows, ready to be built
#[derive(clap::Args)]
pub struct Args {
    /// Name of the recipe, which is written to NAME.toml
    name: String,
    /// Files of rows, or folders of them: JSON lines, JSON arrays or Parquet, plain or in gzip or zstd
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    layout: Layout,
    /// Title of the data set [default: NAME]
    #[arg(long)]
    title: Option<String>,
    /// What may be done with the rows, as the Hub spells it, for instance cc-by-4.0
    #[arg(long)]
    license: Option<String>,
    /// Language of the rows, ISO 639-1 [default: that of most of them]
    #[arg(long)]
    language: Option<String>,
    /// Replace a recipe that is there
    #[arg(long)]
    force: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let path = format!("{}.toml", args.name.trim_end_matches(".toml"));
    let path = Path::new(&path);
    let shown = path.display();
    let taken = || anyhow!("{shown} is there: --force replaces it, or give another name");
    ensure!(args.force || !path.exists(), taken());
    let progress = Bar::new();
    let draft = init::draft(&Request {
        name: &path.file_stem().unwrap_or_default().to_string_lossy(),
        folder: atomic::parent(path),
        files: &args.files,
        schema: args.layout.schema.as_deref(),
        field: args.layout.field.as_deref(),
        encoding: args.layout.encoding.as_deref(),
        rename: args.layout.rename.iter().cloned().collect(),
        title: args.title.as_deref(),
        license: args.license.as_deref(),
        language: args.language.as_deref(),
        on_bad_row: args.layout.on_bad_row.unwrap_or(OnBadRow::Stop),
        progress: &progress,
    });
    progress.clear();
    let draft = draft?;
    atomic::sweep(atomic::parent(path))?;
    let bytes = draft.text.as_bytes();
    let put = if args.force { atomic::write(path, bytes) } else { atomic::write_new(path, bytes) };
    put.map_err(|error| match error {
        // Somebody was faster.
        setaccio_base::Error::Io { error, .. } if error.kind() == ErrorKind::AlreadyExists => taken(),
        other => other.into(),
    })?;
    let language = draft.language.map_or_else(|| "no one language".into(), |language| format!("language {language}"));
    say!("{GOOD}written:{GOOD:#} {NAME}{shown}{NAME:#}");
    say!("  schema {}: {}\n  {language}, of {} rows looked at", draft.schema, draft.why, count(draft.rows as u64));
    if args.license.is_none() {
        say!("  license = \"{UNKNOWN_LICENSE}\": write into it what may be done with the rows");
    }
    for (command, what) in
        [("plan", "what it reads"), ("preview", "what it keeps and drops"), ("build", "the data set")]
    {
        say!("{FAINT}setaccio {:<22}{FAINT:#} {what}", format!("{command} {shown}"));
    }
    Ok(())
}
