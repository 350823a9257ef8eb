//! Where the blocks of a file lie: of the journal, and of files that are looked at for what they say.
//!
//! Source: Linux `Documentation/filesystems/ext4/inodes.rst`, `ifork.rst`, `blockmap.rst`; e2fsprogs
//! `lib/ext2fs/csum.c`.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::feature::incompat;
use super::group::{low_half, read_group};
use super::inline;
use super::superblock::{POSITION, Superblock};
use super::view::View;
use crate::Error;
use crate::crc32c::crc32c;
use crate::files::{Content, FileKind, Piece};

/// `i_flags`: the blocks are mapped by extents.
const EXTENTS_FLAG: u32 = 0x8_0000;
/// `i_flags`: content and names are encrypted.
const ENCRYPTED_FLAG: u32 = 0x800;
/// `i_flags`: the content stands in the inode and its attributes.
const INLINE_FLAG: u32 = 0x1000_0000;
/// A link whose target is shorter stands in the inode.
const INODE_ROOM: u64 = 60;
const REGULAR_FILE: u16 = 0x8000;
const DIRECTORY: u16 = 0x4000;
const LINK: u16 = 0xA000;
const FILE_TYPE: u16 = 0xF000;
const EXTENT_MAGIC: u16 = 0xF30A;
/// The kernel never makes a deeper tree.
const DEEPEST_EXTENT_TREE: u16 = 5;
/// An extent longer than this is one of unwritten blocks; its length is what exceeds the value.
const LONGEST_WRITTEN_EXTENT: u16 = 32768;
/// Blocks of a file that are followed at most: far above the largest journal.
const BLOCKS_LIMIT: u64 = 1 << 26;
/// Blocks of the tree that maps a file that are read at most.
const TREE_LIMIT: usize = 1 << 17;
/// Separate runs of a file that are kept at most.
const RUNS_LIMIT: usize = 1 << 20;
/// Positions of the two halves of the checksum of an inode.
pub const CHECKSUM_LOW: usize = 0x7C;
const CHECKSUM_HIGH: usize = 0x82;
const HALF: usize = 2;

/// The first 132 bytes of `struct ext4_inode`; older inodes end 4 bytes before.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawInode {
    i_mode: U16,
    i_uid: U16,
    i_size_lo: U32,
    i_times: [U32; 4],
    i_gid: U16,
    i_links_count: U16,
    i_blocks_lo: U32,
    i_flags: U32,
    i_osd1: U32,
    i_block: [u8; 60],
    i_generation: U32,
    i_file_acl_lo: U32,
    i_size_high: U32,
    i_obso_faddr: U32,
    i_osd2: [u8; 12],
}

/// `struct ext4_extent_header`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ExtentHeader {
    eh_magic: U16,
    eh_entries: U16,
    eh_max: U16,
    eh_depth: U16,
    eh_generation: U32,
}

/// `struct ext4_extent` in leaves; in other nodes `struct ext4_extent_idx`, whose block number is in other halves.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ExtentEntry {
    ee_block: U32,
    ee_len_or_leaf_lo: [u8; 4],
    ee_start_lo_or_leaf_hi: [u8; 4],
}

/// Blocks of a file that follow each other on the disk and in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First block in the file.
    pub logical: u64,
    /// First block on the disk.
    pub physical: u64,
    /// Number of blocks.
    pub count: u64,
}

/// Where a file lies.
#[derive(Clone, Debug, Default)]
pub struct FileBlocks {
    /// Its content in ascending order of `logical`.
    pub runs: Vec<Run>,
    /// The blocks that map it.
    pub tree: Vec<u64>,
    /// Bytes of its content.
    pub size: u64,
    /// Where the inode lies, in bytes from the start of the region.
    pub position: u64,
}

impl FileBlocks {
    /// The run from block `logical` of the file on.
    pub fn run_from(&self, logical: u64) -> Option<Run> {
        let index = self.runs.partition_point(|run| run.logical.saturating_add(run.count) <= logical);
        let run = self.runs.get(index).filter(|run| run.logical <= logical)?;
        let skipped = logical.saturating_sub(run.logical);
        Some(Run { logical, physical: run.physical.saturating_add(skipped), count: run.count.saturating_sub(skipped) })
    }

