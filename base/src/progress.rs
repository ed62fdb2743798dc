//! Who follows long work, and may stop it.

/// Told what is done, and asked whether to stop. Each method but the first may be left out: it then shows nothing.
pub trait Progress: Sync {
    /// Whether to stop at the next safe point.
    fn cancelled(&self) -> bool {
        false
    }
    /// A stage of `total` pieces of work begins.
    fn stage(&self, _name: &'static str, _total: u64) {}
    /// Whether what is left of a stage is another process's and this one waits for it, or it has something to do again.
    fn waits(&self, _name: &'static str, _waits: bool) {}
    /// So many more pieces are done; `note` is said beside them, if it is not empty.
    fn advance(&self, _pieces: u64, _note: &str) {}
    /// Rows went through, with so many bytes of text.
    fn rows(&self, _rows: u64, _bytes: u64) {}
    /// So many bytes were transferred. What has to be done again is counted again.
    fn bytes(&self, _bytes: u64) {}
    /// One file or task is done, one sentence: for who wants to know all.
    fn detail(&self, _sentence: &str) {}
    /// Something a person may want to know while it happens, one sentence.
    fn note(&self, _sentence: &str) {}
    /// Something a person should know although the work goes on, one sentence.
    fn warn(&self, _sentence: &str) {}
}

/// Shows nothing and never stops.
impl Progress for () {}
