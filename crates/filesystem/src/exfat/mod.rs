//! exFAT: used is what the allocation bitmap says, and everything in front of the clusters.
//!
//! The bitmap is the only word on files without a chain in the table, and a system that is writing keeps changes of it
//! in memory: a volume that is marked dirty is saved whole.
//!
//! Source: Microsoft "exFAT file system specification"; the modules name the sections.

mod bitmap;
mod boot_sector;
mod chain;
mod directory;
pub(crate) mod new_identity;
#[cfg(test)]
mod tests;

use block::{ReadAt, RegionExtent};

use crate::{Error, FileSystem, Note, NoteCode, UsedBytes};
use boot_sector::BootSector;
use chain::Chain;
use directory::{RootDirectory, SystemFile};

/// The file system, where the region starts with a boot sector of exFAT.
pub(crate) fn recognise(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    let Some(boot) = BootSector::read(region)? else {
        return Ok(None);
    };
    // A directory that can't be read stops the search for used bytes, not the name.
    let label = RootDirectory::read(region, &boot).ok().and_then(|directory| directory.label);
    Ok(Some(FileSystem {
        kind: "exfat".to_owned(),
        uuid: Some(format!("{:04X}-{:04X}", boot.serial >> 16, boot.serial & 0xFFFF)),
        label,
        block_size: boot.sector_size,
        size: boot.size,
    }))
}

/// The used bytes of the file system.
pub(crate) fn coverage(region: &dyn ReadAt, notes: &mut Vec<Note>) -> Result<UsedBytes, Error> {
    let boot = BootSector::read(region)?.ok_or_else(|| Error::corrupt(0, "a boot sector of exFAT", "none"))?;
    if !boot.has_right_checksum(region, false)? {
        return Err(Error::corrupt(0, "a boot region with the checksum that it holds", "another checksum"));
    }
    if boot.is_dirty {
        return Err(Error::NotClean("the volume is marked dirty: it was not unmounted".to_owned()));
    }
    add_notes(region, &boot, notes)?;
    let directory = RootDirectory::read(region, &boot)?;
    if directory.bitmaps.len() != boot.tables.len() || directory.up_case_tables.is_empty() {
        let expected = format!("{} allocation bitmaps and an up-case table in the root directory", boot.tables.len());
        let actual = format!("{} and {}", directory.bitmaps.len(), directory.up_case_tables.len());
        return Err(Error::corrupt(boot.heap_start, expected, actual));
    }
    let mut used = UsedBytes::new();
    used.add(RegionExtent::between(0, boot.heap_start));
    // With two bitmaps either may be the active one: a cluster is free only where both say so.
    for bitmap in &directory.bitmaps {
        let mut of_this = UsedBytes::new();
        let own = bitmap::add_used(region, &boot, bitmap, &mut of_this)?;
        own.into_iter().try_for_each(|index| check_used(&boot, &of_this, index))?;
        check_system_files(region, &boot, &directory, &of_this)?;
        used.merge(&of_this.into_extents());
    }
    // Sectors at the end that fill no cluster.
    used.add(RegionExtent::between(boot.cluster_extent(u64::from(boot.clusters), 0).start(), boot.size));
    Ok(used)
}

/// The root directory and the up-case table must be in use: a bitmap that frees them is another one.
fn check_system_files(
    region: &dyn ReadAt,
    boot: &BootSector,
    directory: &RootDirectory,
    used: &UsedBytes,
) -> Result<(), Error> {
    let root = SystemFile { position: 0, cluster: boot.root_cluster, length: 256 << 20 };
    for file in directory.up_case_tables.iter().chain([&root]) {
        let mut chain = Chain::new(region, boot, file.cluster, file.length);
        while let Some(index) = chain.next()? {
            check_used(boot, used, index)?;
        }
    }
    Ok(())
}

fn check_used(boot: &BootSector, used: &UsedBytes, index: u64) -> Result<(), Error> {
    let extent = boot.cluster_extent(index, 1);
    if used.contains(extent) {
        return Ok(());
    }
    let expected = format!("the system's cluster {} to be in use", index.saturating_add(2));
    Err(Error::corrupt(extent.start(), expected, "a free one in the allocation bitmap"))
}

fn add_notes(region: &dyn ReadAt, boot: &BootSector, notes: &mut Vec<Note>) -> Result<(), Error> {
    if boot.has_failures {
        let detail = "the volume has recorded failures to read or write".to_owned();
        notes.push(Note { code: NoteCode::Errors, detail });
    }
    if !boot.has_right_checksum(region, true)? {
        let detail = "the backup of the boot region does not hold its checksum".to_owned();
        notes.push(Note { code: NoteCode::Errors, detail });
    }
    Ok(())
}
