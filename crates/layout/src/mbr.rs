//! Master boot record: the four entries of LBA 0, and whether LBA 0 is one at all.
//!
//! Decoded by own code from the raw sector; the tests compare with the `mbrman` crate and sfdisk.
//! That crate rewrites the type of links between extended boot records, so it never writes.
//!
//! Sources: UEFI Specification 2.10, 5.2 "LBA 0 Format"; Linux block/partitions/msdos.c and util-linux
//! libblkid/src/partitions/dos.c for what counts as a table; Microsoft "fatgen103" for the boot sector of FAT.

use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Partition;

/// Bytes of a record; on disks with larger sectors the rest of the sector means nothing.
pub(crate) const SIZE: usize = 512;
/// Type of the entry that protects a GPT.
const PROTECTIVE: u8 = 0xEE;

/// Master or extended boot record. Little endian.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Record {
    pub boot_code: [u8; 440],
    pub disk_signature: U32,
    pub copy_protected: [u8; 2],
    pub partition_record: [Entry; 4],
    pub signature: [u8; 2],
}

/// One entry of a record. Little endian.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Entry {
    pub boot_indicator: u8,
    pub starting_chs: [u8; 3],
    pub os_type: u8,
    pub ending_chs: [u8; 3],
    pub starting_lba: U32,
    pub size_in_lba: U32,
}

/// What LBA 0 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A table that divides the disk.
    Table,
    /// A record with an entry that protects a GPT.
    Protective,
    /// No table: zeros, data, or the boot sector of a file system on the whole disk.
    NoTable,
    /// It looks like a table in part only; operating systems don't use it.
    Unusable,
}

impl Record {
    /// The record at the start of a sector.
    pub fn parse(sector: &[u8]) -> Option<Self> {
        Self::read_from_prefix(sector).ok().map(|(record, _)| record)
    }

    /// Whether the last two bytes are 55 AA.
    pub fn has_signature(&self) -> bool {
        self.signature == [0x55, 0xAA]
    }

    /// What the record is on a disk of `sectors` sectors.
    ///
    /// A wrong "table" is safe: what no file system is recognised in is saved whole. A wrong "no table" is
    /// not: what is left of an older file system could then decide what is saved. So entries that
    /// can be true win over a boot sector's parameters, which boot loaders carry along for ever.
    pub fn verdict(&self, sectors: u64) -> Verdict {
        if !self.has_signature() {
            return Verdict::NoTable;
        }
        if self.partition_record.iter().any(Entry::is_protective) {
            return Verdict::Protective;
        }
        let boot_sector = is_boot_sector(self.as_bytes());
        let plausible = self.partition_record.iter().any(|entry| entry.is_used() && entry.starts_in(1..sectors));
        if self.partition_record.iter().any(|entry| !matches!(entry.boot_indicator, 0 | 0x80)) {
            return if plausible && !boot_sector { Verdict::Unusable } else { Verdict::NoTable };
        }
        let any = self.partition_record.iter().any(Entry::is_used) || self.disk_signature.get() != 0;
        if plausible || (any && !boot_sector) { Verdict::Table } else { Verdict::NoTable }
    }

    /// Used entries besides one protective entry: the record is a hybrid.
    pub fn hybrid_entries(&self) -> Vec<String> {
        let used = self.partition_record.iter().filter(|entry| entry.is_used() && !entry.is_protective());
        used.map(|entry| format!("type {:#04x} at sector {}", entry.os_type, entry.starting_lba)).collect()
    }
}

impl Entry {
    /// Whether it names sectors.
    pub fn is_used(&self) -> bool {
        self.os_type != 0 && self.size_in_lba.get() != 0
    }

    /// Whether it protects a GPT.
    pub fn is_protective(&self) -> bool {
        self.os_type == PROTECTIVE
    }

    /// Whether it names a container of logical partitions.
    pub fn is_extended(&self) -> bool {
        matches!(self.os_type, 0x05 | 0x0F | 0x85)
    }

    fn starts_in(&self, sectors: std::ops::Range<u64>) -> bool {
        sectors.contains(&u64::from(self.starting_lba.get()))
    }

    /// What the entry says, for the partition with this number on a disk with this signature.
    pub fn partition(&self, number: u32, disk_signature: u32) -> Partition {
        Partition {
            number,
            type_id: format!("{:#04x}", self.os_type),
            guid: Some(format!("{disk_signature:08x}-{number:02x}")),
            name: None,
            attributes: 0,
            bootable: self.boot_indicator == 0x80,
        }
    }
}

/// Whether a sector is the boot sector of FAT, or of one of the file systems that put their name where
/// FAT has the name of the formatting system.
fn is_boot_sector(sector: &[u8]) -> bool {
    let named = sector.get(3..11).is_some_and(|name| {
        [b"NTFS    ", b"EXFAT   ", b"-FVE-FS-", b"ReFS\0\0\0\0"].into_iter().any(|known| name == known)
    });
    named || is_fat_boot_sector(sector)
}

fn is_fat_boot_sector(sector: &[u8]) -> bool {
    let byte = |at: usize| sector.get(at).copied().unwrap_or_default();
    let word = |at: usize| u16::from_le_bytes([byte(at), byte(at.saturating_add(1))]);
    let sectors = word(0x13) != 0 || word(0x20) != 0 || word(0x22) != 0;
    matches!(byte(0), 0xEB | 0xE9)
        && matches!(word(0x0B), 512 | 1024 | 2048 | 4096)
        && byte(0x0D).is_power_of_two()
        && word(0x0E) != 0
        && matches!(byte(0x10), 1..=4)
        && matches!(byte(0x15), 0xF0 | 0xF8..=0xFF)
        && sectors
}
