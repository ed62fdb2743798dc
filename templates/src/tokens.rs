//! Tokenizers, for counting.

use std::{path::Path, sync::Arc};

use tokenizers::Tokenizer;

use crate::{Error, Result};

/// Load a `tokenizer.json`.
///
/// # Errors
/// It is missing or not one.
pub fn tokenizer(path: &Path) -> Result<Arc<Tokenizer>> {
    let tokenizer = Tokenizer::from_file(path)
        .map_err(|e| Error(format!("{}: not a tokenizer.json: {e}; see output.tokenizer", path.display())))?;
    Ok(Arc::new(tokenizer))
}
