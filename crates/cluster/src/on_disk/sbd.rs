//! The message slots of sbd, through which nodes tell each other to stop.
//!
//! Source: ClusterLabs/sbd `src/sbd.h` (`struct sector_header_s`, `sector_node_s`), `src/sbd-md.c`.

use std::io;

use block::ReadAt;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{structure, text};
use crate::sharing::Evidence;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: u8,
    slots: u8,
    padding: [u8; 2],
    sector_size: U32,
    timeout_watchdog: U32,
    timeout_allocate: U32,
    timeout_loop: U32,
    timeout_msgwait: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Node {
    in_use: u8,
    name: [u8; 64],
}

/// The header, with the nodes that have a slot.
pub fn find(region: &dyn ReadAt) -> io::Result<Option<Evidence>> {
    let Some(header) = structure::<Header>(region, 0)? else { return Ok(None) };
    if header.magic != *b"SBD_SBD_" {
        return Ok(None);
    }
    let sector = u64::from(header.sector_size.get());
    let mut nodes = Vec::new();
    for slot in 0..u64::from(header.slots) {
        // One sector for the node and one for its messages.
        let position = slot.saturating_mul(2).saturating_add(1).saturating_mul(sector);
        match structure::<Node>(region, position)? {
            Some(node) if node.in_use != 0 => nodes.push(text(&node.name)),
            Some(_) => {}
            None => break,
        }
    }
    let nodes = if nodes.is_empty() { "none".to_owned() } else { nodes.join(" ") };
    let (watchdog, messages) = (header.timeout_watchdog, header.timeout_msgwait);
    let detail = format!("version {}, watchdog {watchdog} s, messages {messages} s, nodes {nodes}", header.version);
    Ok(Some(Evidence::ClusterArea { software: "sbd".to_owned(), detail, beside: None }))
}
