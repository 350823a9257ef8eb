//! Bytes of a terminal become keys.
//!
//! Read here and not by a library, because a serial console is a terminal too: its firmware sends function keys as
//! `ESC 1`, its line goes away (a read of no bytes), and its size has to be asked for.
//!
//! Source: ECMA-48; XTerm Control Sequences; Microsoft, "Standardizing Out-of-Band Management Console Output and
//! Terminal Emulation (VT-UTF8 and VT100+)".

use tui::Key;

/// Longer sequences are no keys.
const SEQUENCE_LIMIT: usize = 32;
const ESCAPE: u8 = 0x1b;

/// What a terminal sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key.
    Key(Key),
    /// Line and column of the cursor, as it was asked for.
    Cursor {
        /// From 1.
        line: u16,
        /// From 1.
        column: u16,
    },
}

/// Puts bytes together.
#[derive(Default)]
pub struct Keys {
    pending: Vec<u8>,
}

impl Keys {
    /// Whether the next byte may belong to the last: after an Escape nobody knows yet.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Input> {
        let mut inputs = Vec::new();
        for byte in bytes {
            self.pending.push(*byte);
            match parse(&self.pending) {
                Parsed::More if self.pending.len() < SEQUENCE_LIMIT => {}
                Parsed::More | Parsed::Nothing => self.pending.clear(),
                Parsed::Input(input) => {
                    self.pending.clear();
                    inputs.push(input);
                }
                Parsed::EscapeAnd => {
                    self.pending.clear();
                    inputs.push(Input::Key(Key::Escape));
                    inputs.extend(self.feed(&[*byte]));
                }
            }
        }
        inputs
    }

    /// Nothing came for a while: an Escape was one.
    pub fn pause(&mut self) -> Option<Input> {
        let pending = std::mem::take(&mut self.pending);
        (pending == [ESCAPE]).then_some(Input::Key(Key::Escape))
    }
}

enum Parsed {
    More,
    Nothing,
    Input(Input),
    /// An Escape, and the last byte for itself.
    EscapeAnd,
}

fn parse(bytes: &[u8]) -> Parsed {
    let key = |key| Parsed::Input(Input::Key(key));
    match bytes {
        [ESCAPE] | [ESCAPE, b'[' | b'O'] | [ESCAPE, b'[', b'['] => Parsed::More,
        [ESCAPE, b'1'] => key(Key::Help),
        [ESCAPE, b'0'..=b'9' | b'!' | b'@'] => Parsed::Nothing,
        [ESCAPE, ESCAPE] => Parsed::EscapeAnd,
        [ESCAPE, b'[', b'[', last] => {
            if *last == b'A' {
                key(Key::Help)
            } else {
                Parsed::Nothing
            }
        }
        [ESCAPE, b'O', last] => named(*last).map_or(Parsed::Nothing, key),
        [ESCAPE, b'[', parameters @ .., last] => match last {
            b'0'..=b'9' | b';' | b'?' | b'<'..=b'>' => Parsed::More,
            last => control(parameters, *last),
        },
        [ESCAPE, _] => Parsed::EscapeAnd,
        [b'\r' | b'\n'] => key(Key::Enter),
        [b'\t'] => key(Key::Tab),
        [8 | 0x7f] => key(Key::Backspace),
        [3] => key(Key::Interrupt),
        [0..0x20] => Parsed::Nothing,
        [first, ..] => match std::str::from_utf8(bytes) {
            Ok(text) => text.chars().next().map_or(Parsed::Nothing, |character| key(Key::Character(character))),
            Err(error) if error.error_len().is_none() && *first >= 0xc2 => Parsed::More,
            Err(_) => Parsed::Nothing,
        },
        [] => Parsed::Nothing,
    }
}

fn named(last: u8) -> Option<Key> {
    Some(match last {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'H' => Key::Home,
        b'F' => Key::End,
        b'M' => Key::Enter,
        b'P' => Key::Help,
        b'Z' => Key::BackTab,
        _ => return None,
    })
}

fn control(parameters: &[u8], last: u8) -> Parsed {
    let text = std::str::from_utf8(parameters).unwrap_or_default();
    let mut numbers = text.split(';').map(|number| number.parse::<u16>().ok());
    let first = numbers.next().flatten();
    if last == b'R' {
        return match (first, numbers.next().flatten()) {
            (Some(line), Some(column)) => Parsed::Input(Input::Cursor { line, column }),
            _ => Parsed::Nothing,
        };
    }
    let found = match (last, first) {
        (b'~', Some(1 | 7)) => Some(Key::Home),
        (b'~', Some(3)) => Some(Key::Delete),
        (b'~', Some(4 | 8)) => Some(Key::End),
        (b'~', Some(5)) => Some(Key::PageUp),
        (b'~', Some(6)) => Some(Key::PageDown),
        (b'~', Some(11)) => Some(Key::Help),
        (b'~', _) => None,
        (last, _) => named(last),
    };
    found.map_or(Parsed::Nothing, |key| Parsed::Input(Input::Key(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Input> {
        let mut keys = Keys::default();
        let mut inputs = keys.feed(bytes);
        inputs.extend(keys.pause());
        // However the bytes are cut into pieces, the keys are the same.
        let mut keys = Keys::default();
        let mut single: Vec<Input> = bytes.iter().flat_map(|byte| keys.feed(&[*byte])).collect();
        single.extend(keys.pause());
        assert_eq!(single, inputs);
        inputs
    }

    #[test]
    fn keys_of_all_terminals_are_known() {
        let cases: [(&[u8], Key); 18] = [
            (b"\x1b[A", Key::Up),
            (b"\x1bOB", Key::Down),
            (b"\x1b[1;5C", Key::Right),
            (b"\x1b[D", Key::Left),
            (b"\x1b[H", Key::Home),
            (b"\x1b[1~", Key::Home),
            (b"\x1b[4~", Key::End),
            (b"\x1b[3~", Key::Delete),
            (b"\x1b[5~", Key::PageUp),
            (b"\x1b[6~", Key::PageDown),
            (b"\x1b[Z", Key::BackTab),
            (b"\x1b1", Key::Help),
            (b"\x1b[[A", Key::Help),
            (b"\x1bOP", Key::Help),
            (b"\r", Key::Enter),
            (b"\x7f", Key::Backspace),
            (b"\x03", Key::Interrupt),
            ("蘇".as_bytes(), Key::Character('蘇')),
        ];
        for (bytes, key) in cases {
            assert_eq!(keys(bytes), [Input::Key(key)], "{bytes:?}");
        }
    }

    #[test]
    fn a_lone_escape_is_one_after_a_pause() {
        assert_eq!(keys(b"\x1b"), [Input::Key(Key::Escape)]);
        assert_eq!(keys(b"\x1bx"), [Input::Key(Key::Escape), Input::Key(Key::Character('x'))]);
        assert_eq!(keys(b"\x1b\x1b[A"), [Input::Key(Key::Escape), Input::Key(Key::Up)]);
    }

    #[test]
    fn the_place_of_the_cursor_is_read() {
        assert_eq!(keys(b"\x1b[24;80R"), [Input::Cursor { line: 24, column: 80 }]);
    }

    #[test]
    fn noise_is_no_key_and_what_follows_is() {
        for noise in [&b"\x1b[200~"[..], b"\xff", b"\x1b[99999999999999999999999999999999999999999m", b"\x01", b"\x1b9"]
        {
            let mut bytes = noise.to_vec();
            bytes.push(b'\r');
            assert_eq!(keys(&bytes).last(), Some(&Input::Key(Key::Enter)), "{noise:?}");
        }
    }
}
