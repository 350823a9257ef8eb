//! The metadata of DRBD: behind the data on the same device (internal), or alone at the start of another.
//!
//! DRBD hands its device on as it is, up to where its metadata begins. The metadata is always saved; what is before it
//! is surveyed as if DRBD was not there.
//!
//! The structure itself, with its sources, is [`Superblock`]; `cluster` marks halves of mirrors in it.

mod superblock;

use block::{ReadAt, read_vec};
use zerocopy::FromBytes;

use crate::{Error, Layer};
pub use superblock::{Peer, SUPERBLOCK_BYTES, Superblock, Version, flags};

/// The reason for saving data whole that is between two states.
pub const INCONSISTENT: &str = "DRBD says that its data is not consistent";

/// Names of the flags that tell an operator something.
const NAMES: [(u32, &str); 6] = [
    (flags::CONSISTENT, "consistent"),
    (flags::PRIMARY, "primary"),
    (flags::FULL_SYNC, "full-sync"),
    (flags::WAS_UP_TO_DATE, "was-up-to-date"),
    (flags::PEER_OUTDATED, "peer-outdated"),
    (flags::CRASHED_PRIMARY, "crashed-primary"),
];

/// What the metadata of DRBD says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Which DRBD wrote it.
    pub version: Version,
    /// Bytes of the device that peers have agreed on.
    pub size: u64,
    /// The state of the data, as 16 digits.
    pub current_uuid: String,
    /// The device, as 16 digits.
    pub device_uuid: String,
    /// Flags by name.
    pub flags: Vec<&'static str>,
    /// Every block is as it was on the peer at one moment.
    pub is_consistent: bool,
    /// The activity log waits.
    pub is_unclean: bool,
    /// Where the metadata begins; the data is before it.
    pub start: u64,
}

impl Metadata {
    /// What operators are told.
    pub fn layer(&self) -> Layer {
        let flags = if self.flags.is_empty() { "none".to_owned() } else { self.flags.join(" ") };
        let unclean = if self.is_unclean { ", activity log not applied" } else { "" };
        let (version, size, uuid) = (self.version.as_str(), self.size, &self.current_uuid);
        Layer {
            kind: "drbd".to_owned(),
            device_uuid: Some(self.device_uuid.clone()),
            detail: format!("metadata {version}, {size} bytes, current UUID {uuid}, flags {flags}{unclean}"),
            ..Layer::default()
        }
    }
}

/// The metadata at the end of `device`; `None` where there is none.
pub fn find_internal(device: &dyn ReadAt) -> Result<Option<Metadata>, Error> {
    let Some(position) = device.size().checked_sub(SUPERBLOCK_BYTES).map(|last| last & !0xFFF) else { return Ok(None) };
    if position == 0 {
        return Ok(None);
    }
    at(device, position)
}

/// The metadata that fills a device of its own; `None` where there is none.
pub fn find_external(device: &dyn ReadAt) -> Result<Option<Metadata>, Error> {
    if device.size() < SUPERBLOCK_BYTES { Ok(None) } else { at(device, 0) }
}

fn at(device: &dyn ReadAt, position: u64) -> Result<Option<Metadata>, Error> {
    let bytes = read_vec(device, position, size_of::<Superblock>())?;
    let Ok(raw) = Superblock::ref_from_bytes(&bytes) else { return Ok(None) };
    let Some(version) = raw.version() else { return Ok(None) };
    let first = i64::from(raw.al_offset.get().min(raw.bm_offset.get())).saturating_mul(512);
    let Some(start) = position.checked_add_signed(first.min(0)).filter(|_| raw.metadata_bytes() >= SUPERBLOCK_BYTES)
    else {
        let actual = format!("offsets {} and {}", raw.al_offset, raw.bm_offset);
        return Err(Error::corrupt(position, "DRBD metadata inside its device", actual));
    };
    let set = raw.flags.get();
    Ok(Some(Metadata {
        version,
        size: raw.data_bytes(),
        current_uuid: format!("{:016x}", raw.current_uuid),
        device_uuid: format!("{:016x}", raw.device_uuid(version)),
        flags: NAMES.iter().filter(|(flag, _)| set & flag != 0).map(|(_, name)| *name).collect(),
        is_consistent: set & flags::CONSISTENT != 0,
        is_unclean: raw.is_unclean(),
        start,
    }))
}
