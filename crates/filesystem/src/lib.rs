//! Which bytes of a region are in use.
//!
//! [`survey`] looks at a region and answers with what lies there and which of its bytes must be
//! saved. The rule of the whole crate: **not knowing is not failing**. A file system that is
//! unknown, dirty, damaged or newer than this program is saved whole, and the reason is kept.
//! An answer may name a free byte as used, never a used byte as free.
//!
//! One file system is one module and one row of [`ROWS`]. This crate opens no file, starts no
//! thread and only reads.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions))]

mod bits;
mod btrfs;
mod crc32c;
pub mod drbd;
mod error;
mod exfat;
mod ext;
mod f2fs;
mod fat;
mod files;
mod foreign;
mod hfsplus;
mod identity;
mod jfs;
mod lvm;
mod md;
mod new_identity;
mod ntfs;
mod reiserfs;
mod sharing;
mod stack;
mod structure;
mod swap;
mod ufs;
mod used;
mod vmfs;
mod xfs;

use block::{DiskExtent, Extents, InRegion, ReadAt, RegionExtent};
use serde::{Deserialize, Serialize};

pub use files::{FileKind, FileTree, FileView, Files, open_files};
pub use new_identity::{NewIdentity, Patch, new_identity};
pub use sharing::{SharedStorage, cluster_directories, has_no_signature, shared_storage};
pub use stack::{InnerDevice, Layer, Stacks, Volume, visit_devices};

pub(crate) use error::Error;
pub(crate) use used::UsedBytes;

/// What was found in a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The file system, where one was recognised.
    pub file_system: Option<FileSystem>,
    /// Which bytes must be saved.
    pub coverage: Coverage,
    /// What an operator should know about the state of the file system.
    pub notes: Vec<Note>,
    /// Storage software on the region, from the outside in.
    pub layers: Vec<Layer>,
}

/// Which bytes of a region must be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// These bytes are in use; all others are free by the file system's own word.
    Used(Extents<InRegion>),
    /// Every byte, for this reason.
    Whole(Reason),
}

/// A file system by name and identity, as `blkid` prints them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystem {
    /// `ext2`, `ext3`, `ext4`, `xfs`, `ntfs`, `vfat`, `swap`, …
    pub kind: String,
    /// UUID or serial number in the spelling of `blkid`; `None` where the file system has none.
    pub uuid: Option<String>,
    /// Volume label; `None` where it is empty.
    pub label: Option<String>,
    /// The unit of allocation in bytes; 0 where there is none, or it was not looked for.
    pub block_size: u32,
    /// Bytes from the start of the region that the file system manages; of what is only recognised, all of it.
    pub size: u64,
}

/// Why a whole region is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The kind of reason, the same in every language.
    pub code: ReasonCode,
    /// What exactly was seen, for the log and the manifest.
    pub detail: String,
}

/// The kinds of reasons for saving a whole region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonCode {
    /// Nothing known was recognised.
    Unrecognised,
    /// No partition: a gap, where boot code or somebody's metadata may lie.
    OutsidePartitions,
    /// More than one file system was recognised.
    Ambiguous,
    /// Its maps may lag behind its contents (journal to replay, dirty flag).
    NotClean,
    /// A suspended system will go on with what it has in memory.
    Hibernated,
    /// Recognised, but with a feature or version whose maps are not understood.
    Unsupported,
    /// Recognised, but its metadata contradicts itself.
    Damaged,
    /// Its metadata could not be read.
    Unreadable,
    /// Recognised, and saved whole on purpose (encrypted, cluster partition, member of an array).
    Opaque,
}

/// Something an operator should know, that does not change what is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The kind of note, the same in every language.
    pub code: NoteCode,
    /// What exactly was seen.
    pub detail: String,
}

/// The kinds of notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteCode {
    /// The file system was not unmounted cleanly; its maps could be completed without writing to it.
    NotClean,
    /// The file system lists blocks that can't be used.
    BadBlocks,
    /// The file system records errors; it should be checked after a restore.
    Errors,
    /// Part of the file system lies on another device that belongs into the same image.
    OtherDevice,
}

/// One file system that this program knows.
struct Row {
    /// Its identity, where the region holds it; `None` where it does not.
    recognise: fn(&dyn ReadAt) -> Result<Option<FileSystem>, Error>,
    /// Its used bytes inside `0..FileSystem::size`. Only called after `recognise` found it.
    coverage: fn(&dyn ReadAt, &mut Vec<Note>) -> Result<UsedBytes, Error>,
}

