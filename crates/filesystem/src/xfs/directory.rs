//! Directories, and with them the files.
//!
//! The names of a directory stand in its inode, or in blocks from its first byte on; behind 32 GiB follow hash tables,
//! which nobody needs who reads all names.
//!
//! Source: "XFS Algorithms & Data Structures" (xfs-documentation, `directories.asciidoc`) and the Linux kernel's
//! `fs/xfs/libxfs/xfs_da_format.h`. What waits in the log is not read.

use block::ReadAt;

use super::inode::Inode;
use super::superblock::Superblock;
use crate::Error;
use crate::files::{Cache, Content, DIRECTORY_LIMIT, ENTRIES_LIMIT, Entry, FileKind, Nodes};

/// Where the data of a directory ends and its hash tables begin.
const DATA_END: u64 = 32 << 30;
const FREE_TAG: u16 = 0xFFFF;
/// Headers of data blocks.
const HEADER_BYTES_4: usize = 16;
const HEADER_BYTES_5: usize = 64;

/// The files of XFS.
pub(crate) struct Tree<'a> {
    device: Cache<'a>,
    superblock: Superblock,
}

impl<'a> Tree<'a> {
    pub(super) fn new(device: Cache<'a>, superblock: Superblock) -> Self {
        Self { device, superblock }
    }

    fn inode(&self, node: u64) -> Result<Inode, Error> {
        Inode::read(&self.device, &self.superblock, node)
    }
}

impl Nodes for Tree<'_> {
    fn root(&self) -> u64 {
        self.superblock.root_inode
    }

    fn kind(&self, node: u64) -> Result<FileKind, Error> {
        Ok(self.inode(node)?.kind())
    }

    fn entries(&self, node: u64) -> Result<Vec<Entry>, Error> {
        let inode = self.inode(node)?;
        let has_types = self.superblock.has_file_types;
        let damaged = |actual: &str| Error::corrupt(0, format!("a directory in inode {node}"), actual);
        let mut entries = Vec::new();
        if let Some(local) = inode.local() {
            return short_form(local, has_types).ok_or_else(|| damaged("names that pass its end"));
        }
        let content = inode.content(&self.device, &self.superblock)?;
        let block_size = self.superblock.directory_block_size();
        // The size counts data blocks only.
        let size = content.size.min(DATA_END);
        if size > DIRECTORY_LIMIT {
            return Err(Error::Unsupported(format!("a directory of {size} bytes")));
        }
        let mut start = 0;
        while start < size {
            let length = block_size.min(size.saturating_sub(start));
            let mut block = vec![0; usize::try_from(length).unwrap_or_default()];
            content.read_at(&self.device, start, &mut block)?;
            data_block(&block, has_types, &mut entries).ok_or_else(|| damaged("entries that pass a block"))?;
            if entries.len() > ENTRIES_LIMIT {
                return Err(Error::Unsupported(format!("a directory of more than {ENTRIES_LIMIT} names")));
            }
            start = start.saturating_add(block_size);
        }
        Ok(entries)
    }

    fn content(&self, node: u64) -> Result<Content, Error> {
        self.inode(node)?.content(&self.device, &self.superblock)
    }

    fn device(&self) -> &dyn ReadAt {
        &self.device
    }

    fn ignores_case(&self) -> bool {
        false
    }
}

/// Takes bytes off the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

/// Names that stand in the inode.
fn short_form(bytes: &[u8], has_types: bool) -> Option<Vec<Entry>> {
    let mut cursor = Cursor(bytes);
    let (count, wide) = (cursor.number(1)?, cursor.number(1)?);
    let width = if wide == 0 { 4 } else { 8 };
    let count = if wide == 0 { count } else { count.max(wide) };
    let _parent = cursor.number(width)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(cursor.number(1)?).ok()?;
        let _offset = cursor.number(2)?;
        let name = String::from_utf8_lossy(cursor.take(length)?).into_owned();
        if has_types {
            cursor.take(1)?;
        }
        entries.push(Entry { name, node: cursor.number(width)? });
    }
    Some(entries)
}