    fn add(&mut self, superblock: &Superblock, inode: u32, run: Run) -> Result<(), Error> {
        let end = run.physical.checked_add(run.count);
        if run.physical == 0 || run.count == 0 || end.is_none_or(|end| end > superblock.blocks_count) {
            let expected = format!("blocks of inode {inode} inside 1 to {}", superblock.blocks_count);
            return Err(Error::corrupt(self.position, expected, format!("{}+{}", run.physical, run.count)));
        }
        let full = self.runs.len() >= RUNS_LIMIT;
        match self.runs.last_mut() {
            Some(last) if run.logical < last.logical.saturating_add(last.count) => {
                let expected = format!("extents of inode {inode} in ascending order");
                Err(Error::corrupt(self.position, expected, format!("block {} after {}", run.logical, last.logical)))
            }
            Some(last)
                if run.logical == last.logical.saturating_add(last.count)
                    && run.physical == last.physical.saturating_add(last.count) =>
            {
                last.count = last.count.saturating_add(run.count);
                Ok(())
            }
            _ if full => Err(Error::Unsupported(format!("inode {inode} is in more than {RUNS_LIMIT} pieces"))),
            _ => {
                self.runs.push(run);
                Ok(())
            }
        }
    }

    fn enter(&mut self, superblock: &Superblock, inode: u32, block: u64) -> Result<(), Error> {
        if block == 0 || block >= superblock.blocks_count {
            let expected = format!("map blocks of inode {inode} inside 1 to {}", superblock.blocks_count);
            return Err(Error::corrupt(self.position, expected, format!("block {block}")));
        }
        if self.tree.len() >= TREE_LIMIT {
            return Err(Error::Unsupported(format!("inode {inode} is mapped by more than {TREE_LIMIT} blocks")));
        }
        self.tree.push(block);
        Ok(())
    }
}

/// Finds the blocks of the regular file `number`.
pub fn file_blocks(superblock: &Superblock, view: &View, number: u32) -> Result<FileBlocks, Error> {
    let (position, bytes) = read_inode(superblock, view, number)?;
    let (raw, seed) = check(superblock, number, position, &bytes)?;
    if raw.i_mode.get() & FILE_TYPE != REGULAR_FILE {
        let actual = format!("mode {:o}", raw.i_mode);
        return Err(Error::corrupt(position, format!("inode {number} to be a regular file"), actual));
    }
    let size = u64::from(raw.i_size_high.get()) << 32 | u64::from(raw.i_size_lo.get());
    let mut found = FileBlocks { size, position, ..FileBlocks::default() };
    let tree = Tree { superblock, view, inode: number, seed, position, has_holes: false };
    if raw.i_flags.get() & EXTENTS_FLAG != 0 {
        tree.walk_extents(&raw.i_block, &mut found)?;
    } else {
        tree.walk_block_map(&raw.i_block, size.div_ceil(u64::from(superblock.block_size)), &mut found)?;
    }
    Ok(found)
}

/// What an inode is.
pub fn kind(superblock: &Superblock, view: &View, number: u32) -> Result<FileKind, Error> {
    let (_, bytes) = read_inode(superblock, view, number)?;
    let mode = RawInode::ref_from_prefix(&bytes).map_or(0, |(raw, _)| raw.i_mode.get());
    Ok(match mode & FILE_TYPE {
        REGULAR_FILE => FileKind::File,
        DIRECTORY => FileKind::Directory,
        LINK => FileKind::Link,
        _ => FileKind::Other,
    })
}

