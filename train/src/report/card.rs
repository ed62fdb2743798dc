//! The model card: front matter that the Hub understands, then prose. Everything in it is of the lock, the
//! lines of metrics that repeat, or the data's ledger, so the same run gives the same card.

use std::{
    fmt::Write,
    path::{Component, Path},
};

use serde::Serialize;
use setaccio_curate::card::grouped;

use super::{
    curve,
    front::{Front, hub, notice},
    lock::RunLock,
    metrics::Line,
};
use crate::recipe::{PreferenceLoss, Quantization, Recipe, Reference, Task, TrainOn};

pub(crate) mod results;

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
    pub parameters: u64,
    /// Steps.
    pub steps: u64,
    /// Passes over the training rows.
    pub epochs: f64,
    /// Rows learned from, rows cut short, rows left out as too long.
    pub rows: [u64; 3],
    /// Tokens of the rows learned from, and how many of them are learned.
    pub tokens: [u64; 2],
}

/// The card's text.
pub fn markdown(facts: &Facts) -> String {
    let sections = [
        opening(facts),
        loading(facts),
        data(facts),
        parameters(facts),
        results::section(facts.lines),
        licences(facts),
        again(facts),
    ];
    let mut out = front(facts);
    for section in sections {
        let _ = write!(out, "\n{section}");
    }
    out
}

/// YAML between its fences.
fn front(facts: &Facts) -> String {
    let RunLock { recipe, data, .. } = facts.lock;
    let mut tags = vec!["setaccio", "lora"];
    tags.extend((recipe.model.quantization == Quantization::Nf4).then_some("qlora"));
    let model = &recipe.model;
    Front { library: "peft", relation: "adapter", base: &model.repo, license: &model.license, tags }.matter(data)
}

fn opening(facts: &Facts) -> String {
    let recipe = &facts.lock.recipe;
    let title = if recipe.title.is_empty() { &recipe.name } else { &recipe.title };
    let names: Vec<String> = facts.lock.data.iter().map(|d| plain(&d.name)).collect();
    let built = notice(&recipe.model.license).map_or_else(String::new, |(built, _)| format!("**{built}**\n\n"));
    format!(
        "# {}\n\n{built}A LoRA adapter of rank {} for {}, trained with Setaccio on {}: {}.\n",
        plain(title),
        recipe.lora.r,
        base(recipe),
        names.join(" and "),
        results::summary(facts.lines),
    )
}

/// The base model, with a link where there is a page to link to.
fn base(recipe: &Recipe) -> String {
    let model = &recipe.model;
    let at = if model.revision.is_empty() { String::new() } else { format!(" at `{}`", model.revision) };
    match hub(&model.repo) {
        Some(repo) => format!("[{repo}](https://huggingface.co/{repo}){at}"),
        None if !model.repo.is_empty() => format!("{}{at}", plain(&model.repo)),
        None if model.path == "tiny" => "the tiny Llama in `base/`, which the program made itself".into(),
        None => format!("`{}`, whose name on the Hub the recipe does not give", file_name(&model.path)),
    }
}

