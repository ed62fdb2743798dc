//! The terminal, drawn on as a whole: taken, asked for keys, and given back as it was, however this ends.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, raise};
use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    buffer::Buffer,
    crossterm::{
        cursor::{Hide, Show},
        event::{self, Event, KeyCode, KeyModifiers},
        queue,
        style::ResetColor,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
    style::Style,
};
use setaccio_base::progress::Progress;

use crate::terminal;

/// What takes longer than this says so, and can be stopped.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often it is asked then whether somebody stops it.
const LOOK: Duration = Duration::from_millis(100);

/// The terminal.
pub struct Screen {
    inner: Mutex<Inner>,
}

struct Inner {
    terminal: Terminal<CrosstermBackend<Frames>>,
    /// The last frame.
    shown: Buffer,
    /// Keys that came while work was done.
    ahead: VecDeque<Event>,
    /// When the work began that is done now, and when it was last looked for keys.
    since: Instant,
    looked: Instant,
}

/// Frames on their way to the terminal: each is given whole, and none after the terminal was given back.
struct Frames(Vec<u8>);

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        terminal::frame(&std::mem::take(&mut self.0))
    }
}

impl Screen {
    /// Take the terminal.
    ///
    /// # Errors
    /// It cannot be set.
    pub fn enter() -> Result<Self> {
        take()?;
        let terminal =
            Terminal::new(CrosstermBackend::new(Frames(Vec::new()))).context("cannot draw on this terminal")?;
        let (shown, now) = (Buffer::default(), Instant::now());
        Ok(Self { inner: Mutex::new(Inner { terminal, shown, ahead: VecDeque::new(), since: now, looked: now }) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Columns and lines.
    ///
    /// # Errors
    /// The terminal does not say.
    pub fn size(&self) -> Result<(u16, u16)> {
        let size = self.inner().terminal.size().context("cannot ask the terminal for its size")?;
        Ok((size.width, size.height))
    }

    /// Draw a frame.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub fn draw(&self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<()> {
        let mut inner = self.inner();
        let frame = inner.terminal.draw(draw).context("cannot draw on the terminal")?;
        let shown = frame.buffer.clone();
        (inner.shown, inner.since) = (shown, Instant::now());
        Ok(())
    }

    /// The next key, or another size.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub fn event(&self) -> Result<Event> {
        let ahead = self.inner().ahead.pop_front();
        let event = match ahead {
            Some(event) => event,
            None => event::read().context("cannot read from the terminal")?,
        };
        self.inner().since = Instant::now();
        Ok(event)
    }

    /// Go to the shell until it comes back.
    ///
    /// # Errors
    /// The terminal cannot be set.
    pub fn suspend(&self) -> Result<()> {
        terminal::give_back();
        raise(Signal::SIGTSTP).context("cannot stop")?;
        take()?;
        self.inner().terminal.clear().context("cannot draw on the terminal")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        terminal::give_back();
    }
}

/// What takes long says so, and Esc stops it.
impl Progress for Screen {
    fn cancelled(&self) -> bool {
        let mut inner = self.inner();
        if inner.since.elapsed() < PATIENCE || inner.looked.elapsed() < LOOK {
            return false;
        }
        inner.looked = Instant::now();
        let stopped = inner.asked_to_stop().unwrap_or(true);
        let waited = inner.since.elapsed().as_secs();
        let shown = inner.shown.clone();
        let drawn = inner.terminal.draw(|frame| {
            if frame.area() == shown.area {
                frame.buffer_mut().clone_from(&shown);
            }
            let (width, last) = (usize::from(frame.area().width), frame.area().height.saturating_sub(1));
            let told = format!("looking through the rows, {waited} s; Esc stops");
            frame.buffer_mut().set_stringn(0, last, format!("{told:width$}"), width, Style::new());
        });
        stopped || drawn.is_err()
    }
}

impl Inner {
    /// Whether somebody wants to have it stopped. Other keys wait.
    fn asked_to_stop(&mut self) -> io::Result<bool> {
        let mut stopped = false;
        while event::poll(Duration::ZERO)? {
            let event = event::read()?;
            let Event::Key(key) = event else { continue };
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Esc => stopped = true,
                KeyCode::Char('c') if control => {
                    stopped = true;
                    self.ahead.push_back(event);
                }
                _ => self.ahead.push_back(event),
            }
        }
        Ok(stopped)
    }
}

/// Make it ours: the other screen, keys one by one, no cursor.
fn take() -> Result<()> {
    terminal::take(way_back);
    let taken = enable_raw_mode().and_then(|()| {
        let mut bytes = Vec::new();
        queue!(bytes, EnterAlternateScreen, Hide)?;
        terminal::frame(&bytes)
    });
    if taken.is_err() {
        terminal::give_back();
    }
    taken.context("cannot draw on this terminal")
}

/// How it is given back: its settings as they were, and what is to be written for the rest.
fn way_back() -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = disable_raw_mode();
    let _ = queue!(bytes, ResetColor, LeaveAlternateScreen, Show);
    bytes
}
