//! What compiling a rule may need from outside its own table: word lists and a tokenizer.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

/// A word list that a compiled rule uses; the lock and the card name every one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListUse {
    /// The name in the recipe.
    pub name: String,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Entries after trimming, comments and duplicates removed.
    pub entries: usize,
}

/// The surroundings of a compile.
#[derive(Default)]
pub struct Context {
    /// Folders to look for word lists in, in order.
    pub list_dirs: Vec<PathBuf>,
    /// The recipe's tokenizer, for rules that count tokens.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// Lists loaded so far.
    pub used: Mutex<Vec<ListUse>>,
}
