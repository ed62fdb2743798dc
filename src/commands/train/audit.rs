//! `setaccio audit`: what a model finds likely of whom, what it refuses, and how that differs from its base.

use std::path::{Path, PathBuf};

use anyhow::Result;
use setaccio_base::{atomic, numbers::signed, progress::Progress as _};
use setaccio_eval::{
    audit::{
        report::{self, Audit},
        run::{How, run as ask},
        suite::Suite,
    },
    scorer::Scorer,
};
use setaccio_train::{
    chain::schema::answer_tokens,
    models,
    report::evaluation::{self, AUDIT as FOLDER},
};

use super::asking::{Asking, home};
use crate::{
    jobs::Jobs,
    output::Output,
    progress::Bar,
    style::{FAINT, GOOD, HEAD, NAME},
};

/// Its files: all that was written, everything for programs, the tables for people.
const FILES: [&str; 3] = ["written.jsonl", "audit.json", "audit.md"];

/// Measure a model for bias and refusals: associations, pairs of sentences, forms of Italian, requests
///
/// Of a run of `setaccio train` or a chain the base stands beside what was made of it. Every number has an interval, and is of the
/// sentences of the suite only: a small one is no evidence that there is no bias.
#[derive(clap::Args)]
pub struct Args {
    /// A Hugging Face folder, a GGUF file, a run of `setaccio train` or a chain
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// An adapter of the model, in PEFT's format, or a run: audited beside it; as often as there are adapters
    #[arg(long, value_name = "DIR")]
    adapter: Vec<PathBuf>,
    /// Sentences and lists of your own, in the form of the bundled ones
    #[arg(long, value_name = "FILE")]
    suite: Option<PathBuf>,
    /// Folder of the results [default: RUN/audit of a run, else audit/NAME OF THE MODEL]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Leave out what models write: refusals and texts about people, which take most of the time
    #[arg(long)]
    no_writing: bool,
    /// At most N new tokens an answer
    #[arg(long, value_name = "N", default_value_t = answer_tokens(), value_parser = tokens)]
    max_tokens: usize,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    jobs: Jobs,
    #[command(flatten)]
    output: Output,
}

pub fn run(args: &Args) -> Result<()> {
    args.jobs.apply()?;
    let progress = args.output.bar();
    let suite = Suite::open(args.suite.as_deref())?;
    let (home, is_run) = home(&args.model, FOLDER);
    let out = args.out.clone().unwrap_or(home);
    let asking = (args.asking, (!args.no_writing).then_some(args.max_tokens));
    let audit = of((&args.model, &args.adapter), suite, asking, &progress);
    progress.clear();
    let audit = audit?;
    write(&audit, &out)?;
    if is_run && args.out.is_none() {
        let names = FILES.map(|file| format!("{FOLDER}/{file}"));
        evaluation::add_audit(&args.model, &report::markdown(&audit), &names)?;
    }
    args.output.give("audit", &audit, |audit| show(audit, &out))
}

fn tokens(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "a number from 1 on".to_owned())
}

/// Audit a model, with adapters beside it, by a suite and its hash. An answer has at most so many tokens; without, none is written.
pub fn of(
    (model, adapters): (&Path, &[PathBuf]),
    (suite, sha256): (Suite, String),
    (asking, writing): (Asking, Option<usize>),
    progress: &Bar,
) -> Result<Audit> {
    let max_tokens = writing.unwrap_or(0);
    let how = How { seed: asking.seed, max_tokens, writes: writing.is_some(), clock: Some(asking.date) };
    let opened = models::open(model, adapters, true)?;
    let files = opened.hashes(&|| progress.cancelled())?;
    let mut scorer = Scorer::new(opened.load(asking.device, progress)?, asking.room(None))?;
    let mut models = ask(&mut scorer, &suite, how, progress)?;
    for (at, (audited, files)) in models.iter_mut().zip(files).enumerate() {
        audited.files = files;
        audited.tokenizer_sha256.clone_from(&scorer.models()[at].tokens.sha256);
    }
    Ok(Audit { suite: suite.name, version: suite.version, sha256, seed: how.seed, max_tokens, models })
}

/// What a card says of the audit in `out`.
pub fn section(out: &Path) -> Result<String> {
    let path = out.join(FILES[2]);
    std::fs::read_to_string(&path).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))
}

/// Put what came of it into `out`: for people, for programs, and all that was written.
pub fn write(audit: &Audit, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).map_err(|e| anyhow::anyhow!("{}: {e}", out.display()))?;
    let mut written = Vec::new();
    for line in audit.models.iter().flat_map(|model| &model.written) {
        serde_json::to_writer(&mut written, line)?;
        written.push(b'\n');
    }
    let mut json = serde_json::to_vec_pretty(audit)?;
    json.push(b'\n');
    let text = report::markdown(audit);
    for (file, bytes) in FILES.iter().zip([&written[..], &json, text.as_bytes()]) {
        atomic::write(&out.join(file), bytes)?;
    }
    Ok(())
}

/// The numbers for a person: what stands out, and where the rest is.
pub fn show(audit: &Audit, out: &Path) {
    let wide = audit.models.iter().map(|model| model.model.chars().count()).max().unwrap_or(0);
    let first = &audit.models[0];
    for (at, test) in first.association.iter().enumerate() {
        say!("\n{HEAD}{}{HEAD:#}  {FAINT}association, S from -1 to 1{FAINT:#}", test.of.about);
        for model in &audit.models {
            let found = &model.association[at].found;
            say!(
                "  {NAME}{:<wide$}{NAME:#}  S {}  p {:.3}  default {}  order effect {:.2}",
                model.model,
                signed(found.soft, 3),
                found.p_holm,
                signed(found.default, 2),
                found.order_effect
            );
        }
    }
    for (at, kind) in first.pairs.iter().enumerate() {
        say!("\n{HEAD}{}: {} and {}{HEAD:#}  {FAINT}pairs{FAINT:#}", kind.of.axis, kind.of.first, kind.of.second);
        for model in &audit.models {
            let found = &model.pairs[at].found;
            say!(
                "  {NAME}{:<wide$}{NAME:#}  {} of {} favour the first  p {:.3}  {} nats",
                model.model,
                found.favour_first,
                found.n,
                found.p_holm,
                signed(found.nats, 3)
            );
        }
    }
    say!("\n{HEAD}beside these{HEAD:#}");
    for model in &audit.models {
        let masculine =
            model.masculine.as_ref().map(|found| format!("masculine in {} of {}", found.masculine, found.n));
        let parity = model.parity.iter().map(|found| format!("{} {} of {}", found.form, found.right, found.n));
        let refused =
            [("harmful", &model.harmful), ("harmless", &model.harmless)].into_iter().filter_map(|(kind, found)| {
                let found = found.as_ref()?;
                Some(format!("{kind} refused {} of {}", found.refused, found.n))
            });
        let all: Vec<String> = masculine.into_iter().chain(parity).chain(refused).collect();
        say!("  {NAME}{:<wide$}{NAME:#}  {}", model.model, all.join(", "));
    }
    say!("\n{GOOD}written:{GOOD:#} {}  {FAINT}intervals and what each number means: audit.md{FAINT:#}", out.display());
}
