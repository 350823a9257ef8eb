//! NILFS2: a superblock at the start and one at the end.
//!
//! Source: Linux `include/uapi/linux/nilfs2_ondisk.h` (`struct nilfs_super_block`).

use block::ReadAt;

use super::table::Found;
use crate::Error;
use crate::structure::Structure;

const POSITION: u64 = 1024;
const MAGIC: u16 = 0x3434;
/// The superblock at the end starts eight sectors before the last whole one.
const FROM_END_SECTORS: u64 = 8;
const SECTOR: u64 = 512;
/// Offsets in the superblock.
const BYTES: usize = 8;
const CRC_SEED: usize = 12;
const SUM: usize = 16;
const LAST_CHECKPOINT: usize = 56;
const UUID: usize = 152;
const NAME: usize = 168;
const LONGEST: usize = 1024;

/// The identity in the superblock that is valid and newer.
pub fn identify(region: &dyn ReadAt, _: u64) -> Result<Option<Found>, Error> {
    let end = (region.size() / SECTOR).saturating_sub(FROM_END_SECTORS).saturating_mul(SECTOR);
    let mut newest: Option<Structure> = None;
    for position in [POSITION, end] {
        let superblock = Structure::read(region, position)?;
        let is_newer = newest.as_ref().is_none_or(|other| superblock.u64(LAST_CHECKPOINT) > other.u64(LAST_CHECKPOINT));
        if is_valid(&superblock) && is_newer {
            newest = Some(superblock);
        }
    }
    Ok(newest.map(|superblock| Found { kind: None, uuid: superblock.uuid(UUID), label: superblock.text(NAME, 80) }))
}

/// The magic number has two bytes only; the checksum decides.
fn is_valid(superblock: &Structure) -> bool {
    let length = usize::from(superblock.u16(BYTES));
    if superblock.u16(6) != MAGIC || !(SUM + 4..=LONGEST).contains(&length) {
        return false;
    }
    let rest = superblock.bytes(SUM + 4, length.saturating_sub(SUM + 4));
    let sum = [superblock.bytes(0, SUM), &[0; 4], rest].into_iter().fold(superblock.u32(CRC_SEED), crc32);
    sum == superblock.u32(SUM)
}

/// The register of CRC-32 (IEEE 802.3) after `bytes`, not inverted before and after.
fn crc32(register: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(register, |register, byte| {
        (0..8).fold(register ^ u32::from(*byte), |register, _| {
            (register >> 1) ^ if register & 1 == 1 { 0xEDB8_8320 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_register_is_that_of_the_known_checksum() {
        assert_eq!(!crc32(!0, b"123456789"), 0xCBF4_3926);
    }
}
