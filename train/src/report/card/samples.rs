//! What the model wrote at the first and at the last evaluation, side by side.

use std::fmt::Write;

use setaccio_base::{card::markdown::block, numbers::grouped};

use crate::report::line::Line;

/// The section; nothing if the model was not asked.
pub fn section(lines: &[Line]) -> String {
    let mut asked = lines.iter().filter(|line| !line.samples.is_empty());
    let Some(first) = asked.next() else { return String::new() };
    let last = asked.next_back().unwrap_or(first);
    let mut out = String::from(
        "## Samples\n\nThe most probable tokens after the same prompts, cut where the recipe says. They prove nothing.\n",
    );
    for sample in &last.samples {
        let _ = write!(out, "\n{}", block("", &sample.prompt));
        let before =
            first.samples.iter().find(|before| before.prompt == sample.prompt).filter(|_| first.step < last.step);
        for (step, text) in before.map(|s| (first.step, &s.text)).into_iter().chain([(last.step, &sample.text)]) {
            let text = if text.trim().is_empty() { "(nothing)" } else { text };
            let _ = write!(out, "\nAfter step {}:\n\n{}", grouped(step), block("", text));
        }
    }
    out
}
