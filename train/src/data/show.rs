//! What a step sees, for people and for programs: `setaccio train --show-batch`.

use std::fmt::Write;

use serde::Serialize;
use setaccio_base::shown::Style;

use super::{batch::Example, dataset::Dataset, order::Order, pair::SIDES};
use crate::{error::Result, tokenizer::Tokens};

const HEAD: Style = Style("1;36");
const PROMPT: Style = Style("2");
const TRAINED: Style = Style("32");
const SPECIAL: Style = Style("2;35");
const TRAINED_SPECIAL: Style = Style("1;30;42");

/// A sequence as JSON.
#[derive(Debug, Serialize)]
pub struct Sequence {
    /// 1-based step.
    pub step: u64,
    /// Which of the step's micro-batches, from 0.
    pub micro_batch: usize,
    /// Which of the micro-batch's sequences, from 0.
    pub sequence: usize,
    /// Token ids.
    pub ids: Vec<u32>,
    /// Whether each is learned, 0 or 1.
    pub trained: Vec<u8>,
    /// Position of each in its document.
    pub positions: Vec<usize>,
    /// Where its rows lie, and how many tokens each has.
    pub rows: Vec<Place>,
}

/// A row of a sequence.
#[derive(Debug, Serialize)]
pub struct Place {
    /// Number in the data set.
    pub row: u32,
    /// Which of the row's answers, where it has two or was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<&'static str>,
    /// File, row group and row.
    pub place: String,
    /// Tokens.
    pub tokens: usize,
}

/// The first `steps` steps, one JSON object a sequence, each made when it is asked for: a run can have millions.
pub fn json<'a>(data: &'a Dataset, order: &'a Order, steps: u64) -> impl Iterator<Item = Result<String>> + 'a {
    let sequences = (0..steps).flat_map(move |step| sequences(data, order, step));
    sequences.map(|sequence| serde_json::to_string(&sequence).map_err(|e| crate::Error::Other(e.to_string())))
}

fn sequences(data: &Dataset, order: &Order, step: u64) -> Vec<Sequence> {
    let mut out = Vec::new();
    for (micro_batch, sequences) in order.step(step).into_iter().enumerate() {
        for (sequence, rows) in sequences.into_iter().enumerate() {
            let mut shown = Sequence {
                step: step + 1,
                micro_batch,
                sequence,
                ids: Vec::new(),
                trained: Vec::new(),
                positions: Vec::new(),
                rows: Vec::new(),
            };
            for row in rows {
                for (side, Example { ids, trained }) in data.examples(row as usize) {
                    let answer = data.compares().then_some(SIDES[side]);
                    shown.rows.push(Place { row, answer, place: data.place(row as usize), tokens: ids.len() });
                    shown.positions.extend(0..ids.len());
                    shown.trained.extend(trained.into_iter().map(u8::from));
                    shown.ids.extend(ids);
                }
            }
            out.push(shown);
        }
    }
    out
}

/// The first `n` rows of the first step (and of the next, if it has fewer), with colours.
pub fn text(data: &Dataset, order: &Order, tokens: &Tokens, n: usize) -> Result<String> {
    let mut out = String::new();
    let (legend, mut left, mut step) = ("what is learned", n, 0);
    writeln!(out, "{TRAINED}{legend}{TRAINED:#}, {TRAINED_SPECIAL}its special tokens{TRAINED_SPECIAL:#}, {PROMPT}what is given{PROMPT:#}")
        .unwrap_or_default();
    while left > 0 && step < order.steps_per_epoch() {
        for (b, sequences) in order.step(step).iter().enumerate() {
            for (s, rows) in sequences.iter().enumerate() {
                for (document, row) in rows.iter().take(left).enumerate() {
                    let at = format!("step {}, micro-batch {b}, sequence {s}, document {document}", step + 1);
                    for (side, example) in data.examples(*row as usize) {
                        let which = if data.compares() { format!("{}, ", SIDES[side]) } else { String::new() };
                        out.push_str(&head(&format!("{at}: {which}"), &data.place(*row as usize), &example));
                        out.push_str(&body(&example, tokens)?);
                    }
                }
                left -= rows.len().min(left);
            }
        }
        step += 1;
    }
    Ok(out)
}

