//! A directory: an index of file names, its root in the file record, its other nodes in index blocks.
//!
//! Source: ntfs-3g `include/ntfs-3g/layout.h` (`INDEX_ROOT`, `INDEX_BLOCK`, `INDEX_ENTRY`,
//! `FILE_NAME_ATTR`), `libntfs-3g/index.c`.

use std::collections::BTreeSet;

use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U16, U32, U64, Unaligned};

use crate::Error;
use crate::ntfs::attribute::Kind;
use crate::ntfs::bytes::{index, u64_at};
use crate::ntfs::file_record::{FileRecord, FileReference};
use crate::ntfs::stream::Stream;
use crate::ntfs::update_sequence;
use crate::ntfs::volume::Volume;

const NAME: &str = "$I30";
/// A directory of more blocks than this is not searched: 1 GiB with the usual blocks of 4 KiB.
const BLOCKS_LIMIT: usize = 1 << 18;
const ROOT_BYTES_LIMIT: u32 = 64 << 10;
const HAS_NODE_BELOW: u16 = 1;
const IS_LAST: u16 = 2;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawIndexHeader {
    entries_offset: U32<LE>,
    index_length: U32<LE>,
    allocated_size: U32<LE>,
    ih_flags: u8,
    reserved: [u8; 3],
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawIndexRoot {
    r#type: U32<LE>,
    collation_rule: U32<LE>,
    index_block_size: U32<LE>,
    clusters_per_index_block: i8,
    reserved: [u8; 3],
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawIndexBlock {
    magic: [u8; 4],
    usa_ofs: U16<LE>,
    usa_count: U16<LE>,
    lsn: U64<LE>,
    index_block_vcn: U64<LE>,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawIndexEntry {
    indexed_file: U64<LE>,
    length: U16<LE>,
    key_length: U16<LE>,
    ie_flags: U16<LE>,
    reserved: U16<LE>,
}

const ROOT_HEADER_AT: usize = 16;
const BLOCK_HEADER_AT: usize = 24;
const ENTRY_HEADER_BYTES: usize = 16;
/// Where the length of the name and the name stand in a file name key.
const NAME_LENGTH_AT: usize = 0x40;
const NAMESPACE_AT: usize = 0x41;
const NAME_AT: usize = 0x42;
/// `FILE_NAME_DOS`: a name beside the one that people know.
const NAMESPACE_DOS: u8 = 2;

/// The file with the ASCII name `wanted`, in any case, in `directory`; `None` where there is none.
///
/// All nodes are visited, so that neither the upper-case table nor the order of the names matters.
///
/// # Errors
/// `Corrupt` where any node is damaged, `Unsupported` where there are too many.
pub fn find_file(volume: &Volume<'_>, directory: &FileRecord, wanted: &str) -> Result<Option<FileReference>, Error> {
    let mut found = None;
    visit(volume, directory, &mut |name| {
        if is_same_name(name.utf16, wanted) {
            found = Some(name.file);
        }
        found.is_some()
    })?;
    Ok(found)
}

/// A name in a directory.
pub struct Name<'a> {
    /// UTF-16 code units, little-endian.
    pub utf16: &'a [u8],
    /// The file.
    pub file: FileReference,
    /// A second name of a file, in the form of DOS.
    pub is_short: bool,
}

/// Shows every name of `directory` to `found`, until it says that it has what it wants.
///
/// # Errors
/// As [`find_file`].
pub fn visit(
    volume: &Volume<'_>,
    directory: &FileRecord,
    found: &mut dyn FnMut(&Name<'_>) -> bool,
) -> Result<(), Error> {
    let root = volume.required_attribute(directory, Kind::INDEX_ROOT, NAME)?;
    let root = volume.read_all(&root, ROOT_BYTES_LIMIT)?;
    let block_size = block_size(&root, directory.position)?;
    let mut below = Vec::new();
    let node = root.get(ROOT_HEADER_AT..).unwrap_or_default();
    if visit_node(node, directory.position, &mut below, found)? || below.is_empty() {
        return Ok(());
    }
    let blocks = volume.required_attribute(directory, Kind::INDEX_ALLOCATION, NAME)?;
    let mut visited = BTreeSet::new();
    while let Some(vcn) = below.pop() {
        if !visited.insert(vcn) {
            let expected = "a directory whose nodes form a tree";
            return Err(Error::corrupt(directory.position, expected, format!("block {vcn} twice")));
        }
        if visited.len().saturating_add(below.len()) > BLOCKS_LIMIT {
            let detail = format!("a directory of more than {BLOCKS_LIMIT} index blocks");
            return Err(Error::Unsupported(detail));
        }
        let (block, position) = read_block(volume, &blocks, vcn, block_size)?;
        let node = block.get(BLOCK_HEADER_AT..).unwrap_or_default();
        if visit_node(node, position, &mut below, found)? {
            return Ok(());
        }
    }
    Ok(())
}

fn block_size(root: &[u8], position: u64) -> Result<u32, Error> {
    let size = RawIndexRoot::ref_from_prefix(root).map_or(0, |(raw, _)| raw.index_block_size.get());
    if size.is_power_of_two() && (512..=65536).contains(&size) {
        return Ok(size);
    }
    let expected = "index blocks of a power of two from 512 to 65536 bytes";
    Err(Error::corrupt(position, expected, format!("{size} bytes")))
}

fn read_block(volume: &Volume<'_>, blocks: &Stream, vcn: u64, size: u32) -> Result<(Vec<u8>, u64), Error> {
    // Blocks smaller than a cluster are counted in units of 512 bytes.
    let cluster_size = volume.boot().cluster_size;
    let unit = if cluster_size <= size { cluster_size } else { 512 };
    let offset = vcn.saturating_mul(u64::from(unit));
    let mut block = vec![0; index(size)];
    volume.read(blocks, offset, &mut block)?;
    let position = blocks.locate(volume.boot(), offset)?.0.unwrap_or(0);
    update_sequence::restore(&mut block, *b"INDX", position)?;
    let own = RawIndexBlock::ref_from_prefix(&block).map_or(0, |(raw, _)| raw.index_block_vcn.get());
    if own != vcn {
        return Err(Error::corrupt(position, format!("index block {vcn}"), format!("block {own}")));
    }
    Ok((block, position))
}

/// Shows the entries of one node, which starts with its index header, and adds the nodes below it to `below`. Whether
/// `found` has what it wants.
fn visit_node(
    node: &[u8],
    position: u64,
    below: &mut Vec<u64>,
    found: &mut dyn FnMut(&Name<'_>) -> bool,
) -> Result<bool, Error> {
    let corrupt = |actual: String| Error::corrupt(position, "a directory node", actual);
    let (raw, _) = RawIndexHeader::ref_from_prefix(node).map_err(|_| corrupt("no header".to_owned()))?;
    let (start, end) = (index(raw.entries_offset.get()), index(raw.index_length.get()));
    let entries = node
        .get(start..end)
        .ok_or_else(|| corrupt(format!("entries from {start} to {end} in {} bytes", node.len())))?;
    let mut rest = entries;
    loop {
        let at = entries.len().saturating_sub(rest.len());
        let (raw, _) = RawIndexEntry::ref_from_prefix(rest)
            .map_err(|_| corrupt(format!("no last entry in {} bytes", entries.len())))?;
        let length = usize::from(raw.length.get());
        let own = rest.split_at_checked(length).filter(|_| length >= ENTRY_HEADER_BYTES && length % 8 == 0);
        let (own, tail) = own.ok_or_else(|| corrupt(format!("an entry of {length} bytes at {at}")))?;
        if raw.ie_flags.get() & HAS_NODE_BELOW != 0 {
            let vcn_at = length.checked_sub(8).filter(|vcn_at| *vcn_at >= ENTRY_HEADER_BYTES);
            let vcn_at = vcn_at.ok_or_else(|| corrupt(format!("an entry without its node at {at}")))?;
            below.push(u64_at(own, vcn_at));
        }
        if raw.ie_flags.get() & IS_LAST != 0 {
            return Ok(false);
        }
        let key_end = ENTRY_HEADER_BYTES.saturating_add(usize::from(raw.key_length.get()));
        let key = own.get(ENTRY_HEADER_BYTES..key_end);
        let utf16 = key.and_then(file_name).ok_or_else(|| corrupt(format!("an entry without a name at {at}")))?;
        let is_short = key.and_then(|key| key.get(NAMESPACE_AT)) == Some(&NAMESPACE_DOS);
        if found(&Name { utf16, file: FileReference(raw.indexed_file.get()), is_short }) {
            return Ok(true);
        }
        rest = tail;
    }
}

fn file_name(key: &[u8]) -> Option<&[u8]> {
    let bytes = usize::from(*key.get(NAME_LENGTH_AT)?).saturating_mul(2);
    key.get(NAME_AT..NAME_AT.saturating_add(bytes))
}

fn is_same_name(utf16: &[u8], wanted: &str) -> bool {
    let units = utf16.chunks_exact(2).map(|unit| match unit {
        [low, 0] => low.to_ascii_lowercase(),
        // Not an ASCII character, and no byte of an ASCII name.
        _ => 0xFF,
    });
    units.eq(wanted.bytes().map(|byte| byte.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(file: u64, name: &str, flags: u16, below: Option<u64>) -> Vec<u8> {
        let mut key = vec![0; NAME_AT];
        key[NAME_LENGTH_AT] = name.len() as u8;
        key.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
        if name.is_empty() {
            key.clear();
        }
        let mut bytes = vec![0; 16];
        bytes[..8].copy_from_slice(&file.to_le_bytes());
        bytes[10..12].copy_from_slice(&(key.len() as u16).to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes.extend(key);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend(below.into_iter().flat_map(u64::to_le_bytes));
        let length = (bytes.len() as u16).to_le_bytes();
        bytes[8..10].copy_from_slice(&length);
        bytes
    }

    fn node(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![0; 16];
        bytes[0] = 16;
        bytes.extend(entries.concat());
        let length = (bytes.len() as u32).to_le_bytes();
        bytes[4..8].copy_from_slice(&length);
        bytes
    }

    fn search_node(
        node: &[u8],
        wanted: &str,
        position: u64,
        below: &mut Vec<u64>,
    ) -> Result<Option<FileReference>, Error> {
        let mut found = None;
        visit_node(node, position, below, &mut |name| {
            found = is_same_name(name.utf16, wanted).then_some(name.file);
            found.is_some()
        })?;
        Ok(found)
    }

    fn sample() -> Vec<u8> {
        node(&[
            entry(30, "bootmgr", 0, None),
            entry(31, "HiberFil.sys", HAS_NODE_BELOW, Some(7)),
            entry(0, "", IS_LAST | HAS_NODE_BELOW, Some(9)),
        ])
    }

    #[test]
    fn names_are_found_in_any_case_and_nodes_below_are_kept() {
        let mut below = Vec::new();
        let found = search_node(&sample(), "hiberfil.sys", 0, &mut below).unwrap();
        assert_eq!(found, Some(FileReference(31)));
        below.clear();
        assert_eq!(search_node(&sample(), "hiberfil.sy", 0, &mut below).unwrap(), None);
        assert_eq!(below, [7, 9]);
    }

    #[track_caller]
    fn check_error(at: usize, value: u8, expected: &str) {
        let mut bytes = sample();
        bytes[at] = value;
        let error = search_node(&bytes, "absent", 512, &mut Vec::new()).unwrap_err();
        let expected = format!("at byte 512 of the region: expected a directory node, found {expected}");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn damaged_nodes_are_damage() {
        let length = sample().len();
        check_error(5, 0xFF, &format!("entries from 16 to {} in {length} bytes", 0xFF00));
        check_error(16 + 8, 0, "an entry of 0 bytes at 0");
        check_error(16 + 9, 1, &format!("an entry of {} bytes at 0", 256 + 96));
        check_error(16 + 11, 1, "an entry without a name at 0");
        check_error(length - 12, HAS_NODE_BELOW as u8, "an entry without a name at 216");
    }
}
