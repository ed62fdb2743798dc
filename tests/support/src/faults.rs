//! What goes wrong, on demand: planned for certain requests, or drawn at random from a seed.

use std::time::Duration;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Answer with this status and do nothing.
    Status(u16),
    /// Answer with this status and this code of an error in XML, as stores of objects do, and do nothing.
    Code(u16, &'static str),
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
    /// Do what is asked, and send so many spaces behind the answer's body.
    Pad(usize),
}

/// A fault of the next requests that fit.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Method, or empty for any.
    pub method: &'static str,
    /// What the path must contain.
    pub path: String,
    /// What happens.
    pub kind: FaultKind,
    /// How many times.
    pub times: usize,
}

/// All that is planned, and the random generator: its state, and in how many of 100 requests something goes wrong.
#[derive(Debug, Default)]
pub struct Faults {
    planned: Vec<Fault>,
    random: Option<(u64, u32)>,
    injected: usize,
}

impl Faults {
    /// Plan a fault of the next `times` requests whose path contains `path`.
    pub fn plan(&mut self, method: &'static str, path: &str, kind: FaultKind, times: usize) {
        self.planned.push(Fault { method, path: path.to_owned(), kind, times });
    }

    /// From now on something goes wrong in so many of 100 requests.
    pub fn randomize(&mut self, seed: u64, percent: u32) {
        self.random = Some((seed, percent));
    }

    /// Nothing goes wrong any more. Returns how many faults were drawn at random.
    pub fn clear(&mut self) -> usize {
        *self = Self { injected: self.injected, ..Self::default() };
        std::mem::take(&mut self.injected)
    }

    /// What happens to this request.
    pub(crate) fn next(&mut self, method: &str, path: &str) -> Option<FaultKind> {
        let fits = |f: &Fault| f.times > 0 && (f.method.is_empty() || f.method == method) && path.contains(&f.path);
        if let Some(fault) = self.planned.iter_mut().find(|f| fits(f)) {
            fault.times -= 1;
            return Some(fault.kind);
        }
        let (state, percent) = self.random.as_mut()?;
        let mut below = |sides: u64| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 33) % sides
        };
        if below(100) >= u64::from(*percent) {
            return None;
        }
        let bytes = usize::try_from(below(60_000)).unwrap_or(0);
        let kind = match below(7) {
            0 => FaultKind::Status(500),
            1 => FaultKind::Status(503),
            2 => FaultKind::TooMany(0),
            3 => FaultKind::Cut(bytes),
            4 => FaultKind::Lost,
            5 => FaultKind::CutUpload(bytes),
            _ => FaultKind::Slow(20),
        };
        self.injected += 1;
        Some(kind)
    }
}

/// How long a slow answer takes.
pub(crate) fn delay(kind: Option<FaultKind>) -> Duration {
    match kind {
        Some(FaultKind::Slow(ms)) => Duration::from_millis(ms),
        _ => Duration::ZERO,
    }
}
