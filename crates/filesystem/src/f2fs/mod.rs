//! F2FS: used are all areas of metadata, and what the segment information table says of the main area.
//!
//! The table is that of the last checkpoint. What was synced later is brought back by the next mount, from blocks that
//! the table calls free: unless the file system was unmounted and nobody has written since, it is saved whole.
//!
//! Source: the Linux kernel's `Documentation/filesystems/f2fs.rst` and `fs/f2fs`; the modules name the files.

mod checkpoint;
mod checksum;
mod segment_table;
mod superblock;
#[cfg(test)]
mod tests;

use block::{ReadAt, RegionExtent};

use crate::{Error, FileSystem, Note, NoteCode, UsedBytes};
use checkpoint::Checkpoint;
use superblock::{BLOCK, SEGMENT_BLOCKS, Superblock};

/// The identity of the file system; `None` where there is no F2FS.
pub(crate) fn recognise(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    superblock::identify(region)
}

/// The used bytes of the file system.
pub(crate) fn coverage(region: &dyn ReadAt, notes: &mut Vec<Note>) -> Result<UsedBytes, Error> {
    let superblock = Superblock::read(region)?;
    add_notes(&superblock, notes);
    if superblock.has_other_devices {
        return Err(Error::Unsupported("an F2FS over several devices".to_owned()));
    }
    let blocks = region.size() / BLOCK;
    if superblock.block_count > blocks {
        let expected = format!("at most {blocks} blocks in the region");
        return Err(Error::corrupt(1024, expected, superblock.block_count.to_string()));
    }
    let checkpoint = Checkpoint::read(region, &superblock)?;
    checkpoint.check_unmounted(region, &superblock)?;
    let mut used = UsedBytes::new();
    used.add_blocks(0, superblock.main_start, 4096);
    segment_table::add_used(region, &superblock, &checkpoint, &mut used)?;
    // Blocks at the end that fill no segment.
    let end = superblock.main_segments.saturating_mul(SEGMENT_BLOCKS).saturating_add(superblock.main_start);
    let place = |block: u64| block.saturating_mul(BLOCK);
    used.add(RegionExtent::between(place(end), place(superblock.block_count)));
    Ok(used)
}

fn add_notes(superblock: &Superblock, notes: &mut Vec<Note>) {
    let mut note = |code, detail: &str| notes.push(Note { code, detail: detail.to_owned() });
    if superblock.has_other_devices {
        note(NoteCode::OtherDevice, "this F2FS file system goes on on other devices");
    }
    if superblock.has_errors {
        note(NoteCode::Errors, "the file system has recorded errors");
    }
    if superblock.is_second_copy {
        note(NoteCode::Errors, "the first superblock is damaged; its copy is used");
    }
}
