//! The map of blocks: pages for 8192 blocks each, with pages of summaries between them.
//!
//! Source: Linux 6.1 `fs/jfs/jfs_dmap.h`, `jfs_dmap.c`.

use block::{ReadAt, read_vec};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::file::File;
use super::superblock::Superblock;
use crate::bits::{Order, for_each_run};
use crate::{Error, UsedBytes};

/// The inode of the map in the aggregate.
const INODE: u32 = 2;
const PAGE: u64 = 4096;
const L2_PAGE: u16 = 12;
/// Pages that are read at once, where they lie one after the other.
const WINDOW: u64 = 64;
/// Blocks of one page of the map.
const BLOCKS: u64 = 8192;

/// The start of `struct dbmap_disk`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Control {
    dn_mapsize: U64,
    dn_nfree: U64,
    dn_l2nbperpage: U32,
}

/// `struct dmap`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Dmap {
    nblocks: U32,
    nfree: U32,
    start: U64,
    tree: [u8; 360],
    pad: [u8; 1672],
    wmap: [U32; 256],
    pmap: [U32; 256],
}

/// Adds all blocks that either map of any page has: the one in work, and the one that was committed.
pub fn add_used(region: &dyn ReadAt, superblock: &Superblock, used: &mut UsedBytes) -> Result<(), Error> {
    let file = File::of_aggregate(region, superblock, INODE)?;
    let mut map = Map { region, superblock, file, first: 0, position: 0, window: Vec::new() };
    let l2_blocks_of_page = map.l2_blocks_of_page();
    let (position, page) = map.page(0)?;
    let control = Control::read_from_prefix(page).map(|(control, _)| control);
    let control = control.map_err(|_| Error::corrupt(position, "a control page", "a shorter one"))?;
    let (blocks, l2_blocks) = (control.dn_mapsize.get(), control.dn_l2nbperpage.get());
    if (blocks, l2_blocks) != (superblock.blocks(), l2_blocks_of_page.into()) {
        let expected = format!("a map of {} blocks, 2^{} a page", superblock.blocks(), l2_blocks_of_page);
        return Err(Error::corrupt(position, expected, format!("{blocks} blocks, 2^{l2_blocks} a page")));
    }
    let mut free = 0_u64;
    for number in 0..blocks.div_ceil(BLOCKS) {
        free = free.saturating_add(map.add_page(number, blocks, used)?);
    }
    if free != control.dn_nfree.get() {
        let expected = format!("{} free blocks, as the control page says", control.dn_nfree.get());
        return Err(Error::corrupt(position.saturating_add(8), expected, format!("{free} in the map")));
    }
    Ok(())
}

struct Map<'a> {
    region: &'a dyn ReadAt,
    superblock: &'a Superblock,
    file: File,
    /// The pages that were read last: number of the first, where it lies in the region, and the bytes.
    first: u64,
    position: u64,
    window: Vec<u8>,
}

impl Map<'_> {
    fn l2_blocks_of_page(&self) -> u16 {
        L2_PAGE.saturating_sub(self.superblock.s_l2bsize.get())
    }

    /// A page of the map's file, and where it lies in the region.
    fn page(&mut self, number: u64) -> Result<(u64, &[u8]), Error> {
        let inside = number.checked_sub(self.first).map(|pages| pages.saturating_mul(PAGE));
        let length = u64::try_from(self.window.len()).unwrap_or_default();
        let offset = match inside.filter(|offset| offset.saturating_add(PAGE) <= length) {
            Some(offset) => offset,
            None => {
                self.read_window(number)?;
                0
            }
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let page = self.window.get(start..).unwrap_or_default();
        let page = page.get(..usize::try_from(PAGE).unwrap_or_default()).unwrap_or_default();
        Ok((self.position.saturating_add(offset), page))
    }

    /// Reads a page, and those after it that lie right behind it.
    fn read_window(&mut self, number: u64) -> Result<(), Error> {
        let blocks = 1_u64.checked_shl(self.l2_blocks_of_page().into()).unwrap_or(1);
        let locate = |pages: u64| {
            let block = self.file.locate(number.saturating_mul(blocks), pages.saturating_mul(blocks))?;
            let position = block.saturating_mul(self.superblock.s_bsize.get().into());
            (position.saturating_add(pages.saturating_mul(PAGE)) <= self.region.size()).then_some((position, pages))
        };
        let Some((position, pages)) = locate(WINDOW).or_else(|| locate(1)) else {
            let expected = format!("page {number} of the block map in one piece inside the region");
            return Err(Error::corrupt(super::superblock::POSITION, expected, "none"));
        };
        let length = usize::try_from(pages.saturating_mul(PAGE)).unwrap_or_default();
        self.window = read_vec(self.region, position, length)?;
        (self.first, self.position) = (number, position);
        Ok(())
    }

    /// Adds the blocks of one page of bits; gives back how many are free.
    fn add_page(&mut self, number: u64, blocks: u64, used: &mut UsedBytes) -> Result<u64, Error> {
        // Control page and the three levels of summaries come first; one more of each comes after as many pages as
        // it sums up.
        let summaries = (number >> 10).saturating_add(number >> 20).saturating_add(4);
        let block_size = self.superblock.s_bsize.get();
        let (position, page) = self.page(number.saturating_add(summaries))?;
        let dmap =
            Dmap::ref_from_bytes(page).map_err(|_| Error::corrupt(position, "a page of the map", "a shorter one"))?;
        let start = number.saturating_mul(BLOCKS);
        let count = blocks.saturating_sub(start).min(BLOCKS);
        if (dmap.start.get(), u64::from(dmap.nblocks.get())) != (start, count) {
            let expected = format!("{count} blocks from block {start} of the map");
            let actual = format!("{} blocks from block {}", dmap.nblocks.get(), dmap.start.get());
            return Err(Error::corrupt(position, expected, actual));
        }
        let working: Vec<u8> = dmap.wmap.iter().flat_map(|word| word.get().to_be_bytes()).collect();
        let both = dmap.wmap.iter().zip(&dmap.pmap).flat_map(|(left, right)| (left.get() | right.get()).to_be_bytes());
        let both: Vec<u8> = both.collect();
        for_each_run(&both, count, Order::HighestFirst, true, |first, length| {
            used.add_blocks(start.saturating_add(first), length, block_size);
        });
        let mut free = 0_u64;
        for_each_run(&working, count, Order::HighestFirst, false, |_, length| free = free.saturating_add(length));
        if free != u64::from(dmap.nfree.get()) {
            let expected = format!("{} free blocks from block {start}", dmap.nfree.get());
            return Err(Error::corrupt(position.saturating_add(4), expected, free.to_string()));
        }
        Ok(free)
    }
}
