//! Where an image's layout goes on a destination disk.
//!
//! Partitions never move: boot loaders, Windows drive letters and mirror partners know them by their
//! offset. On a disk of the same size every table sector is restored as it was, damaged ones too. On a
//! disk of another size the backup GPT must move to the new end, and only the fields that follow from
//! that change. A plan is only data; nothing here writes.

mod clear;
mod gpt;
mod mbr;
mod new_ids;
mod tables;

use std::fmt;

use block::{DiskExtent, Extents, InDisk, SectorSize};
use serde::Serialize;

pub use new_ids::NewIds;

use crate::{Identity, Layout, Region, RegionKind, TableKind, TableRole, TableSectors, identities};

/// A disk that an image is to be restored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Size in bytes.
    pub size: u64,
    /// The logical sector size, where the device says one. A regular file takes any.
    pub sector_size: Option<SectorSize>,
}

/// What the operator asks for besides restoring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaceOptions {
    /// The partition that gets the free space behind it.
    pub grow: Option<Grow>,
    /// Other signatures and GUIDs; `None` where everything keeps its name.
    pub new_ids: Option<NewIds>,
}

/// Which partition is to grow. Only its entry in the table does; its file system is not touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grow {
    /// The one that ends last.
    Last,
    /// The one with this name, as `p3`.
    Region(String),
}

/// Where everything goes, in the order in which it must be written: clear, regions, table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// What to zero before anything else, in ascending order: every place of a table, of the image or of whatever was
    /// on the destination before. Some of it lies in regions and is overwritten by them afterwards.
    pub clear: Vec<DiskExtent>,
    /// The regions with their place on the destination, in ascending order, never overlapping. Starts are those of
    /// the image; a gap may be shorter, and is missing where nothing of it is left.
    pub regions: Vec<(String, DiskExtent)>,
    /// The parts of gaps (in disk offsets of the image) that have no place on the destination. A restore must refuse
    /// where the image holds anything but zeros there.
    pub cut: Vec<(String, DiskExtent)>,
    /// The table sectors in the order of writing: what alone makes nothing bootable first, LBA 0 last.
    pub table: Vec<TableSectors>,
    /// How these sectors differ from those of the image.
    pub changes: Vec<Change>,
    /// What the destination will be known by.
    pub identities: Vec<Identity>,
}

/// A difference between the tables of the image and those that are written, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Change {
    /// A field has another value.
    Field {
        /// In which sectors.
        role: TableRole,
        /// The field, as its specification names it.
        field: &'static str,
        /// Its value in the image.
        from: u64,
        /// Its value on the destination.
        to: u64,
    },
    /// A copy that is damaged, missing or different in the image is made anew from the other copy.
    Rebuilt {
        /// Which sectors.
        role: TableRole,
    },
    /// A partition or its container becomes larger.
    Grown {
        /// The partition, as `p3`, or `extended`.
        name: String,
        /// Its last sector in the image.
        from: u64,
        /// Its last sector on the destination.
        to: u64,
    },
    /// A disk or a partition gets another signature or GUID.
    Renamed {
        /// `disk`, `p3`, or `LBA 0` for the signature of a protective MBR.
        name: String,
        /// Its signature, GUID or `PARTUUID` in the image, spelled as in the layout.
        from: String,
        /// The new one.
        to: String,
    },
}

/// Why an image has no place on a destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// The destination is too small.
    #[error("the image needs {needed} bytes, the destination has {available}")]
    TooSmall {
        /// Bytes that the destination must have at least.
        needed: u64,
        /// Bytes that it has.
        available: u64,
    },
    /// All sector numbers would mean other places.
    #[error(
        "the image has sectors of {} bytes, the destination of {}",
        image.bytes(), destination.bytes()
    )]
    SectorSize {
        /// Sector size of the image.
        image: SectorSize,
        /// Sector size of the destination.
        destination: SectorSize,
    },
    /// There is no such partition to grow.
    #[error("the image has no partition {name} to grow")]
    NothingToGrow {
        /// What was asked for: a region's name, or `last`.
        name: String,
    },
    /// Something lies behind the partition that is to grow.
    #[error("{name} can't grow: {behind} ends behind it, at sector {sector}")]
    GrowBlocked {
        /// The partition that is to grow.
        name: String,
        /// What lies behind it.
        behind: String,
        /// Its last sector.
        sector: u64,
    },
    /// The layout contradicts itself; it was not made by `read`.
    #[error("the layout of the image contradicts itself: {detail}")]
    Inconsistent {
        /// What was seen.
        detail: String,
    },
}

