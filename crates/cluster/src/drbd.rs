//! DRBD metadata: where a mirror half keeps what it knows about itself and its peers, and how it is marked so that
//! its peer overwrites it in full.
//!
//! A restored half holds the generation identifiers of the day when it was saved. Its peer has kept those in its
//! history, takes the half for one that was only disconnected, and sends just what it wrote since that: everything
//! that was replicated between the saving and the disaster stays old, and both call themselves up to date. Only the
//! full-synchronisation flags prevent that. `drbdmeta invalidate` sets them, and so does [`Metadata::marked`], in the same bytes.
//!
//! The superblock is [`filesystem::drbd::Superblock`]. Source of indexes: drbd-utils user/shared/drbdmeta.h
//! (`MD_RESERVED_SECT_07`).

use std::io;

use block::{ReadAt, RegionExtent};
pub use filesystem::drbd::{SUPERBLOCK_BYTES, Version};
use filesystem::drbd::{Superblock, flags};
use serde::{Deserialize, Serialize};
use zerocopy::FromBytes;
use zerocopy::byteorder::big_endian::U64;

/// A device for the metadata of several others (`meta-disk DEVICE [INDEX]`) keeps those of each in 128 MiB.
const INDEX_BYTES: u64 = 128 << 20;
/// So many indexes are looked at behind the last that is in use: each may be a chunk to be loaded.
const INDEXES_APART: u64 = 32;

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
    let (raw, _) = Superblock::ref_from_prefix(&superblock).ok()?;
    let version = raw.version()?;
    // The magic is four bytes; the places of log and bitmap must agree with where the superblock lies.
    let places = match kind {
        Kind::Internal => raw.al_offset.get() < 0 && raw.bm_offset.get() < raw.al_offset.get(),
        Kind::External => raw.al_offset.get() > 0 && raw.bm_offset.get() > raw.al_offset.get(),
    };
    let metadata_bytes = raw.metadata_bytes();
    let data_bytes = raw.data_bytes();
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
        self.flags & (flags::PRIMARY | flags::CRASHED_PRIMARY) != 0
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
        let Ok((raw, _)) = Superblock::mut_from_prefix(&mut marked) else { return marked };
        let cleared = self.flags & !(flags::CONSISTENT | flags::WAS_UP_TO_DATE);
        match self.version {
            Version::V08 => raw.flags.set(cleared | flags::FULL_SYNC),
            Version::V09 => {
                raw.flags.set(cleared);
                for peer in &mut raw.peers {
                    peer.flags.set(peer.flags.get() | flags::FULL_SYNC);
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
