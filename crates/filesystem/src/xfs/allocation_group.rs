//! The header of the free space of one allocation group (AGF): its second sector.
//!
//! Source: "XFS Algorithms & Data Structures" (`allocation_groups.asciidoc`), the Linux kernel's
//! `fs/xfs/libxfs/xfs_format.h` (`struct xfs_agf`) and `xfs_alloc.c` (`xfs_agf_verify`).

use block::{ReadAt, read_vec};
use zerocopy::{BE, FromBytes, Immutable, KnownLayout, LE, U32, Unaligned};

use super::superblock::{Superblock, format_uuid};
use crate::Error;
use crate::crc32c::checksum_without;

/// Where `agf_crc` lies.
const CRC_OFFSET: usize = 216;
/// Levels that a tree over a group can have: the kernel's `XFS_BTREE_MAXLEVELS`.
pub(super) const LEVELS_LIMIT: u32 = 9;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    agf_magicnum: [u8; 4],
    agf_versionnum: U32<BE>,
    agf_seqno: U32<BE>,
    agf_length: U32<BE>,
    agf_roots: [U32<BE>; 3],
    agf_levels: [U32<BE>; 3],
    agf_flfirst: U32<BE>,
    agf_fllast: U32<BE>,
    agf_flcount: U32<BE>,
    agf_freeblks: U32<BE>,
    agf_longest: U32<BE>,
    agf_btreeblks: U32<BE>,
    agf_uuid: [u8; 16],
    agf_spare: [u8; 136],
    agf_crc: U32<LE>,
    agf_spare2: U32<BE>,
}

/// What one allocation group says about its free space.
#[derive(Debug)]
pub(super) struct AllocationGroup {
    /// Its number.
    pub(super) number: u32,
    /// Its blocks.
    pub(super) blocks: u32,
    /// Root of the tree of free extents by block.
    pub(super) by_block_root: u32,
    /// Levels of that tree.
    pub(super) by_block_levels: u32,
    /// Root of the tree of free extents by size.
    pub(super) by_size_root: u32,
    /// Slot of the first reserved block in the free list.
    pub(super) free_list_first: u32,
    /// Slot of the last.
    pub(super) free_list_last: u32,
    /// Number of reserved blocks.
    pub(super) free_list_count: u32,
    /// Blocks that the tree lists.
    pub(super) free_blocks: u32,
}

impl AllocationGroup {
    /// Reads the header of allocation group `number`.
    pub(super) fn read(region: &dyn ReadAt, superblock: &Superblock, number: u32) -> Result<Self, Error> {
        let position = superblock.group_position(number).saturating_add(u64::from(superblock.sector_size));
        let sector = read_header_sector(region, superblock, position, CRC_OFFSET)?;
        let (raw, _) = Raw::read_from_prefix(&sector)
            .map_err(|_| Error::corrupt(position, "a sector that holds a free-space header", "a shorter one"))?;
        let bad = |expected: String, actual: String| Err(Error::corrupt(position, expected, actual));
        if raw.agf_magicnum != *b"XAGF" || raw.agf_versionnum.get() != 1 {
            return bad("the magic XAGF in version 1".to_owned(), format!("{:02x?}", raw.agf_magicnum));
        }
        if superblock.has_checksums {
            check_owner(position, superblock, &raw.agf_uuid)?;
        }
        let blocks = superblock.blocks_of_group(number);
        if raw.agf_seqno.get() != number || raw.agf_length.get() != blocks {
            return bad(
                format!("allocation group {number} of {blocks} blocks"),
                format!("group {} of {} blocks", raw.agf_seqno.get(), raw.agf_length.get()),
            );
        }
        let [by_block_root, by_size_root, _] = raw.agf_roots.map(U32::get);
        let [by_block_levels, ..] = raw.agf_levels.map(U32::get);
        if !(1..=LEVELS_LIMIT).contains(&by_block_levels) {
            return bad(format!("a free-space tree of 1 to {LEVELS_LIMIT} levels"), by_block_levels.to_string());
        }
        if raw.agf_freeblks.get() > blocks {
            return bad(format!("at most {blocks} free blocks"), raw.agf_freeblks.get().to_string());
        }
        Ok(Self {
            number,
            blocks,
            by_block_root,
            by_block_levels,
            by_size_root,
            free_list_first: raw.agf_flfirst.get(),
            free_list_last: raw.agf_fllast.get(),
            free_list_count: raw.agf_flcount.get(),
            free_blocks: raw.agf_freeblks.get(),
        })
    }
}

/// A header sector; in version 5 with the checksum at `crc_offset` verified.
pub(super) fn read_header_sector(
    region: &dyn ReadAt,
    superblock: &Superblock,
    position: u64,
    crc_offset: usize,
) -> Result<Vec<u8>, Error> {
    let sector = read_vec(region, position, usize::try_from(superblock.sector_size).unwrap_or_default())?;
    if superblock.has_checksums {
        check_checksum(position, &sector, crc_offset)?;
    }
    Ok(sector)
}

/// Checks the checksum at `crc_offset` of the metadata block `bytes` that lies at `position`.
pub(super) fn check_checksum(position: u64, bytes: &[u8], crc_offset: usize) -> Result<(), Error> {
    let stored = bytes
        .get(crc_offset..)
        .and_then(|rest| U32::<LE>::read_from_prefix(rest).ok())
        .map_or(0, |(stored, _)| stored.get());
    let computed = checksum_without(bytes, crc_offset);
    if stored == computed {
        Ok(())
    } else {
        Err(Error::corrupt(position, format!("metadata with the checksum {stored:#010x}"), format!("{computed:#010x}")))
    }
}

/// Checks that a metadata block belongs to this file system and not to one that lay here before.
pub(super) fn check_owner(position: u64, superblock: &Superblock, uuid: &[u8; 16]) -> Result<(), Error> {
    if *uuid == superblock.metadata_uuid {
        Ok(())
    } else {
        let expected = format!("metadata of the file system {}", format_uuid(&superblock.metadata_uuid));
        Err(Error::corrupt(position, expected, format_uuid(uuid)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_lie_where_the_specification_puts_them() {
        assert_eq!(std::mem::offset_of!(Raw, agf_levels), 28);
        assert_eq!(std::mem::offset_of!(Raw, agf_freeblks), 52);
        assert_eq!(std::mem::offset_of!(Raw, agf_uuid), 64);
        assert_eq!(std::mem::offset_of!(Raw, agf_crc), CRC_OFFSET);
        assert_eq!(size_of::<Raw>(), 224);
    }
}
