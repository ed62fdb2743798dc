//! A training recipe from its file: laid over its `base = "sft.toml"`, changed by `--set`, and checked before a weight
//! is read.

use std::path::Path;

use setaccio_base::{
    bundle::Place,
    overlay::{apply_set, overlay},
    run_lock::Method,
    shell, suggest,
};
use toml::{Table, Value};

use super::{
    lora::{EMBEDDING, FUSED, HEAD, Init, LINEARS, Lora, TABLES, is_linear},
    preference::{PreferenceLoss, Reference},
    schema::{Packing, Quantization, Recipe, Task},
};
use crate::error::{Error, Result};

/// A recipe and where it came from.
#[derive(Clone, Debug)]
pub struct RecipeFile {
    /// The recipe with all changes in place.
    pub recipe: Recipe,
    /// Its file name, for messages.
    pub file: String,
    /// Where it is, and so what `template` and `tokenizer` are relative to.
    pub place: Place,
    /// `--set` arguments, in order.
    pub sets: Vec<String>,
}

impl RecipeFile {
    /// The command that makes the same run again.
    pub fn command(&self) -> String {
        let sets = self.sets.iter().map(|set| format!(" --set {}", shell::word(set)));
        let recipe = self.place.argument().display().to_string();
        format!("setaccio train {}{}", shell::word(&recipe), sets.collect::<String>())
    }
}

/// Folder of the repository that these recipes lie in.
pub const HOME: &str = "pipelines/train";

/// Read a recipe, a file or the name of one that the program carries, lay it over its base, apply `--set key=value`, and check it.
///
/// # Errors
/// It is missing, not TOML, says something unknown, or contradicts itself.
pub fn load(path: &Path, sets: &[String]) -> Result<RecipeFile> {
    let place = Place::recipe(path, HOME).map_err(Error::Other)?;
    let file = place.name();
    let mut table = read(&place)?;
    for set in sets {
        apply_set(&mut table, set).map_err(|e| Error::recipe(&file, e))?;
    }
    // What is written out names the table and key that is meant; on one line.
    let said = |e: &toml::de::Error| e.to_string().trim_end().replace('\n', " ");
    let mut recipe: Recipe = table.clone().try_into().map_err(|e: toml::de::Error| {
        let named = suggest::as_word(&table, &said(&e)).and_then(|table| table.try_into::<Recipe>().err());
        let e = named.unwrap_or(e);
        Error::recipe(&file, suggest::explain(&said(&e), e.message()))
    })?;
    if recipe.method == Method::Full {
        // What a recipe below it says of an adapter decides nothing here; but for one to go on with, which is refused.
        recipe.lora = Lora { adapter: recipe.lora.adapter, ..Lora::default() };
    }
    check(&recipe).map_err(|e| Error::recipe(&file, e))?;
    Ok(RecipeFile { recipe, file, place, sets: sets.to_vec() })
}

fn read(place: &Place) -> Result<Table> {
    let file = place.name();
    let text = place.text().map_err(Error::io("read the recipe", place.path()))?;
    let mut table: Table =
        text.parse().map_err(|e: toml::de::Error| Error::recipe(&file, e.to_string().trim_end().to_owned()))?;
    match table.remove("base") {
        None => Ok(table),
        Some(Value::String(base)) => {
            let below = place.beside(&base);
            if below == *place {
                return Err(Error::recipe(&file, "`base` names this very file"));
            }
            let mut under = read(&below)?;
            // It says what that one is.
            under.remove("title");
            overlay(&mut under, table);
            Ok(under)
        }
        Some(_) => Err(Error::recipe(&file, "`base` is the file name of another recipe")),
    }
}

