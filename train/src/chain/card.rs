//! The card of a chain's model: from which base it came by which stages, what it may be used for, how to load it.
//! Everything in it is of the locks and metrics of the stages, so the same chain gives the same card.

use std::{collections::BTreeMap, fmt::Write};

use serde::{Deserialize, Serialize};
use setaccio_base::{
    card::markdown::{block, cell, code, plain, repository},
    numbers::{counted, grouped},
    shell,
};

use super::schema::Chain;
use crate::recipe::{Method, TINY};
use crate::report::{
    card::{self, results, word},
    front::{Front, notice},
    line::Line,
    lock::RunLock,
};

/// Name of the file.
pub const NAME: &str = card::NAME;

/// A finished stage.
#[derive(Clone, Debug)]
pub struct StageReport {
    /// Its name.
    pub name: String,
    /// Of its run.
    pub lock: RunLock,
    /// Of its run.
    pub lines: Vec<Line>,
}

/// What the base and the result said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The prompt.
    pub prompt: String,
    /// The base's answer.
    pub before: String,
    /// The result's answer.
    pub after: String,
}

/// The card's text. `exports` are names of GGUF files.
pub fn markdown(
    chain: &Chain,
    stages: &[StageReport],
    (exports, measured): (&[String], &[String]),
    samples: &[Sample],
) -> String {
    let mut out = front(chain, stages);
    for section in [
        opening(chain, stages),
        lineage(stages),
        curves(stages),
        measured.join("\n"),
        answers(samples),
        loading(chain, stages, exports),
        limits(stages),
        licences(chain, stages),
        again(chain, stages),
    ] {
        if !section.is_empty() {
            let _ = write!(out, "\n{section}");
        }
    }
    out
}

/// YAML between its fences.
fn front(chain: &Chain, stages: &[StageReport]) -> String {
    let base = &chain.base;
    let front = Front {
        library: "transformers",
        relation: "finetune",
        base: &base.repo,
        license: &base.license,
        tags: vec!["setaccio"],
    };
    front.matter(stages.iter().flat_map(|s| &s.lock.data))
}

fn opening(chain: &Chain, stages: &[StageReport]) -> String {
    let title = if chain.title.is_empty() { &chain.name } else { &chain.title };
    let base = match stages.first() {
        _ if chain.base.path == TINY && chain.base.repo.is_empty() => {
            "A tiny Llama that the program made itself".into()
        }
        Some(stage) => card::base(&stage.lock.recipe),
        None => code(&chain.base.path),
    };
    let names: Vec<String> = stages.iter().map(|stage| plain(&stage.name)).collect();
    let built = match notice(&chain.base.license) {
        Some((built, _)) => format!("\n**{built}**\n"),
        None => String::new(),
    };
    format!(
        "# {}\n{built}\n{base}, trained with Setaccio in {}: {}. After each stage {} and the next one began \
         from there.\n",
        plain(title),
        counted(stages.len() as u64, "stage"),
        names.join(", "),
        match (adapters(stages), stages.iter().any(|s| s.lock.recipe.method == Method::Full)) {
            (true, false) => "its adapter was merged into the weights,",
            (true, true) => "its adapter was merged into the weights, where it did not train the weights themselves,",
            (false, _) => "its weights were kept,",
        },
    )
}

/// Whether any stage trained an adapter.
fn adapters(stages: &[StageReport]) -> bool {
    stages.iter().any(|stage| stage.lock.recipe.method == Method::Lora)
}

