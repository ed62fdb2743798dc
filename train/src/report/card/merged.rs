//! The card of a merged model: which base, which adapter, what that was trained on, by the hashes of each. Where the run is
//! not known, it says so.

use std::fmt::Write;

use setaccio_base::{
    card::markdown::{block, cell, code, code_cell, plain, repository},
    numbers::grouped,
    run_lock::FileHash,
};

use super::{Front, base, data_table, file_name, licence_lines, results, title};
use crate::{
    recipe::Recipe,
    report::{front::notice, line::Line, lock::RunLock, merge_lock::MergeLock},
};

/// What is said of an adapter.
pub struct Adapter {
    /// Rank.
    pub rank: usize,
    /// Alpha.
    pub alpha: f64,
    /// Layers that it is upon.
    pub layers: usize,
    /// Modules that it saves whole.
    pub saved: Vec<String>,
}

/// What the card is made of.
pub struct MergedFacts<'a> {
    /// What went in and came out.
    pub lock: &'a MergeLock,
    /// The run that left the adapter, or the model, if it is there as the run left it.
    pub run: Option<&'a RunLock>,
    /// Its metrics.
    pub lines: &'a [Line],
    /// What the adapter calls its base.
    pub base: &'a str,
    /// The adapter; none of a model that was trained whole.
    pub adapter: Option<&'a Adapter>,
    /// Whether the merged model was held against the base with the adapter on.
    pub checked: bool,
}

impl MergedFacts<'_> {
    /// Whether the base is, file by file, what the run was trained upon.
    fn own_base(&self) -> bool {
        self.run.is_some_and(|run| run.base == self.lock.base)
    }

    fn recipe(&self) -> Option<&Recipe> {
        self.run.map(|run| &run.recipe)
    }
}

/// The card's text.
pub fn markdown(facts: &MergedFacts) -> String {
    let mut out = front(facts);
    for section in [opening(facts), loading(), data(facts), licences(facts), files(facts)] {
        let _ = write!(out, "\n{section}");
    }
    out
}

fn front(facts: &MergedFacts) -> String {
    let model = facts.recipe().map(|recipe| &recipe.model);
    let data = facts.run.map(|run| run.data.as_slice()).unwrap_or_default();
    let base = match model {
        // Another base than the run's has another name, which nothing here knows.
        Some(model) if facts.own_base() => model.repo.as_str(),
        Some(_) => "",
        None => facts.base,
    };
    let license = model.filter(|_| facts.own_base()).map_or("", |model| model.license.as_str());
    Front { library: "transformers", relation: "finetune", base, license, tags: vec!["setaccio"] }.matter(data)
}

fn opening(facts: &MergedFacts) -> String {
    let heading = facts.recipe().map_or_else(|| format!("{}, merged", plain(file_name(facts.base))), title);
    let license = facts.recipe().filter(|_| facts.own_base()).map_or("", |recipe| recipe.model.license.as_str());
    let built = notice(license).map_or_else(String::new, |(built, _)| format!("**{built}**\n\n"));
    let dtype = &facts.lock.dtype;
    let what = match facts.adapter {
        Some(Adapter { rank, alpha, layers, saved }) => {
            let base = named(facts);
            let precision = match facts.lock.base_precision.as_str() {
                "stored" => "its weights as they are stored",
                _ => "its weights as training in 4 bits saw them",
            };
            let checked = if facts.checked {
                format!(
                    "The merged model was held against the base with the adapter on, and differs from it by no more than \
                     {dtype} explains."
                )
            } else {
                "The merged model was not held against the base with the adapter on (`--no-check`).".into()
            };
            let with = match &saved[..] {
                [] => String::new(),
                [one] => format!(", with {} in the place of the base's", code(one)),
                [first, ..] => {
                    format!(", with {} and {} other modules in the place of the base's", code(first), saved.len() - 1)
                }
            };
            format!(
                "{base}, with a LoRA adapter of rank {rank} and alpha {alpha} on {layers} layers added to {precision}{with}, and \
                 written in {dtype} by Setaccio. {checked}"
            )
        }
        None => format!("Every weight of {}, trained with Setaccio and written in {dtype}.", named(facts)),
    };
    let trained = facts.run.map_or_else(String::new, |_| format!(" Training: {}.", results::summary(facts.lines)));
    format!("# {heading}\n\n{built}{what}{trained}\n")
}

/// The base that was really used.
fn named(facts: &MergedFacts) -> String {
    match facts.recipe() {
        Some(Recipe { model, .. }) if facts.own_base() && model.is_tiny() && model.repo.is_empty() => {
            "A tiny Llama that the program made itself".into()
        }
        Some(recipe) if facts.own_base() => base(recipe),
        Some(recipe) => {
            format!("A base that is not, file by file, the one that the run was trained upon ({})", base(recipe))
        }
        None => match repository(facts.base) {
            Some(repo) => format!("[{repo}](https://huggingface.co/{repo}), by the name that its adapter gives it"),
            None => format!("{}, by the name that its adapter gives it", code(file_name(facts.base))),
        },
    }
}

fn loading() -> String {
    let python = "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
                  tokenizer = AutoTokenizer.from_pretrained(\".\")\nmodel = AutoModelForCausalLM.from_pretrained(\".\")";
    format!(
        "## How to load it\n\n{}\nWith transformers, from this folder:\n\n{}",
        block("", "setaccio generate --model MODEL --prompt \"...\""),
        block("python", python)
    )
}

fn data(facts: &MergedFacts) -> String {
    match facts.run {
        Some(run) => format!("## Data\n\n{}", data_table(run, None)),
        None => "## Data\n\nNot known: the adapter's folder has no lock of the run that trained it.\n".into(),
    }
}

fn licences(facts: &MergedFacts) -> String {
    match facts.run {
        Some(run) if facts.own_base() => licence_lines(run, "model"),
        Some(run) => {
            let mut other = run.clone();
            other.recipe.model.license.clear();
            licence_lines(&other, "model")
        }
        None => {
            "## Licences\n\n- base model and data: **not known**; find them out before you pass the model on\n".into()
        }
    }
}

fn files(facts: &MergedFacts) -> String {
    let lock = facts.lock;
    let what = if facts.adapter.is_some() { "adapter" } else { "trained" };
    let engine = &lock.engine;
    let mut out = format!(
        "## What went in and came out\n\n`{}` says the same. Engine: {engine}.\n\n| | file | bytes | SHA-256 |\n|---|---|---:|---|\n",
        super::super::merge_lock::NAME
    );
    let groups = [("base", &lock.base), (what, &lock.adapter), ("merged", &lock.made)];
    for (group, file) in groups.iter().flat_map(|(group, files)| files.iter().map(move |file| (group, file))) {
        let FileHash { file, bytes, sha256 } = file;
        let _ = writeln!(out, "| {group} | {} | {} | {} |", cell(file), grouped(*bytes), code_cell(sha256));
    }
    out
}
