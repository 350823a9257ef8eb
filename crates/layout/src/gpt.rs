//! GUID partition table: header, entries, and which of its two copies can be used.
//!
//! Decoded by own code from the raw sectors, because a table must be understood also where the `gpt`
//! crate gives up (a broken primary entry array with a good backup), and because the raw sectors are
//! what is restored. The tests compare the decoded values with that crate and with sfdisk.
//!
//! Source: UEFI Specification 2.10, chapter 5 "GUID Partition Table (GPT) Disk Layout".

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::sectors::Sectors;
use crate::{Error, Partition};

/// "EFI PART", the first bytes of every header.
pub(crate) const SIGNATURE: [u8; 8] = *b"EFI PART";
/// More entries than this no tool makes (128 is usual); a limit on what a damaged header can ask for.
const ENTRIES_LIMIT: u32 = 16384;
/// The largest entry array that is read, in bytes.
const ARRAY_LIMIT: u64 = 4 << 20;
/// Attribute bit 2, "legacy BIOS bootable".
const LEGACY_BIOS_BOOTABLE: u64 = 1 << 2;

/// GPT header, UEFI Specification table 5.5. Little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub signature: [u8; 8],
    pub revision: U32,
    pub header_size: U32,
    pub header_crc32: U32,
    pub reserved: U32,
    pub my_lba: U64,
    pub alternate_lba: U64,
    pub first_usable_lba: U64,
    pub last_usable_lba: U64,
    pub disk_guid: [u8; 16],
    pub partition_entry_lba: U64,
    pub number_of_partition_entries: U32,
    pub size_of_partition_entry: U32,
    pub partition_entry_array_crc32: U32,
}

/// GPT partition entry, UEFI Specification table 5.6. Little endian; larger entries end in reserved bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Entry {
    pub partition_type_guid: [u8; 16],
    pub unique_partition_guid: [u8; 16],
    pub starting_lba: U64,
    pub ending_lba: U64,
    pub attributes: U64,
    pub partition_name: [U16; 36],
}

/// One copy of the table, as far as it could be read.
#[derive(Clone, Debug)]
pub(crate) struct TableCopy {
    /// Where its header is, or should be.
    pub lba: u64,
    /// The raw sector of its header; `None` where it can't be read.
    pub sector: Option<Vec<u8>>,
    /// Its header, where that is valid.
    pub header: Option<Header>,
    /// The raw sectors of its entries, where the header is valid and they can be read.
    pub array: Option<Vec<u8>>,
    /// Why this copy can't be used.
    pub problem: Option<String>,
}

/// Both copies of the table of a disk.
#[derive(Clone, Debug)]
pub(crate) struct Copies {
    pub primary: TableCopy,
    /// Where LBA 1 says, or on the last sector; `None` where neither is on the disk.
    pub backup: Option<TableCopy>,
}

/// A valid copy: header and entries agree with their checksums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    pub lba: u64,
    pub sector: &'a [u8],
    pub header: Header,
    pub array: &'a [u8],
}

impl Copies {
    /// Looks for both copies.
    pub fn find(sectors: Sectors<'_>) -> Result<Self, Error> {
        let primary = TableCopy::read(sectors, 1)?;
        let last = sectors.count().saturating_sub(1);
        let named = primary.alternate_lba().filter(|lba| (2..=last).contains(lba));
        // A valid header is believed first; a damaged one only gives a hint for a disk that has grown.
        let places = if primary.header.is_some() { [named, Some(last)] } else { [Some(last), named] };
        let mut backup: Option<TableCopy> = None;
        for lba in places.into_iter().flatten().filter(|lba| *lba > 1) {
            let copy = TableCopy::read(sectors, lba)?;
            if copy.problem.is_none() {
                return Ok(Self { primary, backup: Some(copy) });
            }
            backup.get_or_insert(copy);
        }
        Ok(Self { primary, backup })
    }

    /// The copy to use: the primary, or else the backup.
    pub fn usable(&self) -> Option<Table<'_>> {
        self.primary.table().or_else(|| self.backup.as_ref()?.table())
    }
}

