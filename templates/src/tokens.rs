//! Tokenizers, for counting.

use std::{path::Path, sync::Arc};

use tokenizers::Tokenizer;

use crate::{Error, Result};

/// The `tokenizer.json` that `bytes` are, which were read from `path`.
///
/// # Errors
/// It is none.
pub fn tokenizer(path: &Path, bytes: &[u8]) -> Result<Arc<Tokenizer>> {
    let tokenizer = Tokenizer::from_bytes(bytes)
        .map_err(|e| Error(format!("{}: not a tokenizer.json: {e}; see output.tokenizer", path.display())))?;
    Ok(Arc::new(tokenizer))
}
