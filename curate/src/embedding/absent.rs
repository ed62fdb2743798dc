//! Sentence embeddings where they were left out: a recipe that names a model is refused, and says how to bring them in.

use std::path::Path;

use setaccio_base::{Error, Result, filter_report::FileUse};

/// No model.
pub enum Embedder {}

/// Of no vectors.
pub struct Panels;

/// What became of a text.
pub enum Embedded {
    /// It has a vector.
    Vector {
        /// Of its beginning alone.
        truncated: bool,
    },
    /// It has none.
    Nothing,
}

impl Embedder {
    /// Refuse the model at `path` that `key` of a recipe names.
    ///
    /// # Errors
    /// Always.
    pub fn open(path: &Path, key: &str) -> Result<Self> {
        Err(Error::damaged(
            path,
            format!(
                "this build was made without sentence embeddings, which {key} asks for: install one with them, `cargo install \
                 --locked --path .` (or with `--features semantic`, where --no-default-features is given), or take \
                 [dedup.semantic] out of the recipe"
            ),
        ))
    }

    /// The same.
    #[must_use]
    pub fn named(self, _: &str) -> Self {
        self
    }

    /// Its files.
    pub fn files(&self) -> &[FileUse] {
        match *self {}
    }

    /// Values of a vector.
    pub fn dimensions(&self) -> usize {
        match *self {}
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> u64 {
        match *self {}
    }

    /// Tokens that it reads.
    pub fn most_tokens(&self) -> Option<usize> {
        match *self {}
    }

    /// What it is.
    pub fn told(&self) -> String {
        match *self {}
    }

    /// The vector of a text.
    ///
    /// # Errors
    /// Never.
    pub fn embed(&self, _: &str, _: &mut Vec<f32>) -> Result<Embedded> {
        match *self {}
    }

    /// Vectors as a matrix.
    pub fn panels(&self, _: &[f32]) -> Panels {
        match *self {}
    }

    /// Cosines of vectors.
    pub fn cosines(&self, _: &[f32], _: &Panels, _: &mut [f32]) {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_refused_and_what_to_install_is_said() {
        let said = Embedder::open(Path::new("potion"), "dedup.semantic.model").err().map(|e| e.to_string());
        let said = said.unwrap_or_default();
        assert!(said.contains("cargo install --locked --path .") && said.contains("dedup.semantic.model"), "{said}");
    }
}
