//! The superblock.
//!
//! Source: Linux 6.1 `fs/reiserfs/reiserfs.h` (`struct reiserfs_super_block`, `reiserfs_journal_header`),
//! `fs/reiserfs/super.c`.

use block::ReadAt;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::Error;

/// Where the superblock lies, in bytes: since Linux 2.4, and before.
pub const POSITION: u64 = 64 << 10;
const OLD_POSITION: u64 = 8 << 10;

const SMALLEST_BLOCK: u16 = 512;
const LARGEST_BLOCK: u16 = 8192;

/// `struct reiserfs_super_block`, up to the label.
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Superblock {
    pub s_block_count: U32,
    pub s_free_blocks: U32,
    pub s_root_block: U32,
    pub jp_journal_1st_block: U32,
    pub jp_journal_dev: U32,
    pub jp_journal_size: U32,
    jp_journal_trans_max: U32,
    jp_journal_magic: U32,
    jp_journal_max_batch: U32,
    jp_journal_max_commit_age: U32,
    jp_journal_max_trans_age: U32,
    pub s_blocksize: U16,
    s_oid_maxsize: U16,
    s_oid_cursize: U16,
    pub s_umount_state: U16,
    pub s_magic: [u8; 10],
    pub s_fs_state: U16,
    s_hash_function_code: U32,
    s_tree_height: U16,
    s_bmap_nr: U16,
    s_version: U16,
    s_reserved_for_journal: U16,
    s_inode_generation: U32,
    s_flags: U32,
    pub s_uuid: [u8; 16],
    pub s_label: [u8; 16],
}

/// What the magic number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Version 3.5: no UUID, no label.
    Old,
    /// Version 3.6.
    New,
    /// Version 3.6 whose journal has another place or size than usual.
    RelocatedJournal,
}

/// A superblock, and where it was found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub superblock: Superblock,
    pub format: Format,
    /// It lies where Linux 2.2 had it.
    pub is_at_old_place: bool,
}

/// Finds the superblock. A copy of it in the journal does not count.
pub fn read(region: &dyn ReadAt) -> Result<Option<Found>, Error> {
    for position in [POSITION, OLD_POSITION] {
        let mut bytes = [0; size_of::<Superblock>()];
        if position.saturating_add(4096) > region.size() {
            continue;
        }
        region.read_at(position, &mut bytes)?;
        let Ok(superblock) = Superblock::read_from_bytes(&bytes) else { continue };
        let format = match superblock.s_magic.as_slice() {
            b"ReIsErFs\0\0" => Format::Old,
            b"ReIsEr2Fs\0" => Format::New,
            b"ReIsEr3Fs\0" => Format::RelocatedJournal,
            _ => continue,
        };
        let block_size = superblock.s_blocksize.get();
        let is_in_the_journal = position
            .checked_div(block_size.into())
            .is_none_or(|block| block > superblock.jp_journal_1st_block.get().into());
        let has_sense = block_size.is_power_of_two() && (SMALLEST_BLOCK..=LARGEST_BLOCK).contains(&block_size);
        if has_sense && (format == Format::RelocatedJournal || !is_in_the_journal) {
            return Ok(Some(Found { superblock, format, is_at_old_place: position == OLD_POSITION }));
        }
    }
    Ok(None)
}

impl Superblock {
    /// Bytes that the bitmaps divide.
    pub fn size(&self) -> u64 {
        u64::from(self.s_block_count.get()).saturating_mul(self.s_blocksize.get().into())
    }
}
