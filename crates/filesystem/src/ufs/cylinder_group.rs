//! The head of a cylinder group with its bitmap of free fragments.
//!
//! Source: FreeBSD `sys/ufs/ffs/fs.h` (`struct cg`, `cgtod`, `cg_blksfree`).

use block::{ReadAt, read_vec};

use super::superblock::Superblock;
use crate::bits::{Order, for_each_run};
use crate::structure::Structure;
use crate::{Error, UsedBytes};

const MAGIC: u32 = 0x0009_0255;
/// Bytes of `struct cg` before the bitmaps.
const HEAD: u64 = 168;

/// Adds the fragments of a group that its bitmap does not call free; gives back how many are free.
pub fn add_used(region: &dyn ReadAt, superblock: &Superblock, number: u32, used: &mut UsedBytes) -> Result<u64, Error> {
    let start = superblock.start_of(number);
    let position = start.saturating_add(superblock.fs_cblkno.into()).saturating_mul(superblock.fs_fsize.into());
    let end = position.saturating_add(superblock.fs_cgsize.into());
    if end > region.size() {
        return Err(Error::corrupt(position, format!("the head of group {number}"), "the end of the region"));
    }
    let bytes = read_vec(region, position, usize::try_from(superblock.fs_cgsize).unwrap_or_default())?;
    let head = Structure::of(bytes);
    let u32 = |offset| head.u32_in(superblock.order, offset);
    let (magic, cgx, ndblk, freeoff) = (u32(4), u32(12), u32(20), u32(96));
    let count = superblock.fs_size.saturating_sub(start).min(superblock.fs_fpg.into());
    if (magic, cgx, u64::from(ndblk)) != (MAGIC, number, count) {
        let expected = format!("group {number} of {count} fragments");
        let actual = format!("group {cgx} of {ndblk}, magic number {magic:x}");
        return Err(Error::corrupt(position, expected, actual));
    }
    let length = count.div_ceil(8);
    let fits = u64::from(freeoff).saturating_add(length) <= superblock.fs_cgsize.into();
    if !fits || u64::from(freeoff) < HEAD {
        let expected = format!("a bitmap of {length} bytes inside the group");
        return Err(Error::corrupt(position.saturating_add(96), expected, format!("one at byte {freeoff}")));
    }
    let bitmap =
        head.bytes(usize::try_from(freeoff).unwrap_or(usize::MAX), usize::try_from(length).unwrap_or_default());
    for_each_run(bitmap, count, Order::LowestFirst, false, |first, length| {
        used.add_blocks(start.saturating_add(first), length, superblock.fs_fsize);
    });
    let mut free = 0_u64;
    for_each_run(bitmap, count, Order::LowestFirst, true, |_, length| free = free.saturating_add(length));
    let said = u64::from(u32(28)).saturating_mul(superblock.fs_frag.into()).saturating_add(u32(36).into());
    if free != said {
        let expected = format!("{said} free fragments in group {number}");
        return Err(Error::corrupt(position.saturating_add(28), expected, free.to_string()));
    }
    Ok(free)
}
