//! The boot region: the boot sector with the places of everything, and the checksum over it. Twelve sectors, and the
//! same twelve again.
//!
//! Source: Microsoft "exFAT file system specification", sections 3.1 (main boot sector) and 3.4 (boot checksum).

use block::{ReadAt, RegionExtent, read_vec};
use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U16, U32, U64, Unaligned};

use crate::Error;

/// The smallest sector: enough for every field.
const BOOT_SECTOR_BYTES: usize = 512;
const NAME: &[u8; 8] = b"EXFAT   ";
/// Sectors that the checksum covers; the next one holds it.
pub(super) const CHECKED_SECTORS: u64 = 11;
/// Sectors of the main boot region, and of the backup.
pub(super) const BOOT_REGION_SECTORS: u64 = 12;
/// Where `VolumeSerialNumber` lies.
pub(super) const SERIAL_POSITION: usize = 100;
/// Flags and percentage, which change without a new checksum.
const NOT_CHECKED: [usize; 3] = [106, 107, 112];
/// Clusters have 32 MiB at most.
const CLUSTER_SHIFT_LIMIT: u8 = 25;
const CLUSTERS_LIMIT: u32 = 0xFFFF_FFF5;

const FLAG_VOLUME_DIRTY: u16 = 2;
const FLAG_MEDIA_FAILURE: u16 = 4;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    jump_boot: [u8; 3],
    file_system_name: [u8; 8],
    must_be_zero: [u8; 53],
    partition_offset: U64<LE>,
    volume_length: U64<LE>,
    fat_offset: U32<LE>,
    fat_length: U32<LE>,
    cluster_heap_offset: U32<LE>,
    cluster_count: U32<LE>,
    first_cluster_of_root_directory: U32<LE>,
    volume_serial_number: U32<LE>,
    file_system_revision: U16<LE>,
    volume_flags: U16<LE>,
    bytes_per_sector_shift: u8,
    sectors_per_cluster_shift: u8,
    number_of_fats: u8,
    drive_select: u8,
    percent_in_use: u8,
    reserved: [u8; 7],
    boot_code: [u8; 390],
    boot_signature: [u8; 2],
}

/// A boot sector whose fields agree with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BootSector {
    /// Bytes of a sector: 512 to 4096.
    pub(super) sector_size: u32,
    /// Bytes of a cluster.
    pub(super) cluster_size: u64,
    /// Clusters, numbered from 2.
    pub(super) clusters: u32,
    /// Bytes of the file system.
    pub(super) size: u64,
    /// First byte of each table.
    pub(super) tables: Vec<u64>,
    /// First byte of the first cluster.
    pub(super) heap_start: u64,
    /// First cluster of the root directory.
    pub(super) root_cluster: u32,
    /// Serial number.
    pub(super) serial: u32,
    /// Whether what lies here may contradict itself, because somebody is or was writing.
    pub(super) is_dirty: bool,
    /// Whether the medium has failed to read or write.
    pub(super) has_failures: bool,
}

impl BootSector {
    /// The boot sector of `region`; `None` where it is not one of exFAT.
    ///
    /// # Errors
    /// `Corrupt` where it is one by its name and its fields contradict each other, `Unsupported` for other versions.
    pub(super) fn read(region: &dyn ReadAt) -> Result<Option<Self>, Error> {
        if region.size() < 512 {
            return Ok(None);
        }
        let bytes = read_vec(region, 0, BOOT_SECTOR_BYTES)?;
        match Raw::ref_from_bytes(&bytes) {
            Ok(raw) if raw.file_system_name == *NAME => Self::parse(raw).map(Some),
            _ => Ok(None),
        }
    }

    fn parse(raw: &Raw) -> Result<Self, Error> {
        let bad = |position, expected: &str, actual: String| Err(Error::corrupt(position, expected, actual));
        if raw.jump_boot != [0xEB, 0x76, 0x90] || raw.boot_signature != [0x55, 0xAA] || raw.must_be_zero != [0; 53] {
            return bad(0, "a boot sector of exFAT", "its name with other bytes around it".to_owned());
        }
        let revision = raw.file_system_revision.get();
        if revision >> 8 != 1 {
            return Err(Error::Unsupported(format!("exFAT version {}.{}", revision >> 8, revision & 0xFF)));
        }
        let (sector_shift, shift) = (raw.bytes_per_sector_shift, raw.sectors_per_cluster_shift);
        if !(9..=12).contains(&sector_shift) {
            return bad(108, "sectors of 2^9 to 2^12 bytes", format!("2^{sector_shift}"));
        }
        let cluster_shift = sector_shift.saturating_add(shift);
        if cluster_shift > CLUSTER_SHIFT_LIMIT {
            return bad(109, "clusters of at most 2^25 bytes", format!("2^{cluster_shift}"));
        }
        let tables = raw.number_of_fats;
        if !(1..=2).contains(&tables) {
            return bad(110, "one or two tables", tables.to_string());
        }
        Self::divide(raw, 1_u64 << sector_shift, 1_u64 << cluster_shift)
    }

