//! What a finished chain made, and of what: the models that can be asked before and after it.

use std::path::{Path, PathBuf};

use setaccio_templates::Clock;

use super::{lock::ChainLock, places::Places};
use crate::{
    artifacts::finished_run::FinishedRun,
    checkpoint::ownership::CHAIN,
    error::{Error, Result},
    recipe::Task,
    report::lock::{self, RunLock},
};

/// The two ends of a chain.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The model that its first stage was trained upon.
    pub base: PathBuf,
    /// The model after its last stage.
    pub result: PathBuf,
    /// The folder with the tokenizer and the template that both are asked with: those of the last stage that learns from chats.
    pub asks: PathBuf,
    /// The day of that template.
    pub day: Option<Clock>,
}

impl Finished {
    /// Whether a folder holds a chain, finished or not.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(CHAIN).is_file()
    }

    /// Whether a folder holds a stage of a chain, which has recorded what lies in it.
    pub fn has_stage(folder: &Path) -> bool {
        folder.join("..").join(CHAIN).is_file()
    }

    /// Read the locks of the stages in `folder`, and check that what they made is as they left it.
    ///
    /// # Errors
    /// The chain is not finished, or what a stage made was changed since.
    pub fn open(folder: &Path) -> Result<Self> {
        let (places, done) = (Places { root: folder.to_owned() }, ChainLock::open(folder)?);
        let stages = done.stages().iter().map(|name| Ok((name, RunLock::read(&places.run(name).join(lock::NAME))?)));
        let stages = stages.collect::<Result<Vec<_>>>();
        let (Ok(stages), true) = (stages, done.made(&places.result())) else {
            let message = "this chain is not finished: go on with it by `setaccio train-all`";
            return Err(Error::damaged(folder.join(CHAIN), message));
        };
        Self::new(&places, &stages.iter().map(|(name, lock)| (name.as_str(), lock)).collect::<Vec<_>>())
    }

    /// Of finished stages in their order, by name.
    ///
    /// # Errors
    /// There is none, or what one made was changed since.
    pub fn new(places: &Places, stages: &[(&str, &RunLock)]) -> Result<Self> {
        let (Some((first, _)), Some(last)) = (stages.first(), stages.last()) else {
            return Err(Error::Other("a chain without stages".into()));
        };
        let (name, lock) = stages.iter().rfind(|(_, lock)| lock.recipe.task != Task::Text).unwrap_or(last);
        Ok(Self {
            base: FinishedRun::open(&places.run(first))?.base,
            result: places.result(),
            asks: FinishedRun::open(&places.run(name))?.made,
            day: Clock::date(&lock.recipe.data.date),
        })
    }
}
