//! The boot sector with its BIOS parameter block: where the tables, the root directory and the
//! clusters lie.
//!
//! A boot sector of FAT has no signature of its own. So that neither an MBR nor the boot sector of
//! another file system is taken for one, every field is checked, and so is the first entry of the
//! table, which repeats the media byte.
//!
//! Source: Microsoft "FAT32 File System Specification" 1.03; Linux `fs/fat/inode.c`
//! (`fat_read_bpb`); util-linux `libblkid/src/superblocks/vfat.c` and `bitlocker.c`.

use block::{ReadAt, RegionExtent, read_vec};
use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U16, U32, Unaligned};

use crate::Error;

/// Every field of a boot sector lies in these, whatever the size of a sector.
pub(super) const BOOT_SECTOR_BYTES: usize = 512;
/// Where `BS_VolID` lies on FAT12 and FAT16, and on FAT32.
const SERIAL_POSITION: u64 = 0x27;
const SERIAL_POSITION_32: u64 = 0x43;
const DIRECTORY_ENTRY_BYTES: u64 = 32;
/// From this number of clusters on, entries have 16 bits.
const FAT16_FROM: u64 = 4085;
/// From this number of clusters on, 16 bits are not enough.
const FAT16_LIMIT: u64 = 65_525;
/// Two are usual; every table takes a buffer.
const TABLES_LIMIT: u8 = 4;
const FAT32_LIMIT: u64 = 0x0FFF_FFF5;
/// BitLocker leaves a boot sector of FAT in front of a volume whose clusters it counts otherwise.
const BITLOCKER_GUIDS: [[u8; 16]; 2] = [
    [0x3B, 0xD6, 0x67, 0x49, 0x29, 0x2E, 0xD8, 0x4A, 0x83, 0x99, 0xF6, 0xA3, 0x39, 0xE3, 0xD0, 0x01],
    [0x3B, 0x4D, 0xA8, 0x92, 0x80, 0xDD, 0x0E, 0x4D, 0x9E, 0x4E, 0xB1, 0xE3, 0x28, 0x4E, 0xAE, 0xD8],
];

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawBootSector {
    jmp_boot: [u8; 3],
    oem_name: [u8; 8],
    byts_per_sec: U16<LE>,
    sec_per_clus: u8,
    rsvd_sec_cnt: U16<LE>,
    num_fats: u8,
    root_ent_cnt: U16<LE>,
    tot_sec16: U16<LE>,
    media: u8,
    fat_sz16: U16<LE>,
    sec_per_trk: U16<LE>,
    num_heads: U16<LE>,
    hidd_sec: U32<LE>,
    tot_sec32: U32<LE>,
    /// Differs between FAT12/16 and FAT32.
    extension: [u8; 474],
    signature: [u8; 2],
}

/// What follows the common fields on FAT32.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawExtension32 {
    fat_sz32: U32<LE>,
    ext_flags: U16<LE>,
    fs_ver: U16<LE>,
    root_clus: U32<LE>,
    fs_info: U16<LE>,
    bk_boot_sec: U16<LE>,
    reserved: [u8; 12],
    identity: RawIdentity,
}

/// What names a file system, at the end of the fields of every kind.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawIdentity {
    drv_num: u8,
    state: u8,
    boot_sig: u8,
    vol_id: U32<LE>,
    vol_lab: [u8; 11],
    fil_sys_type: [u8; 8],
}

/// The width of the entries of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 12 bits: two entries in three bytes.
    Fat12,
    /// 16 bits.
    Fat16,
    /// 32 bits, of which the upper 4 don't count.
    Fat32,
}

impl Width {
    /// Bits of an entry.
    pub fn bits(self) -> u64 {
        match self {
            Self::Fat12 => 12,
            Self::Fat16 => 16,
            Self::Fat32 => 32,
        }
    }

    /// The bits of an entry that count.
    pub fn mask(self) -> u32 {
        match self {
            Self::Fat12 => 0xFFF,
            Self::Fat16 => 0xFFFF,
            Self::Fat32 => 0x0FFF_FFFF,
        }
    }

    /// The entry of a cluster that can't be used.
    pub fn bad(self) -> u32 {
        self.mask() & !8
    }
}

