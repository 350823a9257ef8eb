//! Inodes: what a file is and where its bytes lie.
//!
//! Source: "XFS Algorithms & Data Structures" (xfs-documentation, `ondisk_inode.asciidoc`, `data_extents.asciidoc`,
//! `symbolic_links.asciidoc`) and the Linux kernel's `fs/xfs/libxfs/xfs_format.h`.

use std::collections::BTreeSet;

use block::{ReadAt, read_vec};
use zerocopy::{BE, FromBytes, Immutable, KnownLayout, U16, U32, U64, Unaligned};

use super::superblock::Superblock;
use crate::Error;
use crate::files::{Content, FileKind, Piece};

const MAGIC: [u8; 2] = *b"IN";
const FORMAT_LOCAL: u8 = 1;
const FORMAT_EXTENTS: u8 = 2;
const FORMAT_BTREE: u8 = 3;
const FILE_TYPE: u16 = 0xF000;
const LINK: u16 = 0xA000;
/// `di_flags`: the data lies in the realtime section.
const REALTIME: u16 = 1;
/// `di_flags2`: the numbers of extents have 64 and 32 bits and lie elsewhere.
const LARGE_COUNTS: u64 = 1 << 4;
const CORE_BYTES_2: usize = 100;
const CORE_BYTES_3: usize = 176;
const CRC_OFFSET: usize = 100;
const EXTENT_BYTES: usize = 16;
/// The kernel makes none deeper.
const DEEPEST_TREE: u16 = 9;
const BLOCKS_LIMIT: usize = 1 << 17;
/// `struct xfs_dsymlink_hdr`
const LINK_HEADER_BYTES: u64 = 56;
const LINK_LIMIT: u64 = 1024;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    di_magic: [u8; 2],
    di_mode: U16<BE>,
    di_version: u8,
    di_format: u8,
    di_onlink_to_gid: [u8; 10],
    di_nlink_projid: [u8; 8],
    di_big_nextents: U64<BE>,
    di_times: [u8; 24],
    di_size: U64<BE>,
    di_nblocks: U64<BE>,
    di_extsize: U32<BE>,
    di_nextents: U32<BE>,
    di_anextents: U16<BE>,
    di_forkoff: u8,
    di_aformat: u8,
    di_dmevmask_dmstate: [u8; 6],
    di_flags: U16<BE>,
    di_gen: U32<BE>,
    di_next_unlinked: U32<BE>,
    di_crc: [u8; 4],
    di_changecount: U64<BE>,
    di_lsn: U64<BE>,
    di_flags2: U64<BE>,
}

const _: () = assert!(std::mem::offset_of!(Raw, di_size) == 56);
const _: () = assert!(std::mem::offset_of!(Raw, di_forkoff) == 82);
const _: () = assert!(std::mem::offset_of!(Raw, di_flags2) == 120);

/// An inode whose fields are possible.
pub(super) struct Inode {
    number: u64,
    position: u64,
    mode: u16,
    format: u8,
    size: u64,
    is_realtime: bool,
    /// What stands in the inode for the data: the data itself, extents, or the root of a tree.
    fork: Vec<u8>,
    extents: u64,
}

impl Inode {
    /// Reads the inode `number`.
    pub(super) fn read(region: &dyn ReadAt, superblock: &Superblock, number: u64) -> Result<Self, Error> {
        let position = superblock.inode_position(number)?;
        let bytes = read_vec(region, position, usize::from(superblock.inode_size))?;
        Self::parse(&bytes, superblock, number, position)
    }

