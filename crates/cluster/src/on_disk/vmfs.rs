//! Heartbeats of VMFS: hosts that have the volume open.
//!
//! Source: vmfs-tools `libvmfs/vmfs_heartbeat.h`, `vmfs_volume.h`.

use std::io;

use block::{DiskExtent, ReadAt, read_vec};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::structure;
use crate::sharing::Evidence;

const VOLUME: u64 = 0x10_0000;
const VOLUME_MAGIC: u32 = 0xC001_D00D;
const HEARTBEATS: u64 = VOLUME + 0x100_0000 + 0x30_0000;
const SIZE: usize = 512;
const COUNT: usize = 2048;
const IN_USE: u32 = 0xABCD_EF02;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Heartbeat {
    magic: U32,
    pos: U64,
    seq: U64,
    uptime: U64,
    uuid: [u8; 16],
}

/// Where the heartbeats lie in the region; `None` where it holds no volume.
pub fn position(region: &dyn ReadAt) -> io::Result<Option<(u64, u64)>> {
    let magic = structure::<U32>(region, VOLUME)?;
    let length = u64::try_from(SIZE.saturating_mul(COUNT)).unwrap_or_default();
    let inside = HEARTBEATS.saturating_add(length) <= region.size();
    Ok((inside && magic.is_some_and(|magic| magic.get() == VOLUME_MAGIC)).then_some((HEARTBEATS, length)))
}

/// The heartbeats in use.
pub fn find(region: &dyn ReadAt) -> io::Result<Option<Evidence>> {
    let Some((start, length)) = position(region)? else { return Ok(None) };
    let bytes = read_vec(region, start, usize::try_from(length).unwrap_or_default())?;
    let beats = bytes.chunks(SIZE).filter_map(|bytes| Heartbeat::read_from_prefix(bytes).ok());
    let used: Vec<_> = beats.map(|(beat, _)| beat).filter(|beat| beat.magic.get() == IN_USE).collect();
    let Some(first) = used.first() else { return Ok(None) };
    let host: String = first.uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    let detail = format!("host {host}, uptime {} µs, count {}", first.uptime, first.seq);
    let holders = u64::try_from(used.len()).unwrap_or(u64::MAX);
    Ok(Some(Evidence::HeldFileSystem { file_system: "VMFS".to_owned(), holders, detail }))
}

/// The heartbeats on the disk, for a region that begins at `start`.
pub fn extent(start: u64, found: (u64, u64)) -> DiskExtent {
    let first = start.saturating_add(found.0);
    DiskExtent::between(first, first.saturating_add(found.1))
}