fn loading(facts: &Facts) -> String {
    let recipe = &facts.lock.recipe;
    let model = &recipe.model;
    let path = |p: &Path, none: &str| here(p).map_or_else(|| none.to_owned(), |p| p.join("/"));
    let folder = path(facts.run, "RUN");
    let tiny = model.path == "tiny" && model.repo.is_empty();
    let mut out = format!(
        "## How to load it\n\n```\nsetaccio generate --model {} --adapter {} --prompt \"...\"\n```\n",
        shell(&if tiny { format!("{folder}/base") } else { path(Path::new(&model.path), "MODEL") }),
        shell(&format!("{folder}/adapter")),
    );
    let gguf = model.path.to_ascii_lowercase().ends_with(".gguf");
    let (from, more) = match hub(&model.repo) {
        Some(repo) if model.revision.is_empty() => (repo.to_owned(), String::new()),
        Some(repo) => (repo.to_owned(), format!(", revision={}", python(&model.revision))),
        None if tiny => ("base".to_owned(), String::new()),
        None if gguf => (".".into(), format!(", gguf_file={}", python(file_name(&model.path)))),
        None => (path(Path::new(&model.path), file_name(&model.path)), String::new()),
    };
    let (import, quantized) = if model.quantization == Quantization::Nf4 {
        let double = if model.double_quant { "True" } else { "False" };
        (
            "import torch\n",
            format!(
                ",\n    quantization_config=BitsAndBytesConfig(\n        load_in_4bit=True, bnb_4bit_quant_type=\"nf4\", \
                 bnb_4bit_use_double_quant={double}, bnb_4bit_compute_dtype=torch.bfloat16\n    ),\n"
            ),
        )
    } else {
        ("", String::new())
    };
    let config = if quantized.is_empty() { "" } else { ", BitsAndBytesConfig" };
    let _ = write!(
        out,
        "\nWith PEFT, from the folder of this card:\n\n```python\n{import}from peft import PeftModel\n\
         from transformers import AutoModelForCausalLM, AutoTokenizer{config}\n\n\
         base = {}\ntokenizer = AutoTokenizer.from_pretrained(\"adapter\")\n\
         model = AutoModelForCausalLM.from_pretrained(base{more}{quantized})\n\
         model = PeftModel.from_pretrained(model, \"adapter\")\n```\n",
        python(&from),
    );
    out
}

fn data(facts: &Facts) -> String {
    let mut out = String::from("## Data\n\n| data | rows | licence | `recipe.lock.toml` |\n|---|---|---|---|\n");
    for data in &facts.lock.data {
        let rows: Vec<String> = data.rows.iter().map(|(split, n)| format!("{} {split}", grouped(*n))).collect();
        let title = cell(if data.title.is_empty() { &data.name } else { &data.title });
        let title = match link(facts.run, Path::new(&data.folder).join("README.md").as_path()) {
            Some(to) => format!("[{title}](<{to}>)"),
            None => title,
        };
        let license = if data.license.is_empty() { "not stated" } else { &data.license };
        let hash = data.recipe_lock_sha256.get(..16).unwrap_or_default();
        let _ = writeln!(out, "| {title} | {} | {} | `{hash}` |", rows.join(", "), cell(license));
    }
    let seen = results::tokens(facts.lines);
    let ([rows, cut, dropped], [tokens, trained]) = (facts.rows.map(grouped), facts.tokens.map(grouped));
    let recipe = &facts.lock.recipe.data;
    let how = match (facts.lock.recipe.task, recipe.train_on) {
        (Task::Preference, _) if facts.lock.recipe.preference().loss == PreferenceLoss::Orpo => {
            "every answer, and with the chosen one its question"
        }
        (Task::Preference, _) => "every answer, chosen and rejected",
        (_, TrainOn::Assistant) => "the assistant's turns and the token that ends each",
        (_, TrainOn::Completion) => "the last answer and the token that ends it",
        (Task::Text, _) | (_, TrainOn::All) => "all tokens",
    };
    let _ = write!(
        out,
        "\n{rows} rows with {tokens} tokens, of which {trained} are learned: {how}. {cut} rows were cut to {} tokens, \
         {dropped} were left out as too long.",
        grouped(recipe.max_length as u64)
    );
    let _ = match seen {
        Some(seen) => writeln!(out, " The run saw {} tokens.", grouped(seen)),
        None => writeln!(out),
    };
    out
}