/// What the end of a grown partition is a multiple of, in bytes.
const GROWN_ALIGNMENT: u64 = 1 << 20;

impl PlaceError {
    fn inconsistent(detail: impl Into<String>) -> Self {
        Self::Inconsistent { detail: detail.into() }
    }
}

/// The tables of a destination, and what else its table now holds.
#[derive(Default)]
struct Tables {
    sectors: Vec<TableSectors>,
    changes: Vec<Change>,
    /// Bytes that now belong to a partition that has grown.
    grown: Option<DiskExtent>,
}

/// Plans where the regions and tables of `image` go on `destination`.
///
/// # Errors
/// Where they have no place there. Nothing is ever moved or left out to make them fit, except free
/// space and parts of gaps, which are told in [`Placement::cut`].
pub fn place(image: &Layout, destination: &Destination, options: &PlaceOptions) -> Result<Placement, PlaceError> {
    check(image)?;
    if let Some(sector_size) = destination.sector_size.filter(|size| *size != image.sector_size) {
        return Err(PlaceError::SectorSize { image: image.sector_size, destination: sector_size });
    }
    let grow = options.grow.as_ref().map(|grow| find_growing(image, grow)).transpose()?;
    let mut tables = match image.table {
        TableKind::None => {
            require(image.disk_size, destination)?;
            Tables::default()
        }
        TableKind::Mbr => mbr::place(image, destination, grow, options.new_ids.as_ref())?,
        TableKind::Gpt => gpt::place(image, destination, grow, options.new_ids.as_ref())?,
    };
    let (regions, cut) = place_regions(image, destination, &tables)?;
    // Written in this order, a restore that is interrupted leaves no disk that boots half of it.
    tables.sectors.sort_by_key(|table| (writing_rank(table.role), table.extent.start()));
    let clear = clear::plan(image, destination, &tables.sectors);
    let identities = renamed(identities(image), &tables.changes);
    Ok(Placement { clear, regions, cut, table: tables.sectors, changes: tables.changes, identities })
}

fn renamed(mut identities: Vec<Identity>, changes: &[Change]) -> Vec<Identity> {
    for identity in &mut identities {
        let new = changes.iter().find_map(|change| match change {
            Change::Renamed { from, to, .. } if *from == identity.value => Some(to.clone()),
            _ => None,
        });
        identity.value = new.unwrap_or_else(|| std::mem::take(&mut identity.value));
    }
    identities
}

fn writing_rank(role: TableRole) -> u8 {
    match role {
        TableRole::Ebr => 0,
        TableRole::BackupEntries => 1,
        TableRole::BackupHeader => 2,
        TableRole::PrimaryEntries => 3,
        TableRole::PrimaryHeader => 4,
        TableRole::Mbr => 5,
    }
}

fn require(needed: u64, destination: &Destination) -> Result<(), PlaceError> {
    let available = destination.size;
    if needed > available { Err(PlaceError::TooSmall { needed, available }) } else { Ok(()) }
}

/// The end of the last partition.
fn partitions_end(image: &Layout) -> u64 {
    let partitions = image.regions.iter().filter(|region| region.kind == RegionKind::Partition);
    partitions.map(|region| region.extent.end()).max().unwrap_or_default()
}

