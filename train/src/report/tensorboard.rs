//! TensorBoard's event file: records framed as TensorFlow frames them, each a protobuf `Event` of scalars or
//! texts. The messages are small enough to be encoded here by hand; numbers of fields are those of
//! `tensorflow/core/util/event.proto` and `summary.proto`.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::line::{Line, Sample};
use crate::error::{Error, Result};

/// Name of the file: one for a run, however often it was resumed.
pub const NAME: &str = "events.out.tfevents.0.setaccio";

/// The file being written.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// Write the file anew from the lines so far, and keep it open for more.
    pub fn open(run: &Path, lines: &[Line]) -> Result<Self> {
        let path = write(run, lines)?;
        let file = File::options().append(true).open(&path).map_err(Error::io("open", &path))?;
        Ok(Self { path, file })
    }

    /// Add a line of metrics.
    pub fn add(&mut self, line: &Line) -> Result<()> {
        self.file.write_all(&record(&event(now(), line))).map_err(Error::io("write", &self.path))
    }
}

/// Write the whole file from lines of metrics, and say where it is. The time of every line is now, for
/// metrics do not keep it.
pub fn write(run: &Path, lines: &[Line]) -> Result<PathBuf> {
    let path = run.join(NAME);
    fs::write(&path, whole(now(), lines)).map_err(Error::io("write", &path))?;
    Ok(path)
}

fn whole(wall_time: f64, lines: &[Line]) -> Vec<u8> {
    let mut version = Vec::new();
    double(&mut version, 1, wall_time);
    bytes(&mut version, 3, b"brain.Event:2");
    let mut file = record(&version);
    file.extend(lines.iter().flat_map(|line| record(&event(wall_time, line))));
    file
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Length (u64), its checksum, the message, its checksum.
fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), message, &masked(message)].concat()
}

/// CRC-32C, rotated and moved, so that a checksum of data that holds checksums stays a good one.
fn masked(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes()
}

/// An `Event` with a `Summary` of every value and every text of the line.
fn event(wall_time: f64, line: &Line) -> Vec<u8> {
    let mut summary = Vec::new();
    for (name, value) in &line.values {
        let mut one = Vec::new();
        bytes(&mut one, 1, tag(name).as_bytes());
        one.push(2 << 3 | 5);
        #[allow(clippy::cast_possible_truncation, reason = "TensorBoard keeps 32 bits")]
        one.extend((*value as f32).to_le_bytes());
        bytes(&mut summary, 1, &one);
    }
    for (i, sample) in (1..).zip(&line.samples) {
        bytes(&mut summary, 1, &text(&format!("sample/{i}"), &markdown(sample)));
    }
    let mut event = Vec::new();
    double(&mut event, 1, wall_time);
    event.push(2 << 3);
    varint(&mut event, line.step);
    bytes(&mut event, 5, &summary);
    event
}

/// A value of the text plugin: a tensor of one string. Numbers of fields are those of `summary.proto`, `tensor.proto`,
/// `tensor_shape.proto`.
fn text(tag: &str, text: &str) -> Vec<u8> {
    const STRING: u8 = 7;
    let (mut value, mut plugin, mut metadata) = (Vec::new(), Vec::new(), Vec::new());
    bytes(&mut value, 1, format!("{tag}/text_summary").as_bytes());
    bytes(&mut plugin, 1, b"text");
    bytes(&mut metadata, 1, &plugin);
    let (mut dimension, mut shape, mut tensor) = (vec![1 << 3], Vec::new(), vec![1 << 3, STRING]);
    varint(&mut dimension, 1);
    bytes(&mut shape, 2, &dimension);
    bytes(&mut tensor, 2, &shape);
    bytes(&mut tensor, 8, text.as_bytes());
    bytes(&mut value, 8, &tensor);
    bytes(&mut value, 9, &metadata);
    value
}

/// A sample as the plugin shows it, which is Markdown: both texts as they are.
fn markdown(sample: &Sample) -> String {
    let mut out = String::new();
    let as_it_is = |out: &mut String, text: &str| text.lines().for_each(|line| out.extend(["    ", line, "\n"]));
    as_it_is(&mut out, &sample.prompt);
    out.push_str("\n---\n\n");
    as_it_is(&mut out, &sample.text);
    out
}

/// `eval_loss` as `eval/loss`, all else under `train/`.
fn tag(name: &str) -> String {
    name.strip_prefix("eval_").map_or_else(|| format!("train/{name}"), |rest| format!("eval/{rest}"))
}

fn double(message: &mut Vec<u8>, field: u8, value: f64) {
    message.push(field << 3 | 1);
    message.extend(value.to_le_bytes());
}

fn bytes(message: &mut Vec<u8>, field: u8, value: &[u8]) {
    message.push(field << 3 | 2);
    varint(message, value.len() as u64);
    message.extend(value);
}

/// Seven bits a byte, least first.
#[allow(clippy::cast_possible_truncation, reason = "masked to seven bits")]
fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value > 0x7F {
        message.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_tensorboards_own_writer() {
        #[derive(serde::Deserialize)]
        struct Oracle {
            wall_time: f64,
            lines: Vec<(u64, Vec<(String, f64)>)>,
            samples: Vec<(u64, Vec<Sample>)>,
            hex: String,
        }
        let oracle: Oracle = serde_json::from_str(include_str!("../../../tests/oracles/train/tensorboard_events.json"))
            .unwrap_or_else(|e| panic!("{e}"));
        let scalars = oracle.lines.into_iter().map(|(step, values)| Line {
            step,
            values: values.into_iter().collect(),
            samples: Vec::new(),
        });
        let texts = oracle.samples.into_iter().map(|(step, samples)| Line { step, samples, ..Line::default() });
        let lines: Vec<Line> = scalars.chain(texts).collect();
        assert!(lines.len() >= 5, "the oracle is not empty");
        assert_eq!(setaccio_base::sha256::hex(&whole(oracle.wall_time, &lines)), oracle.hex);
    }
}
