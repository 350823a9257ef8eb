//! Multiple mount protection of ext4: a block in which the machine that has mounted it counts.
//!
//! Somebody made the file system for a disk that several machines reach, so the feature alone is a hint; a count that
//! is not that of a clean end says that a machine has it mounted, or went down with it.
//!
//! Source: Linux `fs/ext4/ext4.h` (`struct mmp_struct`, `EXT4_MMP_SEQ_CLEAN`), e2fsprogs `lib/ext2fs/ext2_fs.h`.

use std::io;

use block::ReadAt;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{structure, text};
use crate::sharing::Evidence;

const POSITION: u64 = 1024;
const BLOCK_SIZES: std::ops::RangeInclusive<u64> = 1024..=65536;
const EXT_MAGIC: u16 = 0xEF53;
const INCOMPAT_MMP: u32 = 0x0100;
const MMP_MAGIC: u32 = 0x004D_4D50;
const SEQ_CLEAN: u32 = 0xFF4D_4D50;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Superblock {
    before: [u8; 0x18],
    s_log_block_size: U32,
    between: [u8; 0x1C],
    s_magic: U16,
    after: [u8; 0x26],
    s_feature_incompat: U32,
    rest: [u8; 0x102],
    s_mmp_interval: U16,
    s_mmp_block: U64,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Mmp {
    mmp_magic: U32,
    mmp_seq: U32,
    mmp_time: U64,
    mmp_nodename: [u8; 64],
}

/// Where the block lies in the region; `None` where the feature is off.
pub fn position(region: &dyn ReadAt) -> io::Result<Option<u64>> {
    let Some(superblock) = structure::<Superblock>(region, POSITION)? else { return Ok(None) };
    if superblock.s_magic.get() != EXT_MAGIC || superblock.s_feature_incompat.get() & INCOMPAT_MMP == 0 {
        return Ok(None);
    }
    let block_size = 1024_u64.checked_shl(superblock.s_log_block_size.get()).filter(|size| BLOCK_SIZES.contains(size));
    Ok(block_size.and_then(|size| superblock.s_mmp_block.get().checked_mul(size)))
}

/// The block, with the machine that was the last to mount.
pub fn find(region: &dyn ReadAt) -> io::Result<Option<Evidence>> {
    let Some(position) = position(region)? else { return Ok(None) };
    let Some(block) = structure::<Mmp>(region, position)? else { return Ok(None) };
    let state = match block.mmp_seq.get() {
        _ if block.mmp_magic.get() != MMP_MAGIC => "damaged".to_owned(),
        SEQ_CLEAN => "clean".to_owned(),
        count => format!("in use, count {count:#010x}"),
    };
    let node = text(&block.mmp_nodename);
    let beside = (!state.starts_with("in use")).then(|| "ext4".to_owned());
    let detail = format!("{state}, node {node}, time {}", block.mmp_time);
    Ok(Some(Evidence::ClusterArea { software: "ext4-mmp".to_owned(), detail, beside }))
}
