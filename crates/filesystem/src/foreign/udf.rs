//! UDF: the volume recognition sequence, an anchor, and the descriptors that it names.
//!
//! Source: ECMA-167 parts 2 and 3; OSTA "UDF 2.60" 2.2.2.5 (volume set identifier), 2.1.3 (compressed Unicode);
//! util-linux `libblkid/src/superblocks/udf.c` for what counts as UUID.

use block::ReadAt;

use super::table::Found;
use crate::Error;
use crate::structure::{Structure, utf16_big_endian_text};

const SEQUENCE: u64 = 0x8000;
const SEQUENCE_LIMIT: u64 = 64;
const SECTOR_SIZES: [u32; 4] = [512, 1024, 2048, 4096];
/// Sectors that an anchor may lie in.
const ANCHORS: [u32; 2] = [256, 512];
/// More descriptors than any volume has.
const DESCRIPTORS_LIMIT: u32 = 256;

const TAG_PRIMARY: u16 = 1;
const TAG_ANCHOR: u16 = 2;
const TAG_LOGICAL: u16 = 6;
const TAG_TERMINATING: u16 = 8;
const TAG_LOCATION: usize = 12;

/// Offsets of names, of at most 128 bytes with their length in the last, and of their character sets.
const PRIMARY_VOLUME_SET: usize = 16 + 56;
const PRIMARY_CHARACTER_SET: usize = PRIMARY_VOLUME_SET + 128;
const LOGICAL_CHARACTER_SET: usize = 16 + 4;
const LOGICAL_NAME: usize = LOGICAL_CHARACTER_SET + 64;
const NAME_LENGTH: usize = 128;

/// The start of the volume set identifier, which blkid prints as UUID, and the name of the logical volume.
pub fn identify(region: &dyn ReadAt, _: u64) -> Result<Option<Found>, Error> {
    for sector in SECTOR_SIZES {
        if !has_sequence(region, sector.max(2048).into())? {
            continue;
        }
        for anchor in ANCHORS {
            let descriptor = at_sector(region, anchor, sector)?;
            if descriptor.u16(0) == TAG_ANCHOR && descriptor.u32(TAG_LOCATION) == anchor {
                let count = descriptor.u32(16).checked_div(sector).unwrap_or_default();
                return descriptors(region, descriptor.u32(20), count, sector).map(Some);
            }
        }
    }
    Ok(None)
}

fn has_sequence(region: &dyn ReadAt, step: u64) -> Result<bool, Error> {
    for number in 0..SEQUENCE_LIMIT {
        let mut name = [0; 5];
        let position = SEQUENCE.saturating_add(number.saturating_mul(step)).saturating_add(1);
        if position.saturating_add(5) > region.size() {
            break;
        }
        region.read_at(position, &mut name)?;
        match &name {
            b"NSR02" | b"NSR03" => return Ok(true),
            b"BEA01" | b"BOOT2" | b"CD001" | b"CDW02" | b"TEA01" => {}
            _ => break,
        }
    }
    Ok(false)
}

fn at_sector(region: &dyn ReadAt, number: u32, sector: u32) -> Result<Structure, Error> {
    Structure::read(region, u64::from(number).saturating_mul(sector.into()))
}

fn descriptors(region: &dyn ReadAt, first: u32, count: u32, sector: u32) -> Result<Found, Error> {
    let mut found = Found::default();
    for number in (0..count.min(DESCRIPTORS_LIMIT)).map_while(|number| first.checked_add(number)) {
        let descriptor = at_sector(region, number, sector)?;
        let tag = descriptor.u16(0);
        if tag == 0 || tag == TAG_TERMINATING || descriptor.u32(TAG_LOCATION) != number {
            break;
        }
        if tag == TAG_PRIMARY && found.uuid.is_none() && is_unicode(&descriptor, PRIMARY_CHARACTER_SET) {
            found.uuid = name(&descriptor, PRIMARY_VOLUME_SET).and_then(|name| identifier(&name));
        }
        if tag == TAG_LOGICAL && found.label.is_none() && is_unicode(&descriptor, LOGICAL_CHARACTER_SET) {
            let text = name(&descriptor, LOGICAL_NAME).map(|name| name.trim_end().to_owned());
            found.label = text.filter(|text| !text.is_empty());
        }
    }
    Ok(found)
}

fn is_unicode(descriptor: &Structure, offset: usize) -> bool {
    descriptor.has(offset, b"\0OSTA Compressed Unicode\0")
}

/// A name: the first byte says 8 or 16 bits a character, the last one how many bytes are used.
fn name(descriptor: &Structure, offset: usize) -> Option<String> {
    let bytes = descriptor.bytes(offset, NAME_LENGTH);
    let (width, rest) = bytes.split_first()?;
    let (length, characters) = rest.split_last()?;
    let length = usize::from(*length).saturating_sub(1).min(characters.len());
    let characters = characters.get(..length)?;
    match width {
        8 => Some(characters.iter().copied().take_while(|byte| *byte != 0).map(char::from).collect()),
        16 => utf16_big_endian_text(characters),
        _ => None,
    }
}

/// The first 16 bytes as hexadecimal digits. What is no digit is written as the digits of its bytes: the first eight
/// bytes, or the four after them.
fn identifier(name: &str) -> Option<String> {
    let bytes = name.as_bytes();
    let digits = bytes.iter().take(16).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let lower = |length: usize| bytes.get(..length).map(|part| String::from_utf8_lossy(part).to_ascii_lowercase());
    let hex = |from: usize, to: usize| {
        (from..to).map(|at| format!("{:02x}", bytes.get(at).copied().unwrap_or_default())).collect::<String>()
    };
    if bytes.len() < 8 {
        return None;
    }
    match digits {
        0..8 => Some(hex(0, 8)),
        8..16 => Some(lower(8)? + &hex(8, 12)),
        _ => lower(16),
    }
}
