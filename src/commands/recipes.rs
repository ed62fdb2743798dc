//! `setaccio recipes`: the recipes that the program carries.

use anyhow::{Context, Result};
use clap::ValueEnum;
use setaccio_base::{
    bundle::{self, Place},
    suggest,
};

use crate::{
    style::{FAINT, HEAD, NAME},
    terminal,
};

/// List the recipes that the program carries, or print one, to be copied and changed
#[derive(clap::Args)]
pub struct Args {
    /// Only those that this command follows
    command: Option<Follows>,
    /// Print this one
    name: Option<String>,
}

/// A command that follows recipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Follows {
    Build,
    Train,
    TrainAll,
    Eval,
}

impl Follows {
    fn home(self) -> &'static str {
        match self {
            Self::Build => setaccio_curate::recipe::HOME,
            Self::Train => "pipelines/train",
            Self::TrainAll => "pipelines/train/all",
            Self::Eval => "pipelines/eval",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Train => "train",
            Self::TrainAll => "train-all",
            Self::Eval => "eval",
        }
    }
}

pub fn run(args: &Args) -> Result<()> {
    let shown = args.command.map_or(Follows::value_variants().to_vec(), |one| vec![one]);
    if let (Some(command), Some(name)) = (args.command, &args.name) {
        let home = command.home();
        let recipe = bundle::get(&format!("{home}/{name}.toml")).with_context(|| {
            let near = suggest::nearest(name, bundle::recipes(home));
            format!("`setaccio {}` has no recipe `{name}`{near}; `setaccio recipes` lists them", command.word())
        })?;
        return Ok(terminal::exact(&recipe.read()?)?);
    }
    for command in shown {
        say!("{HEAD}setaccio {} NAME{HEAD:#}", command.word());
        for name in bundle::recipes(command.home()) {
            let recipe = bundle::get(&format!("{}/{name}.toml", command.home())).context("is carried")?;
            say!("  {NAME}{name:<22}{NAME:#} {}", title(&recipe)?);
        }
    }
    let of = args.command.unwrap_or(Follows::Build).word();
    say!("{FAINT}`setaccio recipes {of} NAME > mine.toml` copies one{FAINT:#}");
    Ok(())
}

/// What recipes of all commands begin with.
#[derive(serde::Deserialize)]
struct Head {
    title: Option<String>,
    base: Option<Base>,
}

/// What a recipe is laid over, or the model that a chain begins with.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Base {
    Recipe(String),
    Model(serde::de::IgnoredAny),
}

/// The line for people, of the recipe or of the one that it is laid over.
fn title(recipe: &Place) -> Result<String> {
    match toml::from_str(&recipe.text()?)? {
        Head { title: Some(title), .. } => Ok(title),
        Head { base: Some(Base::Recipe(base)), .. } => title(&recipe.beside(base)),
        Head { .. } => Ok(String::new()),
    }
}
