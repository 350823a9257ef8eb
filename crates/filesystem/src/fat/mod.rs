//! FAT12, FAT16 and FAT32: used are the reserved sectors, all tables, the root directory, and every
//! cluster whose entry is not 0 in any of the tables.
//!
//! The table is all that says what is used, so a file system that was not unmounted needs no more
//! than a note.

mod boot_sector;
mod directory;
mod files;
pub(crate) mod new_identity;
mod table;

use block::{ReadAt, RegionExtent};

use crate::files::Cache;
use crate::{Error, FileSystem, Note, NoteCode, UsedBytes};
use boot_sector::{BootSector, Width};
use table::Summary;

/// The file system, where the region starts with a boot sector of FAT.
pub fn recognise(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    let Some(boot) = BootSector::read(region)? else {
        return Ok(None);
    };
    // A directory that can't be read does not matter for what is used.
    let label = directory::label(region, &boot).ok().flatten();
    Ok(Some(FileSystem {
        kind: "vfat".to_owned(),
        uuid: boot.serial.map(|serial| format!("{:04X}-{:04X}", serial >> 16, serial & 0xFFFF)),
        label,
        block_size: boot.cluster_size,
        size: boot.size,
    }))
}

/// Opens the files.
pub fn open_files(device: Cache<'_>) -> Result<files::Tree<'_>, Error> {
    files::Tree::open(device)
}

/// The used bytes of the file system.
pub fn coverage(region: &dyn ReadAt, notes: &mut Vec<Note>) -> Result<UsedBytes, Error> {
    let boot = BootSector::read(region)?.ok_or_else(|| Error::corrupt(0, "a boot sector of FAT", "none"))?;
    let mut used = UsedBytes::new();
    used.add(RegionExtent::between(0, boot.data_start()));
    let summary = table::add_used(region, &boot, &mut used)?;
    // Sectors at the end that don't fill a cluster.
    used.add(RegionExtent::between(boot.cluster_extent(boot.clusters, 0).start(), boot.size));
    if let Some(cluster) = boot.root_cluster {
        let index = u64::from(cluster).checked_sub(2).filter(|index| *index < boot.clusters);
        let index = index.ok_or_else(|| {
            let expected = format!("a root directory inside {} clusters", boot.clusters);
            Error::corrupt(0x2C, expected, format!("cluster {cluster}"))
        })?;
        used.add(boot.cluster_extent(index, 1));
    }
    add_notes(&boot, summary, notes);
    Ok(used)
}

fn add_notes(boot: &BootSector, summary: Summary, notes: &mut Vec<Note>) {
    let mut note = |code, detail: String| notes.push(Note { code, detail });
    // Cleared while the file system is mounted for writing, and after a disk error.
    let (clean, no_errors) = match boot.width {
        Width::Fat12 => (true, true),
        Width::Fat16 => (summary.state & 0x8000 != 0, summary.state & 0x4000 != 0),
        Width::Fat32 => (summary.state & 0x0800_0000 != 0, summary.state & 0x0400_0000 != 0),
    };
    if !clean || boot.marked_dirty {
        note(NoteCode::NotClean, format!("not unmounted cleanly (entry 1 of the table {:#x})", summary.state));
    }
    if !no_errors {
        note(NoteCode::Errors, format!("records disk errors (entry 1 of the table {:#x})", summary.state));
    }
    if summary.bad_clusters > 0 {
        note(NoteCode::BadBlocks, format!("{} clusters are marked as bad", summary.bad_clusters));
    }
    if summary.different_entries > 0 {
        let only = boot.active_table.map(|table| format!(", only table {table} is in use"));
        let detail = format!(
            "the {} tables differ in {} entries{}; clusters used in any of them are saved",
            boot.tables,
            summary.different_entries,
            only.unwrap_or_default()
        );
        note(NoteCode::Errors, detail);
    }
}

#[cfg(test)]
mod tests;
