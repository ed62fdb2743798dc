//! What a recipe says of a rule, as a person reads it.

use setaccio_dataset::{
    decontamination::Decontamination,
    folder::RECIPE_LOCK,
    recipe::{FilterTable, Near, Recipe, Semantic},
    repeats::Repeats,
};

use crate::{
    error::{Error, Result},
    pipeline::{
        filter::DECONTAMINATION,
        rejects::{NEAR, REPEATS, SEMANTIC},
    },
};

/// A recipe's tables under the names that recipes have today: `[[screen]]` of a lock is `[[filter]]`.
///
/// # Errors
/// A value that TOML cannot hold.
pub fn tables(recipe: &Recipe) -> Result<toml::Table> {
    let mut tables = toml::Table::try_from(recipe).map_err(|e| Error::damaged(RECIPE_LOCK, e.to_string()))?;
    if let Some(filters) = tables.remove("screen") {
        tables.insert("filter".into(), filters);
    }
    Ok(tables)
}

/// What a rule of a stage, as rejects and ledger call it, is told to do.
pub fn told(recipe: &Recipe, stage: &str, rule: &str) -> Option<String> {
    if stage == "screen" { of_filter(recipe, rule) } else { of_stage(recipe, rule) }
}

/// The recipe's table of a filter. `length#2` is the second `length`, `clean_mc4_it.curly` a part of its rule.
pub fn table<'r>(recipe: &'r Recipe, rule: &str) -> Option<&'r FilterTable> {
    let (name, number) = match rule.rsplit_once('#') {
        Some((name, number)) => (name, number.parse().ok()?),
        None => (rule, 1_usize),
    };
    let whole = name.split('.').next().unwrap_or(name);
    let called = |table: &&FilterTable| match &table.alias {
        Some(alias) => alias == name || alias == whole,
        None => table.rule == name || table.rule == whole,
    };
    recipe.filter.iter().filter(called).nth(number.checked_sub(1)?)
}

fn of_filter(recipe: &Recipe, rule: &str) -> Option<String> {
    if rule == DECONTAMINATION {
        return recipe.decontamination.as_ref().map(Decontamination::told);
    }
    let table = table(recipe, rule)?;
    let settings: Vec<String> = table.settings.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    Some(format!("rule = {:?}{}", table.rule, settings.iter().flat_map(|s| [", ", s]).collect::<String>()))
}

/// What is looked for by what drops rows without being a filter.
fn of_stage(recipe: &Recipe, rule: &str) -> Option<String> {
    match rule {
        NEAR => recipe.dedup.as_ref()?.near.as_ref().map(Near::told),
        SEMANTIC => recipe.semantic().map(Semantic::told),
        REPEATS => recipe.repeats().map(Repeats::told),
        _ => None,
    }
}
