//! `setaccio push`: a built data set, a run's adapter or a model, into a repository of the Hub.

use std::path::PathBuf;

use anyhow::Result;
use setaccio_base::progress::Progress as _;
use setaccio_hub::{Client, Repo, Settings, account::Visibility, push::Push};

use crate::{
    progress::Bar,
    style::{BAD, FAINT, GOOD, counted, megabytes},
};

mod clean;
mod model_files;
mod outgoing;
mod secrets;
mod shapes;

use outgoing::{EditedCard, Rejects};

/// Push a built data set, an adapter or a model to the Hub
#[derive(clap::Args)]
pub struct Args {
    /// Folder to push: of a build, of a run, or one that holds an adapter, safetensors or GGUF files
    out: PathBuf,
    /// Repository, created if it is not there
    #[arg(value_name = "OWNER/NAME")]
    repo: String,
    /// If the repository is created, let only its owner see it
    #[arg(long)]
    private: bool,
    /// Propose the change as a pull request
    #[arg(long)]
    create_pr: bool,
    /// Branch to push to, created if it is not there
    #[arg(long, value_name = "BRANCH", default_value = "main")]
    revision: String,
    /// Show what would be pushed, and push nothing
    #[arg(long)]
    dry_run: bool,
    /// Push the rejects of a data set too
    #[arg(long)]
    with_rejects: bool,
    /// Add to the card of a data set what `setaccio review` was told of its rows: how often each rule was wrong
    #[arg(long)]
    review: bool,
    /// A file, by its name in the repository, that has what looks like a key or a token and holds no secret
    #[arg(long, value_name = "FILE")]
    no_secret: Vec<String>,
    /// Replace a card that was edited on the Hub, and push one of a data set that was edited here
    #[arg(long)]
    force: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let progress = Bar::new();
    let settings = Settings::from_env()?;
    let rejects = if args.with_rejects { Rejects::Pushed } else { Rejects::Kept };
    let card = if args.force { EditedCard::Pushed } else { EditedCard::Refused };
    let mut outgoing = outgoing::gather(&args.out, &args.repo, (rejects, card), &progress)?;
    if args.review {
        outgoing.add_review(&args.out)?;
    }
    if !outgoing.left_out.is_empty() {
        let names: Vec<String> = outgoing.left_out.iter().map(|name| format!("  {name}")).collect();
        progress.warn(&format!("these do not belong to what is pushed, and stay here:\n{}", names.join("\n")));
    }
    let files = clean::check(outgoing.files, (&args.out, &args.no_secret), &settings)?;
    secrets::check(&files, &settings, &progress)?;
    let repo = Repo::new(outgoing.kind, &args.repo)?;
    let client = Client::new(settings)?;
    for lack in &outgoing.lacks {
        tell!("{FAINT}{lack}{FAINT:#}");
    }
    if !files.iter().any(|f| f.path == setaccio_hub::push::CARD) {
        tell!("{FAINT}there is no README.md: the page of {} will have no card{FAINT:#}", repo.id);
    }
    let pushed = client.push(
        &Push {
            repo: &repo,
            visibility: if args.private { Visibility::Private } else { Visibility::Public },
            branch: &args.revision,
            pull_request: args.create_pr,
            title: &outgoing.title,
            files,
            stale: &outgoing.stale,
            force: args.force,
            dry_run: args.dry_run,
            begin: &|bytes| progress.transfer("push", bytes),
        },
        &progress,
    );
    progress.clear();
    let pushed = pushed?;
    if pushed.created {
        let how = if args.private { "private" } else { "public" };
        let done = if args.dry_run { "would be created" } else { "created" };
        say!("{done}: {repo}, {how}");
    }
    for (path, bytes) in &pushed.changed {
        say!("  {GOOD}+{GOOD:#} {path}  {}", megabytes(*bytes));
    }
    for path in &pushed.deleted {
        say!("  {BAD}-{BAD:#} {path}");
    }
    let unchanged = counted(pushed.unchanged as u64, "file");
    if pushed.changed.is_empty() && pushed.deleted.is_empty() {
        say!("{GOOD}nothing to push:{GOOD:#} {unchanged}, all there already");
    } else if let Some(commit) = &pushed.commit {
        say!("{GOOD}pushed:{GOOD:#} one commit, {commit}; already there: {unchanged}");
    } else {
        say!("this is what would be pushed; already there: {unchanged}");
    }
    say!("{}", pushed.url);
    Ok(())
}