    fn parse(bytes: &[u8], superblock: &Superblock, number: u64, position: u64) -> Result<Self, Error> {
        let corrupt = |actual: String| Error::corrupt(position, format!("inode {number}"), actual);
        let (raw, _) = Raw::ref_from_prefix(bytes).map_err(|_| corrupt(format!("{} bytes", bytes.len())))?;
        let start = match raw.di_version {
            3 if superblock.has_checksums => CORE_BYTES_3,
            1 | 2 if !superblock.has_checksums => CORE_BYTES_2,
            other => return Err(corrupt(format!("version {other}"))),
        };
        if raw.di_magic != MAGIC {
            return Err(corrupt(format!("magic {:02x?}", raw.di_magic)));
        }
        if superblock.has_checksums {
            super::allocation_group::check_checksum(position, bytes, CRC_OFFSET)?;
        }
        let end = match usize::from(raw.di_forkoff).saturating_mul(8) {
            0 => bytes.len(),
            offset => start.saturating_add(offset),
        };
        let fork = bytes.get(start..end).ok_or_else(|| corrupt(format!("a data fork from {start} to {end}")))?;
        let is_version_3 = raw.di_version == 3;
        let has_large_counts = is_version_3 && raw.di_flags2.get() & LARGE_COUNTS != 0;
        Ok(Self {
            number,
            position,
            mode: raw.di_mode.get(),
            format: raw.di_format,
            size: raw.di_size.get(),
            is_realtime: raw.di_flags.get() & REALTIME != 0,
            fork: fork.to_vec(),
            extents: if has_large_counts { raw.di_big_nextents.get() } else { raw.di_nextents.get().into() },
        })
    }

    pub(super) fn kind(&self) -> FileKind {
        match self.mode & FILE_TYPE {
            0x8000 => FileKind::File,
            0x4000 => FileKind::Directory,
            LINK => FileKind::Link,
            _ => FileKind::Other,
        }
    }

    /// The data that stands in the inode, where it does.
    pub(super) fn local(&self) -> Option<&[u8]> {
        let length = usize::try_from(self.size).ok().filter(|_| self.format == FORMAT_LOCAL)?;
        self.fork.get(..length)
    }

    /// Where the data lies, up to its size. Of a directory all of it, also what lies behind its size.
    pub(super) fn content(&self, region: &dyn ReadAt, superblock: &Superblock) -> Result<Content, Error> {
        if let Some(local) = self.local() {
            return Ok(Content::inline(local.to_vec()));
        }
        if self.is_realtime {
            return Err(Error::Unsupported(format!("inode {} lies in the realtime section", self.number)));
        }
        let mut extents = Vec::new();
        match self.format {
            FORMAT_EXTENTS => self.add_records(&self.fork, self.extents, superblock, &mut extents)?,
            FORMAT_BTREE => self.walk_tree(region, superblock, &mut extents)?,
            other => return Err(Error::corrupt(self.position, "extents of a file", format!("format {other}"))),
        }
        if self.mode & FILE_TYPE == LINK {
            return self.link_content(region, superblock, &extents);
        }
        extents.sort_unstable_by_key(|extent| extent.logical);
        let mut content = Content::of_size(self.size);
        extents.into_iter().try_for_each(|extent| content.push(extent))?;
        Ok(content)
    }

    /// The target of a link that does not fit into the inode: in version 5 each block begins with a header.
    fn link_content(&self, region: &dyn ReadAt, superblock: &Superblock, extents: &[Piece]) -> Result<Content, Error> {
        if self.size > LINK_LIMIT {
            return Err(Error::corrupt(self.position, "a short link", format!("{} bytes", self.size)));
        }
        let header = if superblock.has_checksums { LINK_HEADER_BYTES } else { 0 };
        let size = usize::try_from(self.size).unwrap_or_default();
        let mut target = Vec::new();
        for extent in extents {
            let block_size = u64::from(superblock.block_size);
            for block in 0..extent.length.checked_div(block_size).unwrap_or_default() {
                let wanted = u64::try_from(size.saturating_sub(target.len())).unwrap_or_default();
                if wanted == 0 {
                    break;
                }
                let position = extent.physical.saturating_add(block.saturating_mul(block_size)).saturating_add(header);
                let count = wanted.min(block_size.saturating_sub(header));
                target.extend(read_vec(region, position, usize::try_from(count).unwrap_or_default())?);
            }
        }
        Ok(Content::inline(target))
    }

