//! What is wrong with a file of a folder that is checked.

use std::fmt;

/// A fault, and the file that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file's path below the folder; empty for what is of no one file.
    pub file: String,
    /// What is wrong with it.
    pub message: String,
}

impl Fault {
    /// A fault of a file.
    pub fn of(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file.as_str() {
            "" => f.write_str(&self.message),
            file => write!(f, "{file}: {}", self.message),
        }
    }
}
