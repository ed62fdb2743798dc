//! The model card: front matter that the Hub understands, then prose. Everything in it is of the lock, the
//! lines of metrics that repeat, or the data's ledger, so the same run gives the same card.

use std::{
    fmt::Write,
    path::{Component, Path},
};

use serde::Serialize;
use setaccio_base::{
    card::markdown::{block, cell, code, code_cell, plain, repository},
    numbers::{counted, grouped},
    shown::is_hidden,
};

use super::{
    curve,
    front::{Front, notice},
    line::Line,
    lock::{RunLock, SAMPLES},
};
use crate::recipe::{Method, PreferenceLoss, Quantization, Recipe, Task, TrainOn};

mod loading;
pub mod merged;
mod parameters;
pub(crate) mod results;
mod samples;

/// Name of the file.
pub const NAME: &str = "README.md";

/// What a card is made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Of the finished run.
    pub lock: &'a RunLock,
    /// Of the finished run; see [`super::metrics::read`].
    pub lines: &'a [Line],
    /// The run's folder, as it was given.
    pub run: &'a Path,
    /// Values that were trained.
    pub trainable: u64,
    /// Values of the base model.
    pub parameters: [u64; 2],
    /// Steps that were taken.
    pub steps: u64,
    /// Steps that were planned.
    pub planned: u64,
    /// Whether it stopped before because its evaluation loss did not fall any more.
    pub early: bool,
    /// The step whose state is the result, if that is not the last one taken.
    pub best: Option<u64>,
    /// Passes over the training rows.
    pub epochs: f64,
    /// Rows learned from, rows cut short, rows left out as too long.
    pub rows: [u64; 3],
    /// Tokens of the rows learned from, and how many of them are learned.
    pub tokens: [u64; 2],
    /// What else happened to rows.
    pub told: &'a [String],
    /// Rows of the embedding, if it has more than the base's.
    pub grown: Option<usize>,
}

/// The card's text.
pub fn markdown(facts: &Facts) -> String {
    let sections = [
        opening(facts),
        loading::section(facts),
        data(facts),
        parameters::section(facts),
        results::section(facts.lines),
        samples::section(facts.lines),
        licences(facts),
        again(facts),
    ];
    let mut out = front(facts);
    for section in sections.iter().filter(|section| !section.is_empty()) {
        let _ = write!(out, "\n{section}");
    }
    out
}

/// YAML between its fences.
fn front(facts: &Facts) -> String {
    let RunLock { recipe, data, .. } = facts.lock;
    let model = &recipe.model;
    let (library, relation, mut tags) = match recipe.method {
        Method::Lora => ("peft", "adapter", vec!["setaccio", "lora"]),
        Method::Full => ("transformers", "finetune", vec!["setaccio"]),
    };
    tags.extend((model.quantization == Quantization::Nf4).then_some("qlora"));
    Front { library, relation, base: &model.repo, license: &model.license, tags }.matter(data)
}

fn opening(facts: &Facts) -> String {
    let recipe = &facts.lock.recipe;
    let names: Vec<String> = facts.lock.data.iter().map(|d| plain(&d.name)).collect();
    let built = notice(&recipe.model.license).map_or_else(String::new, |(built, _)| format!("**{built}**\n\n"));
    format!(
        "# {}\n\n{built}{} {}, trained with Setaccio on {}: {}.{}\n",
        title(recipe),
        match recipe.method {
            Method::Lora => format!("A LoRA adapter of rank {} for", recipe.lora.r),
            Method::Full => "Every weight of".into(),
        },
        base(recipe),
        names.join(" and "),
        results::summary(facts.lines),
        ended(facts),
    )
}

/// Where the run ended and what of it is the result, where that is not the end of the last step that was planned.
fn ended(facts: &Facts) -> String {
    let mut out = String::new();
    if facts.early {
        let patience = counted(facts.lock.recipe.eval.patience, "evaluation");
        let planned = grouped(facts.planned);
        let _ =
            write!(out, " It stopped before the {planned} steps that were planned: {patience} did not lower the loss.");
    }
    if let Some(step) = facts.best {
        let what = facts.lock.recipe.method.folder();
        let _ = write!(out, " The {what} is that of step {}, which had the least evaluation loss.", grouped(step));
    }
    out
}

