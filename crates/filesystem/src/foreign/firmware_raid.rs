//! Firmware RAID: controllers and drivers that keep their metadata near the end of a whole disk. Such a disk may be a
//! member of a striped array: what its partitions seem to hold is then not what they hold.
//!
//! Source: util-linux `libblkid/src/superblocks/*_raid.c`; SNIA "Common RAID Disk Data Format" 2.0, section 5.

use block::{ReadAt, read_vec};

use crate::Error;

/// Whose metadata it is, how many sectors before the end of the disk it starts, and with which bytes.
struct Signature {
    name: &'static str,
    sectors: &'static [u64],
    bytes: &'static [u8],
}

#[rustfmt::skip]
const SIGNATURES: &[Signature] = &[
    Signature { name: "Intel Matrix Storage RAID", sectors: &[2], bytes: b"Intel Raid ISM Cfg Sig. " },
    Signature { name: "DDF RAID", sectors: &[1, 257], bytes: &[0xDE, 0x11, 0xDE, 0x11] },
    Signature { name: "DDF RAID", sectors: &[1, 257], bytes: &[0x11, 0xDE, 0x11, 0xDE] },
    Signature { name: "LSI MegaRAID", sectors: &[1], bytes: b"$XIDE$" },
    Signature { name: "Adaptec HostRAID", sectors: &[1], bytes: &[0x37, 0xFC, 0x4D, 0x1E] },
    Signature { name: "NVIDIA RAID", sectors: &[2], bytes: b"NVIDIA  " },
    Signature { name: "HighPoint RAID", sectors: &[11], bytes: &[0xF3, 0x16, 0x78, 0x5A] },
    Signature { name: "HighPoint RAID", sectors: &[11], bytes: &[0xFD, 0x16, 0x78, 0x5A] },
    Signature {
        name: "Promise FastTrak RAID",
        sectors: &[63, 255, 256, 16, 399, 591, 675, 735, 911, 974, 991, 951, 3087],
        bytes: b"Promise Technology, Inc.",
    },
];
/// Older HighPoint controllers keep theirs at the start.
const HIGHPOINT_START: u64 = 9 * 512 + 32;
const HIGHPOINT_MAGIC: [[u8; 4]; 2] = [[0xF0, 0x16, 0x78, 0x5A], [0xFD, 0x16, 0x78, 0x5A]];
const SECTOR_SIZES: [u64; 2] = [512, 4096];

/// The name of the firmware RAID that has its metadata on a whole disk.
pub fn firmware_raid(disk: &dyn ReadAt) -> Result<Option<&'static str>, Error> {
    for sector_size in SECTOR_SIZES {
        let end = disk.size().checked_div(sector_size).unwrap_or_default().saturating_mul(sector_size);
        for signature in SIGNATURES {
            for sectors in signature.sectors {
                let position = end.checked_sub(sectors.saturating_mul(sector_size)).filter(|position| *position > 0);
                let Some(position) = position else { continue };
                if read_vec(disk, position, signature.bytes.len())? == signature.bytes {
                    return Ok(Some(signature.name));
                }
            }
        }
    }
    if HIGHPOINT_START.saturating_add(4) <= disk.size() {
        let magic = read_vec(disk, HIGHPOINT_START, 4)?;
        if HIGHPOINT_MAGIC.iter().any(|known| magic == known) {
            return Ok(Some("HighPoint RAID"));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use block::{MemoryDisk, WriteAt};

    use super::*;

    const SIZE: u64 = 5 << 20;

    #[test]
    fn metadata_is_found_near_the_end_of_a_disk() {
        assert_eq!(firmware_raid(&MemoryDisk::new(SIZE)).unwrap(), None);
        assert_eq!(firmware_raid(&MemoryDisk::new(513)).unwrap(), None);
        for signature in SIGNATURES {
            for (sectors, sector_size) in signature.sectors.iter().flat_map(|sectors| [(sectors, 512), (sectors, 4096)])
            {
                let Some(position) = SIZE.checked_sub(sectors * sector_size) else { continue };
                let disk = MemoryDisk::new(SIZE);
                disk.write_at(position, signature.bytes).unwrap();
                assert_eq!(firmware_raid(&disk).unwrap(), Some(signature.name), "{sectors} sectors of {sector_size}");
            }
        }
        let disk = MemoryDisk::new(SIZE);
        disk.write_at(HIGHPOINT_START, &HIGHPOINT_MAGIC[0]).unwrap();
        assert_eq!(firmware_raid(&disk).unwrap(), Some("HighPoint RAID"));
    }
}
