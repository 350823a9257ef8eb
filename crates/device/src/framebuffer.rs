//! The picture of the console, as memory of pixels.
//!
//! Written with `write` and not mapped: drivers that keep a copy of the picture learn that way what has changed.
//!
//! Source: the Linux kernel's `include/uapi/linux/fb.h` and `Documentation/fb/api.rst`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::ioctl;

/// `FB_TYPE_PACKED_PIXELS`: one pixel after the other.
const PACKED_PIXELS: u32 = 0;
/// `FB_VISUAL_TRUECOLOR` and `FB_VISUAL_DIRECTCOLOR`: a pixel is its colour, and no number of a table.
const VISUALS: [u32; 2] = [2, 4];

/// Where the bits of a colour are in a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The lowest bit.
    pub offset: u32,
    /// How many.
    pub length: u32,
}

/// How pixels lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Pixels from left to right.
    pub width: u32,
    /// Lines of pixels.
    pub height: u32,
    /// Bytes from one line to the next.
    pub line_bytes: u32,
    /// Bytes of a pixel: 2, 3 or 4, the lowest first.
    pub pixel_bytes: u32,
    /// Red, green and blue.
    pub channels: [Channel; 3],
    /// The byte where the picture starts.
    start: u64,
}

/// The picture, to be written to.
#[derive(Debug)]
pub struct Framebuffer {
    file: File,
    geometry: Geometry,
}

impl Framebuffer {
    /// Opens a device of pictures, as `/dev/fb0`.
    ///
    /// # Errors
    /// Where it is none, or one whose pixels are no colours.
    pub fn open(path: &Path) -> Result<Self> {
        let error = |operation| move |source| Error::Io { path: path.to_owned(), operation, source };
        let file = File::options().write(true).open(path).map_err(error("opening"))?;
        let mode = ioctl::picture_mode(&file).map_err(error("asking for the mode of"))?;
        let memory = ioctl::picture_memory(&file).map_err(error("asking for the memory of"))?;
        let geometry = geometry(&mode, &memory).ok_or_else(|| {
            let seen = format!("pixels of {} bits, type {}, visual {}", mode[6], memory[7], memory[9]);
            error("drawing on")(io::Error::new(io::ErrorKind::Unsupported, seen))
        })?;
        Ok(Self { file, geometry })
    }

    /// How its pixels lie.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Writes whole lines from the line `first` on.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_lines(&self, first: u32, lines: &[u8]) -> io::Result<()> {
        let before = u64::from(first).saturating_mul(self.geometry.line_bytes.into());
        self.file.write_all_at(lines, self.geometry.start.saturating_add(before))
    }
}

/// `None` where the pixels are none that can be drawn.
fn geometry(mode: &[u32; 40], memory: &[u32; 20]) -> Option<Geometry> {
    // fb_var_screeninfo: xres, yres, xres_virtual, yres_virtual, xoffset, yoffset, bits_per_pixel, grayscale, then
    // offset, length and order of bits of red, green and blue.
    let [width, height, _, _, x_offset, y_offset, bits, is_gray, rest @ ..] = mode;
    let [red, red_bits, _, green, green_bits, _, blue, blue_bits, ..] = rest;
    // fb_fix_screeninfo, in words: id (4), smem_start (2), smem_len, type, type_aux, visual, pan steps (2), line_length.
    let [_, _, _, _, _, _, _, kind, _, visual, _, _, line_bytes, ..] = memory;
    let pixel_bytes = bits.div_ceil(8);
    let channel = |offset: &u32, length: &u32| {
        let fits = (1..=8).contains(length) && offset.checked_add(*length).is_some_and(|end| end <= *bits);
        fits.then_some(Channel { offset: *offset, length: *length })
    };
    let channels = [channel(red, red_bits)?, channel(green, green_bits)?, channel(blue, blue_bits)?];
    let fits = width.checked_mul(pixel_bytes).is_some_and(|length| length <= *line_bytes);
    let is_drawable = *kind == PACKED_PIXELS && VISUALS.contains(visual) && *is_gray == 0;
    // No screen is larger; a driver that says so is not believed.
    let is_sane = (1..=16384).contains(width) && (1..=16384).contains(height) && *line_bytes <= 0x2_0000;
    let start = u64::from(*y_offset).checked_mul(u64::from(*line_bytes))?;
    let start = start.checked_add(u64::from(*x_offset).checked_mul(pixel_bytes.into())?)?;
    (fits && is_drawable && is_sane && (2..=4).contains(&pixel_bytes)).then_some(Geometry {
        width: *width,
        height: *height,
        line_bytes: *line_bytes,
        pixel_bytes,
        channels,
        start,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1024 x 768 with 16 bits a pixel, the second picture of two.
    fn sample() -> ([u32; 40], [u32; 20]) {
        let (mut mode, mut memory) = ([0; 40], [0; 20]);
        mode[..8].copy_from_slice(&[1024, 768, 1024, 1536, 0, 768, 16, 0]);
        mode[8..17].copy_from_slice(&[11, 5, 0, 5, 6, 0, 0, 5, 0]);
        (memory[9], memory[12]) = (2, 2048);
        (mode, memory)
    }

    #[test]
    fn a_picture_is_where_the_driver_says() {
        let (mode, memory) = sample();
        let found = geometry(&mode, &memory).unwrap();
        let channels = [(11, 5), (5, 6), (0, 5)].map(|(offset, length)| Channel { offset, length });
        let (width, height, line_bytes, pixel_bytes) = (1024, 768, 2048, 2);
        assert_eq!(found, Geometry { width, height, line_bytes, pixel_bytes, channels, start: 768 * 2048 });
    }

    #[test]
    fn what_can_not_be_drawn_is_no_picture() {
        type Change = fn(&mut [u32; 40], &mut [u32; 20]);
        let changes: [Change; 8] = [
            |mode, _| mode[6] = 4,
            |mode, _| mode[6] = 64,
            |mode, _| mode[7] = 1,
            |mode, _| mode[8] = 12,
            |_, memory| memory[7] = 1,
            |_, memory| memory[9] = 3,
            |_, memory| memory[12] = 2047,
            |mode, _| mode[0] = 0,
        ];
        for (number, change) in changes.iter().enumerate() {
            let (mut mode, mut memory) = sample();
            change(&mut mode, &mut memory);
            assert_eq!(geometry(&mode, &memory), None, "{number}");
        }
    }
}