/// The bytes of a file, a directory or a link. What was allocated and never written is zeros, as holes are.
///
/// # Errors
/// `Unsupported` where they are encrypted.
pub fn content(superblock: &Superblock, view: &View, number: u32) -> Result<Content, Error> {
    let (position, bytes) = read_inode(superblock, view, number)?;
    let (raw, seed) = check(superblock, number, position, &bytes)?;
    let size = u64::from(raw.i_size_high.get()) << 32 | u64::from(raw.i_size_lo.get());
    let flags = raw.i_flags.get();
    if flags & ENCRYPTED_FLAG != 0 {
        return Err(Error::Unsupported(format!("inode {number} is encrypted")));
    }
    let is_short_link = raw.i_mode.get() & FILE_TYPE == LINK && flags & EXTENTS_FLAG == 0 && size < INODE_ROOM;
    if is_short_link || flags & INLINE_FLAG != 0 {
        let corrupt = |actual| Error::corrupt(position, format!("{size} bytes in inode {number}"), actual);
        let second = if is_short_link { &[] } else { inline::second_part(&bytes).map_err(corrupt)? };
        let there = [&raw.i_block, second].concat();
        let in_inode = usize::try_from(size).ok().and_then(|size| there.get(..size));
        let in_inode = in_inode.ok_or_else(|| corrupt(format!("room for {}", there.len())))?;
        return Ok(Content::inline(in_inode.to_vec()));
    }
    let mut found = FileBlocks { size, position, ..FileBlocks::default() };
    let tree = Tree { superblock, view, inode: number, seed, position, has_holes: true };
    let block_size = u64::from(superblock.block_size);
    if flags & EXTENTS_FLAG != 0 {
        tree.walk_extents(&raw.i_block, &mut found)?;
    } else {
        tree.walk_block_map(&raw.i_block, size.div_ceil(block_size), &mut found)?;
    }
    let mut content = Content::of_size(size);
    for run in found.runs {
        let bytes = |blocks: u64| blocks.saturating_mul(block_size);
        content.push(Piece { logical: bytes(run.logical), physical: bytes(run.physical), length: bytes(run.count) })?;
    }
    Ok(content)
}

/// The inode in `bytes`, whose checksum is right, and the seed of the checksums below it.
fn check<'a>(
    superblock: &Superblock,
    number: u32,
    position: u64,
    bytes: &'a [u8],
) -> Result<(&'a RawInode, u32), Error> {
    let raw = raw_inode(position, bytes)?;
    let seed = inode_seed(superblock, number, raw);
    if let Some((expected, actual)) = wrong_checksum(superblock, bytes, seed) {
        let expected = format!("checksum {expected:08x} of inode {number}");
        return Err(Error::corrupt(position, expected, format!("{actual:08x}")));
    }
    Ok((raw, seed))
}

fn raw_inode(position: u64, bytes: &[u8]) -> Result<&RawInode, Error> {
    let truncated = |_| Error::corrupt(position, "a whole inode", format!("{} bytes", bytes.len()));
    RawInode::ref_from_prefix(bytes).map(|(raw, _)| raw).map_err(truncated)
}

/// An inode whose checksum is right: what carries checksums that begin with its number.
pub struct Checked<'a> {
    raw: &'a RawInode,
    number: u32,
    position: u64,
    seed: u32,
}

impl<'a> Checked<'a> {
    /// The inode in `bytes` at `position`.
    ///
    /// # Errors
    /// `Corrupt` where its checksum is wrong.
    pub fn new(superblock: &Superblock, number: u32, position: u64, bytes: &'a [u8]) -> Result<Self, Error> {
        let (raw, seed) = check(superblock, number, position, bytes)?;
        Ok(Self { raw, number, position, seed })
    }

    /// Where the checksums of its blocks start from.
    pub fn seed(&self) -> u32 {
        self.seed
    }

    /// The same in `renamed`.
    pub fn seed_in(&self, renamed: &Superblock) -> u32 {
        inode_seed(renamed, self.number, self.raw)
    }

    pub fn is_directory(&self) -> bool {
        self.raw.i_mode.get() & FILE_TYPE == DIRECTORY
    }

    /// The block of its extended attributes.
    pub fn attributes(&self, superblock: &Superblock) -> Option<u64> {
        let [_, _, a, b, ..] = self.raw.i_osd2;
        let is_wide = superblock.features.incompat(incompat::SIXTY_FOUR_BIT);
        let high = if is_wide { u64::from(u16::from_le_bytes([a, b])) } else { 0 };
        Some(high << 32 | u64::from(self.raw.i_file_acl_lo.get())).filter(|block| *block != 0)
    }

