//! A font of dots: every character is 8 or 16 dots wide and 16 high.
//!
//! Source: the GNU Unifont project, "Unifont utilities: the .hex file format": one character a line, its number in
//! hexadecimal, a colon, and 16 lines of one or two bytes from the top; lines are sorted by number.

use std::collections::HashMap;
use std::io;
use std::path::Path;

/// Lines of dots of a character.
pub const LINES: usize = 16;

/// A character as dots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glyph {
    /// 16 dots wide, and 8 otherwise.
    pub is_wide: bool,
    /// The leftmost dot is the highest bit.
    pub lines: [u16; LINES],
}

/// Characters, looked up in the text of the file: reading all of it would take long and need much memory.
pub struct Font {
    text: Vec<u8>,
    known: HashMap<char, Option<Glyph>>,
}

impl Font {
    /// Reads a file.
    pub fn read(path: &Path) -> io::Result<Self> {
        std::fs::read(path).map(Self::new)
    }

    fn new(text: Vec<u8>) -> Self {
        Self { text, known: HashMap::new() }
    }

    /// The dots of a character; of one that the font lacks, a box.
    pub fn glyph(&mut self, character: char) -> Glyph {
        let text = &self.text;
        let found = *self.known.entry(character).or_insert_with(|| find(text, character));
        found.unwrap_or_else(missing)
    }
}

fn missing() -> Glyph {
    let mut lines = [0x4200; LINES];
    lines[..3].copy_from_slice(&[0, 0, 0x7e00]);
    lines[13..].copy_from_slice(&[0x7e00, 0, 0]);
    Glyph { is_wide: false, lines }
}

fn find(text: &[u8], character: char) -> Option<Glyph> {
    let (mut low, mut high) = (0, text.len());
    while low < high {
        // The line around the middle.
        let middle = low.midpoint(high);
        let start = text.get(low..middle)?.iter().rposition(|byte| *byte == b'\n');
        let start = start.and_then(|place| low.checked_add(place)?.checked_add(1)).unwrap_or(low);
        let line = text.get(start..)?.split(|byte| *byte == b'\n').next()?;
        let (number, dots) = std::str::from_utf8(line).ok()?.split_once(':')?;
        match u32::from_str_radix(number, 16).ok()?.cmp(&character.into()) {
            std::cmp::Ordering::Equal => return parse(dots.trim_end()),
            std::cmp::Ordering::Less => low = start.checked_add(line.len())?.checked_add(1)?,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    None
}

fn parse(dots: &str) -> Option<Glyph> {
    let digits = dots.len().checked_div(LINES)?;
    let mut glyph = Glyph { is_wide: digits == 4, lines: [0; LINES] };
    if !dots.is_ascii() || !matches!(digits, 2 | 4) || !dots.len().is_multiple_of(LINES) {
        return None;
    }
    for (number, line) in glyph.lines.iter_mut().enumerate() {
        let start = number.checked_mul(digits)?;
        let value = u16::from_str_radix(dots.get(start..start.checked_add(digits)?)?, 16).ok()?;
        *line = if glyph.is_wide { value } else { value << 8 };
    }
    Some(glyph)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "0041:0000000018242442427E424242420000\n\
        00DC:242400004242424242424242423C0000\n\
        3042:00000100010001601F800200022003F806240A421282210222041C0800300000\n\
        1F600:00000000000000000000000000000001\n";

    #[test]
    fn every_character_of_the_file_is_found() {
        let mut font = Font::new(SAMPLE.as_bytes().to_vec());
        let a = font.glyph('A');
        assert_eq!((a.is_wide, a.lines[4], a.lines[9]), (false, 0x1800, 0x7e00));
        let hiragana = font.glyph('あ');
        assert_eq!((hiragana.is_wide, hiragana.lines[1], hiragana.lines[14]), (true, 0x0100, 0x0030));
        assert_eq!(font.glyph('\u{1f600}').lines[15], 0x0100);
    }

    #[test]
    fn a_character_that_is_not_there_is_a_box() {
        let mut font = Font::new(SAMPLE.as_bytes().to_vec());
        for character in ['\0', 'B', 'い', '\u{10ffff}'] {
            assert_eq!(font.glyph(character), missing(), "{character}");
        }
        // A line with a digit too many, one that is no line, and no file at all.
        for text in ["0041:00000000182424427E4242424200001\n", "0041", "", "\n\n\n", "zz:zz\n", "0041:é"] {
            assert_eq!(Font::new(text.as_bytes().to_vec()).glyph('A'), missing(), "{text}");
        }
    }
}