/// Every file system that this program knows.
const ROWS: &[Row] = &[
    Row { recognise: ext::recognise, coverage: ext::coverage },
    Row { recognise: swap::recognise, coverage: swap::coverage },
    Row { recognise: ntfs::recognise, coverage: ntfs::coverage },
    Row { recognise: fat::recognise, coverage: fat::coverage },
    Row { recognise: xfs::recognise, coverage: xfs::coverage },
    Row { recognise: hfsplus::recognise, coverage: hfsplus::coverage },
    Row { recognise: jfs::recognise, coverage: jfs::coverage },
    Row { recognise: reiserfs::recognise, coverage: reiserfs::coverage },
    Row { recognise: btrfs::recognise, coverage: btrfs::coverage },
    Row { recognise: exfat::recognise, coverage: exfat::coverage },
    Row { recognise: f2fs::recognise, coverage: f2fs::coverage },
    Row { recognise: ufs::recognise, coverage: ufs::coverage },
    Row { recognise: vmfs::recognise, coverage: vmfs::coverage },
];

/// Looks at a region and says which of its bytes must be saved. Never fails: what can't be
/// understood is saved whole.
///
/// A region that belongs together with others, as the disks of a volume group, tells more beside them: [`survey_all`].
pub fn survey(region: &dyn ReadAt) -> Survey {
    Stacks::find(&[region]).survey(0)
}

/// Looks at all regions of a save and answers for each in its order.
pub fn survey_all(regions: &[&dyn ReadAt]) -> Vec<Survey> {
    let mut stacks = Stacks::find(regions);
    (0..regions.len()).map(|number| stacks.survey(number)).collect()
}

/// Looks at what lies directly in a region, or in a volume of the storage software on it.
fn survey_alone(region: &dyn ReadAt) -> Survey {
    with_drbd(region, survey_file_system(region))
}

fn survey_file_system(region: &dyn ReadAt) -> Survey {
    let mut found: Vec<(&Row, FileSystem)> = Vec::new();
    for row in ROWS {
        match (row.recognise)(region) {
            Ok(Some(file_system)) => found.push((row, file_system)),
            Ok(None) => {}
            Err(error) => return Survey::whole(None, error.into()),
        }
    }
    let foreign = match foreign::signatures(region, !found.is_empty()) {
        Ok(foreign) => foreign,
        Err(error) => return Survey::whole(None, error.into()),
    };
    match (found.as_slice(), foreign.as_slice()) {
        ([], []) => Survey::whole(None, Reason::new(ReasonCode::Unrecognised, "no known file system")),
        ([], [one]) => survey_foreign(one),
        ([(row, file_system)], []) => survey_row(region, row, file_system),
        (several, foreign) => {
            let known = several.iter().map(|(_, file_system)| file_system.kind.as_str());
            let mut names: Vec<_> = known.chain(foreign.iter().map(|foreign| foreign.name)).collect();
            names.dedup();
            Survey::whole(None, Reason::new(ReasonCode::Ambiguous, &format!("signatures of {}", names.join(" and "))))
        }
    }
}

fn survey_foreign(foreign: &foreign::Foreign) -> Survey {
    match &foreign.file_system {
        Some(file_system) => Survey::whole(Some(file_system), Reason::new(ReasonCode::Opaque, &foreign.reason())),
        None => {
            let detail = format!("signature of {}", foreign.name);
            Survey::whole(None, Reason::new(ReasonCode::Unrecognised, &detail))
        }
    }
}

/// Metadata of DRBD at the end of a region is kept, whatever the file system before it says; where DRBD itself says
/// that the data is of no single moment, so is the rest.
fn with_drbd(region: &dyn ReadAt, mut survey: Survey) -> Survey {
    let found = match drbd::find_internal(region) {
        Ok(Some(found)) => found,
        Ok(None) => return with_external_drbd(region, survey),
        Err(error) => {
            survey.coverage = Coverage::Whole(error.into());
            return survey;
        }
    };
    if let Coverage::Used(used) = &mut survey.coverage {
        used.insert(RegionExtent::between(found.start, region.size()));
    }
    if !found.is_consistent {
        let reason = Reason::new(ReasonCode::NotClean, drbd::INCONSISTENT);
        survey.coverage = Coverage::Whole(reason);
    }
    survey.layers.insert(0, found.layer());
    survey
}

/// Metadata of DRBD on a device of its own is nothing but that.
fn with_external_drbd(region: &dyn ReadAt, mut survey: Survey) -> Survey {
    if survey.file_system.is_none() {
        match drbd::find_external(region) {
            Ok(None) => {}
            Ok(Some(found)) => {
                survey.coverage =
                    Coverage::Whole(Reason::new(ReasonCode::Opaque, "metadata of DRBD for another device"));
                survey.layers.push(found.layer());
            }
            Err(error) => survey.coverage = Coverage::Whole(error.into()),
        }
    }
    survey
}