/// A boot sector whose fields agree with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootSector {
    /// Width of the entries of the table.
    pub width: Width,
    /// Bytes of a sector: 512 to 4096.
    pub sector_size: u32,
    /// Bytes of a cluster.
    pub cluster_size: u32,
    /// Clusters, numbered from 2.
    pub clusters: u64,
    /// Bytes of the file system.
    pub size: u64,
    /// First byte of the first table.
    pub tables_start: u64,
    /// Bytes of one table.
    pub table_size: u64,
    /// Number of tables.
    pub tables: u8,
    /// The root directory of FAT12 and FAT16; empty on FAT32.
    pub root_directory: RegionExtent,
    /// First cluster of the root directory of FAT32.
    pub root_cluster: Option<u32>,
    /// The only table in use, where the tables are not kept equal.
    pub active_table: Option<u8>,
    /// Serial number; `None` where the boot sector has none.
    pub serial: Option<u32>,
    /// Whether Linux had it mounted for writing and did not unmount it.
    pub marked_dirty: bool,
    /// The media byte.
    pub media: u8,
    /// First byte of the copy of the boot sector, where FAT32 names one.
    backup: Option<u64>,
}

impl BootSector {
    /// The boot sector of `region`; `None` where it is not one of FAT.
    ///
    /// # Errors
    /// `Unsupported` where the file system names another kind than its number of clusters makes it.
    pub fn read(region: &dyn ReadAt) -> Result<Option<Self>, Error> {
        if region.size() < 512 {
            return Ok(None);
        }
        let bytes = read_vec(region, 0, BOOT_SECTOR_BYTES)?;
        let Some(boot) = Self::parse(&bytes)? else {
            return Ok(None);
        };
        let mut first = [0; 4];
        if boot.tables_start.saturating_add(4) > region.size() {
            return Ok(None);
        }
        region.read_at(boot.tables_start, &mut first)?;
        // The first entry is the media byte with all other bits set.
        let ones = u32::from_le_bytes([boot.media, 0xFF, 0xFF, 0xFF]) & boot.width.mask();
        let is_table = u32::from_le_bytes(first) & boot.width.mask() == ones;
        Ok(is_table.then_some(boot))
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let raw = RawBootSector::ref_from_prefix(bytes).ok().map(|(raw, _)| raw);
        let Some(raw) = raw.filter(|raw| looks_like_fat(raw) && !has_bitlocker(bytes)) else {
            return Ok(None);
        };
        let Some(boot) = Self::divide(raw) else {
            return Ok(None);
        };
        boot.check_name(raw)?;
        Ok(Some(boot))
    }

    /// Works out where everything lies; `None` where the fields contradict each other.
    fn divide(raw: &RawBootSector) -> Option<Self> {
        let sector_size = u64::from(raw.byts_per_sec.get());
        let is_32 = raw.fat_sz16.get() == 0;
        let (extension, _) = RawExtension32::ref_from_prefix(&raw.extension).ok()?;
        let table_sectors = if is_32 { u64::from(extension.fat_sz32.get()) } else { u64::from(raw.fat_sz16.get()) };
        let sectors = match raw.tot_sec16.get() {
            0 => u64::from(raw.tot_sec32.get()),
            sectors => u64::from(sectors),
        };
        if table_sectors == 0 || (is_32 != (raw.root_ent_cnt.get() == 0)) {
            return None;
        }
        let root_bytes = u64::from(raw.root_ent_cnt.get()).checked_mul(DIRECTORY_ENTRY_BYTES)?;
        let root_bytes = root_bytes.checked_next_multiple_of(sector_size)?;
        let size = sectors.checked_mul(sector_size)?;
        let tables_start = u64::from(raw.rsvd_sec_cnt.get()).checked_mul(sector_size)?;
        let table_size = table_sectors.checked_mul(sector_size)?;
        let root_start = table_size.checked_mul(u64::from(raw.num_fats))?.checked_add(tables_start)?;
        let data_start = root_start.checked_add(root_bytes)?;
        let cluster_size = sector_size.checked_mul(u64::from(raw.sec_per_clus))?;
        let clusters = size.checked_sub(data_start)?.checked_div(cluster_size)?;
        let width = match clusters {
            0 => return None,
            _ if is_32 && clusters <= FAT32_LIMIT => Width::Fat32,
            _ if is_32 || clusters >= FAT16_LIMIT => return None,
            FAT16_FROM.. => Width::Fat16,
            _ => Width::Fat12,
        };
        let identity = identity(raw, extension)?;
        let has_serial = matches!(identity.boot_sig, 0x28 | 0x29);
        let mirroring_off = is_32 && extension.ext_flags.get() & 0x80 != 0;
        let active_table = u8::try_from(extension.ext_flags.get() & 0x0F).ok();
        Some(Self {
            width,
            sector_size: u32::from(raw.byts_per_sec.get()),
            cluster_size: u32::try_from(cluster_size).ok()?,
            clusters,
            size,
            tables_start,
            table_size,
            tables: raw.num_fats,
            root_directory: RegionExtent::between(root_start, data_start),
            root_cluster: is_32.then(|| extension.root_clus.get()),
            active_table: active_table.filter(|_| mirroring_off),
            serial: (is_32 || has_serial).then(|| identity.vol_id.get()),
            marked_dirty: has_serial && identity.state & 1 != 0,
            media: raw.media,
            backup: is_32.then(|| u64::from(extension.bk_boot_sec.get()).saturating_mul(sector_size)),
        })
    }

