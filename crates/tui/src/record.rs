//! What happened at the screens, as lines that can be played again.
//!
//! The first line says how the screens began, each other one is an event. Letters that are typed where a secret is typed
//! are kept as stars: a recording can be handed on.

use serde::{Deserialize, Serialize};

use crate::context::Settings;
use crate::event::{Event, Key};
use crate::look::Look;
use crate::state::State;
use crate::text::Language;

/// How the screens began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The language of the first screen.
    pub language: Language,
    /// How things look.
    pub look: Look,
    /// What the program said of itself.
    pub settings: Settings,
    /// Columns of the terminal.
    pub columns: u16,
    /// Lines of the terminal.
    pub lines: u16,
}

impl Head {
    /// Its line.
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The line of an event that `state` is about to take; `None` where it can't be written.
pub fn line(state: &State, event: &Event) -> Option<String> {
    let event = match event {
        Event::Key(Key::Character(_)) if state.is_secret() => &Event::Key(Key::Character('*')),
        event => event,
    };
    serde_json::to_string(event).ok()
}

/// Lines that were read.
pub struct Recording {
    /// How the screens began.
    pub head: Head,
    /// What happened, in its order.
    pub events: Vec<Event>,
}

impl Recording {
    /// Reads lines. The number of a line that is none comes back as the error; a last line that was cut off is left out.
    ///
    /// # Errors
    /// The number of the first line that can't be read.
    pub fn read(text: &str) -> Result<Self, usize> {
        let mut lines = text.lines().enumerate();
        let head = lines.next().and_then(|(_, line)| serde_json::from_str(line).ok()).ok_or(1_usize)?;
        let mut events = Vec::new();
        let last = text.lines().count().saturating_sub(1);
        for (number, line) in lines {
            match serde_json::from_str(line) {
                Ok(event) => events.push(event),
                Err(_) if number == last && !text.ends_with('\n') => {}
                Err(_) => return Err(number.saturating_add(1)),
            }
        }
        Ok(Self { head, events })
    }

    /// The screens as they were in the end.
    pub fn play(self) -> State {
        let mut state = State::new(self.head.language, self.head.look, self.head.settings);
        self.events.into_iter().for_each(|event| {
            state.on(event);
        });
        state
    }
}

impl State {
    /// The line of an event that comes next; see [`Recording`].
    pub fn record(&self, event: &Event) -> Option<String> {
        line(self, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Drawing;

    fn head() -> Head {
        let look = Look { has_colours: false, drawing: Drawing::Ascii };
        let settings = Settings { can_draw_kanji: true, ..Settings::default() };
        Head { language: Language::English, look, settings, columns: 80, lines: 24 }
    }

    #[test]
    fn passwords_are_not_recorded() {
        let head = head();
        let mut state = State::new(head.language, head.look, head.settings.clone());
        let mut text = head.line() + "\n";
        let mut feed = |key| {
            let event = Event::Key(key);
            text.push_str(&state.record(&event).unwrap());
            text.push('\n');
            state.on(event);
        };
        // To the form of a share; its fifth field is the password.
        [Key::Enter, Key::Enter, Key::Down, Key::Enter].into_iter().for_each(&mut feed);
        "nas1".chars().map(Key::Character).for_each(&mut feed);
        [Key::Down; 4].into_iter().for_each(&mut feed);
        "hunter2".chars().map(Key::Character).for_each(&mut feed);
        for secret in ["\"h\"", "\"u\"", "\"2\""] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(text.contains("\"n\"") && text.matches("\"*\"").count() == 7, "{text}");
        let played = Recording::read(&text).unwrap().play();
        assert!(played.is_secret());
    }

    #[test]
    fn a_damaged_line_is_named_and_a_cut_one_left_out() {
        let key = serde_json::to_string(&Event::Key(Key::Enter)).unwrap();
        let head = head().line();
        assert_eq!(Recording::read("").err(), Some(1));
        assert_eq!(Recording::read(&format!("{head}\n{key}\nx\n{key}\n")).err(), Some(3));
        assert_eq!(Recording::read(&format!("{head}\n{key}\n{{\"Key")).unwrap().events.len(), 1);
    }
}
