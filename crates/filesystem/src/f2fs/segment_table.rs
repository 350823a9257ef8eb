//! The segment information table: which blocks of each segment of the main area are in use.
//!
//! Every block of the table has two copies, and the checkpoint says which one counts. Entries that changed last stand
//! in a journal in the checkpoint pack instead.
//!
//! Source: the Linux kernel's `include/linux/f2fs_fs.h` (`struct f2fs_sit_entry`, `struct sit_journal_entry`,
//! `struct f2fs_journal`), `fs/f2fs/segment.h` (`current_sit_addr`, `check_block_count`), `fs/f2fs/segment.c`
//! (`build_sit_entries`).

use std::collections::BTreeMap;

use block::{ReadAt, read_vec};
use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U16, U32, U64, Unaligned};

use super::checkpoint::Checkpoint;
use super::superblock::{BLOCK, SEGMENT_BLOCKS, Superblock};
use crate::{Error, UsedBytes};

const BLOCK_BYTES: usize = 4096;
/// Entries of a block of the table.
const BLOCK_ENTRIES: u64 = 55;
/// Entries of the journal.
const JOURNAL_ENTRIES: usize = 6;
/// The count of a segment's blocks in use; the bits above are its kind.
const COUNT_MASK: u16 = 0x3FF;
const KIND_SHIFT: u16 = 10;
/// Hot, warm and cold nodes; below are the kinds of data.
const KIND_NODE: std::ops::RangeInclusive<u16> = 3..=5;

#[derive(Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    vblocks: U16<LE>,
    valid_map: [u8; 64],
    mtime: U64<LE>,
}

#[derive(Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawJournalEntry {
    segno: U32<LE>,
    se: RawEntry,
}

/// Adds all blocks of the main area that are in use.
///
/// # Errors
/// `Corrupt` where counts contradict maps, or the sums those of the checkpoint.
pub(super) fn add_used(
    region: &dyn ReadAt,
    superblock: &Superblock,
    checkpoint: &Checkpoint,
    used: &mut UsedBytes,
) -> Result<(), Error> {
    let table_start = superblock.segment_table_start;
    let needed = superblock.main_segments.div_ceil(BLOCK_ENTRIES);
    if needed > superblock.segment_table_blocks {
        let expected = format!("a segment information table of {needed} blocks");
        let actual = superblock.segment_table_blocks.to_string();
        return Err(Error::corrupt(table_start.saturating_mul(BLOCK), expected, actual));
    }
    let journal = read_journal(region, superblock, checkpoint)?;
    let mut sums = Sums::default();
    for number in 0..needed {
        let second = if is_second(&checkpoint.table_bitmap, number) { superblock.segment_table_blocks } else { 0 };
        let position = table_start.saturating_add(number).saturating_add(second).saturating_mul(BLOCK);
        let bytes = read_vec(region, position, BLOCK_BYTES)?;
        let (entries, _) = bytes.as_chunks::<{ size_of::<RawEntry>() }>();
        let first = number.saturating_mul(BLOCK_ENTRIES);
        for (segment, entry) in (first..superblock.main_segments).zip(entries) {
            let entry: RawEntry = journal.get(&segment).copied().unwrap_or(zerocopy::transmute!(*entry));
            sums.add(position, segment, &entry)?;
            add_segment(superblock, segment, &entry, used);
        }
    }
    sums.check(table_start.saturating_mul(BLOCK), checkpoint)
}

/// Whether the second copy of block `number` counts.
fn is_second(bitmap: &[u8], number: u64) -> bool {
    let byte = usize::try_from(number / 8).ok().and_then(|index| bitmap.get(index)).copied().unwrap_or(0);
    byte & highest_first(number) != 0
}

/// The bit of a byte that stands for `number`.
fn highest_first(number: u64) -> u8 {
    0x80_u8.checked_shr(u32::try_from(number % 8).unwrap_or(0)).unwrap_or(0)
}

