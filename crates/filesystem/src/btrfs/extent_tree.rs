//! The extent tree: every run of logical addresses that is in use by anything but the superblocks, and the block
//! groups with the number of bytes in use in each.
//!
//! Source: the Linux kernel's `include/uapi/linux/btrfs_tree.h` (`BTRFS_EXTENT_ITEM_KEY`, `BTRFS_METADATA_ITEM_KEY`,
//! `struct btrfs_block_group_item`), `fs/btrfs/tree-checker.c` (`check_extent_item`, `check_block_group_item`).

use block::Extents;
use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U64, Unaligned};

use super::root_item;
use super::superblock::POSITIONS;
use super::tree::{self, Visitor};
use super::tree_block::Key;
use super::volume::{InLogical, Stop, Volume};
use crate::Error;

const EXTENT_TREE: u64 = 2;
const BLOCK_GROUP_TREE: u64 = 11;
/// The offset of the key is the length.
const EXTENT_ITEM: u8 = 168;
/// A tree block; the offset of the key is its level.
const METADATA_ITEM: u8 = 169;
const BLOCK_GROUP_ITEM: u8 = 192;
/// More separate extents are joined over their smallest gaps, as used bytes are.
const EXTENTS_LIMIT: usize = 2 << 20;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawBlockGroupItem {
    used: U64<LE>,
    chunk_objectid: U64<LE>,
    flags: U64<LE>,
}

/// All logical addresses that are in use.
pub(super) fn read(volume: &Volume) -> Result<Extents<InLogical>, Stop> {
    let mut reader = Reader {
        volume,
        used: Extents::new(),
        end: 0,
        sums: vec![0; volume.chunks().len()],
        groups: vec![None; volume.chunks().len()],
    };
    let root = root_item::find(volume, EXTENT_TREE)?;
    tree::walk(volume, root, EXTENT_TREE, None, &mut reader)?;
    if volume.superblock.has_block_group_tree {
        let root = root_item::find(volume, BLOCK_GROUP_TREE)?;
        tree::walk(volume, root, BLOCK_GROUP_TREE, None, &mut Groups(&mut reader))?;
    }
    reader.check_groups()?;
    Ok(reader.used)
}

struct Reader<'a> {
    volume: &'a Volume<'a>,
    used: Extents<InLogical>,
    /// First address behind the last extent.
    end: u64,
    /// Bytes of extents in each chunk.
    sums: Vec<u64>,
    /// Bytes of extents in each chunk by its block group.
    groups: Vec<Option<u64>>,
}

impl Visitor for Reader<'_> {
    fn item(&mut self, position: u64, key: &Key, data: &[u8]) -> Result<(), Error> {
        match key.kind {
            EXTENT_ITEM => self.add(position, key.object, key.offset),
            METADATA_ITEM => self.add(position, key.object, u64::from(self.volume.superblock.node_size)),
            BLOCK_GROUP_ITEM => self.add_group(position, key, data),
            _ => Ok(()),
        }
    }
}

/// The block-group tree, which holds nothing but block groups.
struct Groups<'a, 'b>(&'a mut Reader<'b>);

impl Visitor for Groups<'_, '_> {
    fn item(&mut self, position: u64, key: &Key, data: &[u8]) -> Result<(), Error> {
        if key.kind == BLOCK_GROUP_ITEM { self.0.add_group(position, key, data) } else { Ok(()) }
    }
}

impl Reader<'_> {
    fn add(&mut self, position: u64, logical: u64, length: u64) -> Result<(), Error> {
        let sector = u64::from(self.volume.superblock.sector_size);
        let aligned = logical.is_multiple_of(sector) && length.is_multiple_of(sector);
        let chunk = self.volume.chunk_at(logical, length).filter(|_| aligned && length > 0 && logical >= self.end);
        let Some(sum) = chunk.and_then(|chunk| self.sums.get_mut(chunk)) else {
            let expected = format!("an extent inside a chunk, not before {}", self.end);
            return Err(Error::corrupt(position, expected, format!("{length} bytes from {logical}")));
        };
        *sum = sum.saturating_add(length);
        self.end = logical.saturating_add(length);
        self.used.insert(block::Extent::between(logical, self.end));
        if self.used.count() > EXTENTS_LIMIT {
            self.used.limit_count(EXTENTS_LIMIT / 2);
        }
        Ok(())
    }

    fn add_group(&mut self, position: u64, key: &Key, data: &[u8]) -> Result<(), Error> {
        let group = RawBlockGroupItem::ref_from_prefix(data).ok().map(|(raw, _)| raw);
        let index = self.volume.chunk_at(key.object, key.offset);
        let chunk = index.and_then(|index| self.volume.chunks().get(index));
        let chunk = chunk.filter(|chunk| (chunk.logical, chunk.length) == (key.object, key.offset));
        let slot = index.and_then(|index| self.groups.get_mut(index));
        match (group, chunk, slot) {
            (Some(group), Some(chunk), Some(slot)) if group.flags.get() == chunk.kind => {
                *slot = Some(group.used.get());
                Ok(())
            }
            _ => Err(Error::corrupt(position, "a block group that is a chunk", key.to_string())),
        }
    }

    /// Every chunk is a block group, and its extents are as many bytes as the group counts.
    fn check_groups(&self) -> Result<(), Error> {
        for ((chunk, sum), group) in self.volume.chunks().iter().zip(&self.sums).zip(&self.groups) {
            if *group != Some(*sum) {
                let counted = group.map_or("no block group".to_owned(), |used| format!("{used} bytes by its group"));
                let expected = format!("{sum} bytes in use in the chunk {}", chunk.logical);
                return Err(Error::corrupt(POSITIONS[0], expected, counted));
            }
        }
        Ok(())
    }
}
