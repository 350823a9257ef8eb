//! `hiberfil.sys`: whether a suspended Windows will go on with what it has in memory.
//!
//! Source: ntfs-3g `libntfs-3g/volume.c` (`ntfs_volume_check_hiberfile`). Stricter than there: any
//! head that is not zero counts, because Windows writes several ("hibr", "wake", "RSTR").

use crate::Error;
use crate::ntfs::attribute::Kind;
use crate::ntfs::index;
use crate::ntfs::volume::{Volume, system_file};

const FILE_NAME: &str = "hiberfil.sys";
const HEAD_BYTES: u64 = 4096;

/// Checks that no system is suspended to this volume.
///
/// # Errors
/// `Hibernated` where one is; `Corrupt` where that can't be told.
pub fn check_awake(volume: &Volume<'_>) -> Result<(), Error> {
    let root = volume.record(system_file::ROOT)?;
    let Some(reference) = index::find_file(volume, &root, FILE_NAME)? else {
        return Ok(());
    };
    let file = volume.file(reference)?;
    let data = volume.required_attribute(&file, Kind::DATA, "")?;
    if data.size() < HEAD_BYTES {
        // What Windows leaves on the other volumes of a suspended system.
        return Err(Error::Hibernated(format!("{FILE_NAME} has only {} bytes", data.size())));
    }
    let mut head = [0; 4096];
    volume.read(&data, 0, &mut head)?;
    if block::is_zero(&head) {
        return Ok(());
    }
    let signature = head.first_chunk::<4>().copied().unwrap_or_default();
    Err(Error::Hibernated(format!("{FILE_NAME} starts with \"{}\"", signature.escape_ascii())))
}
