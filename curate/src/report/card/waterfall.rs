//! A picture of the waterfall: a bar a step, as long as the rows that are left, red where it dropped some.

use std::fmt::Write;

use super::{Step, grouped, percent};

const LABEL: u32 = 250;
const BAR: f64 = 420.0;
const WIDTH: u32 = 860;
const ROW: usize = 26;
const TOP: usize = 44;

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
        let name = escape(&step.name);
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

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