    /// Works out where everything lies. Positions and lengths are counted in sectors.
    fn divide(raw: &Raw, sector_size: u64, cluster_size: u64) -> Result<Self, Error> {
        let bad = |position, expected: String, actual: String| Err(Error::corrupt(position, expected, actual));
        let bytes = |sectors: u64| sectors.saturating_mul(sector_size);
        let (fat, length) = (u64::from(raw.fat_offset.get()), u64::from(raw.fat_length.get()));
        let heap = u64::from(raw.cluster_heap_offset.get());
        let tables_end = length.saturating_mul(u64::from(raw.number_of_fats)).saturating_add(fat);
        if fat < 2 * BOOT_REGION_SECTORS || tables_end > heap {
            let expected = format!("tables between the sectors 24 and {heap}");
            return bad(80, expected, format!("tables from {fat} to {tables_end}"));
        }
        let clusters = raw.cluster_count.get();
        let needed = u64::from(clusters).saturating_add(2).saturating_mul(4);
        if needed > bytes(length) {
            return bad(84, format!("tables of at least {needed} bytes"), bytes(length).to_string());
        }
        let size = raw.volume_length.get().checked_mul(sector_size);
        let heap_end = u64::from(clusters).saturating_mul(cluster_size).saturating_add(bytes(heap));
        let Some(size) = size.filter(|size| heap_end <= *size && (1..=CLUSTERS_LIMIT).contains(&clusters)) else {
            let expected = format!("clusters inside the {} sectors of the volume", raw.volume_length);
            return bad(92, expected, format!("{clusters} clusters of {cluster_size} bytes from sector {heap}"));
        };
        let root = raw.first_cluster_of_root_directory.get();
        if root < 2 || root > clusters.saturating_add(1) {
            return bad(96, format!("a root directory in one of {clusters} clusters"), format!("cluster {root}"));
        }
        let table = |number: u64| bytes(length.saturating_mul(number).saturating_add(fat));
        Ok(Self {
            sector_size: u32::try_from(sector_size).unwrap_or_default(),
            cluster_size,
            clusters,
            size,
            tables: (0..u64::from(raw.number_of_fats)).map(table).collect(),
            heap_start: bytes(heap),
            root_cluster: root,
            serial: raw.volume_serial_number.get(),
            is_dirty: raw.volume_flags.get() & FLAG_VOLUME_DIRTY != 0,
            has_failures: raw.volume_flags.get() & FLAG_MEDIA_FAILURE != 0,
        })
    }

    /// Whether the main boot region, or its backup, holds the checksum of its sectors.
    pub(super) fn has_right_checksum(&self, region: &dyn ReadAt, is_backup: bool) -> Result<bool, Error> {
        let sector = usize::try_from(self.sector_size).unwrap_or_default();
        let length = u64::from(self.sector_size).saturating_mul(BOOT_REGION_SECTORS);
        let start = if is_backup { length } else { 0 };
        let bytes = read_vec(region, start, usize::try_from(length).unwrap_or_default())?;
        let checked = usize::try_from(CHECKED_SECTORS).unwrap_or_default().saturating_mul(sector);
        let (covered, sums) = bytes.split_at_checked(checked).unwrap_or_default();
        let sum = checksum(covered);
        Ok(sums.as_chunks::<4>().0.iter().all(|stored| u32::from_le_bytes(*stored) == sum))
    }

    /// The bytes of `count` clusters from `index`, counted from 0 for cluster 2.
    pub(super) fn cluster_extent(&self, index: u64, count: u64) -> RegionExtent {
        let place = |index: u64| index.saturating_mul(self.cluster_size).saturating_add(self.heap_start);
        RegionExtent::between(place(index), place(index.saturating_add(count)))
    }
}

/// The checksum of the boot region: rotated and added byte by byte.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let counted = bytes.iter().enumerate().filter(|(index, _)| !NOT_CHECKED.contains(index));
    counted.fold(0_u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_lie_where_the_specification_puts_them() {
        assert_eq!(std::mem::offset_of!(Raw, volume_length), 72);
        assert_eq!(std::mem::offset_of!(Raw, first_cluster_of_root_directory), 96);
        assert_eq!(std::mem::offset_of!(Raw, volume_serial_number), SERIAL_POSITION);
        assert_eq!(std::mem::offset_of!(Raw, volume_flags), 106);
        assert_eq!(std::mem::offset_of!(Raw, percent_in_use), 112);
        assert_eq!(size_of::<Raw>(), BOOT_SECTOR_BYTES);
    }

    #[test]
    fn the_checksum_leaves_out_what_changes() {
        let mut bytes = vec![3; 200];
        let sum = checksum(&bytes);
        NOT_CHECKED.iter().for_each(|place| bytes[*place] = 0);
        assert_eq!(checksum(&bytes), sum);
        bytes[105] = 0;
        assert_ne!(checksum(&bytes), sum);
        assert_eq!(checksum(&[1, 2]), 0x8000_0002);
    }
}
