//! JFS: used is what the block map says, one bit a block. The log and the work space of fsck lie behind the blocks of
//! the map, and so count as used like everything there.
//!
//! A file system that was not unmounted is saved whole.

mod block_map;
mod file;
mod superblock;

use block::{ReadAt, RegionExtent};

use crate::identity::{label_text, uuid_text};
use crate::{Error, FileSystem, Note, NoteCode, UsedBytes};
use superblock::POSITION;

/// Boot block, superblock, and what has a fixed place behind it: the maps of the aggregate's inodes, the inodes, and
/// the second superblock.
const HEAD: u64 = 0x1_0000;

/// The file system, where the region holds its superblock.
pub fn recognise(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    Ok(superblock::read(region)?.map(|superblock| FileSystem {
        kind: "jfs".to_owned(),
        uuid: uuid_text(&superblock.s_uuid),
        label: label_text(&superblock.s_label),
        block_size: superblock.s_bsize.get(),
        size: superblock.size(),
    }))
}

/// The used bytes of the file system.
pub fn coverage(region: &dyn ReadAt, notes: &mut Vec<Note>) -> Result<UsedBytes, Error> {
    let superblock =
        superblock::read(region)?.ok_or_else(|| Error::corrupt(POSITION, "a superblock of JFS", "none"))?;
    if superblock.has_external_log() {
        notes.push(Note { code: NoteCode::OtherDevice, detail: "the log is on another device".to_owned() });
    }
    superblock.check_clean()?;
    let mut used = UsedBytes::new();
    block_map::add_used(region, &superblock, &mut used)?;
    let head = RegionExtent::between(0, HEAD.min(superblock.size()));
    if !used.contains(head) {
        return Err(Error::corrupt(0, format!("the first {HEAD} bytes in use"), "free blocks in them"));
    }
    Ok(used)
}

#[cfg(test)]
mod tests;
