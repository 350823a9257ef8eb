//! A metadata area: a header of one sector and a ring of texts behind it, of which the header names the valid one.
//!
//! Source: lvm2 `lib/format_text/layout.h`, `lib/format_text/format-text.c`.

use block::{ReadAt, read_vec};
use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U32, U64, Unaligned};

use super::checksum::checksum;
use crate::Error;

/// The header fills one sector; the ring begins behind it.
const HEADER_SIZE: u64 = 512;
const MAGIC: [u8; 16] = *b" LVM2 x[5A%r0N*>";
const VERSION: u32 = 1;
/// This area holds no current text, by the will of the administrator.
const RAW_LOCN_IGNORED: u32 = 1;
/// Groups with thousands of volumes have texts of some MiB.
const TEXT_LIMIT: u64 = 16 << 20;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct MdaHeader {
    checksum_xl: U32<LE>,
    magic: [u8; 16],
    version: U32<LE>,
    start: U64<LE>,
    size: U64<LE>,
    raw_locns: [RawLocn; 2],
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLocn {
    offset: U64<LE>,
    size: U64<LE>,
    checksum: U32<LE>,
    flags: U32<LE>,
}

/// What a metadata area holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// No text: the volume belongs to no group.
    Empty,
    /// The administrator said that it is not to be used.
    Ignored,
    /// The valid text.
    Text(Vec<u8>),
}

/// Reads the metadata area of `size` bytes at `start` of `device`.
pub fn read(device: &dyn ReadAt, start: u64, size: u64) -> Result<Content, Error> {
    let corrupt = |offset: u64, expected: String, actual: String| {
        Error::corrupt(start.saturating_add(offset), format!("LVM2 metadata area: {expected}"), actual)
    };
    if size <= HEADER_SIZE || start.checked_add(size).is_none_or(|end| end > device.size()) {
        return Err(corrupt(0, format!("an area inside {} bytes", device.size()), format!("{size} bytes")));
    }
    let sector = read_vec(device, start, usize::try_from(HEADER_SIZE).unwrap_or_default())?;
    let Ok((header, _)) = MdaHeader::ref_from_prefix(&sector) else {
        return Err(corrupt(0, "a header".to_owned(), "less than a sector".to_owned()));
    };
    let computed = checksum(&[sector.get(4..).unwrap_or_default()]);
    if header.checksum_xl.get() != computed {
        return Err(corrupt(0, format!("checksum {computed:#010x}"), format!("{:#010x}", header.checksum_xl)));
    }
    if header.magic != MAGIC || header.version.get() != VERSION {
        return Err(corrupt(4, "the magic number of version 1".to_owned(), format!("version {}", header.version)));
    }
    if header.start.get() != start || header.size.get() != size {
        let actual = format!("{} bytes at {}", header.size, header.start);
        return Err(corrupt(24, format!("{size} bytes at {start}, as the label says"), actual));
    }
    let [current, next] = &header.raw_locns;
    if current.offset.get() == 0 && next.offset.get() == 0 {
        return Ok(Content::Empty);
    }
    if current.flags.get() & RAW_LOCN_IGNORED != 0 {
        return Ok(Content::Ignored);
    }
    if next.offset.get() != 0 {
        return Err(Error::NotClean("a change of the volume group was not finished".to_owned()));
    }
    text(device, start, size, current).map(Content::Text)
}

/// The text that a header names: it goes on behind the header where it reaches the end of the area.
fn text(device: &dyn ReadAt, start: u64, size: u64, place: &RawLocn) -> Result<Vec<u8>, Error> {
    let (offset, length) = (place.offset.get(), place.size.get());
    let corrupt = |expected: String, actual: String| {
        Error::corrupt(start.saturating_add(40), format!("LVM2 metadata area: {expected}"), actual)
    };
    let ring = size.saturating_sub(HEADER_SIZE);
    if offset < HEADER_SIZE || offset >= size || length == 0 || length > ring {
        return Err(corrupt(format!("a text inside {size} bytes"), format!("{length} bytes at {offset}")));
    }
    if length > TEXT_LIMIT {
        return Err(Error::Unsupported(format!("LVM2 metadata of {length} bytes, more than {TEXT_LIMIT}")));
    }
    let first = length.min(size.saturating_sub(offset));
    let bytes = |position: u64, count: u64| {
        read_vec(device, start.saturating_add(position), usize::try_from(count).unwrap_or_default())
    };
    let mut text = bytes(offset, first)?;
    text.extend(bytes(HEADER_SIZE, length.saturating_sub(first))?);
    let computed = checksum(&[&text]);
    if place.checksum.get() != computed {
        return Err(corrupt(format!("a text with checksum {computed:#010x}"), format!("{:#010x}", place.checksum)));
    }
    Ok(text)
}
