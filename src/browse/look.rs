//! What parts of a screen look like, in the colours of the command line (`style.rs`); where colours are not wanted, by weight, lines and
//! turned colours alone, which every terminal has.

use ratatui::style::{Color, Modifier, Style};

/// What a part of a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A heading.
    Head,
    /// The name of something.
    Name,
    /// What may be skipped.
    Faint,
    /// What went well.
    Good,
    /// What did not.
    Bad,
    /// What a row says.
    Plain,
    /// What a rule matched.
    Mark,
    /// What was searched for.
    Hit,
}

/// With colours or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    colours: bool,
}

impl Look {
    /// With colours if they are wanted.
    pub fn new(colours: bool) -> Self {
        Self { colours }
    }

    /// Without colours.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self::new(false)
    }

    /// How a part is drawn.
    pub fn of(self, part: Part) -> Style {
        let style = Style::new();
        let coloured = |style: Style, colour| if self.colours { style.fg(colour) } else { style };
        match part {
            Part::Plain => style,
            Part::Head => style.add_modifier(Modifier::BOLD),
            Part::Name => coloured(style, Color::Cyan),
            Part::Faint => style.add_modifier(Modifier::DIM),
            Part::Good => coloured(style, Color::Green),
            Part::Bad => coloured(style.add_modifier(Modifier::BOLD), Color::Red),
            Part::Mark if self.colours => style.fg(Color::Black).bg(Color::Yellow),
            Part::Mark => style.add_modifier(Modifier::REVERSED),
            Part::Hit => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
        }
    }

    /// The line that is chosen.
    pub fn chosen() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
