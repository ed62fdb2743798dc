//! What was answered so far, line by line in a file, so that an evaluation that was stopped goes on where it was. It holds what models
//! said, and not what that is worth.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use setaccio_base::{Error as Fault, sha256::hex_digest};

use crate::{
    error::{Error, Result},
    scorer::{Reply, Score, Written},
};

/// The file of a task and a model.
pub struct Journal {
    path: PathBuf,
    file: File,
    answered: BTreeMap<usize, Vec<Reply>>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    /// Number of the question.
    question: usize,
    replies: Vec<Said>,
}

/// A reply. Numbers are kept by their bits: what is read again is what was written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Said {
    Score { bits: u64, tokens: usize, greedy: bool },
    Written { text: String, tokens: usize, cut_short: bool },
}

impl From<&Reply> for Said {
    fn from(reply: &Reply) -> Self {
        match reply {
            Reply::Score(Score { sum, tokens, greedy }) => {
                Self::Score { bits: sum.to_bits(), tokens: *tokens, greedy: *greedy }
            }
            Reply::Written(Written { text, tokens, cut_short }) => {
                Self::Written { text: text.clone(), tokens: *tokens, cut_short: *cut_short }
            }
        }
    }
}

impl From<Said> for Reply {
    fn from(said: Said) -> Self {
        match said {
            Said::Score { bits, tokens, greedy } => Self::Score(Score { sum: f64::from_bits(bits), tokens, greedy }),
            Said::Written { text, tokens, cut_short } => Self::Written(Written { text, tokens, cut_short }),
        }
    }
}

impl Journal {
    /// That of what `key` says, in `folder`, with what it holds already. A line that was cut by a crash goes.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn open(folder: &Path, key: &str) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Fault::io("create", folder))?;
        let path = folder.join(format!("{}.jsonl", hex_digest(key.as_bytes())));
        let bytes = if path.exists() { fs::read(&path).map_err(Fault::io("read", &path))? } else { Vec::new() };
        let (mut answered, mut whole) = (BTreeMap::new(), 0);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(text) = line.strip_suffix(b"\n") else { break };
            let Ok(Line { question, replies }) = serde_json::from_slice(text) else { break };
            whole += line.len() as u64;
            answered.insert(question, replies.into_iter().map(Reply::from).collect());
        }
        let file = File::options().create(true).append(true).open(&path).map_err(Fault::io("open", &path))?;
        if whole < bytes.len() as u64 {
            file.set_len(whole).map_err(Fault::io("write", &path))?;
        }
        Ok(Self { path, file, answered })
    }

    /// What was answered to a question.
    pub fn get(&self, question: usize) -> Option<&[Reply]> {
        self.answered.get(&question).map(Vec::as_slice)
    }

    /// Remember what was answered to a question.
    ///
    /// # Errors
    /// The disk is full.
    pub fn add(&mut self, question: usize, replies: Vec<Reply>) -> Result<()> {
        let line = Line { question, replies: replies.iter().map(Said::from).collect() };
        let mut text = serde_json::to_vec(&line).map_err(|e| Error::Other(e.to_string()))?;
        text.push(b'\n');
        self.file.write_all(&text).map_err(Fault::io("write", &self.path))?;
        self.answered.insert(question, replies);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_is_there_again_to_the_bit() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let open = |key: &str| Journal::open(dir.path(), key).unwrap_or_else(|e| panic!("{e}"));
        let scores = |sum: f64| vec![Reply::Score(Score { sum, tokens: 2, greedy: true })];
        let text = vec![Reply::Written(Written { text: "\u{e8}\n\"s\u{ec}\"".into(), tokens: 9, cut_short: false })];
        let mut journal = open("a");
        journal.add(3, scores(-1.0 / 3.0)).unwrap_or_else(|e| panic!("{e}"));
        journal.add(0, text.clone()).unwrap_or_else(|e| panic!("{e}"));
        journal.add(5, scores(f64::NEG_INFINITY)).unwrap_or_else(|e| panic!("{e}"));
        // As a crash leaves it.
        let path = journal.path.clone();
        let whole = fs::read(&path).unwrap_or_else(|e| panic!("{e}"));
        fs::write(&path, &whole[..whole.len() - 7]).unwrap_or_else(|e| panic!("{e}"));
        let mut journal = open("a");
        let kept = [0, 1, 3, 5].map(|i| journal.get(i).map(<[_]>::to_vec));
        assert_eq!(kept, [Some(text), None, Some(scores(-1.0 / 3.0)), None]);
        journal.add(5, scores(f64::NEG_INFINITY)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(fs::read(&path).unwrap_or_else(|e| panic!("{e}")), whole);
        assert!(open("b").get(3).is_none());
    }
}
