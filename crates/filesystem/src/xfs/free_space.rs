//! The tree of the free extents of one allocation group in the order of their blocks (`bnobt`).
//!
//! What the tree lists is free; every other block of the group is in use: headers, the trees themselves, the free
//! list, inodes, the log, files.
//!
//! Source: "XFS Algorithms & Data Structures" (`btrees.asciidoc`, `allocation_groups.asciidoc`), the Linux kernel's
//! `fs/xfs/libxfs/xfs_format.h` (`struct xfs_btree_block`), `xfs_alloc_btree.c`.

use block::{ReadAt, read_vec};
use zerocopy::{BE, FromBytes, Immutable, KnownLayout, LE, U16, U32, U64, Unaligned};

use super::allocation_group::{AllocationGroup, check_checksum, check_owner};
use super::superblock::Superblock;
use crate::{Error, UsedBytes};

/// The number of a block that does not exist.
const NULL_BLOCK: u32 = u32::MAX;
/// Where `bb_crc` lies in a block of version 5.
const CRC_OFFSET: usize = 52;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    bb_magic: [u8; 4],
    bb_level: U16<BE>,
    bb_numrecs: U16<BE>,
    bb_leftsib: U32<BE>,
    bb_rightsib: U32<BE>,
}

/// What follows in version 5.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawOwner {
    bb_blkno: U64<BE>,
    bb_lsn: U64<BE>,
    bb_uuid: [u8; 16],
    bb_owner: U32<BE>,
    bb_crc: U32<LE>,
}

/// A record of a leaf, and the key of a child in a node.
#[derive(Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawRecord {
    ar_startblock: U32<BE>,
    ar_blockcount: U32<BE>,
}

/// A block of the tree that waits to be visited.
struct Visit {
    block: u32,
    level: u16,
    /// No record below starts before this.
    key: u32,
}

/// A block of the tree, checked.
struct TreeBlock {
    left: u32,
    right: u32,
    body: Vec<u8>,
    count: usize,
}

/// Walks the tree of one group and adds every block that it does not list to `used`.
///
/// Returns the blocks of the tree, which must not be free themselves.
pub(super) fn add_used_blocks(
    region: &dyn ReadAt,
    superblock: &Superblock,
    group: &AllocationGroup,
    used: &mut UsedBytes,
) -> Result<Vec<u32>, Error> {
    let mut gaps = Gaps { superblock, group, used, used_from: 0, free_blocks: 0 };
    let mut neighbours = Neighbours::default();
    let mut visited = Vec::new();
    let root_level = u16::try_from(group.by_block_levels.saturating_sub(1)).unwrap_or_default();
    let mut waiting = vec![Visit { block: group.by_block_root, level: root_level, key: 0 }];
    while let Some(visit) = waiting.pop() {
        let position = superblock.block_position(group.number, visit.block);
        let is_root = visit.level == root_level;
        let block = TreeBlock::read(region, superblock, group, &visit, is_root)?;
        neighbours.check(position, &visit, &block)?;
        visited.push(visit.block);
        // Every block of the tree is a block of the group. Orders and levels keep the walk from loops;
        // this keeps it finite without having to prove that.
        if visited.len() > usize::try_from(group.blocks).unwrap_or(usize::MAX) {
            return Err(Error::corrupt(position, format!("at most {} tree blocks", group.blocks), "more"));
        }
        if visit.level == 0 {
            for record in block.records() {
                gaps.add_free(position, visit.key, record)?;
            }
        } else {
            let level = visit.level.saturating_sub(1);
            // The last child first: the stack hands them out in ascending order.
            let children: Vec<_> = block.children(superblock).map(|(key, block)| Visit { block, level, key }).collect();
            waiting.extend(children.into_iter().rev());
        }
    }
    neighbours.check_ends(superblock.group_position(group.number))?;
    gaps.finish()?;
    Ok(visited)
}

impl TreeBlock {
    fn read(
        region: &dyn ReadAt,
        superblock: &Superblock,
        group: &AllocationGroup,
        visit: &Visit,
        is_root: bool,
    ) -> Result<Self, Error> {
        let position = superblock.block_position(group.number, visit.block);
        if visit.block < superblock.header_blocks() || visit.block >= group.blocks {
            let expected = format!("a tree block among the {} blocks of group {}", group.blocks, group.number);
            return Err(Error::corrupt(position, expected, format!("block {}", visit.block)));
        }
        let bytes = read_vec(region, position, usize::try_from(superblock.block_size).unwrap_or_default())?;
        let bad = |expected: &str, actual: String| Err(Error::corrupt(position, expected, actual));
        let Ok((raw, after)) = Raw::ref_from_prefix(&bytes) else {
            return bad("a tree block", format!("{} bytes", bytes.len()));
        };
        let magic = if superblock.has_checksums { b"AB3B" } else { b"ABTB" };
        if raw.bb_magic != *magic {
            return bad("a block of the free-space tree", format!("the magic {:02x?}", raw.bb_magic));
        }
        let body = if superblock.has_checksums {
            check_checksum(position, &bytes, CRC_OFFSET)?;
            let Ok((owner, body)) = RawOwner::ref_from_prefix(after) else {
                return bad("a tree block", format!("{} bytes", bytes.len()));
            };
            check_owner(position, superblock, &owner.bb_uuid)?;
            // `bb_blkno` counts in 512 bytes, whatever the sector size.
            if owner.bb_blkno.get() != position >> 9 || owner.bb_owner.get() != group.number {
                return bad(
                    &format!("a tree block of group {} at sector {}", group.number, position >> 9),
                    format!("one of group {} at sector {}", owner.bb_owner.get(), owner.bb_blkno.get()),
                );
            }
            body
        } else {
            after
        };
        if raw.bb_level.get() != visit.level {
            return bad(&format!("a tree block of level {}", visit.level), raw.bb_level.get().to_string());
        }
        let count = usize::from(raw.bb_numrecs.get());
        let limit = if visit.level == 0 { body.len() / 8 } else { body.len() / 12 };
        // Only a group without any free block has an empty tree, and then it is a single leaf.
        let least = usize::from(!(is_root && visit.level == 0));
        if !(least..=limit).contains(&count) {
            return bad(&format!("{least} to {limit} records"), count.to_string());
        }
        Ok(Self { left: raw.bb_leftsib.get(), right: raw.bb_rightsib.get(), body: body.to_vec(), count })
    }

