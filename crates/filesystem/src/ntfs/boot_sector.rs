//! The boot sector: how large the volume is, how it is divided, where the master file table lies.
//!
//! Source: ntfs-3g `include/ntfs-3g/layout.h` (`NTFS_BOOT_SECTOR`) and `libntfs-3g/bootsect.c`;
//! util-linux `libblkid/src/superblocks/ntfs.c` for what counts as recognised.

use block::{ReadAt, RegionExtent, read_vec};
use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U16, U32, U64, Unaligned};

use crate::Error;

const OEM_ID: &[u8; 8] = b"NTFS    ";
pub(super) const BOOT_SECTOR_BYTES: usize = 512;
/// Where `volume_serial_number` lies.
pub(super) const SERIAL_POSITION: u64 = 0x48;
/// Windows 10 and later format with allocation units up to this size.
const CLUSTER_SIZE_LIMIT: u32 = 2 << 20;
/// File records and index blocks in use have 1024 or 4096 bytes.
const RECORD_SIZES: std::ops::RangeInclusive<u32> = 512..=65536;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawBootSector {
    jump: [u8; 3],
    oem_id: [u8; 8],
    bytes_per_sector: U16<LE>,
    sectors_per_cluster: u8,
    reserved_sectors: U16<LE>,
    fats: u8,
    root_entries: U16<LE>,
    sectors: U16<LE>,
    media_type: u8,
    sectors_per_fat: U16<LE>,
    sectors_per_track: U16<LE>,
    heads: U16<LE>,
    hidden_sectors: U32<LE>,
    large_sectors: U32<LE>,
    physical_drive: u8,
    current_head: u8,
    extended_boot_signature: u8,
    reserved2: u8,
    number_of_sectors: U64<LE>,
    mft_lcn: U64<LE>,
    mftmirr_lcn: U64<LE>,
    clusters_per_mft_record: i8,
    reserved0: [u8; 3],
    clusters_per_index_record: i8,
    reserved1: [u8; 3],
    volume_serial_number: U64<LE>,
}

/// A boot sector whose fields agree with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootSector {
    /// Bytes of a sector: 512 to 4096.
    pub sector_size: u32,
    /// Bytes of an allocation unit: 512 to 2 MiB.
    pub cluster_size: u32,
    /// Whole allocation units of the volume.
    pub clusters: u64,
    /// Bytes of the volume, without the backup boot sector behind it.
    pub size: u64,
    /// First allocation unit of `$MFT`.
    pub mft_lcn: u64,
    /// First allocation unit of `$MFTMirr`.
    pub mft_mirror_lcn: u64,
    /// Bytes of a file record.
    pub record_size: u32,
    /// Volume serial number.
    pub serial: u64,
}

impl BootSector {
    /// The boot sector of `region`; `None` where it is not one of NTFS.
    ///
    /// # Errors
    /// `Corrupt` where the signature of NTFS stands before numbers that can't be.
    pub fn read(region: &dyn ReadAt) -> Result<Option<Self>, Error> {
        if region.size() < 512 {
            return Ok(None);
        }
        Self::parse(&read_vec(region, 0, BOOT_SECTOR_BYTES)?)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let Ok((raw, _)) = RawBootSector::ref_from_prefix(bytes) else {
            return Ok(None);
        };
        if raw.oem_id != *OEM_ID {
            return Ok(None);
        }
        check_unused_fields(raw)?;
        let sector_size = sector_size(raw)?;
        let cluster_size = cluster_size(raw, sector_size)?;
        let sectors = raw.number_of_sectors.get();
        let size = sectors
            .checked_mul(u64::from(sector_size))
            .filter(|size| *size >= u64::from(cluster_size))
            .ok_or_else(|| Error::corrupt(0x28, "a number of sectors", format!("{sectors} sectors")))?;
        let clusters = size.checked_div(u64::from(cluster_size)).unwrap_or(0);
        let (mft_lcn, mft_mirror_lcn) = (raw.mft_lcn.get(), raw.mftmirr_lcn.get());
        for (position, lcn) in [(0x30, mft_lcn), (0x38, mft_mirror_lcn)] {
            if lcn == 0 || lcn >= clusters {
                let expected = format!("a cluster number from 1 to below {clusters}");
                return Err(Error::corrupt(position, expected, lcn.to_string()));
            }
        }
        let record_size = record_size(0x40, raw.clusters_per_mft_record, cluster_size)?;
        Ok(Some(Self {
            sector_size,
            cluster_size,
            clusters,
            size,
            mft_lcn,
            mft_mirror_lcn,
            record_size,
            serial: raw.volume_serial_number.get(),
        }))
    }

    /// The bytes of `count` clusters from `lcn`.
    pub fn cluster_extent(&self, lcn: u64, count: u64) -> RegionExtent {
        let size = u64::from(self.cluster_size);
        RegionExtent::between(lcn.saturating_mul(size), lcn.saturating_add(count).saturating_mul(size))
    }
}

fn check_unused_fields(raw: &RawBootSector) -> Result<(), Error> {
    let fields = [
        (0x0E, u32::from(raw.reserved_sectors.get())),
        (0x10, u32::from(raw.fats)),
        (0x11, u32::from(raw.root_entries.get())),
        (0x13, u32::from(raw.sectors.get())),
        (0x16, u32::from(raw.sectors_per_fat.get())),
        (0x20, raw.large_sectors.get()),
    ];
    match fields.into_iter().find(|(_, value)| *value != 0) {
        Some((position, value)) => {
            Err(Error::corrupt(position, "0 in a field that NTFS does not use", value.to_string()))
        }
        None => Ok(()),
    }
}

