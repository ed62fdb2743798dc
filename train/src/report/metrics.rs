//! `metrics.jsonl`: one JSON object a logged step, with TRL's names, and beside it TensorBoard's events.
//!
//! A checkpoint remembers how long the file was. Resuming cuts it there, so that steps that are made again
//! are not told twice.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::Value;
use setaccio_base::{Error as Base, manifest::Sealed};

use super::{
    line::{Line, Sample},
    tensorboard::Events,
};
use crate::error::{Error, Result};

/// Name of the file.
pub const NAME: &str = "metrics.jsonl";

/// What a logged step of training tells. Means are over the steps since the last line.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Step {
    /// 1-based.
    pub step: u64,
    /// Passes over the data so far, with its fraction.
    pub epoch: f64,
    /// Mean loss of a trained token, in nats.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Of this step.
    pub learning_rate: f64,
    /// Tokens seen since the start of the run.
    pub num_tokens: u64,
    /// Share of the trained tokens that the model found likeliest.
    pub mean_token_accuracy: f64,
    /// Mean entropy of the model's predictions, in nats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy: Option<f64>,
    /// By the clock: never the same twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// Most memory taken so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_gib: Option<f64>,
    /// What it was predicted to be, in the first line after each start: another machine may predict something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted_memory_gib: Option<f64>,
    /// What only some losses have, such as `rewards/margins`.
    #[serde(flatten)]
    pub more: BTreeMap<String, f64>,
}

/// What an evaluation tells.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Eval {
    /// The step after which it was made.
    pub step: u64,
    /// Passes over the training data so far.
    pub epoch: f64,
    /// Mean loss of a trained token of the evaluation rows, in nats.
    pub eval_loss: f64,
    /// Share of those tokens that the model found likeliest.
    pub eval_mean_token_accuracy: f64,
    /// Mean entropy of the model's predictions, in nats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_entropy: Option<f64>,
    /// Tokens of the evaluation rows.
    pub eval_num_tokens: u64,
    /// Names that begin with `eval_`.
    #[serde(flatten)]
    pub more: BTreeMap<String, f64>,
}

/// What the model writes after a step.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Written {
    /// The step after which it was asked.
    pub step: u64,
    /// Passes over the training data so far.
    pub epoch: f64,
    /// What it was asked, and what it wrote.
    pub samples: Vec<Sample>,
}

/// The files being written.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
    bytes: u64,
    events: Events,
}

impl Metrics {
    /// Go on after the first `bytes` bytes, as a checkpoint remembers them; 0 begins anew. The events are
    /// written again from the lines that stay.
    ///
    /// # Errors
    /// The file is shorter than that, was changed, or the file system refuses.
    pub fn open(run: &Path, bytes: u64) -> Result<Self> {
        let path = run.join(NAME);
        let mut text = match fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
            read => read.map_err(Error::io("read", &path))?,
        };
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        if text.len() < length || (length > 0 && text[length - 1] != b'\n') {
            let message = format!(
                "does not hold the {bytes} bytes of whole lines that the checkpoint was taken with; put back the file, \
                 or start the run anew"
            );
            return Err(Error::damaged(path, message));
        }
        text.truncate(length);
        let lines = parse(&path, &text)?;
        // Not by renaming: whoever follows the file goes on reading it.
        let file = File::options().create(true).append(true).open(&path).map_err(Error::io("open", &path))?;
        file.set_len(bytes).map_err(Error::io("cut", &path))?;
        Ok(Self { path, file, bytes, events: Events::open(run, &lines)? })
    }

    /// Add a step.
    pub fn log(&mut self, step: &Step) -> Result<()> {
        self.add(step)
    }

    /// Add an evaluation.
    pub fn eval(&mut self, eval: &Eval) -> Result<()> {
        self.add(eval)
    }

    /// Add what the model wrote.
    pub fn written(&mut self, written: &Written) -> Result<()> {
        self.add(written)
    }

    /// Make what was written durable and say how many bytes it is, for the checkpoint.
    pub fn sync(&self) -> Result<u64> {
        self.file.sync_data().map_err(Error::io("flush", &self.path))?;
        Ok(self.bytes)
    }

    fn add(&mut self, line: &impl Serialize) -> Result<()> {
        let in_file = |e: serde_json::Error| Error::Other(format!("{}: {e}", self.path.display()));
        let value = serde_json::to_string(line).map_err(in_file)?;
        let text = value + "\n";
        // One call to the system a line: a crash tears the last line at most.
        self.file.write_all(text.as_bytes()).map_err(Error::io("write", &self.path))?;
        self.bytes += text.len() as u64;
        parse(&self.path, text.as_bytes())?.iter().try_for_each(|line| self.events.add(line))
    }
}