impl TableCopy {
    fn read(sectors: Sectors<'_>, lba: u64) -> Result<Self, Error> {
        let mut copy = Self { lba, sector: None, header: None, array: None, problem: None };
        copy.sector = sectors.read("GPT header", lba, 1)?;
        let Some(sector) = &copy.sector else {
            copy.problem = Some(format!("LBA {lba} can't be read"));
            return Ok(copy);
        };
        let header = match Header::check(sector, lba, sectors) {
            Ok(header) => header,
            Err(problem) => {
                copy.problem = Some(format!("header at LBA {lba}: {problem}"));
                return Ok(copy);
            }
        };
        copy.header = Some(header);
        let first = header.partition_entry_lba.get();
        copy.array = sectors.read("GPT entries", first, sectors.holding(header.array_bytes()))?;
        copy.problem = match copy.array.as_ref().map(|array| header.array_crc32(array)) {
            None => Some(format!("entries at LBA {first} can't be read")),
            Some(actual) if actual != header.partition_entry_array_crc32.get() => Some(format!(
                "entries at LBA {first}: CRC32 is {actual:08x}, the header says {:08x}",
                header.partition_entry_array_crc32.get()
            )),
            Some(_) => None,
        };
        Ok(copy)
    }

    /// The copy as a table, where it is valid.
    pub fn table(&self) -> Option<Table<'_>> {
        if self.problem.is_some() {
            return None;
        }
        Some(Table {
            lba: self.lba,
            sector: self.sector.as_deref()?,
            header: self.header?,
            array: self.array.as_deref()?,
        })
    }

    /// Whether the sector starts like a header, valid or not.
    pub fn has_signature(&self) -> bool {
        self.sector.as_ref().is_some_and(|sector| sector.starts_with(&SIGNATURE))
    }

    /// Where the header, valid or not, says that the other copy is.
    fn alternate_lba(&self) -> Option<u64> {
        let sector = self.sector.as_ref().filter(|_| self.has_signature())?;
        Header::read_from_prefix(sector).ok().map(|(header, _)| header.alternate_lba.get())
    }
}

impl Header {
    /// The header in `sector`, where it is valid for LBA `lba`; else what is wrong with it.
    pub fn check(sector: &[u8], lba: u64, sectors: Sectors<'_>) -> Result<Self, String> {
        let Ok((header, _)) = Self::read_from_prefix(sector) else {
            return Err(format!("{} bytes are too few", sector.len()));
        };
        if header.signature != SIGNATURE {
            return Err("no signature \"EFI PART\"".to_owned());
        }
        let size = header.header_size.get();
        let actual = checksum(sector, size).ok_or_else(|| format!("impossible header size {size}"))?;
        if actual != header.header_crc32.get() {
            return Err(format!("CRC32 is {actual:08x}, the header says {:08x}", header.header_crc32.get()));
        }
        if header.my_lba.get() != lba {
            return Err(format!("it says that it belongs to LBA {}", header.my_lba.get()));
        }
        let (count, entry_size) = (header.number_of_partition_entries.get(), header.size_of_partition_entry.get());
        let possible = (1..=ENTRIES_LIMIT).contains(&count) && entry_size >= 128 && entry_size.is_power_of_two();
        if !possible || header.array_bytes() > ARRAY_LIMIT {
            return Err(format!("impossible array of {count} entries of {entry_size} bytes"));
        }
        let first = header.partition_entry_lba.get();
        let end = first.saturating_add(sectors.holding(header.array_bytes()));
        if first < 2 || end > sectors.count() || (first..end).contains(&lba) {
            return Err(format!("impossible place of the entries, LBA {first}"));
        }
        Ok(header)
    }

    /// Size of the entry array in bytes.
    pub fn array_bytes(&self) -> u64 {
        let (count, size) = (self.number_of_partition_entries.get(), self.size_of_partition_entry.get());
        u64::from(count).saturating_mul(u64::from(size))
    }

    /// The checksum of the entries in the raw sectors that hold them.
    pub fn array_crc32(&self, array: &[u8]) -> u32 {
        let length = usize::try_from(self.array_bytes()).unwrap_or(usize::MAX);
        crc32fast::hash(array.get(..length).unwrap_or(array))
    }

    /// Bytes from one entry to the next.
    pub fn entry_size(&self) -> usize {
        // `check` lets no entry size of 0 pass; `chunks` must never see one.
        usize::try_from(self.size_of_partition_entry.get()).unwrap_or(usize::MAX).max(128)
    }
}

