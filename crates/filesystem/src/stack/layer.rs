//! What is known of the storage software between a region and what it holds.

use serde::{Deserialize, Serialize};

use crate::{FileSystem, Reason};

/// One layer of storage software on a region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// `md`, `lvm2`, `drbd`.
    pub kind: String,
    /// Name of the array or the volume group; where a layer is inside a logical volume, the name of that.
    pub name: Option<String>,
    /// The array, the volume group.
    pub uuid: Option<String>,
    /// This member of it.
    pub device_uuid: Option<String>,
    /// What else its metadata says: level, role, versions, counters, flags.
    pub detail: String,
    /// What it holds, as far as it lies on this region.
    pub volumes: Vec<Volume>,
}

/// A device that a layer makes of its members: an array, a logical volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: Option<String>,
    /// Its identity.
    pub uuid: Option<String>,
    /// How it is kept: `linear`, `striped`, `mirror`, `thin-pool`, `raid1`, …
    pub kind: String,
    /// Bytes.
    pub size: u64,
    /// The file system in it, where one was recognised.
    pub file_system: Option<FileSystem>,
    /// Why all of it is saved; `None` where its used bytes are.
    pub whole: Option<Reason>,
}