/// The names of all that left a signature in a region: file systems and others.
fn signatures(region: &dyn ReadAt) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for row in ROWS {
        found.extend((row.recognise)(region)?.map(|file_system| file_system.kind));
    }
    let foreign = foreign::signatures(region, !found.is_empty())?;
    found.extend(foreign.into_iter().map(|foreign| foreign.name.to_owned()));
    Ok(found)
}

/// Which file system a region holds, without a look at what of it is used: quick, also where it is large. `None`
/// where it holds none that is known, or more than one.
pub fn identify(region: &dyn ReadAt) -> Option<FileSystem> {
    let mut found = ROWS.iter().filter_map(|row| (row.recognise)(region).ok().flatten());
    found.next().filter(|_| found.next().is_none())
}

/// The answer for gaps between partitions: boot code and metadata of others lie there, not file systems.
pub fn outside_partitions() -> Survey {
    Survey::whole(None, Reason::new(ReasonCode::OutsidePartitions, "no partition"))
}

/// The answer for a partition of `disk`, where the disk as a whole belongs to a firmware RAID or to a group of dynamic
/// disks: nobody can tell what of it is used. `None` where it does not.
pub fn survey_of_raid_disk(disk: &dyn ReadAt) -> Option<Survey> {
    let group = match foreign::firmware_raid(disk) {
        Ok(Some(name)) => Ok(Some(name.to_owned())),
        Ok(None) => foreign::dynamic_disk(disk),
        Err(error) => Err(error),
    };
    match group {
        Ok(None) => None,
        Ok(Some(name)) => {
            Some(Survey::whole(None, Reason::new(ReasonCode::Opaque, &format!("the disk is part of {name}"))))
        }
        Err(error) => Some(Survey::whole(None, error.into())),
    }
}

/// The answer for a partition whose type in the table (as the layout spells it) says that it holds a piece of something
/// that spans disks: whatever it looks like, it is no file system of its own. `None` for all other types.
pub fn survey_of_partition_type(type_id: &str) -> Option<Survey> {
    let name = foreign::name_of_partition_type(type_id)?;
    let detail = format!("the partition type says that it is {name}");
    Some(Survey::whole(None, Reason::new(ReasonCode::Opaque, &detail)))
}

/// The answer for a partition of `disk`, where the disk as a whole is a member of an array of md: the table with these
/// partitions is then that of the array. `None` where it is not.
pub fn survey_of_array_disk(disk: &dyn ReadAt, partitions: &[DiskExtent]) -> Option<Survey> {
    match stack::array_disk(disk, partitions) {
        Ok(None) => None,
        Ok(Some(reason)) => Some(Survey::whole(None, reason)),
        Err(error) => Some(Survey::whole(None, error.into())),
    }
}

fn survey_row(region: &dyn ReadAt, row: &Row, file_system: &FileSystem) -> Survey {
    if file_system.size > region.size() {
        let detail = format!("the file system has {} bytes, the region {}", file_system.size, region.size());
        return Survey::whole(Some(file_system), Reason::new(ReasonCode::Damaged, &detail));
    }
    let mut notes = Vec::new();
    match (row.coverage)(region, &mut notes) {
        Ok(used) => {
            let mut used = used.into_extents();
            // Bytes after the end of the file system belong to somebody else (DRBD, md, a backup
            // boot sector): nobody here knows which of them are free.
            used.insert(RegionExtent::between(file_system.size, region.size()));
            Survey { file_system: Some(file_system.clone()), coverage: Coverage::Used(used), notes, layers: Vec::new() }
        }
        Err(error) => {
            let mut survey = Survey::whole(Some(file_system), error.into());
            survey.notes = notes;
            survey
        }
    }
}

impl Survey {
    fn whole(file_system: Option<&FileSystem>, reason: Reason) -> Self {
        Self {
            file_system: file_system.cloned(),
            coverage: Coverage::Whole(reason),
            notes: Vec::new(),
            layers: Vec::new(),
        }
    }
}

impl Coverage {
    /// The bytes to save of a region of `size` bytes.
    pub fn extents(&self, size: u64) -> Extents<InRegion> {
        match self {
            Self::Used(extents) => extents.clone(),
            Self::Whole(_) => RegionExtent::between(0, size).into(),
        }
    }
}

impl Reason {
    fn new(code: ReasonCode, detail: &str) -> Self {
        Self { code, detail: detail.to_owned() }
    }
}
