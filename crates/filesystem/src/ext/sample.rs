//! A small file system made by hand, byte by byte from the specification and not with the structures of the parser.

use block::{MemoryDisk, ReadAt, WriteAt, read_vec};

use super::crc16::crc16;
use crate::crc32c::crc32c;

pub const BLOCK: u64 = 1024;
pub const GROUPS: u64 = 4;
/// Blocks of a group; the last group is shorter.
pub const GROUP_BLOCKS: u64 = 256;
pub const BLOCKS: u64 = 1 + 3 * GROUP_BLOCKS + 100;
/// Group whose bitmap was never written.
pub const UNINITIALISED: u64 = 2;
/// First block of the journal of 32 blocks.
pub const JOURNAL: u64 = 60;
pub const JOURNAL_BLOCKS: u64 = 32;

const UUID: [u8; 16] = *b"0123456789abcdef";

/// How metadata is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksums {
    None,
    Descriptors,
    Metadata,
}

/// Groups of 256 blocks of 1 KiB: copies of superblock and descriptors in groups 0, 1 and 3, then two bitmaps and two
/// blocks of inodes in each, data in ten blocks from the tenth of a group. Group 2 holds nothing.
pub struct Sample {
    pub disk: MemoryDisk,
    pub checksums: Checksums,
}

pub fn group_start(group: u64) -> u64 {
    1 + group * GROUP_BLOCKS
}

impl Sample {
    pub fn new(checksums: Checksums) -> Self {
        let sample = Self { disk: MemoryDisk::new(BLOCKS * BLOCK).with_fill(0xA5), checksums };
        sample.write_superblock();
        (0..GROUPS).for_each(|group| sample.write_group(group));
        sample.seal();
        sample
    }

    /// Also a journal in blocks 60 to 91, in inode 8, with this log from its block 1 on, starting at block `start`.
    pub fn with_journal(checksums: Checksums, start: u32, log: &[Vec<u8>]) -> Self {
        let sample = Self::new(checksums);
        sample.put_superblock(0x5C, &4_u32.to_le_bytes());
        sample.put_superblock(0xE0, &8_u32.to_le_bytes());
        let mut bitmap = sample.block(group_start(0) + 2);
        (JOURNAL - 1..JOURNAL - 1 + JOURNAL_BLOCKS).for_each(|bit| bitmap[bit as usize / 8] |= 1 << (bit % 8));
        sample.put_block(group_start(0) + 2, &bitmap);
        sample.put(2 * BLOCK + 0x0C, &free_clusters(&bitmap, GROUP_BLOCKS).to_le_bytes());
        sample.write_journal_inode();
        let mut superblock = vec![0; BLOCK as usize];
        for (position, value) in
            [(0, 0xC03B_3998_u32), (4, 4), (12, 1024), (16, JOURNAL_BLOCKS as u32), (20, 1), (24, 7), (28, start)]
        {
            superblock[position..position + 4].copy_from_slice(&value.to_be_bytes());
        }
        sample.put_block(JOURNAL, &superblock);
        for (index, block) in log.iter().enumerate() {
            let place = (start.max(1) as u64 - 1 + index as u64) % (JOURNAL_BLOCKS - 1) + 1;
            sample.put_block(JOURNAL + place, block);
        }
        sample.seal();
        sample
    }

    /// Inode 8 is the last of the first block of inodes: one extent.
    fn write_journal_inode(&self) {
        let mut inode = vec![0; 128];
        inode[0..2].copy_from_slice(&0x8180_u16.to_le_bytes());
        inode[4..8].copy_from_slice(&((JOURNAL_BLOCKS * BLOCK) as u32).to_le_bytes());
        inode[0x20..0x24].copy_from_slice(&0x8_0000_u32.to_le_bytes());
        inode[0x28..0x30].copy_from_slice(&[0x0A, 0xF3, 1, 0, 4, 0, 0, 0]);
        inode[0x38..0x3A].copy_from_slice(&(JOURNAL_BLOCKS as u16).to_le_bytes());
        inode[0x3C..0x40].copy_from_slice(&(JOURNAL as u32).to_le_bytes());
        // The extent: logical block at 0x34, length at 0x38, high and low half of the physical block at 0x3A and 0x3C.
        if self.checksums == Checksums::Metadata {
            let parts: [&[u8]; 3] = [&8_u32.to_le_bytes(), &[0; 4], &inode];
            let value = parts.into_iter().fold(self.seed(), crc32c);
            inode[0x7C..0x7E].copy_from_slice(&(value as u16).to_le_bytes());
        }
        self.put((group_start(0) + 4) * BLOCK + 7 * 128, &inode);
    }

