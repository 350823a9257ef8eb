//! The free list of one allocation group (AGFL): its fourth sector, a ring of blocks kept for the free-space trees.
//!
//! The trees don't list these blocks, so they count as used. Here is only checked that the trees agree.
//!
//! Source: "XFS Algorithms & Data Structures" (`allocation_groups.asciidoc`), the Linux kernel's
//! `fs/xfs/libxfs/xfs_format.h` (`struct xfs_agfl`) and `xfs_alloc.c` (`xfs_agfl_needs_reset`).

use block::ReadAt;
use zerocopy::{BE, FromBytes, Immutable, KnownLayout, LE, U32, U64, Unaligned};

use super::allocation_group::{AllocationGroup, check_owner, read_header_sector};
use super::superblock::Superblock;
use crate::Error;

/// Where `agfl_crc` lies.
const CRC_OFFSET: usize = 32;
/// Length of the header of version 5. Version 4 has none.
const HEADER_LENGTH: usize = 36;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    agfl_magicnum: [u8; 4],
    agfl_seqno: U32<BE>,
    agfl_uuid: [u8; 16],
    agfl_lsn: U64<BE>,
    agfl_crc: U32<LE>,
}

/// The blocks of the group that are on the list.
pub(super) fn read(region: &dyn ReadAt, superblock: &Superblock, group: &AllocationGroup) -> Result<Vec<u32>, Error> {
    let start = superblock.group_position(group.number);
    let position = start.saturating_add(u64::from(superblock.sector_size).saturating_mul(3));
    let sector = read_header_sector(region, superblock, position, CRC_OFFSET)?;
    let slots = if superblock.has_checksums {
        let (raw, _) = Raw::ref_from_prefix(&sector)
            .map_err(|_| Error::corrupt(position, "a sector that holds a free list", "a shorter one"))?;
        if raw.agfl_magicnum != *b"XAFL" || raw.agfl_seqno.get() != group.number {
            let actual = format!("the magic {:02x?} and group {}", raw.agfl_magicnum, raw.agfl_seqno.get());
            return Err(Error::corrupt(
                position,
                format!("the free list of allocation group {}", group.number),
                actual,
            ));
        }
        check_owner(position, superblock, &raw.agfl_uuid)?;
        sector.get(HEADER_LENGTH..).unwrap_or_default()
    } else {
        &sector
    };
    let (slots, _) = slots.as_chunks::<4>();
    let blocks = active(slots, group);
    match blocks.iter().find(|block| **block < superblock.header_blocks() || **block >= group.blocks) {
        None => Ok(blocks),
        Some(block) => Err(Error::corrupt(
            position,
            format!("free-list blocks among the {} of group {}", group.blocks, group.number),
            format!("block {block}"),
        )),
    }
}

/// The blocks from the first to the last active slot. Kernels disagreed on the number of slots; the
/// kernel drops a list whose slots don't match its count, and so its slots mean nothing.
fn active(slots: &[[u8; 4]], group: &AllocationGroup) -> Vec<u32> {
    let (Ok(first), Ok(count)) = (usize::try_from(group.free_list_first), usize::try_from(group.free_list_count))
    else {
        return Vec::new();
    };
    if count == 0 || first >= slots.len() || count > slots.len() {
        return Vec::new();
    }
    let ring: Vec<_> = (0..slots.len()).cycle().skip(first).take(count).collect();
    let ends_at_last = ring.last().and_then(|slot| u32::try_from(*slot).ok()) == Some(group.free_list_last);
    if !ends_at_last {
        return Vec::new();
    }
    ring.into_iter().filter_map(|slot| slots.get(slot)).map(|bytes| u32::from_be_bytes(*bytes)).collect()
}
