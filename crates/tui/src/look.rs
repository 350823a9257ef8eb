//! How things look: colours or none, Unicode or plain ASCII.

use ratatui::style::{Color, Modifier, Style};
use serde::{Deserialize, Serialize};

/// Which characters are drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Drawing {
    /// Blocks and lines.
    Unicode,
    /// What every terminal has.
    Ascii,
}

/// How things look on this terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The sixteen colours of every terminal, or none.
    pub has_colours: bool,
    /// Characters of bars, maps and rules.
    pub drawing: Drawing,
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Text.
    #[default]
    Plain,
    /// Explanations.
    Dim,
    /// Headings.
    Strong,
    /// The bars at the top and the bottom.
    Bar,
    /// What Enter takes.
    Chosen,
    /// Something is well.
    Good,
    /// It should be known.
    Warning,
    /// It keeps something from being done.
    Bad,
    /// Used bytes on a map, and progress.
    Full,
}

impl Look {
    /// The style of a piece of text.
    pub fn style(self, tone: Tone) -> Style {
        let plain = Style::new();
        if !self.has_colours {
            return match tone {
                Tone::Bar | Tone::Chosen => plain.add_modifier(Modifier::REVERSED),
                Tone::Strong | Tone::Warning | Tone::Bad => plain.add_modifier(Modifier::BOLD),
                Tone::Plain | Tone::Dim | Tone::Good | Tone::Full => plain,
            };
        }
        match tone {
            Tone::Plain | Tone::Dim => plain,
            Tone::Strong => plain.add_modifier(Modifier::BOLD),
            Tone::Bar => plain.fg(Color::White).bg(Color::Blue),
            Tone::Chosen => plain.fg(Color::Black).bg(Color::Cyan),
            Tone::Good => plain.fg(Color::Green),
            Tone::Warning => plain.fg(Color::Yellow),
            Tone::Bad => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Full => plain.fg(Color::Cyan),
        }
    }

    /// A cell that is full.
    pub fn full(self) -> char {
        if self.drawing == Drawing::Ascii { '#' } else { '█' }
    }

    /// A cell that is empty.
    pub fn empty(self) -> char {
        if self.drawing == Drawing::Ascii { '.' } else { '░' }
    }

    /// A cell of a rule.
    pub fn rule(self) -> char {
        if self.drawing == Drawing::Ascii { '-' } else { '─' }
    }

    /// A cell of a graph, of 0 to 8 eighths.
    pub fn eighths(self, eighths: u64) -> char {
        let characters = match self.drawing {
            Drawing::Ascii => "_._-=+*##",
            Drawing::Unicode => " ▁▂▃▄▅▆▇█",
        };
        usize::try_from(eighths).ok().and_then(|number| characters.chars().nth(number)).unwrap_or(' ')
    }
}
