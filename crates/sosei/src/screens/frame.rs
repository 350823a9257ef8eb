//! What two programs tell each other over a socket: a kind, a length, bytes.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use tui::Look;

/// Longer ones come from somebody else.
const LENGTH_LIMIT: u32 = 1 << 20;

/// Is a job at work?
pub const ASK: u8 = b'Q';
/// The answer: [`Presence`].
pub const TOLD: u8 = b'S';
/// Show the screens here: [`Hello`].
pub const ATTACH: u8 = b'A';
/// Typed bytes.
pub const KEYS: u8 = b'K';
/// Columns and lines of the terminal.
pub const SIZE: u8 = b'W';
/// Bytes to show.
pub const DRAW: u8 = b'D';
/// The program has ended: its exit status.
pub const END: u8 = b'E';

/// What a program at work says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// A job runs that must not be left alone.
    pub is_working: bool,
    /// It is shown somewhere.
    pub has_terminal: bool,
}

/// A terminal that wants to show the screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What it can draw.
    pub look: Look,
    /// Whether it can show kanji.
    pub can_draw_kanji: bool,
    /// Its columns and lines; 0 where it does not know.
    pub size: (u16, u16),
}

/// Sends a frame in one piece.
pub fn send(to: &mut impl Write, kind: u8, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut frame = vec![kind];
    frame.extend(length.to_le_bytes());
    frame.extend(bytes);
    to.write_all(&frame)
}

/// Sends a document.
pub fn send_document(to: &mut impl Write, kind: u8, document: &impl Serialize) -> io::Result<()> {
    send(to, kind, &serde_json::to_vec(document)?)
}

/// The next frame.
pub fn receive(from: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let [kind, a, b, c, d] = head;
    let length = u32::from_le_bytes([a, b, c, d]);
    if length > LENGTH_LIMIT {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    from.read_exact(&mut bytes)?;
    Ok((kind, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_as_they_were_sent_and_too_long_ones_do_not() {
        let mut bytes = Vec::new();
        send(&mut bytes, KEYS, b"abc").unwrap();
        send_document(&mut bytes, SIZE, &(80, 24)).unwrap();
        let mut from = bytes.as_slice();
        assert_eq!(receive(&mut from).unwrap(), (KEYS, b"abc".to_vec()));
        assert_eq!(receive(&mut from).unwrap(), (SIZE, b"[80,24]".to_vec()));
        assert_eq!(receive(&mut from).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let long = [b'K', 0, 0, 0, 1];
        assert_eq!(receive(&mut long.as_slice()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