/// What was done, stage by stage.
fn lineage(stages: &[StageReport]) -> String {
    let mut out = String::from(
        "## Lineage\n\n| stage | learned | data (SHA-256 of its lock) | rows | trained | steps x batch, rate | evaluation loss \
         | SHA-256 of its weights |\n|---|---|---|---:|---|---|---|---|\n",
    );
    for stage in stages {
        let recipe = &stage.lock.recipe;
        let learned = match recipe.task {
            crate::recipe::Task::Preference => recipe.preference().loss.name().to_uppercase(),
            task => word(&task),
        };
        let data: Vec<String> = stage.lock.data.iter().map(|data| source(data, &stage.name)).collect();
        let rows: u64 = stage.lock.data.iter().filter_map(|d| d.rows.get("train")).sum();
        let stable = if recipe.lora.rslora { ", rank-stabilised" } else { "" };
        let trained = match recipe.method {
            Method::Lora => format!("rank {}, alpha {}{stable}", recipe.lora.r, recipe.lora.alpha),
            Method::Full => "every weight".into(),
        };
        let steps = stage.lines.iter().map(|l| l.step).max().unwrap_or(0);
        let evals: Vec<f64> = stage.lines.iter().filter_map(|l| l.get("eval_loss")).collect();
        let eval = match evals.as_slice() {
            [] => "none".into(),
            [only] => format!("{only:.4}"),
            [first, .., last] => format!("{first:.4} to {last:.4}"),
        };
        let weights = stage.lock.made.iter().filter(|f| f.file.ends_with(".safetensors"));
        let hashes: Vec<String> = weights.filter_map(|f| Some(format!("`{}`", f.sha256.get(..16)?))).collect();
        let _ = writeln!(
            out,
            "| {} | {learned} | {} | {} | {trained} | {} x {}, {:?} | {eval} | {} |",
            cell(&stage.name),
            data.join("; "),
            grouped(rows),
            grouped(steps),
            recipe.train.batch * recipe.train.accumulation,
            recipe.train.learning_rate,
            hashes.join(" "),
        );
    }
    out
}

/// A data set with links to where its rows came from.
fn source(data: &crate::report::lock::DataFolder, stage: &str) -> String {
    let title = cell(if data.title.is_empty() { &data.name } else { &data.title });
    let repos = data.repos.iter().filter_map(|repo| repository(repo));
    let repos = repos.map(|r| format!("[{r}](https://huggingface.co/datasets/{r})"));
    let repos: Vec<String> = repos.chain(data.others.iter().cloned()).collect();
    let hash = data.recipe_lock_sha256.get(..16).unwrap_or_default();
    let of = if repos.is_empty() { String::new() } else { format!(" of {}", repos.join(", ")) };
    format!("[{title}]({}){of} (`{hash}`)", self::data(stage))
}