/// The partition that is to grow.
fn find_growing<'a>(image: &'a Layout, grow: &Grow) -> Result<&'a Region, PlaceError> {
    let partitions = image.regions.iter().filter(|region| region.kind == RegionKind::Partition);
    let (found, name) = match grow {
        Grow::Last => (partitions.max_by_key(|region| region.extent.end()), "last"),
        Grow::Region(name) => (partitions.into_iter().find(|region| region.name == *name), name.as_str()),
    };
    found.ok_or_else(|| PlaceError::NothingToGrow { name: name.to_owned() })
}

/// The end of a grown partition, as sector numbers, where free space ends at `limit`: on a whole MiB, which every
/// physical sector, encryption layer and partitioning tool agrees with.
fn grown_end(limit: u64, sector_size: SectorSize) -> u64 {
    let bytes = sector_size.offset_of(limit).unwrap_or(u64::MAX);
    sector_size.lba_of(bytes & !(GROWN_ALIGNMENT - 1))
}

/// Regions on the destination, and what was cut of them.
type Regions = (Vec<(String, DiskExtent)>, Vec<(String, DiskExtent)>);

fn place_regions(image: &Layout, destination: &Destination, tables: &Tables) -> Result<Regions, PlaceError> {
    let mut lost: Extents<InDisk> = tables.sectors.iter().map(|table| table.extent).collect();
    if let Some(grown) = tables.grown {
        lost.insert(grown);
    }
    lost.insert(DiskExtent::between(destination.size, u64::MAX));
    let (mut placed, mut cut) = (Vec::new(), Vec::new());
    for region in &image.regions {
        let kept_end = lost.overlapping(region.extent).next().map_or(region.extent.end(), |part| part.start());
        let kept = DiskExtent::between(region.extent.start(), kept_end);
        let rest = DiskExtent::between(kept_end, region.extent.end());
        if !rest.is_empty() && region.kind != RegionKind::Gap {
            let detail = format!("{} ({}) holds sectors of the table on the destination", region.name, region.extent);
            return Err(PlaceError::inconsistent(detail));
        }
        if !kept.is_empty() {
            placed.push((region.name.clone(), kept));
        }
        if !rest.is_empty() {
            cut.push((region.name.clone(), rest));
        }
    }
    Ok((placed, cut))
}

/// A layout from a manifest may have been made by anybody: its pieces must be on the disk, and apart.
fn check(image: &Layout) -> Result<(), PlaceError> {
    let mut pieces: Vec<DiskExtent> = image.regions.iter().map(|region| region.extent).collect();
    for table in &image.table_sectors {
        if u64::try_from(table.bytes.len()).ok() != Some(table.extent.length()) {
            let detail = format!("{} bytes of table sectors for {}", table.bytes.len(), table.extent);
            return Err(PlaceError::inconsistent(detail));
        }
        pieces.push(table.extent);
    }
    pieces.sort_by_key(|piece| (piece.start(), piece.end()));
    let mut end = 0;
    for piece in pieces {
        if piece.start() < end || piece.end() > image.disk_size {
            let detail = format!("{piece} on a disk of {} bytes, after others up to {end}", image.disk_size);
            return Err(PlaceError::inconsistent(detail));
        }
        end = piece.end();
    }
    Ok(())
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field { role, field, from, to } if field.ends_with("CRC32") => {
                write!(f, "{role}: {field} {from:08x} -> {to:08x}")
            }
            Self::Field { role, field, from, to } => write!(f, "{role}: {field} {from} -> {to}"),
            Self::Rebuilt { role } => write!(f, "{role}: made anew from the valid copy"),
            Self::Grown { name, from, to } => write!(f, "{name}: last sector {from} -> {to}"),
            Self::Renamed { name, from, to } => write!(f, "{name}: {from} -> {to}"),
        }
    }
}

impl fmt::Display for TableRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mbr => "LBA 0",
            Self::Ebr => "extended boot record",
            Self::PrimaryHeader => "primary GPT header",
            Self::PrimaryEntries => "primary GPT entries",
            Self::BackupHeader => "backup GPT header",
            Self::BackupEntries => "backup GPT entries",
        })
    }
}

#[cfg(test)]
mod tests;
