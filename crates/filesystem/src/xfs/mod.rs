//! XFS, versions 4 and 5.
//!
//! An XFS file system is a row of allocation groups, each with a tree of its free extents. Whatever no tree lists is
//! in use. The trees are the truth only after a clean unmount, which the last record of the log tells.
//!
//! Source: "XFS Algorithms & Data Structures", 3rd edition (xfs-documentation), and the Linux kernel's `fs/xfs`;
//! the modules name the chapters and files.

mod allocation_group;
mod directory;
mod free_list;
mod free_space;
mod inode;
mod log;
mod log_record;
pub(crate) mod new_identity;
#[cfg(test)]
mod sample;
mod superblock;
#[cfg(test)]
mod tests;

use block::{ReadAt, RegionExtent};

use crate::files::Cache;
use crate::{Error, FileSystem, Note, NoteCode, UsedBytes};
use allocation_group::AllocationGroup;
use superblock::Superblock;

/// The identity of the file system; `None` where there is no XFS.
pub(crate) fn recognise(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    superblock::identify(region)
}

/// Opens the files, as they are on the disk.
pub(crate) fn open_files(device: Cache<'_>) -> Result<directory::Tree<'_>, Error> {
    let superblock = Superblock::read(&device)?;
    Ok(directory::Tree::new(device, superblock))
}

/// Every block that the file system does not list as free.
pub(crate) fn coverage(region: &dyn ReadAt, notes: &mut Vec<Note>) -> Result<UsedBytes, Error> {
    let superblock = Superblock::read(region)?;
    note_other_devices(&superblock, notes);
    log::check_unmounted(region, &superblock)?;
    let mut used = UsedBytes::new();
    for number in 0..superblock.group_count {
        add_group(region, &superblock, number, &mut used)?;
    }
    if let Some((first, blocks)) = superblock.log {
        let block_size = u64::from(superblock.block_size);
        let end = first.saturating_add(u64::from(blocks));
        let extent = RegionExtent::between(first.saturating_mul(block_size), end.saturating_mul(block_size));
        if !used.contains(extent) {
            return Err(Error::corrupt(extent.start(), "a log outside the free space", "free blocks in it"));
        }
    }
    Ok(used)
}

fn note_other_devices(superblock: &Superblock, notes: &mut Vec<Note>) {
    if superblock.log.is_none() {
        notes.push(Note {
            code: NoteCode::OtherDevice,
            detail: "the log of this XFS file system is on another device".to_owned(),
        });
    }
    if superblock.realtime_blocks != 0 {
        notes.push(Note {
            code: NoteCode::OtherDevice,
            detail: format!(
                "this XFS file system has {} realtime blocks of {} bytes on another device",
                superblock.realtime_blocks, superblock.block_size
            ),
        });
    }
}

fn add_group(region: &dyn ReadAt, superblock: &Superblock, number: u32, used: &mut UsedBytes) -> Result<(), Error> {
    let group = AllocationGroup::read(region, superblock, number)?;
    let mut never_free = free_space::add_used_blocks(region, superblock, &group, used)?;
    never_free.push(group.by_size_root);
    never_free.extend(free_list::read(region, superblock, &group)?);
    // In version 4 nothing but such contradictions tells a damaged tree from a good one.
    for block in never_free {
        let position = superblock.block_position(number, block);
        let extent = RegionExtent::between(position, position.saturating_add(u64::from(superblock.block_size)));
        if block >= group.blocks || !used.contains(extent) {
            let expected = format!("the metadata block {block} of allocation group {number} to be in use");
            return Err(Error::corrupt(position, expected, "a free extent that holds it"));
        }
    }
    Ok(())
}
