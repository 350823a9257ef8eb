//! The identities of disks in a file of their own, without any data: for a disk that is replaced and partitioned anew.
//!
//! The document is sealed JSON, as the manifest is: its first member is the digest of the file.

use layout::Layout;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::header::FORMAT_VERSION;
use crate::manifest::{DiskIdentity, DiskRecord, FileSystemRecord, Machine, is_plain};
use crate::sealed::{seal, unseal};

/// What the disks of a machine are known by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityFile {
    /// Version of the format.
    pub format: u32,
    /// Always `identity`: the document is no manifest.
    pub document: String,
    /// When it was written, as RFC 3339 in UTC.
    pub time: String,
    /// The machine.
    pub machine: Machine,
    /// Its disks.
    pub disks: Vec<IdentityRecord>,
}

/// What a disk is known by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityRecord {
    /// Its name: letters, digits, `_` and `-`.
    pub name: String,
    /// The hardware.
    pub identity: DiskIdentity,
    /// Size, sector size, signature, raw table sectors and regions.
    pub layout: Layout,
    /// The file systems, by the name of their region.
    pub file_systems: Vec<(String, FileSystemRecord)>,
}

const DOCUMENT: &str = "identity";

impl IdentityFile {
    /// A document about these disks.
    pub fn new(time: String, machine: Machine, disks: Vec<IdentityRecord>) -> Self {
        Self { format: FORMAT_VERSION, document: DOCUMENT.into(), time, machine, disks }
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// Where JSON can't hold the document.
    pub fn to_bytes(&self, path: &str) -> Result<Vec<u8>> {
        seal(path, self)
    }

    /// Reads the bytes of the file at `path`.
    ///
    /// # Errors
    /// `Corrupt` where a byte is wrong, `Unsupported` for a newer format.
    pub fn from_bytes(path: &str, bytes: &[u8]) -> Result<Self> {
        let version: Version = unseal(path, bytes)?;
        if version.format != FORMAT_VERSION {
            return Err(Error::unsupported(path, format!("format {}", version.format)));
        }
        if version.document.as_deref() != Some(DOCUMENT) {
            return Err(Error::corrupt(path, 0, "a document of identities", "another one"));
        }
        let file: Self = unseal(path, bytes)?;
        match file.disks.iter().find(|disk| !is_plain(&disk.name)) {
            Some(disk) => Err(Error::corrupt(path, 0, "a plain disk name", disk.name.clone())),
            None => Ok(file),
        }
    }
}

#[derive(Deserialize)]
struct Version {
    format: u32,
    document: Option<String>,
}

impl From<&DiskRecord> for IdentityRecord {
    fn from(record: &DiskRecord) -> Self {
        let file_systems =
            record.regions.iter().filter_map(|region| Some((region.name.clone(), region.file_system.clone()?)));
        Self {
            name: record.name.clone(),
            identity: record.identity.clone(),
            layout: record.layout.clone(),
            file_systems: file_systems.collect(),
        }
    }
}
