//! Minix file systems, versions 1 to 3. The magic number has two bytes only, so the numbers beside it must make sense.
//!
//! Source: Linux `include/uapi/linux/minix_fs.h`, `include/linux/minix_fs.h`.

use block::ReadAt;

use super::table::Found;
use crate::Error;
use crate::structure::Structure;

const POSITION: u64 = 1024;
const BLOCK_BITS: u64 = 1024 * 8;
/// Offset of the magic number, in versions 1 and 2, and in version 3.
const MAGIC: usize = 0x10;
const MAGIC_3: usize = 0x18;
/// What ext keeps inside the same bytes.
const EXT_MAGIC: usize = 0x38;

/// Minix has no UUID and no label.
pub fn identify(region: &dyn ReadAt, _: u64) -> Result<Option<Found>, Error> {
    let superblock = Structure::read(region, POSITION)?;
    if superblock.has(EXT_MAGIC, b"\x53\xEF") {
        return Ok(None);
    }
    let is_one = makes_sense(&superblock, u16::from_le_bytes, u32::from_le_bytes)
        || makes_sense(&superblock, u16::from_be_bytes, u32::from_be_bytes);
    Ok(is_one.then(Found::default))
}

fn makes_sense(superblock: &Structure, short: fn([u8; 2]) -> u16, long: fn([u8; 4]) -> u32) -> bool {
    let u16_at = |offset| short(superblock.array(offset));
    let u32_at = |offset| long(superblock.array(offset));
    let (inodes, zones, maps, log_zone_size) = match (u16_at(MAGIC), u16_at(MAGIC_3)) {
        (0x137F | 0x138F, _) => (u32::from(u16_at(0)), u32::from(u16_at(2)), 4, u16_at(10)),
        (0x2468 | 0x2478, _) => (u32::from(u16_at(0)), u32_at(20), 4, u16_at(10)),
        (_, 0x4D5A) => (u32_at(0), u32_at(20), 6, u16_at(12)),
        _ => return false,
    };
    let state_is_known = u16_at(MAGIC_3) == 0x4D5A || u16_at(18) & !3 == 0;
    let inode_bits = u64::from(u16_at(maps)).saturating_mul(BLOCK_BITS);
    let zone_bits = u64::from(u16_at(maps.saturating_add(2))).saturating_mul(BLOCK_BITS);
    // Version 3 keeps its first data zone here too; zones that lie before it are not in the map.
    let first_zone = u32::from(u16_at(if maps == 4 { 8 } else { 10 }));
    let Some(data_zones) = zones.checked_sub(first_zone) else { return false };
    state_is_known
        && log_zone_size == 0
        && inodes != 0
        && inode_bits > u64::from(inodes)
        && zone_bits > u64::from(data_zones)
}
