//! Another UUID: the one that users see, in the superblock of every allocation group, and in the records of the log that
//! the next mount looks at. In version 5, blocks of metadata go on carrying the old one, which the superblocks then keep
//! beside it (`sb_meta_uuid`); in version 4 no block carries one.
//!
//! Source: "XFS Algorithms & Data Structures" (`superblock.asciidoc`, `journaling_log.asciidoc`); xfsprogs
//! `db/sb.c` (`uuid_f`); the Linux kernel's `fs/xfs/xfs_log_recover.c` for which records are looked at.

use block::{ReadAt, read_vec};

use super::log;
use super::superblock::{Superblock, rename_copy};
use crate::Error;
use crate::new_identity::{NewId, Patches};

pub(crate) fn patch(region: &dyn ReadAt, id: NewId, patches: &mut Patches<'_>) -> Result<(), Error> {
    let superblock = Superblock::read(region)?;
    log::check_unmounted(region, &superblock)?;
    let length = usize::try_from(superblock.sector_size).unwrap_or_default();
    for group in 0..superblock.group_count {
        let start = superblock.group_position(group);
        let mut sector = read_vec(region, start, length)?;
        if !rename_copy(&mut sector, &superblock, id.uuid()) {
            let expected = format!("a copy of the superblock in allocation group {group}");
            return Err(Error::corrupt(start, expected, "another"));
        }
        patches.add(start, sector)?;
    }
    for (start, header) in log::renamed_records(region, &superblock, &id.uuid())? {
        patches.add(start, header)?;
    }
    Ok(())
}

/// Superblock and log belong together, and the log is that of a clean unmount.
pub(crate) fn check(region: &dyn ReadAt) -> Result<(), Error> {
    log::check_unmounted(region, &Superblock::read(region)?)
}
