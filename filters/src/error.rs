//! Why a rule cannot be built.

/// Why a rule cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// A setting that makes no sense; the text says which and what would.
    #[error("{0}")]
    Setting(String),
    /// A word list that is missing, unreadable or not the one named.
    #[error("{0}")]
    List(String),
    /// The `rule` key names nothing known.
    #[error("{0}")]
    Unknown(String),
}

impl RuleError {
    /// A bad setting, in a sentence.
    pub fn setting(message: impl Into<String>) -> Self {
        Self::Setting(message.into())
    }
}
