//! `setaccio rules`: what a recipe's `[[filter]]` can say, from the rules themselves.

use anyhow::Result;
use setaccio_filters::registry::{RULES, find};

use crate::{
    reference::{
        defaults, doc,
        keys::{Key, tables},
        kinds,
    },
    style::{FAINT, HEAD, NAME},
};

/// List the rules, or show one: what it does, why, an example, its source and its settings
#[derive(clap::Args)]
pub struct Args {
    /// The rule to show
    rule: Option<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let Some(name) = &args.rule else {
        for rule in RULES {
            let doc = doc(&(rule.schema)());
            let what = doc.split("\n\n").next().unwrap_or_default().replace('\n', " ");
            say!("{NAME}{:<20}{NAME:#} {FAINT}{:<22}{FAINT:#} {what}", rule.name, kinds(rule.kinds));
        }
        return Ok(());
    };
    let rule = find(name)?;
    let schema = (rule.schema)();
    say!("{HEAD}{}{HEAD:#}, for {}\n", rule.name, kinds(rule.kinds));
    for line in doc(&schema).lines() {
        match line.strip_prefix("# ") {
            Some(head) => say!("{HEAD}{head}{HEAD:#}"),
            None if line.starts_with("```") => {}
            None => say!("{line}"),
        }
    }
    say!("\n{HEAD}Settings{HEAD:#}");
    let tables = tables(&schema);
    tables.first().into_iter().flat_map(|own| &own.keys).for_each(show);
    for table in tables.iter().skip(1).filter(|t| !t.head.contains('.')) {
        say!("{NAME}{:<20}{NAME:#} table\n{:<20} {}", table.head.trim_matches(['[', ']']), "", table.about);
    }
    say!("\n{FAINT}# with nothing said{FAINT:#}\n{}", defaults(rule)?);
    Ok(())
}

/// A key: its type and default, below them what it and its values mean.
fn show(key: &Key) {
    let default = key.default.as_ref().map_or_else(String::new, |d| format!("; default {d}"));
    say!("{NAME}{:<20}{NAME:#} {}{default}\n{:<20} {}", key.name, key.kind, "", key.about);
    for (value, about) in key.values.iter().filter(|(_, about)| !about.is_empty()) {
        say!("{:<20}   {value}: {about}", "");
    }
}