/// Names of a block of data; other blocks have none. A block may be a hole.
fn data_block(block: &[u8], has_types: bool, entries: &mut Vec<Entry>) -> Option<()> {
    let (header, has_tail) = match block.first_chunk::<4>()? {
        b"XD2D" => (HEADER_BYTES_4, false),
        b"XD2B" => (HEADER_BYTES_4, true),
        b"XDD3" => (HEADER_BYTES_5, false),
        b"XDB3" => (HEADER_BYTES_5, true),
        _ => return Some(()),
    };
    // A directory of a single block ends with its hash table: 8 bytes a name, then two counts.
    let end = match has_tail {
        false => block.len(),
        true => {
            let tail = block.len().checked_sub(8)?;
            let count = usize::try_from(Cursor(block.get(tail..)?).number(4)?).ok()?;
            tail.checked_sub(count.checked_mul(8)?)?
        }
    };
    let mut cursor = Cursor(block.get(header..end)?);
    while !cursor.0.is_empty() {
        let here = cursor.0;
        let (tag, length) = (cursor.number(2)?, cursor.number(2)?);
        if tag == u64::from(FREE_TAG) {
            cursor = Cursor(here);
            let length = usize::try_from(length).ok().filter(|length| *length >= 8)?;
            cursor.take(length)?;
            continue;
        }
        cursor = Cursor(here);
        let node = cursor.number(8)?;
        let name_length = usize::try_from(cursor.number(1)?).ok()?;
        let name = cursor.take(name_length)?;
        let used = 11_usize.checked_add(name_length)?.checked_add(usize::from(has_types))?;
        cursor = Cursor(here);
        cursor.take(used.checked_next_multiple_of(8)?)?;
        if !matches!(name, b"." | b"..") {
            entries.push(Entry { name: String::from_utf8_lossy(name).into_owned(), node });
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(node: u64, name: &str) -> Vec<u8> {
        let mut bytes = node.to_be_bytes().to_vec();
        bytes.push(name.len() as u8);
        bytes.extend(name.as_bytes());
        bytes.push(1);
        bytes.extend([0; 2]);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn block() -> Vec<u8> {
        let mut bytes = b"XDB3".to_vec();
        bytes.resize(HEADER_BYTES_5, 0);
        bytes.extend(entry(128, "."));
        bytes.extend([0xFF, 0xFF, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(entry(131, "fstab"));
        bytes.extend([0; 16]);
        bytes.extend([0, 0, 0, 2, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn a_directory_of_one_block() {
        let mut entries = Vec::new();
        data_block(&block(), true, &mut entries).unwrap();
        assert_eq!(entries, [Entry { name: "fstab".into(), node: 131 }]);
    }

    #[test]
    fn damage_leads_nowhere() {
        for (at, value) in [(HEADER_BYTES_5 + 16 + 3, 0), (HEADER_BYTES_5 + 8, 200), (block().len() - 5, 200)] {
            let mut bytes = block();
            bytes[at] = value;
            assert_eq!(data_block(&bytes, true, &mut Vec::new()), None, "{at}");
        }
    }

    #[test]
    fn names_in_the_inode() {
        let mut bytes = vec![2, 0, 0, 0, 0, 128];
        bytes.extend([3, 0, 0x60, b'e', b't', b'c', 2, 0, 0, 0, 131]);
        bytes.extend([3, 0, 0x70, b'u', b's', b'r', 2, 0, 0, 1, 0]);
        let entries = short_form(&bytes, true).unwrap();
        assert_eq!(entries, [Entry { name: "etc".into(), node: 131 }, Entry { name: "usr".into(), node: 256 }]);
        bytes[0] = 3;
        assert_eq!(short_form(&bytes, true), None);
    }
}