/// The checksum of a header sector: over `size` bytes, with the checksum field itself as zeros.
pub(crate) fn checksum(sector: &[u8], size: u32) -> Option<u32> {
    let size = usize::try_from(size).ok().filter(|size| *size >= size_of::<Header>())?;
    let mut header = sector.get(..size)?.to_vec();
    header.get_mut(16..20)?.fill(0);
    Some(crc32fast::hash(&header))
}

impl Table<'_> {
    /// The entries in use, with their slots counted from 0.
    pub fn entries(&self) -> impl Iterator<Item = (u32, Entry)> + '_ {
        let count = self.header.number_of_partition_entries.get();
        (0..count)
            .zip(self.array.chunks(self.header.entry_size()))
            .filter_map(|(slot, bytes)| Some((slot, Entry::read_from_prefix(bytes).ok()?.0)))
            .filter(|(_, entry)| entry.partition_type_guid != [0; 16])
    }

    /// Number of sectors of the entry array.
    pub fn array_sectors(&self, sectors: Sectors<'_>) -> u64 {
        sectors.holding(self.header.array_bytes())
    }

    /// How two copies differ in what they say about the disk; `None` where they agree.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let (a, b) = (&self.header, &other.header);
        if a.disk_guid != b.disk_guid {
            return Some(format!("disk GUIDs {} and {}", guid(&a.disk_guid), guid(&b.disk_guid)));
        }
        if a.array_bytes() != b.array_bytes() || a.size_of_partition_entry != b.size_of_partition_entry {
            return Some(format!(
                "{} and {} entries",
                a.number_of_partition_entries.get(),
                b.number_of_partition_entries.get()
            ));
        }
        if (a.first_usable_lba, a.last_usable_lba) != (b.first_usable_lba, b.last_usable_lba) {
            return Some(format!(
                "usable sectors {} to {} and {} to {}",
                a.first_usable_lba, a.last_usable_lba, b.first_usable_lba, b.last_usable_lba
            ));
        }
        let length = usize::try_from(a.array_bytes()).unwrap_or(usize::MAX);
        let pieces = |table: &Self| {
            let array = table.array.get(..length).unwrap_or(table.array);
            array.chunks(a.entry_size()).map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let slot = pieces(self).iter().zip(pieces(other)).position(|(one, another)| *one != another)?;
        Some(format!("entries of partition {}", slot.saturating_add(1)))
    }
}

impl Entry {
    /// Whether it ends where it starts or later.
    pub fn is_possible(&self) -> bool {
        self.starting_lba.get() <= self.ending_lba.get()
    }

    /// What this entry says, for the partition with this number.
    pub fn partition(&self, number: u32) -> Partition {
        let units = self.partition_name.iter().map(|unit| unit.get()).take_while(|unit| *unit != 0);
        let name: String = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        let attributes = self.attributes.get();
        Partition {
            number,
            type_id: guid(&self.partition_type_guid),
            guid: Some(guid(&self.unique_partition_guid)),
            name: (!name.is_empty()).then_some(name),
            attributes,
            bootable: attributes & LEGACY_BIOS_BOOTABLE != 0,
        }
    }
}

/// A GUID as it is printed. Its first three fields are little endian on the disk.
pub(crate) fn guid(bytes: &[u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *bytes;
    let tail: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    let (node, sequence) = (tail.get(4..).unwrap_or_default(), tail.get(..4).unwrap_or_default());
    format!(
        "{:08x}-{:04x}-{:04x}-{sequence}-{node}",
        u32::from_le_bytes([a, b, c, d]),
        u16::from_le_bytes([e, f]),
        u16::from_le_bytes([g, h])
    )
}

/// The bytes of a GUID that is spelled as [`guid`] does.
pub(crate) fn parse_guid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.split('-').collect();
    if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = u128::from_str_radix(&digits, 16).ok()?.to_be_bytes();
    let [a, b, c, d, e, f, g, h, ..] = &mut bytes;
    std::mem::swap(a, d);
    std::mem::swap(b, c);
    std::mem::swap(e, f);
    std::mem::swap(g, h);
    Some(bytes)
}
