//! DRBD with its metadata at the end of the device.
//!
//! Source: DRBD `user/shared/drbdmeta.c` (`struct md_on_disk_08`, `struct meta_data_on_disk_9`); util-linux
//! `libblkid/src/superblocks/drbd.c`.

use block::ReadAt;

use super::table::Found;
use crate::Error;
use crate::structure::Structure;

/// The superblock fills the last 4 KiB.
const LENGTH: u64 = 4096;
const SMALLEST_DEVICE: u64 = 0x1_0000;
const MAGIC: usize = 60;
const VERSION_08: u32 = 0x8374_026B;
const VERSION_08_UNCLEAN: u32 = 0x8374_026C;
const VERSION_09: u32 = 0x8374_026D;

/// The identity of the device: not a UUID, but what blkid prints in its place.
pub fn identify(region: &dyn ReadAt, _: u64) -> Result<Option<Found>, Error> {
    if region.size() < SMALLEST_DEVICE {
        return Ok(None);
    }
    let superblock = Structure::read(region, region.size().saturating_sub(LENGTH))?;
    let device_uuid = match superblock.big_u32(MAGIC) {
        VERSION_08 | VERSION_08_UNCLEAN => superblock.array(40),
        VERSION_09 => superblock.array(48),
        _ => return Ok(None),
    };
    let device_uuid = u64::from_be_bytes(device_uuid);
    let uuid = (device_uuid != 0).then(|| format!("{device_uuid:x}"));
    Ok(Some(Found { kind: None, uuid, label: None }))
}
