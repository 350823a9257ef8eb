//! Directories and the files in them.
//!
//! Source: Linux `Documentation/filesystems/ext4/directory.rst`. The blocks of a hash tree look like blocks of deleted
//! entries to those who read all blocks in their order, so the order of the tree doesn't matter. Small directories are
//! kept in their inode, in two parts: `inlinedata.rst`.

use std::io;

use block::ReadAt;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::feature::incompat;
use super::inline;
use super::inode;
use super::journal::Log;
use super::superblock::Superblock;
use super::view::View;
use crate::Error;
use crate::files::{Cache, Content, DIRECTORY_LIMIT, ENTRIES_LIMIT, Entry, FileKind, Nodes};

const ROOT: u64 = 2;

/// `struct ext4_dir_entry_2` without its name.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    inode: U32,
    rec_len: U16,
    name_len: u8,
    file_type: u8,
}

/// The files of ext2, ext3 or ext4.
pub struct Tree<'a> {
    device: Cache<'a>,
    superblock: Superblock,
    log: Option<Log>,
}

impl<'a> Tree<'a> {
    pub fn new(device: Cache<'a>, superblock: Superblock, log: Option<Log>) -> Self {
        Self { device, superblock, log }
    }

    fn view(&self) -> View<'_> {
        let disk = View::of_disk(&self.device, &self.superblock);
        self.log.as_ref().map_or(disk, |log| disk.with_log(log))
    }

    fn number(node: u64) -> Result<u32, Error> {
        u32::try_from(node).map_err(|_| Error::corrupt(0, "an inode number of 32 bits", node.to_string()))
    }
}

impl Nodes for Tree<'_> {
    fn root(&self) -> u64 {
        ROOT
    }

    fn kind(&self, node: u64) -> Result<FileKind, Error> {
        inode::kind(&self.superblock, &self.view(), Self::number(node)?)
    }

    fn entries(&self, node: u64) -> Result<Vec<Entry>, Error> {
        let content = self.content(node)?;
        let has_types = self.superblock.features.incompat(incompat::FILETYPE);
        let mut entries = Vec::new();
        if let Some(bytes) = content.in_record() {
            let (first, second) = bytes.split_at_checked(inline::FIRST_PART).unwrap_or((bytes, &[]));
            read_block(first.get(inline::PARENT..).unwrap_or_default(), has_types, node, &mut entries)?;
            read_block(second, has_types, node, &mut entries)?;
            return Ok(entries);
        }
        let bytes = content.read_all(self, DIRECTORY_LIMIT)?;
        let block_size = usize::try_from(self.superblock.block_size).unwrap_or(usize::MAX).max(1);
        for block in bytes.chunks(block_size) {
            read_block(block, has_types, node, &mut entries)?;
        }
        Ok(entries)
    }

    fn content(&self, node: u64) -> Result<Content, Error> {
        inode::content(&self.superblock, &self.view(), Self::number(node)?)
    }

    fn device(&self) -> &dyn ReadAt {
        self
    }

    fn ignores_case(&self) -> bool {
        false
    }
}

/// The device as it will be once the journal is replayed.
impl ReadAt for Tree<'_> {
    fn size(&self) -> u64 {
        self.device.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if self.log.is_none() {
            return self.device.read_at(offset, buffer);
        }
        let size = u64::from(self.superblock.block_size);
        let (mut position, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let block = position.checked_div(size).unwrap_or_default();
            let bytes = self.view().read_blocks(block, 1).map_err(io::Error::other)?;
            let start = position.saturating_sub(block.saturating_mul(size));
            let bytes = bytes.get(usize::try_from(start).unwrap_or(usize::MAX)..).unwrap_or_default();
            let count = bytes.len().min(rest.len());
            let (now, later) = std::mem::take(&mut rest).split_at_mut(count);
            now.copy_from_slice(bytes.get(..count).unwrap_or_default());
            rest = later;
            position = position.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
        Ok(())
    }
}

fn read_block(block: &[u8], has_types: bool, directory: u64, entries: &mut Vec<Entry>) -> Result<(), Error> {
    let mut rest = block;
    while !rest.is_empty() {
        let corrupt = |actual: String| Error::corrupt(0, format!("a directory in inode {directory}"), actual);
        let Ok((raw, _)) = RawEntry::ref_from_prefix(rest) else {
            return Err(corrupt(format!("an entry of {} bytes", rest.len())));
        };
        let length = match raw.rec_len.get() {
            // Blocks of 64 KiB: the length does not fit.
            0 | 0xFFFF if block.len() >= 65536 => block.len(),
            length => usize::from(length),
        };
        let name_length = usize::from(raw.name_len) | if has_types { 0 } else { usize::from(raw.file_type) << 8 };
        let name_end = name_length.saturating_add(size_of::<RawEntry>());
        let (entry, tail) = rest
            .split_at_checked(length)
            .filter(|_| length >= name_end && length >= size_of::<RawEntry>())
            .ok_or_else(|| corrupt(format!("an entry of {length} bytes with a name of {name_length}")))?;
        let name = entry.get(size_of::<RawEntry>()..name_end).unwrap_or_default();
        if raw.inode.get() != 0 && !matches!(name, b"" | b"." | b"..") {
            if entries.len() >= ENTRIES_LIMIT {
                return Err(Error::Unsupported(format!("a directory of more than {ENTRIES_LIMIT} names")));
            }
            let name = String::from_utf8_lossy(name).into_owned();
            entries.push(Entry { name, node: raw.inode.get().into() });
        }
        rest = tail;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(entries: &[(u32, u16, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (inode, length, name) in entries {
            let start = bytes.len();
            bytes.extend(inode.to_le_bytes());
            bytes.extend(length.to_le_bytes());
            bytes.extend([name.len() as u8, 1]);
            bytes.extend(name.as_bytes());
            bytes.resize(start + usize::from(*length), 0);
        }
        bytes
    }

    #[test]
    fn names_of_deleted_files_are_not_there() {
        let bytes = block(&[(2, 12, "."), (2, 12, ".."), (11, 20, "fstab"), (0, 16, "gone"), (12, 964, "hosts")]);
        let mut entries = Vec::new();
        read_block(&bytes, true, 2, &mut entries).unwrap();
        let names: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.node)).collect();
        assert_eq!(names, [("fstab", 11), ("hosts", 12)]);
    }

    #[track_caller]
    fn check_error(at: usize, value: u8, expected: &str) {
        let mut bytes = block(&[(2, 12, "."), (11, 1012, "fstab")]);
        bytes[at] = value;
        let error = read_block(&bytes, true, 7, &mut Vec::new()).unwrap_err();
        let expected = format!("at byte 0 of the region: expected a directory in inode 7, found {expected}");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn damaged_entries_are_damage() {
        check_error(4, 0, "an entry of 0 bytes with a name of 1");
        check_error(16, 0xF5, "an entry of 1013 bytes with a name of 5");
        check_error(6, 9, "an entry of 12 bytes with a name of 9");
    }
}
