//! Another serial number: in the boot sector, and in its copy behind the last sector of the volume.
//!
//! Source: ntfs-3g `include/ntfs-3g/layout.h` (`volume_serial_number`), `ntfsprogs/ntfslabel.c` for where the copies lie.

use block::{ReadAt, read_vec};

use super::boot_sector::{BOOT_SECTOR_BYTES, BootSector, SERIAL_POSITION};
use crate::Error;
use crate::new_identity::{NewId, Patches};

pub(crate) fn patch(region: &dyn ReadAt, id: NewId, patches: &mut Patches<'_>) -> Result<(), Error> {
    let boot = BootSector::read(region)?.ok_or_else(|| Error::corrupt(0, "a boot sector of NTFS", "none"))?;
    let new = id.serial_8().to_le_bytes();
    patches.add(SERIAL_POSITION, new.to_vec())?;
    // Behind the volume; in the region's last sector where the volume is shorter than that.
    let sector = u64::from(boot.sector_size);
    let mut copies = vec![boot.size, region.size().saturating_sub(sector)];
    copies.dedup();
    for copy in copies {
        if copy < boot.size || copy.saturating_add(sector) > region.size() {
            continue;
        }
        let bytes = read_vec(region, copy, BOOT_SECTOR_BYTES)?;
        if BootSector::parse(&bytes).ok().flatten().is_some_and(|copy| copy.serial == boot.serial) {
            patches.add(copy.saturating_add(SERIAL_POSITION), new.to_vec())?;
        }
    }
    Ok(())
}
