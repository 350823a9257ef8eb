//! The superblock of GFS2: which locks it uses, and the name of its cluster.
//!
//! Source: Linux `include/uapi/linux/gfs2_ondisk.h` (`struct gfs2_sb`).

use std::io;

use block::ReadAt;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{structure, text};
use crate::sharing::Evidence;

const POSITION: u64 = 64 << 10;
const MAGIC: u32 = 0x0116_1970;
const TYPE_SUPERBLOCK: u32 = 1;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Superblock {
    mh_magic: U32,
    mh_type: U32,
    header: [u8; 16],
    sb_fs_format: U32,
    between: [u8; 68],
    sb_lockproto: [u8; 64],
    sb_locktable: [u8; 64],
}

/// The superblock, where its locks are those of a cluster.
pub fn find(region: &dyn ReadAt) -> io::Result<Option<Evidence>> {
    let Some(superblock) = structure::<Superblock>(region, POSITION)? else { return Ok(None) };
    if superblock.mh_magic.get() != MAGIC || superblock.mh_type.get() != TYPE_SUPERBLOCK {
        return Ok(None);
    }
    let (protocol, table) = (text(&superblock.sb_lockproto), text(&superblock.sb_locktable));
    let found = Evidence::ClusterFileSystem { file_system: "gfs2".to_owned(), detail: format!("{protocol} {table}") };
    Ok((protocol != "lock_nolock").then_some(found))
}
