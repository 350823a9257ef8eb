//! One of several.

use crate::event::Key;

/// Which of several is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Menu {
    /// Its number; `None` where nothing is chosen before the operator chooses.
    pub chosen: Option<usize>,
}

impl Menu {
    /// With the entry of this number chosen.
    pub fn at(number: usize) -> Self {
        Self { chosen: Some(number) }
    }

    /// Moves among `count` entries; whether the key was one that moves.
    pub fn on_key(&mut self, key: Key, count: usize) -> bool {
        let last = count.saturating_sub(1);
        let chosen = match (key, self.chosen) {
            (Key::Up | Key::BackTab, None) | (Key::End | Key::PageDown, _) => last,
            (Key::Down | Key::Tab, None) | (Key::Home | Key::PageUp, _) => 0,
            (Key::Up | Key::BackTab, Some(number)) => number.saturating_sub(1),
            (Key::Down | Key::Tab, Some(number)) => number.saturating_add(1).min(last),
            (Key::Character('k'), _) => return self.on_key(Key::Up, count),
            (Key::Character('j'), _) => return self.on_key(Key::Down, count),
            _ => return false,
        };
        self.chosen = (count > 0).then_some(chosen);
        true
    }

    /// Whether the entry of this number is chosen.
    pub fn is(&self, number: usize) -> bool {
        self.chosen == Some(number)
    }

    /// The first of `count` entries that is drawn, where `room` of them fit: the chosen one is always there.
    pub fn first(&self, count: usize, room: usize) -> usize {
        let chosen = self.chosen.unwrap_or_default();
        let last = count.saturating_sub(room);
        chosen.saturating_add(1).saturating_sub(room).min(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_entry_stays_inside() {
        let mut menu = Menu::default();
        assert!(!menu.on_key(Key::Enter, 3));
        assert!(menu.on_key(Key::Down, 3) && menu.is(0));
        for _ in 0..9 {
            menu.on_key(Key::Down, 3);
        }
        assert!(menu.is(2));
        menu.on_key(Key::Home, 3);
        menu.on_key(Key::Up, 3);
        assert!(menu.is(0));
        menu.on_key(Key::Down, 0);
        assert_eq!(menu.chosen, None);
    }

    #[test]
    fn what_is_chosen_is_drawn() {
        for room in 1..6 {
            for chosen in 0..9 {
                let first = Menu::at(chosen).first(9, room);
                assert!(first <= chosen && chosen < first + room && first + room <= 9);
            }
        }
    }
}
