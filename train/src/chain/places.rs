//! Where the parts of a chain lie below its folder.

use std::path::PathBuf;

use crate::report::evaluation::{AUDIT, FOLDER};

/// Where the parts of a chain lie.
#[derive(Clone, Debug)]
pub struct Places {
    /// Folder of everything.
    pub root: PathBuf,
}

impl Places {
    /// The rows of a stage.
    pub fn data(&self, stage: &str) -> PathBuf {
        self.root.join("data").join(stage)
    }

    /// The run of a stage.
    pub fn run(&self, stage: &str) -> PathBuf {
        self.root.join(stage)
    }

    /// The model after a stage.
    pub fn merged(&self, stage: &str) -> PathBuf {
        self.run(stage).join("merged")
    }

    /// The model after the last stage, which is the chain's.
    pub fn result(&self) -> PathBuf {
        self.root.join("merged")
    }

    /// An exported file of the chain called `name`.
    pub fn export(&self, name: &str, quant: &str) -> PathBuf {
        self.root.join("export").join(format!("{name}-{}.gguf", quant.to_uppercase()))
    }

    /// What the base, or the model after a stage, is evaluated by.
    pub fn evaluation(&self, of: &str) -> PathBuf {
        self.evaluations().join(of)
    }

    /// All of that.
    pub fn evaluations(&self) -> PathBuf {
        self.root.join(FOLDER)
    }

    /// What base and result are audited by.
    pub fn audit(&self) -> PathBuf {
        self.root.join(AUDIT)
    }

    /// What base and result answered.
    pub fn samples(&self) -> PathBuf {
        self.root.join("samples.json")
    }
}
