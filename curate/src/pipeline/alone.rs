//! What one process decides for all that join a build together.

use serde::Serialize;
use setaccio_dataset::recipe::Recipe;

/// A decision that is not shared: one process makes it, with all of its threads, and the others wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Alone {
    /// Which rows mean nearly what others mean.
    Semantic,
}

impl Alone {
    /// All, in the order in which they are made.
    pub const ALL: [Self; 1] = [Self::Semantic];

    /// The stage of a team whose only piece is what was decided.
    pub fn stage(self) -> &'static str {
        match self {
            Self::Semantic => "semantic",
        }
    }

    /// The stages that whoever decides it goes through.
    fn stages(self) -> &'static [&'static str] {
        match self {
            Self::Semantic => &["vectors", "signs", "meaning"],
        }
    }

    /// That which a process is at whose stage is this, if it is one of these.
    pub fn at(stage: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alone| alone.stage() == stage || alone.stages().contains(&stage))
    }

    /// What it is called, for a person.
    pub fn told(self) -> &'static str {
        match self {
            Self::Semantic => "rows that mean nearly the same",
        }
    }

    /// Those of a recipe.
    pub fn of(recipe: &Recipe) -> Vec<Self> {
        let wanted = |alone: &Self| match alone {
            Self::Semantic => recipe.semantic().is_some(),
        };
        Self::ALL.into_iter().filter(wanted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_of_one_decision() {
        for alone in Alone::ALL {
            assert_eq!(Alone::at(alone.stage()), Some(alone));
            for stage in alone.stages() {
                assert_eq!(Alone::at(stage), Some(alone), "{stage}");
            }
        }
        assert_eq!(Alone::at("near"), None);
    }
}
