//! DRBD metadata: where a mirror half keeps what it knows about itself and its peers, and how it is marked so that
//! its peer overwrites it in full.
//!
//! A restored half holds the generation identifiers of the day when it was saved. Its peer has kept those in its
//! history, takes the half for one that was only disconnected, and sends just what it wrote since that: everything
//! that was replicated between the saving and the disaster stays old, and both call themselves up to date. Only the
//! full-synchronisation flags prevent that. `drbdmeta invalidate` sets them, and so does [`Metadata::marked`], in the same bytes.
//!
//! Layout of the superblock (big endian; 4096 bytes, of which the first 112 or more mean something):
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
//! Sources: drbd-utils user/shared/drbdmeta.c and drbdmeta.h (`MD_RESERVED_SECT_07` for indexes); drbd-headers drbd_meta_data.h and linux/drbd.h.

use std::io;

use block::{ReadAt, RegionExtent};
use serde::{Deserialize, Serialize};
use zerocopy::byteorder::big_endian::{I32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a superblock, and what it is aligned to.
pub const SUPERBLOCK_BYTES: u64 = 4096;

const MAGIC_08: u32 = 0x8374_026B;
const MAGIC_08_UNCLEAN: u32 = 0x8374_026C;
const MAGIC_09: u32 = 0x8374_026D;
const SECTOR: u64 = 512;

/// A device for the metadata of several others (`meta-disk DEVICE [INDEX]`) keeps those of each in 128 MiB.
const INDEX_BYTES: u64 = 128 << 20;
/// So many indexes are looked at behind the last that is in use: each may be a chunk to be loaded.
const INDEXES_APART: u64 = 32;

const CONSISTENT: u32 = 1 << 0;
const PRIMARY_IND: u32 = 1 << 1;
const CRASHED_PRIMARY: u32 = 1 << 6;
/// In the flags of 8.4, and in those of each peer of 9.
const FULL_SYNC: u32 = 1 << 3;
const WAS_UP_TO_DATE: u32 = 1 << 4;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSuperblock {
    effective_size: U64,
    current_uuid: U64,
    /// 8.4: bitmap UUID, two of history, device UUID; 9: members, reserved, reserved, reserved.
    uuids: [U64; 4],
    /// 9: device UUID. 8.4: reserved.
    device_uuid: U64,
    flags: U32,
    magic: U32,
    md_size_sect: U32,
    al_offset: I32,
    al_nr_extents: U32,
    bm_offset: I32,
    bm_bytes_per_bit: U32,
    la_peer_max_bio_size: U32,
    bm_max_peers: U32,
    node_id: U32,
    al_stripes: U32,
    al_stripe_size_4k: U32,
    reserved: [U32; 2],
    peers: [RawPeer; 32],
    history: [U64; 32],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawPeer {
    bitmap_uuid: U64,
    bitmap_dagtag: U64,
    flags: U32,
    bitmap_index: I32,
    reserved: [U32; 2],
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

/// Where metadata lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// At the end of the device that also holds the data.
    Internal,
    /// On a device of their own, which they begin.
    External,
}

/// The metadata of one mirror half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Which DRBD wrote them.
    pub version: Version,
    /// Where they lie.
    pub kind: Kind,
    /// First byte of the superblock in the region.
    pub offset: u64,
    /// Bytes that are mirrored.
    pub data_bytes: u64,
    /// The generation of the data; its lowest bit says "primary" and is cleared here.
    pub current: u64,
    /// Generations that a peer, or this half before, may have: of the bitmaps and of history.
    pub known: Vec<u64>,
    /// The flags as they stand.
    pub flags: u32,
    superblock: Vec<u8>,
}

/// Looks for DRBD metadata in a region: at its end, then at its start. The first of [`find_all`].
///
/// # Errors
/// Where the region can't be read.
pub fn find(region: &dyn ReadAt) -> io::Result<Option<Metadata>> {
    Ok(find_all(region, 0)?.into_iter().next())
}

/// All metadata in a region: at its end, and at the places of the metadata of other devices, of which a device may
/// hold many. `before` says how many bytes of the device lie before the region: none of a partition, some of the gap
/// at the end of a disk that is mirrored as a whole, with its partition table.
///
/// # Errors
/// Where the region can't be read.
pub fn find_all(region: &dyn ReadAt, before: u64) -> io::Result<Vec<Metadata>> {
    let device_size = before.saturating_add(region.size());
    let last = device_size.checked_sub(SUPERBLOCK_BYTES).map(|last| last & !(SUPERBLOCK_BYTES - 1));
    let mut found: Vec<Metadata> = Vec::new();
    if let Some(offset) = last.and_then(|last| last.checked_sub(before)) {
        found.extend(read(region, Kind::Internal, offset, before)?);
    }
    let mut searched = if before == 0 { INDEXES_APART } else { 0 };
    let mut index = 0_u64;
    while index < searched
        && let Some(offset) = index.checked_mul(INDEX_BYTES)
    {
        index = index.saturating_add(1);
        if let Some(metadata) = read(region, Kind::External, offset, before)? {
            found.push(metadata);
            searched = index.saturating_add(INDEXES_APART);
        }
    }
    Ok(found)
}

fn read(region: &dyn ReadAt, kind: Kind, offset: u64, before: u64) -> io::Result<Option<Metadata>> {
    if offset.checked_add(SUPERBLOCK_BYTES).is_none_or(|end| end > region.size()) {
        return Ok(None);
    }
    let mut superblock = vec![0; usize::try_from(SUPERBLOCK_BYTES).unwrap_or_default()];
    region.read_at(offset, &mut superblock)?;
    Ok(parse(superblock, kind, offset, before, before.saturating_add(region.size())))
}

fn parse(superblock: Vec<u8>, kind: Kind, offset: u64, before: u64, device_size: u64) -> Option<Metadata> {
    let (raw, _) = RawSuperblock::ref_from_prefix(&superblock).ok()?;
    let version = match raw.magic.get() {
        MAGIC_08 | MAGIC_08_UNCLEAN => Version::V08,
        MAGIC_09 => Version::V09,
        _ => return None,
    };
    // The magic is four bytes; the places of log and bitmap must agree with where the superblock lies.
    let places = match kind {
        Kind::Internal => raw.al_offset.get() < 0 && raw.bm_offset.get() < raw.al_offset.get(),
        Kind::External => raw.al_offset.get() > 0 && raw.bm_offset.get() > raw.al_offset.get(),
    };
    let metadata_bytes = u64::from(raw.md_size_sect.get()).saturating_mul(SECTOR);
    let data_bytes = raw.effective_size.get().saturating_mul(SECTOR);
    let place = before.saturating_add(offset);
    if !places || metadata_bytes == 0 || metadata_bytes > device_size || (kind == Kind::Internal && data_bytes > place)
    {
        return None;
    }
    let generation = |uuid: U64| uuid.get() & !1;
    let known: Vec<U64> = match version {
        Version::V08 => raw.uuids.into_iter().take(3).collect(),
        Version::V09 => raw.peers.iter().map(|peer| peer.bitmap_uuid).chain(raw.history).collect(),
    };
    let known = known.into_iter().map(generation).filter(|generation| *generation != 0).collect();
    let (current, flags) = (generation(raw.current_uuid), raw.flags.get());
    Some(Metadata { version, kind, offset, data_bytes, current, known, flags, superblock })
}

impl Metadata {
    /// Whether the node did not give up the mirror in order: it was primary when it stopped. That the activity log is
    /// to be applied says nothing: kernels leave that mark also after an orderly shutdown.
    pub fn was_in_use(&self) -> bool {
        self.flags & (PRIMARY_IND | CRASHED_PRIMARY) != 0
    }

    /// Whether both halves hold the same generation of data.
    pub fn is_of_same_generation(&self, other: &Self) -> bool {
        self.current == other.current
    }

    /// Whether this half went on from the generation that the other one still holds.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.known.contains(&other.current)
    }

    /// Where the superblock lies in the region.
    pub fn extent(&self) -> RegionExtent {
        RegionExtent::between(self.offset, self.offset.saturating_add(SUPERBLOCK_BYTES))
    }

    /// The superblock as it stands.
    pub fn superblock(&self) -> &[u8] {
        &self.superblock
    }

    /// The superblock with which the peer overwrites this half in full: its data are called inconsistent, and the
    /// bitmap is to be taken as full. Generations stay, so that the peer still knows this half.
    pub fn marked(&self) -> Vec<u8> {
        let mut marked = self.superblock.clone();
        let Ok((raw, _)) = RawSuperblock::mut_from_prefix(&mut marked) else { return marked };
        let cleared = self.flags & !(CONSISTENT | WAS_UP_TO_DATE);
        match self.version {
            Version::V08 => raw.flags.set(cleared | FULL_SYNC),
            Version::V09 => {
                raw.flags.set(cleared);
                for peer in &mut raw.peers {
                    peer.flags.set(peer.flags.get() | FULL_SYNC);
                }
            }
        }
        marked
    }

    /// Whether the peer overwrites this half in full already.
    pub fn is_marked(&self) -> bool {
        self.marked() == self.superblock
    }
}
