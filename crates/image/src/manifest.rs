//! The manifest of an image: JSON that a person can read, written last.

use block::{Extents, InRegion};
use layout::{BootEntries, Layout};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::header::FORMAT_VERSION;
use crate::map::MapSummary;
use crate::name::ImageName;
use crate::paths::manifest_path;
use crate::sealed::{seal, unseal};
use crate::store::{Store, read_all};

/// A manifest of many disks with thousands of partitions is a few MiB; unreadable ranges may add to it.
const SIZE_LIMIT: u64 = 256 << 20;

/// One saved machine state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format.
    pub format: u32,
    /// Name of the image, the same as that of its directory.
    pub image: ImageName,
    /// The set of images of all nodes that this one belongs to.
    pub set: Option<String>,
    /// What the operator wrote.
    pub note: Option<String>,
    /// The session that saved it: 32 hexadecimal digits.
    pub session: String,
    /// When the session began, as RFC 3339 in UTC.
    pub started: String,
    /// When it ended.
    pub finished: String,
    /// The program that wrote it.
    pub tool: Tool,
    /// The machine.
    pub machine: Machine,
    /// Its disks, in the order in which they were named.
    pub disks: Vec<DiskRecord>,
    /// What the systems on the disks say about themselves, as the program that saved them understood it. For
    /// information only. Images of earlier versions have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub systems: Vec<serde_json::Value>,
    /// What the image is part of, with the evidence. Images of earlier versions have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FindingRecord>,
    /// Sums over all disks.
    pub totals: Totals,
}

/// A program and its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `sosei`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What identifies a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Host name of the system that ran the program.
    pub host_name: Option<String>,
    /// DMI: manufacturer.
    pub vendor: Option<String>,
    /// DMI: product name.
    pub product: Option<String>,
    /// DMI: serial number.
    pub serial: Option<String>,
    /// DMI: UUID.
    pub uuid: Option<String>,
    /// `uefi` or `bios`.
    pub firmware: String,
    /// Network cards.
    pub network: Vec<NetworkCard>,
    /// Names by which storage knows the machine. Images of earlier versions have none, nor what follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<AdapterRecord>,
    /// Drivers of storage and network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drivers: Vec<String>,
    /// Boot entries of UEFI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootEntries>,
}

/// A name by which storage knows a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterRecord {
    /// `fc` or `iscsi`.
    pub kind: String,
    /// WWPN, or name of the initiator.
    pub name: String,
}

/// Something that an image is part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingRecord {
    /// The kind, as `drbd`.
    pub code: String,
    /// What was seen and where.
    pub evidence: Vec<String>,
}

/// A network card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkCard {
    /// Name that the system gave it.
    pub name: String,
    /// Hardware address.
    pub address: String,
}

/// What a disk is by itself, whatever is written on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskIdentity {
    /// Where it was found, as `/dev/sda`.
    pub path: String,
    /// Model, as the disk says it.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// World-wide name.
    pub wwn: Option<String>,
    /// `sata`, `sas`, `nvme`, `usb`, `fc`, `iscsi`, `virtio`, `loop`, `file`, …
    pub transport: Option<String>,
    /// Bytes of a physical sector, where the disk says them.
    pub physical_sector_size: Option<u32>,
}

/// A disk of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRecord {
    /// Its name in the image: letters, digits, `_` and `-`.
    pub name: String,
    /// What it is.
    pub identity: DiskIdentity,
    /// Size, sector size, signature, raw table sectors and regions.
    pub layout: Layout,
    /// What was saved of each region, in the order of the layout.
    pub regions: Vec<RegionRecord>,
}

/// What was saved of a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionRecord {
    /// Name of the region in the layout.
    pub name: String,
    /// The file system, where one was recognised.
    pub file_system: Option<FileSystemRecord>,
    /// Which bytes were saved and why.
    pub coverage: CoverageRecord,
    /// What should be known about its state.
    pub notes: Vec<NoteRecord>,
    /// Storage software on it, from the outside in. Images of earlier versions have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerRecord>,
    /// Its map; `null` where the region was left out.
    pub map: Option<MapRecord>,
    /// Bytes that could not be read, in region offsets. They are zeros in the image.
    pub unreadable: Extents<InRegion>,
}

/// A file system by name and identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystemRecord {
    /// As `blkid` names it.
    pub kind: String,
    /// UUID or serial number.
    pub uuid: Option<String>,
    /// Label.
    pub label: Option<String>,
    /// Unit of allocation in bytes.
    pub block_size: u32,
    /// Bytes that it manages.
    pub size: u64,
}

/// One layer of storage software on a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// `md`, `lvm2`, `drbd`.
    pub kind: String,
    /// Name of the array or the volume group; for a layer inside a logical volume, the name of that.
    pub name: Option<String>,
    /// The array, the volume group.
    pub uuid: Option<String>,
    /// This member of it.
    pub device_uuid: Option<String>,
    /// What else its metadata says.
    pub detail: String,
    /// What it holds, as far as it lies on this region.
    pub volumes: Vec<VolumeRecord>,
}

/// A device that a layer makes of its members: an array, a logical volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Its name.
    pub name: Option<String>,
    /// Its identity.
    pub uuid: Option<String>,
    /// How it is kept: `linear`, `striped`, `mirror`, `thin-pool`, `raid1`, …
    pub kind: String,
    /// Bytes.
    pub size: u64,
    /// The file system in it, where one was recognised.
    pub file_system: Option<FileSystemRecord>,
    /// Why all of it was saved: a code; `null` where its used bytes were.
    pub reason: Option<String>,
    /// What exactly was seen.
    pub detail: Option<String>,
}

