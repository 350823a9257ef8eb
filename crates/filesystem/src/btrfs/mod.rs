//! Btrfs: used is what the extent tree lists, mapped through the chunks to this device.
//!
//! A file system spreads its logical addresses over chunks, and those over stripes on one or several devices. The
//! extent tree lists every logical run that is in use, by trees and by files. Where a log waits to be replayed, its
//! blocks and the data that it refers to count as well.
//!
//! On a file system of several devices the answer is about one of them. Where its extent tree lies on other devices
//! too, all that chunks take of this one is used; where even the chunks can't be told, the region is saved whole.
//!
//! Source: the "On-disk format" page of the Btrfs documentation and the Linux kernel's `fs/btrfs`; the modules name
//! the files.

mod checksum;
mod chunk;
mod extent_tree;
mod log_tree;
pub(crate) mod new_identity;
mod root_item;
#[cfg(test)]
mod sample;
mod superblock;
#[cfg(test)]
mod tests;
mod tree;
mod tree_block;
mod volume;

use block::{Extents, ReadAt, RegionExtent};

use crate::{Error, FileSystem, Note, NoteCode, UsedBytes};
use superblock::Superblock;
use volume::{InLogical, Stop, Volume};

/// In front of all chunks there is room for boot loaders, and for the first superblock.
const RESERVED_BYTES: u64 = 1 << 20;

/// The identity of the file system; `None` where there is no Btrfs.
pub(crate) fn recognise(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    superblock::identify(region)
}

/// What the trees say is in use on this device.
pub(crate) fn coverage(region: &dyn ReadAt, notes: &mut Vec<Note>) -> Result<UsedBytes, Error> {
    let superblock = Superblock::read(region)?;
    add_notes(&superblock, notes);
    let mut parts = Extents::from(RegionExtent::between(0, RESERVED_BYTES.min(superblock.device.total_bytes)));
    superblock.copies().for_each(|extent| parts.insert(extent));
    let volume = Volume::read(region, superblock).map_err(|stop| match stop {
        Stop::Error(error) => error,
        Stop::Elsewhere { logical } => Error::Unsupported(format!(
            "the chunks of this Btrfs are listed on other devices too (tree block {logical}): what of this one they \
             take can't be told"
        )),
    })?;
    let mut used = UsedBytes::new();
    match used_logical(&volume, notes) {
        Ok(logical) => volume.add_mapped(&logical, &mut used),
        Err(Stop::Error(error)) => return Err(error),
        Err(Stop::Elsewhere { logical }) => {
            let detail = format!(
                "what is in use in the chunks is listed on other devices too (tree block {logical}): all that chunks \
                 take of this device is saved"
            );
            notes.push(Note { code: NoteCode::OtherDevice, detail });
            volume.add_all(&mut used);
        }
    }
    used.merge(&parts);
    Ok(used)
}

/// All logical addresses in use, by the last transaction and by the logs behind it.
fn used_logical(volume: &Volume, notes: &mut Vec<Note>) -> Result<Extents<InLogical>, Stop> {
    let used = extent_tree::read(volume)?;
    let Some(root) = volume.superblock.log_tree else {
        return Ok(used);
    };
    let logs = log_tree::read(volume, root).map_err(|stop| match stop {
        Stop::Error(Error::Io(error)) => Error::Io(error).into(),
        Stop::Error(error) => Error::NotClean(format!("the log can't be followed: {error}")).into(),
        elsewhere @ Stop::Elsewhere { .. } => elsewhere,
    })?;
    let detail = format!("a log of {} tree blocks waits to be replayed; it is saved", logs.blocks);
    notes.push(Note { code: NoteCode::NotClean, detail });
    Ok(used.union(&logs.used))
}

fn add_notes(superblock: &Superblock, notes: &mut Vec<Note>) {
    if superblock.device_count > 1 {
        let detail = format!(
            "device {} of {} of this Btrfs file system; the others belong into the same image",
            superblock.device.id, superblock.device_count
        );
        notes.push(Note { code: NoteCode::OtherDevice, detail });
    }
    if superblock.has_errors {
        notes.push(Note { code: NoteCode::Errors, detail: "the file system has recorded errors".to_owned() });
    }
}
