//! Another serial number: in the boot sector, and in the copy that FAT32 keeps of it.
//!
//! Source: Microsoft "FAT32 File System Specification" 1.03, fields `BS_VolID` and `BPB_BkBootSec`.

use block::{ReadAt, read_vec};

use super::boot_sector::{BOOT_SECTOR_BYTES, BootSector};
use crate::Error;
use crate::new_identity::{NewId, Patches};

pub(crate) fn patch(region: &dyn ReadAt, id: NewId, patches: &mut Patches<'_>) -> Result<(), Error> {
    let boot = BootSector::read(region)?.ok_or_else(|| Error::corrupt(0, "a boot sector of FAT", "none"))?;
    let new = id.serial_4().to_le_bytes();
    patches.add(boot.serial_position(), new.to_vec())?;
    let Some(copy) = boot.backup_position().filter(|copy| *copy != 0) else { return Ok(()) };
    let end = copy.saturating_add(u64::from(boot.sector_size));
    if end > boot.tables_start {
        return Ok(());
    }
    // A copy of something else is none of the file system that has the name.
    let bytes = read_vec(region, copy, BOOT_SECTOR_BYTES)?;
    if BootSector::parse(&bytes)?.is_some_and(|copy| copy.serial == boot.serial) {
        patches.add(copy.saturating_add(boot.serial_position()), new.to_vec())?;
    }
    Ok(())
}
