//! Cells of a terminal become pixels. Only lines of text that have changed are drawn, and nothing blinks: a remote
//! console sends what changes over a slow line.

use device::{Channel, Geometry};
use vt100::{Cell, Color, Screen};

use super::font::{Font, Glyph, LINES};

const CELL_WIDTH: u32 = 8;
const CELL_HEIGHT: u32 = 16;
/// Fewer columns and lines than this can't hold the screens.
const SMALLEST: (u32, u32) = (80, 24);
/// With twice the size there is still room for more than the smallest.
const COMFORTABLE: (u32, u32) = (100, 30);

/// The colours of ECMA-48, then the same for bold text: easy to read on a black ground.
const PALETTE: [[u8; 3]; 16] = [
    [0x00, 0x00, 0x00],
    [0xd0, 0x30, 0x30],
    [0x30, 0xb0, 0x30],
    [0xd0, 0xa0, 0x20],
    [0x20, 0x50, 0xb0],
    [0xb0, 0x40, 0xb0],
    [0x30, 0xb0, 0xc0],
    [0xd0, 0xd0, 0xd0],
    [0x70, 0x70, 0x70],
    [0xff, 0x60, 0x60],
    [0x60, 0xe0, 0x60],
    [0xff, 0xd0, 0x40],
    [0x60, 0x90, 0xff],
    [0xe0, 0x70, 0xe0],
    [0x70, 0xe0, 0xf0],
    [0xff, 0xff, 0xff],
];
const TEXT: u8 = 7;
const GROUND: u8 = 0;

/// What a cell shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    character: char,
    text: [u8; 3],
    ground: [u8; 3],
    /// Takes two cells.
    is_wide: bool,
    /// The second of two.
    is_rest: bool,
}

/// A picture of a terminal.
pub struct Picture {
    font: Font,
    geometry: Geometry,
    /// Pixels of a dot, in each direction.
    scale: u32,
    columns: u16,
    lines: u16,
    shown: Vec<Vec<Shown>>,
    /// The lines of pixels of one line of text.
    pixels: Vec<u8>,
}

impl Picture {
    /// A picture that fills the framebuffer; `None` where that is too small for the screens.
    pub fn new(font: Font, geometry: Geometry) -> Option<Self> {
        let cells = |scale: u32| {
            let across = geometry.width.checked_div(CELL_WIDTH.checked_mul(scale)?)?;
            Some((across, geometry.height.checked_div(CELL_HEIGHT.checked_mul(scale)?)?))
        };
        let holds =
            |scale, (columns, lines)| cells(scale).is_some_and(|(across, down)| across >= columns && down >= lines);
        let scale = (2..=4).rev().find(|scale| holds(*scale, COMFORTABLE)).or(holds(1, SMALLEST).then_some(1))?;
        let (columns, lines) = cells(scale)?;
        let line_pixels = CELL_HEIGHT.checked_mul(scale)?.checked_mul(geometry.line_bytes)?;
        Some(Self {
            font,
            geometry,
            scale,
            columns: u16::try_from(columns).ok()?,
            lines: u16::try_from(lines).ok()?,
            shown: Vec::new(),
            pixels: vec![0; usize::try_from(line_pixels).ok()?],
        })
    }

    /// Lines and columns of text.
    pub fn size(&self) -> (u16, u16) {
        (self.lines, self.columns)
    }

    /// What is on the screen is not known any more: everything is drawn next time.
    pub fn forget(&mut self) {
        self.shown.clear();
    }

    /// Draws what has changed: gives lines of pixels to `write`, with the number of the first.
    pub fn draw<E>(&mut self, screen: &Screen, mut write: impl FnMut(u32, &[u8]) -> Result<(), E>) -> Result<(), E> {
        let is_new = self.shown.is_empty();
        let height = CELL_HEIGHT.saturating_mul(self.scale);
        for line in 0..self.lines {
            let wanted = self.line(screen, line);
            if self.shown.get(usize::from(line)) == Some(&wanted) {
                continue;
            }
            self.pixels.fill(0);
            for (column, cell) in wanted.iter().enumerate() {
                self.put(column, cell);
            }
            write(u32::from(line).saturating_mul(height), &self.pixels)?;
            match self.shown.get_mut(usize::from(line)) {
                Some(shown) => *shown = wanted,
                None => self.shown.push(wanted),
            }
        }
        if is_new {
            // What is left below the last line.
            let below = u32::from(self.lines).saturating_mul(height);
            self.pixels.fill(0);
            let line = usize::try_from(self.geometry.line_bytes).unwrap_or_default();
            let black = self.pixels.get(..line).unwrap_or_default();
            for number in below..self.geometry.height {
                write(number, black)?;
            }
        }
        Ok(())
    }

