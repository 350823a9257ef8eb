//! A checkpoint pack: the state of the file system when it was written, and whether it was written by an unmount.
//!
//! Two packs lie side by side; the newer one that is whole counts. What was synced after it is found by a chain of
//! node blocks that carry its version.
//!
//! Source: the Linux kernel's `include/linux/f2fs_fs.h` (`struct f2fs_checkpoint`, `struct node_footer`),
//! `fs/f2fs/checkpoint.c` (`validate_checkpoint`, `get_checkpoint_version`), `fs/f2fs/f2fs.h` (`__bitmap_ptr`),
//! `fs/f2fs/recovery.c` (`find_fsync_dnodes`), `fs/f2fs/node.h` (`is_recoverable_dnode`).

use block::{ReadAt, read_vec};
use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U16, U32, U64, Unaligned};

use super::checksum::{crc32, crc32_from};
use super::superblock::{BLOCK, SEGMENT_BLOCKS, Superblock};
use crate::Error;

const BLOCK_BYTES: usize = 4096;
/// The last word of the block, where the checksum usually lies.
const LAST_CHECKSUM_OFFSET: usize = 4092;
/// Number of the current segment for nodes of files, among those for nodes.
const WARM_NODE: usize = 1;
/// Where a node block holds the version of the checkpoint that it follows.
const NODE_VERSION_OFFSET: usize = 4084;

const FLAG_UNMOUNT: u32 = 0x1;
const FLAG_COMPACT_SUMMARY: u32 = 0x4;
const FLAG_ERROR: u32 = 0x8;
const FLAG_FSCK: u32 = 0x10;
const FLAG_FAST_BOOT: u32 = 0x20;
const FLAG_LARGE_NAT_BITMAP: u32 = 0x400;
const FLAG_DISABLED: u32 = 0x1000;
const FLAG_DISABLED_QUICK: u32 = 0x2000;
const FLAG_RESIZE: u32 = 0x4000;
/// Besides those above: orphans, checksums in nodes, NAT bits, trimmed, no checksums in nodes, quota to be checked.
const FLAGS_KNOWN: u32 = 0x7FFF;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    checkpoint_ver: U64<LE>,
    user_block_count: U64<LE>,
    valid_block_count: U64<LE>,
    rsvd_segment_count: U32<LE>,
    overprov_segment_count: U32<LE>,
    free_segment_count: U32<LE>,
    cur_node_segno: [U32<LE>; 8],
    cur_node_blkoff: [U16<LE>; 8],
    cur_data_segno: [U32<LE>; 8],
    cur_data_blkoff: [U16<LE>; 8],
    ckpt_flags: U32<LE>,
    cp_pack_total_block_count: U32<LE>,
    cp_pack_start_sum: U32<LE>,
    valid_node_count: U32<LE>,
    valid_inode_count: U32<LE>,
    next_free_nid: U32<LE>,
    sit_ver_bitmap_bytesize: U32<LE>,
    nat_ver_bitmap_bytesize: U32<LE>,
    checksum_offset: U32<LE>,
    elapsed_time: U64<LE>,
    alloc_type: [u8; 16],
}

/// Where the bitmaps begin.
const BITMAP_OFFSET: usize = size_of::<Raw>();

/// The checkpoint that counts.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// Its version.
    pub(super) version: u64,
    /// Blocks in use, nodes and data.
    pub(super) valid_blocks: u64,
    /// Blocks in use by nodes.
    pub(super) valid_nodes: u64,
    /// The block that the next node of a file was to be written to.
    pub(super) next_node: u64,
    /// The block that holds the journal of the segment information table.
    pub(super) journal_block: u64,
    /// Where in that block the journal begins.
    pub(super) journal_offset: usize,
    /// One bit for each block of the segment information table, highest bit first: which copy counts.
    pub(super) table_bitmap: Vec<u8>,
    flags: u32,
}

impl Checkpoint {
    /// Reads the newer of the two packs that are whole.
    ///
    /// # Errors
    /// `Corrupt` where neither is, `Unsupported` where it has unknown flags.
    pub(super) fn read(region: &dyn ReadAt, superblock: &Superblock) -> Result<Self, Error> {
        let starts = [0, SEGMENT_BLOCKS].map(|offset| superblock.checkpoint_start.saturating_add(offset));
        let mut packs = Vec::new();
        for start in starts {
            packs.extend(Pack::read(region, start)?);
        }
        // Versions are compared as the kernel does it, so that they may pass the end of their numbers.
        let newest = packs.into_iter().reduce(|best, pack| {
            let is_newer = pack.version.wrapping_sub(best.version).cast_signed() > 0;
            if is_newer { pack } else { best }
        });
        let position = superblock.checkpoint_start.saturating_mul(BLOCK);
        let pack = newest.ok_or_else(|| Error::corrupt(position, "a checkpoint pack that is whole", "none in two"))?;
        Self::of(region, superblock, &pack)
    }

