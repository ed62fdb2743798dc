//! What came of a run: its losses. Nothing by the clock, so that the card repeats.

use std::fmt::Write;

use setaccio_base::numbers::{counted, grouped};

use super::curve;
use crate::report::line::Line;

/// Most rows of the table.
const ROWS: usize = 20;

/// Steps, and how far the loss came, in a sentence.
pub fn summary(lines: &[Line]) -> String {
    let steps = lines.iter().map(|l| l.step).max().unwrap_or(0);
    let all = |key: &str| lines.iter().filter_map(|l| l.get(key)).collect::<Vec<f64>>();
    let mut out = counted(steps, "step");
    if let (Some(first), Some(last)) = (all("loss").first(), all("loss").last()) {
        let _ = write!(out, ", training loss from {first:.4} to {last:.4}");
    }
    let _ = match all("eval_loss").as_slice() {
        [] => write!(out, "; not evaluated"),
        [only] => write!(out, ", evaluation loss {only:.4}"),
        [first, .., last] => write!(out, ", evaluation loss from {first:.4} to {last:.4}"),
    };
    out
}

/// Tokens seen in the whole run.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, and below 2^53")]
pub fn tokens(lines: &[Line]) -> Option<u64> {
    lines.iter().filter_map(|l| l.get("num_tokens")).next_back().map(|n| n as u64)
}

/// The section of the curve and the table.
pub fn section(lines: &[Line]) -> String {
    let mut out = format!("## Results\n\n![Loss, learning rate and gradient norm over the steps]({})\n", curve::NAME);
    let of = |key: &'static str| lines.iter().filter(move |l| l.get(key).is_some());
    let evals: Vec<&Line> = of("eval_loss").collect();
    if evals.is_empty() {
        out.push_str("\nThe run was not evaluated: these are means over the training rows of the logged steps.\n");
        let logged: Vec<&Line> = of("loss").collect();
        table(&mut out, &["step", "training loss", "token accuracy"], &some(&logged), |line| {
            vec![loss(line.get("loss")), share(line.get("mean_token_accuracy"))]
        });
        return out;
    }
    // The last that was logged by then.
    let train = |line: &Line| of("loss").rfind(|l| l.step <= line.step).and_then(|l| l.get("loss"));
    if evals.iter().any(|line| line.get("eval_rewards/chosen").is_some()) {
        let header =
            ["step", "training loss", "evaluation loss", "chosen ahead", "reward margin", "evaluation token accuracy"];
        table(&mut out, &header, &some(&evals), |line| {
            let ahead = share(line.get("eval_rewards/accuracies"));
            let margin = loss(line.get("eval_rewards/margins"));
            let accuracy = share(line.get("eval_mean_token_accuracy"));
            vec![loss(train(line)), loss(line.get("eval_loss")), ahead, margin, accuracy]
        });
    } else {
        let header = ["step", "training loss", "evaluation loss", "perplexity", "evaluation token accuracy"];
        table(&mut out, &header, &some(&evals), |line| {
            let eval = line.get("eval_loss");
            vec![loss(train(line)), loss(eval), loss(eval.map(f64::exp)), share(line.get("eval_mean_token_accuracy"))]
        });
    }
    let best = evals.iter().filter_map(|l| Some((l.get("eval_loss")?, l.step))).min_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((least, step)) = best {
        let _ = writeln!(out, "\nThe least evaluation loss is {least:.4}, after step {}.", grouped(step));
    }
    out
}

/// All lines, or as many spread over them, the last among them.
fn some<'a>(lines: &[&'a Line]) -> Vec<&'a Line> {
    let n = lines.len().min(ROWS);
    (1..=n).map(|i| lines[i * lines.len() / n - 1]).collect()
}

fn table(out: &mut String, header: &[&str], lines: &[&Line], cells: impl Fn(&Line) -> Vec<String>) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n| {} |\n|{}", header.join(" | "), "---:|".repeat(header.len()));
    for line in lines {
        let _ = writeln!(out, "| {} | {} |", grouped(line.step), cells(line).join(" | "));
    }
}

fn loss(value: Option<f64>) -> String {
    value.map_or_else(String::new, |v| format!("{v:.4}"))
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(String::new, |v| format!("{:.1}%", v * 100.0))
}
