//! Small XFS file systems made byte by byte, so that a test can bend any of their bytes.

use crate::crc32c::checksum_without;

pub(super) const BLOCK: usize = 1024;
const SECTOR: usize = 512;
pub(super) const GROUP_BLOCKS: u32 = 256;
const GROUP_SHIFT: u32 = 8;
/// Block of group 1 at which the log begins, and its blocks.
pub(super) const LOG_BLOCK: u32 = 100;
pub(super) const LOG_BLOCKS: u32 = 64;
/// Blocks of 512 bytes in the log.
pub(super) const LOG_SECTORS: usize = LOG_BLOCKS as usize * BLOCK / 512;
/// First block for the trees of a group.
pub(super) const TREE_BLOCK: u32 = 8;
pub(super) const UUID: [u8; 16] = *b"0123456789abcdef";
const FREE_LIST: [u32; 3] = [4, 5, 6];
const FREE_LIST_FIRST: usize = 2;

/// What to make.
pub(super) struct Sample {
    pub(super) version: u8,
    /// Free extents of both groups.
    pub(super) free: [Vec<(u32, u32)>; 2],
    /// Most records of a block of the trees.
    pub(super) records: usize,
}

impl Sample {
    pub(super) fn new(version: u8) -> Self {
        let first = vec![(40, 10), (60, 1), (70, 30), (120, 5), (130, 2), (140, 116)];
        Self { version, free: [first, vec![(50, 20), (200, 31)]], records: 2 }
    }

    pub(super) fn build(&self) -> Image {
        // The last group is shorter than the first.
        let lengths = [GROUP_BLOCKS, GROUP_BLOCKS - 20];
        let size = lengths.iter().sum::<u32>() as usize * BLOCK;
        let mut image = Image { bytes: vec![0; size], version: self.version };
        image.write_superblock(lengths.iter().sum());
        for (group, free) in (0_u32..).zip(&self.free) {
            let (root, levels) = image.write_tree(group, free, self.records);
            image.write_group(group, lengths[group as usize], root, levels, free.iter().map(|(_, count)| count).sum());
        }
        image.write_unmount_record(1, 0);
        image
    }
}

/// The bytes of a file system.
pub(super) struct Image {
    pub(super) bytes: Vec<u8>,
    pub(super) version: u8,
}

impl Image {
    pub(super) fn put(&mut self, position: usize, bytes: &[u8]) {
        self.bytes[position..position + bytes.len()].copy_from_slice(bytes);
    }

    fn put_words(&mut self, position: usize, words: &[u32]) {
        for (index, word) in words.iter().enumerate() {
            self.put(position + index * 4, &word.to_be_bytes());
        }
    }

    /// Makes the checksum of a metadata block right again.
    pub(super) fn seal(&mut self, position: usize, length: usize, crc_offset: usize) {
        if self.version == 5 {
            let checksum = checksum_without(&self.bytes[position..position + length], crc_offset);
            self.put(position + crc_offset, &checksum.to_le_bytes());
        }
    }

    pub(super) fn seal_superblock(&mut self) {
        self.seal(0, SECTOR, 224);
    }

    pub(super) fn block(&self, group: u32, block: u32) -> usize {
        (group * GROUP_BLOCKS + block) as usize * BLOCK
    }

    /// Position of the free-space header of a group.
    pub(super) fn header(&self, group: u32) -> usize {
        self.block(group, 0) + SECTOR
    }

    pub(super) fn seal_header(&mut self, group: u32) {
        self.seal(self.header(group), SECTOR, 216);
    }

    /// Position of the free list of a group.
    pub(super) fn free_list(&self, group: u32) -> usize {
        self.block(group, 0) + 3 * SECTOR
    }

    pub(super) fn seal_free_list(&mut self, group: u32) {
        self.seal(self.free_list(group), SECTOR, 32);
    }

    pub(super) fn seal_tree_block(&mut self, group: u32, block: u32) {
        self.seal(self.block(group, block), BLOCK, 52);
    }

    /// Bytes before the records of a tree block.
    pub(super) fn tree_header(&self) -> usize {
        if self.version == 5 { 56 } else { 16 }
    }

    fn write_superblock(&mut self, blocks: u32) {
        self.put(0, b"XFSB");
        self.put_words(4, &[BLOCK as u32, 0, blocks]);
        self.put(32, &UUID);
        self.put_words(48, &[0, 1 << GROUP_SHIFT | LOG_BLOCK]);
        self.put_words(84, &[GROUP_BLOCKS, 2]);
        self.put_words(96, &[LOG_BLOCKS]);
        self.put(100, &(0xB4A0_u16 | u16::from(self.version)).to_be_bytes());
        self.put(102, &(SECTOR as u16).to_be_bytes());
        self.put(108, b"sample");
        self.put(120, &[10, 9, 0, 0, GROUP_SHIFT as u8]);
        self.put_words(200, &[0x0A, 0x0A]);
        self.seal_superblock();
    }