fn read_journal(
    region: &dyn ReadAt,
    superblock: &Superblock,
    checkpoint: &Checkpoint,
) -> Result<BTreeMap<u64, RawEntry>, Error> {
    let position = checkpoint.journal_block.saturating_mul(BLOCK);
    let bytes = read_vec(region, position, BLOCK_BYTES)?;
    let journal = bytes.get(checkpoint.journal_offset..).unwrap_or_default();
    let (count, entries) = journal
        .split_first_chunk::<2>()
        .map_or((0, journal), |(count, entries)| (usize::from(u16::from_le_bytes(*count)), entries));
    if count > JOURNAL_ENTRIES {
        let expected = format!("a journal of at most {JOURNAL_ENTRIES} entries");
        return Err(Error::corrupt(position, expected, count.to_string()));
    }
    let mut found = BTreeMap::new();
    for bytes in entries.as_chunks::<{ size_of::<RawJournalEntry>() }>().0.iter().take(count) {
        let entry: RawJournalEntry = zerocopy::transmute!(*bytes);
        let segment = u64::from(entry.segno.get());
        if segment >= superblock.main_segments {
            let expected = format!("a segment among {} in the journal", superblock.main_segments);
            return Err(Error::corrupt(position, expected, segment.to_string()));
        }
        found.insert(segment, entry.se);
    }
    Ok(found)
}

fn add_segment(superblock: &Superblock, segment: u64, entry: &RawEntry, used: &mut UsedBytes) {
    let first = segment.saturating_mul(SEGMENT_BLOCKS).saturating_add(superblock.main_start);
    let mut add = |from: u64, to: u64| used.add_blocks(first.saturating_add(from), to.saturating_sub(from), 4096);
    if entry.valid_map == [0xFF; 64] {
        return add(0, SEGMENT_BLOCKS);
    }
    let mut start = None;
    for (block, byte) in (0..SEGMENT_BLOCKS).zip(entry.valid_map.iter().flat_map(|byte| [byte; 8])) {
        match (byte & highest_first(block) != 0, start) {
            (true, None) => start = Some(block),
            (false, Some(from)) => {
                add(from, block);
                start = None;
            }
            _ => {}
        }
    }
    if let Some(from) = start {
        add(from, SEGMENT_BLOCKS);
    }
}

/// Blocks in use, counted over all segments.
#[derive(Default)]
struct Sums {
    all: u64,
    nodes: u64,
}

impl Sums {
    fn add(&mut self, position: u64, segment: u64, entry: &RawEntry) -> Result<(), Error> {
        let count = u64::from(entry.vblocks.get() & COUNT_MASK);
        let bits: u64 = entry.valid_map.iter().fold(0, |sum, byte| sum.saturating_add(byte.count_ones().into()));
        if bits != count {
            let expected = format!("{count} blocks in use in segment {segment}");
            return Err(Error::corrupt(position, expected, format!("{bits} in its map")));
        }
        self.all = self.all.saturating_add(count);
        if KIND_NODE.contains(&(entry.vblocks.get() >> KIND_SHIFT)) {
            self.nodes = self.nodes.saturating_add(count);
        }
        Ok(())
    }

    /// The checkpoint also counts blocks that are only reserved, for compressed files.
    fn check(&self, position: u64, checkpoint: &Checkpoint) -> Result<(), Error> {
        if self.nodes == checkpoint.valid_nodes && self.all <= checkpoint.valid_blocks {
            return Ok(());
        }
        let expected =
            format!("{} blocks of nodes and at most {} in use", checkpoint.valid_nodes, checkpoint.valid_blocks);
        Err(Error::corrupt(position, expected, format!("{} and {} in the table", self.nodes, self.all)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_sizes_of_the_specification() {
        assert_eq!(size_of::<RawEntry>(), 74);
        assert_eq!(size_of::<RawJournalEntry>(), 78);
        // What the entries of a summary and its footer leave of a block, without the count.
        assert_eq!((4096 - 7 * 512 - 5 - 2) / size_of::<RawJournalEntry>(), JOURNAL_ENTRIES);
    }
}
