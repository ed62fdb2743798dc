//! Which parts of a lock decide the numbers, as plain keys and values that can be hashed and compared.

use setaccio_base::flat::{Flat, flat};
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
    "texts",
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
pub fn deciding(lock: &Value, recipe: &Recipe, length: Length) -> Flat {
    let mut found = flat(lock, &|kind| FREE.contains(&kind));
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
