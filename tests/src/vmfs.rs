//! A volume of VMFS 3.31 on one disk, with one file.
//!
//! Source: vmfs-tools `libvmfs/*.h`, which opens the volume.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::fill::content;

/// 1 MiB: a file block.
pub const MIB: u64 = 1 << 20;
/// Where the logical volume starts.
pub const DATA: u64 = 17 * MIB;
/// Where its file system starts.
pub const FILE_SYSTEM: u64 = DATA + 2 * MIB;
/// Where the heartbeats start.
pub const HEARTBEATS: u64 = DATA + 3 * MIB;
/// Number of file blocks: two segments of 256 MiB.
pub const BLOCKS: u64 = 512;
/// Blocks of an entry of the bitmap.
const PER_ENTRY: u64 = 200;
// Blocks that the volume needs itself: 0 to 3 (headers and heartbeats), then descriptors, root directory, and bitmaps
// with what they tell about.
/// The block of the descriptors.
pub const DESCRIPTORS: u64 = 4;
const ROOT: u64 = 5;
/// The block of the bitmap of file blocks.
pub const FILE_BLOCKS: u64 = 6;
const POINTERS: u64 = 7;
const SUB_BLOCKS: u64 = 8;
const SUB_BLOCK_COUNT: u64 = 16;
/// Blocks of a file: at both sides of the limits between entries, and the last one.
const FILE: [u64; 8] = [11, 199, 200, 201, 399, 400, 490, 511];
/// Its length in bytes: the last block is not full. It holds [`content`] of seed 1.
pub const FILE_LENGTH: u64 = 7 * MIB + 12_345;

/// Writes the volume, and behind it bytes of somebody else, into a new file.
///
/// # Panics
/// Where the file can't be written.
pub fn make(path: &Path) {
    Writer { file: File::create(path).unwrap() }.write_all();
}

struct Writer {
    file: File,
}

impl Writer {
    fn write_all(&self) {
        let size = MIB + 16 * MIB + BLOCKS * MIB + 5000;
        self.file.set_len(size).unwrap();
        let (uuid, logical) = (*b"volume's number.", *b"logical's uuid..");
        self.write(MIB, &[&0xC001_D00D_u32.to_le_bytes()[..], &3_u32.to_le_bytes()].concat());
        self.write(MIB + 130, &uuid);
        self.numbers(MIB + 0x200, &[(0, 8, BLOCKS * MIB), (8, 8, 3)]);
        self.write(MIB + 0x200 + 20, b"6967 6f6c-6c616369-7327-207575696");
        self.write(MIB + 0x200 + 84, &logical);
        self.numbers(MIB + 0x200, &[(116, 4, 2), (120, 4, 0), (128, 4, 1), (144, 4, 1)]);
        self.numbers(FILE_SYSTEM, &[(0, 4, 0x2FAB_F15E), (4, 4, 4), (8, 1, 31), (157, 4, 512), (161, 8, MIB)]);
        self.write(FILE_SYSTEM + 9, &uuid);
        self.write(FILE_SYSTEM + 29, b"datastore one");
        self.write(FILE_SYSTEM + 177, &logical);
        self.numbers(FILE_SYSTEM, &[(209, 4, 65536), (213, 4, 1), (217, 4, 65536)]);
        for slot in 0..2048 {
            self.numbers(HEARTBEATS + slot * 512, &[(0, 4, 0xABCD_EF01), (4, 8, 3 * MIB + slot * 512)]);
        }
        self.write_descriptors();
        let is_used = |block| block < SUB_BLOCKS + 2 || FILE.contains(&block);
        self.write_bitmap(FILE_BLOCKS, [PER_ENTRY, 32, 65536, 0, 32768, BLOCKS], 0x10C0_0002, is_used);
        let bytes = content(1, FILE_LENGTH as usize);
        for (block, bytes) in FILE.iter().zip(bytes.chunks(MIB as usize)) {
            self.write(DATA + block * MIB, bytes);
        }
        // What was deleted is still there.
        self.write(DATA + 300 * MIB, &content(2, MIB as usize));
        self.write_bitmap(POINTERS, [16, 1, 65536, 4096, 66560, 16], 0x10C0_0004, |_| false);
        self.write_bitmap(SUB_BLOCKS, [16, 1, 65536, 65536, 1_049_600, SUB_BLOCK_COUNT], 0x10C0_0003, |_| false);
    }

