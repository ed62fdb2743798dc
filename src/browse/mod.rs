//! `setaccio browse`: a build in a terminal. `app` is what is seen and where keys lead, `draw` puts it into a frame, `screen` is the terminal.

mod app;
mod document;
mod draw;
mod look;
mod screen;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Result, bail};
use ratatui::crossterm::event::Event;
use setaccio_curate::report::browse::Browser;

use self::{
    app::{App, Next},
    draw::draw,
    look::Look,
    screen::Screen,
};
use crate::{signals, terminal};

/// Walk through the build in `out` until somebody has seen enough.
///
/// # Errors
/// There is no build, a file of it is missing or damaged, or this is no terminal.
pub fn run(out: &Path) -> Result<()> {
    let browser = Browser::open(out)?;
    let instead = || {
        let out = out.display();
        format!(
            "`setaccio why {out} ROW` tells of one row, `setaccio report {out}` writes a page, and the rows are Parquet files in {out}/data \
             and {out}/rejects"
        )
    };
    if !terminal::is_terminal() {
        bail!("browse draws on a terminal, and its input or output is none. {}", instead());
    }
    if matches!(std::env::var("TERM").as_deref(), Err(_) | Ok("" | "dumb")) {
        bail!("browse draws on a terminal, and TERM says that this one cannot be drawn on. {}", instead());
    }
    let (mut app, look) = (App::new(&browser), Look::new(terminal::is_coloured()));
    let screen = Screen::enter()?;
    loop {
        app.prepare(screen.size()?, &screen)?;
        screen.draw(|frame| draw(&app, look, frame))?;
        if app.later(&screen)? {
            continue;
        }
        let Event::Key(key) = screen.event()? else { continue };
        match app.key(key, &screen)? {
            Next::Frame => {}
            Next::Quit => return Ok(()),
            Next::Interrupted => signals::end_as_interrupted(),
            Next::Suspend => screen.suspend()?,
        }
    }
}