    fn write_group(&mut self, group: u32, length: u32, root: u32, levels: u32, free: u32) {
        let position = self.header(group);
        self.put(position, b"XAGF");
        self.put_words(position + 4, &[1, group, length, root, 7, 0, levels, 1]);
        let last = FREE_LIST_FIRST + FREE_LIST.len() - 1;
        self.put_words(position + 40, &[FREE_LIST_FIRST as u32, last as u32, FREE_LIST.len() as u32, free]);
        self.put(position + 64, &UUID);
        self.seal_header(group);
        let list = self.free_list(group);
        if self.version == 5 {
            self.put(list, b"XAFL");
            self.put_words(list + 4, &[group]);
            self.put(list + 8, &UUID);
        }
        let slots = list + if self.version == 5 { 36 } else { 0 };
        self.put_words(slots, &[u32::MAX; 100]);
        self.put_words(slots + FREE_LIST_FIRST * 4, &FREE_LIST);
        self.seal_free_list(group);
    }

    /// Root and number of levels.
    fn write_tree(&mut self, group: u32, free: &[(u32, u32)], records: usize) -> (u32, u32) {
        let mut next = TREE_BLOCK;
        let mut level = 0;
        // What the level below consists of: the first record and the block.
        let mut children: Vec<((u32, u32), u32)> = free.iter().map(|record| (*record, 0)).collect();
        loop {
            let parts: Vec<_> = children.chunks(records).collect();
            let count = parts.len().max(1) as u32;
            let mut parents = Vec::new();
            for index in 0..count {
                let part = parts.get(index as usize).copied().unwrap_or_default();
                let left = if index == 0 { u32::MAX } else { next + index - 1 };
                let right = if index + 1 == count { u32::MAX } else { next + index + 1 };
                self.write_tree_block(group, next + index, level, [left, right], part);
                parents.push((part.first().map_or((0, 0), |(record, _)| *record), next + index));
            }
            next += count;
            level += 1;
            if count == 1 {
                return (next - 1, level);
            }
            children = parents;
        }
    }

    fn write_tree_block(
        &mut self,
        group: u32,
        block: u32,
        level: u32,
        siblings: [u32; 2],
        children: &[((u32, u32), u32)],
    ) {
        let position = self.block(group, block);
        self.put(position, if self.version == 5 { b"AB3B" } else { b"ABTB" });
        self.put_words(position + 4, &[level << 16 | children.len() as u32, siblings[0], siblings[1]]);
        if self.version == 5 {
            self.put(position + 16, &(position as u64 / 512).to_be_bytes());
            self.put(position + 32, &UUID);
            self.put_words(position + 48, &[group]);
        }
        let records = position + self.tree_header();
        let pointers = records + (BLOCK - self.tree_header()) / 12 * 8;
        for (index, ((start, count), child)) in children.iter().enumerate() {
            self.put_words(records + index * 8, &[*start, *count]);
            if level > 0 {
                self.put_words(pointers + index * 4, &[*child]);
            }
        }
        self.seal_tree_block(group, block);
    }

    /// Position of a block of the log.
    pub(super) fn log(&self, block: usize) -> usize {
        self.block(1, LOG_BLOCK) + block % LOG_SECTORS * 512
    }

    /// Stamps blocks of the log as written in `cycle`, with content that is no record.
    pub(super) fn stamp_log(&mut self, blocks: std::ops::Range<usize>, cycle: u32) {
        for block in blocks {
            let position = self.log(block);
            self.put(position, &[0x11; 512]);
            self.put_words(position, &[cycle]);
        }
    }

    /// An unmount record at a block of the log, which may pass the end of the log: 2 blocks.
    pub(super) fn write_unmount_record(&mut self, cycle: u32, block: usize) {
        let header = self.log(block);
        self.put(header, &[0; 512]);
        self.put_words(header, &[0xFEED_BABE, cycle, 2, 20, cycle, block as u32]);
        self.put_words(header + 36, &[u32::MAX, 1]);
        self.put_words(header + 300, &[1]);
        self.put(header + 304, &UUID);
        self.put_words(header + 320, &[32 << 10]);
        let operation = self.log(block + 1);
        let wrapped = u32::from(block + 1 >= LOG_SECTORS);
        self.put(operation, &[0; 512]);
        self.put_words(operation, &[cycle + wrapped, 8]);
        self.put(operation + 8, &[0xAA, 0x20, 0, 0, 0x6E, 0x55]);
    }
}
