//! The superblock of DRBD's metadata.
//!
//! Big endian; 4096 bytes, of which the first 84 (version 8.4) or 1392 (version 9) mean something:
//!
//! | offset | size | 8.4 ("v08") | 9 ("v09") |
//! |---|---|---|---|
//! | 0 | 8 | effective size in sectors of 512 bytes | the same |
//! | 8 | 8 | current generation | the same |
//! | 16 | 8 | bitmap generation (of the peer) | members |
//! | 24 | 16 | two older generations | reserved |
//! | 40 / 48 | 8 | device identifier, at 40 | device identifier, at 48 |
//! | 56 | 4 | flags | flags |
//! | 60 | 4 | magic 8374026B, 8374026C where the activity log is to be applied | magic 8374026D |
//! | 64 | 4 | sectors of all metadata | the same |
//! | 68 | 4 | activity log, sectors from the superblock (signed) | the same |
//! | 76 | 4 | bitmap, sectors from the superblock (signed) | the same |
//! | 88 | 4 | – | slots for peers |
//! | 112 | 32 × 32 | – | peers: generation 8, tag 8, flags 4, bitmap slot 4, reserved 8 |
//! | 1136 | 32 × 8 | – | history of generations |
//!
//! Sources: drbd-utils `user/shared/drbdmeta.c` (`struct md_on_disk_08`, `struct meta_data_on_disk_9`); drbd-headers
//! `drbd_meta_data.h` and `linux/drbd.h`.

use serde::{Deserialize, Serialize};
use zerocopy::byteorder::big_endian::{I32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a superblock, and what it is aligned to.
pub const SUPERBLOCK_BYTES: u64 = 4096;

const MAGIC_08: u32 = 0x8374_026B;
const MAGIC_08_UNCLEAN: u32 = 0x8374_026C;
const MAGIC_09: u32 = 0x8374_026D;

const SECTOR: u64 = 512;

/// What the flags of a superblock say.
pub mod flags {
    /// Every block is as it was on the peer at one moment.
    pub const CONSISTENT: u32 = 1 << 0;
    /// The node was primary.
    pub const PRIMARY: u32 = 1 << 1;
    /// All of it is to be copied from the peer. In version 9 this stands in the flags of each peer.
    pub const FULL_SYNC: u32 = 1 << 3;
    /// The data were up to date.
    pub const WAS_UP_TO_DATE: u32 = 1 << 4;
    /// The data of the peer are older.
    pub const PEER_OUTDATED: u32 = 1 << 5;
    /// The node was primary, and went down.
    pub const CRASHED_PRIMARY: u32 = 1 << 6;
}

/// Which DRBD wrote the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// 8.3 and 8.4.
    #[serde(rename = "8.4")]
    V08,
    /// 9.
    #[serde(rename = "9")]
    V09,
}

impl Version {
    /// As operators know it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V08 => "8.4",
            Self::V09 => "9",
        }
    }
}

/// The fields as they stand on the disk.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Superblock {
    pub effective_size: U64,
    pub current_uuid: U64,
    /// 8.4: bitmap UUID, two of history, device UUID; 9: members, reserved, reserved, reserved.
    pub uuids: [U64; 4],
    /// 9: device UUID. 8.4: reserved.
    pub device_uuid_09: U64,
    pub flags: U32,
    pub magic: U32,
    pub md_size_sect: U32,
    pub al_offset: I32,
    pub al_nr_extents: U32,
    pub bm_offset: I32,
    pub bm_bytes_per_bit: U32,
    pub la_peer_max_bio_size: U32,
    pub bm_max_peers: U32,
    pub node_id: U32,
    pub al_stripes: U32,
    pub al_stripe_size_4k: U32,
    pub reserved: [U32; 2],
    pub peers: [Peer; 32],
    pub history: [U64; 32],
}

/// What version 9 keeps of a peer.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Peer {
    pub bitmap_uuid: U64,
    pub bitmap_dagtag: U64,
    pub flags: U32,
    pub bitmap_index: I32,
    pub reserved: [U32; 2],
}

impl Superblock {
    /// Which DRBD wrote it; `None` where it is no superblock.
    pub fn version(&self) -> Option<Version> {
        match self.magic.get() {
            MAGIC_08 | MAGIC_08_UNCLEAN => Some(Version::V08),
            MAGIC_09 => Some(Version::V09),
            _ => None,
        }
    }

    /// The activity log waits.
    pub fn is_unclean(&self) -> bool {
        self.magic.get() == MAGIC_08_UNCLEAN
    }

    /// Bytes that the peers have agreed on.
    pub fn data_bytes(&self) -> u64 {
        self.effective_size.get().saturating_mul(SECTOR)
    }

    /// Bytes of all metadata.
    pub fn metadata_bytes(&self) -> u64 {
        u64::from(self.md_size_sect.get()).saturating_mul(SECTOR)
    }

    /// What the device is called: not a UUID, but what blkid prints in its place.
    pub fn device_uuid(&self, version: Version) -> u64 {
        match version {
            Version::V08 => self.uuids[3].get(),
            Version::V09 => self.device_uuid_09.get(),
        }
    }
}
