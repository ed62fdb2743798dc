//! What compiling a rule may need from outside its own table: word lists, a tokenizer, and files beside the recipe.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use setaccio_base::{
    bundle::Place,
    filter_report::{FileUse, ListUse},
};
use tokenizers::Tokenizer;

/// The surroundings of a compile.
#[derive(Default)]
pub struct Context {
    /// Folders to look for word lists in, in order.
    pub list_dirs: Vec<PathBuf>,
    /// The recipe's tokenizer, for rules that count tokens.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// The recipe, beside which the files that rules name lie; without one, where the command runs.
    pub recipe: Option<Place>,
    /// Lists loaded so far.
    pub used: Mutex<Vec<ListUse>>,
    /// Other files loaded so far.
    pub files: Mutex<Vec<FileUse>>,
}