    /// Its blocks, where they are wanted, and those that map them, where these carry checksums.
    pub fn blocks(&self, superblock: &Superblock, view: &View, are_wanted: bool) -> Result<FileBlocks, Error> {
        let size = u64::from(self.raw.i_size_high.get()) << 32 | u64::from(self.raw.i_size_lo.get());
        let mut found = FileBlocks { size, position: self.position, ..FileBlocks::default() };
        let flags = self.raw.i_flags.get();
        let seed = self.seed;
        let tree = Tree { superblock, view, inode: self.number, seed, position: self.position, has_holes: true };
        if flags & INLINE_FLAG != 0 {
            return Ok(found);
        }
        if flags & EXTENTS_FLAG != 0 {
            let (header, _) = tree.header(&self.raw.i_block)?;
            if are_wanted || header.eh_depth.get() > 0 {
                tree.walk_extents(&self.raw.i_block, &mut found)?;
            }
            if !are_wanted {
                found.runs.clear();
            }
        } else if are_wanted {
            tree.walk_block_map(&self.raw.i_block, size.div_ceil(u64::from(superblock.block_size)), &mut found)?;
            found.tree.clear();
        }
        Ok(found)
    }
}

/// The checksum of an inode as it stands from `CHECKSUM_LOW` on, and as it would with another seed.
pub fn reseal(bytes: &[u8], seed: u32) -> (Vec<u8>, Vec<u8>) {
    let end = if has_high_half(bytes) { CHECKSUM_HIGH.saturating_add(HALF) } else { CHECKSUM_LOW.saturating_add(HALF) };
    let from = bytes.get(CHECKSUM_LOW..end).unwrap_or_default().to_vec();
    let [a, b, c, d] = full_checksum(bytes, seed).to_le_bytes();
    let mut to = from.clone();
    to.iter_mut().zip([a, b]).for_each(|(byte, new)| *byte = new);
    to.iter_mut().skip(CHECKSUM_HIGH.saturating_sub(CHECKSUM_LOW)).zip([c, d]).for_each(|(byte, new)| *byte = new);
    (from, to)
}

/// The position of the checksum in an extent node, whose seed is `seed`, and the checksum.
pub fn node_checksum(bytes: &[u8], seed: u32) -> Option<(usize, u32)> {
    let (header, _) = ExtentHeader::ref_from_prefix(bytes).ok()?;
    let entries = usize::from(header.eh_max.get()).saturating_mul(size_of::<ExtentEntry>());
    let position = entries.saturating_add(size_of::<ExtentHeader>());
    Some((position, crc32c(seed, bytes.get(..position)?)))
}

/// The bytes of an inode, and where they lie.
fn read_inode(superblock: &Superblock, view: &View, number: u32) -> Result<(u64, Vec<u8>), Error> {
    let index = u64::from(number.saturating_sub(1));
    let per_group = u64::from(superblock.inodes_per_group);
    let group = index.checked_div(per_group).unwrap_or_default();
    if number == 0 || group >= superblock.groups {
        let expected = format!("an inode in {} groups", superblock.groups);
        return Err(Error::corrupt(POSITION, expected, format!("inode {number}")));
    }
    let group = read_group(superblock, view, group, true)?;
    let in_table = index.checked_rem(per_group).unwrap_or_default().saturating_mul(u64::from(superblock.inode_size));
    let block_size = u64::from(superblock.block_size);
    let block = group.inode_table.saturating_add(in_table.checked_div(block_size).unwrap_or_default());
    let bytes = view.read_blocks(block, 1)?;
    let start = usize::try_from(in_table.checked_rem(block_size).unwrap_or_default()).unwrap_or(usize::MAX);
    let length = usize::try_from(superblock.inode_size).unwrap_or(usize::MAX);
    let end = start.saturating_add(length);
    let position = group.inode_table.saturating_mul(block_size).saturating_add(in_table);
    match bytes.get(start..end) {
        Some(inode) => Ok((position, inode.to_vec())),
        None => Err(Error::corrupt(position, "an inode inside its block", format!("{start} to {end}"))),
    }
}