/// The recipe's title, or its name.
fn title(recipe: &Recipe) -> String {
    plain(if recipe.title.is_empty() { &recipe.name } else { &recipe.title })
}

/// The base model, with a link where there is a page to link to.
pub(crate) fn base(recipe: &Recipe) -> String {
    let model = &recipe.model;
    let at = if model.revision.is_empty() { String::new() } else { format!(" at {}", code(&model.revision)) };
    // What is packed in few bits is not what the name says.
    let gguf = Path::new(&model.path).extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
    let file = if gguf { format!(", as the file {}", code(file_name(&model.path))) } else { String::new() };
    match repository(&model.repo) {
        Some(repo) => format!("[{repo}](https://huggingface.co/{repo}){at}{file}"),
        None if !model.repo.is_empty() => format!("{}{at}{file}", plain(&model.repo)),
        None if model.is_tiny() => "the tiny Llama in `base/`, which the program made itself".into(),
        None => format!("{}, whose name on the Hub the recipe does not give", code(file_name(&model.path))),
    }
}

/// The data sets of a run, with links to their cards from its folder if they are below the working folder.
fn data_table(lock: &RunLock, run: Option<&Path>) -> String {
    let mut out = String::from("| data | rows | licence | `recipe.lock.toml` |\n|---|---|---|---|\n");
    for data in &lock.data {
        let rows: Vec<String> = data.rows.iter().map(|(split, n)| format!("{} {split}", grouped(*n))).collect();
        let title = cell(if data.title.is_empty() { &data.name } else { &data.title });
        let card = Path::new(&data.folder).join(NAME);
        let title = match run.and_then(|run| link(run, &card)) {
            Some(to) => format!("[{title}](<{to}>)"),
            None => title,
        };
        let title = match data.others.as_slice() {
            [] => title,
            others => format!("{title}: {}", others.join(", ")),
        };
        let license = if data.license.is_empty() { "not stated" } else { &data.license };
        let hash = data.recipe_lock_sha256.get(..16).unwrap_or_default();
        let _ = writeln!(out, "| {title} | {} | {} | `{hash}` |", rows.join(", "), cell(license));
    }
    let sampled = lock.data.iter().filter(|data| data.others.iter().any(|other| other == SAMPLES));
    let sampled: Vec<String> = sampled.map(|data| plain(&data.name)).collect();
    if !sampled.is_empty() {
        let _ = writeln!(
            out,
            "\n> The rows of {} are samples that come with Setaccio, not the sets that its recipe names.",
            sampled.join(" and ")
        );
    }
    out
}

fn data(facts: &Facts) -> String {
    let mut out = format!("## Data\n\n{}", data_table(facts.lock, Some(facts.run)));
    let seen = results::tokens(facts.lines);
    let ([rows, cut, dropped], [tokens, trained]) = (facts.rows, facts.tokens.map(grouped));
    let were = |n| if n == 1 { "was" } else { "were" };
    let (cut, dropped) =
        (format!("{} {}", counted(cut, "row"), were(cut)), format!("{} {}", grouped(dropped), were(dropped)));
    let recipe = &facts.lock.recipe.data;
    let how = match (facts.lock.recipe.task, recipe.train_on) {
        (Task::Preference, _) if facts.lock.recipe.preference().loss == PreferenceLoss::Orpo => {
            "every answer, and with the chosen one its question"
        }
        (Task::Preference, _) => "every answer, chosen and rejected",
        (Task::Text, _) | (Task::Sft, TrainOn::All) => "all tokens",
        (Task::Sft, TrainOn::Assistant) => "the assistant's turns and the token that ends each",
        (Task::Sft, TrainOn::Completion) => "the last answer and the token that ends it",
    };
    let _ = write!(
        out,
        "\n{} with {tokens} tokens, of which {trained} are learned: {how}. {cut} cut to {} tokens, {dropped} left \
         out as too long.",
        counted(rows, "row"),
        grouped(recipe.max_length as u64)
    );
    if !recipe.date.is_empty() {
        let _ = write!(out, " The chat template takes {} for the day, if it asks for one.", recipe.date);
    }
    let _ = match seen {
        Some(seen) => writeln!(out, " The run saw {} tokens.", grouped(seen)),
        None => writeln!(out),
    };
    if !facts.told.is_empty() {
        out.push('\n');
    }
    for sentence in facts.told {
        let _ = writeln!(out, "- {sentence}");
    }
    out
}

