//! `loss.svg`: loss, learning rate and gradient norm over the steps, and with preferences how often and how far the
//! chosen answer is ahead, one panel each. The same lines give the same bytes; thousands of steps are thinned, so the
//! picture stays small.

use std::fmt::Write;

use setaccio_base::{
    card::{Axis, escape_xml, value},
    numbers::grouped,
};

use super::line::Line;

/// Name of the file.
pub const NAME: &str = "loss.svg";

/// Most points of a line.
const POINTS: usize = 1000;
const WIDTH: f64 = 860.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 768.0;
const INK: &str = "#1f2933";
const PALE: &str = "#52606d";
const TRAIN: &str = "#2b6cb0";
const EVAL: &str = "#c05621";

/// Step and value.
type Points = Vec<(u64, f64)>;

/// A line of a panel.
struct Series {
    points: Points,
    colour: &'static str,
    /// Of the stroke.
    width: f64,
    opacity: f64,
    /// A dot at every point.
    dots: bool,
    /// Whether its last value is written beside it.
    labelled: bool,
}

impl Series {
    fn new(points: Points, colour: &'static str) -> Self {
        Self { points, colour, width: 1.8, opacity: 1.0, dots: false, labelled: true }
    }
}

struct Panel<'a> {
    title: &'a str,
    top: f64,
    height: f64,
    ticks: u32,
    /// Whether the axis begins at zero, whatever the values.
    from_zero: bool,
    series: Vec<Series>,
}

/// The picture of a run called `name`.
pub fn svg(name: &str, lines: &[Line]) -> String {
    let of = |key: &str| -> Points { lines.iter().filter_map(|l| Some((l.step, l.get(key)?))).collect() };
    let (train, eval) = (of("loss"), of("eval_loss"));
    let last = lines.iter().map(|l| l.step).max().unwrap_or(0);
    let smooth = smoothed(&train);
    let mut loss = Vec::new();
    if smooth.is_empty() {
        loss.push(Series::new(train.clone(), TRAIN));
    } else {
        loss.push(Series { width: 1.0, opacity: 0.3, labelled: false, ..Series::new(train.clone(), TRAIN) });
        loss.push(Series::new(smooth.clone(), TRAIN));
    }
    loss.push(Series { dots: true, ..Series::new(eval.clone(), EVAL) });
    let panel = |title, top, key, colour| {
        let points = of(key);
        let noisy = key == "grad_norm";
        // Thousands of points in a thick stroke are a smear.
        let width = if noisy && points.len() > 300 { 0.9 } else { 1.8 };
        let series = vec![Series { width, ..Series::new(points, colour) }];
        Panel { title, top, height: 84.0, ticks: 3, from_zero: true, series }
    };
    let compares = lines.iter().any(|l| l.get("rewards/chosen").is_some());
    let title = if compares { "loss" } else { "loss, nats per token" };
    let mut panels = vec![Panel { title, top: 70.0, height: 242.0, ticks: 5, from_zero: false, series: loss }];
    let mut below = |panel: &dyn Fn(f64) -> Panel<'static>| {
        let top = panels.last().map_or(70.0, |above| above.top + above.height + 44.0);
        let made = panel(top);
        // KTO judges single answers, and has no share of pairs that are the right way round.
        if !compares || made.series.iter().any(|s| !s.points.is_empty()) {
            panels.push(made);
        }
    };
    for (title, key) in [("pairs with the chosen answer ahead, share", "accuracies"), ("reward margin", "margins")] {
        if compares {
            let [train, eval] = ["", "eval_"].map(|prefix| of(&format!("{prefix}rewards/{key}")));
            let series = || {
                let eval = Series { dots: true, ..Series::new(eval.clone(), EVAL) };
                vec![Series { opacity: 0.6, width: 1.2, ..Series::new(train.clone(), TRAIN) }, eval]
            };
            below(&|top| Panel {
                title,
                top,
                height: 110.0,
                ticks: 3,
                from_zero: key == "accuracies",
                series: series(),
            });
        }
    }
    below(&|top| panel("learning rate", top, "learning_rate", "#2f855a"));
    below(&|top| panel("gradient norm", top, "grad_norm", "#6b46c1"));
    let bottom = panels.last().map_or(0.0, |last| last.top + last.height);
    let height = bottom + 50.0;
    let title = escape_xml(name);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\" role=\"img\" aria-label=\"Loss, learning rate and gradient norm of {title}\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"14\" y=\"26\" font-size=\"15\" font-weight=\"600\" fill=\"{INK}\">{title}</text>\n"
    );
    legend(&mut svg, &train, &smooth, &eval);
    #[allow(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
    let mut steps = Axis::new(0.0, last.max(1) as f64, 8);
    steps.ticks.retain(|t| t.fract() == 0.0);
    for panel in &panels {
        draw(&mut svg, panel, &steps);
    }
    foot(&mut svg, &steps, bottom);
    svg.push_str("</svg>\n");
    svg
}

