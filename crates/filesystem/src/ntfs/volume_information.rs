//! `$VOLUME_INFORMATION` and `$VOLUME_NAME` of `$Volume`: version, flags and label.
//!
//! Source: ntfs-3g `include/ntfs-3g/layout.h` (`VOLUME_INFORMATION`, `VOLUME_FLAGS`).

use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U16, U64, Unaligned};

use crate::Error;
use crate::ntfs::attribute::Kind;
use crate::ntfs::volume::{Volume, system_file};

const IS_DIRTY: u16 = 0x0001;
const CHKDSK_UNDERWAY: u16 = 0x4000;
/// Flags that say nothing about `$Bitmap`: journal to resize, upgrade on mount, mounted on NT 4,
/// change journal to delete, object ids to repair, 0x0080 (of newer Windows, without a known
/// meaning), modified by chkdsk.
const HARMLESS: u16 = 0x80BE;
const LABEL_BYTES_LIMIT: u32 = 512;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawVolumeInformation {
    reserved: U64<LE>,
    major_ver: u8,
    minor_ver: u8,
    flags: U16<LE>,
}

/// The label of the volume; `None` where it is empty.
pub fn label(volume: &Volume<'_>) -> Result<Option<String>, Error> {
    let record = volume.record(system_file::VOLUME)?;
    let Some(name) = volume.attribute(&record, Kind::VOLUME_NAME, "")? else {
        return Ok(None);
    };
    let bytes = volume.read_all(&name, LABEL_BYTES_LIMIT)?;
    let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    let label = String::from_utf16_lossy(&units);
    let label = label.trim_end_matches(['\0', ' ']);
    Ok((!label.is_empty()).then(|| label.to_owned()))
}

/// Checks that the version is known and no flag speaks against trusting `$Bitmap`.
pub fn check_clean(volume: &Volume<'_>) -> Result<(), Error> {
    let record = volume.record(system_file::VOLUME)?;
    let stream = volume.required_attribute(&record, Kind::VOLUME_INFORMATION, "")?;
    let bytes = volume.read_all(&stream, LABEL_BYTES_LIMIT)?;
    judge(&bytes, record.position)
}

fn judge(bytes: &[u8], position: u64) -> Result<(), Error> {
    let Ok((raw, _)) = RawVolumeInformation::ref_from_prefix(bytes) else {
        let actual = format!("{} bytes", bytes.len());
        return Err(Error::corrupt(position, "12 bytes of volume information", actual));
    };
    let flags = raw.flags.get();
    if !(1..=3).contains(&raw.major_ver) {
        return Err(Error::Unsupported(format!("NTFS version {}.{}", raw.major_ver, raw.minor_ver)));
    }
    if flags & IS_DIRTY != 0 {
        return Err(Error::NotClean(format!("$Volume is marked dirty (flags {flags:#06x})")));
    }
    if flags & CHKDSK_UNDERWAY != 0 {
        return Err(Error::NotClean(format!("chkdsk was at work on the volume (flags {flags:#06x})")));
    }
    if flags & !HARMLESS != 0 {
        return Err(Error::Unsupported(format!("unknown flags of $Volume ({flags:#06x})")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(version: u8, flags: u16, expected: Option<&str>) {
        let mut bytes = [0; 12];
        bytes[8..10].copy_from_slice(&[version, 1]);
        bytes[10..].copy_from_slice(&flags.to_le_bytes());
        let error = judge(&bytes, 0).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), expected);
    }

    #[test]
    fn only_harmless_flags_of_known_versions_are_trusted() {
        check(3, 0, None);
        check(1, 0x80BE, None);
        check(3, 0x0001, Some("$Volume is marked dirty (flags 0x0001)"));
        check(3, 0x8081, Some("$Volume is marked dirty (flags 0x8081)"));
        check(3, 0x4000, Some("chkdsk was at work on the volume (flags 0x4000)"));
        check(3, 0x0100, Some("unknown flags of $Volume (0x0100)"));
        check(4, 0, Some("NTFS version 4.1"));
    }
}
