//! Directories with long names, and the files in them.
//!
//! Source: Microsoft "FAT32 File System Specification" 1.03, "FAT Directory Structure" and "Long Directory Entries".

use block::ReadAt;

use crate::Error;
use crate::fat::boot_sector::{BootSector, Width};
use crate::fat::table::entry_at;
use crate::files::{Cache, Content, DIRECTORY_LIMIT, ENTRIES_LIMIT, Entry, FileKind, Nodes, Piece};

const IS_LABEL: u8 = 0x08;
const IS_DIRECTORY: u8 = 0x10;
const IS_LONG_NAME: u8 = 0x0F;
const DELETED: u8 = 0xE5;
const LAST_LONG: u8 = 0x40;
/// The case of a short name: base and extension in lower case.
const LOWER_BASE: u8 = 0x08;
const LOWER_EXTENSION: u8 = 0x10;
/// A node is first cluster, size, and whether it is a directory; the root is this.
const ROOT: u64 = u64::MAX;
const LONGEST_NAME: usize = 255;

/// The files of FAT12, FAT16 or FAT32.
pub struct Tree<'a> {
    device: Cache<'a>,
    boot: BootSector,
}

impl<'a> Tree<'a> {
    pub fn open(device: Cache<'a>) -> Result<Self, Error> {
        let boot = BootSector::read(&device)?.ok_or_else(|| Error::corrupt(0, "a boot sector of FAT", "none"))?;
        Ok(Self { device, boot })
    }

    fn next(&self, cluster: u32) -> Result<u32, Error> {
        let width = self.boot.width;
        let bit = u64::from(cluster).saturating_mul(width.bits());
        let mut window = [0; 4];
        let table = u64::from(self.boot.active_table.unwrap_or(0)).saturating_mul(self.boot.table_size);
        let start = self.boot.tables_start.saturating_add(table).saturating_add(bit / 8);
        let length = if width == Width::Fat32 { 4 } else { 2 };
        self.device.read_at(start, window.get_mut(..length).unwrap_or_default())?;
        if width == Width::Fat12 && cluster % 2 == 1 {
            return Ok(u32::from_le_bytes(window) >> 4 & width.mask());
        }
        Ok(entry_at(&window, 0, width))
    }

    /// The clusters of a chain up to `size` bytes, or all. A chain is never longer than the volume, so this ends.
    fn chain(&self, first: u32, size: Option<u64>) -> Result<Content, Error> {
        let cluster_size = u64::from(self.boot.cluster_size);
        let mut content = Content::of_size(size.unwrap_or_default());
        let (mut cluster, mut logical, mut visited) = (first, 0_u64, 0_u64);
        while size.is_none_or(|size| logical < size) {
            let index = u64::from(cluster).checked_sub(2).filter(|index| *index < self.boot.clusters);
            let Some(index) = index else { break };
            visited = visited.saturating_add(1);
            if visited > self.boot.clusters {
                let expected = format!("a chain of at most {} clusters", self.boot.clusters);
                return Err(Error::corrupt(self.boot.tables_start, expected, "a chain that leads in a circle"));
            }
            let physical = self.boot.cluster_extent(index, 1).start();
            content.push(Piece { logical, physical, length: cluster_size })?;
            logical = logical.saturating_add(cluster_size);
            cluster = self.next(cluster)?;
        }
        match size {
            None => content.size = logical,
            Some(size) if logical < size => {
                let expected = format!("a chain of {size} bytes from cluster {first}");
                return Err(Error::corrupt(self.boot.tables_start, expected, format!("{logical} bytes")));
            }
            Some(_) => {}
        }
        Ok(content)
    }
}

fn node(cluster: u32, size: u32, is_directory: bool) -> u64 {
    // Clusters have 28 bits.
    u64::from(is_directory) << 60 | u64::from(cluster & 0x0FFF_FFFF) << 32 | u64::from(size)
}

impl Nodes for Tree<'_> {
    fn root(&self) -> u64 {
        ROOT
    }

    fn kind(&self, node: u64) -> Result<FileKind, Error> {
        Ok(if node == ROOT || node >> 60 == 1 { FileKind::Directory } else { FileKind::File })
    }

    fn entries(&self, node: u64) -> Result<Vec<Entry>, Error> {
        let bytes = self.content(node)?.read_all(&self.device, DIRECTORY_LIMIT)?;
        Ok(read_entries(&bytes))
    }

    fn content(&self, node: u64) -> Result<Content, Error> {
        if node != ROOT {
            let cluster = u32::try_from(node >> 32 & 0x0FFF_FFFF).unwrap_or_default();
            let is_directory = node >> 60 == 1;
            return self.chain(cluster, (!is_directory).then_some(node & 0xFFFF_FFFF));
        }
        match self.boot.root_cluster {
            Some(cluster) => self.chain(cluster, None),
            None => {
                let root = self.boot.root_directory;
                let mut content = Content::of_size(root.length());
                content.push(Piece { logical: 0, physical: root.start(), length: root.length() })?;
                Ok(content)
            }
        }
    }

    fn device(&self) -> &dyn ReadAt {
        &self.device
    }

    fn ignores_case(&self) -> bool {
        true
    }
}

