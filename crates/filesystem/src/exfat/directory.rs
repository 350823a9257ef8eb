//! The root directory, looked at for the allocation bitmaps, the up-case table and the label.
//!
//! Source: Microsoft "exFAT file system specification", sections 6.2 (directory entries) and 7.1 to 7.3.

use block::{ReadAt, RegionExtent, read_vec};
use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U32, U64, Unaligned};

use super::boot_sector::BootSector;
use super::chain::Chain;
use crate::Error;
use crate::identity::utf16_label_text;

/// The most bytes of a directory.
const DIRECTORY_LIMIT: u64 = 256 << 20;
const ENTRY_BYTES: usize = 32;
/// Bytes of a cluster that are read at once.
const PIECE: u64 = 64 << 10;

const END_OF_DIRECTORY: u8 = 0x00;
const ALLOCATION_BITMAP: u8 = 0x81;
const UP_CASE_TABLE: u8 = 0x82;
const VOLUME_LABEL: u8 = 0x83;

/// An entry that names clusters: allocation bitmap and up-case table.
#[derive(Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    entry_type: u8,
    custom: [u8; 19],
    first_cluster: U32<LE>,
    data_length: U64<LE>,
}

/// Where a system file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SystemFile {
    /// Where its entry lies.
    pub(super) position: u64,
    /// First cluster.
    pub(super) cluster: u32,
    /// Bytes.
    pub(super) length: u64,
}

/// What the root directory says.
#[derive(Debug, Default)]
pub(super) struct RootDirectory {
    /// The allocation bitmaps: one for each table.
    pub(super) bitmaps: Vec<SystemFile>,
    /// The up-case tables: one.
    pub(super) up_case_tables: Vec<SystemFile>,
    /// The label of the volume.
    pub(super) label: Option<String>,
}

impl RootDirectory {
    /// Reads entries up to the end of the directory.
    ///
    /// # Errors
    /// `Corrupt` where the chain of its clusters does not end.
    pub(super) fn read(region: &dyn ReadAt, boot: &BootSector) -> Result<Self, Error> {
        let mut found = Self::default();
        let mut chain = Chain::new(region, boot, boot.root_cluster, DIRECTORY_LIMIT);
        while let Some(index) = chain.next()? {
            let cluster = boot.cluster_extent(index, 1);
            if !found.add_cluster(region, boot, cluster)? {
                break;
            }
        }
        Ok(found)
    }

    /// Adds the entries of a cluster. Returns whether the directory goes on.
    fn add_cluster(&mut self, region: &dyn ReadAt, boot: &BootSector, cluster: RegionExtent) -> Result<bool, Error> {
        let mut position = cluster.start();
        while position < cluster.end() {
            let length = PIECE.min(cluster.end().saturating_sub(position));
            let bytes = read_vec(region, position, usize::try_from(length).unwrap_or_default())?;
            for entry in bytes.as_chunks::<ENTRY_BYTES>().0 {
                if !self.add_entry(position, boot, entry)? {
                    return Ok(false);
                }
                position = position.saturating_add(32);
            }
        }
        Ok(true)
    }

    fn add_entry(&mut self, position: u64, boot: &BootSector, bytes: &[u8; ENTRY_BYTES]) -> Result<bool, Error> {
        let Ok(entry) = RawEntry::ref_from_bytes(bytes) else {
            return Ok(false);
        };
        let file = SystemFile { position, cluster: entry.first_cluster.get(), length: entry.data_length.get() };
        match entry.entry_type {
            END_OF_DIRECTORY => return Ok(false),
            ALLOCATION_BITMAP => self.bitmaps.push(file),
            UP_CASE_TABLE => self.up_case_tables.push(file),
            VOLUME_LABEL => {
                let length = usize::from(bytes[1]).min(15).saturating_mul(2).saturating_add(2);
                self.label = utf16_label_text(bytes.get(2..length).unwrap_or_default());
            }
            _ => {}
        }
        if self.bitmaps.len() > boot.tables.len() || self.up_case_tables.len() > 1 {
            let expected = format!("{} allocation bitmaps and an up-case table", boot.tables.len());
            let actual = format!("{} and {}", self.bitmaps.len(), self.up_case_tables.len());
            return Err(Error::corrupt(position, expected, actual));
        }
        Ok(true)
    }
}