/// Curves and last evaluation of each stage.
fn curves(stages: &[StageReport]) -> String {
    let mut out = String::new();
    for stage in stages {
        let (name, lines) = (plain(&stage.name), &stage.lines);
        let _ = write!(out, "## Stage {name}\n\n{}.\n\n", results::summary(lines));
        let _ = writeln!(out, "![Curves of stage {name}]({})", curve(&stage.name));
        let last = lines.iter().rfind(|line| line.get("eval_loss").is_some());
        let shown: BTreeMap<&str, f64> = last
            .iter()
            .flat_map(|l| &l.values)
            .filter(|(k, _)| k.starts_with("eval_") && *k != "eval_num_tokens")
            .map(|(k, v)| (k.as_str(), *v))
            .collect();
        if !shown.is_empty() {
            out.push_str("\n| at the end | |\n|---|---:|\n");
            for (key, value) in shown {
                let _ = writeln!(out, "| `{key}` | {value:.4} |");
            }
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Card of a stage's data, beside the card.
pub fn data(stage: &str) -> String {
    format!("data/{stage}/{NAME}")
}

/// File of a stage's curve beside the card.
pub fn curve(stage: &str) -> String {
    format!("{stage}.svg")
}

fn answers(samples: &[Sample]) -> String {
    if samples.is_empty() {
        return String::new();
    }
    let quote = |text: &str| {
        let text = text.trim();
        let lines: Vec<String> = text.lines().map(|line| format!("> {}", plain(line))).collect();
        if lines.is_empty() { "> (nothing)".to_owned() } else { lines.join("\n") }
    };
    let mut out = format!(
        "## Samples\n\nThe most probable answers of base and result, cut after {SAMPLE_TOKENS} tokens. A few answers prove nothing.\n"
    );
    for Sample { prompt, before, after } in samples {
        let _ = write!(out, "\n**{}**\n\nBefore:\n\n{}\n\nAfter:\n\n{}\n", plain(prompt), quote(before), quote(after));
    }
    out
}

/// Most tokens of a sample.
pub const SAMPLE_TOKENS: usize = 64;

fn loading(chain: &Chain, stages: &[StageReport], exports: &[String]) -> String {
    let name = plain(&chain.name);
    let mut out = String::from(
        "## How to load it\n\nWith transformers, from this folder or its name on the Hub:\n\n```python\n\
         from transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
         tokenizer = AutoTokenizer.from_pretrained(\".\")\nmodel = AutoModelForCausalLM.from_pretrained(\".\")\n```\n\n\
         `setaccio train` takes this folder as `--model`.\n",
    );
    if adapters(stages) {
        let _ = write!(
            out,
            "\nWith PEFT, the adapter of a stage (`{name}/STAGE/adapter`) fits the model before that stage:\n\n\
             ```python\nfrom peft import PeftModel\n\nmodel = PeftModel.from_pretrained(model_before, \"STAGE/adapter\")\n```\n"
        );
    }
    if let Some(file) = exports.first() {
        let command = format!("llama-cli -m {} -cnv", shell::word(&format!("../export/{file}")));
        let _ = write!(out, "\nWith llama.cpp:\n\n{}", block("", &command));
    }
    let _ = write!(
        out,
        "\nWith candle: `candle_transformers::models::llama` reads config.json and the safetensors of this folder, \
         `quantized_llama` the GGUF files. With this program: `setaccio generate --model . --prompt \"...\"`.\n"
    );
    out
}

fn limits(stages: &[StageReport]) -> String {
    let what = if adapters(stages) { "Adapters of low rank change" } else { "Training on so few texts changes" };
    let mut out = format!(
        "## Limits\n\n- {what} how a model writes more than what it knows; check facts elsewhere.\n\
         - Evaluation losses above are on rows held back from the same data sets. They say nothing of other tasks.\n",
    );
    let italian = stages.iter().flat_map(|s| &s.lock.data).any(|d| d.languages.iter().any(|l| l == "it"));
    if italian {
        out.push_str(
            "- Italian marks gender on articles, adjectives and participles. Web text and translated instructions default to \
             the masculine, for people of unknown gender and for professions; expect that of this model.\n\
             - The Italian is that of web pages: standard, mostly northern and central in what it speaks of. Regional \
             Italian, the dialects and the minority languages (Sardinian, Friulian, Ladin, Neapolitan, Sicilian and others) \
             are hardly in it.\n\
             - Instructions translated from English carry English idiom and an American view of law, school and measure.\n",
        );
    }
    out.push_str("- Nothing was done here to make it safe beyond what base and data bring; test it for your use.\n");
    out
}

fn licences(chain: &Chain, stages: &[StageReport]) -> String {
    let mut out = String::from("## Licences\n\n");
    let _ = match chain.base.license.as_str() {
        "" => writeln!(out, "- base model: **not stated**; find it out before you pass this model on"),
        license => writeln!(out, "- base model: {}", plain(license)),
    };
    if let Some((_, duties)) = notice(&chain.base.license) {
        let _ = writeln!(out, "- it asks of whoever passes this model on: {duties}");
    }
    for stage in stages {
        for data in &stage.lock.data {
            let license = if data.license.is_empty() { "**not stated**".into() } else { plain(&data.license) };
            let _ = writeln!(out, "- data of stage {}, {}: {license}", plain(&stage.name), plain(&data.name));
        }
    }
    out.push_str("\nThis model falls under all of them.\n");
    out
}

fn again(chain: &Chain, stages: &[StageReport]) -> String {
    let engine = stages.first().map_or("", |stage| stage.lock.engine.as_str());
    format!(
        "## How to make it again\n\n```\nsetaccio train-all {}\n```\n\nEach stage's `run.lock.toml` holds its recipe as it was \
         resolved and the hashes of all that went in. Engine: {engine}.\n",
        chain.name
    )
}