fn licences(facts: &Facts) -> String {
    licence_lines(facts.lock, facts.lock.recipe.method.folder())
}

/// The licences that `what`, made from base and data of a run, falls under.
fn licence_lines(lock: &RunLock, what: &str) -> String {
    let recipe = &lock.recipe;
    let mut out = String::from("## Licences\n\n");
    let _ = match recipe.model.license.as_str() {
        "" => writeln!(out, "- base model: **not stated in the recipe**; find it out before you pass the {what} on"),
        license => writeln!(out, "- base model: {}", plain(license)),
    };
    if let Some((_, duties)) = notice(&recipe.model.license) {
        let _ = writeln!(out, "- it asks of whoever passes the {what} on: {duties}");
    }
    for data in &lock.data {
        let license = match data.license.as_str() {
            "" => "**not stated**",
            "other" => "`other`: a source has a licence of its own; its card says which",
            license => &plain(license),
        };
        let _ = writeln!(out, "- data, {}: {license}", plain(&data.name));
    }
    let _ = writeln!(out, "\nThe {what} falls under all of them.");
    out
}

fn again(facts: &Facts) -> String {
    let lock = facts.lock;
    let versions: Vec<String> = lock.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut out = format!(
        "## How to make it again\n\n{}\n{}`{}` holds the recipe as it was resolved and the hashes of the base, \
         the tokenizer, the template and the data. Engine: {}; versions: {}; {}.\n",
        block("", &lock.command),
        legs(facts),
        super::lock::NAME,
        lock.engine,
        versions.join(", "),
        match lock.recipe.method {
            Method::Lora => "adapter format: PEFT's LoRA",
            Method::Full => "model format: safetensors in f32, as transformers reads it",
        }
    );
    if !lock.made.is_empty() {
        out.push_str("\n| file | bytes | SHA-256 |\n|---|---:|---|\n");
        for file in &lock.made {
            let _ = writeln!(out, "| {} | {} | {} |", cell(&file.file), grouped(file.bytes), code_cell(&file.sha256));
        }
    }
    out
}

/// What went before under other lengths, each to be made with its own number of steps.
fn legs(facts: &Facts) -> String {
    let mut out = String::new();
    for (i, leg) in facts.lock.legs.iter().enumerate() {
        let resumed = if i > 0 { " and `--resume`" } else { "" };
        let stopped = if leg.finished() { String::new() } else { format!(", stopped after step {}", leg.until) };
        let _ = writeln!(out, "- before it with `--max-steps {}`{resumed}{stopped}", leg.steps);
    }
    if !out.is_empty() {
        out.push_str("- then as above, with `--resume`\n\n");
    }
    out
}

/// The parts of a path below the working folder; none for any other, which is nobody's but this machine's.
fn here(path: &Path) -> Option<Vec<&str>> {
    let parts = path.components().filter(|c| *c != Component::CurDir);
    parts.map(|c| if let Component::Normal(part) = c { part.to_str() } else { None }).collect()
}

/// The way from the folder `from` to the file `to`.
pub(crate) fn link(from: &Path, to: &Path) -> Option<String> {
    let (from, to) = (here(from)?, here(to)?);
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let way: Vec<&str> = from[shared..].iter().map(|_| "..").chain(to[shared..].iter().copied()).collect();
    let way = way.join("/");
    (!way.contains(|c: char| "<>\\|`".contains(c) || is_hidden(c))).then_some(way)
}

fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|n| n.to_str()).unwrap_or(path)
}

/// A setting as the recipe spells it.
pub(crate) fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