    /// A file system that calls itself FAT16 and has so few clusters that systems read it as FAT12
    /// (or the other way round) is read in two ways.
    fn check_name(&self, raw: &RawBootSector) -> Result<(), Error> {
        let (own, other): (_, &[u8]) = match self.width {
            Width::Fat12 => ("FAT12", b"FAT16   "),
            Width::Fat16 => ("FAT16", b"FAT12   "),
            Width::Fat32 => return Ok(()),
        };
        let (identity, _) =
            RawIdentity::ref_from_prefix(&raw.extension).map_err(|_| Error::corrupt(0x24, "a boot sector", "none"))?;
        if identity.fil_sys_type != *other {
            return Ok(());
        }
        Err(Error::Unsupported(format!(
            "boot sector says {}, but {} clusters make it {own}",
            other.escape_ascii().to_string().trim_end(),
            self.clusters
        )))
    }

    /// First byte of the serial number in the boot sector.
    pub(super) fn serial_position(&self) -> u64 {
        if self.width == Width::Fat32 { SERIAL_POSITION_32 } else { SERIAL_POSITION }
    }

    /// First byte of the copy of the boot sector; `None` where there is none.
    pub(super) fn backup_position(&self) -> Option<u64> {
        self.backup
    }

    /// First byte of the first cluster, which has the number 2.
    pub fn data_start(&self) -> u64 {
        self.root_directory.end()
    }

    /// The bytes of `count` clusters from `cluster`, counted from 0 for the first one.
    pub fn cluster_extent(&self, index: u64, count: u64) -> RegionExtent {
        let size = u64::from(self.cluster_size);
        let place = |index: u64| index.saturating_mul(size).saturating_add(self.data_start());
        RegionExtent::between(place(index), place(index.saturating_add(count)))
    }
}

fn identity<'a>(raw: &'a RawBootSector, extension: &'a RawExtension32) -> Option<&'a RawIdentity> {
    match raw.fat_sz16.get() {
        0 => Some(&extension.identity),
        _ => RawIdentity::ref_from_prefix(&raw.extension).ok().map(|(identity, _)| identity),
    }
}

fn looks_like_fat(raw: &RawBootSector) -> bool {
    let sector_size = raw.byts_per_sec.get();
    // A short jump with a byte of padding, or a near jump.
    matches!(raw.jmp_boot, [0xEB, _, _] | [0xE9, _, _])
        && raw.signature == [0x55, 0xAA]
        && sector_size.is_power_of_two()
        && (512..=4096).contains(&sector_size)
        && raw.sec_per_clus.is_power_of_two()
        && raw.rsvd_sec_cnt.get() > 0
        && (1..=TABLES_LIMIT).contains(&raw.num_fats)
        && (raw.media == 0xF0 || raw.media >= 0xF8)
        && !matches!(&raw.oem_name, b"NTFS    " | b"EXFAT   " | b"-FVE-FS-")
}

