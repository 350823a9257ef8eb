//! How a session can end other than well.

use std::io;

use block::DiskExtent;

/// The result of planning or running a session.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator stopped it.
    #[error("cancelled")]
    Cancelled,
    /// Going on could harm something; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A request that can't be carried out as it is.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The repository did not deliver, did not take, or is damaged.
    #[error(transparent)]
    Repository(image::Error),
    /// Chunks that the image needs are missing or damaged.
    #[error(
        "{image}: {region}: {count} chunks can't be read from the repository, the first is number {first_chunk}: {reason}"
    )]
    ChunksDamaged {
        /// Name of the image.
        image: String,
        /// Disk and region, as `sda:p1`.
        region: String,
        /// How many chunks, as far as was looked.
        count: u64,
        /// The first of them.
        first_chunk: u64,
        /// What is wrong with the first.
        reason: String,
    },
    /// A source can't be read any more at all.
    #[error("reading {disk} at {offset}")]
    Source {
        /// Disk, by its name in the image.
        disk: String,
        /// Byte offset on the disk.
        offset: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A destination did not take what was written, or can't be read.
    #[error("{operation} {disk} at {offset}")]
    Destination {
        /// Disk, by its name in the image.
        disk: String,
        /// What was being done.
        operation: &'static str,
        /// Byte offset on the disk.
        offset: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A destination returned other bytes than were written.
    #[error("{disk} returned other bytes than were written to {extent}")]
    ReadBack {
        /// Disk, by its name in the image.
        disk: String,
        /// Which bytes.
        extent: DiskExtent,
    },
    /// The machine is out of something.
    #[error("{0}")]
    System(#[source] io::Error),
}

/// Why something was not done, to keep data safe.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Images are never overwritten.
    #[error("the image {0} exists already")]
    ImageExists(String),
    /// Another session works on it.
    #[error("another session is saving the image {0} now")]
    ImageBusy(String),
    /// The image's layout can't go onto the destination.
    #[error("{disk}: {reason}")]
    Placement {
        /// Disk, by its name in the image.
        disk: String,
        /// Why.
        #[source]
        reason: layout::PlaceError,
    },
    /// The end of the image's disk would be cut off, and it holds data.
    #[error("{disk}: the destination ends before {region}, which holds data")]
    DataCutOff {
        /// Disk, by its name in the image.
        disk: String,
        /// The region.
        region: String,
    },
    /// A region goes into a smaller one.
    #[error("{region} has {needed} bytes, its destination {available}")]
    RegionTooSmall {
        /// The region of the image.
        region: String,
        /// Its bytes.
        needed: u64,
        /// Bytes of the destination.
        available: u64,
    },
    /// Half of a mirror, and nobody said whether its peer lived on.
    #[error("{regions}: half of a mirror, and it is not said whether another node has newer data")]
    ScopeMissing {
        /// The regions with the metadata, as `sda:p1`.
        regions: String,
    },
    /// All nodes are to be restored from an image that belongs to no set.
    #[error("the image {image} belongs to no set")]
    NotInSet {
        /// The image.
        image: String,
    },
    /// No image of the set holds the other half.
    #[error("{region}: no image of the set {set} holds the other half of the mirror")]
    SetIncomplete {
        /// The region with the metadata, as `sda:p1`.
        region: String,
        /// The set.
        set: String,
    },
    /// The images of the set were not saved while the cluster was stopped.
    #[error("{region}: {other}, of the same set {set}, has another generation of the data")]
    SetDiffers {
        /// The region with the metadata, as `sda:p1`.
        region: String,
        /// The set.
        set: String,
        /// Image, disk and region of the other half.
        other: String,
        /// Whether the other half is the older one.
        own_is_newer: bool,
    },
    /// The mirror looks for its metadata at the end of the region, which would be elsewhere.
    #[error("{region}: metadata of a mirror lie at its end, and the destination ends elsewhere")]
    MirrorEndMoves {
        /// The region, as `sda:p1`.
        region: String,
    },
    /// A disk that is not divided as the one whose names it is to get.
    #[error("{disk}: {detail}")]
    OtherLayout {
        /// The destination, as the operator calls it.
        disk: String,
        /// What differs.
        detail: String,
    },
    /// A disk that other machines use, or may use.
    #[error("{} is {}: {}", .0.disk, .0.class.code(), .0.proof())]
    Shared(Box<crate::guard::ClosedGate>),
    /// What may be data of a mirror, without its metadata.
    #[error("{region} may hold data of a mirror whose metadata, in {metadata}, would not be restored with it")]
    MirrorMetadataLeft {
        /// The region of the data, as `sda:p1`.
        region: String,
        /// The region of the metadata.
        metadata: String,
    },
    /// What may be data of a mirror, where the destination has metadata that stay.
    #[error("{region} may hold data of a mirror whose metadata, in {metadata}, are on the destination and stay")]
    MirrorMetadataThere {
        /// The region of the data, as `sda:p1`.
        region: String,
        /// Where the metadata lie, as `/dev/sdb:p2`.
        metadata: String,
    },
    /// Two superblocks of mirrors that share bytes.
    #[error("{region}: superblocks of two mirrors, at {first} and {second}, overlap")]
    MirrorsOverlap {
        /// The region, as `sda:p1`.
        region: String,
        /// First byte of one of them in the region.
        first: u64,
        /// First byte of the other.
        second: u64,
    },
}

/// What is wrong with a request.

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No such image.
    #[error("there is no image {0}")]
    NoImage(String),
    /// The place holds no repository.
    #[error("there is no repository in {0}")]
    NoRepository(String),
    /// No such disk in the image.
    #[error("the image has no disk {name}; it has {known}")]
    NoDisk {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// No such region.
    #[error("there is no region {name}; there are {known}")]
    NoRegion {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A region name that several disks have.
    #[error("{0} is a region of several disks: name it DISK:{0}")]
    AmbiguousRegion(String),
    /// A region that the image does not hold.
    #[error("{0} was left out when the image was saved")]
    RegionNotSaved(String),
    /// Nothing to do.
    #[error("no disk was named")]
    NoDisks,
    /// A disk that was named twice.
    #[error("{0} was named twice")]
    SameDiskTwice(String),
    /// Two regions of the image that would go into one place.
    #[error("{0} would take several regions of the image")]
    SameRegionTwice(String),
    /// A name that can't be that of a disk in an image.
    #[error("{0:?} can't be the name of a disk: use letters, digits, _ and -")]
    DiskName(String),
    /// New names for disks whose tables are not written.
    #[error("signatures and GUIDs are in the partition table, which is not written where regions are restored alone")]
    NewIdsWithoutTable,
    /// Disks that are not those, or not of the size, that a plan was made of.
    #[error("the plan was made of other disks")]
    OtherDisks,
}

impl Error {
    /// Whether the repository's bytes are at fault.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Repository(error) => error.is_damage(),
            Self::ChunksDamaged { .. } => true,
            _ => false,
        }
    }
}

impl From<image::Error> for Error {
    fn from(error: image::Error) -> Self {
        match error {
            // The target waited for its server until the operator stopped the work.
            image::Error::Store(store) if store.kind == image::StoreErrorKind::Cancelled => Self::Cancelled,
            other => Self::Repository(other),
        }
    }
}

impl From<image::StoreError> for Error {
    fn from(error: image::StoreError) -> Self {
        image::Error::from(error).into()
    }
}
