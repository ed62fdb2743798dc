//! `setaccio rules`: what a recipe's `[[screen]]` can say, from the rules themselves.

use anyhow::Result;
use serde_json::Value;
use setaccio_filters::registry::{RULES, RuleInfo, find};

use crate::style::{FAINT, HEAD, NAME};

/// List the rules, or show the settings of one
#[derive(clap::Args)]
pub struct Args {
    /// The rule to show
    rule: Option<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let Some(name) = &args.rule else {
        for rule in RULES {
            anstream::println!(
                "{NAME}{:<20}{NAME:#} {FAINT}{:<22}{FAINT:#} {}",
                rule.name,
                kinds(rule),
                about(&(rule.schema)())
            );
        }
        return Ok(());
    };
    let rule = find(name)?;
    let schema = (rule.schema)();
    anstream::println!("{HEAD}{}{HEAD:#}, for {}: {}\n", rule.name, kinds(rule), about(&schema));
    for (key, setting) in schema["properties"].as_object().into_iter().flatten() {
        anstream::println!("{NAME}{key:<20}{NAME:#} {}", about(setting));
    }
    let mut table = toml::Table::from_iter([("rule".to_owned(), rule.name.into())]);
    table.extend((rule.defaults)()?);
    let recipe = toml::Table::from_iter([("screen".to_owned(), toml::Value::from(vec![table]))]);
    anstream::println!("\n{FAINT}# with nothing said{FAINT:#}\n{}", toml::to_string(&recipe)?);
    Ok(())
}

fn about(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ")
}

fn kinds(rule: &RuleInfo) -> String {
    rule.kinds.iter().map(|k| k.name()).collect::<Vec<_>>().join(", ")
}
