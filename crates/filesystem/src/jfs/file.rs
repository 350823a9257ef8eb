//! Where the blocks of a file lie: the tree of extents in its inode.
//!
//! Source: Linux 6.1 `fs/jfs/jfs_dinode.h`, `jfs_xtree.h`, `jfs_types.h` (`pxd_t`), `jfs_btree.h`.

use block::{ReadAt, read_vec};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::superblock::Superblock;
use crate::Error;

/// Where the inodes of the aggregate start.
const INODE_TABLE: u64 = 0xB000;
const INODE_SIZE: usize = 512;
/// Where the root of the tree starts in an inode, and its length.
const ROOT: std::ops::Range<usize> = 224..512;
const PAGE: usize = 4096;
/// The fileset of the inodes of the aggregate itself.
const AGGREGATE_FILESET: u32 = 1;

const LEAF: u8 = 2;
/// The first slots hold the header.
const FIRST_SLOT: usize = 2;
const DEEPEST: u32 = 8;
/// More extents than any map of blocks has, unless somebody wants memory to be used up.
const EXTENTS_LIMIT: usize = 1 << 20;

/// `struct dinode` up to its size.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Inode {
    di_inostamp: U32,
    di_fileset: U32,
    di_number: U32,
    di_gen: U32,
    di_ixpxd: [u8; 8],
    di_size: U64,
}

/// `struct xtheader`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    next: U64,
    prev: U64,
    flag: u8,
    rsrvd1: u8,
    nextindex: U16,
    maxentry: U16,
    rsrvd2: U16,
    self_: [u8; 8],
}

/// `xad_t`.
#[derive(Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Xad {
    flag: u8,
    rsrvd: [u8; 2],
    off1: u8,
    off2: U32,
    len: [u8; 3],
    addr1: u8,
    addr2: U32,
}

impl Xad {
    fn offset(self) -> u64 {
        (u64::from(self.off1) << 32) | u64::from(self.off2.get())
    }

    fn length(self) -> u64 {
        let [low, middle, high] = self.len;
        u64::from(u32::from_le_bytes([low, middle, high, 0]))
    }

    fn address(self) -> u64 {
        (u64::from(self.addr1) << 32) | u64::from(self.addr2.get())
    }
}

/// Pages that are read of a tree: as many as hold that many extents. Empty pages may be linked over and over.
const PAGES_LIMIT: u32 = 1 << 12;

/// The extents of a file: first block in the file, number of blocks, first block in the region.
#[derive(Debug, Default)]
pub struct File {
    extents: Vec<(u64, u64, u64)>,
    /// Pages of the tree that were read.
    pages: u32,
}

impl File {
    /// Reads where an inode of the aggregate has its blocks.
    pub fn of_aggregate(region: &dyn ReadAt, superblock: &Superblock, number: u32) -> Result<Self, Error> {
        let position = INODE_TABLE.saturating_add(u64::from(number).saturating_mul(512));
        if position.saturating_add(512) > region.size() {
            let expected = format!("inode {number} inside {} bytes", region.size());
            return Err(Error::corrupt(position, expected, "its end behind that"));
        }
        let bytes = read_vec(region, position, INODE_SIZE)?;
        let inode = Inode::read_from_prefix(&bytes).map(|(inode, _)| (inode.di_number.get(), inode.di_fileset.get()));
        if inode != Ok((number, AGGREGATE_FILESET)) {
            let expected = format!("inode {number} of fileset {AGGREGATE_FILESET}");
            let actual = inode.map(|(number, fileset)| format!("inode {number} of fileset {fileset}"));
            return Err(Error::corrupt(position, expected, actual.unwrap_or_default()));
        }
        let mut file = Self::default();
        let root = position.saturating_add(224);
        file.add_page(region, superblock, root, bytes.get(ROOT).unwrap_or_default(), DEEPEST)?;
        Ok(file)
    }

    fn add_page(
        &mut self,
        region: &dyn ReadAt,
        superblock: &Superblock,
        position: u64,
        page: &[u8],
        levels: u32,
    ) -> Result<(), Error> {
        let header = Header::read_from_prefix(page).map(|(header, _)| (header.flag, header.nextindex.get()));
        let Ok((flag, next)) = header else {
            return Err(Error::corrupt(position, "a page of extents", "a shorter one"));
        };
        let slots = page.chunks_exact(size_of::<Xad>()).filter_map(|slot| Xad::read_from_bytes(slot).ok());
        let count = page.len().checked_div(size_of::<Xad>()).unwrap_or_default();
        let Some(used) = usize::from(next).checked_sub(FIRST_SLOT).filter(|_| usize::from(next) <= count) else {
            let expected = format!("{FIRST_SLOT} to {count} slots in use");
            return Err(Error::corrupt(position.saturating_add(18), expected, next.to_string()));
        };
        for xad in slots.skip(FIRST_SLOT).take(used) {
            let end = self.extents.last().map_or(0, |(offset, length, _)| offset.saturating_add(*length));
            if flag & LEAF == 0 {
                let Some(levels) = levels.checked_sub(1) else {
                    return Err(Error::corrupt(position, format!("at most {DEEPEST} levels"), "more"));
                };
                let child = xad.address().saturating_mul(superblock.s_bsize.get().into());
                self.pages = self.pages.saturating_add(1);
                if self.pages > PAGES_LIMIT {
                    return Err(Error::corrupt(position, format!("at most {PAGES_LIMIT} pages of extents"), "more"));
                }
                // Pages follow one another in ascending order, so each extent is seen once, however pages are linked.
                if child.saturating_add(4096) > region.size() || (xad.offset() < end && end > 0) {
                    let expected = format!("a page of extents from block {end} inside {} bytes", region.size());
                    return Err(Error::corrupt(position, expected, format!("byte {child}, block {}", xad.offset())));
                }
                let page = read_vec(region, child, PAGE)?;
                self.add_page(region, superblock, child, &page, levels)?;
                continue;
            }
            if xad.length() == 0 || xad.offset() < end || self.extents.len() >= EXTENTS_LIMIT {
                let expected = format!("an extent from block {end}, at most {EXTENTS_LIMIT} of them");
                let actual = format!("{} blocks from block {}", xad.length(), xad.offset());
                return Err(Error::corrupt(position, expected, actual));
            }
            self.extents.push((xad.offset(), xad.length(), xad.address()));
        }
        Ok(())
    }

    /// The block of the region that holds the first of `count` blocks from `block` of the file; `None` where they are
    /// not in one extent.
    pub fn locate(&self, block: u64, count: u64) -> Option<u64> {
        let index = self.extents.partition_point(|(offset, length, _)| offset.saturating_add(*length) <= block);
        let (offset, length, address) = self.extents.get(index)?;
        let inside = block.checked_sub(*offset)?;
        (inside.saturating_add(count) <= *length).then(|| address.saturating_add(inside))
    }
}
