//! What a disk consists of: the sectors of its tables, and regions between them.
//!
//! Every byte of a disk lies in exactly one region or in exactly one run of table sectors.

use block::{DiskExtent, SectorSize};
use serde::{Deserialize, Serialize};

/// A disk as its partition table divides it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Size of the disk in bytes.
    pub disk_size: u64,
    /// The logical sector size that the table counts in.
    pub sector_size: SectorSize,
    /// Which table divides the disk.
    pub table: TableKind,
    /// MBR disk signature as 8 lower-case hexadecimal digits, or GPT disk GUID in lower case; `None` without a table.
    pub signature: Option<String>,
    /// The raw sectors of all tables, in ascending order, never overlapping.
    pub table_sectors: Vec<TableSectors>,
    /// The regions in ascending order of their first byte, never overlapping.
    pub regions: Vec<Region>,
    /// What was odd about the tables.
    pub findings: Vec<Finding>,
}

/// Which table divides a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableKind {
    /// No table: the disk is one region.
    None,
    /// Master boot record, with extended partitions or without.
    Mbr,
    /// GUID partition table, with a protective or hybrid MBR.
    Gpt,
}

/// Consecutive sectors of a table, as they stand on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSectors {
    /// Where they lie on the disk; the length equals that of `bytes`.
    pub extent: DiskExtent,
    /// What they are.
    pub role: TableRole,
    /// Their content. Serialised as hexadecimal digits.
    #[serde(with = "hexadecimal")]
    pub bytes: Vec<u8>,
}

/// What the sectors of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableRole {
    /// LBA 0: boot code, disk signature, primary, protective or hybrid entries.
    Mbr,
    /// One link of the chain of extended boot records.
    Ebr,
    /// The GPT header at LBA 1.
    PrimaryHeader,
    /// The entries that the header at LBA 1 names.
    PrimaryEntries,
    /// The GPT header on the last sector, or where LBA 1 says that it is.
    BackupHeader,
    /// The entries that the backup header names.
    BackupEntries,
}

/// A span of a disk that is saved as one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Unique on its disk: `p1` for partition number 1, `gap1` for the first gap, `disk` for a disk without a
    /// table (a gap where a damaged table asks for saving it whole).
    pub name: String,
    /// Where it lies.
    pub extent: DiskExtent,
    /// Partition, gap or whole disk.
    pub kind: RegionKind,
    /// What its table says about it; `None` for gaps and whole disks.
    pub partition: Option<Partition>,
}

/// What sort of region it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegionKind {
    /// A primary or logical partition of an MBR, or a partition of a GPT.
    Partition,
    /// Sectors that belong to no partition and no table, or to none alone. Always saved whole: no file
    /// system in it may say that bytes are free.
    Gap,
    /// All of a disk without a table.
    WholeDisk,
}

/// What a partition table says about a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The number that Linux gives it: GPT slot + 1; MBR 1 to 4, logical partitions from 5.
    pub number: u32,
    /// MBR type as `0x07`, GPT type GUID in lower case.
    pub type_id: String,
    /// GPT unique partition GUID in lower case; for MBR the `PARTUUID` that Linux makes (`22c779e1-01`).
    pub guid: Option<String>,
    /// GPT name; `None` where it is empty. Code units that are no characters become U+FFFD.
    pub name: Option<String>,
    /// GPT attribute bits; 0 for MBR.
    pub attributes: u64,
    /// MBR active flag, or the GPT attribute "legacy BIOS bootable".
    pub bootable: bool,
}

/// Something odd about a table, with what was done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The kind, the same in every language.
    pub code: FindingCode,
    /// What exactly was seen, with numbers.
    pub detail: String,
}

/// The kinds of findings about tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingCode {
    /// The primary GPT is damaged; the backup was used.
    PrimaryGptDamaged,
    /// The backup GPT is damaged or missing; the primary was used.
    BackupGptDamaged,
    /// Primary and backup GPT are both valid and differ; the primary was used.
    GptCopiesDiffer,
    /// The backup GPT is not on the last sector: the disk was made larger.
    BackupGptNotAtEnd,
    /// The MBR of a GPT disk holds more than the protective entry.
    HybridMbr,
    /// Partitions share sectors with each other or with a table. The shared bytes are saved once and
    /// whole, as gaps; a partition is cut before the first byte that is not its alone, and has no
    /// region where that is its first.
    OverlappingPartitions,
    /// A partition passes the end of the disk. What is on the disk is saved.
    PartitionPastEnd,
    /// The chain of extended boot records is broken or loops. What was reached is used.
    BrokenExtendedChain,
    /// A protective MBR, but no valid GPT. The disk is one gap, saved whole.
    GptUnusable,
    /// LBA 0 has entries that no operating system would use. The disk is one gap, saved whole.
    MbrUnusable,
    /// A valid GPT that nothing in LBA 0 protects. Operating systems ignore it, and so does this program.
    StaleGpt,
    /// An entry that ends before it starts. It is ignored.
    ImpossibleEntry,
    /// Table sectors that the medium can't read back.
    Unreadable,
}

impl Layout {
    /// The region with this name.
    pub fn region(&self, name: &str) -> Option<&Region> {
        self.regions.iter().find(|region| region.name == name)
    }
}

pub(crate) mod hexadecimal {
    //! Raw bytes as hexadecimal digits, so that a person can read them in a manifest.

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&digits)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let digits = String::deserialize(deserializer)?;
        if digits.len() % 2 != 0 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(D::Error::custom("expected pairs of hexadecimal digits"));
        }
        (0..digits.len())
            .step_by(2)
            .map(|at| digits.get(at..at.saturating_add(2)).unwrap_or_default())
            .map(|pair| u8::from_str_radix(pair, 16).map_err(D::Error::custom))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_sectors_are_hexadecimal_digits_in_text() {
        let extent = DiskExtent::between(512, 516);
        let run = TableSectors { extent, role: TableRole::PrimaryHeader, bytes: vec![0x00, 0x0F, 0xA5, 0xFF] };
        let text = r#"{"extent":[512,4],"role":"primary-header","bytes":"000fa5ff"}"#;
        assert_eq!(serde_json::to_string(&run).unwrap(), text);
        assert_eq!(serde_json::from_str::<TableSectors>(text).unwrap(), run);
        assert_eq!(serde_json::from_str::<TableSectors>(&text.replace("a5ff", "A5FF")).unwrap(), run);
        for wrong in ["000", "0g", "+f", "é", "0 "] {
            let error = serde_json::from_str::<TableSectors>(&text.replace("000fa5ff", wrong)).unwrap_err();
            assert!(error.to_string().starts_with("expected pairs of hexadecimal digits"), "{error}");
        }
    }
}
