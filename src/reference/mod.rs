//! The reference of the book, made of what the program itself goes by: the registries of rules and schemas, the structs
//! that recipes are read into, and the command line's own definition.

use std::fmt::Write as _;

use anyhow::Result;
#[cfg(feature = "train")]
use clap::CommandFactory;
use schemars::JsonSchema;
use serde_json::Value;
use setaccio_curate::source::SCHEMAS;
use setaccio_dataset::recipe::Recipe;
use setaccio_filters::registry::{RULES, RuleInfo};

pub mod keys;

use keys::{Key, Table, tables};

/// Every page: file name and Markdown.
pub fn pages() -> Result<Vec<(&'static str, String)>> {
    let recipe = schema::<Recipe>();
    Ok(vec![
        ("rules.md", rules()?),
        ("schemas.md", schemas()),
        ("recipe.md", page("Keys of a recipe", RECIPE) + &all_keys(&recipe)),
        #[cfg(feature = "train")]
        ("training.md", training()),
        #[cfg(feature = "train")]
        ("evaluation.md", evaluation()),
        // Without the trainer, its commands are there and take nothing.
        #[cfg(feature = "train")]
        ("cli.md", commands()),
    ])
}

const RECIPE: &str = "A recipe of `setaccio build` is a TOML file with these keys; an unknown key is an error. `--set \
    key=value` changes one of them for a run: `--set sample.rows=1000`, `--set filter.language.threshold=0.8`.";
#[cfg(feature = "train")]
const TRAINING: &str = "A recipe of `setaccio train` is a TOML file with these keys; an unknown key is an error. \
    `base = \"other.toml\"` takes over what another recipe says, and `--set key=value` changes one key for a run: \
    `--set train.epochs=1`.";
#[cfg(feature = "train")]
const CHAIN: &str = "A recipe of `setaccio train-all` names the runs of a chain, each upon the model that the one before \
    it made.";

#[cfg(feature = "train")]
const TASK: &str = "A task of `setaccio eval` is a TOML file with these keys; an unknown key is an error. Templates are Jinja over the \
    columns of a row; what a row has not is an error, unless the template asks.";

/// What a recipe's structs say of their keys, by name.
fn schema<T: JsonSchema>() -> Value {
    let mut schema = schemars::schema_for!(T).to_value();
    schema.sort_all_objects();
    schema
}

/// The head of a page, which nobody should edit.
fn page(title: &str, about: &str) -> String {
    format!("<!-- Written by `setaccio docs`. Do not edit. -->\n\n# {title}\n\n{about}\n")
}

fn rules() -> Result<String> {
    let mut page = page(
        "Rules",
        "A table `[[filter]]` of a recipe names a rule by `rule`; `as` names it in the ledger and the rejects; the rest \
         are the rule's settings. Rules run in the order of the recipe. `setaccio rules NAME` prints this page's text on \
         one of them.\n\n| rule | for | what it does |\n|---|---|---|",
    );
    for rule in RULES {
        let doc = doc(&(rule.schema)());
        let what = doc.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        let _ = writeln!(page, "| [`{0}`](#{0}) | {1} | {what} |", rule.name, kinds(rule.kinds));
    }
    for rule in RULES {
        let schema = (rule.schema)();
        let doc = doc(&schema).replace("\n# ", "\n### ");
        let _ = write!(page, "\n## `{}`\n\nFor {}. {doc}\n\n### Settings\n\n", rule.name, kinds(rule.kinds));
        settings(&mut page, &tables(&schema));
        let _ = write!(page, "\nWith nothing said:\n\n```toml\n{}```\n", defaults(rule)?);
    }
    Ok(page)
}

/// The keys of a rule; of a table among them, which rule's settings it holds.
fn settings(page: &mut String, tables: &[Table]) {
    let Some((own, nested)) = tables.split_first() else { return };
    own.keys.iter().for_each(|k| key(page, k));
    for table in nested.iter().filter(|t| !t.head.contains('.')) {
        let _ = writeln!(page, "- **`{}`**: table. {}", table.head.trim_matches(['[', ']']), table.about);
    }
}

fn schemas() -> String {
    let mut page = page(
        "Schemas",
        "`schema` of a `[[source]]` says how its columns are laid out. Columns that a schema does not take are kept \
         beside the row, where rules and `output.keep` find them. `rename` maps names that differ, and `template` makes a column of others. `setaccio schemas NAME` \
         prints this page's text on one of them.\n\n| schema | rows | data sets |\n|---|---|---|",
    );
    for schema in SCHEMAS {
        // A bar would end the cell.
        let about = schema.about().replace('|', "\\|");
        let _ = writeln!(page, "| [`{0}`](#{0}) | {1} | {about} |", schema.name(), schema.kind().name());
    }
    for schema in SCHEMAS {
        let _ =
            write!(page, "\n## `{}`\n\nRows of kind {}: {}.\n\n", schema.name(), schema.kind().name(), schema.about());
        for column in schema.columns() {
            let need = if column.required { "required" } else { "optional" };
            let _ = writeln!(page, "- **`{}`**: {need}. {}", column.name, column.about);
        }
        let _ = writeln!(page, "\n```json\n{}\n```", schema.example());
    }
    page
}