fn check(recipe: &Recipe) -> std::result::Result<(), String> {
    let (lora, train, data) = (&recipe.lora, &recipe.train, &recipe.data);
    if matches!(recipe.name.as_str(), "" | "." | "..") || recipe.name.contains(['/', '\\']) {
        return Err("`name` names a folder below runs/: letters, digits, - and _".into());
    }
    if lora.r == 0 || lora.targets.is_empty() {
        return Err("`lora.r` is at least 1 and `lora.targets` names at least one layer".into());
    }
    for (i, target) in lora.targets.iter().enumerate() {
        if !is_linear(target) && !TABLES.contains(&target.as_str()) {
            let all: Vec<&str> = LINEARS.into_iter().chain(FUSED.map(|(fused, _)| fused)).chain(TABLES).collect();
            return Err(format!("lora.targets: there is no `{target}`; there are {}", all.join(", ")));
        }
        if lora.targets[..i].contains(target) {
            return Err(format!("lora.targets names `{target}` twice"));
        }
    }
    let ranges = [
        ("lora.alpha", lora.alpha, f64::MIN_POSITIVE, f64::MAX),
        ("lora.dropout", lora.dropout, 0.0, 0.999),
        ("train.learning_rate", train.learning_rate, 0.0, 10.0),
        ("train.warmup_ratio", train.warmup_ratio, 0.0, 1.0),
        ("train.weight_decay", train.weight_decay, 0.0, 10.0),
        ("train.betas[0]", train.betas[0], 0.0, 0.999_999_9),
        ("train.betas[1]", train.betas[1], 0.0, 0.999_999_9),
        ("train.eps", train.eps, f64::MIN_POSITIVE, 1.0),
        ("train.max_grad_norm", train.max_grad_norm, 0.0, f64::MAX),
        ("train.lora_plus_ratio", train.lora_plus_ratio, f64::MIN_POSITIVE, 1e4),
        ("train.neftune_alpha", train.neftune_alpha, 0.0, 1e4),
        ("train.memory_gib", train.memory_gib, 0.0, f64::MAX),
        ("train.epochs", train.epochs, 0.0, 1e6),
        ("eval.min_delta", recipe.eval.min_delta, 0.0, f64::MAX),
    ];
    for (name, value, low, high) in ranges {
        if !(low..=high).contains(&value) {
            // The least and the greatest f64 are no bounds to tell a person of.
            let low = if low > 0.0 { "above 0".to_owned() } else { format!("at least {low}") };
            let high = if high < f64::MAX { format!("at most {high}") } else { "finite".to_owned() };
            return Err(format!("`{name}` is {value}; it has to be {low} and {high}"));
        }
    }
    // More would be a slip of the hand, and sizes are multiplied with each other.
    let sizes = [("lora.r", lora.r), ("train.batch", train.batch), ("train.accumulation", train.accumulation)];
    if let Some((name, value)) = sizes.into_iter().find(|(_, value)| *value > 1 << 16) {
        return Err(format!("`{name}` is {value}; it has to be at most 65536"));
    }
    if train.batch == 0 || train.accumulation == 0 || train.log_every == 0 {
        return Err("`train.batch`, `train.accumulation` and `train.log_every` are at least 1".into());
    }
    if train.max_steps == 0 && train.epochs == 0.0 {
        return Err("give `train.epochs` or `train.max_steps`".into());
    }
    if train.warmup_steps > 0 && train.warmup_ratio > 0.0 {
        return Err("`train.warmup_steps` and `train.warmup_ratio` say the same: keep one".into());
    }
    if data.max_length < 2 {
        return Err("`data.max_length` is at least 2".into());
    }
    if data.train.is_empty() {
        return Err("`data.train` names at least one folder that `setaccio build` wrote".into());
    }
    if !lora.adapter.is_empty() && lora.init != Init::default() {
        return Err(
            "`lora.adapter` goes on with an adapter, and `lora.init` says how a new one starts: keep one".into()
        );
    }
    if recipe.eval.patience > 0 && recipe.eval.every == 0 {
        return Err("`eval.patience` counts evaluations, and there is one at the end only: set `eval.every`".into());
    }
    if recipe.eval.min_delta > 0.0 && recipe.eval.patience == 0 {
        return Err("`eval.min_delta` is read with `eval.patience` only".into());
    }
    check_task(recipe)?;
    check_method(recipe)?;
    check_added(recipe)?;
    check_tables(recipe)?;
    if recipe.checkpoint.keep == 0 {
        return Err("`checkpoint.keep` is at least 1: a run that keeps none cannot be resumed".into());
    }
    Ok(())
}

fn check_method(recipe: &Recipe) -> std::result::Result<(), String> {
    if recipe.method == Method::Lora {
        return Ok(());
    }
    if recipe.model.quantization != Quantization::None {
        return Err("`method = \"full\"` trains every weight, and 4 bits are too coarse for that: set \
                    `model.quantization = \"none\"`, or train an adapter with `method = \"lora\"`"
            .into());
    }
    if !recipe.lora.adapter.is_empty() {
        return Err(
            "`lora.adapter` goes on with an adapter, and `method = \"full\"` trains none: merge it first, and \
                    name the merged model as `model.path`"
                .into(),
        );
    }
    if (recipe.train.lora_plus_ratio - 1.0).abs() > 0.0 {
        return Err("`train.lora_plus_ratio` is of adapters, and `method = \"full\"` trains none: set it to 1".into());
    }
    Ok(())
}

