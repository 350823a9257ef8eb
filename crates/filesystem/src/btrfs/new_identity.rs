//! Another UUID: the one that users see, in the superblock and its copies. Tree blocks go on carrying the old one, which
//! the superblock then keeps beside it (`metadata_uuid`).
//!
//! Kernels before 5.0 don't know that feature and would not mount the file system. Which kernel will read it is not known
//! here; where it was made with what `mkfs.btrfs` does by default only since version 5.15, it is new enough.
//!
//! Source: the Linux kernel's `fs/btrfs/disk-io.c` (`btrfs_validate_super`), btrfs-progs
//! `Documentation/btrfstune.rst` and `CHANGES`.

use block::ReadAt;

use super::superblock::{POSITIONS, Superblock, read_copy, rename_copy};
use crate::Error;
use crate::new_identity::{NewId, Patches};

pub(crate) fn patch(region: &dyn ReadAt, id: NewId, patches: &mut Patches<'_>) -> Result<(), Error> {
    let superblock = Superblock::read(region)?;
    if superblock.device_count != 1 {
        let count = superblock.device_count;
        return Err(Error::Unsupported(format!("it has {count} devices, all of which hold its UUID")));
    }
    if superblock.is_seeding {
        return Err(Error::Unsupported("other file systems are built on it".to_owned()));
    }
    if superblock.log_tree.is_some() {
        return Err(Error::NotClean("it was not unmounted cleanly".to_owned()));
    }
    if !superblock.is_of_new_kernel {
        return Err(Error::Unsupported(
            "a kernel before 5.0 could not mount it with another one (metadata_uuid)".to_owned(),
        ));
    }
    for (index, position) in POSITIONS.iter().enumerate() {
        let Some(mut bytes) = read_copy(region, index, superblock.device.total_bytes)? else { continue };
        if rename_copy(&mut bytes, *position, &superblock, id.uuid()) {
            patches.add(*position, bytes)?;
        }
    }
    Ok(())
}

/// The superblock can be read.
pub(crate) fn check(region: &dyn ReadAt) -> Result<(), Error> {
    Superblock::read(region).map(|_| ())
}