    fn write(&self, position: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, position).unwrap();
    }

    /// Little-endian numbers: offset, length and value.
    fn numbers(&self, position: u64, numbers: &[(u64, usize, u64)]) {
        for (offset, length, value) in numbers {
            self.write(position + offset, &value.to_le_bytes()[..*length]);
        }
    }

    /// The bitmap of descriptors with the descriptors of the root directory, the four bitmaps and the file.
    fn write_descriptors(&self) {
        let items = 32;
        self.write_bitmap(DESCRIPTORS, [items, 4, 65536, 2048, 4 * 1024 + 128 * 2048, 128], 0x10C0_0005, |item| {
            item < 6
        });
        let files: [(&str, u64, u64, &[u64]); 6] = [
            (".", 2, 7 * 0x8C, &[ROOT]),
            (".fbb.sf", 5, 98_304, &[FILE_BLOCKS]),
            (".fdc.sf", 5, MIB, &[DESCRIPTORS]),
            (".pbc.sf", 5, 65536 + 66560, &[POINTERS]),
            (".sbc.sf", 5, 65536 + 1_049_600, &[SUB_BLOCKS, SUB_BLOCKS + 1]),
            ("guest-flat.vmdk", 3, FILE_LENGTH, &FILE),
        ];
        for (number, (name, kind, size, blocks)) in (0_u64..).zip(files) {
            let inode = DATA + DESCRIPTORS * MIB + 65536 + 4 * 1024 + number * 2048;
            let id = number << 22 | 4;
            self.numbers(inode, &[(0, 4, 0x10C0_0001), (4, 8, inode - DATA)]);
            self.numbers(inode, &[(512, 4, id), (516, 4, number + 1), (520, 4, 1), (524, 4, kind), (532, 8, size)]);
            self.numbers(inode, &[(540, 8, MIB), (548, 8, blocks.len() as u64), (576, 4, 0o755), (580, 4, 1)]);
            for (place, block) in (0_u64..).zip(blocks) {
                self.numbers(inode + 1024 + 4 * place, &[(0, 4, block << 6 | 1)]);
            }
            // The root directory names itself twice: `.` and `..`.
            let entry = |place: u64, name: &str| {
                let position = DATA + ROOT * MIB + place * 0x8C;
                self.numbers(position, &[(0, 4, kind), (4, 4, id), (8, 4, place)]);
                self.write(position + 12, name.as_bytes());
            };
            entry(if number == 0 { 0 } else { number + 1 }, name);
            if number == 0 {
                entry(1, "..");
            }
        }
    }

    /// A resource file: items of an entry, entries of an area, length of the header, of an item and of an area, items.
    fn write_bitmap(&self, block: u64, header: [u64; 6], magic: u64, is_used: impl Fn(u64) -> bool) {
        let position = DATA + block * MIB;
        for (place, number) in (0_u64..).zip(header.into_iter().chain([1])) {
            self.numbers(position + 4 * place, &[(0, 4, number)]);
        }
        let [per_entry, _, header_size, _, _, total] = header;
        for number in 0..total.div_ceil(per_entry) {
            let entry = position + header_size + number * 1024;
            let items = number * per_entry..total.min((number + 1) * per_entry);
            let free = items.clone().filter(|item| !is_used(*item)).count() as u64;
            self.numbers(entry, &[(0, 4, magic), (4, 8, entry - DATA), (512, 4, number)]);
            self.numbers(entry, &[(516, 4, items.end - items.start), (520, 4, free)]);
            let mut bits = vec![0_u8; 496];
            for item in items.clone().filter(|item| !is_used(*item)) {
                let place = (item - items.start) as usize;
                bits[place / 8] |= 1 << (place % 8);
            }
            self.write(entry + 528, &bits);
        }
    }
}