    fn line(&self, screen: &Screen, line: u16) -> Vec<Shown> {
        let cursor = (!screen.hide_cursor()).then(|| screen.cursor_position());
        let cell = |column| {
            let mut shown = screen.cell(line, column).map_or(BLANK, shown);
            if cursor == Some((line, column)) {
                std::mem::swap(&mut shown.text, &mut shown.ground);
            }
            shown
        };
        (0..self.columns).map(cell).collect()
    }

    fn put(&mut self, column: usize, cell: &Shown) {
        // The first of two cells has drawn it.
        if cell.is_rest {
            return;
        }
        let glyph = fitted(self.font.glyph(cell.character), cell.is_wide);
        let across = if cell.is_wide { 16 } else { 8 };
        let (text, ground) = (pixel(&self.geometry.channels, cell.text), pixel(&self.geometry.channels, cell.ground));
        let length = usize::try_from(self.geometry.pixel_bytes).unwrap_or_default();
        let (Some(text), Some(ground)) = (text.get(..length), ground.get(..length)) else { return };
        let scale = usize::try_from(self.scale).unwrap_or(1);
        let line_bytes = usize::try_from(self.geometry.line_bytes).unwrap_or_default();
        let start = column.saturating_mul(8).saturating_mul(scale).saturating_mul(length);
        for (number, lines) in self.pixels.chunks_exact_mut(line_bytes.saturating_mul(scale).max(1)).enumerate() {
            let dots = glyph.lines.get(number).copied().unwrap_or_default();
            for line in lines.chunks_exact_mut(line_bytes.max(1)) {
                let room = line.get_mut(start..).unwrap_or_default();
                for (dot, pixels) in room.chunks_exact_mut(length.saturating_mul(scale)).take(across).enumerate() {
                    let colour = if dots.checked_shl(u32::try_from(dot).unwrap_or(16)).unwrap_or(0) & 0x8000 == 0 {
                        ground
                    } else {
                        text
                    };
                    pixels.chunks_exact_mut(length).for_each(|pixel| pixel.copy_from_slice(colour));
                }
            }
        }
    }
}

const BLANK: Shown =
    Shown { character: ' ', text: [0xd0, 0xd0, 0xd0], ground: [0, 0, 0], is_wide: false, is_rest: false };

fn shown(cell: &Cell) -> Shown {
    let text = colour(cell.fgcolor(), TEXT, cell.bold());
    let ground = colour(cell.bgcolor(), GROUND, false);
    let (text, ground) = if cell.inverse() { (ground, text) } else { (text, ground) };
    Shown {
        // A mark that belongs to the character before it is left out.
        character: cell.contents().chars().next().unwrap_or(' '),
        text,
        ground,
        is_wide: cell.is_wide(),
        is_rest: cell.is_wide_continuation(),
    }
}

fn colour(colour: Color, default: u8, is_bold: bool) -> [u8; 3] {
    let number = match colour {
        Color::Default => default,
        Color::Idx(number) => number,
        Color::Rgb(red, green, blue) => return [red, green, blue],
    };
    let bright = if is_bold && number < 8 { number.saturating_add(8) } else { number };
    // Of the other 240 colours nobody here makes use.
    PALETTE.get(usize::from(bright)).copied().unwrap_or([0xd0; 3])
}

/// The dots of a character in the room that the terminal gives it.
fn fitted(glyph: Glyph, is_wide: bool) -> Glyph {
    if glyph.is_wide == is_wide {
        return glyph;
    }
    let fit = |line: u16| {
        if is_wide {
            // In the middle of two cells.
            line >> 4
        } else {
            // Two dots become one.
            (0..8u16).fold(0, |narrow, dot| {
                let pair = line.checked_shr(14u16.saturating_sub(dot.saturating_mul(2)).into()).unwrap_or(0) & 3;
                (narrow << 1) | u16::from(pair != 0)
            }) << 8
        }
    };
    Glyph { is_wide, lines: glyph.lines.map(fit) }
}

/// A colour as a pixel, the lowest byte first.
fn pixel(channels: &[Channel; 3], colour: [u8; 3]) -> [u8; 4] {
    let mut pixel = 0_u32;
    for (channel, value) in channels.iter().zip(colour) {
        let value = u32::from(value).checked_shr(8_u32.saturating_sub(channel.length)).unwrap_or_default();
        pixel |= value.checked_shl(channel.offset).unwrap_or_default();
    }
    pixel.to_le_bytes()
}

const _: () = assert!(LINES == 16 && CELL_HEIGHT == 16);
