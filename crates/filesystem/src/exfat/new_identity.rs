//! Another serial number: in the boot sector, with the checksum of the boot region, and in the backup of both.
//!
//! Source: Microsoft "exFAT file system specification", sections 3.1.11 (`VolumeSerialNumber`) and 3.4 (boot checksum).

use block::{ReadAt, read_vec};

use super::boot_sector::{BOOT_REGION_SECTORS, BootSector, CHECKED_SECTORS, SERIAL_POSITION, checksum};
use crate::Error;
use crate::new_identity::{NewId, Patches};

pub(crate) fn patch(region: &dyn ReadAt, id: NewId, patches: &mut Patches<'_>) -> Result<(), Error> {
    let boot = read(region)?;
    let sector = u64::from(boot.sector_size);
    for start in [0, sector.saturating_mul(BOOT_REGION_SECTORS)] {
        let length = usize::try_from(sector.saturating_mul(CHECKED_SECTORS)).unwrap_or_default();
        let mut covered = read_vec(region, start, length)?;
        let serial = covered.get_mut(SERIAL_POSITION..).and_then(|rest| rest.first_chunk_mut::<4>());
        let serial = serial.ok_or_else(|| Error::corrupt(start, "a boot sector of exFAT", "none"))?;
        if *serial != boot.serial.to_le_bytes() {
            return Err(Error::corrupt(start, "a backup with the serial number of the volume", "another one"));
        }
        *serial = id.serial_4().to_le_bytes();
        patches.add(start.saturating_add(u64::try_from(SERIAL_POSITION).unwrap_or_default()), serial.to_vec())?;
        let count = usize::try_from(sector / 4).unwrap_or_default();
        let sums = start.saturating_add(sector.saturating_mul(CHECKED_SECTORS));
        patches.add(sums, checksum(&covered).to_le_bytes().repeat(count))?;
    }
    Ok(())
}

/// Both boot regions hold their checksum.
pub(crate) fn check(region: &dyn ReadAt) -> Result<(), Error> {
    let boot = read(region)?;
    for is_backup in [false, true] {
        if !boot.has_right_checksum(region, is_backup)? {
            return Err(Error::corrupt(0, "the checksum of the boot region", "another one"));
        }
    }
    Ok(())
}

fn read(region: &dyn ReadAt) -> Result<BootSector, Error> {
    BootSector::read(region)?.ok_or_else(|| Error::corrupt(0, "a boot sector of exFAT", "none"))
}
