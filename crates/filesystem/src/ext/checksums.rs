//! The checksums of all metadata begin with the UUID: with another one, each is made anew.
//!
//! They stand in group descriptors (also for both bitmaps), inodes, extent nodes, blocks of directories, of extended
//! attributes, of the file of orphans, and in the block for multiple mount protection. Each is checked before: where one
//! is wrong that is in use, the file system is damaged, and keeps its UUID. The journal has a UUID of its own.
//!
//! Source: Linux `Documentation/filesystems/ext4/checksums.rst`, `directory.rst`, `attributes.rst`, `orphan.rst`;
//! e2fsprogs `lib/ext2fs/csum.c`, `lib/ext2fs/orphan.c`.

use std::collections::BTreeSet;

use block::ReadAt;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::bitmap::{Trust, add_groups};
use super::group::{self, Group, low_half};
use super::inode::{CHECKSUM_LOW, Checked, node_checksum, reseal};
use super::superblock::Superblock;
use super::view::View;
use crate::crc32c::crc32c;
use crate::files::Cache;
use crate::new_identity::Patches;
use crate::{Error, UsedBytes};

/// Inode tables are read this many bytes at a time.
const BATCH_BYTES: u32 = 1 << 18;
/// An inode that was never used is zeros up to here.
const SMALLEST_INODE: usize = 128;
const ATTRIBUTES_MAGIC: u32 = 0xEA02_0000;
/// Position of `h_checksum` in a block of attributes.
const ATTRIBUTES_CHECKSUM: usize = 0x10;
/// Position of `mmp_checksum`.
const MMP_CHECKSUM: usize = 0x3FC;
const ORPHANS_MAGIC: u32 = 0x0B10_CA04;
/// Bytes of `struct ext4_dir_entry_tail`.
const LEAF_TAIL: usize = 12;
/// What stands in that tail in the place of the length of a name and the type.
const LEAF_TAIL_TYPE: u16 = 0xDE00;
/// Bytes of `struct dx_entry`, and of `struct dx_tail`.
const INDEX_ENTRY: usize = 8;
/// Positions of `struct dx_countlimit` in the root of an index and in its other nodes.
const ROOT_COUNT: usize = 0x20;
const NODE_COUNT: usize = 0x08;

/// The beginning of `struct ext4_dir_entry_2`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    inode: U32,
    rec_len: U16,
    name_len: U16,
}

/// Where a checksum stands and what it must be.
#[derive(Clone, Copy)]
struct Sum {
    position: usize,
    value: u32,
}

/// Adds what changes with the UUID of `renamed`, but for superblocks.
pub fn rename(
    region: &dyn ReadAt,
    superblock: &Superblock,
    renamed: &Superblock,
    patches: &mut Patches<'_>,
) -> Result<(), Error> {
    let cache = Cache::new(region);
    let view = View::of_disk(&cache, superblock);
    // The checksums of bitmaps of blocks are checked here.
    add_groups(superblock, &view, Trust::Consistent, &mut UsedBytes::new())?;
    let mut work = Work { superblock, renamed, view, patches, attributes: BTreeSet::new() };
    if superblock.mmp_block != 0 {
        work.block(superblock.mmp_block, "the block for multiple mount protection", |bytes, file_system| {
            let value = crc32c(file_system.checksum_seed, bytes.get(..MMP_CHECKSUM)?);
            Some(Sum { position: MMP_CHECKSUM, value })
        })?;
    }
    for number in 0..superblock.groups {
        work.descriptors(number)?;
    }
    group::for_each_batch(superblock, &view, true, |groups| groups.iter().try_for_each(|group| work.group(group)))
}

struct Work<'a, 'p, 'r> {
    superblock: &'a Superblock,
    renamed: &'a Superblock,
    view: View<'a>,
    patches: &'p mut Patches<'r>,
    /// Blocks of attributes that are done: several inodes may share one.
    attributes: BTreeSet<u64>,
}

