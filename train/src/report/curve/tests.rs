//! Pictures of runs of every length; `SETACCIO_PICTURES=DIR` writes them there to be looked at.

use super::*;
use crate::random;

fn line(step: u64, values: &[(&str, f64)]) -> Line {
    Line { step, values: values.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect(), samples: Vec::new() }
}

#[allow(clippy::cast_precision_loss, reason = "small")]
fn run(lines: u64, every: u64, eval_every: u64) -> Vec<Line> {
    let noise = random::normal_vec(7, usize::try_from(2 * lines).unwrap_or(0), 1.0);
    let total = lines * every;
    let mut out = Vec::new();
    for i in 1..=lines {
        let (step, share) = (i * every, i as f64 / lines as f64);
        let wobble = |k: u64| f64::from(noise[usize::try_from(2 * (i - 1) + k).unwrap_or(0)]);
        let loss = 1.1 + 2.4 * (-6.0 * share).exp();
        let warm = (share / 0.06).min(1.0);
        let rate = 2e-4 * warm * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / total as f64).cos());
        let norm = 0.4 + (-8.0 * share).exp() + 0.08 * wobble(1).abs();
        out.push(line(step, &[("loss", loss + 0.12 * wobble(0)), ("learning_rate", rate), ("grad_norm", norm)]));
        if eval_every > 0 && step % eval_every == 0 {
            out.push(line(step, &[("eval_loss", loss + 0.06 + 0.1 * share)]));
        }
    }
    out
}

fn pictures() -> Vec<(&'static str, Vec<Line>)> {
    let same = |i: u64| line(i, &[("loss", 2.0), ("learning_rate", 1e-5), ("grad_norm", 0.0)]);
    vec![
        ("none", Vec::new()),
        ("one", run(1, 1, 1)),
        ("few", run(8, 10, 0)),
        ("constant", (1..=30).map(same).collect()),
        ("usual", run(150, 10, 250)),
        ("long", run(25_000, 1, 1000)),
        ("untrained", vec![line(0, &[("eval_loss", 11.2)]), line(1, &[("eval_loss", 11.3)])]),
    ]
}

#[test]
fn every_run_has_a_picture_that_is_well_formed_and_small() {
    for (name, lines) in pictures() {
        let title = format!("{name} <run> & \"more\"");
        let picture = svg(&title, &lines);
        if let Ok(folder) = std::env::var("SETACCIO_PICTURES") {
            std::fs::write(format!("{folder}/{name}.svg"), &picture).unwrap_or_else(|e| panic!("{e}"));
        }
        assert_eq!(picture, svg(&title, &lines), "{name}: repeats");
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{name}: {picture}");
        assert!(picture.contains(&format!("{name} &lt;run&gt; &amp; &quot;more&quot;</text>")));
        assert!(picture.len() < 80_000, "{name}: {} bytes", picture.len());
        for points in picture.split("points=\"").skip(1) {
            let line = points.split('"').next().unwrap_or_default();
            assert!(line.split(' ').count() <= POINTS, "{name}");
            for y in line.split(' ').filter_map(|p| p.split_once(',')?.1.parse::<f64>().ok()) {
                assert!((70.0..600.0).contains(&y), "{name}: {y}");
            }
        }
        for (open, close) in [("<svg", "</svg>"), ("<text", "</text>")] {
            assert_eq!(picture.matches(open).count(), picture.matches(close).count(), "{name}");
        }
    }
}

#[test]
fn what_there_is_is_told() {
    let [one, usual] = [svg("r", &run(1, 1, 1)), svg("r", &run(150, 10, 250))];
    assert_eq!(one.matches("<circle").count(), 4, "four lines of one point: {one}");
    assert!(usual.contains(">smoothed<") && usual.contains(">evaluation loss<"));
    let no_eval = svg("r", &run(150, 10, 0));
    assert!(!no_eval.contains("evaluation"));
    assert!(svg("r", &[]).contains("no step was logged yet"));
}

#[test]
fn thinning_keeps_the_ends_and_every_spike() {
    let mut points: Points = (0..9999).map(|i| (i, 1.0)).collect();
    points[5003].1 = 9.0;
    points[7001].1 = -9.0;
    let kept = thinned(&points);
    assert!(kept.len() <= POINTS && kept.len() > POINTS / 4, "{}", kept.len());
    for point in [(0, 1.0), (5003, 9.0), (7001, -9.0), (9998, 1.0)] {
        assert!(kept.contains(&point), "{point:?}");
    }
    assert!(kept.is_sorted_by(|a, b| a.0 < b.0));
}

#[test]
fn smoothing_is_a_mean_around_each_point() {
    let points: Points = [9.0, 2.0, 4.0].into_iter().chain([3.0; 17]).enumerate().map(|(i, v)| (i as u64, v)).collect();
    let smooth = smoothed(&points);
    assert!(smoothed(&points[..11].to_vec()).is_empty());
    let first = [9.0, 5.0, 4.2, 3.0, 3.2, 3.0];
    for (i, expected) in first.iter().enumerate() {
        assert!((smooth[i].1 - expected).abs() < 1e-12, "{i}: {} is not {expected}", smooth[i].1);
    }
    assert!((smooth[19].1 - 3.0).abs() < 1e-12);
}
