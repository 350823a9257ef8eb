//! Checksums of bent structures made right again, so that fuzzers reach what lies behind them.
//!
//! Source: lvm2 `lib/misc/crc.c`, `lib/format_text/layout.h`; Linux `drivers/md/md.c`.

use block::{ReadAt, read_vec};

/// Where the structures of the samples lie, and the fields of them that the sealing needs.
const LABEL: u64 = 512;
const METADATA: u64 = 4096;
const METADATA_SIZE: u64 = (1 << 20) - 4096;
const SUPERBLOCK_1: u64 = 4096;

/// LVM's checksum of parts that follow one another.
fn lvm_checksum(parts: &[&[u8]]) -> [u8; 4] {
    let mut register = 0xF597_A6CF_u32;
    for byte in parts.iter().flat_map(|part| part.iter()) {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            register = if register & 1 == 1 { register >> 1 ^ 0xEDB8_8320 } else { register >> 1 };
        }
    }
    register.to_le_bytes()
}

/// Right checksums for the label, the header of the metadata area and its text: positions and bytes.
pub fn lvm(disk: &dyn ReadAt) -> Vec<(u64, Vec<u8>)> {
    let read = |position, length| read_vec(disk, position, length).unwrap();
    let label = read(LABEL, 512);
    let mut seals = vec![(LABEL + 16, lvm_checksum(&[&label[20..]]).to_vec())];
    let mut header = read(METADATA, 512);
    let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
    let (offset, size) = (number(40), number(48));
    if (512..METADATA_SIZE).contains(&offset) && size <= 1 << 16 {
        let first = size.min(METADATA_SIZE - offset);
        let parts = [read(METADATA + offset, first as usize), read(METADATA + 512, (size - first) as usize)];
        let sum = lvm_checksum(&[&parts[0], &parts[1]]);
        header[56..60].copy_from_slice(&sum);
        seals.push((METADATA + 56, sum.to_vec()));
    }
    seals.push((METADATA, lvm_checksum(&[&header[4..]]).to_vec()));
    seals
}

fn md_checksum(bytes: &[u8], hole: usize) -> Vec<u8> {
    let words = bytes.chunks(4).enumerate().filter(|(number, _)| number * 4 != hole);
    let sum: u64 = words
        .map(|(_, word)| word.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
        .fold(0, u64::saturating_add);
    ((sum as u32).wrapping_add((sum >> 32) as u32)).to_le_bytes().to_vec()
}

/// Right checksums for superblocks of md 1.2 and 0.90.
pub fn md(disk: &dyn ReadAt) -> Vec<(u64, Vec<u8>)> {
    let mut seals = Vec::new();
    let newer = read_vec(disk, SUPERBLOCK_1, 4096).unwrap();
    if newer.starts_with(&0xA92B_4EFC_u32.to_le_bytes()) {
        let roles = u32::from_le_bytes(newer[220..224].try_into().unwrap()) as usize;
        let end = (256 + 2 * roles.min(1920)).min(4096);
        seals.push((SUPERBLOCK_1 + 216, md_checksum(&newer[..end], 216)));
    }
    let position = (disk.size() & !0xFFFF) - 0x1_0000;
    let older = read_vec(disk, position, 4096).unwrap();
    if older.starts_with(&0xA92B_4EFC_u32.to_le_bytes()) {
        seals.push((position + 152, md_checksum(&older, 152)));
    }
    seals
}