fn parameters(facts: &Facts) -> String {
    let RunLock { recipe, compute, .. } = facts.lock;
    let Recipe { model, lora, data, train, .. } = recipe;
    let mut rows: Vec<(&str, String)> = Vec::new();
    let mut row = |what, value: String| rows.push((what, value));
    #[allow(clippy::cast_precision_loss, reason = "shown to three digits")]
    let share = facts.trainable as f64 / facts.parameters.max(1) as f64 * 100.0;
    row(
        "trained parameters",
        format!("{} beside {} of the base ({share:.3}%)", grouped(facts.trainable), grouped(facts.parameters)),
    );
    row(
        "base weights",
        match model.quantization {
            Quantization::Nf4 if model.double_quant => "NF4, scales quantised too".into(),
            Quantization::Nf4 => "NF4".into(),
            Quantization::None => "as stored".into(),
        },
    );
    let rank_stable = if lora.rslora { ", rank-stabilised" } else { "" };
    row("rank, alpha", format!("{}, {}{rank_stable}", lora.r, lora.alpha));
    row("dropout", lora.dropout.to_string());
    row("adapted layers", lora.targets.join(", "));
    row("adapter starts as", word(&lora.init));
    row("adapter kept in", word(&lora.dtype));
    match recipe.task {
        Task::Sft => row("trained on", word(&data.train_on)),
        Task::Text => row("trained on", "documents, every token".into()),
        Task::Preference => preference(recipe, &mut row),
    }
    row("longest row", format!("{} tokens; longer: {}", data.max_length, word(&data.overlong)));
    row("packing", word(&data.packing));
    let each = if train.batch == 1 { "sequence" } else { "sequences" };
    let batches = if train.accumulation > 1 { format!("{} batches of ", train.accumulation) } else { String::new() };
    row("a step", format!("{batches}{} {each}", train.batch));
    row("length", format!("{} steps, {:.2} passes over the rows", grouped(facts.steps), facts.epochs));
    let warmup = match (train.warmup_steps, train.warmup_ratio) {
        (0, ratio) if ratio > 0.0 => format!(", warmup over {ratio} of the steps"),
        (0, _) => String::new(),
        (steps, _) => format!(", {} steps of warmup", grouped(steps)),
    };
    row("learning rate", format!("{:?}, {}{warmup}", train.learning_rate, word(&train.schedule)));
    let [b1, b2] = train.betas;
    row(
        "optimiser",
        format!(
            "{}, betas {b1} and {b2}, eps {:?}, weight decay {}",
            word(&train.optimizer),
            train.eps,
            train.weight_decay
        ),
    );
    row(
        "gradient clipped to",
        if train.max_grad_norm > 0.0 { train.max_grad_norm.to_string() } else { "nothing".into() },
    );
    if (train.lora_plus_ratio - 1.0).abs() > 0.0 {
        row("LoRA+ ratio", train.lora_plus_ratio.to_string());
    }
    if train.neftune_alpha > 0.0 {
        row("NEFTune alpha", train.neftune_alpha.to_string());
    }
    row("seed", recipe.seed.to_string());
    row("computed in", compute.clone());
    let mut out = String::from("## Parameters\n\n| | |\n|---|---|\n");
    for (what, value) in rows {
        let _ = writeln!(out, "| {what} | {} |", cell(&value));
    }
    out
}

