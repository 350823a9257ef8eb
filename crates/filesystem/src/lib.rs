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

mod crc32c;
mod error;
mod ext;
mod fat;
mod foreign;
mod identity;
mod ntfs;
mod swap;
mod used;
mod xfs;

use block::{Extents, InRegion, ReadAt, RegionExtent};
use serde::{Deserialize, Serialize};

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
    /// The unit of allocation in bytes.
    pub block_size: u32,
    /// Bytes from the start of the region that the file system manages.
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
];

/// Looks at a region and says which of its bytes must be saved. Never fails: what can't be
/// understood is saved whole.
pub fn survey(region: &dyn ReadAt) -> Survey {
    let mut found: Vec<(&Row, FileSystem)> = Vec::new();
    for row in ROWS {
        match (row.recognise)(region) {
            Ok(Some(file_system)) => found.push((row, file_system)),
            Ok(None) => {}
            Err(error) => return Survey::whole(None, error.into()),
        }
    }
    let foreign = match foreign::signatures(region) {
        Ok(foreign) => foreign,
        Err(error) => return Survey::whole(None, error.into()),
    };
    match (found.as_slice(), foreign.as_slice()) {
        ([], []) => Survey::whole(None, Reason::new(ReasonCode::Unrecognised, "no known file system")),
        ([], foreign) => {
            let detail = format!("signature of {}", foreign.join(" and "));
            Survey::whole(None, Reason::new(ReasonCode::Unrecognised, &detail))
        }
        ([(row, file_system)], []) => survey_row(region, row, file_system),
        (several, foreign) => {
            let known = several.iter().map(|(_, file_system)| file_system.kind.as_str());
            let names: Vec<_> = known.chain(foreign.iter().copied()).collect();
            Survey::whole(None, Reason::new(ReasonCode::Ambiguous, &format!("signatures of {}", names.join(" and "))))
        }
    }
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

/// The answer for a partition of `disk`, where the disk as a whole belongs to a firmware RAID: nobody can tell what
/// of it is used. `None` where it does not.
pub fn survey_of_raid_disk(disk: &dyn ReadAt) -> Option<Survey> {
    match foreign::firmware_raid(disk) {
        Ok(None) => None,
        Ok(Some(name)) => {
            Some(Survey::whole(None, Reason::new(ReasonCode::Opaque, &format!("the disk is part of {name}"))))
        }
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
            Survey { file_system: Some(file_system.clone()), coverage: Coverage::Used(used), notes }
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
        Self { file_system: file_system.cloned(), coverage: Coverage::Whole(reason), notes: Vec::new() }
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