/// Tokens that are added can be, and their rows are learned.
fn check_added(recipe: &Recipe) -> std::result::Result<(), String> {
    let (added, lora) = (recipe.model.added(), &recipe.lora);
    for (i, (token, _)) in added.iter().enumerate() {
        if token.trim().is_empty() || *token != token.trim() {
            return Err(format!("a token that is added begins and ends with no white space: {token:?} does"));
        }
        if added[..i].iter().any(|(before, _)| before == token) {
            return Err(format!("{token:?} is added twice"));
        }
    }
    if added.is_empty() {
        return if recipe.model.added_stay {
            Err("`model.added_stay` is read with `model.add_tokens` or `model.add_special_tokens` only".into())
        } else {
            Ok(())
        };
    }
    let learned = recipe.method == Method::Full
        || lora.covers(EMBEDDING)
        || lora.saves(EMBEDDING)
        || lora.covers(HEAD)
        || lora.saves(HEAD);
    match (learned, recipe.model.added_stay) {
        (false, false) => Err("tokens are added, and nothing learns their rows: name embed_tokens and lm_head in \
                               `lora.modules_to_save` or in `lora.targets`, or let them stay what they begin as with \
                               `model.added_stay = true`"
            .into()),
        _ => Ok(()),
    }
}

/// What goes with an adapter on embedding or head, and with modules that are trained whole.
fn check_tables(recipe: &Recipe) -> std::result::Result<(), String> {
    let lora = &recipe.lora;
    if let Some(twice) = lora.modules_to_save.iter().enumerate().find(|(i, n)| lora.modules_to_save[..*i].contains(n)) {
        return Err(format!("lora.modules_to_save names `{}` twice", twice.1));
    }
    if lora.use_dora {
        let with = if lora.dropout > 0.0 {
            Some("lora.dropout: set it to 0")
        } else if lora.init == Init::Pissa {
            Some("lora.init = \"pissa\": keep one")
        } else if lora.targets.iter().any(|target| TABLES.contains(&target.as_str())) {
            Some("an adapter upon embedding or head: name them in `lora.modules_to_save`")
        } else {
            None
        };
        if let Some(with) = with {
            return Err(format!("`lora.use_dora` does not go with {with}"));
        }
    }
    let table = TABLES.into_iter().find(|table| lora.targets.iter().any(|target| target == table));
    if let Some(table) = table.filter(|_| lora.init == Init::Pissa) {
        return Err(format!(
            "`lora.init = \"pissa\"` takes linear layers apart, and lora.targets names `{table}`: keep one"
        ));
    }
    if (recipe.train.lora_plus_ratio - 1.0).abs() > 0.0 && table.is_some() {
        return Err(
            "`train.lora_plus_ratio` is of linear layers: leave embedding and head out of `lora.targets`, or name \
                    them in `lora.modules_to_save`"
                .into(),
        );
    }
    Ok(())
}

fn check_task(recipe: &Recipe) -> std::result::Result<(), String> {
    if recipe.task != Task::Preference {
        return match recipe.preference {
            Some(_) => Err("`[preference]` is read with `task = \"preference\"` only".into()),
            None => Ok(()),
        };
    }
    let preference = recipe.preference();
    preference.check()?;
    if recipe.data.packing == Packing::Bfd {
        let message = "`data.packing = \"bfd\"` joins texts, and answers are learned side by side, without padding \
                       between them: set it to \"none\" or \"length\"";
        return Err(message.into());
    }
    if preference.loss == PreferenceLoss::Kto {
        if recipe.train.batch < 2 {
            let message = "`train.batch` is 1, and KTO compares with the answers to other questions of a micro-batch: \
                           set it to 2 or more";
            return Err(message.into());
        }
        if preference.reference == Reference::Precomputed {
            let message = "`preference.reference = \"precomputed\"` does not go with KTO, whose reference also reads \
                           answers to other questions of each micro-batch: leave it out";
            return Err(message.into());
        }
    }
    Ok(())
}
