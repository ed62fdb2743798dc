//! What a person is told of rows that are not learned as they are, by `--plan`, `--show-batch`, the first lines of a run and
//! its card.

use std::collections::BTreeMap;

use setaccio_base::numbers::counted;

use super::{Counts, Dataset};

/// What is counted of rows, by name, without what did not happen; and the rows that are learned from.
pub fn counted_by_name(data: &Dataset) -> BTreeMap<String, u64> {
    let counts = serde_json::to_value(data.counts()).ok().and_then(|value| serde_json::from_value(value).ok());
    let mut counts: BTreeMap<String, u64> = counts.unwrap_or_default();
    counts.retain(|_, n| *n > 0);
    counts.insert(LEARNED_FROM.to_owned(), data.len() as u64);
    counts
}

/// What [`counted_by_name`] calls the rows that are learned from.
pub const LEARNED_FROM: &str = "learned_from";

/// A sentence for each thing that happened to rows.
pub fn sentences(data: &Dataset) -> Vec<String> {
    let mut out = of(data.counts());
    if let Some(example) = data.left_out() {
        out.push(format!("the first row that is left out so: {example}"));
    }
    out
}

/// The same without an example, which names a place on this machine.
pub fn of(counts: Counts) -> Vec<String> {
    let rows = |n: u64| counted(n, "row");
    let are = |n: u64| if n == 1 { "is" } else { "are" };
    let left_out = |n: u64, why: &str| (n, format!("{} {} left out: {why}", rows(n), are(n)));
    let cases = [
        (
            counts.partly_said,
            format!(
                "the chat template leaves out or rewrites {} of the answers of {}, which {} not learned (`data.unsaid`)",
                counted(counts.lost, "character"),
                rows(counts.partly_said),
                are(counts.lost)
            ),
        ),
        left_out(
            counts.unsaid,
            "the chat template does not write their answers as they are, or not where they can be found (`data.unsaid`)",
        ),
        left_out(counts.empty, "an answer says nothing (`data.empty_answers`)"),
        left_out(counts.equal, "their two answers become the same tokens"),
        (counts.tools_unseen, format!("{} offer tools, and the chat template shows none", rows(counts.tools_unseen))),
        (
            counts.header_given,
            format!(
                "in {} the first token of an answer begins with a part of its header: it is given, not learned",
                rows(counts.header_given)
            ),
        ),
        (
            counts.space_learned,
            format!(
                "in {} the first token of an answer begins with the white space before it: it is learned, and a model that \
                 is asked begins behind that space",
                rows(counts.space_learned)
            ),
        ),
    ];
    cases.into_iter().filter(|(n, _)| *n > 0).map(|(_, sentence)| sentence).collect()
}