fn sector_size(raw: &RawBootSector) -> Result<u32, Error> {
    let size = u32::from(raw.bytes_per_sector.get());
    if size.is_power_of_two() && (512..=4096).contains(&size) {
        return Ok(size);
    }
    let expected = "a power of two from 512 to 4096 bytes per sector";
    Err(Error::corrupt(0x0B, expected, size.to_string()))
}

fn cluster_size(raw: &RawBootSector, sector_size: u32) -> Result<u32, Error> {
    let code = raw.sectors_per_cluster;
    let sectors = match code {
        0..=0x80 => Some(u32::from(code)),
        // From 0x81 the byte is the negative binary logarithm.
        0x81.. => 1_u32.checked_shl(u32::from(code).abs_diff(256)),
    };
    sectors
        .filter(|sectors| sectors.is_power_of_two())
        .and_then(|sectors| sectors.checked_mul(sector_size))
        .filter(|size| *size <= CLUSTER_SIZE_LIMIT)
        .ok_or_else(|| {
            let expected = "sectors per cluster that make a power of two of at most 2 MiB";
            Error::corrupt(0x0D, expected, format!("{code:#04x}"))
        })
}

fn record_size(position: u64, code: i8, cluster_size: u32) -> Result<u32, Error> {
    let size = if code < 0 {
        1_u32.checked_shl(u32::from(code.unsigned_abs()))
    } else {
        u32::from(code.unsigned_abs()).checked_mul(cluster_size)
    };
    size.filter(|size| size.is_power_of_two() && RECORD_SIZES.contains(size)).ok_or_else(|| {
        let expected = "a record size that is a power of two from 512 to 65536 bytes";
        Error::corrupt(position, expected, format!("code {code}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[3..11].copy_from_slice(OEM_ID);
        bytes[0x0B..0x0D].copy_from_slice(&512_u16.to_le_bytes());
        bytes[0x0D] = 8;
        bytes[0x28..0x30].copy_from_slice(&20_479_u64.to_le_bytes());
        bytes[0x30..0x38].copy_from_slice(&4_u64.to_le_bytes());
        bytes[0x38..0x40].copy_from_slice(&1279_u64.to_le_bytes());
        bytes[0x40] = 0xF6;
        bytes[0x44] = 1;
        bytes[0x48..0x50].copy_from_slice(&0x0123_4567_89AB_CDEF_u64.to_le_bytes());
        bytes
    }

    #[track_caller]
    fn check_error(bend: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut bytes = sample();
        bend(&mut bytes);
        assert_eq!(BootSector::parse(&bytes).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_boot_sector_says_how_the_volume_is_divided() {
        let boot = BootSector::parse(&sample()).unwrap().unwrap();
        assert_eq!(
            boot,
            BootSector {
                sector_size: 512,
                cluster_size: 4096,
                clusters: 2559,
                size: 20_479 * 512,
                mft_lcn: 4,
                mft_mirror_lcn: 1279,
                record_size: 1024,
                serial: 0x0123_4567_89AB_CDEF,
            }
        );
    }

    #[test]
    fn from_0x81_the_cluster_byte_is_a_negative_logarithm() {
        for (code, size) in [(1, 512), (0x80, 65536), (0xF8, 131_072), (0xF4, 2 << 20)] {
            let mut bytes = sample();
            bytes[0x0D] = code;
            bytes[0x28..0x30].copy_from_slice(&(1_u64 << 40).to_le_bytes());
            let boot = BootSector::parse(&bytes).unwrap().unwrap();
            assert_eq!(boot.cluster_size, size, "{code:#x}");
        }
    }

    #[test]
    fn what_is_not_ntfs_is_not_recognised() {
        let mut bytes = sample();
        bytes[3..11].copy_from_slice(b"EXFAT   ");
        assert_eq!(BootSector::parse(&bytes).unwrap(), None);
        assert_eq!(BootSector::parse(&[]).unwrap(), None);
    }

    #[test]
    fn numbers_that_can_not_be_are_damage() {
        check_error(
            |b| b[0x0B] = 1,
            "at byte 11 of the region: expected a power of two from 512 to 4096 bytes per sector, found 513",
        );
        for code in [0, 3, 0x81, 0xF3] {
            check_error(
                |b| b[0x0D] = code,
                &format!(
                    "at byte 13 of the region: expected sectors per cluster that make a power of two of at most 2 MiB, found {code:#04x}"
                ),
            );
        }
        check_error(|b| b[0x10] = 2, "at byte 16 of the region: expected 0 in a field that NTFS does not use, found 2");
        check_error(
            |b| b[0x28..0x30].fill(0),
            "at byte 40 of the region: expected a number of sectors, found 0 sectors",
        );
        check_error(
            |b| b[0x28..0x30].fill(0xFF),
            "at byte 40 of the region: expected a number of sectors, found 18446744073709551615 sectors",
        );
        check_error(
            |b| b[0x38..0x3A].copy_from_slice(&2559_u16.to_le_bytes()),
            "at byte 56 of the region: expected a cluster number from 1 to below 2559, found 2559",
        );
        check_error(
            |b| b[0x40] = 0x80,
            "at byte 64 of the region: expected a record size that is a power of two from 512 to 65536 bytes, found code -128",
        );
    }
}
