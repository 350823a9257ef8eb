//! The logs: what was synced since the last transaction came to its end. A mount replays them.
//!
//! Neither the blocks of a log nor the file data that it refers to stand in the extent tree, which is of the last
//! transaction: the logs themselves are all that tells of them. They lie in chunks that the chunk tree knows, because
//! the kernel ends the transaction instead of writing a log as soon as it makes a chunk.
//!
//! Source: the Linux kernel's `fs/btrfs/tree-log.c` (`btrfs_recover_log_trees`, `replay_one_extent`),
//! `fs/btrfs/extent-tree.c` (`btrfs_alloc_tree_block`: no reference for the log), `fs/btrfs/block-group.c`
//! (`btrfs_make_block_group`), `include/uapi/linux/btrfs_tree.h` (`struct btrfs_file_extent_item`).

use block::Extents;
use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U16, U64, Unaligned};

use super::root_item::{self, ROOT_ITEM};
use super::tree::{self, Visitor};
use super::tree_block::{Key, Root};
use super::volume::{InLogical, Stop, Volume};
use crate::Error;

/// Owner of all logs, and of the tree of their roots: -6.
const TREE_LOG: u64 = u64::MAX.wrapping_sub(5);
const EXTENT_DATA: u8 = 108;
/// The data is in the item.
const KIND_INLINE: u8 = 0;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawFileExtent {
    generation: U64<LE>,
    ram_bytes: U64<LE>,
    compression: u8,
    encryption: u8,
    other_encoding: U16<LE>,
    kind: u8,
    disk_bytenr: U64<LE>,
    disk_num_bytes: U64<LE>,
}

/// What the logs take and refer to.
pub(super) struct Logs {
    /// Logical addresses.
    pub(super) used: Extents<InLogical>,
    /// Number of tree blocks.
    pub(super) blocks: u64,
}

/// Follows all logs, which begin at `root`.
pub(super) fn read(volume: &Volume, root: Root) -> Result<Logs, Stop> {
    let mut reader = Reader { volume, used: Vec::new(), blocks: 0, roots: Vec::new() };
    tree::walk(volume, root, TREE_LOG, None, &mut reader)?;
    for root in std::mem::take(&mut reader.roots) {
        tree::walk(volume, root, TREE_LOG, None, &mut reader)?;
    }
    Ok(Logs { blocks: reader.blocks, used: reader.used.into_iter().collect() })
}

struct Reader<'a> {
    volume: &'a Volume<'a>,
    used: Vec<block::Extent<InLogical>>,
    blocks: u64,
    roots: Vec<Root>,
}

impl Visitor for Reader<'_> {
    fn block(&mut self, position: u64, logical: u64) -> Result<(), Error> {
        self.blocks = self.blocks.saturating_add(1);
        // All logs together: no block is part of two.
        if self.blocks > self.volume.blocks_limit() {
            let expected = format!("at most {} blocks of logs", self.volume.blocks_limit());
            return Err(Error::corrupt(position, expected, "more"));
        }
        self.add(position, logical, u64::from(self.volume.superblock.node_size))
    }

    fn item(&mut self, position: u64, key: &Key, data: &[u8]) -> Result<(), Error> {
        if (key.object, key.kind) == (TREE_LOG, ROOT_ITEM) {
            let bad = || Error::corrupt(position, "the root of a log", format!("{} bytes", data.len()));
            self.roots.push(root_item::parse(data).ok_or_else(bad)?);
        } else if key.kind == EXTENT_DATA {
            return self.add_file_extent(position, data);
        }
        Ok(())
    }
}

impl Reader<'_> {
    fn add_file_extent(&mut self, position: u64, data: &[u8]) -> Result<(), Error> {
        // The data of an inline extent may be shorter than the fields that it does without.
        let kind = data.get(20).copied();
        if kind == Some(KIND_INLINE) {
            return Ok(());
        }
        let Ok((raw, _)) = RawFileExtent::ref_from_prefix(data) else {
            return Err(Error::corrupt(position, "a file extent", format!("{} bytes", data.len())));
        };
        // A hole.
        if raw.disk_bytenr.get() == 0 {
            return Ok(());
        }
        self.add(position, raw.disk_bytenr.get(), raw.disk_num_bytes.get())
    }

    fn add(&mut self, position: u64, logical: u64, length: u64) -> Result<(), Error> {
        if self.volume.chunk_at(logical, length).is_none() || length == 0 {
            let expected = "an extent of the log inside a chunk";
            return Err(Error::corrupt(position, expected, format!("{length} bytes from {logical}")));
        }
        self.used.push(block::Extent::between(logical, logical.saturating_add(length)));
        Ok(())
    }
}
