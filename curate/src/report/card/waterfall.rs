//! The waterfall: how many rows each step left, as figures and as a picture: a bar a step, as long as the rows that are
//! left, red where it dropped some.

use std::fmt::Write;

use setaccio_base::filter_report::Tally;
use setaccio_base::{
    card::escape_xml,
    numbers::{grouped, percent},
};
use setaccio_dataset::ledger::{Ledger, STAGES};

const LABEL: u32 = 250;
const BAR: f64 = 420.0;
const WIDTH: u32 = 860;
const ROW: usize = 26;
const TOP: usize = 44;
/// Letters of a name that fit.
const LONGEST: usize = 34;

/// One step of the waterfall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Stage, or rule within it.
    pub name: String,
    /// Whether it is a rule rather than a whole stage.
    pub rule: bool,
    /// Rows before it.
    pub rows_in: u64,
    /// Rows it dropped.
    pub dropped: u64,
    /// What it edited, for people.
    pub edits: String,
}

/// The way of the rows through stages and rules. Stages whose only rule is their own are one step.
pub fn steps(ledger: &Ledger) -> Vec<Step> {
    let mut steps = Vec::new();
    for name in STAGES.iter().filter(|s| **s != "split") {
        let Some(stage) = ledger.stage(name) else { continue };
        let mut left = stage.flow.rows_in;
        let inner = stage.rules.len() > 1 || stage.rules.iter().any(|r| r.rule != *name && r.rule != "bad_row");
        if !inner {
            let dropped = stage.flow.rows_in - stage.flow.rows_out;
            steps.push(Step { name: (*name).into(), rule: false, rows_in: left, dropped, edits: String::new() });
            continue;
        }
        for rule in &stage.rules {
            let (name, dropped) = (rule.rule.clone(), rule.tally.dropped);
            steps.push(Step { name, rule: true, rows_in: left, dropped, edits: edits(&rule.tally) });
            left -= dropped;
        }
    }
    steps
}

/// What a step changed without dropping a row, for people; empty if nothing.
pub fn edits(tally: &Tally) -> String {
    let edits = [
        (tally.lines_dropped, "lines dropped"),
        (tally.lines_edited, "lines edited"),
        (tally.rows_edited, "rows edited"),
    ];
    let told = edits.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", grouped(*n)));
    told.collect::<Vec<_>>().join(", ")
}

/// As much of a step's name as fits before its bar.
fn label(name: &str) -> String {
    if name.chars().count() <= LONGEST {
        name.to_owned()
    } else {
        name.chars().take(LONGEST - 1).chain(['…']).collect()
    }
}

/// SVG of the steps, readable on light and dark pages.
pub fn draw(steps: &[Step]) -> String {
    let height = TOP + ROW * steps.len() + 12;
    let first = steps.first().map_or(0, |s| s.rows_in);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\" role=\"img\" aria-label=\"Rows kept and dropped by each step\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"14\" y=\"24\" font-weight=\"600\" fill=\"#1f2933\">Rows kept (blue) and dropped (red) by each step</text>\n"
    );
    for (i, step) in steps.iter().enumerate() {
        let y = TOP + ROW * i;
        let kept = step.rows_in - step.dropped;
        let [kept_width, lost_width] = [kept, step.dropped].map(|n| percent(n, first) / 100.0 * BAR);
        // A drop of one row in a million must still be seen.
        let lost_width = if step.dropped > 0 { lost_width.max(2.0) } else { 0.0 };
        let (base, indent) = (y + 15, if step.rule { 26 } else { 14 });
        let name = escape_xml(&label(&step.name));
        let _ = writeln!(svg, "<text x=\"{indent}\" y=\"{base}\" fill=\"#1f2933\">{name}</text>");
        let _ =
            writeln!(svg, "<rect x=\"{LABEL}\" y=\"{y}\" width=\"{kept_width:.1}\" height=\"20\" fill=\"#2b6cb0\"/>");
        let lost = f64::from(LABEL) + kept_width;
        let _ =
            writeln!(svg, "<rect x=\"{lost:.1}\" y=\"{y}\" width=\"{lost_width:.1}\" height=\"20\" fill=\"#c53030\"/>");
        let text = f64::from(LABEL) + BAR + 14.0;
        let dropped = if step.dropped > 0 { format!(" (\u{2212}{})", grouped(step.dropped)) } else { String::new() };
        let _ = writeln!(svg, "<text x=\"{text:.0}\" y=\"{base}\" fill=\"#1f2933\">{}{dropped}</text>", grouped(kept));
    }
    svg.push_str("</svg>\n");
    svg
}