fn inode_seed(superblock: &Superblock, number: u32, raw: &RawInode) -> u32 {
    let number = U32::new(number).to_bytes();
    let parts: [&[u8]; 2] = [&number, &raw.i_generation.to_bytes()];
    parts.into_iter().fold(superblock.checksum_seed, crc32c)
}

/// The expected and the actual checksum of an inode, where they differ.
fn wrong_checksum(superblock: &Superblock, bytes: &[u8], seed: u32) -> Option<(u32, u32)> {
    if !superblock.has_metadata_checksums() {
        return None;
    }
    let full = full_checksum(bytes, seed);
    let low = u32::from(half(bytes, CHECKSUM_LOW));
    let (expected, actual) = if has_high_half(bytes) {
        (full, u32::from(half(bytes, CHECKSUM_HIGH)) << 16 | low)
    } else {
        (u32::from(low_half(full)), low)
    };
    (expected != actual).then_some((expected, actual))
}

fn half(bytes: &[u8], position: usize) -> u16 {
    let stored = bytes.get(position..position.saturating_add(HALF)).unwrap_or_default();
    U16::read_from_bytes(stored).map(U16::get).unwrap_or_default()
}

/// The upper half is kept where the inode is long enough and says that it uses the field.
fn has_high_half(bytes: &[u8]) -> bool {
    bytes.len() > 128 && half(bytes, 0x80) >= 4
}

/// The checksum of an inode, whatever stands in its fields.
fn full_checksum(bytes: &[u8], seed: u32) -> u32 {
    let mut plain = bytes.to_vec();
    let positions = [Some(CHECKSUM_LOW), has_high_half(bytes).then_some(CHECKSUM_HIGH)];
    for position in positions.into_iter().flatten() {
        plain.iter_mut().skip(position).take(HALF).for_each(|byte| *byte = 0);
    }
    crc32c(seed, &plain)
}

/// What is needed to walk the map of one file.
struct Tree<'a> {
    superblock: &'a Superblock,
    view: &'a View<'a>,
    inode: u32,
    seed: u32,
    position: u64,
    /// Blocks may be missing, and those that were never written are.
    has_holes: bool,
}