fn preference(recipe: &Recipe, row: &mut impl FnMut(&'static str, String)) {
    let preference = recipe.preference();
    let loss = preference.loss;
    let terms: Vec<String> = preference.terms().iter().map(|t| format!("{} x {}", t.weight, word(&t.kind))).collect();
    let kinds = if preference.terms.is_empty() { String::new() } else { format!(": {}", terms.join(" + ")) };
    row("loss", format!("{}{kinds}", loss.name().to_uppercase()));
    row("beta", preference.beta().to_string());
    if preference.label_smoothing > 0.0 {
        row("label smoothing", preference.label_smoothing.to_string());
    }
    match loss {
        PreferenceLoss::Simpo => row("gamma, CPO alpha", format!("{}, {}", preference.gamma(), preference.cpo_alpha())),
        PreferenceLoss::Cpo => row("CPO alpha", preference.cpo_alpha().to_string()),
        PreferenceLoss::Kto => {
            let [good, bad] = [true, false].map(|desirable| preference.weight(desirable));
            row("weights of desirable and undesirable answers", format!("{good}, {bad}"));
        }
        PreferenceLoss::Dpo | PreferenceLoss::Orpo => {}
    }
    if loss.needs_reference() {
        let start = if recipe.lora.adapter.is_empty() { "adapter off" } else { "the adapter that it went on with" };
        let when = if preference.reference == Reference::Precomputed { ", computed once" } else { "" };
        row("reference", format!("the base with {start}{when}"));
    }
    let longest = match preference.max_prompt_length {
        0 => "whole".into(),
        n => format!("last {} tokens", grouped(n as u64)),
    };
    row("questions", longest);
}

fn licences(facts: &Facts) -> String {
    let recipe = &facts.lock.recipe;
    let mut out = String::from("## Licences\n\n");
    let _ = match recipe.model.license.as_str() {
        "" => writeln!(out, "- base model: **not stated in the recipe**; find it out before you pass the adapter on"),
        license => writeln!(out, "- base model: {}", plain(license)),
    };
    if let Some((_, duties)) = notice(&recipe.model.license) {
        let _ = writeln!(out, "- it asks of whoever passes the adapter on: {duties}");
    }
    for data in &facts.lock.data {
        let license = match data.license.as_str() {
            "" => "**not stated**",
            "other" => "`other`: a source has a licence of its own; its card says which",
            license => license,
        };
        let _ = writeln!(out, "- data, {}: {license}", plain(&data.name));
    }
    out.push_str("\nThe adapter falls under all of them.\n");
    out
}

fn again(facts: &Facts) -> String {
    let lock = facts.lock;
    let versions: Vec<String> = lock.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut out = format!(
        "## How to make it again\n\n```\n{}\n```\n\n`{}` holds the recipe as it was resolved and the hashes of the base, \
         the tokenizer, the template and the data. Engine: {}; versions: {}; adapter format: PEFT's LoRA.\n",
        lock.command,
        super::lock::NAME,
        lock.engine,
        versions.join(", ")
    );
    if !lock.adapter.is_empty() {
        out.push_str("\n| file | bytes | SHA-256 |\n|---|---:|---|\n");
        for file in &lock.adapter {
            let _ = writeln!(out, "| {} | {} | `{}` |", cell(&file.file), grouped(file.bytes), file.sha256);
        }
    }
    out
}

/// The parts of a path below the working folder; none for any other, which is nobody's but this machine's.
fn here(path: &Path) -> Option<Vec<&str>> {
    let parts = path.components().filter(|c| *c != Component::CurDir);
    parts.map(|c| if let Component::Normal(part) = c { part.to_str() } else { None }).collect()
}

/// The way from the folder `from` to the file `to`.
fn link(from: &Path, to: &Path) -> Option<String> {
    let (from, to) = (here(from)?, here(to)?);
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let way: Vec<&str> = from[shared..].iter().map(|_| "..").chain(to[shared..].iter().copied()).collect();
    let way = way.join("/");
    (!way.contains(['<', '>', '\n', '\\'])).then_some(way)
}

fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|n| n.to_str()).unwrap_or(path)
}

/// A setting as the recipe spells it.
pub(crate) fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Text of others on one line, with nothing that Markdown or HTML would act on.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if "\\`*_[]<>#".contains(c) && !(c == '_' || c == '#') || (c == '#' && out.is_empty()) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// [`plain`] text in a table.
pub(crate) fn cell(text: &str) -> String {
    plain(text).replace('|', "\\|")
}

/// A Python string; JSON's escapes are Python's, too.
fn python(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// One word of a shell.
fn shell(text: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || "-_./+=:,@".contains(c);
    if text.chars().all(safe) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests;