/// Which bytes of a region were saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoverageRecord {
    /// By used bytes or whole.
    pub method: CoverageMethod,
    /// Why the region was saved whole: a code; `null` where it was not.
    pub reason: Option<String>,
    /// What exactly was seen.
    pub detail: Option<String>,
    /// Bytes that were saved.
    pub bytes: u64,
}

/// How the saved bytes were chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CoverageMethod {
    /// By the maps of the file system.
    Used,
    /// Every byte.
    Whole,
}

/// A note: a code that is the same in every language, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteRecord {
    /// The kind.
    pub code: String,
    /// What exactly was seen.
    pub detail: String,
}

/// The map of a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapRecord {
    /// Bytes of the file.
    pub size: u64,
    /// BLAKE3 of the file, as 64 hexadecimal digits. As the map names every chunk by its BLAKE3,
    /// this is also the digest of the region.
    pub digest: String,
}

/// Sums over all regions of all disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Sizes of the disks.
    pub disk_bytes: u64,
    /// Bytes that were saved.
    pub saved_bytes: u64,
    /// Bytes of chunks with nothing but zeros, which are not stored.
    pub zero_bytes: u64,
    /// Bytes of chunks that the repository held already.
    pub known_bytes: u64,
    /// Bytes of chunks that were new.
    pub new_bytes: u64,
    /// Bytes that the new chunks take in the repository.
    pub stored_bytes: u64,
    /// Bytes that could not be read.
    pub unreadable_bytes: u64,
    /// Milliseconds that the session took.
    pub milliseconds: u64,
}

impl MapRecord {
    /// The size and digest, for [`crate::MapReader::open`].
    ///
    /// # Errors
    /// `Corrupt` where the digest is not 64 hexadecimal digits.
    pub fn summary(&self, manifest_path: &str) -> Result<MapSummary> {
        match blake3::Hash::from_hex(&self.digest) {
            Ok(digest) => Ok(MapSummary { size: self.size, digest: crate::ChunkId(*digest.as_bytes()) }),
            Err(_) => Err(Error::corrupt(manifest_path, 0, "a digest of 64 hexadecimal digits", self.digest.clone())),
        }
    }
}

impl From<MapSummary> for MapRecord {
    fn from(summary: MapSummary) -> Self {
        Self { size: summary.size, digest: summary.digest.to_string() }
    }
}

impl Manifest {
    /// Reads the manifest of an image.
    ///
    /// # Errors
    /// A `NotFound` store error where the image does not exist, `Corrupt` where a byte is wrong,
    /// `Unsupported` for a newer format.
    pub fn read(store: &dyn Store, image: &ImageName) -> Result<Self> {
        let path = manifest_path(image);
        let bytes = read_all(store, &path, SIZE_LIMIT)?;
        let version: Version = unseal(&path, &bytes)?;
        if version.format != FORMAT_VERSION {
            return Err(Error::unsupported(&path, format!("format {}", version.format)));
        }
        let manifest: Self = unseal(&path, &bytes)?;
        manifest.check(&path, image).map(|()| manifest)
    }

    /// Makes the image exist.
    ///
    /// # Errors
    /// `AlreadyExists` where an image of that name exists; then nothing was changed.
    pub fn publish(&self, store: &dyn Store) -> Result<()> {
        let path = manifest_path(&self.image);
        Ok(store.publish(&path, &seal(&path, self)?)?)
    }

    /// The disk with this name in the image.
    pub fn disk(&self, name: &str) -> Option<&DiskRecord> {
        self.disks.iter().find(|disk| disk.name == name)
    }

    /// Checks what becomes part of a path, and that regions and layout belong together.
    fn check(&self, path: &str, image: &ImageName) -> Result<()> {
        let corrupt = |expected: &str, actual: &str| Err(Error::corrupt(path, 0, expected, actual));
        if self.image != *image {
            return corrupt(&format!("the manifest of {image}"), self.image.as_str());
        }
        for disk in &self.disks {
            if !is_plain(&disk.name) {
                return corrupt("a plain disk name", &disk.name);
            }
            let same = disk.regions.len() == disk.layout.regions.len()
                && disk.regions.iter().zip(&disk.layout.regions).all(|(record, region)| record.name == region.name);
            if !same {
                return corrupt("one record for each region of the layout", &disk.name);
            }
            if let Some(region) = disk.regions.iter().find(|region| !is_plain(&region.name)) {
                return corrupt("a plain region name", &region.name);
            }
            let end = disk.layout.regions.last().map_or(0, |region| region.extent.end());
            if end > disk.layout.disk_size {
                return corrupt("regions inside the disk", &disk.name);
            }
        }
        Ok(())
    }
}

impl DiskRecord {
    /// A region by its name: what the layout and what the session say about it.
    pub fn region(&self, name: &str) -> Option<(&layout::Region, &RegionRecord)> {
        self.pairs().find(|(region, _)| region.name == name)
    }

    /// Every region with what was saved of it, in the order of the layout.
    pub fn pairs(&self) -> impl Iterator<Item = (&layout::Region, &RegionRecord)> {
        self.layout.regions.iter().zip(&self.regions)
    }
}

/// The version alone, so that a newer manifest is told from a damaged one.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// Whether a disk or region may have this name: it becomes a part of a path.
pub fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}