    fn of(region: &dyn ReadAt, superblock: &Superblock, pack: &Pack) -> Result<Self, Error> {
        let position = pack.start.saturating_mul(BLOCK);
        let raw = pack.raw(position)?;
        let flags = raw.ckpt_flags.get();
        if flags & !FLAGS_KNOWN != 0 {
            return Err(Error::Unsupported(format!(
                "unknown flags {:#x} of the F2FS checkpoint",
                flags & !FLAGS_KNOWN
            )));
        }
        let (segment, offset) = (raw.cur_node_segno[WARM_NODE], raw.cur_node_blkoff[WARM_NODE]);
        if u64::from(segment.get()) >= superblock.main_segments || u64::from(offset.get()) > SEGMENT_BLOCKS {
            let expected = format!("a segment for nodes among {}", superblock.main_segments);
            return Err(Error::corrupt(position, expected, format!("block {offset} of segment {segment}")));
        }
        let next_node = u64::from(segment.get()).saturating_mul(SEGMENT_BLOCKS).saturating_add(offset.get().into());
        let (journal_block, journal_offset) = pack.journal(position, raw, flags)?;
        Ok(Self {
            version: pack.version,
            valid_blocks: raw.valid_block_count.get(),
            valid_nodes: raw.valid_node_count.get().into(),
            next_node: next_node.saturating_add(superblock.main_start),
            journal_block,
            journal_offset,
            table_bitmap: pack.table_bitmap(region, superblock, raw, flags)?,
            flags,
        })
    }

    /// Checks that nothing was written behind the checkpoint that a mount would bring back.
    ///
    /// # Errors
    /// `NotClean` where it is not that of an unmount, where somebody asked for a check, or where nodes follow it.
    pub(super) fn check_unmounted(&self, region: &dyn ReadAt, superblock: &Superblock) -> Result<(), Error> {
        let not_clean = |detail: &str| Err(Error::NotClean(format!("{detail} (checkpoint flags {:#x})", self.flags)));
        if self.flags & (FLAG_ERROR | FLAG_FSCK) != 0 {
            return not_clean("the file system says that it needs fsck.f2fs");
        }
        if self.flags & (FLAG_DISABLED | FLAG_DISABLED_QUICK | FLAG_RESIZE) != 0 {
            return not_clean("checkpoints are disabled, or the size is being changed");
        }
        if self.flags & FLAG_UNMOUNT == 0 {
            return not_clean("the last checkpoint is not that of an unmount");
        }
        if self.next_node < superblock.block_count {
            let block = read_vec(region, self.next_node.saturating_mul(BLOCK), BLOCK_BYTES)?;
            let version = block.get(NODE_VERSION_OFFSET..).and_then(|rest| rest.first_chunk::<4>());
            // The upper half may be a checksum.
            if version.is_some_and(|version| self.version.to_le_bytes().starts_with(version)) {
                return not_clean(&format!("block {} was synced after the last checkpoint", self.next_node));
            }
        }
        Ok(())
    }
}

/// A checkpoint pack that is whole.
struct Pack {
    /// Its first block.
    start: u64,
    version: u64,
    head: Vec<u8>,
}

impl Pack {
    /// The pack from block `start`; `None` where its first and last block are not of one kind.
    fn read(region: &dyn ReadAt, start: u64) -> Result<Option<Self>, Error> {
        let Some(head) = read_head(region, start)? else {
            return Ok(None);
        };
        let Ok((raw, _)) = Raw::ref_from_prefix(&head) else {
            return Ok(None);
        };
        let (version, length) = (raw.checkpoint_ver.get(), u64::from(raw.cp_pack_total_block_count.get()));
        if !(3..=SEGMENT_BLOCKS).contains(&length) {
            return Ok(None);
        }
        let Some(tail) = read_head(region, start.saturating_add(length).saturating_sub(1))? else {
            return Ok(None);
        };
        let same = Raw::ref_from_prefix(&tail).is_ok_and(|(raw, _)| raw.checkpoint_ver.get() == version);
        Ok(same.then_some(Self { start, version, head }))
    }

    fn raw(&self, position: u64) -> Result<&Raw, Error> {
        let raw = Raw::ref_from_prefix(&self.head);
        raw.map(|(raw, _)| raw).map_err(|_| Error::corrupt(position, "a checkpoint", "a shorter block"))
    }