impl Tree<'_> {
    fn walk_extents(&self, root: &[u8], found: &mut FileBlocks) -> Result<(), Error> {
        // Nodes still to visit, the next in file order last, each with the depth that it must have.
        let mut waiting: Vec<(u64, u16)> = Vec::new();
        self.visit_node(root, None, found, &mut waiting)?;
        while let Some((block, depth)) = waiting.pop() {
            found.enter(self.superblock, self.inode, block)?;
            let bytes = self.view.read_blocks(block, 1)?;
            self.check_node(block, &bytes)?;
            self.visit_node(&bytes, Some(depth), found, &mut waiting)?;
        }
        Ok(())
    }

    /// Adds the extents of a leaf to `found`, or the children of another node to `waiting`.
    fn visit_node(
        &self,
        bytes: &[u8],
        expected_depth: Option<u16>,
        found: &mut FileBlocks,
        waiting: &mut Vec<(u64, u16)>,
    ) -> Result<(), Error> {
        let (header, rest) = self.header(bytes)?;
        let depth = header.eh_depth.get();
        let depth_fits = expected_depth.map_or(depth <= DEEPEST_EXTENT_TREE, |expected| depth == expected);
        if !depth_fits {
            let expected = format!("depth {expected_depth:?} in the extent tree of inode {}", self.inode);
            return Err(Error::corrupt(self.position, expected, depth.to_string()));
        }
        let entries = rest.chunks_exact(size_of::<ExtentEntry>()).take(usize::from(header.eh_entries.get()));
        let mut children = Vec::new();
        for entry in entries {
            let Ok(entry) = ExtentEntry::ref_from_bytes(entry) else { continue };
            let ([a, b, c, d], [e, f, g, h]) = (entry.ee_len_or_leaf_lo, entry.ee_start_lo_or_leaf_hi);
            match depth.checked_sub(1) {
                None => {
                    let length = u16::from_le_bytes([a, b]);
                    let unwritten = length.checked_sub(LONGEST_WRITTEN_EXTENT).filter(|rest| *rest > 0);
                    if self.has_holes && unwritten.is_some() {
                        continue;
                    }
                    let written = unwritten.unwrap_or(length);
                    let physical =
                        u64::from(u16::from_le_bytes([c, d])) << 32 | u64::from(u32::from_le_bytes([e, f, g, h]));
                    let run = Run { logical: entry.ee_block.get().into(), physical, count: written.into() };
                    found.add(self.superblock, self.inode, run)?;
                }
                Some(below) => {
                    let block =
                        u64::from(u16::from_le_bytes([e, f])) << 32 | u64::from(u32::from_le_bytes([a, b, c, d]));
                    children.push((block, below));
                }
            }
        }
        waiting.extend(children.into_iter().rev());
        if waiting.len() > TREE_LIMIT {
            return Err(Error::Unsupported(format!("inode {} has more than {TREE_LIMIT} map blocks", self.inode)));
        }
        Ok(())
    }

    fn header<'b>(&self, bytes: &'b [u8]) -> Result<(&'b ExtentHeader, &'b [u8]), Error> {
        let expected = || format!("an extent header of inode {}", self.inode);
        let (header, rest) = ExtentHeader::ref_from_prefix(bytes)
            .map_err(|_| Error::corrupt(self.position, expected(), format!("{} bytes", bytes.len())))?;
        let room = rest.len().checked_div(size_of::<ExtentEntry>()).unwrap_or_default();
        if header.eh_magic.get() != EXTENT_MAGIC || usize::from(header.eh_entries.get()) > room {
            let actual = format!("magic {:04x}, {} entries in room for {room}", header.eh_magic, header.eh_entries);
            return Err(Error::corrupt(self.position, expected(), actual));
        }
        Ok((header, rest))
    }

    /// Fails where the checksum after the last possible entry is wrong.
    fn check_node(&self, block: u64, bytes: &[u8]) -> Result<(), Error> {
        if !self.superblock.has_metadata_checksums() {
            return Ok(());
        }
        self.header(bytes)?;
        let (position, expected) = node_checksum(bytes, self.seed).unwrap_or((bytes.len(), 0));
        let rest = bytes.get(position..).unwrap_or_default();
        let actual = U32::read_from_prefix(rest).map(|(stored, _)| stored.get()).ok();
        if actual == Some(expected) {
            return Ok(());
        }
        Err(Error::corrupt(
            block.saturating_mul(u64::from(self.superblock.block_size)),
            format!("checksum {expected:08x} of an extent node of inode {}", self.inode),
            format!("{actual:08x?}"),
        ))
    }

    /// Twelve blocks, then trees of one, two and three levels.
    fn walk_block_map(&self, root: &[u8], blocks: u64, found: &mut FileBlocks) -> Result<(), Error> {
        if blocks > BLOCKS_LIMIT {
            return Err(Error::Unsupported(format!("inode {} has {blocks} blocks", self.inode)));
        }
        let levels = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3_u32];
        let mut waiting: Vec<(u64, u32)> = pointers(root).zip(levels).collect();
        waiting.reverse();
        let mut logical = 0_u64;
        while let Some((block, level)) = waiting.pop() {
            if logical >= blocks {
                break;
            }
            match level.checked_sub(1) {
                _ if block == 0 && self.has_holes => {
                    let pointers = u64::from(self.superblock.block_size / 4);
                    logical = logical.saturating_add(pointers.saturating_pow(level));
                }
                None => {
                    found.add(self.superblock, self.inode, Run { logical, physical: block, count: 1 })?;
                    logical = logical.saturating_add(1);
                }
                Some(below) => {
                    found.enter(self.superblock, self.inode, block)?;
                    let bytes = self.view.read_blocks(block, 1)?;
                    let start = waiting.len();
                    waiting.extend(pointers(&bytes).map(|child| (child, below)));
                    waiting.get_mut(start..).unwrap_or_default().reverse();
                }
            }
        }
        Ok(())
    }
}

fn pointers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (pointers, _) = bytes.as_chunks::<4>();
    pointers.iter().map(|pointer| u64::from(u32::from_le_bytes(*pointer)))
}
