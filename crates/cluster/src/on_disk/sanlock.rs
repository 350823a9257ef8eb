//! Leases of sanlock: a lockspace (delta leases) or a resource (paxos leases).
//!
//! Source: sanlock `src/ondisk.h` (`struct leader_record`, magic numbers).

use std::io;

use block::ReadAt;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{structure, text};
use crate::sharing::Evidence;

const DELTA_LEASE: u32 = 0x1221_2010;
const PAXOS_LEASE: u32 = 0x0615_2010;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct LeaderRecord {
    magic: U32,
    version: U32,
    flags: U32,
    sector_size: U32,
    num_hosts: U64,
    max_hosts: U64,
    owner_id: U64,
    owner_generation: U64,
    lver: U64,
    space_name: [u8; 48],
    resource_name: [u8; 48],
    timestamp: U64,
}

/// The first lease of the region.
pub fn find(region: &dyn ReadAt) -> io::Result<Option<Evidence>> {
    let Some(record) = structure::<LeaderRecord>(region, 0)? else { return Ok(None) };
    let lease = match record.magic.get() {
        DELTA_LEASE => "lockspace",
        PAXOS_LEASE => "resource",
        _ => return Ok(None),
    };
    let (space, name) = (text(&record.space_name), text(&record.resource_name));
    let owner = match record.timestamp.get() {
        0 => "free".to_owned(),
        timestamp => format!("owner {} at {timestamp}", record.owner_id),
    };
    let detail = format!("{lease} {space} {name}, sectors of {} bytes, {owner}", record.sector_size);
    Ok(Some(Evidence::ClusterArea { software: "sanlock".to_owned(), detail, beside: None }))
}
