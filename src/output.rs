//! How much a command says, and to whom: a person, or a program that reads JSON.

use anyhow::Result;
use serde::Serialize;

use crate::{
    progress::{Bar, Loudness},
    terminal,
};

#[derive(clap::Args, Clone, Copy)]
#[group(skip)]
pub struct Output {
    /// Print one JSON object instead of text, with the fields that docs/json.md lists
    #[arg(long)]
    json: bool,
    /// Say nothing but warnings and errors
    #[arg(short, long, conflicts_with_all = ["verbose", "json"])]
    quiet: bool,
    /// Say also what is done file by file and task by task
    #[arg(short, long)]
    verbose: bool,
}

/// Version of what `--json` prints: raised when a field changes its meaning or goes.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Envelope<'a, T> {
    command: &'a str,
    format: u32,
    #[serde(flatten)]
    result: &'a T,
}

impl Output {
    /// The bar that shows what is going on.
    pub fn bar(self) -> Bar {
        Bar::with(match self {
            Self { quiet: true, .. } => Loudness::Quiet,
            Self { verbose: true, .. } => Loudness::Verbose,
            Self { .. } => Loudness::Normal,
        })
    }

    /// Give what `command` found: as JSON, by `show` to a person, or not at all.
    pub fn give<T: Serialize>(self, command: &str, result: &T, show: impl FnOnce(&T)) -> Result<()> {
        if self.json {
            terminal::json(&serde_json::to_string_pretty(&Envelope { command, format: FORMAT, result })?)?;
        } else if !self.quiet {
            show(result);
        }
        Ok(())
    }
}
