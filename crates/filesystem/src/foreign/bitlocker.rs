//! BitLocker: its boot sector, and the volume identifier and description in the first of its three metadata blocks.
//!
//! Source: libyal libbde, "BitLocker Drive Encryption (BDE) format specification"; util-linux
//! `libblkid/src/superblocks/bitlocker.c`.

use block::ReadAt;

use super::table::Found;
use crate::Error;
use crate::structure::{Structure, utf16_little_endian_text};

const SIGNATURE: &[u8] = b"-FVE-FS-";
/// Where the boot sector says that the first metadata block lies: since Windows 7, and on removable media.
const METADATA_OFFSET: usize = 176;
const METADATA_OFFSET_TO_GO: usize = 440;
/// The metadata header follows the header of the block.
const METADATA_HEADER: usize = 64;
const VOLUME_IDENTIFIER: usize = METADATA_HEADER + 16;
const ENTRIES: usize = METADATA_HEADER + 48;
const ENTRY_HEADER: usize = 8;
const ENTRY_DESCRIPTION: u16 = 7;
const VALUE_STRING: u16 = 2;

/// BitLocker on a fixed disk.
pub fn identify(region: &dyn ReadAt, position: u64) -> Result<Option<Found>, Error> {
    let boot = Structure::read(region, position)?;
    Ok(Some(metadata(region, boot.u64(METADATA_OFFSET))?.unwrap_or_default()))
}

/// BitLocker To Go: the boot sector pretends to be one of FAT, so only the metadata decides.
pub fn identify_to_go(region: &dyn ReadAt, position: u64) -> Result<Option<Found>, Error> {
    let boot = Structure::read(region, position)?;
    if !boot.has(0, b"\xEB\x58\x90MSWIN4.1") {
        return Ok(None);
    }
    metadata(region, boot.u64(METADATA_OFFSET_TO_GO))
}

fn metadata(region: &dyn ReadAt, offset: u64) -> Result<Option<Found>, Error> {
    let block = Structure::read(region, offset)?;
    if offset == 0 || !block.has(0, SIGNATURE) {
        return Ok(None);
    }
    Ok(Some(Found { kind: None, uuid: block.microsoft_guid(VOLUME_IDENTIFIER), label: description(&block) }))
}

/// The description: computer, drive and date of the encryption. It is one of the first entries.
fn description(block: &Structure) -> Option<String> {
    let mut at = ENTRIES;
    loop {
        let length = usize::from(block.u16(at));
        if length < ENTRY_HEADER {
            return None;
        }
        if block.u16(at.saturating_add(2)) == ENTRY_DESCRIPTION && block.u16(at.saturating_add(4)) == VALUE_STRING {
            let text = block.bytes(at.saturating_add(ENTRY_HEADER), length.saturating_sub(ENTRY_HEADER));
            return utf16_little_endian_text(text);
        }
        at = at.saturating_add(length);
    }
}