/// Which line is which, right of the first panel's title.
fn legend(svg: &mut String, train: &Points, smooth: &Points, eval: &Points) {
    let mut x = LEFT + 170.0;
    if train.is_empty() && eval.is_empty() {
        let _ =
            writeln!(svg, "<text x=\"{x}\" y=\"62\" font-size=\"12\" fill=\"{PALE}\">no step was logged yet</text>");
        return;
    }
    let mut entry = |svg: &mut String, colour: &str, opacity: f64, text: &str, width: f64| {
        let _ = writeln!(
            svg,
            "<path d=\"M{x} 58h22\" stroke=\"{colour}\" stroke-width=\"2.5\" stroke-opacity=\"{opacity}\"/>\
             <text x=\"{:.0}\" y=\"62\" font-size=\"12\" fill=\"{INK}\">{text}</text>",
            x + 28.0
        );
        x += width;
    };
    if !smooth.is_empty() {
        entry(svg, TRAIN, 0.3, "training loss as logged", 190.0);
        entry(svg, TRAIN, 1.0, "smoothed", 110.0);
    } else if !train.is_empty() {
        entry(svg, TRAIN, 1.0, "training loss", 130.0);
    }
    if !eval.is_empty() {
        entry(svg, EVAL, 1.0, "evaluation loss", 140.0);
    }
}

fn x(steps: &Axis, step: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
    let share = steps.share(step as f64);
    LEFT + share * (RIGHT - LEFT)
}

fn draw(svg: &mut String, panel: &Panel, steps: &Axis) {
    let values = || panel.series.iter().flat_map(|s| s.points.iter().map(|p| p.1));
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let axis = match (low, high) {
        (low, high) if low > high => Axis::new(0.0, 1.0, panel.ticks),
        (low, high) if panel.from_zero && low >= 0.0 => {
            Axis::new(0.0, if high > 0.0 { high * 1.06 } else { 1.0 }, panel.ticks)
        }
        (low, high) => {
            let margin = (high - low) * 0.05;
            Axis::new(low - margin, high + margin, panel.ticks)
        }
    };
    let bottom = panel.top + panel.height;
    let y = |value: f64| bottom - axis.share(value) * panel.height;
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.0}\" font-size=\"12\" font-weight=\"600\" fill=\"{INK}\">{}{}</text>",
        panel.top - 8.0,
        panel.title,
        axis.unit()
    );
    let mut grid = String::new();
    for tick in &axis.ticks {
        let at = y(*tick);
        let _ = write!(grid, "M{LEFT} {at:.1}H{RIGHT}");
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"end\" fill=\"{PALE}\">{}</text>",
            LEFT - 8.0,
            at + 4.0,
            axis.label(*tick)
        );
    }
    for tick in &steps.ticks {
        let _ = write!(grid, "M{:.1} {}V{bottom}", LEFT + steps.share(*tick) * (RIGHT - LEFT), panel.top);
    }
    let _ = writeln!(svg, "<path d=\"{grid}\" stroke=\"#e4e7eb\"/>");
    let _ = writeln!(svg, "<path d=\"M{LEFT} {}V{bottom}H{RIGHT}\" fill=\"none\" stroke=\"#9aa5b1\"/>", panel.top);
    for series in &panel.series {
        line(svg, series, steps, y);
    }
    last_values(svg, panel, steps, y);
}

