//! NTFS: used are the clusters whose bit in `$Bitmap` is set, and those of the system files without
//! which no other can be found, whatever `$Bitmap` says.
//!
//! Whole instead: a volume that is dirty, whose journal is open, to which a system is suspended, or
//! whose metadata contradicts itself.
//!
//! Source: ntfs-3g 2022.10.3 and later (`include/ntfs-3g/layout.h` and files named in the modules).

mod attribute;
mod attribute_list;
mod bitmap;
mod boot_sector;
mod bytes;
mod file_record;
mod files;
mod hibernation;
mod index;
mod log_file;
pub(crate) mod new_identity;
mod runs;
mod stream;
mod update_sequence;
mod volume;
mod volume_information;

use block::{Extents, InRegion, ReadAt, RegionExtent};

use crate::files::Cache;
use crate::{Error, FileSystem, Note, NoteCode, UsedBytes};
use attribute::Kind;
use boot_sector::BootSector;
use volume::{Volume, system_file};

/// What `$Boot` always takes: the boot sector and the loader behind it.
const BOOT_BYTES: u64 = 8192;

/// The volume, where the region starts with a boot sector of NTFS.
pub fn recognise(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    let Some(boot) = BootSector::read(region)? else {
        return Ok(None);
    };
    // A damaged volume is still one; `coverage` says what is wrong with it.
    let label = Volume::open(region, boot.clone()).and_then(|volume| volume_information::label(&volume));
    Ok(Some(FileSystem {
        kind: "ntfs".to_owned(),
        uuid: Some(format!("{:016X}", boot.serial)),
        label: label.ok().flatten(),
        block_size: boot.cluster_size,
        size: boot.size,
    }))
}

/// Whether a directory of the root holds a file, both by their ASCII names in any case.
pub fn has_file(region: &dyn ReadAt, directory: &str, file: &str) -> Result<bool, Error> {
    let Some(boot) = BootSector::read(region)? else { return Ok(false) };
    let volume = Volume::open(region, boot)?;
    let root = volume.record(system_file::ROOT)?;
    let Some(reference) = index::find_file(&volume, &root, directory)? else { return Ok(false) };
    Ok(index::find_file(&volume, &volume.file(reference)?, file)?.is_some())
}

/// Opens the files, as they are on the disk.
pub fn open_files(device: Cache<'_>) -> Result<files::Tree<'_>, Error> {
    files::Tree::open(device)
}

/// The used bytes of the volume.
pub fn coverage(region: &dyn ReadAt, notes: &mut Vec<Note>) -> Result<UsedBytes, Error> {
    let boot = BootSector::read(region)?.ok_or_else(|| Error::corrupt(3, "\"NTFS    \"", "none"))?;
    let volume = Volume::open(region, boot)?;
    hibernation::check_awake(&volume)?;
    volume_information::check_clean(&volume)?;
    let log_record = volume.record(system_file::LOG_FILE)?;
    let log = volume.required_attribute(&log_record, Kind::DATA, "")?;
    log_file::check_clean(&volume, &log)?;

    let bitmap_record = volume.record(system_file::BITMAP)?;
    let bitmap = volume.required_attribute(&bitmap_record, Kind::DATA, "")?;
    let mut used = UsedBytes::new();
    bitmap::add_used(&volume, &bitmap, &mut used)?;
    notes.extend(bad_clusters(&volume));

    let mut system = log.extents(volume.boot()).union(&bitmap.extents(volume.boot()));
    for number in [system_file::MFT_MIRROR, system_file::BOOT] {
        let record = volume.record(number)?;
        let data = volume.required_attribute(&record, Kind::DATA, "")?;
        system = system.union(&data.extents(volume.boot()));
    }
    system = system.union(&volume.mft().extents(volume.boot()));
    Ok(add_system_files(volume.boot(), used, system, notes))
}

/// Adds what is used whatever `$Bitmap` says, with a note where it says otherwise.
fn add_system_files(
    boot: &BootSector,
    used: UsedBytes,
    mut system: Extents<InRegion>,
    notes: &mut Vec<Note>,
) -> UsedBytes {
    system.insert(boot.cluster_extent(boot.mft_lcn, 1));
    system.insert(boot.cluster_extent(boot.mft_mirror_lcn, 1));
    system.insert(RegionExtent::between(0, BOOT_BYTES.min(boot.size)));
    let by_bitmap = used.into_extents();
    let freed = system.difference(&by_bitmap).total_bytes();
    if freed > 0 {
        let detail = format!("$Bitmap counts {freed} bytes of system files as free");
        notes.push(Note { code: NoteCode::Errors, detail });
    }
    // Sectors at the end that don't fill a cluster have no bit.
    let whole_clusters = boot.cluster_extent(boot.clusters, 0).start();
    system.insert(RegionExtent::between(whole_clusters, boot.size));
    let union = by_bitmap.union(&system);
    // Each of the two can be large on a badly fragmented volume.
    drop(by_bitmap);
    let mut all = UsedBytes::new();
    union.iter().for_each(|extent| all.add(extent));
    all
}

/// A note where clusters are listed that can't be used. Their bits are set, so this changes nothing.
fn bad_clusters(volume: &Volume<'_>) -> Option<Note> {
    let counted =
        volume.record(system_file::BAD_CLUSTERS).and_then(|record| volume.attribute(&record, Kind::DATA, "$Bad"));
    let (code, detail) = match counted {
        Ok(Some(bad)) => match bad.extents(volume.boot()).total_bytes() {
            0 => return None,
            bytes => (NoteCode::BadBlocks, format!("$BadClus lists {bytes} bytes that can't be used")),
        },
        Ok(None) => return None,
        Err(error) => (NoteCode::Errors, format!("the list of bad clusters can't be read: {error}")),
    };
    Some(Note { code, detail })
}

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