    fn write_superblock(&self) {
        let ro_compat: u32 = 1 | match self.checksums {
            Checksums::None => 0,
            Checksums::Descriptors => 0x10,
            Checksums::Metadata => 0x400,
        };
        self.put(0, &[0; 2048]);
        for (position, value) in [
            (0, 16 * GROUPS as u32),
            (4, BLOCKS as u32),
            (0x14, 1),
            (0x20, GROUP_BLOCKS as u32),
            (0x24, GROUP_BLOCKS as u32),
            (0x28, 16),
            (0x4C, 1),
            (0x60, 0x2 | 0x40 | 0x80),
            (0x64, ro_compat),
        ] {
            self.put_superblock(position, &value.to_le_bytes());
        }
        self.put_superblock(0x38, &[0x53, 0xEF, 1, 0]);
        self.put_superblock(0x58, &128_u16.to_le_bytes());
        self.put_superblock(0x68, &UUID);
        self.put_superblock(0x78, b"by hand");
        self.put_superblock(0xFE, &64_u16.to_le_bytes());
        self.put_superblock(0x175, &[1]);
    }

    fn write_group(&self, group: u64) {
        let start = group_start(group);
        let clusters = GROUP_BLOCKS.min(BLOCKS - start);
        let mut bitmap = vec![0xFF; BLOCK as usize];
        bitmap[..32].fill(0);
        (clusters..GROUP_BLOCKS).for_each(|bit| bitmap[bit as usize / 8] |= 1 << (bit % 8));
        (0..6).chain(10..20).for_each(|bit: u64| bitmap[bit as usize / 8] |= 1 << (bit % 8));
        if group == UNINITIALISED && self.checksums != Checksums::None {
            bitmap.fill(0xA5);
        }
        self.put_block(start + 2, &bitmap);
        let at = 2 * BLOCK + group * 64;
        self.put(at, &[0; 64]);
        for (position, block) in [(0, start + 2), (4, start + 3), (8, start + 4)] {
            self.put(at + position, &(block as u32).to_le_bytes());
        }
        self.put(at + 12, &free_clusters(&bitmap, clusters).to_le_bytes());
        if group == UNINITIALISED {
            // Also without checksums, where it must not count.
            self.put(at + 0x12, &[2]);
        }
    }

    fn seed(&self) -> u32 {
        crc32c(!0, &UUID)
    }

    /// Writes all checksums anew.
    pub fn seal(&self) {
        for group in 0..GROUPS {
            let at = 2 * BLOCK + group * 64;
            if self.checksums == Checksums::Metadata {
                let bitmap = self.block(group_start(group) + 2);
                let value = crc32c(self.seed(), &bitmap[..32]).to_le_bytes();
                self.put(at + 0x18, &value[..2]);
                self.put(at + 0x38, &value[2..]);
            }
            self.put(at + 0x1E, &[0, 0]);
            let descriptor = read_vec(&self.disk, at, 64).unwrap();
            let number = (group as u32).to_le_bytes();
            let value = match self.checksums {
                Checksums::None => 0,
                Checksums::Descriptors => {
                    let parts: [&[u8]; 4] = [&UUID, &number, &descriptor[..0x1E], &descriptor[0x20..]];
                    parts.into_iter().fold(!0, crc16)
                }
                Checksums::Metadata => [&number[..], &descriptor].into_iter().fold(self.seed(), crc32c) as u16,
            };
            self.put(at + 0x1E, &value.to_le_bytes());
        }
        if self.checksums == Checksums::Metadata {
            let superblock = read_vec(&self.disk, 1024, 1020).unwrap();
            self.put_superblock(0x3FC, &crc32c(!0, &superblock).to_le_bytes());
        }
    }

    pub fn put(&self, position: u64, bytes: &[u8]) {
        self.disk.write_at(position, bytes).unwrap();
    }

    pub fn put_superblock(&self, field: u64, bytes: &[u8]) {
        self.put(1024 + field, bytes);
    }

    pub fn put_block(&self, block: u64, bytes: &[u8]) {
        self.put(block * BLOCK, bytes);
    }

    pub fn block(&self, block: u64) -> Vec<u8> {
        read_vec(&self.disk, block * BLOCK, BLOCK as usize).unwrap()
    }

    /// Flips bits of one byte.
    pub fn flip(&self, position: u64, bits: u8) {
        let mut byte = [0];
        self.disk.read_at(position, &mut byte).unwrap();
        self.put(position, &[byte[0] ^ bits]);
    }
}

fn free_clusters(bitmap: &[u8], clusters: u64) -> u16 {
    (0..clusters).filter(|bit| bitmap[*bit as usize / 8] >> (bit % 8) & 1 == 0).count() as u16
}

/// A block of the journal: descriptor 1, commit 2, revoke 5.
pub fn journal_block(kind: u32, sequence: u32, rest: &[u8]) -> Vec<u8> {
    let mut block: Vec<u8> = [0xC03B_3998, kind, sequence].iter().flat_map(|field: &u32| field.to_be_bytes()).collect();
    block.extend(rest);
    block.resize(BLOCK as usize, 0);
    block
}

/// A tag of a descriptor without checksums: 1 escaped, 2 same UUID, 8 last.
pub fn tag(block: u64, flags: u16) -> Vec<u8> {
    let mut bytes = (block as u32).to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(flags.to_be_bytes());
    if flags & 2 == 0 {
        bytes.extend(UUID);
    }
    bytes
}
