//! Counts in Prometheus' text format.

use std::{
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use setaccio_train::inference::engine::Counts;

/// Upper bounds of the buckets, in seconds.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// How often something took how long.
#[derive(Default)]
pub struct Histogram(Mutex<Times>);

#[derive(Clone, Copy, Default)]
struct Times {
    counts: [u64; BOUNDS.len()],
    all: u64,
    seconds: f64,
}

impl Histogram {
    /// It took so long.
    pub fn add(&self, time: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = time.as_secs_f64();
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            times.counts[bucket] += 1;
        }
        times.all += 1;
        times.seconds += seconds;
    }

    fn write(&self, out: &mut String, name: &str, help: &str) {
        let times = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        head(out, name, help, "histogram");
        let mut sum = 0;
        for (bound, count) in BOUNDS.iter().zip(times.counts) {
            sum += count;
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {sum}");
        }
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {}", times.all);
        let _ = writeln!(out, "{name}_sum {}\n{name}_count {}", times.seconds, times.all);
    }
}

/// What is measured beside the engine's counts.
#[derive(Default)]
pub struct Metrics {
    /// From a request to its first token.
    pub first_token: Histogram,
    /// From token to token.
    pub per_token: Histogram,
}

impl Metrics {
    /// All of them, with the engine's counts, open requests, and bytes of the cache for a row.
    pub fn text(&self, counts: &Counts, open: usize, row_bytes: usize) -> String {
        let mut out = String::new();
        let Counts { read, kept, written, restarted, steps, running, rows, kept_rows, waiting: _ } = *counts;
        for (name, help, count) in [
            ("prompt_tokens_total", "Tokens of prompts that were computed.", read),
            ("prefix_cache_tokens_total", "Tokens of prompts that were in the cache.", kept),
            ("generation_tokens_total", "Tokens that were written.", written),
            ("restarts_total", "Texts that gave up their room in the cache and began again.", restarted),
            ("steps_total", "Steps of the engine.", steps),
        ] {
            let name = format!("setaccio_{name}");
            head(&mut out, &name, help, "counter");
            let _ = writeln!(out, "{name} {count}");
        }
        for (name, help, value) in [
            ("num_requests_running", "Requests that are worked on.", running),
            ("num_requests_waiting", "Requests that wait.", open.saturating_sub(running)),
            ("kv_cache_bytes", "Bytes of the cache that texts have.", rows * row_bytes),
            ("prefix_cache_bytes", "Bytes of the cache that prompts have which were read.", kept_rows * row_bytes),
        ] {
            let name = format!("setaccio_{name}");
            head(&mut out, &name, help, "gauge");
            let _ = writeln!(out, "{name} {value}");
        }
        self.first_token.write(&mut out, "setaccio_time_to_first_token_seconds", "From a request to its first token.");
        self.per_token.write(&mut out, "setaccio_time_per_output_token_seconds", "From one token to the next.");
        out
    }
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let metrics = Metrics::default();
        for seconds in [0.001, 0.02, 0.02, 400.0] {
            metrics.first_token.add(Duration::from_secs_f64(seconds));
        }
        let text = metrics.text(&Counts { running: 2, rows: 3, ..Counts::default() }, 5, 10);
        for line in [
            "setaccio_time_to_first_token_seconds_bucket{le=\"0.01\"} 1",
            "setaccio_time_to_first_token_seconds_bucket{le=\"300\"} 3",
            "setaccio_time_to_first_token_seconds_bucket{le=\"+Inf\"} 4",
            "setaccio_time_to_first_token_seconds_count 4",
            "setaccio_num_requests_waiting 3",
            "setaccio_kv_cache_bytes 30",
            "# TYPE setaccio_steps_total counter",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }
}
