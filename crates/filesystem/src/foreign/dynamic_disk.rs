//! Dynamic disks of Windows (Logical Disk Manager). The database of all volumes lies in the last MiB of a disk with an
//! MBR, outside every partition, and in a partition of its own on a disk with a GPT.
//!
//! A volume may be striped over several disks, and then looks like a file system at its start: nothing on such a disk
//! is taken for one.
//!
//! Source: Linux `Documentation/admin-guide/ldm.rst`, `block/partitions/ldm.c` (PRIVHEAD); libldm `src/ldm.c`.

use block::{ReadAt, read_vec};

use crate::Error;
use crate::identity::label_text;

/// Where the first copy of the private header lies on a disk with an MBR.
const PRIVATE_HEADER_SECTOR: u64 = 6;
const MAGIC: &[u8] = b"PRIVHEAD";
const LENGTH: usize = 512;
/// The GUID of the disk group as text.
const DISK_GROUP_GUID: std::ops::Range<usize> = 0xB0..0xF0;

/// What a disk says of the group of dynamic disks that it belongs to; `None` where it belongs to none.
pub fn dynamic_disk(disk: &dyn ReadAt) -> Result<Option<String>, Error> {
    for sector_size in [512_u64, 4096] {
        let position = PRIVATE_HEADER_SECTOR.saturating_mul(sector_size);
        if position.saturating_add(512) > disk.size() {
            continue;
        }
        let header = read_vec(disk, position, LENGTH)?;
        if header.starts_with(MAGIC) {
            let guid = label_text(header.get(DISK_GROUP_GUID).unwrap_or_default());
            let guid = guid.unwrap_or_else(|| "without a name".to_owned());
            return Ok(Some(format!("a group of dynamic disks, {guid}")));
        }
    }
    Ok(None)
}
