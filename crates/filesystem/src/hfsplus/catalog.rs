//! The name of the volume: that of the root folder, the first record of the catalog.
//!
//! Source: Apple Technical Note TN1150, "B-Trees", "Catalog File".

use block::ReadAt;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::fork;
use super::volume_header::VolumeHeader;
use crate::Error;

const LEAF_NODE: u8 = 0xFF;
/// The parent of the root folder.
const ROOT_PARENT: u32 = 1;
const LONGEST_NAME: u16 = 255;

/// `BTNodeDescriptor`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct NodeDescriptor {
    f_link: U32,
    b_link: U32,
    kind: u8,
    height: u8,
    num_records: U16,
    reserved: U16,
}

/// The start of `BTHeaderRec`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct HeaderRecord {
    tree_depth: U16,
    root_node: U32,
    leaf_records: U32,
    first_leaf_node: U32,
    last_leaf_node: U32,
    node_size: U16,
}

/// `HFSPlusCatalogKey` without the name.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct CatalogKey {
    key_length: U16,
    parent_id: U32,
    name_length: U16,
}

/// The name of the volume; `None` where it is empty or can't be found.
pub fn volume_name(region: &dyn ReadAt, header: &VolumeHeader) -> Result<Option<String>, Error> {
    const HEADER_LENGTH: u16 = 512;
    let Some(node) = fork::read(region, header, &header.catalog_file, 0, HEADER_LENGTH)? else { return Ok(None) };
    let record = NodeDescriptor::read_from_prefix(&node).ok();
    let record = record.and_then(|(_, rest)| HeaderRecord::read_from_prefix(rest).ok());
    let Some((record, _)) = record else { return Ok(None) };
    let node_size = record.node_size.get();
    let offset = u64::from(record.first_leaf_node.get()).saturating_mul(node_size.into());
    let Some(leaf) = fork::read(region, header, &header.catalog_file, offset, node_size)? else { return Ok(None) };
    Ok(first_name(&leaf))
}

fn first_name(leaf: &[u8]) -> Option<String> {
    let (node, rest) = NodeDescriptor::read_from_prefix(leaf).ok()?;
    let (key, rest) = CatalogKey::read_from_prefix(rest).ok()?;
    let length = key.name_length.get();
    if node.kind != LEAF_NODE
        || node.num_records.get() == 0
        || key.parent_id.get() != ROOT_PARENT
        || length > LONGEST_NAME
    {
        return None;
    }
    let bytes = rest.get(..usize::from(length).saturating_mul(2))?;
    crate::structure::utf16_big_endian_text(bytes)
}