    /// Block and offset of the journal of the segment information table: it follows the journal of the node address
    /// table in compact summaries, and else the entries in the summary of the segment for cold data.
    fn journal(&self, position: u64, raw: &Raw, flags: u32) -> Result<(u64, usize), Error> {
        let length = u64::from(raw.cp_pack_total_block_count.get());
        let (block, offset) = if flags & FLAG_COMPACT_SUMMARY != 0 {
            (u64::from(raw.cp_pack_start_sum.get()), 507)
        } else {
            let has_nodes = flags & (FLAG_UNMOUNT | FLAG_FAST_BOOT) != 0;
            // Counted from the end: the last block, three summaries for nodes where they are kept, cold data.
            (length.saturating_sub(if has_nodes { 5 } else { 2 }), 3584)
        };
        if block == 0 || block >= length {
            let expected = format!("summaries inside the {length} blocks of the pack");
            return Err(Error::corrupt(position, expected, format!("block {block}")));
        }
        Ok((self.start.saturating_add(block), offset))
    }

    /// Which copy of each block of the segment information table counts.
    fn table_bitmap(
        &self,
        region: &dyn ReadAt,
        superblock: &Superblock,
        raw: &Raw,
        flags: u32,
    ) -> Result<Vec<u8>, Error> {
        let position = self.start.saturating_mul(BLOCK);
        let length = usize::try_from(raw.sit_ver_bitmap_bytesize.get()).unwrap_or(usize::MAX);
        let needed = superblock.segment_table_blocks.div_ceil(8);
        let mut bytes = self.head.clone();
        let payload = superblock.checkpoint_payload;
        let payload_length = usize::try_from(payload.saturating_mul(BLOCK)).unwrap_or_default();
        bytes.extend(read_vec(region, position.saturating_add(BLOCK), payload_length)?);
        let start = if flags & FLAG_LARGE_NAT_BITMAP != 0 {
            // Behind the checksum and the bitmap of the node address table.
            let other = usize::try_from(raw.nat_ver_bitmap_bytesize.get()).unwrap_or(usize::MAX);
            other.saturating_add(BITMAP_OFFSET).saturating_add(4)
        } else if payload > 0 {
            BLOCK_BYTES
        } else {
            BITMAP_OFFSET
        };
        let bitmap = bytes.get(start..start.saturating_add(length)).unwrap_or_default();
        if u64::try_from(bitmap.len()).unwrap_or_default() < needed {
            let expected = format!("a bitmap of {needed} bytes for the segment information table");
            return Err(Error::corrupt(position, expected, format!("{length} bytes from {start}")));
        }
        Ok(bitmap.to_vec())
    }
}

/// The first or last block of a pack; `None` where it does not hold its checksum.
fn read_head(region: &dyn ReadAt, block: u64) -> Result<Option<Vec<u8>>, Error> {
    let bytes = read_vec(region, block.saturating_mul(BLOCK), BLOCK_BYTES)?;
    let offset = Raw::ref_from_prefix(&bytes).map(|(raw, _)| raw.checksum_offset.get()).unwrap_or_default();
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    if !(BITMAP_OFFSET..=LAST_CHECKSUM_OFFSET).contains(&offset) {
        return Ok(None);
    }
    let (covered, rest) = bytes.split_at_checked(offset).unwrap_or_default();
    let (stored, behind) =
        rest.split_first_chunk::<4>().map_or((0, rest), |(sum, behind)| (u32::from_le_bytes(*sum), behind));
    let mut sum = crc32(covered);
    if offset < LAST_CHECKSUM_OFFSET {
        sum = crc32_from(sum, behind);
    }
    Ok((sum == stored).then_some(bytes))
}

/// Writes the checksum into the first or last block of a pack.
#[cfg(test)]
pub(super) fn seal(block: &mut [u8]) {
    block[164..168].copy_from_slice(&(LAST_CHECKSUM_OFFSET as u32).to_le_bytes());
    let sum = crc32(&block[..LAST_CHECKSUM_OFFSET]);
    block[LAST_CHECKSUM_OFFSET..].copy_from_slice(&sum.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_lie_where_the_specification_puts_them() {
        assert_eq!(std::mem::offset_of!(Raw, cur_node_segno), 36);
        assert_eq!(std::mem::offset_of!(Raw, ckpt_flags), 132);
        assert_eq!(std::mem::offset_of!(Raw, checksum_offset), 164);
        assert_eq!(BITMAP_OFFSET, 192);
    }
}
