//! What stands on the picture of a machine: its font is known, so that each character is known again by its dots.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::json;

use super::Machine;

/// Dots of a character, 16 lines from the top; the leftmost is the highest bit.
type Dots = [u16; 16];

/// Characters by their dots: 8 wide, and 16 wide.
pub struct Reader {
    narrow: HashMap<Dots, char>,
    wide: HashMap<Dots, char>,
}

/// A picture.
struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Reader {
    /// Knows the characters of a font in the format of GNU Unifont.
    ///
    /// # Panics
    /// Where it is none.
    pub fn new(font: &Path) -> Self {
        let mut reader = Self { narrow: HashMap::new(), wide: HashMap::new() };
        for line in fs::read_to_string(font).unwrap().lines() {
            let (number, dots) = line.split_once(':').unwrap();
            let character = char::from_u32(u32::from_str_radix(number, 16).unwrap()).unwrap();
            let digits = dots.len() / 16;
            let line = |line: usize| u16::from_str_radix(&dots[line * digits..(line + 1) * digits], 16).unwrap();
            let dots = std::array::from_fn(|number| if digits == 4 { line(number) } else { line(number) << 8 });
            // Of characters that look alike the first is meant.
            let kind = if digits == 4 { &mut reader.wide } else { &mut reader.narrow };
            kind.entry(dots).or_insert(character);
        }
        reader
    }

    /// The lines of text on the screen of a machine; what is no character is a `?`.
    ///
    /// # Panics
    /// Where there is no picture.
    pub fn read(&self, machine: &mut Machine) -> String {
        let file = machine.directory().join("picture");
        machine.control("screendump", &json!({ "filename": file }));
        self.lines(&Picture::parse(&fs::read(&file).unwrap()))
    }

    fn lines(&self, picture: &Picture) -> String {
        let mut text = String::new();
        for line in 0..picture.height / 16 {
            let (mut row, mut column) = (String::new(), 0);
            while column < picture.width / 8 {
                let wide = picture.dots(column, line, 16).and_then(|dots| self.wide.get(&dots));
                let found = wide.or_else(|| picture.dots(column, line, 8).and_then(|dots| self.narrow.get(&dots)));
                row.push(found.copied().unwrap_or('?'));
                column += if wide.is_some() { 2 } else { 1 };
            }
            text.push_str(row.trim_end());
            text.push('\n');
        }
        text
    }
}

impl Picture {
    /// Source: ppm(5): `P6`, width, height, 255, and three bytes a pixel.
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|part| part == b"255\n").expect("a picture of QEMU") + 4;
        let header = String::from_utf8_lossy(&bytes[..end]);
        let numbers: Vec<usize> = header.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        Self { width: numbers[0], height: numbers[1], pixels: bytes[end..].to_vec() }
    }

    /// The dots of a cell that are not of the colour of its ground; `None` for the first of two cells at the edge.
    fn dots(&self, column: usize, line: usize, across: usize) -> Option<Dots> {
        let pixel = |x: usize, y: usize| {
            let start = ((line * 16 + y) * self.width + column * 8 + x) * 3;
            &self.pixels[start..start + 3]
        };
        (column * 8 + across <= self.width).then(|| {
            let ground = pixel(0, 0);
            std::array::from_fn(|y| (0..across).fold(0, |dots, x| dots | u16::from(pixel(x, y) != ground) << (15 - x)))
        })
    }
}
