//! DRBD with its metadata at the end of the device.
//!
//! Sources: [`crate::drbd::Superblock`]; util-linux `libblkid/src/superblocks/drbd.c`.

use block::{ReadAt, read_vec};
use zerocopy::FromBytes;

use super::table::Found;
use crate::Error;
use crate::drbd::{SUPERBLOCK_BYTES, Superblock};

const SMALLEST_DEVICE: u64 = 0x1_0000;

/// The identity of the device, where blkid looks for it: in the last 4 KiB, whatever they are aligned to.
pub fn identify(region: &dyn ReadAt, _: u64) -> Result<Option<Found>, Error> {
    if region.size() < SMALLEST_DEVICE {
        return Ok(None);
    }
    let bytes = read_vec(region, region.size().saturating_sub(SUPERBLOCK_BYTES), size_of::<Superblock>())?;
    let Ok(superblock) = Superblock::ref_from_bytes(&bytes) else { return Ok(None) };
    let Some(version) = superblock.version() else { return Ok(None) };
    let device_uuid = superblock.device_uuid(version);
    let uuid = (device_uuid != 0).then(|| format!("{device_uuid:x}"));
    Ok(Some(Found { kind: None, uuid, label: None }))
}
