//! What the systems on disks say about themselves, read without starting or mounting them.
//!
//! An [`Examination`] is shown every file system of a save, a disk or an image, and every other fact; it keeps the
//! systems that it met and the evidence for each detector of the checklist. What it says is as certain as the files are:
//! a hive or a journal that waits to be replayed may hide the last change.

mod atoms;
pub mod configuration;
pub mod hive;
mod linux;
mod windows;

use std::collections::BTreeMap;

use filesystem::Files;
use serde::{Deserialize, Serialize};

pub use configuration::{Configuration, Resource};
pub use linux::referrers;

use crate::checklist::{Detected, detectors};

/// A system on a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// Where it lies, as `sda:p2`, or `sda:p3 (vg/root)`.
    pub place: String,
    /// Which family.
    pub kind: SystemKind,
    /// Its name and version, as it calls itself.
    pub name: Option<String>,
    /// Windows: the number of its version, as `6.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The name of the machine.
    pub host: Option<String>,
    /// What names the installation: machine-id, or the GUID of Windows.
    pub id: Option<String>,
    /// Lines of files that name disks, partitions or file systems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    /// Windows: letters and volume GUIDs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub letters: Vec<Letter>,
    /// Windows: signatures of the disks that its cluster driver keeps others from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_signatures: Vec<String>,
    /// Windows: what its boot loader looks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boot_devices: Vec<BootDevice>,
    /// What it is configured to be part of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<Configuration>,
    /// Its registry has changes that wait in a log file: values may be those before the last change.
    #[serde(default)]
    pub is_lagging: bool,
}

/// Families of systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SystemKind {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
    /// A partition that is there to boot one.
    Boot,
    /// A file system with nothing but the data or the configuration of a cluster.
    Data,
}

/// A line that names something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The file.
    pub file: String,
    /// The line, counted from 1; 0 for all of a file that can't be looked into.
    pub line: u64,
    /// The line itself, without spaces around it.
    pub text: String,
    /// What is named.
    pub kind: ReferenceKind,
    /// By which word.
    pub value: String,
}

/// By what something is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReferenceKind {
    /// UUID or serial number of a file system.
    FileSystemUuid,
    /// GUID of a partition, or MBR signature and number.
    PartitionUuid,
    /// Label of a file system.
    Label,
    /// Name of a partition.
    PartitionLabel,
    /// As `/dev/sda1`: changes with the order of disks.
    DeviceName,
    /// A name of the device mapper.
    Mapper,
    /// Serial number, WWN, path or address of the hardware: changes with it.
    Hardware,
    /// An initramfs, which holds copies of other files.
    Initramfs,
}

/// A letter or a volume GUID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// `C:`, or `Volume{…}`.
    pub name: String,
    /// What it stands for.
    pub volume: Volume,
}

/// How Windows knows a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Volume {
    /// By signature and place.
    Mbr {
        /// Disk signature, 8 digits.
        signature: String,
        /// First byte of the partition.
        offset: u64,
    },
    /// By the GUID of a partition, or of a dynamic volume.
    Guid {
        /// The GUID.
        guid: String,
    },
    /// By the path of a device.
    Device {
        /// The path.
        path: String,
    },
}

/// A partition that a boot loader looks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootDevice {
    /// The file that says so.
    pub file: String,
    /// The object of the boot store.
    pub object: String,
    /// Its element.
    pub element: String,
    /// The partition.
    pub volume: Volume,
}

impl System {
    pub(crate) fn new(place: &str, kind: SystemKind) -> Self {
        Self {
            place: place.to_owned(),
            kind,
            name: None,
            version: None,
            host: None,
            id: None,
            references: Vec::new(),
            letters: Vec::new(),
            cluster_signatures: Vec::new(),
            boot_devices: Vec::new(),
            clusters: Vec::new(),
            is_lagging: false,
        }
    }
}

/// Evidence, collected from one file system after the other.
#[derive(Default)]
pub struct Examination {
    evidence: BTreeMap<String, Vec<String>>,
    systems: Vec<System>,
}

/// What an examination found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The systems, in the order in which they were met.
    pub systems: Vec<System>,
    /// The detectors that have evidence.
    pub detected: Vec<Detected>,
}

/// A detector is told of so many places at most.
const EVIDENCE_LIMIT: usize = 20;

impl Examination {
    /// Looks at the files of a file system at `place`.
    pub fn add_files(&mut self, place: &str, files: &dyn Files) {
        let clusters = configuration::find(files);
        let whole = linux::system(place, files).or_else(|| windows::system(place, files));
        let mut system = whole.unwrap_or_else(|| System::new(place, SystemKind::Boot));
        if system.kind == SystemKind::Boot {
            system.references = linux::boot_references(files);
        }
        system.boot_devices = windows::boot_devices(files);
        system.clusters = clusters;
        let boots = !system.references.is_empty() || !system.boot_devices.is_empty();
        if system.kind == SystemKind::Boot && !boots {
            system.kind = SystemKind::Data;
        }
        for (atom, evidence) in atoms::evaluate(files, &system) {
            self.add_fact(&atom, &format!("{place}: {evidence}"));
        }
        // Copies of a mirrored volume are one system.
        let is_copy =
            self.systems.iter().any(|known| System { place: known.place.clone(), ..system.clone() } == *known);
        if !is_copy && (system.kind != SystemKind::Data || !system.clusters.is_empty()) {
            self.systems.push(system);
        }
    }

    /// Takes note of evidence for an atom, as `disk:gfs2` or `gpt-type:…`, that no file tells.
    pub fn add_fact(&mut self, atom: &str, evidence: &str) {
        let known = self.evidence.entry(atom.to_lowercase()).or_default();
        if known.len() < EVIDENCE_LIMIT && !known.iter().any(|known| known == evidence) {
            known.push(evidence.to_owned());
        }
    }

    /// What was found.
    pub fn finish(self) -> Found {
        Found { systems: self.systems, detected: detectors::evaluate(&self.evidence) }
    }
}

#[cfg(test)]
pub(crate) mod sample {
    //! Files in memory.

    use std::collections::BTreeMap;

    use block::{MemoryDisk, ReadAt};
    use filesystem::Files;

    #[derive(Default)]
    pub struct Tree(BTreeMap<String, Vec<u8>>);

    impl Tree {
        pub fn add(&mut self, path: &str, bytes: impl AsRef<[u8]>) {
            self.0.insert(path.to_lowercase(), bytes.as_ref().to_vec());
        }
    }

    impl Files for Tree {
        fn read(&self, path: &str, limit: u64) -> Option<Vec<u8>> {
            self.0.get(&path.to_lowercase()).filter(|bytes| bytes.len() as u64 <= limit).cloned()
        }
        fn list(&self, directory: &str) -> Vec<String> {
            let prefix = format!("{}/", directory.trim_end_matches('/').to_lowercase());
            let mut names: Vec<_> = self
                .0
                .keys()
                .filter_map(|path| Some(path.strip_prefix(&prefix)?.split('/').next()?.to_owned()))
                .collect();
            names.dedup();
            names
        }
        fn open<'s>(&'s self, path: &str) -> Option<Box<dyn ReadAt + 's>> {
            Some(Box::new(MemoryDisk::from_bytes(self.0.get(&path.to_lowercase())?)))
        }
        fn exists(&self, path: &str) -> bool {
            let path = path.to_lowercase();
            self.0.contains_key(&path) || self.0.keys().any(|known| known.starts_with(&format!("{path}/")))
        }
    }
}
