//! What compiling a rule may need from outside its own table: word lists and a tokenizer.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use setaccio_base::filter_report::ListUse;
use tokenizers::Tokenizer;

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