fn head(at: &str, place: &str, example: &Example) -> String {
    let trained = example.trained.iter().filter(|t| **t).count();
    format!("\n{HEAD}{place}{HEAD:#}\n{at}{} tokens, {trained} learned\n", example.ids.len())
}

/// A row's text: runs of tokens that are alike, each in its colour, ended by a line end.
fn body(example: &Example, tokens: &Tokens) -> Result<String> {
    let mut out = String::new();
    let kinds: Vec<(bool, bool)> =
        example.ids.iter().zip(&example.trained).map(|(id, trained)| (*trained, tokens.is_special(*id))).collect();
    let mut start = 0;
    for run in kinds.chunk_by(|a, b| a == b) {
        let text = tokens.decode_with_special(&example.ids[start..start + run.len()])?;
        let colour = match run[0] {
            (true, true) => TRAINED_SPECIAL,
            (true, false) => TRAINED,
            (false, true) => SPECIAL,
            (false, false) => PROMPT,
        };
        write!(out, "{colour}{text}{colour:#}").unwrap_or_default();
        start += run.len();
    }
    out.push('\n');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Kind;

    use super::*;
    use crate::{
        data::{
            Shape, Split,
            dataset::tests::{chats, data, tokens},
            shards::tests::build,
        },
        recipe::{Form, Packing, Task},
    };

    #[test]
    fn people_and_programs_see_the_same_step() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a");
        build(&folder, Kind::Chat, &chats(20), 20, 1);
        let tokens = tokens();
        let data = data(&[folder]);
        let set = Dataset::open(
            (&data, &setaccio_base::bundle::Place::disk("recipe.toml")),
            (Task::Sft, Form::Texts),
            (Split::Train, 0),
            (&tokens, 290),
            dir.path(),
            &(),
        )
        .unwrap();
        let shape = Shape { packing: Packing::Bfd, max_length: 200, batch: 2, accumulation: 2 };
        let order = Order::new(set.lengths(), shape, 1);
        let batches = order.batches(&set, 0);
        let values: Vec<serde_json::Value> =
            json(&set, &order, 1).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        // More than anybody could hold.
        assert_eq!(json(&set, &order, u64::MAX).nth(999).unwrap().unwrap().matches("\"step\"").count(), 1);
        for (b, batch) in batches.iter().enumerate() {
            let mine = values.iter().filter(|v| v["micro_batch"] == b);
            let ids: Vec<u64> =
                mine.clone().flat_map(|v| v["ids"].as_array().unwrap()).map(|i| i.as_u64().unwrap()).collect();
            assert_eq!(ids, batch.batch().ids.iter().map(|i| u64::from(*i)).collect::<Vec<_>>());
            let trained: u64 = mine.flat_map(|v| v["trained"].as_array().unwrap()).map(|i| i.as_u64().unwrap()).sum();
            assert_eq!(trained, batch.batch().targets() as u64);
        }
        let shown = text(&set, &order, &tokens, 2).unwrap();
        let row = &values[0]["rows"][0];
        let place = row["place"].as_str().unwrap();
        assert!(
            shown.contains(&format!(
                "{HEAD}{place}{HEAD:#}\nstep 1, micro-batch 0, sequence 0, document 0: {} tokens",
                row["tokens"]
            )),
            "{shown}"
        );
        assert!(
            shown.contains(&format!("{TRAINED_SPECIAL}<|eot_id|>{TRAINED_SPECIAL:#}"))
                && shown.contains(&format!("{TRAINED}sì")),
            "{shown}"
        );
        assert_eq!(shown.matches(&HEAD.to_string()).count(), 2);
    }
}
