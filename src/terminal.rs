//! The one place that writes to stdout and stderr: what a row, a file or a server says cannot act on a terminal from here.
//! [`say!`] is for results, [`tell!`] for all that is said beside them.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    sync::{
        Mutex, OnceLock, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use setaccio_base::shown::{shown, shown_json};

/// A line of results, as `println!` takes it.
macro_rules! say {
    ($($text:tt)*) => { $crate::terminal::line(format_args!($($text)*)) };
}

/// A line beside the results, on stderr.
macro_rules! tell {
    ($($text:tt)*) => { $crate::terminal::aside(format_args!($($text)*)) };
}

/// What a panic says where stdout cannot be written, as on a full disk.
pub const UNPRINTED: &str = "failed printing to stdout: ";

/// [`say!`]
///
/// # Panics
/// stdout cannot be written. A reader that has seen enough (`| head`) is no failure.
pub fn line(text: fmt::Arguments<'_>) {
    match write(&format!("{text}\n")) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => std::panic::panic_any(format!("{UNPRINTED}{error}")),
        _ => {}
    }
}

/// Why stderr could not be written first.
static UNTOLD: OnceLock<String> = OnceLock::new();
/// Whether stdout is for a program.
static JSON: AtomicBool = AtomicBool::new(false);

/// [`tell!`]. Where stderr cannot be written, the command goes on, and [`all_told`] ends it. A reader that has seen enough is
/// no failure.
pub fn aside(text: fmt::Arguments<'_>) {
    match anstream::stderr().write_all(shown(&format!("{text}\n")).as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => drop(UNTOLD.set(error.to_string())),
        _ => {}
    }
}

/// Whether all was said that was to be said beside the results; else a person is told so, where there is still a way.
pub fn all_told() -> bool {
    let Some(why) = UNTOLD.get() else { return true };
    if !JSON.load(Ordering::Relaxed) {
        let _ = write(&format!("error: cannot write to stderr: {why}; what was to be said there is lost\n"));
    }
    false
}

/// Text to stdout, at once.
pub fn write(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout();
    out.write_all(shown(text).as_bytes())?;
    out.flush()
}

/// A text on stdout that grows.
#[cfg(feature = "train")]
#[derive(Default)]
pub struct Growing(String);

#[cfg(feature = "train")]
impl Growing {
    /// Write what `text`, so far, has more than before; half a character or line break when its other half is there.
    pub fn show(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout();
        out.write_all(self.next(text).as_bytes())?;
        out.flush()
    }

    fn next(&mut self, text: &str) -> String {
        let now = shown(text);
        match now.strip_prefix(&self.0).map(str::to_owned) {
            Some(new) if !text.ends_with(['\u{fffd}', '\r']) => {
                self.0 = now;
                new
            }
            _ => String::new(),
        }
    }
}

/// JSON to stdout, as a line. A reader that has seen enough does not hide how the command ends.
pub fn json(json: &str) -> io::Result<()> {
    JSON.store(true, Ordering::Relaxed);
    match writeln!(io::stdout(), "{}", shown_json(json)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Bytes of our own to stdout, for a file: a script, a page, a recipe that the program carries.
pub fn exact(bytes: &[u8]) -> io::Result<()> {
    io::stdout().write_all(bytes)
}

/// How the terminal is given back by what draws on all of it: settings, and what is to be written for the rest.
type WayBack = fn() -> Vec<u8>;

/// The way back while something draws on the whole terminal.
static TAKEN: Mutex<Option<WayBack>> = Mutex::new(None);

/// From now on something draws on the whole terminal. Whatever ends it, [`give_back`] is called.
#[cfg(feature = "browse")]
pub fn take(way_back: WayBack) {
    *TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(way_back);
}

/// Bytes of our own for the terminal as a whole; after it was given back they go nowhere.
#[cfg(feature = "browse")]
pub fn frame(bytes: &[u8]) -> io::Result<()> {
    let taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if taken.is_none() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Give the terminal back as it was, if something draws on it: before the process ends in whatever way, and from any thread. A terminal that
/// takes nothing more is not waited for.
pub fn give_back() {
    let asked = Instant::now();
    let mut taken = loop {
        match TAKEN.try_lock() {
            Ok(taken) => break taken,
            Err(TryLockError::Poisoned(taken)) => break taken.into_inner(),
            Err(TryLockError::WouldBlock) if asked.elapsed() > Duration::from_secs(1) => return,
            Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(5)),
        }
    };
    if let Some(way_back) = taken.take() {
        let mut out = io::stdout().lock();
        let _ = out.write_all(&way_back()).and_then(|()| out.flush());
    }
}

/// Whether a person sits at both ends: the keys and the screen.
#[cfg(feature = "browse")]
pub fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Whether what is written to stdout may have colours, as [`say!`] decides it.
#[cfg(feature = "browse")]
pub fn is_coloured() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

/// Bytes of results for a program, on stdout: as they are, but for a terminal, which shows them and obeys nothing in them.
#[cfg(feature = "query")]
pub struct Data;

#[cfg(feature = "query")]
impl Write for Data {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if io::stdout().is_terminal() {
            // A character that is cut by the end of a buffer waits for the next one.
            let whole = match std::str::from_utf8(bytes) {
                Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
                _ => bytes.len(),
            };
            write(&String::from_utf8_lossy(&bytes[..whole]))?;
            return Ok(whole);
        }
        io::stdout().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// Columns that a table on stdout may take.
#[cfg(feature = "query")]
pub fn width() -> usize {
    const ELSEWHERE: usize = 100;
    console::Term::stdout().size_checked().map_or(ELSEWHERE, |(_, columns)| columns.into())
}

/// Whether a person sees stderr.
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_grows_is_shown_as_it_would_be_at_once() {
        let whole = "Ecco \u{1b}]52;c;eA\u{7} una famiglia: \u{1f469}\u{200d}\u{1f467}\r\ne a\u{200d}b\u{202e}.\n";
        let mut growing = Growing::default();
        let ends = whole.char_indices().map(|(at, c)| at + c.len_utf8());
        let said: String = ends.map(|end| growing.next(&whole[..end])).collect();
        assert_eq!(said, shown(whole));
        // Half a character is not there yet.
        assert_eq!(
            [growing.next(&format!("{whole}\u{fffd}")), growing.next(&format!("{whole}\u{e8}"))],
            ["", "\u{e8}"]
        );
    }
}
