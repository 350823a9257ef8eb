//! Disks of Oracle ASM, which all nodes of a database open at once.
//!
//! Source: the offsets that libblkid of util-linux probes (libblkid/src/superblocks/oracleasm.c).

use std::io;

use block::ReadAt;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{structure, text};
use crate::sharing::Evidence;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    before: [u8; 32],
    magic: [u8; 8],
    label: [u8; 24],
}

/// The header.
pub fn find(region: &dyn ReadAt) -> io::Result<Option<Evidence>> {
    let Some(header) = structure::<Header>(region, 0)? else { return Ok(None) };
    let detail = format!("disk {}", text(&header.label));
    let found = Evidence::ClusterArea { software: "oracleasm".to_owned(), detail, beside: None };
    Ok((header.magic == *b"ORCLDISK").then_some(found))
}