#[cfg(feature = "train")]
fn training() -> String {
    let recipe = schema::<setaccio_train::recipe::Recipe>();
    let chain = schema::<setaccio_train::chain::schema::Chain>();
    let page = page("Keys of a training recipe", TRAINING) + &all_keys(&recipe);
    format!("{page}\n# Keys of a chain\n\n{CHAIN}\n{}", all_keys(&chain))
}

#[cfg(feature = "train")]
fn evaluation() -> String {
    page("Keys of a task", TASK) + &all_keys(&schema::<setaccio_eval::recipe::Task>())
}

/// The keys of a recipe, table by table.
fn all_keys(schema: &Value) -> String {
    let mut page = String::new();
    for table in tables(schema) {
        let head = if table.head.is_empty() { "Above all tables".to_owned() } else { format!("`{}`", table.head) };
        let about = if table.head.is_empty() { String::new() } else { format!("\n{}\n", table.about) };
        let gap = if table.keys.is_empty() { "" } else { "\n" };
        let _ = write!(page, "\n## {head}\n{about}{gap}");
        table.keys.iter().for_each(|k| key(&mut page, k));
    }
    page
}

/// One key as an entry of a list, and its values below it.
fn key(page: &mut String, key: &Key) {
    let default = key.default.as_ref().map_or_else(String::new, |d| format!("; default `{d}`"));
    let need = if key.required { "; required" } else { &default };
    let _ = writeln!(page, "- **`{}`**: {}{need}. {}", key.name, key.kind, key.about);
    for (value, about) in key.values.iter().filter(|(_, about)| !about.is_empty()) {
        let _ = writeln!(page, "    - `{value}`: {about}");
    }
}

#[cfg(feature = "train")]
fn commands() -> String {
    let mut cli = crate::Cli::command();
    cli.build();
    let mut page = page("Commands", &cli.get_about().map(ToString::to_string).unwrap_or_default());
    cli.get_subcommands().for_each(|c| command(&mut page, c));
    if let Some(more) = cli.get_after_help() {
        let _ = write!(page, "\n## Exit codes\n\n```text\n{more}\n```\n");
    }
    page
}

/// A command and those below it.
#[cfg(feature = "train")]
fn command(page: &mut String, of: &clap::Command) {
    if of.is_hide_set() || of.get_name() == "help" {
        return;
    }
    let about = of.get_long_about().or(of.get_about()).map(ToString::to_string).unwrap_or_default();
    let usage = of.clone().render_usage().to_string();
    let name = of.get_bin_name().unwrap_or(of.get_name());
    let _ = write!(
        page,
        "\n## `{name}`\n\n{}.\n\n```text\n{}\n```\n\n",
        about.trim_end_matches('.'),
        usage.trim_start_matches("Usage: ")
    );
    let shown = |a: &&clap::Arg| !a.is_hide_set() && !matches!(a.get_id().as_str(), "help" | "version");
    of.get_arguments().filter(shown).for_each(|a| argument(page, a));
    of.get_subcommands().for_each(|c| command(page, c));
}

/// An argument, its default, and its values below it.
#[cfg(feature = "train")]
fn argument(page: &mut String, of: &clap::Arg) {
    let short = of.get_short().filter(|_| of.get_long().is_some()).map_or_else(String::new, |s| format!("-{s}, "));
    let help = of.get_long_help().or(of.get_help()).map(ToString::to_string).unwrap_or_default();
    let takes_values = of.get_action().takes_values();
    let _ = write!(page, "- **`{short}{}`**: {help}", of.to_string().replace(['<', '>'], ""));
    let defaults: Vec<_> = of.get_default_values().iter().map(|d| format!("`{}`", d.to_string_lossy())).collect();
    if takes_values && !defaults.is_empty() {
        let _ = write!(page, "; default {}", defaults.join(", "));
    }
    page.push('\n');
    for value in of.get_possible_values().iter().filter(|v| takes_values && !v.is_hide_set()) {
        let about = value.get_help().map_or_else(String::new, |h| format!(": {h}"));
        let _ = writeln!(page, "    - `{}`{about}", value.get_name());
    }
}

/// The table of a rule that says nothing but its name, with every default.
///
/// # Errors
/// A default that TOML cannot hold.
pub fn defaults(rule: &RuleInfo) -> Result<String> {
    let mut table = toml::Table::from_iter([("rule".to_owned(), rule.name.into())]);
    table.extend((rule.defaults)()?);
    Ok(toml::to_string(&toml::Table::from_iter([("filter".to_owned(), toml::Value::from(vec![table]))]))?)
}

/// What a rule says of itself, in Markdown.
pub fn doc(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().to_owned()
}

/// Kinds of row, for a sentence.
pub fn kinds(kinds: &[setaccio_base::row::Kind]) -> String {
    kinds.iter().map(|k| k.name()).collect::<Vec<_>>().join(", ")
}
