//! What differs between two chains, stage by stage: stages that have the same name.

use std::path::Path;

use serde::Serialize;

use super::{lock::ChainLock, places::Places};
use crate::{
    error::{Error, Result},
    report::{compare as runs, lock},
};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Stages that both have, in the first chain's order.
    pub stages: Vec<Stage>,
    /// Stages that only one has, or has begun.
    pub alone: [Vec<String>; 2],
}

/// A stage of both chains.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stage {
    /// Its name.
    pub stage: String,
    /// What differs between its runs.
    #[serde(flatten)]
    pub runs: runs::Comparison,
}

/// Compare the chains in `a` and `b`, finished or not.
///
/// # Errors
/// No stage of one has begun, or a file of it is not what it wrote.
pub fn compare(a: &Path, b: &Path) -> Result<Comparison> {
    let begun = |chain: &Path| -> Result<Vec<String>> {
        let places = Places { root: chain.to_owned() };
        let mut stages = ChainLock::open(chain)?.stages().to_vec();
        stages.retain(|stage| places.run(stage).join(lock::NAME).is_file());
        if stages.is_empty() {
            let message = "holds a chain of which no stage has begun: `setaccio train-all` goes on";
            return Err(Error::damaged(chain, message));
        }
        Ok(stages)
    };
    let stages = [begun(a)?, begun(b)?];
    let places = [a, b].map(|chain| Places { root: chain.to_owned() });
    let alone = [(0, 1), (1, 0)].map(|(own, other)| {
        let missing = stages[own].iter().filter(|stage| !stages[other].contains(stage));
        missing.cloned().collect()
    });
    let mut found = Comparison { stages: Vec::new(), alone };
    for stage in stages[0].iter().filter(|stage| stages[1].contains(stage)) {
        let runs = runs::compare(&places[0].run(stage), &places[1].run(stage))?;
        found.stages.push(Stage { stage: stage.clone(), runs });
    }
    Ok(found)
}
