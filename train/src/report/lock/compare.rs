//! Which parts of a lock decide the numbers, as plain keys and values that can be hashed and compared.

use std::collections::BTreeMap;

use toml::Value;

use crate::recipe::{Method, Recipe, Schedule};

/// What may change between a run and its resumption. Paths and names are here because the hashes of what
/// they lead to decide; recomputation, because it repeats the same arithmetic.
const FREE: &[&str] = &[
    "checkpoint.every",
    "checkpoint.keep",
    "command",
    "data.template",
    "data.train",
    "data[].folder",
    "data[].languages",
    "data[].license",
    "data[].others",
    "data[].repos",
    "data[].rows",
    "data[].title",
    "eval.prompts",
    "eval.sample_tokens",
    "eval.samples",
    "evaluations",
    "instructions",
    "made",
    "model.license",
    "model.path",
    "model.repo",
    "model.revision",
    "model.tokenizer",
    "name",
    "title",
    "train.device",
    "train.dtype",
    "train.log_every",
    "train.memory_gib",
    "train.recompute",
];

/// Whether the number of steps is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// It decides, as far as the schedule of the learning rate goes by it.
    Counts,
    /// A run may be gone on with to another one.
    Aside,
}

/// Key and value of everything that decides; a recipe's keys are as in its file.
pub fn deciding(lock: &Value, recipe: &Recipe, length: Length) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    flatten("", "", lock, &mut found);
    if recipe.method == Method::Full {
        found.retain(|key, _| !key.starts_with("lora."));
    }
    let train = &recipe.train;
    // When a run is evaluated decides when it stops, and which of its states is the best.
    let by_evaluations = recipe.eval.patience > 0 || recipe.checkpoint.load_best_model_at_end;
    if !by_evaluations {
        found.remove("eval.every");
    }
    if recipe.eval.patience == 0 || length == Length::Aside {
        found.retain(|key, _| !["eval.patience", "eval.min_delta"].contains(&key.as_str()));
    }
    if train.max_steps > 0 {
        found.remove("train.epochs");
    }
    // Without a schedule that ends, how far a run goes changes no step of it.
    let endless = train.schedule == Schedule::Constant && train.warmup_ratio <= 0.0;
    if endless || length == Length::Aside {
        found
            .retain(|key, _| !["train.max_steps", "train.epochs"].contains(&key.as_str()) && !key.starts_with("legs["));
    }
    found
}

/// `kind` is `key` without the labels of the tables it passes through.
fn flatten(key: &str, kind: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    if FREE.contains(&kind) {
        return;
    }
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                if kind.is_empty() && name == "recipe" {
                    flatten("", "", value, found);
                } else {
                    let under =
                        |parent: &str| if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
                    flatten(&under(key), &under(kind), value, found);
                }
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            let labels: Vec<String> = items.iter().enumerate().map(|(i, item)| label(i, item)).collect();
            // The order counts, too: it decides the order of the rows.
            found.insert(format!("{key}[]"), labels.join(", "));
            for (i, item) in items.iter().enumerate() {
                // Two folders may hold builds of the same name.
                let twice = labels[..i].iter().filter(|l| **l == labels[i]).count();
                let nth = if twice > 0 { format!(" {}", twice + 1) } else { String::new() };
                flatten(&format!("{key}[{}{nth}]", labels[i]), &format!("{kind}[]"), item, found);
            }
        }
        value => {
            found.insert(key.to_owned(), scalar(value));
        }
    }
}

fn label(i: usize, item: &Value) -> String {
    let name = ["name", "file"].iter().find_map(|k| item.get(k)?.as_str());
    name.map_or_else(|| i.to_string(), str::to_owned)
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // Debug has an exponent for small numbers, and every digit that counts.
        Value::Float(number) => format!("{number:?}"),
        Value::Array(items) => format!("[{}]", items.iter().map(scalar).collect::<Vec<_>>().join(", ")),
        value => value.to_string(),
    }
}

/// A hash by its first digits, nothing as `none`; everything else as it is.
pub fn short(value: &str) -> String {
    match value {
        "" => "none".to_owned(),
        hash if hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => hash[..12].to_owned(),
        value => value.to_owned(),
    }
}