fn line(svg: &mut String, series: &Series, steps: &Axis, y: impl Fn(f64) -> f64) {
    let points: Vec<String> =
        thinned(&series.points).iter().map(|(step, v)| format!("{:.1},{:.1}", x(steps, *step), y(*v))).collect();
    let Series { colour, width, opacity, .. } = series;
    if points.len() > 1 {
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-opacity=\"{opacity}\" \
             stroke-linejoin=\"round\"/>",
            points.join(" ")
        );
    }
    // A point alone draws no line; too many dots would hide it.
    if points.len() == 1 || (series.dots && points.len() <= 60) {
        for point in &points {
            let (x, y) = point.split_once(',').unwrap_or_default();
            let _ = writeln!(
                svg,
                "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\" stroke=\"#ffffff\" stroke-width=\"1\"/>"
            );
        }
    }
}

/// The last value of each line, right of it, and apart where two would lie on one another.
fn last_values(svg: &mut String, panel: &Panel, steps: &Axis, y: impl Fn(f64) -> f64) {
    let mut labels: Vec<(f64, f64, &Series)> = Vec::new();
    for series in panel.series.iter().filter(|s| s.labelled) {
        if let Some((step, v)) = series.points.last() {
            labels.push((y(*v), x(steps, *step), series));
        }
    }
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (top, bottom) = (panel.top + 6.0, panel.top + panel.height);
    let mut free = top;
    let mut places: Vec<f64> = Vec::new();
    for (at, ..) in &labels {
        let place = at.max(free);
        places.push(place);
        free = place + 15.0;
    }
    // Pushed below the panel: move all up again by as much.
    let over = places.last().map_or(0.0, |p| (p - bottom).max(0.0));
    for (place, (_, _, series)) in places.iter().zip(&labels) {
        let v = series.points.last().map_or(0.0, |p| p.1);
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.1}\" font-size=\"12\" font-weight=\"600\" fill=\"{}\">{}</text>",
            RIGHT + 8.0,
            place - over + 4.0,
            series.colour,
            value(v)
        );
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole steps")]
fn foot(svg: &mut String, steps: &Axis, bottom: f64) {
    for tick in &steps.ticks {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\" font-size=\"11\" text-anchor=\"middle\" fill=\"{PALE}\">{}</text>",
            LEFT + steps.share(*tick) * (RIGHT - LEFT),
            bottom + 17.0,
            grouped(*tick as u64)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.0}\" y=\"{:.0}\" font-size=\"12\" text-anchor=\"middle\" fill=\"{INK}\">step</text>",
        f64::midpoint(LEFT, RIGHT),
        bottom + 37.0
    );
}

/// The mean of the lines within a fortieth of the run on either side, so that it does not lag behind; nothing
/// where there is too little to smooth.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52 lines")]
fn smoothed(points: &Points) -> Points {
    if points.len() < 12 {
        return Vec::new();
    }
    let reach = (points.len() / 40).clamp(2, 100);
    let mut sums = vec![0.0];
    sums.extend(points.iter().scan(0.0, |sum, p| {
        *sum += p.1;
        Some(*sum)
    }));
    let mean = |i: usize| {
        // No further back than to the start on both sides, where the loss falls steeply.
        let reach = reach.min(i);
        let (from, to) = (i - reach, (i + reach + 1).min(points.len()));
        (sums[to] - sums[from]) / (to - from) as f64
    };
    points.iter().enumerate().map(|(i, (step, _))| (*step, mean(i))).collect()
}

/// At most [`POINTS`]: the ends, and of every stretch between them the least and the greatest, so that no
/// spike is lost.
fn thinned(points: &Points) -> Points {
    if points.len() <= POINTS {
        return points.clone();
    }
    let inner = &points[1..points.len() - 1];
    let stretches = (POINTS - 2) / 2;
    let mut kept = vec![points[0]];
    for i in 0..stretches {
        let stretch = &inner[i * inner.len() / stretches..(i + 1) * inner.len() / stretches];
        let place = |better: fn(f64, f64) -> bool| {
            (0..stretch.len()).reduce(|best, j| if better(stretch[j].1, stretch[best].1) { j } else { best })
        };
        let mut both: Vec<usize> = [place(|a, b| a < b), place(|a, b| a > b)].into_iter().flatten().collect();
        both.sort_unstable();
        both.dedup();
        kept.extend(both.into_iter().map(|j| stretch[j]));
    }
    kept.extend(points.last());
    kept
}

#[cfg(test)]
mod tests;
