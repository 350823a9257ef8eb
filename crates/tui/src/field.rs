//! A line that is typed.

use crate::event::Key;
use crate::text::width;

/// Longer texts are pasted by mistake.
const LENGTH_LIMIT: usize = 1024;

/// What is being typed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Field {
    text: String,
    /// Byte offset in the text.
    cursor: usize,
    is_hidden: bool,
}

impl Field {
    /// With a text to begin with.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), cursor: text.len(), is_hidden: false }
    }

    /// One that shows stars.
    pub fn hidden(text: &str) -> Self {
        Self { is_hidden: true, ..Self::new(text) }
    }

    /// What was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it shows stars.
    pub fn is_hidden(&self) -> bool {
        self.is_hidden
    }

    /// What is shown, and the column of the cursor in it.
    pub fn shown(&self) -> (String, usize) {
        let before = self.text.get(..self.cursor).unwrap_or_default();
        if self.is_hidden {
            return ("*".repeat(self.text.chars().count()), before.chars().count());
        }
        (self.text.clone(), width(before))
    }

    /// Takes a key; whether it was one for a line.
    pub fn on_key(&mut self, key: Key) -> bool {
        match key {
            Key::Character(character) if !character.is_control() => {
                if self.text.len() < LENGTH_LIMIT {
                    self.text.insert(self.cursor, character);
                    self.cursor = self.cursor.saturating_add(character.len_utf8());
                }
            }
            Key::Backspace => {
                if let Some(before) = self.before() {
                    self.cursor = before;
                    self.text.remove(before);
                }
            }
            Key::Delete if self.cursor < self.text.len() => {
                self.text.remove(self.cursor);
            }
            Key::Left => self.cursor = self.before().unwrap_or(self.cursor),
            Key::Right => {
                let next = self.text.get(self.cursor..).and_then(|rest| rest.chars().next());
                self.cursor = self.cursor.saturating_add(next.map_or(0, char::len_utf8));
            }
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = self.text.len(),
            _ => return false,
        }
        true
    }

    /// Whether a key leads away from a screen that has only this field: nothing is left to be deleted.
    pub fn is_left_by(&self, key: Key) -> bool {
        key == Key::Escape || (key == Key::Backspace && self.text.is_empty())
    }

    /// Where the character before the cursor begins.
    fn before(&self) -> Option<usize> {
        self.text.get(..self.cursor)?.char_indices().next_back().map(|(position, _)| position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_several_bytes_are_typed_and_taken_back_whole() {
        let mut field = Field::new("蘇");
        for key in [Key::Character('生'), Key::Left, Key::Backspace, Key::Character('a'), Key::Right, Key::Right] {
            assert!(field.on_key(key));
        }
        assert_eq!(field.text(), "a生");
        assert_eq!(field.shown(), ("a生".into(), 3));
        field.on_key(Key::Home);
        field.on_key(Key::Delete);
        field.on_key(Key::Delete);
        field.on_key(Key::Delete);
        assert_eq!(field.text(), "");
        assert!(!field.on_key(Key::Enter));
    }

    #[test]
    fn a_hidden_text_is_not_shown() {
        assert_eq!(Field::hidden("鍵x").shown(), ("**".into(), 2));
    }
}
