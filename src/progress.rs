//! What a person sees of long work: a bar on a terminal, a plain line every few seconds elsewhere.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use setaccio_base::{progress::Progress, shown::one_line};

use crate::{
    signals,
    style::{BAD, FAINT},
    terminal,
};

/// What a step is of a stage that is counted in bytes.
const MEGABYTE: u64 = 1_000_000;

/// Plain lines come no oftener than this.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// How much is said beside the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loudness {
    /// Warnings and errors.
    Quiet,
    /// How far the work is, too.
    Normal,
    /// Each file and task, too.
    Verbose,
}

/// The bar, and whether a signal asked to stop.
pub struct Bar {
    loudness: Loudness,
    terminal: bool,
    line: ProgressBar,
    rows: AtomicU64,
    bytes: AtomicU64,
    moved: AtomicU64,
    plain: Mutex<Plain>,
}

struct Plain {
    stage: &'static str,
    total: u64,
    done: u64,
    began: Instant,
    told: Instant,
}

impl Bar {
    /// One that says how far the work is.
    pub fn new() -> Self {
        Self::with(Loudness::Normal)
    }

    /// From now on the first Ctrl-C stops cleanly, the second at once.
    pub fn with(loudness: Loudness) -> Self {
        signals::stop_cleanly();
        let terminal = terminal::is_watched() && loudness > Loudness::Quiet;
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let now = Instant::now();
        Self {
            loudness,
            terminal,
            line: ProgressBar::with_draw_target(Some(0), target),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            plain: Mutex::new(Plain { stage: "", total: 0, done: 0, began: now, told: now }),
        }
    }

    /// Leave no trace of the bar.
    pub fn clear(&self) {
        self.line.finish_and_clear();
    }

    /// A stage that is counted in bytes begins.
    pub fn transfer(&self, name: &'static str, bytes: u64) {
        self.moved.store(0, Ordering::Relaxed);
        self.stage(name, bytes.div_ceil(MEGABYTE));
    }

    fn speed(&self, began: Instant) -> String {
        let seconds = began.elapsed().as_secs_f64().max(0.001);
        let (rows, bytes) = (self.rows.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        if rows == 0 {
            return String::new();
        }
        #[allow(clippy::cast_precision_loss, reason = "shown to three digits")]
        let (rows, bytes) = (rows as f64 / seconds, bytes as f64 / seconds / 1e6);
        format!("{rows:.0} rows/s, {bytes:.1} MB/s")
    }
}

impl Progress for Bar {
    fn cancelled(&self) -> bool {
        signals::came()
    }

    fn stage(&self, name: &'static str, total: u64) {
        self.rows.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        let now = Instant::now();
        let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        *plain = Plain { stage: name, total, done: 0, began: now, told: now };
        if self.terminal {
            let look = "{prefix:>8} {wide_bar:.cyan/blue} {pos}/{len}  {msg}  {eta} left";
            self.line.set_style(ProgressStyle::with_template(look).unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.line.set_length(total);
            self.line.set_prefix(name);
            self.line.reset();
        }
    }

    fn advance(&self, pieces: u64, note: &str) {
        let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        plain.done += pieces;
        let speed = if note.is_empty() { self.speed(plain.began) } else { one_line(note) };
        if self.terminal {
            self.line.inc(pieces);
            self.line.set_message(speed);
        } else if self.loudness > Loudness::Quiet && plain.told.elapsed() >= PLAIN_EVERY {
            plain.told = Instant::now();
            let left = left(plain.began.elapsed(), plain.done, plain.total);
            tell!("{}: {} of {}  {speed}  {left}", plain.stage, plain.done, plain.total);
        }
    }

    fn rows(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Once every few rows is enough for the eye.
        if self.terminal && self.rows.load(Ordering::Relaxed).is_multiple_of(1024) {
            let began = self.plain.lock().unwrap_or_else(PoisonError::into_inner).began;
            self.line.set_message(self.speed(began));
        }
    }

    fn bytes(&self, bytes: u64) {
        let before = self.moved.fetch_add(bytes, Ordering::Relaxed);
        let megabytes = (before + bytes) / MEGABYTE - before / MEGABYTE;
        if megabytes > 0 {
            let began = self.plain.lock().unwrap_or_else(PoisonError::into_inner).began;
            let seconds = began.elapsed().as_secs_f64().max(0.001);
            #[allow(clippy::cast_precision_loss, reason = "shown to one decimal")]
            let speed = (before + bytes) as f64 / seconds / 1e6;
            self.advance(megabytes, &format!("MB, {speed:.1} MB/s"));
        }
    }

    fn detail(&self, sentence: &str) {
        if self.loudness == Loudness::Verbose {
            self.note(sentence);
        }
    }

    fn note(&self, sentence: &str) {
        if self.loudness == Loudness::Quiet {
            return;
        }
        self.line.suspend(|| tell!("{FAINT}{sentence}{FAINT:#}"));
    }

    fn warn(&self, sentence: &str) {
        self.line.suspend(|| tell!("{BAD}warning:{BAD:#} {sentence}"));
    }
}

fn left(elapsed: Duration, done: u64, total: u64) -> String {
    if done == 0 {
        return String::new();
    }
    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    let seconds = elapsed.as_secs_f64() * (total.saturating_sub(done)) as f64 / done as f64;
    format!("{seconds:.0} s left")
}
