//! The metadata of DRBD: behind the data on the same device (internal), or alone at the start of another.
//!
//! DRBD hands its device on as it is, up to where its metadata begins. The metadata is always saved; what is before it
//! is surveyed as if DRBD was not there.
//!
//! Source: LINBIT drbd-utils `user/shared/drbdmeta.c`, drbd-headers `drbd_meta_data.h`, `linux/drbd.h`.

use block::{ReadAt, read_vec};
use zerocopy::{BE, FromBytes, I32, Immutable, KnownLayout, U32, U64, Unaligned};

use crate::{Error, Layer};

const SECTOR: u64 = 512;
const SIZE: u64 = 4096;
const MAGIC_08: u32 = 0x8374_026B;
/// Version 8.4 with an activity log that was not applied.
const MAGIC_84_UNCLEAN: u32 = 0x8374_026C;
const MAGIC_09: u32 = 0x8374_026D;

/// The reason for saving data whole that is between two states.
pub const INCONSISTENT: &str = "DRBD says that its data is not consistent";

const FLAG_CONSISTENT: u32 = 1;
/// Names of the flags that tell an operator something.
const FLAGS: [(u32, &str); 6] = [
    (FLAG_CONSISTENT, "consistent"),
    (1 << 1, "primary"),
    (1 << 3, "full-sync"),
    (1 << 4, "was-up-to-date"),
    (1 << 5, "peer-outdated"),
    (1 << 6, "crashed-primary"),
];

/// The fields that both versions have at the same place.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    effective_size: U64<BE>,
    current_uuid: U64<BE>,
    uuids: [U64<BE>; 3],
    /// Version 8.4; in version 9 the device UUID is 8 bytes further.
    device_uuid: U64<BE>,
    device_uuid_9: U64<BE>,
    flags: U32<BE>,
    magic: U32<BE>,
    md_size_sect: U32<BE>,
    al_offset: I32<BE>,
    al_nr_extents: U32<BE>,
    bm_offset: I32<BE>,
}

/// What the metadata of DRBD says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// `8.4` or `9`.
    pub version: &'static str,
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
        let (version, size, uuid) = (self.version, self.size, &self.current_uuid);
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
    let Some(position) = device.size().checked_sub(SIZE).map(|last| last & !0xFFF) else { return Ok(None) };
    if position == 0 {
        return Ok(None);
    }
    at(device, position)
}

/// The metadata that fills a device of its own; `None` where there is none.
pub fn find_external(device: &dyn ReadAt) -> Result<Option<Metadata>, Error> {
    if device.size() < SIZE { Ok(None) } else { at(device, 0) }
}

fn at(device: &dyn ReadAt, position: u64) -> Result<Option<Metadata>, Error> {
    let bytes = read_vec(device, position, size_of::<Raw>())?;
    let Ok(raw) = Raw::ref_from_bytes(&bytes) else { return Ok(None) };
    let version = match raw.magic.get() {
        MAGIC_08 | MAGIC_84_UNCLEAN => "8.4",
        MAGIC_09 => "9",
        _ => return Ok(None),
    };
    let offset = |sectors: &I32<BE>| i64::from(sectors.get()).saturating_mul(512);
    let first = offset(&raw.al_offset).min(offset(&raw.bm_offset));
    let length = u64::from(raw.md_size_sect.get()).saturating_mul(SECTOR);
    let Some(start) = position.checked_add_signed(first.min(0)).filter(|_| length >= SIZE) else {
        let actual = format!("offsets {} and {}", raw.al_offset, raw.bm_offset);
        return Err(Error::corrupt(position, "DRBD metadata inside its device", actual));
    };
    let flags = raw.flags.get();
    let device_uuid = if version == "9" { raw.device_uuid_9.get() } else { raw.device_uuid.get() };
    Ok(Some(Metadata {
        version,
        size: raw.effective_size.get().saturating_mul(SECTOR),
        current_uuid: format!("{:016x}", raw.current_uuid),
        device_uuid: format!("{device_uuid:016x}"),
        flags: FLAGS.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| *name).collect(),
        is_consistent: flags & FLAG_CONSISTENT != 0,
        is_unclean: raw.magic.get() == MAGIC_84_UNCLEAN,
        start,
    }))
}
