//! ReiserFS 3: used is what the bitmaps say, one bit a block.
//!
//! A file system that was not unmounted, or whose journal holds transactions, is saved whole.
//!
//! Source: Linux 6.1 `fs/reiserfs/bitmap.c`; reiserfsprogs `reiserfscore/bitmap.c`.

mod journal;
mod superblock;

use block::{ReadAt, RegionExtent};

use crate::bits::{Order, Units, add_units};
use crate::identity::{label_text, uuid_text};
use crate::{Error, FileSystem, Note, NoteCode, UsedBytes};
use superblock::{Format, POSITION, Superblock};

/// `s_umount_state` of a file system that was unmounted.
const UNMOUNTED: u16 = 1;

/// The file system, where the region holds its superblock.
pub fn recognise(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    Ok(superblock::read(region)?.map(|found| {
        let superblock = found.superblock;
        let has_identity = found.format != Format::Old;
        FileSystem {
            kind: "reiserfs".to_owned(),
            uuid: uuid_text(&superblock.s_uuid).filter(|_| has_identity),
            label: label_text(&superblock.s_label).filter(|_| has_identity),
            block_size: superblock.s_blocksize.get().into(),
            size: superblock.size(),
        }
    }))
}

/// The used bytes of the file system.
pub fn coverage(region: &dyn ReadAt, notes: &mut Vec<Note>) -> Result<UsedBytes, Error> {
    let found =
        superblock::read(region)?.ok_or_else(|| Error::corrupt(POSITION, "a superblock of ReiserFS", "none"))?;
    let superblock = found.superblock;
    if found.is_at_old_place {
        return Err(Error::Unsupported("the superblock is where Linux 2.2 had it".to_owned()));
    }
    let journal_device = superblock.jp_journal_dev.get();
    if journal_device != 0 {
        let detail = format!("the journal is on another device, {journal_device:08x}");
        notes.push(Note { code: NoteCode::OtherDevice, detail: detail.clone() });
        return Err(Error::NotClean(detail));
    }
    let (umount_state, fs_state) = (superblock.s_umount_state.get(), superblock.s_fs_state.get());
    if umount_state != UNMOUNTED || fs_state != 0 {
        let detail = format!("not unmounted, or to be checked: mount state {umount_state}, check state {fs_state}");
        return Err(Error::NotClean(detail));
    }
    let journal = journal::check_empty(region, &superblock)?;
    let mut used = UsedBytes::new();
    add_allocated(region, &superblock, &mut used)?;
    let head = RegionExtent::between(0, POSITION.saturating_add(superblock.s_blocksize.get().into()));
    for (name, extent) in [("superblock", head), ("journal", journal)] {
        if !used.contains(extent) {
            let expected = format!("the {name}, {extent}, in use");
            return Err(Error::corrupt(extent.start(), expected, "free blocks in it"));
        }
    }
    Ok(used)
}

/// The first bitmap follows the superblock; each other one is the first block of those that it tells about.
fn add_allocated(region: &dyn ReadAt, superblock: &Superblock, used: &mut UsedBytes) -> Result<(), Error> {
    let block_size = u64::from(superblock.s_blocksize.get());
    let bits = block_size.saturating_mul(8);
    let total = u64::from(superblock.s_block_count.get());
    let mut used_blocks = 0_u64;
    for number in 0..total.div_ceil(bits) {
        let first = number.saturating_mul(bits);
        let block =
            if number == 0 { POSITION.checked_div(block_size).unwrap_or_default().saturating_add(1) } else { first };
        let position = block.saturating_mul(block_size);
        let count = total.saturating_sub(first).min(bits);
        if position.saturating_add(block_size) > region.size() {
            let expected = format!("bitmap {number} inside {} bytes", region.size());
            return Err(Error::corrupt(position, expected, format!("block {block}")));
        }
        let units = Units { first, count, size: superblock.s_blocksize.get().into() };
        let added = add_units(region, position, units, Order::LowestFirst, true, used)?;
        used_blocks = used_blocks.saturating_add(added);
        if !used.contains(RegionExtent::between(position, position.saturating_add(block_size))) {
            return Err(Error::corrupt(position, format!("bitmap {number} in use"), "its block free"));
        }
    }
    let free = total.saturating_sub(used_blocks);
    if free != u64::from(superblock.s_free_blocks.get()) {
        let expected = format!("{} free blocks, as the superblock says", superblock.s_free_blocks.get());
        return Err(Error::corrupt(POSITION.saturating_add(4), expected, format!("{free} in the bitmaps")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