/// All lines of a run, without a last one that a crash has torn; none if there is no file. Those of a finished run are what it wrote.
///
/// # Errors
/// A line is not what a run writes, the file of a finished run was changed, or the file cannot be read.
pub fn read(run: &Path) -> Result<Vec<Line>> {
    match Sealed::open(run)?.read(NAME) {
        Err(Base::Io { error, .. }) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        read => parse(&run.join(NAME), &read?),
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<Vec<Line>> {
    let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    let lines = text[..whole].split_inclusive(|b| *b == b'\n');
    let understood = lines.enumerate().map(|(i, line)| {
        one(line).ok_or_else(|| {
            let n = i + 1;
            Error::damaged(path, format!("line {n} is not a JSON object with a `step`; put back the line or remove it"))
        })
    });
    understood.collect()
}

fn one(line: &[u8]) -> Option<Line> {
    let object: BTreeMap<String, Value> = serde_json::from_slice(line).ok()?;
    let step = object.get("step")?.as_u64()?;
    // A number that is not finite is written as null, and has no place on a curve.
    let samples = object.get("samples").map(|samples| serde_json::from_value(samples.clone()));
    let values = object.into_iter().filter(|(k, _)| k != "step").filter_map(|(k, v)| Some((k, v.as_f64()?)));
    Some(Line { step, values: values.collect(), samples: samples.transpose().ok()?.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> Step {
        #[allow(clippy::cast_precision_loss, reason = "small")]
        let loss = 4.0 / step as f64;
        Step { step, loss, learning_rate: 2e-5, num_tokens: 512 * step, ..Step::default() }
    }

    fn temp() -> tempfile::TempDir {
        tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"))
    }

    fn steps(run: &Path) -> Result<Vec<u64>> {
        Ok(read(run)?.iter().map(|l| l.step).collect())
    }

    #[test]
    fn names_are_those_of_trl() -> Result<()> {
        let dir = temp();
        let mut metrics = Metrics::open(dir.path(), 0)?;
        metrics.log(&Step { tokens_per_second: Some(8.5), ..step(2) })?;
        metrics.eval(&Eval { step: 2, eval_loss: 1.5, more: [("eval_x".into(), 1.0)].into(), ..Eval::default() })?;
        let text = fs::read_to_string(dir.path().join(NAME)).unwrap_or_default();
        let expected = "{\"step\":2,\"epoch\":0.0,\"loss\":2.0,\"grad_norm\":0.0,\"learning_rate\":0.00002,\
                        \"num_tokens\":1024,\"mean_token_accuracy\":0.0,\"tokens_per_second\":8.5}\n\
                        {\"step\":2,\"epoch\":0.0,\"eval_loss\":1.5,\"eval_mean_token_accuracy\":0.0,\
                        \"eval_num_tokens\":0,\"eval_x\":1.0}\n";
        assert_eq!(text.replace("2e-5", "0.00002"), expected);
        assert_eq!(metrics.sync()?, text.len() as u64);
        let lines = read(dir.path())?;
        assert_eq!((lines[0].get("loss"), lines[1].get("eval_loss")), (Some(2.0), Some(1.5)));
        Ok(())
    }

    #[test]
    fn resuming_tells_no_step_twice() -> Result<()> {
        let dir = temp();
        let mut metrics = Metrics::open(dir.path(), 0)?;
        (1..=3).try_for_each(|i| metrics.log(&step(i)))?;
        let bytes = metrics.sync()?;
        let events = dir.path().join(super::super::tensorboard::NAME);
        let size = || fs::metadata(&events).map_or(0, |m| m.len());
        let events_then = size();
        (4..=5).try_for_each(|i| metrics.log(&step(i)))?;
        drop(metrics);
        let path = dir.path().join(NAME);
        let mut torn = File::options().append(true).open(&path).map_err(Error::io("open", &path))?;
        torn.write_all(b"{\"step\":6,\"lo").map_err(Error::io("write", &path))?;
        assert_eq!(steps(dir.path())?, [1, 2, 3, 4, 5], "the torn line is left out");
        let mut metrics = Metrics::open(dir.path(), bytes)?;
        assert_eq!((steps(dir.path())?, size()), (vec![1, 2, 3], events_then));
        metrics.log(&step(4))?;
        assert_eq!(steps(dir.path())?, [1, 2, 3, 4]);
        drop(Metrics::open(dir.path(), 0)?);
        assert_eq!(steps(dir.path())?, [0; 0]);
        Ok(())
    }

    #[test]
    fn what_is_not_the_checkpoints_file_is_refused() -> Result<()> {
        let dir = temp();
        let mut metrics = Metrics::open(dir.path(), 0)?;
        (1..=3).try_for_each(|i| metrics.log(&step(i)))?;
        let bytes = metrics.sync()?;
        drop(metrics);
        for length in [bytes + 1, bytes - 1, 1] {
            let error = Metrics::open(dir.path(), length).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains("put back the file"), "{length}: {error}");
        }
        let path = dir.path().join(NAME);
        let text = fs::read_to_string(&path).unwrap_or_default().replacen("{\"step\":2", "{\"spet\":2", 1);
        fs::write(&path, text).map_err(Error::io("write", &path))?;
        let error = read(dir.path()).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("line 2 is not"), "{error}");
        Ok(())
    }

    #[test]
    fn a_finished_run_is_read_as_it_was_written_or_not_at_all() -> Result<()> {
        let dir = temp();
        Metrics::open(dir.path(), 0)?.log(&step(1))?;
        setaccio_base::manifest::write(dir.path(), &[NAME.to_owned()], Vec::new())?;
        assert_eq!(steps(dir.path())?, [1]);
        let path = dir.path().join(NAME);
        let refused = || read(dir.path()).is_err_and(|e| e.to_string().contains("was changed after it was written"));
        let changed = fs::read_to_string(&path).unwrap_or_default().replace("\"loss\":4.0", "\"loss\":1.0");
        for text in [changed.as_str(), ""] {
            fs::write(&path, text).map_err(Error::io("write", &path))?;
            assert!(refused(), "{text}");
        }
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        assert!(refused());
        Ok(())
    }

    #[test]
    fn what_is_not_finite_is_null_and_left_out() -> Result<()> {
        let dir = temp();
        Metrics::open(dir.path(), 0)?.log(&Step { grad_norm: f64::INFINITY, ..step(1) })?;
        let lines = read(dir.path())?;
        assert_eq!((lines[0].get("grad_norm"), lines[0].get("loss")), (None, Some(4.0)));
        Ok(())
    }
}