impl Work<'_, '_, '_> {
    /// All descriptors that lie in a group, copies too.
    fn descriptors(&mut self, number: u64) -> Result<(), Error> {
        let per_block = u64::from(self.superblock.descriptors_per_block());
        for (index, block) in self.superblock.descriptor_copies(number) {
            let from = self.view.read_blocks(block, 1)?;
            let mut to = from.clone();
            group::rename_block(self.superblock, self.renamed, index.saturating_mul(per_block), &mut to);
            self.patches.exchange(self.start_of(block), from, to)?;
        }
        Ok(())
    }

    fn start_of(&self, block: u64) -> u64 {
        block.saturating_mul(u64::from(self.superblock.block_size))
    }

    /// All inodes of a group, and what belongs to them.
    fn group(&mut self, group: &Group) -> Result<(), Error> {
        if group.has_no_inodes {
            return Ok(());
        }
        let bitmap = self.view.read_blocks(group.inode_bitmap, 1)?;
        self.check_inode_bitmap(group, &bitmap)?;
        let per_group = self.superblock.inodes_per_group;
        let initialised = per_group.saturating_sub(group.unused_inodes);
        if let Some(index) = (initialised..per_group).find(|index| is_set(&bitmap, *index)) {
            let expected = format!("{initialised} inodes of group {} ever used", group.number);
            return Err(Error::corrupt(self.start_of(group.inode_bitmap), expected, format!("inode {index} of it is")));
        }
        let size = self.superblock.inode_size;
        let per_batch = BATCH_BYTES.max(self.superblock.block_size).checked_div(size).unwrap_or(1).max(1);
        let mut first = 0;
        while first < initialised {
            let count = per_batch.min(initialised.saturating_sub(first));
            let offset = u64::from(first).saturating_mul(u64::from(size));
            let start = self.start_of(group.inode_table).saturating_add(offset);
            let block_size = u64::from(self.superblock.block_size);
            let blocks = u64::from(count).saturating_mul(u64::from(size)).div_ceil(block_size);
            let block = start.checked_div(block_size).unwrap_or_default();
            let bytes = self.view.read_blocks(block, blocks)?;
            let inodes = bytes.chunks_exact(usize::try_from(size).unwrap_or(usize::MAX));
            for (index, inode) in (first..first.saturating_add(count)).zip(inodes) {
                let number = group.number.saturating_mul(u64::from(per_group)).saturating_add(u64::from(index));
                let number = u32::try_from(number.saturating_add(1)).unwrap_or(u32::MAX);
                let position = u64::from(index.saturating_sub(first)).saturating_mul(u64::from(size));
                self.inode(number, start.saturating_add(position), inode, is_set(&bitmap, index))?;
            }
            first = first.saturating_add(count);
        }
        Ok(())
    }

    fn check_inode_bitmap(&self, group: &Group, bitmap: &[u8]) -> Result<(), Error> {
        let length = usize::try_from(self.superblock.inodes_per_group / 8).unwrap_or(usize::MAX);
        let full = crc32c(self.superblock.checksum_seed, bitmap.get(..length).unwrap_or(bitmap));
        let expected = if group.short_checksum { u32::from(low_half(full)) } else { full };
        let actual = group.inode_bitmap_checksum;
        if expected == actual {
            return Ok(());
        }
        let what = format!("checksum {actual:08x} of the inode bitmap of group {}", group.number);
        Err(Error::corrupt(self.start_of(group.inode_bitmap), what, format!("{expected:08x}")))
    }

    fn inode(&mut self, number: u32, position: u64, bytes: &[u8], is_used: bool) -> Result<(), Error> {
        if bytes.iter().take(SMALLEST_INODE).all(|byte| *byte == 0) {
            return Ok(());
        }
        let inode = match Checked::new(self.superblock, number, position, bytes) {
            Ok(inode) => inode,
            // What a deleted file left behind is not looked at by anybody.
            Err(_) if !is_used => return Ok(()),
            Err(error) => return Err(error),
        };
        let seeds = [inode.seed(), inode.seed_in(self.renamed)];
        let (from, to) = reseal(bytes, seeds[1]);
        let field = u64::try_from(CHECKSUM_LOW).unwrap_or_default();
        self.patches.exchange(position.saturating_add(field), from, to)?;
        if !is_used {
            return Ok(());
        }
        if let Some(block) = inode.attributes(self.superblock).filter(|block| self.attributes.insert(*block)) {
            self.block(block, "a block of extended attributes", |bytes, file_system| {
                attributes_checksum(file_system.checksum_seed, block, bytes)
            })?;
        }
        let is_orphans = number == self.superblock.orphan_inode;
        let (is_directory, uuid) = (inode.is_directory(), self.superblock.uuid);
        let seed = move |file_system: &Superblock| if file_system.uuid == uuid { seeds[0] } else { seeds[1] };
        let blocks = inode.blocks(self.superblock, &self.view, is_directory || is_orphans)?;
        for block in blocks.tree {
            self.block(block, "an extent node", |bytes, file_system| {
                node_checksum(bytes, seed(file_system)).map(|(position, value)| Sum { position, value })
            })?;
        }
        for run in blocks.runs {
            for block in run.physical..run.physical.saturating_add(run.count) {
                if is_directory {
                    let what = format!("a block of the directory in inode {number}");
                    self.block(block, &what, |bytes, file_system| directory_checksum(seed(file_system), bytes))?;
                } else {
                    self.block(block, "a block of the list of orphans", |bytes, file_system| {
                        orphans_checksum(seed(file_system), block, bytes)
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Exchanges the checksum of a block, which `sum` finds in it.
    fn block(&mut self, block: u64, what: &str, sum: impl Fn(&[u8], &Superblock) -> Option<Sum>) -> Result<(), Error> {
        let bytes = self.view.read_blocks(block, 1)?;
        let start = self.start_of(block);
        let (Some(old), Some(new)) = (sum(&bytes, self.superblock), sum(&bytes, self.renamed)) else {
            return Err(Error::corrupt(start, format!("{what} with a checksum"), "no place for one"));
        };
        let stored = bytes.get(old.position..).and_then(|rest| rest.first_chunk::<4>()).copied().unwrap_or_default();
        if stored != old.value.to_le_bytes() {
            let (expected, actual) = (old.value, u32::from_le_bytes(stored));
            return Err(Error::corrupt(start, format!("checksum {expected:08x} of {what}"), format!("{actual:08x}")));
        }
        let start = start.saturating_add(u64::try_from(old.position).unwrap_or(u64::MAX));
        self.patches.exchange(start, stored.to_vec(), new.value.to_le_bytes().to_vec())
    }
}

fn is_set(bitmap: &[u8], bit: u32) -> bool {
    let byte = usize::try_from(bit / 8).ok().and_then(|index| bitmap.get(index));
    byte.is_some_and(|byte| byte.checked_shr(bit % 8).unwrap_or_default() & 1 == 1)
}

fn attributes_checksum(seed: u32, block: u64, bytes: &[u8]) -> Option<Sum> {
    U32::read_from_prefix(bytes).ok().filter(|(magic, _)| magic.get() == ATTRIBUTES_MAGIC)?;
    let (before, rest) = bytes.split_at_checked(ATTRIBUTES_CHECKSUM)?;
    let (_, after) = rest.split_at_checked(4)?;
    let parts: [&[u8]; 4] = [&U64::new(block).to_bytes(), before, &[0; 4], after];
    Some(Sum { position: ATTRIBUTES_CHECKSUM, value: parts.into_iter().fold(seed, crc32c) })
}

/// The block ends with its magic number and its checksum.
fn orphans_checksum(seed: u32, block: u64, bytes: &[u8]) -> Option<Sum> {
    let (entries, tail) = bytes.split_at_checked(bytes.len().checked_sub(8)?)?;
    U32::read_from_prefix(tail).ok().filter(|(magic, _)| magic.get() == ORPHANS_MAGIC)?;
    let value = crc32c(crc32c(seed, &U64::new(block).to_bytes()), entries);
    Some(Sum { position: entries.len().checked_add(4)?, value })
}

/// Of a block of entries or of a node of an index. Which of them it is, its first entries tell.
fn directory_checksum(seed: u32, bytes: &[u8]) -> Option<Sum> {
    leaf_checksum(seed, bytes).or_else(|| index_checksum(seed, bytes))
}

/// After the last entry follows one that holds the checksum, and looks like an unused one.
fn leaf_checksum(seed: u32, bytes: &[u8]) -> Option<Sum> {
    let end = bytes.len().checked_sub(LEAF_TAIL)?;
    let mut position = 0_usize;
    while position < end {
        let length = usize::from(entry_at(bytes, position)?.rec_len.get());
        if length < 8 || length % 4 != 0 {
            return None;
        }
        position = position.checked_add(length)?;
    }
    let tail = entry_at(bytes, end).filter(|_| position == end)?;
    let is_tail =
        tail.inode.get() == 0 && usize::from(tail.rec_len.get()) == LEAF_TAIL && tail.name_len.get() == LEAF_TAIL_TYPE;
    let entries = bytes.get(..end).filter(|_| is_tail)?;
    Some(Sum { position: end.checked_add(8)?, value: crc32c(seed, entries) })
}

fn entry_at(bytes: &[u8], position: usize) -> Option<&RawEntry> {
    RawEntry::ref_from_prefix(bytes.get(position..)?).ok().map(|(entry, _)| entry)
}

fn index_checksum(seed: u32, bytes: &[u8]) -> Option<Sum> {
    let first = entry_at(bytes, 0)?;
    let start = match usize::from(first.rec_len.get()) {
        // A node hides behind one unused entry.
        length if length == bytes.len() && first.name_len.get() == 0 => NODE_COUNT,
        // The root hides behind the names of the directory and its parent.
        12 => {
            let parent = entry_at(bytes, 12)?;
            let is_root = usize::from(parent.rec_len.get()) == bytes.len().checked_sub(12)?;
            let [_, _, _, _, _, length, ..] = bytes.get(0x18..)?.first_chunk::<8>()?;
            if !is_root || *length != 8 {
                return None;
            }
            ROOT_COUNT
        }
        _ => return None,
    };
    let field = |position: usize| {
        let (value, _) = U16::read_from_prefix(bytes.get(position..)?).ok()?;
        Some(usize::from(value.get()))
    };
    let (limit, count) = (field(start)?, field(start.checked_add(2)?)?);
    let tail = limit.checked_mul(INDEX_ENTRY)?.checked_add(start)?;
    let covered = count.checked_mul(INDEX_ENTRY)?.checked_add(start)?;
    // The tail is a reserved field and the checksum, which counts as zeros.
    let reserved = bytes.get(tail..)?.get(..INDEX_ENTRY)?.get(..4)?;
    let parts: [&[u8]; 3] = [bytes.get(..covered).filter(|_| count <= limit)?, reserved, &[0; 4]];
    Some(Sum { position: tail.checked_add(4)?, value: parts.into_iter().fold(seed, crc32c) })
}