/// The names in a directory. Parts of long names that belong to no file are left out, as every system does.
fn read_entries(bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut long = LongName::default();
    let (records, _) = bytes.as_chunks::<32>();
    for record in records {
        let (first, attributes) = (record.first().copied().unwrap_or_default(), byte(record, 11));
        if first == 0 || entries.len() >= ENTRIES_LIMIT {
            break;
        }
        if first == DELETED {
            long = LongName::default();
            continue;
        }
        if attributes & 0x3F == IS_LONG_NAME {
            long.push(record);
            continue;
        }
        let name = std::mem::take(&mut long).finish(record).unwrap_or_else(|| short_name(record));
        if attributes & IS_LABEL != 0 || name == "." || name == ".." {
            continue;
        }
        let word = |at: usize| u32::from(byte(record, at)) | u32::from(byte(record, at.saturating_add(1))) << 8;
        let cluster = word(20) << 16 | word(26);
        let size = word(28) | word(30) << 16;
        entries.push(Entry { name, node: node(cluster, size, attributes & IS_DIRECTORY != 0) });
    }
    entries
}

fn byte(record: &[u8; 32], at: usize) -> u8 {
    record.get(at).copied().unwrap_or_default()
}

/// A long name: its last part comes first.
#[derive(Default)]
struct LongName {
    units: Vec<u16>,
    checksum: u8,
    /// The part that must come next.
    next: u8,
}

impl LongName {
    fn push(&mut self, record: &[u8; 32]) {
        let order = byte(record, 0);
        let part = order & !LAST_LONG;
        if order & LAST_LONG != 0 {
            *self = Self { units: Vec::new(), checksum: byte(record, 13), next: part };
        }
        if part == 0 || part != self.next || byte(record, 13) != self.checksum {
            *self = Self::default();
            return;
        }
        self.next = part.saturating_sub(1);
        let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain((28..32).step_by(2));
        let units = places.map(|at| u16::from_le_bytes([byte(record, at), byte(record, at.saturating_add(1))]));
        let units: Vec<_> = units.take_while(|unit| *unit != 0).collect();
        self.units.splice(0..0, units);
    }

    fn finish(self, record: &[u8; 32]) -> Option<String> {
        let sum = record.iter().take(11).fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        let is_whole = !self.units.is_empty() && self.next == 0 && sum == self.checksum;
        let units = self.units.into_iter().take(LONGEST_NAME);
        is_whole.then(|| char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
    }
}

fn short_name(record: &[u8; 32]) -> String {
    let part = |from: usize, to: usize, lower: u8| {
        let bytes: Vec<u8> = record.get(from..to).unwrap_or_default().to_vec();
        let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        if byte(record, 12) & lower != 0 { text.to_lowercase() } else { text }
    };
    let (base, extension) = (part(0, 8, LOWER_BASE), part(8, 11, LOWER_EXTENSION));
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(name: &[u8; 11], attributes: u8) -> Vec<u8> {
        let mut record = name.to_vec();
        record.push(attributes);
        record.resize(32, 0);
        record[26] = 5;
        record[28] = 100;
        record
    }

    fn long(part: u8, name: &str, checksum: u8) -> Vec<u8> {
        let mut units: Vec<u16> = name.encode_utf16().collect();
        units.resize(13, 0);
        let mut record = vec![0; 32];
        record[0] = part;
        record[11] = IS_LONG_NAME;
        record[13] = checksum;
        let places: Vec<usize> = (1..11).step_by(2).chain((14..26).step_by(2)).chain((28..32).step_by(2)).collect();
        for (place, unit) in places.into_iter().zip(units) {
            record[place..place + 2].copy_from_slice(&unit.to_le_bytes());
        }
        record
    }

    #[test]
    fn long_names_belong_to_the_short_name_behind_them() {
        let name = b"GRUBX6~1EFI";
        let sum = name.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        let whole = [long(0x42, "-x.efi", sum), long(1, "grubx64-signe", sum), short(name, 0x20)].concat();
        let expected = |name: &str| [Entry { name: name.into(), node: node(5, 100, false) }];
        assert_eq!(read_entries(&whole), expected("grubx64-signe-x.efi"));
        let torn = [long(0x42, "-x.efi", sum), short(name, 0x20)].concat();
        assert_eq!(read_entries(&torn), expected("GRUBX6~1.EFI"));
        let of_another = [long(0x41, "other", sum ^ 1), short(name, 0x20)].concat();
        assert_eq!(read_entries(&of_another), expected("GRUBX6~1.EFI"));
    }

    #[test]
    fn labels_and_deleted_files_are_no_files() {
        let mut gone = short(b"GONE    TXT", 0x20);
        gone[0] = DELETED;
        let bytes = [short(b"LABEL      ", IS_LABEL), gone, short(b"EFI        ", IS_DIRECTORY)].concat();
        assert_eq!(read_entries(&bytes), [Entry { name: "EFI".into(), node: node(5, 100, true) }]);
    }
}
