//! The superblock of OCFS2: whether one machine alone mounts it, and the name of its cluster.
//!
//! Source: Linux `fs/ocfs2/ocfs2_fs.h` (`struct ocfs2_dinode`, `ocfs2_super_block`, `ocfs2_cluster_info`).

use std::io;

use block::ReadAt;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{structure, text};
use crate::sharing::Evidence;

/// The third block, for each size of a block.
const POSITIONS: [u64; 4] = [1024, 2048, 4096, 8192];
const INCOMPAT_LOCAL_MOUNT: u32 = 0x0008;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Superblock {
    i_signature: [u8; 8],
    inode: [u8; 184],
    revision: [u8; 32],
    s_feature_incompat: U32,
    between: [u8; 44],
    s_label: [u8; 64],
    s_uuid: [u8; 16],
    ci_stack: [u8; 4],
    ci_reserved: [u8; 4],
    ci_cluster: [u8; 16],
}

/// The superblock, where it is not for one machine alone.
pub fn find(region: &dyn ReadAt) -> io::Result<Option<Evidence>> {
    for position in POSITIONS {
        let Some(superblock) = structure::<Superblock>(region, position)? else { break };
        if !superblock.i_signature.starts_with(b"OCFSV2") {
            continue;
        }
        let (label, stack) = (text(&superblock.s_label), text(&superblock.ci_stack));
        let detail = format!("stack {stack} cluster {} label {label}", text(&superblock.ci_cluster));
        let found = Evidence::ClusterFileSystem { file_system: "ocfs2".to_owned(), detail };
        let is_local = superblock.s_feature_incompat.get() & INCOMPAT_LOCAL_MOUNT != 0;
        return Ok((!is_local).then_some(found));
    }
    Ok(None)
}
