//! README.md of a run: a model card that the Hub reads, in which every number comes from the lock or the metrics.

use std::fmt::Write as _;

use setaccio_curate::card::{grouped, quoted};

use super::{
    lock::{Data, RunLock},
    metrics::Line,
};
use crate::recipe::{Packing, Quantization, Recipe, TrainOn};

/// What a card tells besides lock and metrics.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The run's.
    pub lock: &'a RunLock,
    /// All that was logged.
    pub lines: &'a [Line],
    /// Numbers that were trained.
    pub trainable: usize,
    /// Steps.
    pub steps: u64,
    /// Passes over the data.
    pub epochs: f64,
    /// Rows learned from, rows cut short, rows left out as too long.
    pub rows: [u64; 3],
    /// Tokens of those rows, and how many of them are learned.
    pub tokens: [u64; 2],
    /// Where the base was, for the command that tries the adapter.
    pub base: String,
}

/// The card.
pub fn markdown(facts: &Facts<'_>) -> String {
    let mut text = front(facts.lock);
    let recipe = &facts.lock.recipe;
    let base = base(recipe);
    let title = if recipe.title.is_empty() { &recipe.name } else { &recipe.title };
    let _ = writeln!(text, "\n# {}: {title}\n", recipe.name);
    let _ = writeln!(
        text,
        "A LoRA adapter for {base}, fine-tuned with [Setaccio](https://github.com/setaccio/setaccio) on {} rows for {} \
         steps ({:.2} passes).\n",
        grouped(facts.rows[0]),
        grouped(facts.steps),
        facts.epochs
    );
    losses(&mut text, facts.lines);
    data(&mut text, facts);
    parameters(&mut text, facts);
    usage(&mut text, facts, &base);
    text
}

fn base(recipe: &Recipe) -> String {
    match (recipe.model.repo.as_str(), recipe.model.path.as_str()) {
        ("", "tiny") => "the tiny model in `base/`, made by the program itself".into(),
        ("", path) => format!("the model at `{path}`"),
        (repo, _) => format!("[{repo}](https://huggingface.co/{repo})"),
    }
}

fn list(text: &mut String, key: &str, values: &mut Vec<String>) {
    values.sort();
    values.dedup();
    if !values.is_empty() {
        let _ = writeln!(text, "{key}:");
        for value in values {
            let _ = writeln!(text, "  - {}", quoted(value));
        }
    }
}

fn front(lock: &RunLock) -> String {
    let recipe = &lock.recipe;
    let mut text = String::from("---\nlibrary_name: peft\npipeline_tag: text-generation\n");
    if !recipe.model.repo.is_empty() {
        let _ = writeln!(text, "base_model: {}\nbase_model_relation: adapter", quoted(&recipe.model.repo));
    }
    if !recipe.model.license.is_empty() {
        let _ = writeln!(text, "license: {}", quoted(&recipe.model.license));
    }
    list(&mut text, "language", &mut lock.data.iter().flat_map(|d| d.languages.clone()).collect());
    list(
        &mut text,
        "datasets",
        &mut lock.data.iter().flat_map(|d| d.repos.clone()).filter(|r| !r.is_empty()).collect(),
    );
    text + "tags:\n  - lora\n  - setaccio\n---\n"
}

fn losses(text: &mut String, lines: &[Line]) {
    let last = |key: &str| lines.iter().rev().find_map(|l| Some((l.step, l.get(key)?)));
    let first = |key: &str| lines.iter().find_map(|l| Some((l.step, l.get(key)?)));
    let best = lines.iter().filter_map(|l| Some((l.step, l.get("eval_loss")?))).min_by(|a, b| a.1.total_cmp(&b.1));
    text.push_str("![loss, learning rate and gradient norm](loss.svg)\n\n| | step | loss (nats a token) | perplexity |\n|---|---|---|---|\n");
    let rows = [
        ("training, first line", first("loss")),
        ("training, last line", last("loss")),
        ("evaluation, best", best),
        ("evaluation, last", last("eval_loss")),
    ];
    for (name, found) in rows {
        if let Some((step, loss)) = found {
            let _ = writeln!(text, "| {name} | {} | {loss:.4} | {:.3} |", grouped(step), loss.exp());
        }
    }
    if last("eval_loss").is_none() {
        text.push_str("\nThe data has no validation split, so there is no evaluation.\n");
    } else if let Some((_, accuracy)) = last("eval_mean_token_accuracy") {
        let _ = writeln!(text, "\nOf the tokens held back, {:.1}% were the model's first choice.", 100.0 * accuracy);
    }
}

