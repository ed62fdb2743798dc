//! What goes wrong, on demand: planned for certain requests, or thrown by seeded dice.

use std::time::Duration;

/// One kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Answer with this status and do nothing.
    Status(u16),
    /// 429, with these seconds in `Retry-After`.
    TooMany(u64),
    /// 429, with the date so many seconds from now in `Retry-After`.
    TooManyUntil(u64),
    /// Do what is asked, send so many bytes of the answer's body, then break the connection.
    Cut(usize),
    /// Do what is asked, then answer with 504, as a gateway does that has lost patience.
    Lost,
    /// Take so many bytes of what is sent, then break the connection and do nothing.
    CutUpload(usize),
    /// Take what is sent at about so many kilobytes a second, then do what is asked.
    Trickle(u64),
    /// Do what is asked, so many milliseconds late.
    Slow(u64),
    /// Send other bytes than those that are asked for.
    Spoil,
}

/// Trouble for the next requests that fit.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Method, or empty for any.
    pub method: &'static str,
    /// What the path must contain.
    pub path: String,
    /// What happens.
    pub trouble: Trouble,
    /// How many times.
    pub times: usize,
}

/// All that is planned, and the dice.
#[derive(Debug, Default)]
pub struct Faults {
    planned: Vec<Fault>,
    dice: Option<(u64, u32)>,
    thrown: usize,
}

impl Faults {
    /// Plan trouble for the next `times` requests whose path contains `path`.
    pub fn plan(&mut self, method: &'static str, path: &str, trouble: Trouble, times: usize) {
        self.planned.push(Fault { method, path: path.to_owned(), trouble, times });
    }

    /// Throw dice for every request: in so many of 100 something goes wrong.
    pub fn throw(&mut self, seed: u64, percent: u32) {
        self.dice = Some((seed, percent));
    }

    /// Nothing goes wrong any more. Says how much the dice have done.
    pub fn clear(&mut self) -> usize {
        *self = Self { thrown: self.thrown, ..Self::default() };
        std::mem::take(&mut self.thrown)
    }

    /// What happens to this request.
    pub(crate) fn next(&mut self, method: &str, path: &str) -> Option<Trouble> {
        let fits = |f: &Fault| f.times > 0 && (f.method.is_empty() || f.method == method) && path.contains(&f.path);
        if let Some(fault) = self.planned.iter_mut().find(|f| fits(f)) {
            fault.times -= 1;
            return Some(fault.trouble);
        }
        let (state, percent) = self.dice.as_mut()?;
        let mut roll = |sides: u64| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 33) % sides
        };
        if roll(100) >= u64::from(*percent) {
            return None;
        }
        let bytes = usize::try_from(roll(60_000)).unwrap_or(0);
        let trouble = match roll(7) {
            0 => Trouble::Status(500),
            1 => Trouble::Status(503),
            2 => Trouble::TooMany(0),
            3 => Trouble::Cut(bytes),
            4 => Trouble::Lost,
            5 => Trouble::CutUpload(bytes),
            _ => Trouble::Slow(20),
        };
        self.thrown += 1;
        Some(trouble)
    }
}

/// How long a slow answer takes.
pub(crate) fn delay(trouble: Option<Trouble>) -> Duration {
    match trouble {
        Some(Trouble::Slow(ms)) => Duration::from_millis(ms),
        _ => Duration::ZERO,
    }
}