    fn records(&self) -> impl Iterator<Item = RawRecord> + '_ {
        let (records, _) = self.body.as_chunks::<8>();
        records.iter().take(self.count).map(|bytes| zerocopy::transmute!(*bytes))
    }

    /// The first block and the place of each child. The pointers follow after room for as many keys as fit.
    fn children(&self, superblock: &Superblock) -> impl Iterator<Item = (u32, u32)> + '_ {
        let header = if superblock.has_checksums { 56 } else { 16 };
        let block_size = usize::try_from(superblock.block_size).unwrap_or_default();
        let pointers_start = block_size.saturating_sub(header).wrapping_div(12).saturating_mul(8);
        let (pointers, _) = self.body.get(pointers_start..).unwrap_or_default().as_chunks::<4>();
        self.records().zip(pointers).map(|(key, pointer)| (key.ar_startblock.get(), u32::from_be_bytes(*pointer)))
    }
}

/// The last visited block of every level and what it calls its right neighbour.
#[derive(Default)]
struct Neighbours {
    last: std::collections::BTreeMap<u16, (u32, u32)>,
}

impl Neighbours {
    /// Checks that the blocks of a level name each other, as a child that belongs elsewhere does not.
    fn check(&mut self, position: u64, visit: &Visit, block: &TreeBlock) -> Result<(), Error> {
        let (left, expected) = self.last.get(&visit.level).copied().unwrap_or((NULL_BLOCK, visit.block));
        if block.left != left || expected != visit.block {
            let wanted = format!("the right neighbour of tree block {left} to be {expected}");
            return Err(Error::corrupt(position, wanted, format!("block {} right of {}", visit.block, block.left)));
        }
        self.last.insert(visit.level, (visit.block, block.right));
        Ok(())
    }

    fn check_ends(&self, position: u64) -> Result<(), Error> {
        match self.last.values().find(|(_, right)| *right != NULL_BLOCK) {
            None => Ok(()),
            Some((block, right)) => {
                let expected = format!("tree block {block} to be the last of its level");
                Err(Error::corrupt(position, expected, format!("a right neighbour {right}")))
            }
        }
    }
}

/// Turns free extents in ascending order into the used blocks between them.
struct Gaps<'a> {
    superblock: &'a Superblock,
    group: &'a AllocationGroup,
    used: &'a mut UsedBytes,
    /// First block of the group that is not yet accounted for.
    used_from: u32,
    free_blocks: u64,
}

impl Gaps<'_> {
    fn add_free(&mut self, position: u64, key: u32, record: RawRecord) -> Result<(), Error> {
        let (start, count) = (record.ar_startblock.get(), record.ar_blockcount.get());
        let lowest = self.used_from.max(self.superblock.header_blocks()).max(key);
        let end = start.checked_add(count).filter(|end| *end <= self.group.blocks);
        let (Some(end), true) = (end, count != 0 && start >= lowest) else {
            let expected = format!("a free extent between blocks {lowest} and {}", self.group.blocks);
            return Err(Error::corrupt(position, expected, format!("{count} blocks from {start}")));
        };
        self.add_used(start);
        self.used_from = end;
        self.free_blocks = self.free_blocks.saturating_add(u64::from(count));
        Ok(())
    }

    fn add_used(&mut self, end: u32) {
        let first = self.superblock.linear_block(self.group.number, self.used_from);
        let count = u64::from(end.saturating_sub(self.used_from));
        self.used.add_blocks(first, count, self.superblock.block_size);
    }

    fn finish(mut self) -> Result<(), Error> {
        self.add_used(self.group.blocks);
        if self.free_blocks == u64::from(self.group.free_blocks) {
            return Ok(());
        }
        Err(Error::corrupt(
            self.superblock.group_position(self.group.number),
            format!("{} free blocks in allocation group {}", self.group.free_blocks, self.group.number),
            format!("{} in its tree", self.free_blocks),
        ))
    }
}