fn data(text: &mut String, facts: &Facts<'_>) {
    let [rows, cut, dropped] = facts.rows.map(grouped);
    let [tokens, trained] = facts.tokens.map(grouped);
    text.push_str("\n## Data\n\n| data set | rows | licence | recipe.lock.toml |\n|---|---|---|---|\n");
    for Data { name, title, folder, recipe_lock_sha256, license, rows, .. } in &facts.lock.data {
        let rows: Vec<String> = rows.iter().map(|(split, n)| format!("{} {split}", grouped(*n))).collect();
        let hash = &recipe_lock_sha256[..recipe_lock_sha256.len().min(12)];
        let title = if title.is_empty() { name } else { title };
        let _ = writeln!(
            text,
            "| {title} (`{folder}`, its card: `{folder}/README.md`) | {} | {license} | `{hash}` |",
            rows.join(", ")
        );
    }
    let how = match facts.lock.recipe.data.train_on {
        TrainOn::Assistant => "the assistant's turns and the token that ends each",
        TrainOn::Completion => "the last answer and the token that ends it",
        TrainOn::All => "all tokens",
    };
    let _ = writeln!(
        text,
        "\n{rows} rows with {tokens} tokens, of which {trained} are learned: {how}. {cut} rows were cut to \
         {} tokens, {dropped} were left out as too long.",
        grouped(facts.lock.recipe.data.max_length as u64)
    );
}

fn parameters(text: &mut String, facts: &Facts<'_>) {
    let Recipe { lora, train, data, model, seed, .. } = &facts.lock.recipe;
    let scaling = if lora.rslora { " (rank-stabilised)" } else { "" };
    let precision = match model.quantization {
        Quantization::None => "as stored".to_owned(),
        Quantization::Nf4 => format!("NF4{}", if model.double_quant { ", double quantisation" } else { "" }),
    };
    let packing = match data.packing {
        Packing::Bfd => "best fit, decreasing; no document sees another",
        Packing::None => "none",
        Packing::Length => "none, batches of like length",
    };
    let rows = [
        ("rank, alpha", format!("{}, {}{scaling}", lora.r, lora.alpha)),
        ("dropout", lora.dropout.to_string()),
        ("target modules", lora.targets.join(", ")),
        ("trained parameters", grouped(facts.trainable as u64)),
        ("base precision", precision),
        ("batch x accumulation", format!("{} x {}", train.batch, train.accumulation)),
        ("sequence length", grouped(data.max_length as u64)),
        ("packing", packing.to_owned()),
        ("learning rate", format!("{:e}, {}", train.learning_rate, word(&train.schedule))),
        (
            "warmup",
            if train.warmup_steps > 0 {
                format!("{} steps", train.warmup_steps)
            } else {
                format!("{} of all steps", train.warmup_ratio)
            },
        ),
        (
            "optimiser",
            format!("{}, betas {:?}, weight decay {}", word(&train.optimizer), train.betas, train.weight_decay),
        ),
        ("gradient clipping", train.max_grad_norm.to_string()),
        ("seed", seed.to_string()),
        ("computed in", facts.lock.compute.clone()),
        ("versions", facts.lock.versions.iter().map(|(name, v)| format!("{name} {v}")).collect::<Vec<_>>().join(", ")),
    ];
    text.push_str("\n## Parameters\n\n| | |\n|---|---|\n");
    for (name, value) in rows {
        let _ = writeln!(text, "| {name} | {value} |");
    }
}

/// A setting as the recipe writes it.
fn word(setting: &impl serde::Serialize) -> String {
    serde_json::to_value(setting).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn usage(text: &mut String, facts: &Facts<'_>, base: &str) {
    let repo = &facts.lock.recipe.model.repo;
    let name = if repo.is_empty() { &facts.base } else { repo };
    let _ = write!(
        text,
        "\n## Use\n\n```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
         model = AutoModelForCausalLM.from_pretrained({name:?})\nmodel = PeftModel.from_pretrained(model, \"adapter\")\n\
         tokenizer = AutoTokenizer.from_pretrained(\"adapter\")\n```\n\n\
         ```\nsetaccio generate --model {} --adapter adapter --prompt \"Perché il cielo è blu?\"\n```\n\n\
         ## Make it again\n\n```\n{}\n```\n\n`run.lock.toml` has the recipe with every default in place and the SHA-256 of \
         the base, the tokenizer, the data and the adapter. The base is {base}; its licence is {}.\n",
        facts.base,
        facts.lock.command,
        if facts.lock.recipe.model.license.is_empty() {
            "not stated in the recipe".into()
        } else {
            format!("`{}`", facts.lock.recipe.model.license)
        }
    );
}