    fn add_records(
        &self,
        bytes: &[u8],
        count: u64,
        superblock: &Superblock,
        extents: &mut Vec<Piece>,
    ) -> Result<(), Error> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let records = bytes.len().checked_div(EXTENT_BYTES).unwrap_or_default();
        if count > records {
            let expected = format!("at most {records} extents of inode {}", self.number);
            return Err(Error::corrupt(self.position, expected, count.to_string()));
        }
        let (records, _) = bytes.as_chunks::<EXTENT_BYTES>();
        for record in records.iter().take(count) {
            let record = u128::from_be_bytes(*record);
            let bits = |low: u32, width: u32| u64::try_from(record >> low & !(u128::MAX << width)).unwrap_or(u64::MAX);
            let (unwritten, logical) = (bits(127, 1), bits(73, 54));
            let (physical, length) = (bits(21, 52), bits(0, 21));
            if unwritten != 0 {
                continue;
            }
            let block_size = u64::from(superblock.block_size);
            let position = superblock.position_of_block(physical)?;
            let piece = Piece {
                logical: logical.saturating_mul(block_size),
                physical: position,
                length: length.saturating_mul(block_size),
            };
            extents.push(piece);
        }
        Ok(())
    }

    /// Visits all leaves. Every block is visited once, so that damage can't lead in circles.
    fn walk_tree(&self, region: &dyn ReadAt, superblock: &Superblock, extents: &mut Vec<Piece>) -> Result<(), Error> {
        let number = |bytes: &[u8], at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk::<2>()).copied();
        let corrupt = |actual: String| {
            Error::corrupt(self.position, format!("a tree of the extents of inode {}", self.number), actual)
        };
        let level = number(&self.fork, 0).map(u16::from_be_bytes).filter(|level| (1..=DEEPEST_TREE).contains(level));
        let level = level.ok_or_else(|| corrupt("another depth".into()))?;
        let mut waiting = pointers(&self.fork, 4, number(&self.fork, 2).map_or(0, u16::from_be_bytes))
            .ok_or_else(|| corrupt("a root without room for its pointers".into()))?
            .into_iter()
            .map(|block| (block, level.saturating_sub(1)))
            .collect::<Vec<_>>();
        let mut visited = BTreeSet::new();
        let header = if superblock.has_checksums { 72 } else { 24 };
        let magic: &[u8; 4] = if superblock.has_checksums { b"BMA3" } else { b"BMAP" };
        while let Some((block, level)) = waiting.pop() {
            if !visited.insert(block) || visited.len() > BLOCKS_LIMIT {
                return Err(corrupt(format!("block {block} twice, or more than {BLOCKS_LIMIT} blocks")));
            }
            let position = superblock.position_of_block(block)?;
            let bytes = read_vec(region, position, usize::try_from(superblock.block_size).unwrap_or_default())?;
            let own = number(&bytes, 4).map(u16::from_be_bytes);
            if !bytes.starts_with(magic) || own != Some(level) {
                return Err(corrupt(format!("block {block} of level {own:?} instead of {level}")));
            }
            let records = number(&bytes, 6).map_or(0, u16::from_be_bytes);
            if level == 0 {
                let rest = bytes.get(header..).unwrap_or_default();
                self.add_records(rest, records.into(), superblock, extents)?;
            } else {
                let below = pointers(&bytes, header, records)
                    .ok_or_else(|| corrupt(format!("{records} pointers in block {block}")))?;
                waiting.extend(below.into_iter().map(|block| (block, level.saturating_sub(1))));
            }
            if extents.len() > crate::files::PIECES_LIMIT {
                return Err(Error::Unsupported(format!("inode {} has too many extents", self.number)));
            }
        }
        Ok(())
    }
}

/// The pointers of a node: they stand behind the room for as many keys as would fit.
fn pointers(bytes: &[u8], header: usize, count: u16) -> Option<Vec<u64>> {
    let room = bytes.len().checked_sub(header)?.checked_div(16)?;
    if usize::from(count) > room {
        return None;
    }
    let start = header.checked_add(room.checked_mul(8)?)?;
    let (pointers, _) = bytes.get(start..)?.as_chunks::<8>();
    Some(pointers.iter().take(usize::from(count)).map(|pointer| u64::from_be_bytes(*pointer)).collect())
}
