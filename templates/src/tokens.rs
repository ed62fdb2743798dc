//! Tokenizers, for counting.

use std::{path::Path, sync::Arc};

use setaccio_base::unwound::unwound;
use tokenizers::Tokenizer;

use crate::{Error, Result};

/// The `tokenizer.json` that `bytes` are, which were read from `path`.
///
/// # Errors
/// It is none.
pub fn tokenizer(path: &Path, bytes: &[u8]) -> Result<Arc<Tokenizer>> {
    // The crate that builds it takes much of a file as it is.
    let tokenizer = unwound(|| Tokenizer::from_bytes(bytes).map_err(|e| e.to_string()), |said| said);
    tokenizer
        .map(Arc::new)
        .map_err(|e| Error(format!("{}: not a tokenizer.json: {e}; see output.tokenizer", path.display())))
}