fn has_bitlocker(bytes: &[u8]) -> bool {
    let guid_at = |offset: usize| bytes.get(offset..).and_then(|rest| rest.first_chunk::<16>());
    [160, 424].into_iter().filter_map(guid_at).any(|guid| BITLOCKER_GUIDS.contains(guid))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// FAT16 with `clusters` clusters of 2 KiB, two tables of 20 sectors, 512 root entries.
    pub fn sample(clusters: u32) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[..11].copy_from_slice(b"\xEB\x3C\x90mkfs.fat");
        bytes[0x0B..0x0D].copy_from_slice(&512_u16.to_le_bytes());
        bytes[0x0D] = 4;
        bytes[0x0E] = 4;
        bytes[0x10] = 2;
        bytes[0x11..0x13].copy_from_slice(&512_u16.to_le_bytes());
        bytes[0x15] = 0xF8;
        bytes[0x16] = 20;
        bytes[0x20..0x24].copy_from_slice(&(4 + 40 + 32 + clusters * 4 + 3).to_le_bytes());
        bytes[0x26] = 0x29;
        bytes[0x27..0x2B].copy_from_slice(&0x1234_ABCD_u32.to_le_bytes());
        bytes[0x2B..0x36].copy_from_slice(b"BOOT LABEL ");
        bytes[0x36..0x3E].copy_from_slice(b"FAT16   ");
        bytes[0x1FE..].copy_from_slice(&[0x55, 0xAA]);
        bytes
    }

    #[test]
    fn a_boot_sector_says_where_everything_lies() {
        let boot = BootSector::parse(&sample(5000)).unwrap().unwrap();
        assert_eq!((boot.width, boot.clusters, boot.cluster_size), (Width::Fat16, 5000, 2048));
        assert_eq!((boot.tables_start, boot.table_size), (2048, 10_240));
        assert_eq!(boot.root_directory, RegionExtent::between(2048 + 20_480, 2048 + 20_480 + 16_384));
        assert_eq!(boot.cluster_extent(4999, 1).end() + 3 * 512, boot.size);
        assert_eq!(boot.serial, Some(0x1234_ABCD));
    }

    #[test]
    fn the_number_of_clusters_makes_the_width() {
        for (clusters, name, width) in
            [(4084, "FAT12   ", Width::Fat12), (4085, "FAT16   ", Width::Fat16), (65_524, "FAT16   ", Width::Fat16)]
        {
            let mut bytes = sample(clusters);
            bytes[0x36..0x3E].copy_from_slice(name.as_bytes());
            assert_eq!(BootSector::parse(&bytes).unwrap().unwrap().width, width, "{clusters}");
        }
        assert_eq!(BootSector::parse(&sample(65_525)).unwrap(), None);
        assert_eq!(
            BootSector::parse(&sample(4084)).unwrap_err().to_string(),
            "boot sector says FAT16, but 4084 clusters make it FAT12"
        );
    }

    #[track_caller]
    fn check_not_fat(bend: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = sample(5000);
        bend(&mut bytes);
        assert_eq!(BootSector::parse(&bytes).unwrap(), None);
    }

    #[test]
    fn other_boot_sectors_are_not_fat() {
        check_not_fat(|b| b[0] = 0xFA);
        check_not_fat(|b| b[0x1FE] = 0);
        check_not_fat(|b| b[0x0B] = 1);
        check_not_fat(|b| b[0x0D] = 3);
        check_not_fat(|b| b[0x0E] = 0);
        check_not_fat(|b| b[0x10] = 0);
        check_not_fat(|b| b[0x10] = 5);
        check_not_fat(|b| b[0x11..0x13].fill(0));
        check_not_fat(|b| b[0x15] = 0);
        check_not_fat(|b| b[0x16] = 0);
        check_not_fat(|b| b[0x20..0x24].copy_from_slice(&[79, 0, 0, 0]));
        check_not_fat(|b| b[3..11].copy_from_slice(b"NTFS    "));
        check_not_fat(|b| b[3..11].copy_from_slice(b"-FVE-FS-"));
        check_not_fat(|b| b[424..440].copy_from_slice(&BITLOCKER_GUIDS[0]));
    }
}
