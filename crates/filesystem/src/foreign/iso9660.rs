//! ISO 9660, with the names of Joliet where they are there.
//!
//! Source: ECMA-119 (volume descriptors); Microsoft "Joliet Specification"; util-linux
//! `libblkid/src/superblocks/iso9660.c` for what counts as UUID and label.

use block::ReadAt;

use super::table::Found;
use super::udf;
use crate::Error;
use crate::identity::label_text;
use crate::structure::{Structure, utf16_big_endian_text};

const FIRST_DESCRIPTOR: u64 = 0x8000;
const SECTOR: u64 = 2048;
const DESCRIPTORS_LIMIT: u64 = 16;

const PRIMARY: u8 = 1;
const SUPPLEMENTARY: u8 = 2;
const END: u8 = 255;

/// Offsets and lengths in a descriptor.
const VOLUME_ID: usize = 40;
const VOLUME_ID_LENGTH: usize = 32;
const ESCAPE_SEQUENCES: usize = 88;
const CREATED: usize = 813;
const MODIFIED: usize = 830;
const HIGH_SIERRA_VOLUME_ID: usize = 48;

/// The date of the volume, which blkid prints as UUID, and its name. Not where UDF lies in the same region: such
/// volumes are UDF with a second way in.
pub fn identify(region: &dyn ReadAt, _: u64) -> Result<Option<Found>, Error> {
    let first = Structure::read(region, FIRST_DESCRIPTOR)?;
    if first.has(9, b"CDROM") {
        let label = first.text(HIGH_SIERRA_VOLUME_ID, VOLUME_ID_LENGTH);
        return Ok(Some(Found { label, ..Found::default() }));
    }
    if !first.has(1, b"CD001") || udf::identify(region, 0)?.is_some() {
        return Ok(None);
    }
    let (mut primary, mut joliet) = (None, None);
    for number in 0..DESCRIPTORS_LIMIT {
        let descriptor = Structure::read(region, FIRST_DESCRIPTOR.saturating_add(number.saturating_mul(SECTOR)))?;
        match descriptor.array(0) {
            [END] => break,
            [PRIMARY] if primary.is_none() => primary = Some(descriptor),
            [SUPPLEMENTARY] if joliet.is_none() && is_joliet(&descriptor) => joliet = Some(descriptor),
            _ => {}
        }
    }
    let Some(primary) = primary else { return Ok(None) };
    let ascii = primary.bytes(VOLUME_ID, VOLUME_ID_LENGTH);
    let label = match joliet.as_ref().map(|descriptor| descriptor.bytes(VOLUME_ID, VOLUME_ID_LENGTH)) {
        Some(unicode) => joined(unicode, ascii).or_else(|| utf16_big_endian_text(unicode)),
        None => label_text(ascii),
    };
    Ok(Some(Found { kind: None, uuid: date(&primary, MODIFIED).or_else(|| date(&primary, CREATED)), label }))
}

fn is_joliet(descriptor: &Structure) -> bool {
    [b"%/@", b"%/C", b"%/E"].into_iter().any(|escape| descriptor.has(ESCAPE_SEQUENCES, escape))
}

/// A date of 16 digits with dashes, as blkid prints it in place of a UUID; `None` where it is not set.
fn date(descriptor: &Structure, offset: usize) -> Option<String> {
    let digits = descriptor.array::<16>(offset);
    let [zone] = descriptor.array::<1>(offset.saturating_add(16));
    if (digits == [b'0'; 16] && zone == 0) || digits == [0; 16] {
        return None;
    }
    let text = String::from_utf8_lossy(&digits).into_owned();
    let parts = [0..4, 4..6, 6..8, 8..10, 10..12, 12..14, 14..16];
    Some(parts.into_iter().filter_map(|part| text.get(part)).collect::<Vec<_>>().join("-"))
}

/// The name out of both descriptors: Joliet has all characters but only 16 of them, the primary descriptor has 32, with
/// `_` for those it can't hold. `None` where they are not the same name.
fn joined(unicode: &[u8], ascii: &[u8]) -> Option<String> {
    let units: Vec<_> = unicode
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes(pair.first_chunk().copied().unwrap_or_default()))
        .collect();
    let wide = String::from_utf16_lossy(&units);
    let mut wide = wide.chars();
    let mut text = String::new();
    for byte in ascii {
        let narrow = char::from(*byte);
        let character = match wide.next() {
            None => narrow,
            Some(wide) if narrow == '_' => wide,
            Some('_') => narrow,
            Some(wide) if !wide.eq_ignore_ascii_case(&narrow) => return None,
            // One of the two is in upper case only: the other one tells how it was written.
            Some(wide) if narrow.is_ascii_uppercase() => wide,
            Some(_) => narrow,
        };
        text.push(character);
    }
    let text = text.split('\0').next().unwrap_or_default().trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}
